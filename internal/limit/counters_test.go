package limit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// open lists every Counters there is. Each has to have the properties below.
var open = map[string]func() Counters{
	"memory": func() Counters { return NewMemory() },
}

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

func (b *bucket) take(now time.Time, r Rate) (wait time.Duration) {
	b.leak(now)
	if over := b.level + r.Every - time.Duration(r.Burst)*r.Every; over > 0 {
		return over
	}
	b.level += r.Every
	return 0
}

func (b *bucket) give(now time.Time, r Rate) {
	b.leak(now)
	b.level = max(0, b.level-r.Every)
}

func TestCountersAreLeakyBuckets(t *testing.T) {
	for name, open := range open {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				r := Rate{rapid.IntRange(1, 5).Draw(t, "burst"), time.Duration(rapid.IntRange(1, 100).Draw(t, "every"))}
				c, model, now := open(), map[Key]*bucket{}, noon
				for range rapid.IntRange(1, 60).Draw(t, "steps") {
					now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "pause")))
					key := NewKey("k", string(rapid.RuneFrom([]rune("abc")).Draw(t, "key")))
					if model[key] == nil {
						model[key] = &bucket{at: now}
					}
					if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
						model[key].give(now, r)
						if err := c.Give(t.Context(), now, key, r); err != nil {
							t.Fatal(err)
						}
						continue
					}
					want := model[key].take(now, r)
					got, err := c.Take(t.Context(), now, key, r)
					if got != want || err != nil {
						t.Fatalf("Take waits %v (%v), the model %v", got, err, want)
					}
					if got > r.Every {
						t.Fatalf("waits %v for one unit each %v", got, r.Every)
					}
				}
			})
		})
	}
}

// TestWaitIsExact: after the wait there is room, and not before.
func TestWaitIsExact(t *testing.T) {
	for name, open := range open {
		c, r, key := open(), Rate{3, time.Minute}, NewKey("k")
		take := func(now time.Time) time.Duration {
			wait, err := c.Take(t.Context(), now, key, r)
			if err != nil {
				t.Fatal(err)
			}
			return wait
		}
		for range 3 {
			if wait := take(noon); wait != 0 {
				t.Fatalf("%s: %v within the burst", name, wait)
			}
		}
		wait := take(noon.Add(10 * time.Second))
		if wait != 50*time.Second {
			t.Errorf("%s: waits %v", name, wait)
		}
		if take(noon.Add(time.Minute-1)) == 0 {
			t.Errorf("%s: room too early", name)
		}
		if take(noon.Add(time.Minute)) != 0 {
			t.Errorf("%s: no room after the wait", name)
		}
	}
}

// TestLongRun: however it is spread, no more than Burst and one per Every pass.
func TestLongRun(t *testing.T) {
	for name, open := range open {
		c, r, passed := open(), Rate{10, time.Minute}, 0
		for i := range 10 * 60 * 20 { // 20 tries a second for ten minutes
			wait, _ := c.Take(t.Context(), noon.Add(time.Duration(i)*50*time.Millisecond), NewKey("k"), r)
			if wait == 0 {
				passed++
			}
		}
		if passed != 10+9 {
			t.Errorf("%s: %d passed", name, passed)
		}
	}
}

// TestClockThatGoesBack: an hour lost is no hour locked (FAULT-10).
func TestClockThatGoesBack(t *testing.T) {
	for name, open := range open {
		c, r, key := open(), Rate{2, time.Minute}, NewKey("k")
		for range 3 {
			_, _ = c.Take(t.Context(), noon.Add(time.Hour), key, r)
		}
		wait, _ := c.Take(t.Context(), noon, key, r)
		if wait <= 0 || wait > time.Minute {
			t.Errorf("%s: waits %v after the clock went back", name, wait)
		}
		if wait, _ := c.Take(t.Context(), noon.Add(time.Minute), key, r); wait != 0 {
			t.Errorf("%s: waits %v a minute later", name, wait)
		}
	}
}

// TestTakesAtOnce: of many at the same moment exactly the burst passes.
func TestTakesAtOnce(t *testing.T) {
	for name, open := range open {
		c := open()
		var passed atomic.Int64
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				wait, err := c.Take(t.Context(), noon, NewKey("k"), Rate{7, time.Minute})
				if wait == 0 && err == nil {
					passed.Add(1)
				}
			})
		}
		wg.Wait()
		if passed.Load() != 7 {
			t.Errorf("%s: %d passed", name, passed.Load())
		}
	}
}

// TestMemoryIsBounded: a flood of fresh keys neither grows the memory nor makes
// it forget the key that was tried most.
func TestMemoryIsBounded(t *testing.T) {
	const perShard = 32
	m, r, tried := newMemory(perShard), Rate{30, time.Minute}, NewKey("account", "alice")
	for range 40 {
		_, _ = m.Take(t.Context(), noon, tried, r)
	}
	for i := range 100 * shards * perShard {
		_, _ = m.Take(t.Context(), noon, NewKey("account", fmt.Sprint(i)), r)
	}
	if n := m.Len(); n != shards*perShard {
		t.Errorf("%d keys are remembered, want %d", n, shards*perShard)
	}
	if wait, _ := m.Take(t.Context(), noon, tried, r); wait != time.Minute {
		t.Errorf("the account that was tried most waits %v", wait)
	}
}

// TestIdleKeysGoFirst: what says nothing any more makes room before what does.
func TestIdleKeysGoFirst(t *testing.T) {
	const perShard = sample // so that a sample is the whole shard
	m, r := newMemory(perShard), Rate{5, time.Minute}
	var same []Key // keys of one shard
	for i := 0; len(same) < perShard+1; i++ {
		if k := NewKey("k", fmt.Sprint(i)); m.shard(k) == &m.shards[0] {
			same = append(same, k)
		}
	}
	busy, fresh := same[0], same[perShard]
	for _, k := range same[1:perShard] {
		_, _ = m.Take(t.Context(), noon, k, r)
	}
	later := noon.Add(time.Hour)
	_, _ = m.Take(t.Context(), later, busy, r)
	_, _ = m.Take(t.Context(), later, fresh, r)
	if s := &m.shards[0]; len(s.full) != 2 || s.full[busy].IsZero() || s.full[fresh].IsZero() {
		t.Errorf("%d keys are left", len(s.full))
	}
	// A budget that became whole by giving back is not kept either.
	_ = m.Give(t.Context(), later, busy, r)
	if m.Len() != 1 {
		t.Errorf("%d keys are left after a return", m.Len())
	}
}

func TestKeysDoNotRunTogether(t *testing.T) {
	seen := map[Key]bool{}
	for _, k := range []Key{NewKey("a"), NewKey("a", ""), NewKey("", "a"), NewKey("a", "b", "c"), NewKey("a", "bc"), NewKey("ab", "c"), NewKey("a", "b", "c", "")} {
		if seen[k] {
			t.Errorf("key %x twice", k)
		}
		seen[k] = true
	}
}
