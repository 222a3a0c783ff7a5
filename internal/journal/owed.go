package journal

import (
	"sync"

	"holdfast.example/internal/id"
)

// maxOwed is how many are remembered one by one; beyond it all that have
// ended are, until a round succeeds.
const maxOwed = 4096

// owed are the sessions and accounts whose end was not acknowledged: the journal could
// not be written, or nobody knew whether the end was committed. Whoever repeats the
// request finds it done and would be told so, while the journal does not have it. So
// such a session is read as ended, and such an account as disabled, only after a round
// that began later.
type owed struct {
	mu sync.Mutex
	// since is when each one came, counted in ends that were not acknowledged.
	since map[[id.Size]byte]uint64
	// overflow is when the last one came that had no room, last when any came.
	overflow, last uint64
}

// add remembers one.
func (o *owed) add(which [id.Size]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since == nil {
		o.since = map[[id.Size]byte]uint64{}
	}
	o.last++
	if _, known := o.since[which]; known || len(o.since) < maxOwed {
		o.since[which] = o.last
	} else {
		o.overflow = o.last
	}
}

// has reports whether an end may be missing in the journal.
func (o *owed) has(which [id.Size]byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, owing := o.since[which]
	return owing || o.overflow > 0
}

// count is how many are owed, at most maxOwed.
func (o *owed) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.since)
}

// moment is now, as add counts.
func (o *owed) moment() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// settle forgets what came up to a moment.
func (o *owed) settle(upTo uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for s, at := range o.since {
		if at <= upTo {
			delete(o.since, s)
		}
	}
	if o.overflow <= upTo {
		o.overflow = 0
	}
}
