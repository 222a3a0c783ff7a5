// Package limittest is the exercise that everything that keeps budgets must
// pass: the memory of one node and what several nodes share alike.
//
// It owns what the contract of limit.Counters means in practice. It does not own
// how much is allowed (room limit), and it knows no database.
package limittest

import (
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.example/internal/limit"
)

// Subject is what is exercised.
type Subject struct {
	// Unit is the smallest time it tells apart.
	Unit time.Duration
	// Open gives so many nodes' handles of the same budgets, which count by the
	// given clock, until the test ends.
	Open func(t *testing.T, nodes int, now func() time.Time) []limit.Counters
}

// Exercise runs the whole suite.
func Exercise(t *testing.T, s Subject) {
	for _, g := range []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"LeakyBuckets", leakyBuckets},
		{"WaitIsExact", waitIsExact},
		{"LongRun", longRun},
		{"ClockThatGoesBack", clockThatGoesBack},
		{"OtherRate", otherRate},
		{"TakesAtOnce", takesAtOnce},
	} {
		t.Run(g.name, func(t *testing.T) { g.run(t, s) })
	}
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// bench is some nodes with one clock.
type bench struct {
	*testing.T
	nodes []limit.Counters
	now   atomic.Int64
	turn  atomic.Int64
}

func open(t *testing.T, s Subject, nodes int) *bench {
	b := &bench{T: t}
	b.set(noon)
	b.nodes = s.Open(t, nodes, b.time)
	return b
}

func (b *bench) time() time.Time      { return time.Unix(0, b.now.Load()).UTC() }
func (b *bench) set(t time.Time)      { b.now.Store(t.UnixNano()) }
func (b *bench) node() limit.Counters { return b.nodes[int(b.turn.Add(1))%len(b.nodes)] }

// take spends a unit at the next node.
func (b *bench) take(k limit.Key, r limit.Rate) time.Duration {
	b.Helper()
	wait, err := b.node().Take(b.Context(), b.time(), k, r)
	if err != nil {
		b.Fatal(err)
	}
	return wait
}

// fresh is a key that nobody has used, whatever is kept from earlier tests.
func fresh() limit.Key { return limit.NewKey("limittest", rand.Text()) }

// bucket is the model: a bucket that holds burst x every of time, fills by every
// with each unit and leaks by one second each second.
type bucket struct {
	level time.Duration
	at    time.Time
}

func (b *bucket) leak(now time.Time) {
	b.level = max(0, b.level-now.Sub(b.at))
	b.at = now
}

func (b *bucket) take(now time.Time, r limit.Rate) (wait time.Duration) {
	b.leak(now)
	if over := b.level + r.Every - time.Duration(r.Burst)*r.Every; over > 0 {
		return over
	}
	b.level += r.Every
	return 0
}

func (b *bucket) give(now time.Time, r limit.Rate) {
	b.leak(now)
	b.level = max(0, b.level-r.Every)
}

// leakyBuckets: whatever is taken and given back at whichever node, the answers
// are those of a leaky bucket.
func leakyBuckets(t *testing.T, s Subject) {
	b := open(t, s, 2)
	rapid.Check(t, func(t *rapid.T) {
		r := limit.Rate{Burst: rapid.IntRange(1, 5).Draw(t, "burst"), Every: s.Unit * time.Duration(rapid.IntRange(1, 100).Draw(t, "every"))}
		keys := []limit.Key{fresh(), fresh(), fresh()}
		model := make([]bucket, len(keys))
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			b.set(b.time().Add(s.Unit * time.Duration(rapid.IntRange(0, 60).Draw(t, "pause"))))
			now, which := b.time(), rapid.IntRange(0, len(keys)-1).Draw(t, "key")
			if model[which].at.IsZero() {
				model[which].at = now
			}
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				model[which].give(now, r)
				if err := b.node().Give(b.Context(), now, keys[which], r); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want := model[which].take(now, r)
			got, err := b.node().Take(b.Context(), now, keys[which], r)
			if got != want || err != nil {
				t.Fatalf("Take waits %v (%v), the model %v", got, err, want)
			}
			if got > r.Every {
				t.Fatalf("waits %v for one unit each %v", got, r.Every)
			}
		}
	})
}

// waitIsExact: after the wait there is room, and not before.
func waitIsExact(t *testing.T, s Subject) {
	b, r, key := open(t, s, 1), limit.Rate{Burst: 3, Every: time.Minute}, fresh()
	for range 3 {
		if wait := b.take(key, r); wait != 0 {
			t.Fatalf("%v within the burst", wait)
		}
	}
	b.set(noon.Add(10 * time.Second))
	if wait := b.take(key, r); wait != 50*time.Second {
		t.Errorf("waits %v", wait)
	}
	b.set(noon.Add(time.Minute - s.Unit))
	if b.take(key, r) == 0 {
		t.Error("room too early")
	}
	b.set(noon.Add(time.Minute))
	if b.take(key, r) != 0 {
		t.Error("no room after the wait")
	}
}

// longRun: however it is spread, no more than Burst and one per Every pass.
func longRun(t *testing.T, s Subject) {
	b, r, key, passed := open(t, s, 3), limit.Rate{Burst: 10, Every: time.Minute}, fresh(), 0
	for i := range 10 * 60 * 2 { // two tries a second for ten minutes
		b.set(noon.Add(time.Duration(i) * 500 * time.Millisecond))
		if b.take(key, r) == 0 {
			passed++
		}
	}
	if passed != 10+9 {
		t.Errorf("%d passed", passed)
	}
}

// clockThatGoesBack: an hour lost is no hour locked (FAULT-10).
func clockThatGoesBack(t *testing.T, s Subject) {
	b, r, key := open(t, s, 1), limit.Rate{Burst: 2, Every: time.Minute}, fresh()
	b.set(noon.Add(time.Hour))
	for range 3 {
		b.take(key, r)
	}
	b.set(noon)
	if wait := b.take(key, r); wait <= 0 || wait > time.Minute {
		t.Errorf("waits %v after the clock went back", wait)
	}
	b.set(noon.Add(time.Minute))
	if wait := b.take(key, r); wait != 0 {
		t.Errorf("waits %v a minute later", wait)
	}
}

// otherRate: a budget that was spent under a wider setting is at worst empty
// under a narrower one.
func otherRate(t *testing.T, s Subject) {
	b, key := open(t, s, 1), fresh()
	for range 30 {
		b.take(key, limit.Rate{Burst: 30, Every: time.Hour})
	}
	if wait := b.take(key, limit.Rate{Burst: 2, Every: time.Minute}); wait != time.Minute {
		t.Errorf("waits %v under the narrower rate", wait)
	}
}

// takesAtOnce: of many at the same moment, at several nodes, exactly the burst
// passes.
func takesAtOnce(t *testing.T, s Subject) {
	const nodes, takes, burst = 4, 200, 7
	b, key := open(t, s, nodes), fresh()
	var passed atomic.Int64
	var wg sync.WaitGroup
	for i := range takes {
		wg.Go(func() {
			wait, err := b.nodes[i%nodes].Take(t.Context(), b.time(), key, limit.Rate{Burst: burst, Every: time.Minute})
			if err != nil {
				t.Error(err)
			} else if wait == 0 {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if passed.Load() != burst {
		t.Errorf("%d passed at %d nodes, the budget is %d", passed.Load(), nodes, burst)
	}
}
