package limit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Limits of asking what the nodes share.
const (
	// AskWait is how long a Fallback waits for an answer about one budget.
	AskWait = time.Second
	// Rest is for how long a Fallback asks nobody after a question that failed, so
	// that not everybody who signs in waits for AskWait.
	Rest = time.Second
)

// Fallback counts in what all nodes share and, when that does not answer, in the
// memory of this node alone.
//
// It neither refuses everybody nor counts nobody. A limit that cannot be asked is
// no reason to turn people away: what proves a password is asked next, and says
// by itself whether it is there. And whoever can stop what the nodes share must
// not gain a free run at passwords. So each node goes on by itself: at worst an
// attacker has as many budgets as there are nodes, for as long as it lasts. The
// memory counts along while all is well, or every node would begin with whole
// budgets.
type Fallback struct {
	// Nodes is what the nodes share.
	Nodes Counters
	// Own is the memory of this node.
	Own *Memory

	alone atomic.Uint64
	// failed is when Nodes last failed to answer, in nanoseconds since 1970.
	failed atomic.Int64
}

// errResting: a question failed a moment ago.
var errResting = errors.New("limit: what the nodes share did not answer a moment ago")

// Alone is how many units were taken in this node's memory alone, for metrics.
func (f *Fallback) Alone() uint64 { return f.alone.Load() }

// Take implements Counters. It fails only for a caller that is gone.
func (f *Fallback) Take(ctx context.Context, now time.Time, key Key, r Rate) (wait time.Duration, err error) {
	err = f.ask(ctx, now, func(ctx context.Context) (err error) {
		wait, err = f.Nodes.Take(ctx, now, key, r)
		return err
	})
	switch {
	case err == nil && wait > 0:
		return wait, nil
	case err != nil && ctx.Err() != nil:
		return 0, err // nobody waits for the answer
	}
	if err != nil {
		f.alone.Add(1)
		return f.Own.Take(ctx, now, key, r)
	}
	_, err = f.Own.Take(ctx, now, key, r)
	return 0, err
}

// Give implements Counters. A unit that cannot be given to the nodes stays spent
// there, which time heals.
func (f *Fallback) Give(ctx context.Context, now time.Time, key Key, r Rate) error {
	_ = f.ask(ctx, now, func(ctx context.Context) error { return f.Nodes.Give(ctx, now, key, r) })
	return f.Own.Give(ctx, now, key, r)
}

// ask puts one question to what the nodes share, unless the last one failed
// within Rest.
func (f *Fallback) ask(ctx context.Context, now time.Time, question func(context.Context) error) error {
	last := f.failed.Load()
	if age := time.Duration(now.UnixNano() - last); last != 0 && age >= 0 && age < Rest {
		return errResting
	}
	asking, cancel := context.WithTimeout(ctx, AskWait)
	defer cancel()
	err := question(asking)
	if err != nil && ctx.Err() == nil {
		f.failed.Store(now.UnixNano())
	}
	return err
}
