// Package key owns the server's own keys: it generates, publishes, rotates,
// retires and wraps them, and signs, seals and names with them.
//
// One root secret wraps them all (docs/adr/0008). What is stored is random keys
// under that wrapping and a sealed roll of what must be there; anything that
// does not fit is refused with a sentence, and nothing lost is made anew.
//
// The life of a signing key, with one current key per algorithm:
//
//	made ──> next ──────────> current ──────> retired ──────────────> dropped
//	         in the JWKS,     signs           in the JWKS until its
//	         not yet used                     last token has expired
//
// Sealing keys (refresh tokens) live the same life and stay retired for ever;
// keys of opaque tokens retire for two weeks; the key behind session names
// (sid) is never rotated.
//
// The room does not own what is signed or sealed (room token), who asks for a
// rotation (doors and the command line), how the key set is served (doors), or
// the keys of clients and upstreams.
package key

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.example/internal/fault"
)

// Options say which keys to hold and how long they matter.
type Options struct {
	// Algs are the signing algorithms to hold keys for, the default first: of
	// ES256, RS256, RS512, Ed25519 and EdDSA. Empty means ES256, RS256, Ed25519.
	// One that is added gets keys at the next start. The keys of one that is
	// taken away stay until they are dropped, because another node may use them.
	Algs []string
	// LongestAccess is the longest life of any JWT signed here, ID tokens
	// included. A retired key is published for that much longer, so lower it
	// only after the tokens of the longer life have expired.
	LongestAccess time.Duration
	// JWKSMaxAge is for how long verifiers may cache the key set: a next key is
	// published for that long before it is used.
	JWKSMaxAge time.Duration
	// RotateEvery makes Tick rotate signing keys that are older; 0 is never.
	// Keys of opaque tokens rotate every 30 days at least, sealing keys only by
	// hand.
	RotateEvery time.Duration
	// OtherRoots also open the stored keys: the old or the new root while an
	// install moves from one to the other. They never wrap anything.
	OtherRoots []Root
	// KeysExpected is asked when no key was ever made: whether the database holds
	// sessions already, because then that is a loss and not a beginning, and is
	// refused. Nil expects none. It is not asked at any other start, so it may
	// look at every row.
	KeysExpected func(context.Context) (bool, error)
	// EntryLife is how long followers of revocations must remember that a key was
	// dropped (feed.Life).
	EntryLife time.Duration
	// Now tells the time when keys are made at Open and in Drop.
	Now func() time.Time
	// Log hears of every key that is made, rotated or dropped, by id and kid.
	// nil is silent.
	Log *slog.Logger
}

// Ring holds the server's keys in memory. It is safe for concurrent use:
// readers take an atomic snapshot and no lock.
type Ring struct {
	store Store
	opt   Options
	log   *slog.Logger

	// live is what readers see. It only moves from one complete snapshot to
	// another; a failed reload or change leaves it.
	live atomic.Pointer[snapshot]

	// mu makes this node decide one change at a time; changes of other nodes
	// are caught by the store's version. Readers never take it.
	mu sync.Mutex
	// roots may open the stored keys; the first wraps those of a new database.
	roots []wrapper

	looks looks
}

// Open reads the keys, or makes the first ones when the store says that none
// was ever made. ErrRefused when the stored keys and the root do not fit; a
// *fault.Error of kind Unavailable when the store cannot answer.
func Open(ctx context.Context, store Store, root Root, opt Options) (*Ring, error) {
	opt, err := opt.check()
	if err != nil {
		return nil, err
	}
	r := &Ring{store: store, opt: opt, log: opt.Log, looks: looks{turn: make(chan struct{}, 1)}}
	for _, one := range append([]Root{root}, opt.OtherRoots...) {
		if !one.IsZero() {
			r.roots = append(r.roots, one.wrapper())
		}
	}
	// The empty plan changes nothing, but what is missing is made.
	err = r.change(ctx, func(base *snapshot) (draft, error) {
		return draft{rows: base.rows(), under: base.under, now: stamp(opt.Now())}, nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// check fills in defaults and refuses what cannot work.
func (o Options) check() (Options, error) {
	if len(o.Algs) == 0 {
		o.Algs = defaultAlgs
	}
	for i, alg := range o.Algs {
		if !known(alg) {
			return o, fmt.Errorf("key: unknown signing algorithm %q; known are %v", alg, algorithms)
		}
		if slices.Contains(o.Algs[:i], alg) {
			return o, fmt.Errorf("key: signing algorithm %s is listed twice", alg)
		}
	}
	switch {
	case o.Now == nil:
		return o, errors.New("key: Options.Now is not set")
	case o.LongestAccess <= 0:
		return o, errors.New("key: Options.LongestAccess is not set")
	case o.JWKSMaxAge < 0 || o.RotateEvery < 0:
		return o, errors.New("key: a duration is negative")
	case o.RotateEvery > 0 && o.RotateEvery < o.published():
		return o, fmt.Errorf("key: keys cannot rotate every %s when a next key is published for %s before it is used", o.RotateEvery, o.published())
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// published is how old a next key must be before it is used: every node serves
// it within ReloadEvery, and a verifier may hold an answer from just before
// for JWKSMaxAge.
func (o Options) published() time.Duration { return o.JWKSMaxAge + ReloadEvery }

// Reload picks up what another node changed. When the stored keys are refused
// or the store cannot answer, this node goes on with the keys it has and says
// so with an error.
func (r *Ring) Reload(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.load(ctx)
	if err != nil {
		return err
	}
	if !s.complete {
		return refuse("they lack the current key of a purpose; restart the server, which then makes what is new in this release")
	}
	r.live.Store(s)
	return nil
}

// load reads the rows and opens them, unless they are those already open.
func (r *Ring) load(ctx context.Context) (*snapshot, error) {
	rows, err := r.store.Load(ctx)
	if err != nil {
		return nil, fault.Down(err)
	}
	prev := r.live.Load()
	if prev != nil && rows.Version == prev.version && bytes.Equal(rows.Roll, prev.sealed) {
		return prev, nil
	}
	if prev == nil && rows.Version == 0 && r.opt.KeysExpected != nil {
		expected, err := r.opt.KeysExpected(ctx)
		if err != nil {
			return nil, fault.Down(err)
		}
		if expected {
			return nil, gone()
		}
	}
	return r.open(rows, prev)
}

// gone refuses a database that has lost every key.
func gone() error {
	return refuse("they are gone, although this database holds sessions that were made with them; restore the stored keys from a backup")
}

// stamp brings a time to what stores keep: whole milliseconds, UTC.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// Info is what may be told about a key.
type Info struct {
	ID      uint32
	Purpose Purpose
	Alg     string
	KID     string
	State   State
	// ActiveAt and RetiredAt are zero until it happened.
	CreatedAt, ActiveAt, RetiredAt time.Time
}

func infoOf(row Row) Info {
	return Info{row.ID, row.Purpose, row.Alg, row.KID, row.State, row.CreatedAt, row.ActiveAt, row.RetiredAt}
}

// Keys lists all keys in the order they were made.
func (r *Ring) Keys() []Info {
	var list []Info
	for _, h := range r.live.Load().keys {
		list = append(list, infoOf(h.row))
	}
	return list
}

// Algs lists the signing algorithms that Signer knows, the default first.
func (r *Ring) Algs() []string {
	s := r.live.Load()
	var list []string
	for _, alg := range append(slices.Clone(r.opt.Algs), algorithms...) {
		if _, ok := s.signers[alg]; ok && !slices.Contains(list, alg) {
			list = append(list, alg)
		}
	}
	return list
}

// Root names the root secret the keys are wrapped under: its fingerprint.
func (r *Ring) Root() string { return r.live.Load().under.mark.String() }
