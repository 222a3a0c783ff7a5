package oauth

import (
	"net/http"
	"slices"
	"time"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/secret"
)

// This file is the same door in the words of django-oauth-toolkit, for clients and
// resource servers that were set up against it:
//
//	POST      {p}/token/          bodies and errors as oauthlib words them
//	POST      {p}/revoke_token/
//	GET POST  {p}/introspect/     by a bearer token with the scope introspection, or by client credentials
//	GET POST  {p}/userinfo/
//	GET       {p}/.well-known/jwks.json

// DOTPaths lists the paths of the dialect under a prefix.
func DOTPaths(prefix string) []string {
	return []string{prefix + "/token", prefix + "/revoke_token", prefix + "/introspect", prefix + "/userinfo", prefix + "/.well-known/jwks.json"}
}

// MountDOT registers the routes of the dialect under a prefix.
func (d *Door) MountDOT(m Mux, prefix string) {
	m.Handle(prefix+"/token", d.shared(http.HandlerFunc(d.dotToken), http.MethodPost))
	m.Handle(prefix+"/revoke_token", d.shared(http.HandlerFunc(d.dotRevoke), http.MethodPost))
	m.Handle(prefix+"/introspect", d.only(d.dotIntrospect, http.MethodGet, http.MethodPost))
	m.Handle(prefix+"/userinfo", d.ours(d.userinfo, http.MethodGet, http.MethodPost))
	m.Handle(prefix+"/.well-known/jwks.json", d.anybodys(d.jwks))
}

// dotTokenBody is the answer of a token endpoint in the order of the original.
type dotTokenBody struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    int64  `json:"expires_in"`
	TokenType    string `json:"token_type"`
	Scope        string `json:"scope"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
}

// dotNeeds are the grants of the original and the parameters that each needs.
var dotNeeds = map[string][]string{
	"password":           {"username", "password"},
	"refresh_token":      {"refresh_token"},
	"authorization_code": {"code"},
	"client_credentials": nil,
}

// dotMissing is how the original words a missing parameter.
func dotMissing(parameter string) string {
	if parameter == "refresh_token" {
		return "Missing refresh token parameter."
	}
	return "Request is missing " + parameter + " parameter."
}

// dotToken is the token endpoint.
func (d *Door) dotToken(w http.ResponseWriter, r *http.Request) {
	if !dotPost(w, r) {
		return
	}
	f, err := form.ReadAny(w, r)
	if err != nil {
		d.dotRefuse(w, r, err, "")
		return
	}
	needs, known := dotNeeds[f.Get("grant_type")]
	if !known && !slices.Contains(grant.Types(), f.Get("grant_type")) {
		d.dotRefuse(w, r, fault.New(fault.UnsupportedGrant, "grant_type is missing or unknown"), "")
		return
	}
	cred, err := d.credential(r, f)
	if err != nil {
		d.dotRefuse(w, r, err, "")
		return
	}
	for _, name := range needs {
		if !f.Has(name) {
			d.dotLacks(w, r, cred, dotMissing(name))
			return
		}
	}
	issued, err := d.Issuer.Grant(r.Context(), d.request(r, f, cred))
	if err != nil {
		said := ""
		if f.Get("grant_type") == client.GrantPassword && fault.Is(err, fault.InvalidGrant) {
			said = "Invalid credentials given."
		}
		d.dotRefuse(w, r, err, said)
		return
	}
	answer.JSON(w, http.StatusOK, dotTokenBody{AccessToken: issued.AccessToken.Reveal(), ExpiresIn: int64(issued.ExpiresIn / time.Second),
		TokenType: "Bearer", Scope: issued.Scope, RefreshToken: issued.RefreshToken.Reveal(), IDToken: issued.IDToken.Reveal()})
}

// dotRevoke is the revocation endpoint. Its answer is empty and says that it is
// text/html, which some clients of the original look at.
func (d *Door) dotRevoke(w http.ResponseWriter, r *http.Request) {
	if !dotPost(w, r) {
		return
	}
	f, err := form.ReadAny(w, r)
	if err != nil {
		d.dotRefuse(w, r, err, "")
		return
	}
	cred, err := d.credential(r, f)
	if err == nil && !f.Has("token") {
		d.dotLacks(w, r, cred, "Missing token parameter.")
		return
	}
	if err == nil {
		ctx := audit.As(r.Context(), audit.Who{Actor: audit.ByClient, From: cred.From})
		err = d.Issuer.Revoke(ctx, cred, f.Secret("token"))
	}
	if err != nil {
		d.dotRefuse(w, r, err, "")
		return
	}
	w.Header().Set("Content-Type", "text/html")
	answer.Empty(w, http.StatusOK)
}

// dotIntrospection is the answer about an active token, in the order of the
// original; about every other one it says so and nothing else.
type dotIntrospection struct {
	Active   bool     `json:"active"`
	Scope    string   `json:"scope"`
	Exp      int64    `json:"exp"`
	ClientID string   `json:"client_id"`
	Username string   `json:"username,omitempty"`
	Aud      []string `json:"aud,omitempty"`
}

// dotIntrospect is introspection. Who may not ask is answered 403 and nothing
// else, before anything is said about the request.
func (d *Door) dotIntrospect(w http.ResponseWriter, r *http.Request) {
	var f form.Values
	var err error
	if r.Method == http.MethodPost && (r.ContentLength != 0 || r.Header.Get("Content-Type") != "") { // nothing at all is an empty form
		f, err = form.ReadAny(w, r)
		if err != nil {
			d.dotRefuse(w, r, err, "")
			return
		}
	}
	asker, err := d.dotAsker(r, f)
	if err != nil {
		d.dotTurnAway(w, r, err)
		return
	}
	shown := f.Secret("token")
	if r.Method == http.MethodGet {
		shown = secret.New(r.URL.Query().Get("token"))
	}
	if shown.Empty() {
		d.dotRefuse(w, r, fault.New(fault.InvalidRequest, "Token parameter is missing."), "")
		return
	}
	in, err := d.Issuer.IntrospectFor(r.Context(), asker, shown)
	if err != nil {
		d.dotRefuse(w, r, err, "")
		return
	}
	if !in.Active || in.TokenType != "Bearer" {
		answer.JSON(w, http.StatusOK, struct {
			Active bool `json:"active"`
		}{})
		return
	}
	a := in.Access
	answer.JSON(w, http.StatusOK, dotIntrospection{true, a.Scope, a.Expires.Unix(), string(a.Client), in.Username, a.Audience})
}

// dotAsker says who asks: the bearer of a token with the scope for it, or a
// confidential client.
func (d *Door) dotAsker(r *http.Request, f form.Values) (client.Client, error) {
	if t, err := form.Bearer(r.Header); err == nil {
		return d.Issuer.MayIntrospect(r.Context(), t)
	}
	cred, err := d.credential(r, f)
	if err != nil {
		return client.Client{}, err
	}
	c, err := d.Issuer.Authenticate(r.Context(), cred)
	if err == nil && c.Type != client.Confidential {
		err = fault.New(fault.InvalidClient, "introspection is for confidential clients")
	}
	return c, err
}

// dotTurnAway answers who may not introspect: with 403 alone, unless it is for
// another reason that he should come back.
func (d *Door) dotTurnAway(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.As(err)
	if s := words[e.Kind].status; s == http.StatusServiceUnavailable || s == http.StatusTooManyRequests || e.Kind == fault.Internal {
		d.dotRefuse(w, r, err, "")
		return
	}
	d.note(r, e)
	answer.Refusal(w.Header(), e, http.StatusForbidden)
	answer.Empty(w, http.StatusForbidden)
}

// dotPost lets POST alone through. The original answers other methods without a
// body.
func dotPost(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodPost {
		return true
	}
	w.Header().Set("Allow", "POST, OPTIONS")
	if r.Method == http.MethodOptions {
		answer.Empty(w, http.StatusOK)
	} else {
		answer.Empty(w, http.StatusMethodNotAllowed)
	}
	return false
}

// dotLacks refuses a request without a parameter. A caller who may not ask at all
// hears that instead, as in the original.
func (d *Door) dotLacks(w http.ResponseWriter, r *http.Request, cred grant.Credential, said string) {
	_, err := d.Issuer.Authenticate(r.Context(), cred)
	if err == nil {
		err = fault.New(fault.InvalidRequest, said)
	}
	d.dotRefuse(w, r, err, "")
}

// dotSilent are the errors whose code is all that the original says; the reason is
// in a header.
var dotSilent = []fault.Kind{fault.InvalidClient, fault.InvalidGrant, fault.UnauthorizedClient, fault.UnsupportedGrant, fault.InvalidScope}

// dotRefuse renders an error. said replaces its words.
func (d *Door) dotRefuse(w http.ResponseWriter, r *http.Request, err error, said string) {
	e := fault.As(err)
	d.note(r, e)
	s := words[e.Kind]
	answer.Refusal(w.Header(), e, s.status)
	if s.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer error="`+s.code+`"`)
	}
	if said == "" && !slices.Contains(dotSilent, e.Kind) {
		said = answer.Printable(e.Words)
	}
	answer.JSON(w, s.status, errorBody{s.code, said})
}
