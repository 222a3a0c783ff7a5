package grant

import (
	"context"
	"errors"
	"slices"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/token"
	"holdfast.example/internal/user"
)

// Bearer is a live access token: right in itself, and nothing that it rests on
// has ended.
type Bearer struct {
	Access token.Access
	// Session is zero for a client's own token.
	Session session.Session
	// User is zero for a client's own token.
	User id.User
}

// Bearer checks an access token that was shown to an API of this server itself:
// it must be meant for us (RFC 9068 section 4), and it obeys every end at once.
// The error is InvalidToken with the reason, or Unavailable.
func (is *Issuer) Bearer(ctx context.Context, t secret.Text) (Bearer, error) {
	b, err := is.active(ctx, t)
	if err == nil && !slices.Contains(b.Access.Audience, is.Minter.Issuer) {
		return Bearer{}, fault.New(fault.InvalidToken, "the access token is for another API")
	}
	return b, err
}

// active checks an access token for whatever audience against the record and
// the session behind it.
func (is *Issuer) active(ctx context.Context, t secret.Text) (Bearer, error) {
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return Bearer{}, fault.Down(err)
	}
	a, err := is.Reader.Access(ctx, t, now)
	if fault.Is(err, fault.Unavailable) {
		return Bearer{}, err
	}
	if err != nil {
		return Bearer{}, &fault.Error{Kind: fault.InvalidToken, Words: "the access token is expired or not of this server", Cause: err}
	}
	return is.standing(ctx, a)
}

// standing looks up everything an access token rests on.
func (is *Issuer) standing(ctx context.Context, a token.Access) (Bearer, error) {
	dead := func(r fault.Reason) error {
		return &fault.Error{Kind: fault.InvalidToken, Reason: r, Words: r.Sentence()}
	}
	if a.SID == "" { // there is no session whose row tells what became of the client
		err := is.Clients.Fresh(ctx)
		if err != nil {
			return Bearer{}, fault.Down(err)
		}
	}
	c, found := is.Clients.Get(a.Client)
	if !found || c.Disabled {
		return Bearer{}, dead(fault.ClientStopped)
	}
	revoked, err := is.Revoked.TokenRevoked(ctx, a.ID)
	if err != nil {
		return Bearer{}, fault.Down(err)
	}
	if revoked {
		return Bearer{}, dead(fault.SignedOut)
	}
	if a.SID == "" {
		return Bearer{Access: a}, nil
	}
	which, ok := is.Sessions.Names.Session(a.SID)
	if !ok {
		return Bearer{}, dead(fault.Malformed)
	}
	l, err := is.Sessions.Store.Load(ctx, which)
	if errors.Is(err, session.ErrNotFound) {
		return Bearer{}, dead(fault.SignedOut)
	}
	if err != nil {
		return Bearer{}, fault.Down(err)
	}
	why := l.Session.Ended(l.Standing, is.policyOf(c, l.Session.Grant), l.Now)
	if why != "" && why != fault.Idle { // idleness ends the refresh chain, not a token just issued
		return Bearer{}, dead(why)
	}
	return Bearer{Access: a, Session: l.Session, User: l.Session.User}, nil
}

// Introspection is what RFC 7662 section 2.2 answers about an active token.
type Introspection struct {
	Active bool
	Access token.Access
	// Username is shown to callers that may see the token.
	Username string
	// TokenType is Bearer for access tokens and refresh_token for refresh tokens.
	TokenType string
}

// The scopes that let a confidential client ask about any access token; the second
// is the name that django-oauth-toolkit has for it.
const (
	scopeIntrospect    = "introspect"
	scopeIntrospection = "introspection"
)

// Introspect answers a confidential client's question about a token. What the
// caller may not see, and what is not active, is the same answer: inactive. A
// refresh token is active only for the client it belongs to.
func (is *Issuer) Introspect(ctx context.Context, caller Credential, t secret.Text) (Introspection, error) {
	c, err := is.Authenticate(ctx, caller)
	if err != nil {
		return Introspection{}, err
	}
	if c.Type != client.Confidential {
		return Introspection{}, fault.New(fault.InvalidClient, "introspection is for confidential clients")
	}
	return is.IntrospectFor(ctx, c, t)
}

// MayIntrospect says which client may ask about any access token because it shows
// one of its own with the scope for it. Errors are *fault.Error: InvalidToken,
// InsufficientScope or Unavailable.
func (is *Issuer) MayIntrospect(ctx context.Context, shown secret.Text) (client.Client, error) {
	b, err := is.Bearer(ctx, shown)
	if err != nil {
		return client.Client{}, err
	}
	c, _ := is.Clients.Get(b.Access.Client)
	if !introspects(fields(both(b.Access.Scope, c.Available()))) || c.Type != client.Confidential {
		return client.Client{}, fault.Newf(fault.InsufficientScope, "the scope %s is needed", scopeIntrospect)
	}
	return c, nil
}

// IntrospectFor is Introspect for a confidential client that proved itself.
func (is *Issuer) IntrospectFor(ctx context.Context, c client.Client, t secret.Text) (Introspection, error) {
	b, err := is.active(ctx, t)
	if err == nil && !maySee(c, b.Access) {
		return Introspection{}, nil
	}
	if err == nil {
		out := Introspection{Active: true, Access: b.Access, TokenType: "Bearer"}
		if !b.User.IsZero() {
			u, err := is.Users.Get(ctx, b.User)
			if err != nil {
				return Introspection{}, err
			}
			out.Username = u.Username
		}
		return out, nil
	}
	if fault.Is(err, fault.Unavailable) {
		return Introspection{}, err
	}
	l, err := is.Sessions.Look(ctx, t, c.ID, is.terms(c, ""))
	if fault.Is(err, fault.Unavailable) {
		return Introspection{}, err
	}
	if err != nil {
		return Introspection{}, nil
	}
	return Introspection{Active: true, TokenType: "refresh_token", Access: token.Access{
		Subject: l.Session.User.String(), Client: c.ID, Scope: both(l.Session.Scope, c.Available()),
		SID: is.Sessions.Names.SID(l.Session.ID), AuthTime: l.Session.AuthTime, Grant: l.Session.Grant,
	}}, nil
}

// maySee: the token's own client, a party the token is for, or a client that
// is registered to introspect.
func maySee(c client.Client, a token.Access) bool {
	return a.Client == c.ID || slices.Contains(a.Audience, string(c.ID)) || introspects(c.Scopes)
}

func introspects(scopes []string) bool {
	return slices.Contains(scopes, scopeIntrospect) || slices.Contains(scopes, scopeIntrospection)
}

// Revoke ends what a token stands for (RFC 7009): a refresh token of any
// generation ends its session, an access token only itself, unless it is one that is
// prolonged: that is the sign-in. A token of another
// client, or none at all, is answered like success and changes nothing, so
// that nobody learns whose it is. nil means durable.
func (is *Issuer) Revoke(ctx context.Context, caller Credential, t secret.Text) error {
	c, err := is.Authenticate(ctx, caller)
	if err != nil {
		return err
	}
	who := audit.Acting(ctx)
	ctx = audit.As(ctx, audit.Who{Actor: audit.ByClient, ID: string(c.ID), From: who.From})
	which, ok, err := is.Sessions.Owned(ctx, t, c.ID)
	if err != nil {
		return err
	}
	if ok {
		err := is.Sessions.End(ctx, which, fault.SignedOut)
		if fault.Is(err, fault.NotFound) { // purged since the look: as dead as can be
			return nil
		}
		return err
	}
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return fault.Down(err)
	}
	a, err := is.Reader.Access(ctx, t, now)
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	if err != nil || a.Client != c.ID {
		return nil
	}
	if which, known := is.Sessions.Names.Session(a.SID); known && prolongs(a.Grant) {
		return is.endIfThere(ctx, which, fault.SignedOut)
	}
	e := audit.New(ctx, audit.TokenRevoked, now)
	e.Client, e.SID, e.Object = c.ID, a.SID, a.ID
	e.User, _ = id.ParseUser(a.Subject) // zero for a client's own token
	err = is.Revoked.Record(ctx, feed.Entry{Kind: feed.Token, Key: a.ID, Reason: fault.SignedOut, At: now,
		Until: a.Expires.Add(feed.Skew)}, []audit.Event{e})
	if err != nil {
		return fault.Down(err)
	}
	return nil
}

// Profile is what userinfo tells (OIDC Core section 5.3), cut to the scopes.
type Profile struct {
	User   user.User
	Scopes []string
}

// UserInfo answers who the user behind an access token is.
func (is *Issuer) UserInfo(ctx context.Context, t secret.Text) (Profile, error) {
	b, err := is.Bearer(ctx, t)
	if err != nil {
		return Profile{}, err
	}
	if b.User.IsZero() {
		return Profile{}, fault.New(fault.InsufficientScope, "no user stands behind this token")
	}
	if !hasScope(b.Access.Scope, "openid") {
		return Profile{}, fault.New(fault.InsufficientScope, "the scope openid is needed")
	}
	u, err := is.Users.Get(ctx, b.User)
	if err != nil {
		return Profile{}, err
	}
	return Profile{User: u, Scopes: fields(b.Access.Scope)}, nil
}

// LongestAccess is the longest life of any access token here, for the record.
func (is *Issuer) LongestAccess() time.Duration { return is.Limits.Access }
