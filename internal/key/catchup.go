package key

import (
	"context"
	"sync/atomic"
	"time"

	"holdfast.example/internal/fault"
)

// Limits of looking for keys that another node made.
const (
	// lookGap is the shortest time between two looks: whoever presents invented
	// names of keys makes the store work so often and not oftener.
	lookGap = 100 * time.Millisecond
	// lookWithin is how long one look may take.
	lookWithin = 3 * time.Second
)

// looks are the looks of all callers: those that come together share one.
type looks struct {
	turn  chan struct{} // holds one while somebody looks
	begun atomic.Uint64
	// at is when the last look began and err how it ended; turn guards them.
	at  time.Time
	err error
}

// CatchUp is called when something names a key that this ring does not hold. The
// next key of every line is known to all nodes before it is used, but keys may be
// turned by force, twice in a moment, between two reloads of this node. So the
// store is asked once more before the answer is that there is no such key.
//
// n is the key's id, 0 when only its kid is known. An id that cannot have been
// given out since the last look returns at once. When CatchUp returns nil the ring
// holds what the store held at some moment after the call; the error is of kind
// Unavailable and means that nobody can tell. Callers that come together share one
// look, and looks are lookGap apart.
func (r *Ring) CatchUp(ctx context.Context, n uint32) error {
	if n != 0 {
		next := r.live.Load().nextID
		if n < next || n-next >= MaxKeys {
			return nil
		}
	}
	l := &r.looks
	seen := l.begun.Load()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return fault.Down(context.Cause(ctx))
	}
	if l.begun.Load() != seen { // one that began after the call has ended meanwhile
		return l.err
	}
	if !l.wait(ctx, r.opt.Now()) {
		return fault.Down(context.Cause(ctx))
	}
	l.begun.Add(1)
	l.at = r.opt.Now()
	// Others may wait for this look, so the one who makes it cannot call it off.
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookWithin)
	defer cancel()
	l.err = nil
	if err := r.Reload(look); err != nil {
		l.err = fault.Down(err)
	}
	return l.err
}

// wait keeps looks apart; false when the caller left.
func (l *looks) wait(ctx context.Context, now time.Time) bool {
	age := now.Sub(l.at)
	if age < 0 || age >= lookGap {
		return true
	}
	t := time.NewTimer(lookGap - age)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// UnknownOpaque is the id of the key that a sealed opaque token names and this ring
// does not hold; 0 when it holds the key, or when there is none to name.
func (r *Ring) UnknownOpaque(sealed []byte) uint32 {
	n, ok := opaqueID(sealed)
	if !ok {
		return 0
	}
	if _, held := r.live.Load().opaques[n]; held {
		return 0
	}
	return n
}
