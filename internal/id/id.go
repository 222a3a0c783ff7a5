// Package id owns the identifiers that several rooms exchange, each with a
// type of its own so that two of them cannot be swapped.
//
// It does not own what an identifier names: a User is described by the room
// user, a Session by the room session. Identifiers are random and say nothing;
// none of them is a credential.
package id

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"strings"
)

// Size is the number of random bytes in a User or Session id: 128 bits, so
// that ids never collide and cannot be guessed (RFC 9700 asks for the entropy,
// our tables are keyed by them).
const Size = 16

// User names one account for ever; it is never given to another account.
// Its text form is the OIDC subject (sub).
type User [Size]byte

// Session names one device's standing sign-in inside the house. Outside it is
// known only by its sid, which token derives with a key.
type Session [Size]byte

// Client is the registered client_id, compared byte for byte.
type Client string

// userPrefix makes a subject recognisable in logs and keeps it apart from
// every client_id: a client's own token carries sub = client_id
// (RFC 9700 section 4.15), and no client_id may start with this prefix.
const userPrefix = "usr_"

// lower is the base32 alphabet of text forms: no padding, lower case only, one
// spelling.
var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewUser returns a fresh random id.
func NewUser() (u User) { rand.Read(u[:]); return u }

// NewSession returns a fresh random id.
func NewSession() (s Session) { rand.Read(s[:]); return s }

// IsZero reports whether no user is named.
func (u User) IsZero() bool { return u == User{} }

// IsZero reports whether no session is named.
func (s Session) IsZero() bool { return s == Session{} }

// String returns the subject: usr_ and 26 characters.
func (u User) String() string { return userPrefix + lower.EncodeToString(u[:]) }

// ParseUser reads what String wrote, and nothing else.
func ParseUser(s string) (u User, err error) {
	body, ok := strings.CutPrefix(s, userPrefix)
	b, decodeErr := lower.DecodeString(body)
	if !ok || decodeErr != nil || len(b) != Size || lower.EncodeToString(b) != body {
		return User{}, errors.New("not a user id")
	}
	return User(b), nil
}

// LooksLikeUser reports whether a client_id would be mistaken for a subject.
func LooksLikeUser(s string) bool { return strings.HasPrefix(s, userPrefix) }

// NewToken returns a fresh identifier for one token (jti, RFC 7519 section
// 4.1.7): 128 random bits in base64url.
func NewToken() string {
	var b [Size]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
