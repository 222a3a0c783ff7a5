package grant

import (
	"context"
	"strings"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/token"
	"holdfast.example/internal/user"
)

// edxClaims are the claims of an Open edX for an access token. They are read from
// the account as it is now: one look at the accounts more than other clients
// cost, at each refresh too, because Open edX finds a user by his name and its
// apps show what the token says.
func (is *Issuer) edxClaims(ctx context.Context, c client.Client, a token.Access, e earned) (*token.EdX, error) {
	x := &token.EdX{GrantType: edxGrant(a.Grant), Restricted: c.Restricted, Filters: c.Filters}
	if e.turn == nil {
		// Nobody stands behind it: Open edX knows such a service by the user who is
		// called as the client is.
		x.Username, x.GrantType = string(c.ID), edxGrant(client.GrantClientCredentials)
		return x, is.nobodysName(ctx, c)
	}
	u, err := is.behind(ctx, e)
	if err != nil {
		return nil, err
	}
	x.Username = u.Username
	x.Filters = append([]string{"user:me"}, c.Filters...)
	x.Person = &token.EdXPerson{Number: u.Integer(), Email: u.Email, EmailVerified: u.EmailVerified,
		Name: u.Name, GivenName: u.GivenName, FamilyName: u.FamilyName, Staff: u.Staff, Superuser: u.Superuser}
	return x, nil
}

// nobodysName refuses a client that is called as a person is: Open edX would take
// its token for that person's, an administrator's too. An account that nobody can
// sign in to, without a password and without a link to a provider, is no person:
// it reserves the name, and may be the service's own account there.
func (is *Issuer) nobodysName(ctx context.Context, c client.Client) error {
	u, err := is.Users.ByLogin(ctx, string(c.ID))
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	case user.Canonical(u.Username) != user.Canonical(string(c.ID)): // its address
		return nil
	}
	person := u.PasswordHash != ""
	if !person && is.Upstreams != nil {
		links, err := is.Upstreams.Links(ctx, u.ID)
		if err != nil {
			return err
		}
		person = len(links) > 0
	}
	if person {
		return fault.New(fault.UnauthorizedClient, "a user who signs in has the name of this client, and Open edX would take the token for his; register the client under another id")
	}
	return nil
}

// edxGrant is the claim grant_type. In Open edX it names the one grant of an
// application, and a web session and a token exchange come from an application
// for passwords.
func edxGrant(earned string) string {
	if earned == GrantWeb || strings.Contains(earned, "exchange") {
		return client.GrantPassword
	}
	return strings.ReplaceAll(earned, "_", "-")
}
