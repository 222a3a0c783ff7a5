package storetest

import (
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// EnvPurgeRows is how many sessions Purging lets expire.
const EnvPurgeRows = "HOLDFAST_PURGE_ROWS"

// Purgeable is an empty database on a clock that the exercise moves.
type Purgeable struct {
	Bundle
	// Multiply adds copies of a session, under ids of their own.
	Multiply func(t *testing.T, which id.Session, copies int)
	// Watch is a clock to measure with.
	Watch func() time.Time
	// Count counts the sessions.
	Count func(*testing.T) int
}

const (
	purgeRows  = 6_000
	purgeBatch = 500 // what the house-keeper of a server purges in one go
	refreshers = 4
)

// purgePolicy rotates at nearly every refresh.
var purgePolicy = session.Policy{Rotate: true, Overlap: time.Millisecond, Recovery: idleLimit, Idle: idleLimit}

// Purging purges many sessions that are over while devices refresh. No batch takes more
// rows than it was asked for, devices refresh between any two of them, and nothing is
// lost that somebody needs: the chain that tells a spent token from a good one, and why
// a device was signed out.
func Purging(t *testing.T, open func(t *testing.T, now func() time.Time) Purgeable) {
	expired := purgeRows
	if s := os.Getenv(EnvPurgeRows); s != "" {
		var err error
		if expired, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	var clock atomic.Int64
	clock.Store(day.UnixMilli())
	now := func() time.Time { return time.UnixMilli(clock.Load()).UTC() }
	db := open(t, now)
	l := live(t, Aged{Bundle: db.Bundle}, now)
	p := &purging{life: l, clock: &clock, watch: db.Watch}

	const thief, gone = 0, 1
	spent := l.tokens[thief]
	for range 2 {
		if err := p.refresh(thief); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.keeper.End(l.ctx, l.ids[gone], fault.SignedOut); err != nil {
		t.Fatal(err)
	}
	idle := p.lapsed(now().Add(-idleLimit - 24*time.Hour))
	long := now().Add(-2*retention - idleLimit)
	used, ended := p.lapsed(long), p.lapsed(long)
	c := end(ended, fault.SignedOut)
	c.Next.EndedAt = long
	if err := db.Sessions.Replace(l.ctx, c); err != nil {
		t.Fatal(err)
	}
	stay := db.Count(t) - 2
	db.Multiply(t, used.ID, expired/2-1)
	db.Multiply(t, ended.ID, expired-expired/2-1)

	alone := p.run(func(waitForOne func()) {
		for range 50 {
			waitForOne()
		}
	})
	var slowest time.Duration
	var all int
	before := [2]time.Time{now().Add(-retention), now().Add(-retention - idleLimit)}
	began := db.Watch()
	beside := p.run(func(waitForOne func()) {
		for {
			start := db.Watch()
			n, err := db.Sessions.Purge(l.ctx, before[0], before[1], purgeBatch)
			slowest = max(slowest, db.Watch().Sub(start))
			if all += n; err != nil || n > purgeBatch {
				t.Errorf("a batch of at most %d purged %d: %v", purgeBatch, n, err)
				return
			}
			if all >= expired || n == 0 {
				return
			}
			waitForOne()
		}
	})
	t.Logf("%d of %d rows in %v, slowest batch %v; refreshes: p50 %v, p99 %v, slowest %v; beside the purge (%d of them): p50 %v, p99 %v, slowest %v",
		all, expired, db.Watch().Sub(began).Round(time.Millisecond), slowest.Round(time.Microsecond),
		part(alone, .5), part(alone, .99), part(alone, 1), len(beside), part(beside, .5), part(beside, .99), part(beside, 1))

	if all != expired || db.Count(t) != stay {
		t.Errorf("purged %d rows of %d; %d are left of %d that somebody needs", all, expired, db.Count(t), stay)
	}
	p.ends(idle.ID, "")
	p.ends(l.ids[gone], fault.SignedOut)
	terms := func(session.Session) (session.Policy, error) { return purgePolicy, nil }
	if _, err := l.keeper.Refresh(l.ctx, spent, app, terms); !fault.Is(err, fault.InvalidGrant) {
		t.Errorf("a spent token is answered after the purge: %v", err)
	}
	p.ends(l.ids[thief], fault.Reuse)
}

// PurgeWalks purges a table that is many looks long; look is how many rows one of them
// passes, and looks how many a purge takes. A purge with little to do does not read the
// whole table, the ones after it do, and the reasons of epochs are forgotten when a walk
// has come to the end. reasons counts those.
func PurgeWalks(t *testing.T, db Purgeable, look, looks int, reasons func(*testing.T) int) {
	w := begin(t, func(*testing.T) Bundle { return db.Bundle })
	u := w.person()
	stands := device(u)
	stands.UsedAt = day.Add(100 * time.Hour)
	over := device(u)
	w.opened(stands)
	w.opened(over)
	if _, err := w.Sessions.EndAll(w.ctx, session.Everywhere{User: u.ID, Reason: fault.Everywhere, EntryLife: entryLife}); err != nil {
		t.Fatal(err)
	}
	had := reasons(t)
	const due = 9
	db.Multiply(t, over.ID, due-1)
	db.Multiply(t, stands.ID, 3*look*looks-due)
	// As many purges as three walks of the whole table take, at the most.
	total, calls := 0, 0
	for ; calls < 3*(3+1); calls++ {
		n, err := w.Sessions.Purge(w.ctx, time.Time{}, day.Add(50*time.Hour), 1000)
		if err != nil {
			t.Fatal(err)
		}
		total += n
		if calls == 1 && reasons(t) != had {
			t.Error("the reasons of epochs were forgotten before the table was looked through")
		}
	}
	if left := db.Count(t); total != due || left != 3*look*looks-due+1 {
		t.Errorf("after %d purges %d of %d sessions are gone, %d are left", calls, total, due, left)
	}
	if left := reasons(t); had == 0 || left != 0 {
		t.Errorf("%d reasons of %d are left", left, had)
	}
}

// purging is the devices beside a purge.
type purging struct {
	*life
	clock *atomic.Int64
	watch func() time.Time
}

func (p *purging) refresh(i int) error {
	p.clock.Add(time.Second.Milliseconds())
	turn, err := p.keeper.Refresh(p.ctx, p.tokens[i], app, func(session.Session) (session.Policy, error) { return purgePolicy, nil })
	if err == nil {
		p.tokens[i] = turn.Token
	}
	return err
}

// lapsed is a session that was last used at a time.
func (p *purging) lapsed(at time.Time) session.Session {
	p.t.Helper()
	s := device(p.owners[0])
	s.CreatedAt, s.AuthTime, s.UsedAt, s.Chain.IssuedAt = at, at, at, at
	if err := p.db.Sessions.Open(p.ctx, session.Opening{Session: s}); err != nil {
		p.t.Fatal(err)
	}
	return s
}

// run lets devices refresh while something is done, and gives how long each refresh took.
// What is done may wait for the next one.
func (p *purging) run(do func(waitForOne func())) (took []time.Duration) {
	p.t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	var stop atomic.Bool
	next, failed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	for i := aged - refreshers; i < aged; i++ {
		all.Go(func() {
			for !stop.Load() {
				began := p.watch()
				if err := p.refresh(i); err != nil {
					p.t.Errorf("device %d: %v", i, err)
					once.Do(func() { close(failed) })
					return
				}
				mu.Lock()
				took = append(took, p.watch().Sub(began))
				close(next)
				next = make(chan struct{})
				mu.Unlock()
			}
		})
	}
	do(func() {
		mu.Lock()
		one := next
		mu.Unlock()
		select {
		case <-one:
		case <-failed:
		}
	})
	stop.Store(true)
	all.Wait()
	slices.Sort(took)
	return took
}

// ends fails unless a session is there and ended for a reason, "" for none.
func (p *purging) ends(which id.Session, why fault.Reason) {
	p.t.Helper()
	l, err := p.db.Sessions.Load(p.ctx, which)
	if err != nil || l.Session.EndReason != why {
		p.t.Errorf("the session is %q, %v; want %q", l.Session.EndReason, err, why)
	}
}

// part is the value that so much of sorted ones do not exceed.
func part(sorted []time.Duration, of float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(of*float64(len(sorted))), len(sorted)-1)].Round(time.Microsecond)
}
