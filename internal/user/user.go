// Package user owns accounts: their names, their password, and two facts that
// are never one flag: disabled (an operator's decision) and email_verified.
//
// It does not own devices (room session) or how often somebody may try (room
// limit).
package user

import (
	"context"
	"errors"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// User is one account.
type User struct {
	ID id.User
	// Number is the account's integer id in an Open edX it came from; 0 for none.
	Number int64
	// Username is shown as the person wrote it; Login is what it is found by
	// (see Canonical). Both addresses of an account, user name and e-mail, are
	// unique in one shared name space.
	Username      string
	Email         string
	EmailVerified bool
	Name          string
	GivenName     string
	FamilyName    string
	Staff         bool
	Superuser     bool
	// PasswordHash is an encoded hash (see Verify), "" for no usable password.
	PasswordHash string

	Disabled bool
	// Epoch rises with every sign-out everywhere, disabling and password change;
	// sessions and access tokens that carry a lower one are over.
	Epoch     uint32
	CreatedAt time.Time
	UpdatedAt time.Time
	// Version counts the replacements of this row.
	Version uint64
}

// The outcomes of a Store that change what its caller does next.
var (
	ErrNotFound = errors.New("user: not found")
	ErrTaken    = errors.New("user: user name or e-mail is taken")
	ErrChanged  = errors.New("user: changed meanwhile")
)

// Store keeps accounts. Every call is atomic and durable once it returned nil.
type Store interface {
	// ByLogin finds an account by a canonical user name or e-mail.
	ByLogin(ctx context.Context, canonical string) (User, error)
	// ByID finds an account by its id.
	ByID(ctx context.Context, u id.User) (User, error)
	// Create writes a new account and its account of events; ErrTaken when a name
	// is in use.
	Create(ctx context.Context, u User, events []audit.Event) error
	// Replace writes c.Next over version c.Next.Version-1. ErrChanged when the
	// version or the epoch is another or the account is gone, ErrTaken when a
	// name is in use.
	Replace(ctx context.Context, c Change) error
	// List gives accounts in order of id after the given one, at most limit.
	List(ctx context.Context, after id.User, limit int) ([]User, error)
}

// Change is one replacement by compare-and-swap. When Ends is set, the same
// transaction raises the user's epoch by one (Next.Epoch already carries it),
// which ends every session but Except, and records one entry.
type Change struct {
	Next User
	// Rehash says that the same password was stored under a better hash, which is
	// nothing that happened to the account.
	Rehash    bool
	Ends      fault.Reason
	Except    id.Session
	ExceptSID string
	// EntryLife is how long followers must remember the entry.
	EntryLife time.Duration
	// Audit is written in the same transaction.
	Audit []audit.Event
}
