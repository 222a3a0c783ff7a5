package key

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
)

// maxRetries is how often a change is decided again because another node
// changed the keys meanwhile.
const maxRetries = 3

// draft is what the rows should become. Keys that a line then lacks are made.
type draft struct {
	rows  []Row
	under wrapper
	now   time.Time
	// entries are what followers of revocations must hear of it.
	entries []feed.Entry
}

// Rotate makes the next key of a line current, retires the current one and
// makes a new next one. alg is empty for everything but Sign. A next key that
// was published less than JWKSMaxAge and ReloadEvery ago is refused with kind
// Conflict and RetryAfter set.
func (r *Ring) Rotate(ctx context.Context, p Purpose, alg string, now time.Time) error {
	return r.rotate(ctx, line{p, alg}, stamp(now), false)
}

// RotateNow is Rotate that does not wait: verifiers that do not look again for
// an unknown kid refuse the new key's tokens until their cache expires.
func (r *Ring) RotateNow(ctx context.Context, p Purpose, alg string, now time.Time) error {
	return r.rotate(ctx, line{p, alg}, stamp(now), true)
}

func (r *Ring) rotate(ctx context.Context, l line, now time.Time, force bool) error {
	return r.change(ctx, func(base *snapshot) (draft, error) {
		rows, err := rotate(base.rows(), l, now, r.opt.published(), force)
		return draft{rows: rows, under: base.under, now: now}, err
	})
}

// Tick does what is due: it reloads, drops the keys whose last token has
// expired, and rotates those that are older than RotateEvery. Call it every
// ReloadEvery; most calls are one read.
func (r *Ring) Tick(ctx context.Context, now time.Time) error {
	now = stamp(now)
	return r.change(ctx, func(base *snapshot) (draft, error) {
		rows := expire(base.rows(), now, r.opt.LongestAccess)
		for _, l := range lines(r.opt.Algs) {
			if !due(rows, l, now, r.opt.RotateEvery, r.opt.published()) {
				continue
			}
			turned, err := rotate(rows, l, now, r.opt.published(), false)
			if err != nil {
				return draft{}, err
			}
			rows = turned
		}
		return draft{rows: rows, under: base.under, now: now}, nil
	})
}

// Drop removes a compromised key at once, named by kid or by id in decimal. If
// it was current, the next key takes over however young it is. What it made is
// refused from then on: tokens signed with it, refresh tokens sealed with it
// (their holders sign in again), sids made with it. It tells what was dropped,
// for the record of revocations.
func (r *Ring) Drop(ctx context.Context, ref string) (Info, error) {
	now := stamp(r.opt.Now())
	var gone Info
	err := r.change(ctx, func(base *snapshot) (draft, error) {
		rows := base.rows()
		i := slices.IndexFunc(rows, func(row Row) bool {
			return ref != "" && row.KID == ref || strconv.FormatUint(uint64(row.ID), 10) == ref
		})
		if i < 0 {
			return draft{}, fault.New(fault.NotFound, "there is no key of this kid or id; it may have been dropped already")
		}
		gone = infoOf(rows[i])
		d := draft{rows: drop(rows, i, now), under: base.under, now: now}
		if gone.KID != "" { // followers must hear that nothing it signed counts any more
			d.entries = []feed.Entry{{Kind: feed.Key, Key: gone.KID, Reason: fault.KeyCompromise, At: now, Until: now.Add(r.opt.EntryLife)}}
		}
		return d, nil
	})
	if err != nil {
		return Info{}, err
	}
	return gone, nil
}

// Rewrap wraps all keys and the roll under a new root in one transaction. The
// keys stay what they are, so that nobody is signed out. Write the new root's
// file first: after a crash the database is under exactly one of the two, and
// Open with both (OtherRoots) finds out which.
func (r *Ring) Rewrap(ctx context.Context, newRoot Root) error {
	if newRoot.IsZero() {
		return fault.New(fault.InvalidRequest, "there is no new root secret to wrap the keys under")
	}
	w := newRoot.wrapper()
	// The new root is known before the write, so that its own result can be
	// read when the answer to the write was lost.
	r.mu.Lock()
	if !slices.ContainsFunc(r.roots, func(known wrapper) bool { return known.mark == w.mark }) {
		r.roots = append(r.roots, w)
	}
	r.mu.Unlock()
	return r.change(ctx, func(base *snapshot) (draft, error) {
		return draft{rows: base.rows(), under: w, now: stamp(r.opt.Now())}, nil
	})
}

// change reads the rows, decides, and replaces them if nobody else did
// meanwhile; then it decides again on what the other wrote, at most maxRetries
// times. When the outcome of a write is unknown the error says that the store
// is unavailable, and the next Reload or Tick learns what became of it.
func (r *Ring) change(ctx context.Context, decide func(base *snapshot) (draft, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range 1 + maxRetries {
		base, err := r.load(ctx)
		if err != nil {
			return err
		}
		d, err := decide(base)
		if err != nil {
			return err
		}
		d.rows = append(d.rows, missing(d.rows, lines(r.opt.Algs), d.now)...)
		if d.unchanged(base) {
			r.live.Store(base)
			return nil
		}
		next, rows, err := r.compose(base, d)
		if err != nil {
			return err
		}
		rows.Entries, rows.Audit = d.entries, events(ctx, base, next, d.now)
		err = r.store.Replace(ctx, rows)
		if err == nil {
			r.live.Store(next)
			r.report(base, next)
			return nil
		}
		if !errors.Is(err, ErrChanged) {
			return fault.Down(err)
		}
	}
	e := fault.New(fault.Unavailable, "the keys kept being changed by other nodes; repeat the same request")
	e.RetryAfter = fault.RetrySoon
	return e
}

// unchanged reports whether the draft is what is already stored. Rows change
// only by being added, removed or moved to another state.
func (d draft) unchanged(base *snapshot) bool {
	return base.version > 0 && d.under.mark == base.under.mark &&
		slices.EqualFunc(d.rows, base.keys, func(row Row, h held) bool {
			return row.ID == h.row.ID && row.State == h.row.State
		})
}

// compose makes the keys a draft asks for and wraps what has to be wrapped.
func (r *Ring) compose(base *snapshot, d draft) (*snapshot, Rows, error) {
	if len(d.rows) > MaxKeys {
		return nil, Rows{}, fault.Newf(fault.Conflict, "there would be more than %d keys; wait until retired ones are dropped", MaxKeys)
	}
	nextID := base.nextID
	keys := make([]held, 0, len(d.rows))
	list := roll{Keys: make([]rollEntry, 0, len(d.rows))}
	for _, row := range d.rows {
		var h held
		var err error
		if row.ID == 0 {
			row.ID = nextID
			nextID++
			h, err = r.forge(row, d.under)
		} else {
			h, err = r.carry(base, row, d.under)
		}
		if err != nil {
			return nil, Rows{}, err
		}
		keys = append(keys, h)
		list.Keys = append(list.Keys, entryOf(h.row))
	}
	list.NextID = nextID
	rows := Rows{Version: base.version + 1, Roll: d.under.sealRoll(list, base.version+1)}
	next := r.assemble(rows.Version, rows.Roll, nextID, d.under, keys)
	rows.Keys = next.rows()
	return next, rows, nil
}

// forge makes a new key for a row.
func (r *Ring) forge(row Row, w wrapper) (held, error) {
	plain, err := generate(row.line())
	if err != nil {
		return held{}, err
	}
	h, err := equip(row, plain)
	if err != nil {
		return held{}, err
	}
	h.row.Wrapped = w.wrap(h.row, plain)
	return h, nil
}

// carry takes a key over into the next rows, under another root if asked.
func (r *Ring) carry(base *snapshot, row Row, w wrapper) (held, error) {
	i := slices.IndexFunc(base.keys, func(h held) bool { return h.row.ID == row.ID })
	h := base.keys[i]
	if w.mark != base.under.mark {
		plain, ok := base.under.unwrap(row)
		if !ok {
			return held{}, base.under.whyNot(row, base.rows())
		}
		row.Wrapped = w.wrap(row, plain)
	}
	h.row = row
	return h, nil
}

// step is one thing that a change did to one key.
type step struct {
	name audit.Name
	says string
	row  Row
}

// steps compares two snapshots.
func steps(base, next *snapshot) (all []step) {
	before := make(map[uint32]State, len(base.keys))
	for _, h := range base.keys {
		before[h.row.ID] = h.row.State
	}
	for _, h := range next.keys {
		was, known := before[h.row.ID]
		delete(before, h.row.ID)
		switch {
		case !known:
			all = append(all, step{audit.KeyMade, "key made", h.row})
		case was != h.row.State && h.row.State == Current:
			all = append(all, step{audit.KeyRotated, "key moved on", h.row})
		case was != h.row.State:
			all = append(all, step{audit.KeyRetired, "key moved on", h.row})
		}
	}
	for _, h := range base.keys {
		if _, gone := before[h.row.ID]; gone {
			all = append(all, step{audit.KeyDropped, "key dropped", h.row})
		}
	}
	return all
}

// events are the account of a change, one for each key it touched.
func events(ctx context.Context, base, next *snapshot, now time.Time) (all []audit.Event) {
	for _, st := range steps(base, next) {
		e := audit.New(ctx, st.name, now)
		e.Object = cmp.Or(st.row.KID, strconv.FormatUint(uint64(st.row.ID), 10))
		e.Details = map[string]string{"purpose": string(st.row.Purpose), "alg": st.row.Alg, "state": string(st.row.State)}
		all = append(all, e)
	}
	if base.under.mark != next.under.mark && base.version > 0 {
		e := audit.New(ctx, audit.RootChanged, now)
		e.Details = map[string]string{"before": base.under.mark.String(), "after": next.under.mark.String()}
		all = append(all, e)
	}
	return all
}

// report logs what a change did.
func (r *Ring) report(base, next *snapshot) {
	for _, st := range steps(base, next) {
		r.log.Info(st.says, slog.Any("key", st.row.ID), slog.String("purpose", string(st.row.Purpose)), slog.String("alg", st.row.Alg),
			slog.String("kid", st.row.KID), slog.String("state", string(st.row.State)))
	}
	if base.under.mark != next.under.mark && base.version > 0 {
		r.log.Info("keys wrapped under a new root secret", slog.String("old", base.under.mark.String()), slog.String("new", next.under.mark.String()))
	}
}
