package key

import (
	"bytes"
	"cmp"
	"crypto/cipher"
	"slices"
)

// snapshot is everything readers need, made once per change.
type snapshot struct {
	version uint64
	sealed  []byte // the roll as stored: a version that was written twice still differs
	nextID  uint32
	under   wrapper
	keys    []held // in the order of ids

	signers  map[string]*signKey // by algorithm, current ones; "" is the default
	public   map[string]*signKey // by kid
	jwks     JWKS
	seal     SealKey
	seals    map[uint32]SealKey
	name     cipher.Block
	opaque   opaqueKey
	opaques  map[uint32]opaqueKey
	complete bool // each purpose has a current key
}

// open checks the rows against the roll and makes every key usable.
func (r *Ring) open(rows Rows, prev *snapshot) (*snapshot, error) {
	if rows.Version == 0 {
		switch {
		case len(rows.Keys) > 0 || len(rows.Roll) > 0:
			return nil, refuse("the database says that no key was ever made and holds %d all the same; restore the stored keys from a backup", len(rows.Keys))
		case prev != nil:
			return nil, gone()
		case len(r.roots) == 0:
			return nil, refuse("no root secret was given to wrap the first ones under; make one and keep it safe")
		}
		return r.assemble(0, nil, 1, r.roots[0], nil), nil
	}
	list, w, err := openRoll(rows, r.roots)
	if err != nil {
		return nil, err
	}
	err = list.compare(rows.Keys)
	if err != nil {
		return nil, err
	}
	err = wellFormed(rows.Keys)
	if err != nil {
		return nil, err
	}
	keys := make([]held, 0, len(rows.Keys))
	for _, row := range rows.Keys {
		h, ok := prev.reuse(row)
		if !ok {
			plain, opened := w.unwrap(row)
			if !opened {
				return nil, w.whyNot(row, rows.Keys)
			}
			h, err = equip(row, plain)
			if err != nil {
				return nil, refuse("%s cannot be used: %v; restore the stored keys from a backup", row.name(), err)
			}
		}
		keys = append(keys, h)
	}
	return r.assemble(rows.Version, rows.Roll, list.NextID, w, keys), nil
}

// reuse gives the open key of a row that changed at most its state, so that a
// rotation does not parse every key again.
func (s *snapshot) reuse(row Row) (held, bool) {
	if s == nil {
		return held{}, false
	}
	for _, h := range s.keys {
		if h.row.ID == row.ID && bytes.Equal(h.row.binding(), row.binding()) && bytes.Equal(h.row.Wrapped, row.Wrapped) {
			h.row = row
			return h, true
		}
	}
	return held{}, false
}

// assemble makes the snapshot that readers see.
func (r *Ring) assemble(version uint64, sealed []byte, nextID uint32, w wrapper, keys []held) *snapshot {
	slices.SortFunc(keys, func(a, b held) int { return cmp.Compare(a.row.ID, b.row.ID) })
	s := &snapshot{
		version: version, sealed: sealed, nextID: nextID, under: w, keys: keys,
		signers: make(map[string]*signKey), public: make(map[string]*signKey),
		seals: make(map[uint32]SealKey), opaques: make(map[uint32]opaqueKey),
		jwks: publish(keys),
	}
	for _, h := range keys {
		current := h.row.State == Current
		switch h.row.Purpose {
		case Sign:
			s.public[h.sign.kid] = h.sign
			if current {
				s.signers[h.row.Alg] = h.sign
			}
		case Seal:
			k := SealKey{ID: h.row.ID, key: h.seal}
			s.seals[k.ID] = k
			if current {
				s.seal = k
			}
		case Name:
			s.name = h.name
		case Opaque:
			k := opaqueKey{h.row.ID, h.opaque}
			s.opaques[k.id] = k
			if current {
				s.opaque = k
			}
		}
	}
	if k, ok := s.signers[r.opt.Algs[0]]; ok {
		s.signers[""] = k
	}
	s.complete = s.signers[""] != nil && s.seal.key != nil && s.name != nil && s.opaque.aead != nil
	return s
}

func (s *snapshot) rows() []Row {
	rows := make([]Row, len(s.keys))
	for i, h := range s.keys {
		rows[i] = h.row
	}
	return rows
}
