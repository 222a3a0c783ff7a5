// Package once owns what may be used a single time until it expires: the jti of
// a proof that somebody shows, and a short-lived value under a one-time name (an
// authorization code, a ticket for a web view), on all nodes together.
//
//	Spend ──▶ first, or not            a proof: its key is all there is to keep
//	Put ──▶ Take ──▶ the value          a code: its key, and what it stands for
//	             └──▶ *Spent            any later time, until it expires
//
// It does not own what a proof proves, how long one may live, or what follows when
// one is used twice (the callers), nor the keys that seal what is stored (room
// key).
//
// Everything is in the database, never in a cache: what a cache forgets, by a
// restart or when it is full, could be spent again
// (docs/adr/0012-what-nodes-share.md).
package once

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdfast.example/internal/fault"
)

// The limits of what is kept.
const (
	// MaxLife is how long anything may be remembered. Proofs that live longer are
	// refused, because somebody would choose a life that never ends.
	MaxLife = 24 * time.Hour
	// MaxValue is the largest value, in bytes, before it is sealed.
	MaxValue = 16 << 10
	// Slack is for how much longer than asked a key is remembered: a node whose
	// clock is behind still believes a proof that has expired by the store's.
	Slack = 5 * time.Minute
)

// Key names one thing. It is a digest, so that keys have one size whatever
// somebody writes into a jti, and the store does not know codes.
type Key [sha256.Size]byte

// NewKey makes the key of something in a space of its own ("dpop", "code"): equal
// parts in different spaces are different keys. What tells two issuers or two
// clients apart that may choose the same jti belongs into parts.
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

// What a Store says no with.
var (
	// ErrTaken: something is kept under the key already.
	ErrTaken = errors.New("once: the key is in use")
	// ErrUnknown: nothing is kept under the key, or it has expired.
	ErrUnknown = errors.New("once: there is nothing under the key")
)

// Value is what a Take found.
type Value struct {
	Sealed []byte
	// First is set for the one Take that may use it.
	First bool
	// At is when it was first taken.
	At time.Time
}

// Store keeps what is used once, for all nodes. Each call is one atomic change,
// durable once it returned nil. After another error than the two above nobody
// knows what happened: the caller uses nothing.
type Store interface {
	// Spend keeps a key until a time, and reports whether it was not there before.
	// Of many at the same moment one is told true.
	Spend(ctx context.Context, key Key, until time.Time) (first bool, err error)
	// Put keeps a sealed value for so long, by the store's clock. The error is
	// ErrTaken when the key is in use.
	Put(ctx context.Context, key Key, sealed []byte, life time.Duration) error
	// Take gives the value. Of many at the same moment one is told that it is the
	// First. The error is ErrUnknown after its life, and for a key that was Spent.
	Take(ctx context.Context, key Key) (Value, error)
	// Forget deletes at most limit keys that expired before a time and reports how
	// many. Until then a Spent key stays spent.
	Forget(ctx context.Context, before time.Time, limit int) (int, error)
}

// Sealer encrypts and authenticates values: what a code stands for is nobody's
// business who reads the database, and nobody can write one into it.
type Sealer interface {
	SealOpaque(plain []byte) []byte
	OpenOpaque(sealed []byte) (plain []byte, ok bool)
}

// Spent is the refusal of a value that was taken before. The value comes with it,
// so that the caller can end what was made of it (RFC 6749 section 4.1.2 asks this
// for authorization codes) or find that the same party repeats itself.
type Spent struct {
	Value []byte
	// At is when it was first taken, by the store's clock.
	At time.Time
}

// Error implements error.
func (s *Spent) Error() string { return "once: it was used before" }

// Keeper is what rooms use.
type Keeper struct {
	Store Store
	Seal  Sealer
	Now   func() time.Time
}

// Spend reports whether a proof that is good until a time is used for the first
// time. The caller has checked that it has not expired; one that would have to be
// remembered for longer than MaxLife is refused.
//
// Errors are *fault.Error: InvalidRequest, or Unavailable when the outcome is not
// known. Then the proof counts as used: who repeats must make another one.
func (k *Keeper) Spend(ctx context.Context, key Key, until time.Time) (first bool, err error) {
	if until.Sub(k.Now()) > MaxLife {
		return false, fault.Newf(fault.InvalidRequest, "a proof that may be used once must expire within %s", MaxLife)
	}
	first, err = k.Store.Spend(ctx, key, until)
	if err != nil {
		return false, down(err)
	}
	return first, nil
}

// sealed is what is sealed: the value with its key, so that nobody who can write
// into the database moves a value to another key.
type sealed struct {
	// Use keeps what this room sealed apart from everything else under the sealing
	// key.
	Use   string `json:"use"`
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

const use = "holdfast/once/v1"

// Put keeps a value under a key nobody has used, for a life of at most MaxLife.
// Errors are ErrTaken, which for a random key means that its author made it twice,
// and *fault.Error of kind Unavailable, after which the key must not be used.
func (k *Keeper) Put(ctx context.Context, key Key, value []byte, life time.Duration) error {
	if life <= 0 || life > MaxLife || len(value) > MaxValue {
		return fault.Wrap(fault.Internal, fmt.Errorf("once: %d bytes for %s", len(value), life), "")
	}
	plain, err := json.Marshal(sealed{Use: use, Key: key[:], Value: value})
	if err != nil { // bytes and text always encode
		return fault.Wrap(fault.Internal, err, "")
	}
	return down(k.Store.Put(ctx, key, k.Seal.SealOpaque(plain), life))
}

// Take gives the value to the first who asks. Errors are ErrUnknown for a key that
// nobody put or that has expired, *Spent for one that was taken, and *fault.Error
// of kind Unavailable when the outcome is not known: then the value may be spent.
func (k *Keeper) Take(ctx context.Context, key Key) (value []byte, err error) {
	v, err := k.Store.Take(ctx, key)
	if err != nil {
		return nil, down(err)
	}
	plain, ok := k.Seal.OpenOpaque(v.Sealed)
	var s sealed
	if !ok || json.Unmarshal(plain, &s) != nil || s.Use != use || !bytes.Equal(s.Key, key[:]) {
		return nil, ErrUnknown // its key is gone, or it is not ours
	}
	if !v.First {
		return nil, &Spent{Value: s.Value, At: v.At}
	}
	return s.Value, nil
}

// Tick forgets what expired more than Slack before now, which is the store's time;
// at most limit keys.
func (k *Keeper) Tick(ctx context.Context, now time.Time, limit int) error {
	_, err := k.Store.Forget(ctx, now.Add(-Slack), limit)
	return err
}

// down leaves a Store's own no as it is. A *fault.Error of the store is Busy or
// Unavailable already; anything else becomes Unavailable.
func down(err error) error {
	if err == nil || errors.Is(err, ErrTaken) || errors.Is(err, ErrUnknown) {
		return err
	}
	if f := fault.As(err); f.Kind != fault.Internal {
		return f
	}
	return fault.Down(err)
}
