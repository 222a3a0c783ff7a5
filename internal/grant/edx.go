package grant

import (
	"context"
	"strings"

	"holdfast.example/internal/client"
	"holdfast.example/internal/token"
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
		return x, nil
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

// edxGrant is the claim grant_type. In Open edX it names the one grant of an
// application, and a web session and a token exchange come from an application
// for passwords.
func edxGrant(earned string) string {
	if earned == GrantWeb || strings.Contains(earned, "exchange") {
		return client.GrantPassword
	}
	return strings.ReplaceAll(earned, "_", "-")
}
