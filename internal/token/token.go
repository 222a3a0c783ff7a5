// Package token owns what a client holds: the refresh token in its two dresses,
// the access token in its two forms, and the ID token. It encodes and decodes,
// and nothing else.
//
// It does not own the keys (room key), what a refresh token earns (room
// session), or what an access token opens (room grant, module verify).
package token

import (
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
