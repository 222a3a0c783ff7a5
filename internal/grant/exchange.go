package grant

import (
	"context"
	"errors"
	"slices"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/limit"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/upstream"
	"holdfast.example/internal/user"
)

// The token types of RFC 8693 section 3 that are known here.
const (
	TypeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	TypeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	TypeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// Subject is what a token exchange shows (RFC 8693 section 2.1): a token that
// another provider gave to the app.
type Subject struct {
	Token secret.Text
	// Type is the subject_token_type: TypeAccessToken, TypeIDToken or TypeJWT. A
	// door whose dialect has none sets Untyped instead.
	Type    string
	Untyped bool
	// Upstream says whose token it is: an upstream's id, its issuer, or the name
	// that Open edX has for its kind (google-oauth2). "" leaves it to a signed token
	// to say. The parameter is subject_issuer, which is our extension.
	Upstream string
	// Nonce is what the app bound its request at the provider to, "" for none.
	Nonce string
	// Requested is the requested_token_type, "" for an access token.
	Requested string
	// Resource and Audience are where the new token is to be used, "" for the
	// client's usual audience.
	Resource, Audience string
	// Actor is set when an actor_token was sent; delegation is not offered.
	Actor bool
	// Bare: no scope was asked for, and none is granted. The dialect of Open edX
	// means that by a missing scope; elsewhere it means everything.
	Bare bool
}

// Why a token exchange was refused, as the private cause of its error, for doors
// whose dialect tells these cases apart. All but ErrUpstreamUnknown and
// ErrUpstreamRefused come with the kind InvalidSubject; a provider that does not
// answer is the kind Unavailable or Busy.
var (
	// ErrRejected: the provider does not vouch for the token.
	ErrRejected = upstream.ErrRejected
	// ErrNotLinked: it is good, and no account here is its owner's.
	ErrNotLinked = errors.New("grant: no account is linked to this identity")
	// ErrUserDisabled: the account is disabled.
	ErrUserDisabled = user.ErrDisabled
	// ErrReplayed: a token about one sign-in was used before.
	ErrReplayed = errors.New("grant: the token was used before")
	// ErrUpstreamUnknown: there is no such upstream (InvalidRequest).
	ErrUpstreamUnknown = errors.New("grant: no such upstream")
	// ErrUpstreamRefused: it is out of use, or not for this client
	// (UnauthorizedClient).
	ErrUpstreamRefused = errors.New("grant: the client may not use this upstream")
)

// amrFederated is the amr of a sign-in somebody else vouched for. RFC 8176 has no
// name for that. The second value says who did.
const amrFederated = "fed"

// exchange is RFC 8693 for the tokens of other providers. It opens a session like
// any sign-in and never makes an account.
func (is *Issuer) exchange(ctx context.Context, c client.Client, r Request) (earned, error) {
	if !c.FirstParty { // nobody is asked for consent here
		return earned{}, fault.New(fault.UnauthorizedClient, "the token exchange is for first-party clients only")
	}
	target, err := is.checkSubject(c, r.Subject)
	if err != nil {
		return earned{}, err
	}
	scope := ""
	if !r.Subject.Bare {
		scope, err = scopeOf(r.Scope, c.Available())
	}
	if err != nil {
		return earned{}, err
	}
	err = r.Device.check()
	if err != nil {
		return earned{}, err
	}
	c, err = is.current(ctx, r.Client)
	if err != nil {
		return earned{}, err
	}
	up, err := is.upstreamFor(c, r.Subject)
	if err != nil {
		return earned{}, err
	}
	who, err := is.vouched(ctx, up, r)
	if err != nil {
		return earned{}, err
	}
	u, err := is.ownerOf(ctx, c, up, who, r)
	if err != nil {
		return earned{}, err
	}
	spent, err := is.spend(ctx, c, who, r)
	if err != nil {
		return earned{}, err
	}
	ctx = audit.As(ctx, audit.Who{Actor: audit.ByUser, ID: u.ID.String(), From: r.From})
	turn, err := is.Sessions.Open(ctx, session.SignIn{
		ID: spent.session, User: u.ID, Epoch: u.Epoch, Client: c.ID, Scope: scope, Grant: client.GrantTokenExchange, AMR: amrFederated + " " + amrFederated + ":" + up.ID,
		AuthTime: who.AuthTime, AuthTimeUnknown: who.AuthTime.IsZero(), Device: r.Device.facts(), Attempt: spent.attempt, Policy: is.policy(c),
	})
	switch {
	case errors.Is(err, session.ErrOpened):
		return earned{}, notAccepted(ErrReplayed)
	case err != nil:
		return earned{}, err
	}
	e := earned{scope: scope, turn: &turn, signedIn: &u, now: turn.Now, target: target, tokenType: TypeAccessToken}
	if r.Subject.Requested == TypeJWT {
		e.tokenType = TypeJWT
	}
	return e, nil
}

// checkSubject holds the request to RFC 8693 section 2.1 and gives the audience
// that was asked for, "" for the usual one.
func (is *Issuer) checkSubject(c client.Client, s Subject) (target string, err error) {
	known := []string{TypeAccessToken, TypeIDToken, TypeJWT}
	switch {
	case s.Token.Empty():
		return "", fault.New(fault.InvalidRequest, "subject_token is missing")
	case s.Type == "" && !s.Untyped:
		return "", fault.New(fault.InvalidRequest, "subject_token_type is missing")
	case s.Type != "" && !slices.Contains(known, s.Type):
		return "", fault.New(fault.InvalidRequest, "this subject_token_type is not accepted here; send one of the types access_token, id_token and jwt of RFC 8693 section 3")
	case s.Actor:
		return "", fault.New(fault.InvalidRequest, "delegation is not offered: send no actor_token")
	case s.Requested != "" && s.Requested != TypeAccessToken && !(s.Requested == TypeJWT && c.AccessFormat != client.Opaque):
		return "", fault.New(fault.InvalidRequest, "this requested_token_type is not given here; leave it out")
	case s.Resource != "" && s.Audience != "" && s.Resource != s.Audience:
		return "", fault.New(fault.InvalidTarget, "resource and audience name two targets; send one")
	}
	target = s.Resource + s.Audience
	if s.Resource == s.Audience {
		target = s.Resource
	}
	if target != "" && target != is.Minter.Issuer && !slices.Contains(c.Audiences, target) {
		return "", fault.New(fault.InvalidTarget, "this client gets no tokens for that target")
	}
	return target, nil
}

// upstreamFor finds the upstream that a token is said to be of, and whether the
// client may use it. A client that lists none may use all.
func (is *Issuer) upstreamFor(c client.Client, s Subject) (upstream.Upstream, error) {
	up, found := is.Upstreams.Find(s.Upstream)
	if s.Upstream == "" {
		up, found = is.Upstreams.OfToken(s.Token)
	}
	switch {
	case !found && s.Upstream == "":
		return up, fault.Wrap(fault.InvalidRequest, ErrUpstreamUnknown, "the token does not say whose it is; name the provider in subject_issuer")
	case !found:
		return up, fault.Wrap(fault.InvalidRequest, ErrUpstreamUnknown, "subject_issuer names no provider of this server")
	case up.Disabled || len(c.Upstreams) > 0 && !slices.Contains(c.Upstreams, up.ID):
		return up, fault.Wrap(fault.UnauthorizedClient, ErrUpstreamRefused, "this client may not use this provider")
	}
	return up, nil
}

// vouched asks the provider about the token, as one counted attempt: who tries
// tokens out is slowed down before the provider is.
func (is *Issuer) vouched(ctx context.Context, up upstream.Upstream, r Request) (upstream.Identity, error) {
	try := limit.Try{Account: "upstream:" + up.ID, Address: r.From}
	err := is.Exchanges.Begin(ctx, is.Now(), try)
	if err != nil {
		return upstream.Identity{}, err
	}
	p := upstream.Presented{Token: r.Subject.Token, Nonce: r.Subject.Nonce}
	switch {
	case r.Subject.Type == TypeAccessToken && up.Kind != upstream.Microsoft:
		p.Form = upstream.AccessToken
	case r.Subject.Type == TypeIDToken, r.Subject.Type == TypeJWT:
		p.Form = upstream.IDToken
	}
	who, err := is.Upstreams.Verify(ctx, up.ID, p)
	if !fault.Is(err, fault.InvalidSubject) {
		_ = is.Exchanges.Return(ctx, is.Now(), try) // an attempt too many counted heals with time
	}
	return who, err
}

// notAccepted is the one answer to a token that earns nothing, whatever the cause:
// nobody learns from it whether an account exists or is disabled.
func notAccepted(cause error) error {
	return fault.Wrap(fault.InvalidSubject, cause, "the token is not accepted")
}

// ownerOf finds the account of an identity: the one its subject is linked to,
// else one that its e-mail address may link.
func (is *Issuer) ownerOf(ctx context.Context, c client.Client, up upstream.Upstream, who upstream.Identity, r Request) (user.User, error) {
	which, err := is.Upstreams.Linked(ctx, who)
	if errors.Is(err, upstream.ErrNotFound) {
		which, err = is.linkByEmail(ctx, up, who)
	}
	if err != nil {
		return user.User{}, err
	}
	u, err := is.Users.Get(ctx, which)
	switch {
	case fault.Is(err, fault.NotFound):
		return user.User{}, notAccepted(ErrNotLinked)
	case err != nil:
		return user.User{}, err
	case u.Disabled:
		return user.User{}, is.refusedExchange(ctx, c, u, up, r)
	}
	return u, nil
}

// linkByEmail links an identity to the account with its e-mail address, where the
// upstream allows that and nobody could have forged it: both sides have verified
// the address, and the provider is who gives it out. An account that somebody else
// registered under the address in the hope of this moment has not verified it. An
// operator's account is linked by an operator only.
func (is *Issuer) linkByEmail(ctx context.Context, up upstream.Upstream, who upstream.Identity) (id.User, error) {
	if up.Link != upstream.LinkVerifiedEmail || !who.EmailVerified || !who.Authoritative {
		return id.User{}, notAccepted(ErrNotLinked)
	}
	u, err := is.Users.ByLogin(ctx, who.Email)
	switch {
	case fault.Is(err, fault.NotFound):
		return id.User{}, notAccepted(ErrNotLinked)
	case err != nil:
		return id.User{}, err
	case !u.EmailVerified || user.Canonical(u.Email) != user.Canonical(who.Email) || u.Staff || u.Superuser:
		return id.User{}, notAccepted(ErrNotLinked)
	case u.Disabled: // answered as such, and not linked
		return u.ID, nil
	}
	ctx = audit.As(ctx, audit.Who{Actor: audit.BySystem, From: audit.Acting(ctx).From})
	err = is.Upstreams.Link(ctx, upstream.Link{Upstream: up.ID, Subject: who.Subject, User: u.ID}, upstream.ByEmail)
	if !errors.Is(err, upstream.ErrTaken) {
		return u.ID, err
	}
	// Somebody came first: this very sign-in in parallel, or the account has another
	// subject there. Only what stands now counts.
	which, err := is.Upstreams.Linked(ctx, who)
	if errors.Is(err, upstream.ErrNotFound) {
		return id.User{}, notAccepted(ErrNotLinked)
	}
	return which, err
}

// refusedExchange writes the account of a refused sign-in at a disabled account.
func (is *Issuer) refusedExchange(ctx context.Context, c client.Client, u user.User, up upstream.Upstream, r Request) error {
	now, err := is.Sessions.Store.Now(ctx)
	if err != nil {
		return fault.Down(err)
	}
	e := audit.New(ctx, audit.SignInRefused, now)
	e.User, e.Client, e.Object = u.ID, c.ID, up.ID
	e.Details = map[string]string{"device": r.Device.Name, "why": ErrUserDisabled.Error(), "grant": client.GrantTokenExchange}
	err = is.Audit.Add(ctx, e)
	if err != nil {
		return fault.Down(err)
	}
	return notAccepted(ErrUserDisabled)
}
