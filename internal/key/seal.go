package key

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
)

// SealUse says what an HMAC of a sealing key is for. Each use has a subkey of
// its own, so that no output of one can pass as another's.
type SealUse uint8

// The uses.
const (
	UseSeal  SealUse = iota // the seal of a refresh token, together with the session's own secret
	UseCheck                // the check over the whole string, which needs no database
	UseDress                // the signature of a refresh token in JWT dress
	sealUses
)

var sealLabels = [sealUses]string{"holdfast/seal/v1/seal", "holdfast/seal/v1/check", "holdfast/seal/v1/dress"}

// SealKey is one sealing key. Copies share the key.
type SealKey struct {
	// ID is the key id that every sealed token carries.
	ID uint32

	key *sealKey
}

// sealKey keeps keyed HMAC states ready: keying one costs as much as using it.
type sealKey struct{ uses [sealUses]macs }

// macs lends out keyed HMAC states, one to a goroutine.
type macs struct{ pool sync.Pool }

// mac is one keyed HMAC with room for its input and output: what the hash sees
// must live on the heap, and so the caller's does not have to.
type mac struct {
	keyed   hash.Hash
	in, out []byte
}

// maxKeptInput is the longest input, in bytes, whose room is kept for the next
// call.
const maxKeptInput = 4096

func newSealKey(raw []byte) *sealKey {
	k := new(sealKey)
	for use, label := range sealLabels {
		sub := expand(raw, label, sha256.Size)
		k.uses[use].pool.New = func() any {
			return &mac{keyed: hmac.New(sha256.New, sub), out: make([]byte, 0, sha256.Size)}
		}
	}
	return k
}

// MAC is HMAC-SHA-256 of data under the subkey of a use. It neither keeps nor
// changes data.
func (k SealKey) MAC(use SealUse, data []byte) (sum [sha256.Size]byte) {
	states := &k.key.uses[use].pool
	m := states.Get().(*mac)
	m.in = append(m.in[:0], data...)
	m.keyed.Reset()
	m.keyed.Write(m.in)
	m.out = m.keyed.Sum(m.out[:0])
	copy(sum[:], m.out)
	if cap(m.in) <= maxKeptInput {
		states.Put(m)
	}
	return sum
}

// SealKey is the key that new refresh tokens are sealed with.
func (r *Ring) SealKey() SealKey { return r.live.Load().seal }

// SealKeyByID also finds retired sealing keys, and the next one: another node
// may use it a moment before this one knows that it is current.
func (r *Ring) SealKeyByID(n uint32) (SealKey, bool) {
	k, ok := r.live.Load().seals[n]
	return k, ok
}
