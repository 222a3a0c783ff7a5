// Package idem owns the answers to calls that carry an idempotency key: the same
// call sent again gets the first answer again, and is not carried out twice.
//
//	reserve ──▶ carry out ──▶ complete      the answer is there for Life
//	   │             └──▶ release           refused, nothing happened: the key is free
//	   └── crash, or outcome unknown        whoever repeats is told to look first
//
// It does not own what a call does, which calls may carry a key (the doors), nor
// the keys that seal what is stored (room key).
package idem

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"time"

	"holdfast.example/internal/fault"
)

// The limits of what is remembered.
const (
	// Life is for how long a call is remembered.
	Life = 24 * time.Hour
	// MaxKey is the longest idempotency key, in characters.
	MaxKey = 255
	// MaxAnswer is the largest answer that is kept, in bytes. A larger one is
	// given once; who repeats the call is told to look what became of it.
	MaxAnswer = 256 << 10
	// storeWithin bounds the write that completes or releases a call whose caller
	// may have left.
	storeWithin = 5 * time.Second
)

// Record is one remembered call.
type Record struct {
	// Call is the digest of who called what with which key.
	Call [sha256.Size]byte
	At   time.Time
	// Answered is set once Sealed holds the answer; until then it holds the digest
	// of the body alone.
	Answered bool
	Sealed   []byte
}

// Store keeps records. Every call is atomic, and durable once it returned nil.
type Store interface {
	// Reserve writes r unless a record of the same call stands that is not older
	// than notBefore; then nothing is written, and it returns that one and false.
	Reserve(ctx context.Context, r Record, notBefore time.Time) (standing Record, reserved bool, err error)
	// Complete writes r over the reservation of its call.
	Complete(ctx context.Context, r Record) error
	// Release removes the reservation of a call that did not happen.
	Release(ctx context.Context, call [sha256.Size]byte) error
	// Forget deletes at most limit records from before a time and reports how
	// many.
	Forget(ctx context.Context, before time.Time, limit int) (int, error)
}

// Sealer encrypts and authenticates what is stored: answers contain secrets that
// are shown once, and the digest of a body with a password would let who reads
// the database guess at it.
type Sealer interface {
	SealOpaque(plain []byte) []byte
	OpenOpaque(sealed []byte) (plain []byte, ok bool)
}

// Keeper remembers calls.
type Keeper struct {
	Store Store
	Seal  Sealer
	Now   func() time.Time
	// Patience is how long a call may take; a reservation that is older was left
	// behind by one whose outcome nobody wrote down.
	Patience time.Duration
}

// Call is one call with an idempotency key.
type Call struct {
	// Actor, Route and Key name the call together.
	Actor, Route, Key string
	// Body is the body as it was sent, with everything else that the call means.
	Body []byte
}

// Answer is what a call was answered with.
type Answer struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
	Body   []byte      `json:"body"`
}

// memory is what is sealed.
type memory struct {
	// Use keeps what this room sealed apart from everything else under the key.
	Use    string  `json:"use"`
	Call   []byte  `json:"call"`
	Body   []byte  `json:"body_digest"`
	Answer *Answer `json:"answer,omitempty"`
}

const use = "holdfast/idem/v1"

// ErrOtherBody is the private cause of a refusal: the key was used for another
// body.
var ErrOtherBody = fault.New(fault.InvalidRequest, "this idempotency key was used for another body; a key stands for one call")

// CheckKey holds an idempotency key to its form: 1 to MaxKey visible ASCII
// characters.
func CheckKey(key string) error {
	for i := range len(key) {
		if key[i] < 0x21 || key[i] > 0x7e {
			return fault.New(fault.InvalidRequest, "an Idempotency-Key has visible ASCII characters only")
		}
	}
	if key == "" || len(key) > MaxKey {
		return fault.Newf(fault.InvalidRequest, "an Idempotency-Key has 1 to %d characters", MaxKey)
	}
	return nil
}

// Do carries a call out once. again is set when the answer is that of an earlier
// time. An error of run that says that nothing happened is returned and frees
// the key; after one of kind Unavailable or Internal nobody knows, and the key
// stays taken.
//
// Its own errors are *fault.Error: Conflict while the call is under way or its
// outcome is not known, ErrOtherBody, Unavailable.
func (k *Keeper) Do(ctx context.Context, c Call, run func() (Answer, error)) (a Answer, again bool, err error) {
	body := sha256.Sum256(c.Body)
	r := Record{Call: c.digest(), At: k.Now().UTC()}
	r.Sealed = k.seal(r, body, nil)
	standing, reserved, err := k.Store.Reserve(ctx, r, r.At.Add(-Life))
	if err != nil {
		return Answer{}, false, fault.Down(err)
	}
	if !reserved {
		a, err := k.recall(standing, body, r.At)
		return a, err == nil, err
	}
	a, err = run()
	// The caller may be gone by now; what happened is written down all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeWithin)
	defer cancel()
	switch {
	case err == nil && len(a.Body) <= MaxAnswer:
		r.Answered, r.Sealed = true, k.seal(r, body, &a)
		// Not written down, the call is one of unknown outcome to who repeats it;
		// who called gets the answer.
		_ = k.Store.Complete(ctx, r)
	case err == nil, fault.Is(err, fault.Unavailable), fault.As(err).Kind == fault.Internal:
	default:
		_ = k.Store.Release(ctx, r.Call) // the key stays taken until it expires
	}
	return a, false, err
}

// recall answers from a record.
func (k *Keeper) recall(r Record, body [sha256.Size]byte, now time.Time) (Answer, error) {
	plain, ok := k.Seal.OpenOpaque(r.Sealed)
	var m memory
	if !ok || json.Unmarshal(plain, &m) != nil || m.Use != use || !bytes.Equal(m.Call, r.Call[:]) {
		return Answer{}, fault.New(fault.Conflict, "a call with this idempotency key was made, but its answer can no longer be read; look what it did before you repeat it with another key")
	}
	switch {
	case !bytes.Equal(m.Body, body[:]):
		return Answer{}, ErrOtherBody
	case m.Answer != nil:
		return *m.Answer, nil
	case now.Sub(r.At) < k.Patience:
		return Answer{}, &fault.Error{Kind: fault.Conflict, RetryAfter: fault.RetrySoon, Words: "the call with this idempotency key is under way; ask again in a moment"}
	}
	return Answer{}, fault.New(fault.Conflict, "the outcome of the call with this idempotency key is unknown; look what it did before you repeat it with another key")
}

func (k *Keeper) seal(r Record, body [sha256.Size]byte, a *Answer) []byte {
	b, err := json.Marshal(memory{Use: use, Call: r.Call[:], Body: body[:], Answer: a})
	if err != nil { // numbers and text always encode
		return nil
	}
	return k.Seal.SealOpaque(b)
}

// digest names the call, in a form that no two calls share.
func (c Call) digest() [sha256.Size]byte {
	b, err := json.Marshal([]string{c.Actor, c.Route, c.Key})
	if err != nil { // text always encodes
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(b)
}
