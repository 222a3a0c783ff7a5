// Package oauth owns the standard door: OAuth 2.0 and OpenID Connect as their
// RFCs write them. A door parses, calls, renders; it holds no policy and no SQL.
//
//	POST      /oauth2/token        RFC 6749
//	POST      /oauth2/revoke       RFC 7009
//	POST      /oauth2/introspect   RFC 7662
//	GET POST  /oauth2/userinfo     OIDC Core section 5.3
//	GET       /oauth2/jwks         RFC 7517
//	GET       /.well-known/openid-configuration, /.well-known/oauth-authorization-server
//
// It does not own what a grant is worth (room grant) or other dialects (the
// other doors).
package oauth

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
)

// Door is the standard door.
type Door struct {
	Issuer *grant.Issuer
	Keys   *key.Ring
	Log    *slog.Logger
	// From tells the caller's address, which depends on trusted proxies.
	From func(*http.Request) netip.Addr
	// Note, when set, hears of every fault that leaves through this door.
	Note func(*http.Request, *fault.Error)
	// JWKSMaxAge is how long, in seconds, clients may keep the key set.
	JWKSMaxAge int
}

// Mux is the part of a router a door needs. Every path is registered with and
// without its trailing slash, and a POST is never redirected.
type Mux interface {
	Handle(path string, h http.Handler)
}

// Mount registers the door's routes.
func (d *Door) Mount(m Mux) {
	m.Handle("/oauth2/token", d.ours(d.token, http.MethodPost))
	m.Handle("/oauth2/revoke", d.ours(d.revoke, http.MethodPost))
	m.Handle("/oauth2/introspect", d.only(d.introspect, http.MethodPost))
	m.Handle("/oauth2/userinfo", d.ours(d.userinfo, http.MethodGet, http.MethodPost))
	m.Handle("/oauth2/jwks", d.anybodys(d.jwks))
	m.Handle("/.well-known/openid-configuration", d.anybodys(d.discovery))
	m.Handle("/.well-known/oauth-authorization-server", d.anybodys(d.discovery))
}

// only turns every other method away with Allow (RFC 9110 section 15.5.6).
func (d *Door) only(h http.HandlerFunc, methods ...string) http.Handler {
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, m := range methods {
			if r.Method == m {
				h(w, r)
				return
			}
		}
		w.Header().Set("Allow", allow)
		d.refuse(w, r, fault.Newf(fault.MethodNotAllowed, "use %s", allow))
	})
}

func (d *Door) note(r *http.Request, e *fault.Error) {
	if d.Note != nil {
		d.Note(r, e)
	}
}

// credential reads how the client authenticates: Basic, or the body, or only
// its id. More than one method is refused (RFC 6749 section 2.3).
func (d *Door) credential(r *http.Request, f form.Values) (grant.Credential, error) {
	c, err := proof(r, f)
	c.From = d.From(r)
	return c, err
}

func proof(r *http.Request, f form.Values) (grant.Credential, error) {
	name, pw, basic, err := form.Basic(r.Header)
	if err != nil {
		return grant.Credential{}, err
	}
	inBody := id.Client(f.Get("client_id"))
	switch {
	case basic && (f.Has("client_secret") || f.Has("client_assertion")):
		return grant.Credential{}, fault.New(fault.InvalidRequest, "authenticate the client in one way: either the Authorization header or the body")
	case basic && inBody != "" && inBody != id.Client(name):
		return grant.Credential{}, fault.New(fault.InvalidRequest, "client_id in the body is not the client of the Authorization header")
	case basic:
		return grant.Credential{ID: id.Client(name), Secret: pw, Method: client.AuthBasic}, nil
	case f.Has("client_assertion") && f.Has("client_secret"):
		return grant.Credential{}, fault.New(fault.InvalidRequest, "authenticate the client in one way: client_assertion or client_secret")
	case f.Has("client_assertion"):
		return grant.Credential{}, fault.New(fault.InvalidClient, "this server does not accept client_assertion")
	case f.Has("client_secret"):
		return grant.Credential{ID: inBody, Secret: f.Secret("client_secret"), Method: client.AuthPost}, nil
	default:
		return grant.Credential{ID: inBody, Method: client.AuthNone}, nil
	}
}

// bearer reads the access token of a request: from the Authorization header,
// or from the body of a form POST, never from the URL and never from both
// (RFC 6750 section 2).
func bearer(w http.ResponseWriter, r *http.Request) (secret.Text, error) {
	if r.URL.Query().Has("access_token") {
		return secret.Text{}, fault.New(fault.InvalidRequest, "send the access token in the Authorization header: URLs end up in logs")
	}
	inHeader, err := form.Bearer(r.Header)
	if fault.Is(err, fault.InvalidRequest) {
		return secret.Text{}, err
	}
	var inBody secret.Text
	if r.Method == http.MethodPost && r.ContentLength != 0 {
		f, err := form.Read(w, r)
		if err != nil {
			return secret.Text{}, err
		}
		inBody = f.Secret("access_token")
	}
	switch {
	case inBody.Empty():
		return inHeader, err
	case len(r.Header["Authorization"]) > 0:
		return secret.Text{}, fault.New(fault.InvalidRequest, "send the access token once: header or body")
	}
	return inBody, nil
}
