package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// openID is any issuer: its ID tokens, verified with the keys that its discovery
// document names. The operator chose the issuer, and where he lets e-mail
// addresses link accounts he says that it is the authority for them.
type openID struct{ ids idTokens }

func (o *openID) verify(ctx context.Context, p Presented) (Identity, error) {
	if p.Form == AccessToken && !looksSigned(p.Token.Reveal()) {
		return Identity{}, rejected("no ID token")
	}
	_, who, err := o.ids.verify(ctx, p)
	who.Authoritative = true
	return who, err
}

// discover finds an issuer's key set (OpenID Connect Discovery 1.0 section 4). It
// is asked as often as the keys themselves: once an hour.
func discover(c *caller, u Upstream) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		a, err := c.get(ctx, u.at(strings.TrimSuffix(u.Issuer, "/"), "/.well-known/openid-configuration"), nil, "")
		if err != nil {
			return "", err
		}
		document := a.said
		if a.refused() {
			return "", away(fmt.Errorf("its discovery document answered %d", a.status))
		}
		keys := document.text("jwks_uri")
		switch {
		case document.text("issuer") != u.Issuer: // section 4.3: else one issuer could speak for another
			return "", away(errors.New("its discovery document names another issuer"))
		case !callable(keys):
			return "", away(errors.New("its discovery document names no address for its keys"))
		}
		return keys, nil
	}
}

// callable reports whether a provider may send us to an address: https, or plain
// http on this machine.
func callable(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback())
}

// ask reads an object from a provider. A refusal of the provider is a refusal of
// the token.
func ask(ctx context.Context, c *caller, address string, query url.Values, token string) (object, error) {
	a, err := c.get(ctx, address, query, token)
	if err != nil {
		return nil, err
	}
	if a.refused() {
		if a.status == http.StatusNotFound {
			return nil, away(errors.New("it has no such endpoint"))
		}
		return nil, rejected("the provider answered %d", a.status)
	}
	return a.said, nil
}

// provider makes what stands behind an upstream.
func (r *Registry) provider(u Upstream) provider {
	c := newCaller(r.Transport, r.Now)
	fixed := func(host, path string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return u.at(host, path), nil }
	}
	ids := func(address func(context.Context) (string, error)) idTokens {
		return idTokens{keys: &keySet{fetch: fetching(c, address), now: r.Now}, apps: u.ClientIDs, now: r.Now,
			issuer: func(claims object) bool { return slices.Contains(u.issuers(), claims.text("iss")) }}
	}
	switch u.Kind {
	case Google:
		return &google{u, c, ids(fixed(googleKeys, "/oauth2/v3/certs")), r.Now}
	case Facebook:
		return &facebook{u, c, ids(fixed(facebookKeysHost, facebookKeys)), r.Now}
	case Apple:
		return &apple{ids(fixed(appleHost, "/auth/keys"))}
	case Microsoft:
		m := ids(fixed(microsoftHost, microsoftKeys))
		m.issuer = microsoftIssuer(u)
		return &microsoft{m}
	}
	return &openID{ids(discover(c, u))}
}
