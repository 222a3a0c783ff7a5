package upstream

import (
	"context"
	"strings"
)

const (
	microsoftHost = "https://login.microsoftonline.com"
	microsoftKeys = "/common/discovery/v2.0/keys"
)

// microsoft verifies signed tokens that were made for our app: ID tokens, and
// access tokens for a scope of our own (api://...). A token for Microsoft Graph is
// refused: its audience is Graph, its signature is not for us to check, and /me
// answers to a token of any app, so that nothing binds it to ours. The appid
// inside it is text that anybody could write, until a signature says otherwise.
type microsoft struct{ ids idTokens }

func (m *microsoft) verify(ctx context.Context, p Presented) (Identity, error) {
	if !looksSigned(p.Token.Reveal()) {
		return Identity{}, rejected("no signed token; ask for an ID token")
	}
	claims, who, err := m.ids.verify(ctx, p)
	if err != nil {
		return Identity{}, err
	}
	// sub differs from app to app of ours; tenant and object are one person in all of
	// them. An e-mail address is what a tenant's administrator writes there.
	tenant, object := claims.text("tid"), claims.text("oid")
	if tenant == "" || object == "" {
		return Identity{}, rejected("without tid and oid: ask for the scope profile")
	}
	who.Subject, who.EmailVerified = tenant+"/"+object, false
	return who, nil
}

// microsoftIssuer holds iss to the tenant that the token names, and to the one
// tenant that is allowed if there is one.
func microsoftIssuer(u Upstream) func(object) bool {
	return func(claims object) bool {
		iss, tenant := claims.text("iss"), claims.text("tid")
		if u.Issuer != "" {
			return iss == u.Issuer
		}
		bad := tenant == "" || strings.ContainsFunc(tenant, func(c rune) bool { return (c < 'a' || c > 'f') && (c < '0' || c > '9') && c != '-' })
		return !bad && (iss == microsoftHost+"/"+tenant+"/v2.0" || iss == u.at(microsoftHost, "/"+tenant+"/v2.0"))
	}
}
