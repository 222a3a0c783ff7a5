package key

import (
	"context"
	"errors"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/feed"
)

// Purpose says what a key is for; no key serves two.
type Purpose string

// The purposes.
const (
	Sign   Purpose = "sign"   // access and ID tokens, published in the JWKS
	Seal   Purpose = "seal"   // refresh tokens
	Name   Purpose = "name"   // outside names (sid) of sessions
	Opaque Purpose = "opaque" // opaque access tokens
)

// State is where a key stands in its life.
type State string

// The states, in the order of a life.
const (
	Next    State = "next"    // published, not yet used
	Current State = "current" // in use
	Retired State = "retired" // only checks what it made before
)

// Row is one key as the store keeps it: the private part is wrapped under the
// root secret with the row's own id, purpose and algorithm as additional data,
// so that two rows cannot be swapped.
type Row struct {
	ID        uint32
	Purpose   Purpose
	Alg       string // ES256, RS256, RS512, Ed25519, EdDSA; "" for symmetric keys
	KID       string // the JWK thumbprint (RFC 7638), "" for symmetric keys
	State     State
	Wrapped   []byte
	CreatedAt time.Time
	// ActiveAt and RetiredAt are zero until it happened.
	ActiveAt  time.Time
	RetiredAt time.Time
}

// Rows is everything the store keeps about keys.
type Rows struct {
	// Version counts the replacements; 0 means that no key was ever made here.
	Version uint64
	// Roll is the list of key ids that must be there, sealed under the root
	// secret: a missing row is noticed, not replaced.
	Roll []byte
	Keys []Row
	// Entries and Audit come along with a Replace and are written in its
	// transaction; a Load leaves them empty.
	Entries []feed.Entry
	Audit   []audit.Event
}

// ErrChanged: the rows are no longer what the change was decided on.
var ErrChanged = errors.New("key: changed meanwhile")

// Store keeps wrapped keys. It never sees one in the clear.
type Store interface {
	// Load reads all rows in one read.
	Load(ctx context.Context) (Rows, error)
	// Replace writes all rows over version next.Version-1, in one transaction,
	// durably; ErrChanged when the stored version is another.
	Replace(ctx context.Context, next Rows) error
}
