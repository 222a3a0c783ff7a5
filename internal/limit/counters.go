package limit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// Counters keeps one budget for each key. Calls are atomic and safe for
// concurrent use. Memory is the one for a single node; several nodes share a
// Store with the same properties (package limittest holds both to them).
//
// now is the caller's time. A Store counts by its own clock instead, because the
// nodes' clocks differ and budgets would grow and shrink by the difference.
type Counters interface {
	// Take spends one unit of key's budget. wait is 0 when there was one, else
	// nothing was spent and there is one again after wait.
	Take(ctx context.Context, now time.Time, key Key, r Rate) (wait time.Duration, err error)
	// Give brings one unit back that Take spent.
	Give(ctx context.Context, now time.Time, key Key, r Rate) error
}

// Store keeps budgets that all nodes share. What it loses is a whole budget
// again, so it need not be durable.
type Store interface {
	Counters
	// Forget deletes at most limit budgets that are whole again, which loses
	// nothing, and reports how many.
	Forget(ctx context.Context, limit int) (int, error)
}

// Key names one budget. It is a digest, so that keys have one size whatever
// somebody types as a user name, and no name is kept.
type Key [16]byte

// NewKey makes the key of something in a space of its own ("account",
// "address"): equal parts in different spaces are different keys.
func NewKey(space string, parts ...string) Key {
	h := sha256.New()
	for _, p := range append([]string{space}, parts...) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return Key(h.Sum(nil))
}

// Limits of Memory.
const (
	// MaxKeys is how many budgets are remembered at once; about 8 MiB when full.
	MaxKeys = 1 << 17
	shards  = 64
	// sample is how many keys of a full shard are looked at to find the one that is
	// missed least.
	sample = 16
)

// Memory keeps budgets in this process. Make it with NewMemory.
type Memory struct {
	shards [shards]shard
	max    int // keys in one shard
}

// shard holds its lock only for the time of a few map operations.
type shard struct {
	mu sync.Mutex
	// full is when each budget is whole again. A key that is not there has a whole
	// budget.
	full map[Key]time.Time
}

// NewMemory returns a Memory that remembers MaxKeys budgets.
func NewMemory() *Memory { return newMemory(MaxKeys / shards) }

func newMemory(perShard int) *Memory {
	m := &Memory{max: perShard}
	for i := range m.shards {
		m.shards[i].full = map[Key]time.Time{}
	}
	return m
}

// Take implements Counters. It never fails.
func (m *Memory) Take(_ context.Context, now time.Time, key Key, r Rate) (wait time.Duration, err error) {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	next, wait := r.take(s.full[key], now)
	if _, known := s.full[key]; !known && len(s.full) >= m.max {
		s.forgetOne(now)
	}
	s.full[key] = next
	return wait, nil
}

// Give implements Counters. It never fails.
func (m *Memory) Give(_ context.Context, now time.Time, key Key, r Rate) error {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	full, known := s.full[key]
	if !known {
		return nil
	}
	next := r.give(full, now)
	if next.After(now) {
		s.full[key] = next
	} else {
		delete(s.full, key)
	}
	return nil
}

// Len is how many budgets are remembered, for metrics.
func (m *Memory) Len() (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.full)
		s.mu.Unlock()
	}
	return n
}

func (m *Memory) shard(key Key) *shard { return &m.shards[key[0]%shards] }

// forgetOne makes room. Of a random sample it drops every budget that is whole
// again, which loses nothing, and in any case the one that will be whole
// soonest. So somebody who floods the memory with fresh names makes it forget
// those names, not the account that was tried most.
func (s *shard) forgetOne(now time.Time) {
	var soonest Key
	var at time.Time
	seen := 0
	for k, full := range s.full { // starts at a random place
		if seen++; seen > sample {
			break
		}
		if seen == 1 || full.Before(at) {
			soonest, at = k, full
		}
		if !full.After(now) {
			delete(s.full, k)
		}
	}
	delete(s.full, soonest)
}
