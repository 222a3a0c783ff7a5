package upstream

import (
	"context"
	"errors"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// Link says that a provider's subject is one of our users. A subject has one
// user, and a user has one subject at each upstream.
type Link struct {
	Upstream, Subject string
	User              id.User
	At                time.Time
}

// Row is an upstream as it is stored: a JSON document, and its client secret
// sealed.
type Row struct {
	ID      string
	Version uint64
	Doc     string
	Sealed  []byte
}

// The outcomes of a Store that change what its caller does next.
var (
	ErrNotFound = errors.New("upstream: not found")
	// ErrTaken: the subject is linked to another user, or the user to another
	// subject of the same upstream.
	ErrTaken   = errors.New("upstream: linked otherwise")
	ErrChanged = errors.New("upstream: changed meanwhile")
)

// Store keeps upstreams and links. Every call is atomic and durable once it
// returned nil.
type Store interface {
	// Upstreams lists all of them; there are few.
	Upstreams(ctx context.Context) ([]Row, error)
	// PutUpstream writes a row whose stored version is r.Version-1 (0 for a new one)
	// and what is told about it; ErrChanged otherwise.
	PutUpstream(ctx context.Context, r Row, events []audit.Event) error
	// BySubject finds a link; ErrNotFound when there is none, or its user is gone.
	BySubject(ctx context.Context, upstream, subject string) (Link, error)
	// OfUser lists a user's links, in order of upstream.
	OfUser(ctx context.Context, u id.User) ([]Link, error)
	// Link writes a link and what is told about it. ErrTaken when it stands
	// otherwise, and also when it stands just so; ErrNotFound when there is no such
	// user.
	Link(ctx context.Context, l Link, events []audit.Event) error
	// Unlink removes a user's link at an upstream; ErrNotFound when there is none.
	Unlink(ctx context.Context, u id.User, upstream string, events []audit.Event) error
}

// Linked finds the user of an identity. ErrNotFound when nobody is linked; other
// errors are *fault.Error of kind Unavailable.
func (r *Registry) Linked(ctx context.Context, who Identity) (id.User, error) {
	l, err := r.Store.BySubject(ctx, who.Upstream, who.Subject)
	switch {
	case errors.Is(err, ErrNotFound):
		return id.User{}, ErrNotFound
	case err != nil:
		return id.User{}, fault.Down(err)
	}
	return l.User, nil
}

// Links lists a user's links. Errors are *fault.Error.
func (r *Registry) Links(ctx context.Context, u id.User) ([]Link, error) {
	all, err := r.Store.OfUser(ctx, u)
	if err != nil {
		return nil, fault.Down(err)
	}
	return all, nil
}

// Why an account was linked, for the account of what happened.
const (
	ByEmail    = "verified_email"
	ByOperator = "operator"
)

// Link links a subject of an upstream to a user. why is ByEmail or ByOperator.
// Errors are *fault.Error: Conflict with ErrTaken as its cause, NotFound,
// InvalidRequest or Unavailable.
func (r *Registry) Link(ctx context.Context, l Link, why string) error {
	l.At = r.Now().UTC()
	probe := Identity{Subject: l.Subject}
	if probe.check() != nil {
		return fault.Newf(fault.InvalidRequest, "a subject has 1 to %d visible ASCII characters (OIDC Core section 2)", MaxSubject)
	}
	if _, known := r.Get(l.Upstream); !known {
		return fault.New(fault.NotFound, "no such upstream")
	}
	e := audit.New(ctx, audit.Linked, l.At)
	e.User, e.Object = l.User, l.Upstream
	e.Details = map[string]string{"subject": l.Subject, "by": why}
	err := r.Store.Link(ctx, l, []audit.Event{e})
	switch {
	case errors.Is(err, ErrTaken):
		return fault.Wrap(fault.Conflict, err, "the subject is linked to an account already, or the account to a subject of this upstream; remove that link first")
	case errors.Is(err, ErrNotFound):
		return fault.New(fault.NotFound, "no such account")
	case err != nil:
		return fault.Down(err)
	}
	return nil
}

// Unlink removes a user's link at an upstream. The sessions that were begun
// through it go on: who wants them ended ends them. Errors are *fault.Error:
// NotFound or Unavailable.
func (r *Registry) Unlink(ctx context.Context, u id.User, upstream string) error {
	e := audit.New(ctx, audit.Unlinked, r.Now().UTC())
	e.User, e.Object = u, upstream
	err := r.Store.Unlink(ctx, u, upstream, []audit.Event{e})
	switch {
	case errors.Is(err, ErrNotFound):
		return fault.New(fault.NotFound, "the account has no link at this upstream")
	case err != nil:
		return fault.Down(err)
	}
	return nil
}
