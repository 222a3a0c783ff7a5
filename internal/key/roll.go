package key

import (
	"encoding/binary"
	"encoding/json"
)

// roll is the list of keys that must be there, so that a missing, added or
// exchanged row is noticed. States are on it too: whoever can write to the
// database but has no root cannot make a retired key current again.
type roll struct {
	// NextID is the id of the next key to be made: ids are never used twice.
	NextID uint32      `json:"next_id"`
	Keys   []rollEntry `json:"keys"`
}

type rollEntry struct {
	ID      uint32  `json:"id"`
	Purpose Purpose `json:"purpose"`
	Alg     string  `json:"alg,omitempty"`
	KID     string  `json:"kid,omitempty"`
	State   State   `json:"state"`
}

func entryOf(row Row) rollEntry {
	return rollEntry{row.ID, row.Purpose, row.Alg, row.KID, row.State}
}

// A sealed roll is, in bytes:
//
//	version 1 | root fingerprint 8 | Rows.Version 8 | nonce 12 | the list, encrypted | tag 16
//
// The first three are in the clear, so that an error can tell a wrong root from
// an old roll; all three are additional data.
const (
	rollVersion  = 1
	rollHeader   = 1 + 8 + 8
	rollOverhead = rollHeader + 12 + 16
)

const rollLabel = "holdfast/key/roll/v1"

// sealRoll writes the roll of keys at a version of the rows.
func (w wrapper) sealRoll(r roll, version uint64) []byte {
	plain, err := json.Marshal(r)
	if err != nil {
		panic(err) // numbers and strings always encode
	}
	b := append(make([]byte, 0, rollOverhead+len(plain)), rollVersion)
	b = append(b, w.mark[:]...)
	b = binary.BigEndian.AppendUint64(b, version)
	return w.aead.Seal(b, nil, plain, append([]byte(rollLabel), b...))
}

// openRoll finds the root that sealed the roll among those given and opens it.
func openRoll(rows Rows, roots []wrapper) (roll, wrapper, error) {
	sealed := rows.Roll
	if len(sealed) < rollOverhead || sealed[0] != rollVersion {
		return roll{}, wrapper{}, refuse("their roll, the sealed list of what must be there, is missing or truncated (%d bytes); "+
			"restore the stored keys from a backup", len(sealed))
	}
	mark := fingerprint(sealed[1:9])
	if len(roots) == 0 {
		return roll{}, wrapper{}, refuse("no root secret was given, and they were made under root secret %s; give that one", mark)
	}
	var w wrapper
	for _, root := range roots {
		if root.mark == mark {
			w = root
		}
	}
	if w.aead == nil {
		return roll{}, wrapper{}, refuse("this database was made under root secret %s, you gave %s; give the root secret it was made under",
			mark, roots[0].mark)
	}
	if at := binary.BigEndian.Uint64(sealed[9:]); at != rows.Version {
		return roll{}, wrapper{}, refuse("their roll is of version %d and the rows are of version %d, so that one of them was put back; "+
			"restore both from one backup", at, rows.Version)
	}
	plain, err := w.aead.Open(nil, nil, sealed[rollHeader:], append([]byte(rollLabel), sealed[:rollHeader]...))
	if err != nil {
		return roll{}, wrapper{}, refuse("their roll is damaged: it names root secret %s and does not open under it; "+
			"restore the stored keys from a backup", mark)
	}
	var r roll
	err = json.Unmarshal(plain, &r)
	if err != nil {
		return roll{}, wrapper{}, refuse("their roll was written by another release and cannot be read: %v", err)
	}
	return r, w, nil
}

// compare holds the rows against the roll.
func (r roll) compare(rows []Row) error {
	there := make(map[uint32]Row, len(rows))
	for _, row := range rows {
		if _, twice := there[row.ID]; twice {
			return refuse("%s is there twice; restore the stored keys from a backup", row.name())
		}
		there[row.ID] = row
	}
	for _, want := range r.Keys {
		row, ok := there[want.ID]
		delete(there, want.ID)
		expected := Row{ID: want.ID, Purpose: want.Purpose, Alg: want.Alg}
		is := entryOf(row)
		is.State = want.State
		switch {
		case !ok:
			return refuse("%s is missing from the database; restore the stored keys from a backup, nothing is made in its place", expected.name())
		case is != want:
			return refuse("%s was changed: the roll has %s, kid %q, in its place; restore the stored keys from a backup",
				row.name(), expected.name(), want.KID)
		case row.State != want.State:
			return refuse("%s is marked %q and the roll says %q; set it back or restore the stored keys from a backup",
				row.name(), row.State, want.State)
		}
	}
	for _, row := range rows {
		if _, left := there[row.ID]; left {
			return refuse("%s is not on the roll, so it was added or put back by something else than this server; "+
				"delete that row or restore the stored keys from a backup", row.name())
		}
	}
	return nil
}
