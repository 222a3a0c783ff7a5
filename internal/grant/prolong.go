package grant

import (
	"context"
	"errors"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
)

// The grants of sessions that have no refresh token: their one token is shown
// again while it is good, and answered by a longer one. They are values of
// Request.Prolongs, and the claim grant of the tokens.
const (
	// GrantSliding is the sliding token of djangorestframework-simplejwt, which
	// keeps its jti.
	GrantSliding = "sliding"
	// GrantDRFJWT is the token of django-rest-framework-jwt.
	GrantDRFJWT = "drf-jwt"
)

var (
	// ErrPastRefresh: the token is good, and too much time has passed since the
	// sign-in for it to be prolonged once more.
	ErrPastRefresh = errors.New("grant: the sign-in is too long ago for the token to be prolonged")
	// ErrWrongType: a token of this server, of another type than was asked for.
	ErrWrongType = errors.New("grant: a token of another type")
)

// prolonged reports whether a session's token is prolonged, not refreshed.
func prolonged(s session.Session) bool { return prolongs(s.Grant) }

// prolongs reports whether the tokens of a grant are prolonged. Those of one sign-in
// come from each other, and may share a jti: the end of one alone would leave the
// others.
func prolongs(grant string) bool { return grant == GrantSliding || grant == GrantDRFJWT }

// opens is the grant of the session that a password opens.
func opens(c client.Client, r Request) string {
	if r.Visit {
		return GrantVisit
	}
	if c.Claims != client.SimpleJWT {
		return client.GrantPassword
	}
	if prolongs(r.Prolongs) {
		return r.Prolongs
	}
	return client.GrantPassword
}

// Prolong answers a good token of a session that has no refresh token by one that
// lives longer. which is GrantSliding or GrantDRFJWT. Nothing is written: the
// sign-in ends when the idle limit has passed since it began, whatever was
// prolonged meanwhile, and ends at once like any other.
//
// Only a session that was opened to be prolonged can be: an access token of a
// refresh chain, which is worth some minutes, earns nothing here.
//
// Errors are *fault.Error: InvalidToken with the reason, whose cause may be
// ErrExpired, ErrPastRefresh or ErrWrongType; InvalidClient, UnauthorizedClient,
// TooMany or Unavailable.
func (is *Issuer) Prolong(ctx context.Context, caller Credential, which string, t secret.Text) (Issued, error) {
	c, err := is.Authenticate(ctx, caller)
	if err != nil {
		return Issued{}, err
	}
	if !c.Allows(client.GrantRefresh) {
		return Issued{}, fault.Newf(fault.UnauthorizedClient, "this client is not registered for the grant %s", client.GrantRefresh)
	}
	ctx = audit.As(ctx, audit.Who{Actor: audit.ByClient, ID: string(c.ID), From: caller.From})
	b, err := is.Mine(ctx, c, t)
	if err != nil {
		return Issued{}, err
	}
	if b.Access.Grant != which || b.Session.Grant != which {
		return Issued{}, fault.Wrap(fault.InvalidToken, ErrWrongType, "this token is not one that is prolonged here")
	}
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return Issued{}, fault.Down(err)
	}
	if limit := is.prolongedUntil(c, b.Session); !limit.IsZero() && now.After(limit) {
		return Issued{}, &fault.Error{Kind: fault.InvalidToken, Reason: fault.Idle, Words: fault.Idle.Sentence(), Cause: ErrPastRefresh}
	}
	e := earned{scope: both(b.Access.Scope, c.Available()), turn: &session.Turn{Session: b.Session, Answer: session.Repeated}, now: now}
	if which == GrantSliding {
		e.again = b.Access.ID
	}
	return is.issue(ctx, c, client.JWT, e)
}

// prolongedUntil is until when a session's token is prolonged; zero is for ever.
func (is *Issuer) prolongedUntil(c client.Client, s session.Session) time.Time {
	l := is.lifetimes(c)
	var until time.Time
	if l.Idle > 0 {
		until = s.AuthTime.Add(l.Idle)
	}
	if l.Absolute > 0 {
		end := s.CreatedAt.Add(l.Absolute)
		if until.IsZero() || end.Before(until) {
			until = end
		}
	}
	return until
}

// SignOutProlonged ends the session behind a good token that Prolong would take.
// Errors are those of Prolong; nil means durable.
func (is *Issuer) SignOutProlonged(ctx context.Context, caller Credential, which string, t secret.Text) error {
	c, err := is.Authenticate(ctx, caller)
	if err != nil {
		return err
	}
	b, err := is.Mine(ctx, c, t)
	if err != nil {
		return err
	}
	if b.Access.Grant != which || b.Session.Grant != which {
		return fault.Wrap(fault.InvalidToken, ErrWrongType, "this token is not one that is prolonged here")
	}
	ctx = audit.As(ctx, audit.Who{Actor: audit.ByClient, ID: string(c.ID), From: caller.From})
	return is.Sessions.End(ctx, b.Session.ID, fault.SignedOut)
}
