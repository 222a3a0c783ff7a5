// Package grant owns every way to earn tokens, and every question about a
// token that was earned. grant.go is the pipeline that all of them pass; each
// grant is one file.
//
//  1. who asks: the client, and its proof
//  2. may it ask: the grant, the scopes
//  3. the grant itself: verify the credential, open or refresh the session
//  4. issue: access token, refresh token, ID token
//
// A grant cannot forget a shared step because it never performs one. The room
// does not own the session's life (session), what tokens look like (token), or
// any word of HTTP (the doors).
package grant

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/limit"
	"holdfast.example/internal/once"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/token"
	"holdfast.example/internal/upstream"
	"holdfast.example/internal/user"
)

// Request is one token request as a door parsed it. Fields that a grant does
// not need are ignored.
type Request struct {
	// Type is the grant_type.
	Type   string
	Client Credential
	// Scope is what was asked for, space separated; "" asks for everything the
	// client may have (or, on a refresh, the whole grant).
	Scope string

	Username string
	Password secret.Text

	RefreshToken secret.Text

	// Subject is what a token exchange shows.
	Subject Subject

	// Format is the form of access token that a client with claims = "openedx" asks
	// for; "" is the registered one. A client registered for opaque tokens gets no
	// other, so a registration is what takes JWTs from an app in the field.
	Format client.Format

	// Prolongs, when set, asks for a session without a refresh token, whose one
	// token is prolonged: GrantSliding or GrantDRFJWT. Only the password grant of a
	// client with claims = "simplejwt" reads it.
	Prolongs string

	// Visit asks for a sign-in that ends with the visit of a browser: one that is
	// silent for VisitIdle is over. Only the password grant reads it.
	Visit bool

	Device Device
	// From is the address the request came from, for attempt limits.
	From netip.Addr
}

// Credential is how a client proved itself.
type Credential struct {
	ID     id.Client
	Secret secret.Text
	// Method is how the proof was carried: none, basic or post.
	Method client.AuthMethod
	// From is the address it came from, for the limit on strangers.
	From netip.Addr
}

// Device is what the app says about itself at sign-in (design.md section 10).
// All of it is optional.
type Device struct {
	InstallID, AttemptID, Name, Model, System, App string
}

// TokenExchange is the grant_type of RFC 8693.
const TokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"

// registered lists the grants whose name in a registration is not their
// grant_type.
var registered = map[string]string{TokenExchange: client.GrantTokenExchange}

// Registered is the name that a registration has for a grant_type.
func Registered(grantType string) string {
	if name, ok := registered[grantType]; ok {
		return name
	}
	return grantType
}

// Issued is what a grant earned.
type Issued struct {
	AccessToken  secret.Text
	RefreshToken secret.Text // empty when the client gets none
	IDToken      secret.Text // empty unless openid was granted at sign-in
	ExpiresIn    time.Duration
	Scope        string
	// Format is the form of the access token.
	Format client.Format
	// SID is the outside name of the session, "" for a client's own token.
	SID string
	// User is whose session it is, zero for a client's own token.
	User id.User
	// Now is when the tokens were issued. Until is when the session ends if nobody
	// refreshes it; zero is never.
	Now, Until time.Time
	// Visit: the session ends with the visit of a browser (Request.Visit).
	Visit bool
	// TokenType is the issued_token_type of a token exchange (RFC 8693 section
	// 2.2.1), "" for every other grant.
	TokenType string
	// Answer says what a refresh did, for metrics and the dialogs.
	Answer session.Answer
}

// Issuer runs the pipeline. Its fields are the rooms it needs.
type Issuer struct {
	Clients  *client.Registry
	Users    *user.Directory
	Sessions *session.Keeper
	Revoked  feed.Store
	Audit    audit.Store
	Minter   token.Minter
	Reader   token.Reader
	Attempts *limit.Attempts
	// Strangers bounds, for each address, how often a client authentication may
	// fail before the answer is "wait".
	Strangers *limit.Requests
	// Upstreams vouch for users of other providers; nil when the house has none.
	Upstreams *upstream.Registry
	// Exchanges bounds failed token exchanges, for each address and each upstream.
	Exchanges *limit.Attempts
	// Once remembers which upstream tokens were used.
	Once   *once.Keeper
	Limits client.Defaults
	Now    func() time.Time
}

// way is one grant: from a request of an authenticated, allowed client to what
// it earned.
type way func(*Issuer, context.Context, client.Client, Request) (earned, error)

// ways lists every grant. The name is the grant_type.
var ways = map[string]way{
	"password":           (*Issuer).password,
	"refresh_token":      (*Issuer).refresh,
	"client_credentials": (*Issuer).clientCredentials,
	TokenExchange:        (*Issuer).exchange,
}

// Types lists the grant types that work here, for discovery.
func Types() []string {
	var names []string
	for name := range ways {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// earned is what a grant hands to the issuing step.
type earned struct {
	scope string
	// turn is set when a user's session stands behind the tokens.
	turn *session.Turn
	// signedIn is set at a sign-in, for the ID token.
	signedIn *user.User
	now      time.Time
	// target, when set, is the one audience that was asked for, and tokenType what
	// a token exchange calls its answer.
	target, tokenType string
	// until, when set, is when the access token ends at the latest.
	until time.Time
	// again, when set, is the jti of the token that is prolonged.
	again string
}

// Grant answers one token request. Errors are *fault.Error.
func (is *Issuer) Grant(ctx context.Context, r Request) (Issued, error) {
	if r.Type == "" {
		return Issued{}, fault.New(fault.InvalidRequest, "grant_type is missing")
	}
	c, err := is.Authenticate(ctx, r.Client)
	if err != nil {
		return Issued{}, err
	}
	ctx = audit.As(ctx, audit.Who{Actor: audit.ByClient, ID: string(c.ID), From: r.From})
	grant, known := ways[r.Type]
	switch {
	case !known || !is.anybodyMay(r.Type):
		return Issued{}, fault.New(fault.UnsupportedGrant, "this server does not offer this grant_type")
	case !c.Allows(Registered(r.Type)):
		return Issued{}, fault.Newf(fault.UnauthorizedClient, "this client is not registered for the grant %s", Registered(r.Type))
	}
	e, err := grant(is, ctx, c, r)
	if err != nil {
		return Issued{}, err
	}
	return is.issue(ctx, c, r.Format, e)
}

// anybodyMay reports whether any client is registered for a grant. A grant that
// nobody may use is not offered at all (standards.md A21).
func (is *Issuer) anybodyMay(grant string) bool {
	return slices.Contains(is.Clients.Grants(), Registered(grant))
}

// Authenticate checks a client's credential. Unknown client, disabled client,
// wrong secret and missing secret are one answer (InvalidClient) at one cost.
//
// An address whose authentications fail too often is told to wait (TooMany)
// instead. Only failures are counted, and only failures are answered so: who has
// the right credential is served however noisy the neighbours are, so that one
// flood behind a carrier's address keeps no phone from its refresh.
func (is *Issuer) Authenticate(ctx context.Context, cred Credential) (client.Client, error) {
	c, err := is.authenticate(cred)
	if err != nil && cred.ID != "" && is.Clients.Again(ctx) {
		c, err = is.authenticate(cred)
	}
	if err != nil {
		wait := is.Strangers.Allow(ctx, is.Now(), limit.AddressKey(cred.From))
		if fault.Is(wait, fault.TooMany) {
			err = wait
		}
		return client.Client{}, err
	}
	return c, nil
}

func (is *Issuer) authenticate(cred Credential) (client.Client, error) {
	refused := fault.New(fault.InvalidClient, "client authentication failed")
	if cred.ID == "" {
		return client.Client{}, fault.New(fault.InvalidClient, "client_id is missing")
	}
	c, found := is.Clients.Get(cred.ID)
	right := is.Clients.CheckSecret(c, cred.Secret) // same work when c is the zero client
	switch {
	case !found || c.Disabled:
		return client.Client{}, refused
	case c.Type == client.Public:
		if cred.Method != client.AuthNone {
			return client.Client{}, fault.New(fault.InvalidClient, "this client is public and has no secret; send client_id alone")
		}
		return c, nil
	case cred.Method == client.AuthNone || !right || !c.Accepts(cred.Method):
		return client.Client{}, refused
	}
	return c, nil
}

// scopeOf checks what was asked for against what is allowed and returns the
// scopes to grant, in the order of asking. Asking for nothing asks for all.
func scopeOf(asked string, allowed []string) (string, error) {
	if asked == "" {
		return strings.Join(allowed, " "), nil
	}
	var granted []string
	for _, s := range strings.Split(asked, " ") {
		if s == "" || !scopeToken(s) {
			return "", fault.New(fault.InvalidScope, "scope must be names separated by single spaces (RFC 6749 section 3.3)")
		}
		if !slices.Contains(allowed, s) {
			return "", fault.Newf(fault.InvalidScope, "the scope %s is not available here", s)
		}
		if !slices.Contains(granted, s) {
			granted = append(granted, s)
		}
	}
	return strings.Join(granted, " "), nil
}

// scopeToken is RFC 6749 section 3.3: printable ASCII without space, quote and
// backslash.
func scopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return len(s) <= maxScopeName
}

// maxScopeName bounds one scope, in bytes, so that an error can repeat it.
const maxScopeName = 128

// fields splits a granted scope.
func fields(scope string) []string {
	if scope == "" {
		return nil
	}
	return strings.Split(scope, " ")
}

// both keeps the scopes of a grant that the client may still have: a scope
// taken from a client is gone with the next refresh.
func both(granted string, allowed []string) string {
	var kept []string
	for _, s := range fields(granted) {
		if slices.Contains(allowed, s) {
			kept = append(kept, s)
		}
	}
	return strings.Join(kept, " ")
}
