// Package feed owns the record of revocations: what ended, in an order that a
// follower can resume from.
//
// One entry is written in the transaction of the change it tells about, so
// there is never an end without its entry nor an entry without its end. The
// record is a set: followers apply an entry on sight, and the position is only
// a resume point. It does not own the ends themselves (rooms session, user)
// nor how followers are served.
package feed

import (
	"context"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
)

// Kind says what an entry ends.
type Kind string

// The kinds of design.md section 7.
const (
	Session Kind = "session" // Key is a sid
	Subject Kind = "subject" // Key is a sub: every epoch below Epoch, except ExceptSID
	Token   Kind = "token"   // Key is a jti
	Client  Kind = "client"  // Key is a client_id
	Key     Kind = "key"     // Key is a kid
)

// Clocks may differ by Skew, and an answer may be Answer old when it leaves:
// an entry is remembered that much longer than the longest access token.
const (
	Skew   = 60 * time.Second
	Answer = 10 * time.Second
)

// Life is how long an entry must be remembered, for the longest access token
// life in use.
func Life(longestAccess time.Duration) time.Duration { return longestAccess + Answer + Skew }

// Entry is one revocation.
type Entry struct {
	// Position orders entries for resuming; the store sets it.
	Position int64
	Kind     Kind
	Key      string
	// Epoch and ExceptSID are set for Subject: access tokens of the subject that
	// carry an epoch below Epoch are dead, except those of session ExceptSID.
	Epoch     uint32
	ExceptSID string
	Reason    fault.Reason
	At        time.Time
	// Until is when every token the entry speaks of has expired.
	Until time.Time
}

// Store keeps the record. Entries that belong to a change are written by the
// store of that change; Record is for what changes nothing else.
type Store interface {
	// Record writes one entry and its account durably. Recording the same kind and key again is
	// no error; an entry that says no more than a recorded one is left out.
	Record(ctx context.Context, e Entry, events []audit.Event) error
	// TokenRevoked reports whether one access token (jti) was revoked.
	TokenRevoked(ctx context.Context, jti string) (bool, error)
	// Since lists at most limit entries after a position, in order.
	Since(ctx context.Context, position int64, limit int) ([]Entry, error)
	// Forget deletes at most limit entries whose Until has passed and reports
	// how many. Their positions are never given again.
	Forget(ctx context.Context, now time.Time, limit int) (int, error)
}
