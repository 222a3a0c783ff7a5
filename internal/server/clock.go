package server

import (
	"sync"
	"time"
)

// The clock of a node whose sessions are in a database elsewhere decides nothing
// about them. It still dates the log, and whoever reads it, or verifies our tokens
// on the same machine, is misled.
const (
	// driftLimit is how far a node's clock may be from the database's before the log
	// says so.
	driftLimit = 5 * time.Second
	// driftMended is how near it has to come before it counts as set right: a clock at
	// the limit would be told of at each look.
	driftMended = driftLimit / 2
	// driftEvery is how often it says so.
	driftEvery = 10 * time.Minute
)

// drift compares the node's clock with the store's at each round of the house-keeper.
type drift struct {
	mu sync.Mutex
	// ahead is how far this node was ahead at the last look; behind is below 0.
	ahead time.Duration
	// said is when the log was told, by the store's time.
	said time.Time
}

// look takes down one reading of the store's time, which was taken between two
// readings of the node's. It reports whether the log is to be told.
func (d *drift) look(before, store, after time.Time) (ahead time.Duration, tell bool) {
	switch {
	case before.After(store):
		ahead = before.Sub(store)
	case after.Before(store):
		ahead = after.Sub(store)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ahead = ahead
	if ahead.Abs() <= driftMended {
		d.said = time.Time{}
	}
	if ahead.Abs() <= driftLimit {
		return ahead, false
	}
	if !d.said.IsZero() && store.Sub(d.said).Abs() < driftEvery {
		return ahead, false
	}
	d.said = store
	return ahead, true
}

// seconds is for the metrics.
func (d *drift) seconds() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ahead.Seconds()
}
