package limit

import (
	"fmt"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

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
