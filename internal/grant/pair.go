package grant

import (
	"context"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/token"
	"holdfast.example/internal/user"
)

// pairClaims are the claims of a client with claims = "simplejwt". The user's
// integer id is in the account, so that a refresh costs one look more than other
// clients' do.
func (is *Issuer) pairClaims(ctx context.Context, c client.Client, e earned) (*token.Pair, error) {
	if e.turn == nil {
		return &token.Pair{Type: token.PairAccess}, nil
	}
	u, err := is.behind(ctx, e)
	if err != nil {
		return nil, err
	}
	s := e.turn.Session
	switch s.Grant {
	case GrantSliding:
		return &token.Pair{Type: token.PairSliding, UserID: u.Integer(), RefreshUntil: is.prolongedUntil(c, s)}, nil
	case GrantDRFJWT:
		return &token.Pair{UserID: u.Integer(), Username: u.Username, SignedInAt: s.AuthTime}, nil
	}
	return &token.Pair{Type: token.PairAccess, UserID: u.Integer()}, nil
}

// behind is the user of a session that earned something.
func (is *Issuer) behind(ctx context.Context, e earned) (user.User, error) {
	if e.signedIn != nil {
		return *e.signedIn, nil
	}
	return is.Users.Get(ctx, e.turn.Session.User)
}

// dress puts the refresh token of a turn into the JWT that apps of simplejwt
// decode. Equal tokens have equal dresses: exp is counted from the token's own
// issue, so that an answer which is repeated is the same answer. A token that
// comes back as it was shown, because nothing could be written, may wear one
// already.
func (is *Issuer) dress(ctx context.Context, c client.Client, t session.Turn, number int64) (secret.Text, error) {
	if token.Dressed(t.Token) {
		return t.Token, nil
	}
	opened, err := is.Sessions.Tokens.Open(ctx, t.Token)
	if err != nil {
		return secret.Text{}, fault.Wrap(fault.Internal, err, "the server could not make the refresh token; repeat the request")
	}
	claims := token.DressClaims{Subject: t.Session.User.String(), UserID: number}
	l := is.lifetimes(c)
	if l.Idle > 0 {
		claims.ExpiresAt = opened.IssuedAt.Add(l.Idle)
	}
	if l.Absolute > 0 {
		end := t.Session.CreatedAt.Add(l.Absolute)
		if claims.ExpiresAt.IsZero() || end.Before(claims.ExpiresAt) {
			claims.ExpiresAt = end
		}
	}
	return is.Sessions.Tokens.Dress(t.Token, opened, claims), nil
}

// Mine checks an access token that must be of one client, for whatever API.
// Errors are *fault.Error: InvalidToken with the reason, whose cause is ErrExpired
// for one whose time is over and ErrWrongType for a refresh token; or Unavailable.
func (is *Issuer) Mine(ctx context.Context, c client.Client, t secret.Text) (Bearer, error) {
	b, err := is.active(ctx, t)
	if fault.Is(err, fault.InvalidToken) {
		err = is.aged(ctx, t, err)
		if _, notOurs := is.Sessions.Tokens.Open(ctx, t); notOurs == nil {
			err = fault.Wrap(fault.InvalidToken, ErrWrongType, "this is a refresh token")
		}
	}
	switch {
	case err != nil:
		return Bearer{}, err
	case b.Access.Client != c.ID:
		return Bearer{}, &fault.Error{Kind: fault.InvalidToken, Reason: fault.WrongClient, Words: fault.WrongClient.Sentence()}
	}
	return b, nil
}

// Refused says more about a string that was refused as no refresh token: the error
// is refused itself, or has the cause ErrWrongType when it is an access token of
// ours, ErrExpired when it was one.
func (is *Issuer) Refused(ctx context.Context, t secret.Text, refused error) error {
	if fault.As(refused).Reason != fault.Malformed {
		return refused
	}
	now := is.Now()
	_, err := is.Reader.Access(ctx, t, now)
	if err == nil {
		return &fault.Error{Kind: fault.InvalidGrant, Reason: fault.Malformed, Words: "this is an access token", Cause: ErrWrongType}
	}
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	if _, old := is.Reader.Expired(ctx, t, now); old {
		return &fault.Error{Kind: fault.InvalidGrant, Reason: fault.Malformed, Words: "this is an access token that has expired", Cause: ErrExpired}
	}
	return refused
}

// Stands reports whether a token of a client, of either kind, would be accepted
// now. Nothing is changed by it. nil is yes; errors are those of Mine for an access
// token, and of a refresh for a refresh token.
func (is *Issuer) Stands(ctx context.Context, caller Credential, t secret.Text) error {
	c, err := is.Authenticate(ctx, caller)
	if err != nil {
		return err
	}
	_, err = is.Sessions.Look(ctx, t, c.ID, is.terms(c, ""))
	if !fault.Is(err, fault.InvalidGrant) || fault.As(err).Reason != fault.Malformed {
		return late(err)
	}
	_, inner := is.Mine(ctx, c, t)
	return inner
}

// late gives a refusal that will not last its kind.
func late(err error) error {
	if e := fault.As(err); e != nil && e.Reason == fault.Late {
		return &fault.Error{Kind: fault.LateAnswer, Reason: fault.Late, RetryAfter: fault.RetrySoon, Words: fault.Late.Sentence()}
	}
	return err
}

// SignOut ends the session behind a refresh token, whatever its generation. Unlike
// Revoke it tells what it found: a token whose session is over already is refused
// with the reason, and a string that is no refresh token of the client too. nil
// means durable.
func (is *Issuer) SignOut(ctx context.Context, caller Credential, t secret.Text) error {
	c, err := is.Authenticate(ctx, caller)
	if err != nil {
		return err
	}
	ctx = audit.As(ctx, audit.Who{Actor: audit.ByClient, ID: string(c.ID), From: caller.From})
	which, owned, err := is.Sessions.Owned(ctx, t, c.ID)
	if err != nil {
		return err
	}
	l, refused := is.Sessions.Look(ctx, t, c.ID, is.terms(c, ""))
	switch {
	case fault.Is(refused, fault.Unavailable):
		return refused
	case !owned:
		return is.Refused(ctx, t, refused)
	case refused != nil && l.Session.Ended(l.Standing, is.policyOf(c, l.Session.Grant), l.Now) != "":
		return refused
	}
	return is.Sessions.End(ctx, which, fault.SignedOut)
}
