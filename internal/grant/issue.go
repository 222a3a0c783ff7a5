package grant

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/token"
)

// Authentication classes, weakest first: the acr of tokens (OIDC Core section
// 2). The numbers follow NIST SP 800-63B's levels.
const (
	// ACRSingle is one factor: a password.
	ACRSingle = "aal1"
)

// issue makes the tokens of what was earned, the access token in the form that
// was asked for ("" is the client's).
func (is *Issuer) issue(ctx context.Context, c client.Client, form client.Format, e earned) (Issued, error) {
	if form == "" || c.Claims != client.OpenEdX || c.AccessFormat == client.Opaque {
		form = c.AccessFormat
	}
	life := is.lifetimes(c)
	a := token.Access{ID: id.NewToken(), Subject: string(c.ID), Client: c.ID, Scope: e.scope,
		Audience: is.audience(c, e.scope), IssuedAt: e.now, Expires: e.now.Add(c.AccessLife(is.Limits, form))}
	if e.target != "" {
		a.Audience = []string{e.target}
	}
	out := Issued{Scope: e.scope, TokenType: e.tokenType, Format: form}
	if e.turn != nil {
		s := e.turn.Session
		a.Subject, a.SID, a.Epoch, a.Grant = s.User.String(), is.Sessions.Names.SID(s.ID), s.Epoch, s.Grant
		a.AuthTime, a.ACR, a.AMR = s.AuthTime, ACRSingle, fields(s.AMR)
		if life.Absolute > 0 { // no token outlives the session's absolute limit
			a.Expires = earlier(a.Expires, s.CreatedAt.Add(life.Absolute))
		}
		out.SID, out.Answer = a.SID, e.turn.Answer
		out.User, out.Now, out.Visit, out.Until = s.User, e.now, s.Grant == GrantVisit, is.until(c, s, e.now)
		if c.Allows("refresh_token") && !prolonged(s) {
			out.RefreshToken = e.turn.Token
		}
	}
	if !e.until.IsZero() {
		a.Expires = earlier(a.Expires, e.until)
	}
	if c.Restricted && form == client.Opaque {
		a.Expires = time.Unix(0, 0).UTC() // a restricted application has JWTs alone: this one is dead on arrival, as in Open edX
	}
	out.ExpiresIn = a.Expires.Sub(a.IssuedAt)
	err := is.dialect(ctx, c, e, &a, &out)
	if err != nil {
		return Issued{}, err
	}
	out.AccessToken, err = is.access(c, form, a)
	if err != nil {
		return Issued{}, err
	}
	if e.signedIn != nil && slices.Contains(fields(e.scope), "openid") {
		out.IDToken, err = is.identity(c, e, a, out.AccessToken)
	}
	return out, fault.InTime(ctx, err)
}

// dialect gives the tokens what a client's claim set adds to them.
func (is *Issuer) dialect(ctx context.Context, c client.Client, e earned, a *token.Access, out *Issued) error {
	var err error
	switch c.Claims {
	case client.OpenEdX:
		a.EdX, err = is.edxClaims(ctx, c, *a, e)
	case client.SimpleJWT:
		a.Pair, err = is.pairClaims(ctx, c, e)
		if err != nil {
			return err
		}
		a.ID = token.NewPairID()
		if e.again != "" {
			a.ID = e.again
		}
		if !out.RefreshToken.Empty() {
			out.RefreshToken, err = is.dress(ctx, c, *e.turn, a.Pair.UserID)
		}
	}
	return err
}

// access mints the access token in a form.
func (is *Issuer) access(c client.Client, form client.Format, a token.Access) (secret.Text, error) {
	mint := func() (secret.Text, error) { return is.Minter.JWT(a, c.AccessAlg) }
	if form == client.Opaque {
		mint = func() (secret.Text, error) { return is.Minter.Opaque(a) }
	}
	t, err := mint()
	switch {
	case errors.Is(err, token.ErrTooLong):
		return secret.Text{}, fault.Wrap(fault.InvalidScope, err, "the access token would be too long for anybody to read; ask for fewer scopes, or for one audience alone")
	case err != nil:
		return secret.Text{}, fault.Wrap(fault.Internal, err, "the server could not sign the token; repeat the request")
	}
	return t, nil
}

// identity mints the ID token of a sign-in. A refresh gives none: who needs
// one again asks at userinfo.
func (is *Issuer) identity(c client.Client, e earned, a token.Access, access secret.Text) (secret.Text, error) {
	u, scopes := e.signedIn, fields(e.scope)
	i := token.Identity{Subject: a.Subject, Client: c.ID, IssuedAt: a.IssuedAt, Expires: a.Expires,
		AuthTime: a.AuthTime, ACR: a.ACR, AMR: a.AMR, SID: a.SID, Access: access}
	if slices.Contains(scopes, "email") {
		i.Email, i.EmailVerified = u.Email, u.EmailVerified
	}
	if slices.Contains(scopes, "profile") {
		i.Name, i.GivenName, i.FamilyName, i.Username = u.Name, u.GivenName, u.FamilyName, u.Username
	}
	t, err := is.Minter.ID(i, c.IDTokenAlg)
	if err != nil {
		return secret.Text{}, fault.Wrap(fault.Internal, err, "the server could not sign the token; repeat the request")
	}
	return t, nil
}

// audience is who the access token is for: what the client is registered for,
// else this server's own APIs. A token that may ask userinfo names the server
// too (RFC 9068 section 3).
func (is *Issuer) audience(c client.Client, scope string) []string {
	if len(c.Audiences) == 0 {
		return []string{is.Minter.Issuer}
	}
	if c.Claims == client.OpenEdX { // their verifiers read one audience, not a list
		return c.Audiences[:1]
	}
	aud := slices.Clone(c.Audiences)
	if slices.Contains(fields(scope), "openid") && !slices.Contains(aud, is.Minter.Issuer) {
		aud = append(aud, is.Minter.Issuer)
	}
	return aud
}

func (is *Issuer) lifetimes(c client.Client) client.Limits { return c.Limits(is.Limits) }

// policy is what a client's registration means for its sessions.
func (is *Issuer) policy(c client.Client) session.Policy {
	l := is.lifetimes(c)
	p := session.Policy{Rotate: l.Rotate, Overlap: l.Overlap, Late: l.Late, Recovery: l.Recovery, Idle: l.Idle, Absolute: l.Absolute}
	if c.OnReuse == "hold" {
		p.OnReuse = session.HoldOnReuse
	}
	return p
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// hasScope reports whether a space separated scope contains one name.
func hasScope(scope, want string) bool { return slices.Contains(strings.Fields(scope), want) }
