package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
)

// The outcomes of a Store that change what the Keeper does next; fault.Busy, a
// change that was not begun, counts as ErrReadOnly. Any other error means that
// the store could not do it, or that nobody knows whether it did: the request is
// safe to repeat.
var (
	// ErrNotFound: no such session, or one purged long after its end.
	ErrNotFound = errors.New("session: not found")
	// ErrChanged: the row is no longer what the change was decided on. Nothing
	// was written.
	ErrChanged = errors.New("session: changed meanwhile")
	// ErrReadOnly: the store can be read but certainly did not write this
	// change (disk full, read-only). Wrapped around the cause.
	ErrReadOnly = errors.New("session: the store cannot be written")
)

// Store keeps sessions. Every call is atomic; a change that returned nil is
// durable (unless it is Relaxed, and the store too) and visible to every later
// Load on every node; a change that returned an error other than ErrChanged, ErrReadOnly and fault.Busy has an
// unknown outcome. Calls are safe for concurrent use by many processes, and nothing
// here needs a lock held between two calls.
type Store interface {
	// Now is the store's time in UTC, in whole milliseconds: the one clock that
	// every node shares.
	Now(ctx context.Context) (time.Time, error)
	// Load reads one session with the standing of its owner and client and the
	// store's time, in one read from the primary. ErrNotFound when there is none.
	// A client that is not registered counts as stopped, a parent that was
	// purged as ended.
	Load(ctx context.Context, s id.Session) (Loaded, error)
	// Replace writes c.Next over the row whose version is c.Next.Version-1 and
	// records c.Entries in the same transaction. ErrChanged when the row's
	// version is another or the row is gone. ID, User, Client and Parent never
	// change.
	Replace(ctx context.Context, c Change) error
	// ByInstall finds the session that is not marked ended of one install of
	// one user at one client; ErrNotFound when there is none.
	ByInstall(ctx context.Context, u id.User, c id.Client, install [16]byte) (Loaded, error)
	// Open writes a new session and, in the same transaction, the changes in
	// o.Replaces. ErrChanged when one of those rows changed, when another
	// session of the same install stands meanwhile, when the user's epoch is
	// past o.Session.Epoch or the user is gone, or when the id is in use; then
	// nothing was written.
	Open(ctx context.Context, o Opening) error
	// EndAll raises the user's epoch by one, which ends every session of the
	// user except e.Except, and records one entry. The epoch of e.Except moves
	// along, and its version with it, unless it was behind already. It returns
	// the new epoch, or ErrNotFound for an unknown user.
	EndAll(ctx context.Context, e Everywhere) (epoch uint32, err error)
	// OfUser lists the sessions of one user that are not marked ended, newest
	// first, at most limit.
	OfUser(ctx context.Context, u id.User, limit int) ([]Loaded, error)
	// Find lists sessions that match, for operators, newest use first, at most
	// q.Limit. One that is used between two pages moves to the front and is not on
	// the later page.
	Find(ctx context.Context, q Query) ([]Loaded, error)
	// Purge deletes at most limit sessions that ended, or were last used, before
	// the given times, and reports how many. One call looks at a part of a large
	// table and the next goes on behind it, so fewer than limit, or none, may mean
	// that others are due elsewhere.
	Purge(ctx context.Context, endedBefore, usedBefore time.Time, limit int) (int, error)
}

// Loaded is one read: the session, its standing, and the store's time.
type Loaded struct {
	Session  Session
	Standing Standing
	Now      time.Time
}

// Change is one replacement by compare-and-swap. Next.Version is one more than
// the version that was read.
type Change struct {
	Next    Session
	Entries []feed.Entry
	Audit   []audit.Event
	// Relaxed: a store that was told to (durability = "relaxed") may answer before
	// this change is on the disk, because the chain heals its loss (design.md
	// section 3, row 4). Set for a rotation of a client that has an overlap; for a
	// strict client, whose spent token the loss would revive, it never is.
	Relaxed bool
}

// Opening is one sign-in.
type Opening struct {
	Session  Session
	Replaces []Change
	Audit    []audit.Event
}

// Everywhere is a sign-out everywhere.
type Everywhere struct {
	User   id.User
	Reason fault.Reason
	// Except is the session that stays, zero for none.
	Except id.Session
	// ExceptSID is its outside name, for the record.
	ExceptSID string
	// EntryLife is how long followers must remember the entry.
	EntryLife time.Duration
	Audit     []audit.Event
}

// Query selects sessions for an operator. Empty fields do not restrict.
type Query struct {
	User   id.User
	Client id.Client
	// Device is a part of the device's name or model; the case of ASCII letters
	// does not count.
	Device string
	// Ended includes sessions marked ended.
	Ended bool
	// After is where the page before ended; the zero Place begins at the newest.
	After Place
	Limit int
}

// Place is where a session stands in the order of Find.
type Place struct {
	UsedAt  time.Time
	Session id.Session
}

// Place is where the session stands in the order of Find.
func (s Session) Place() Place { return Place{s.UsedAt, s.ID} }

// Matches reports whether a device's name or model contains a text, as
// Query.Device means it.
func (d Device) Matches(part string) bool {
	part = lower(part)
	return strings.Contains(lower(d.Name), part) || strings.Contains(lower(d.Model), part)
}

// lower is the text with ASCII letters in lower case: what every database does
// alike.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
