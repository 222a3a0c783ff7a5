// Package token owns what a client holds: the refresh token in its two dresses,
// the access token in its two forms, and the ID token. It encodes and decodes,
// and nothing else.
//
// It does not own the keys (room key), what a refresh token earns (room
// session), or what an access token opens (room grant, module verify).
package token

import (
	"context"
	"encoding/base64"
	"errors"
)

// b64 is the one spelling of binary fields: base64url without padding, and
// trailing bits must be zero.
var b64 = base64.RawURLEncoding.Strict()

// ErrNotOurs is the one answer for everything that is not a token of this
// server: wrong prefix, wrong length, another spelling, a failed check, an
// unknown key. Its bearer learns nothing from which it was.
var ErrNotOurs = errors.New("token: not a token of this server")

// ErrTooLong is the refusal to make an access token that nobody would read, this
// server neither: its scopes and audiences are too many or too long.
var ErrTooLong = errors.New("token: the access token would be too long to be read")

// unknownKey is ErrNotOurs for a token that names a key which is not held here and
// may be another node's: id is 0 when it is named by its kid. It never leaves the
// room.
type unknownKey struct{ id uint32 }

// Error implements error.
func (unknownKey) Error() string { return ErrNotOurs.Error() }

// Is makes it ErrNotOurs for everybody else.
func (unknownKey) Is(target error) bool { return target == ErrNotOurs }

// CatchUp is the part of key.Ring that looks for keys another node made.
type CatchUp interface {
	// CatchUp returns when the ring is not older than the call; its error, of kind
	// Unavailable, means that nobody can tell. n is the id of the key that is looked
	// for, 0 when it is not known.
	CatchUp(ctx context.Context, n uint32) error
}

// again reads a token once more when it named a key that may be another node's.
func again[T any](ctx context.Context, keys CatchUp, read func() (T, error)) (T, error) {
	got, err := read()
	if err == nil {
		return got, nil
	}
	missing, ok := errors.AsType[unknownKey](err)
	if !ok {
		return got, err
	}
	if err := keys.CatchUp(ctx, missing.id); err != nil {
		var none T
		return none, err
	}
	return read()
}
