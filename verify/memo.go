package verify

import (
	"crypto/sha256"
	"sync"
)

// memoShards keeps goroutines on many cores out of each other's way. The
// first byte of the digest chooses, and digests are evenly spread.
const memoShards = 16

// digest is the SHA-256 of a token: the memo keeps no token, and nobody can
// make two tokens fall on one entry.
type digest = [sha256.Size]byte

// digestOf hashes a token. A usual token fits into the stack, so that showing
// it again allocates nothing but its claims.
func digestOf(token string) digest {
	var usual [1 << 10]byte
	return sha256.Sum256(append(usual[:0], token...))
}

// memo remembers which tokens verified. It holds at most as many as it was
// made for; the oldest entry makes room. Only tokens that verified get in, so
// only the issuer's own tokens can push each other out.
type memo struct{ shards [memoShards]memoShard }

type memoShard struct {
	// mu guards the fields below. It is held for map operations only.
	mu      sync.RWMutex
	entries map[digest]remembered
	ring    []digest // insertion order; ring[next] is the oldest
	next    int
}

// remembered is one verified token: its claims, and the key whose signature
// passed. The entry counts only while that very key is trusted.
type remembered struct {
	key    *Key
	claims *Claims
}

func newMemo(capacity int) *memo {
	m := &memo{}
	for i := range m.shards {
		m.shards[i].entries = make(map[digest]remembered)
		m.shards[i].ring = make([]digest, (capacity+memoShards-1)/memoShards)
	}
	return m
}

func (m *memo) shard(d digest) *memoShard { return &m.shards[d[0]%memoShards] }

// recall returns the claims of a token that verified under a key that set
// still holds. They belong to the memo: nobody may change them. An entry whose
// key is gone is removed.
func (m *memo) recall(d digest, set *KeySet) *Claims {
	s := m.shard(d)
	s.mu.RLock()
	e, ok := s.entries[d]
	s.mu.RUnlock()
	if !ok {
		return nil
	}
	if set == nil || !set.holds(e.key) {
		m.forget(d)
		return nil
	}
	return e.claims
}

func (m *memo) remember(d digest, key *Key, c *Claims) {
	s := m.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.entries[d]; !there {
		delete(s.entries, s.ring[s.next]) // no entry if it was forgotten meanwhile
		s.ring[s.next] = d
		s.next = (s.next + 1) % len(s.ring)
	}
	s.entries[d] = remembered{key, c}
}

func (m *memo) forget(d digest) {
	s := m.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, d)
}
