package server_test

import (
	"encoding/json"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

// dotClients are what the tests of django-oauth-toolkit's dialect need.
const dotClients = `
[[clients]]
id = "dot-app"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["read", "write"]
access_format = "opaque"

[[clients]]
id = "dot-api"
type = "confidential"
secret = "the-secret-of-dot-api"
grants = ["client_credentials"]
scopes = ["introspection"]

[[clients]]
id = "dot-web"
type = "confidential"
secret = "the-secret-of-dot-web"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["read"]

[[clients]]
id = "dot-other"
type = "confidential"
secret = "the-secret-of-dot-other"
grants = ["client_credentials"]
scopes = ["read"]
`

// TestDOTToken (contract 3.1 rows 1..5, R45): the token and the revocation endpoint
// in oauthlib's words.
func TestDOTToken(t *testing.T) {
	a := pairs(t)
	a.apply(dotClients)
	sign := []string{"grant_type", "password", "client_id", "dot-app", "username", "learner", "password", "the-password-of-learner"}
	for _, path := range []string{"/o/token", "/o/token/"} {
		got := a.app(path, nil, sign...)
		h := a.holds(got, "dot-app")
		if h.status != 200 || strings.Join(members(got.body), " ") != "access_token expires_in token_type scope refresh_token" || h.Type != "Bearer" ||
			h.Scope != "read write" || len(h.Refresh) < 30 || strings.Contains(h.Access, ".") {
			a.Errorf("%s", got.body)
		}
	}
	for _, c := range []struct {
		name, fields string
		status       int
		body         string
	}{
		{"wrong password", "grant_type=password&client_id=dot-app&username=learner&password=wrong", 400, `{"error":"invalid_grant","error_description":"Invalid credentials given."}`},
		{"no password", "grant_type=password&client_id=dot-app&username=learner", 400, `{"error":"invalid_request","error_description":"Request is missing password parameter."}`},
		{"no refresh token", "grant_type=refresh_token&client_id=dot-app", 400, `{"error":"invalid_request","error_description":"Missing refresh token parameter."}`},
		{"unknown refresh token", "grant_type=refresh_token&client_id=dot-app&refresh_token=x", 400, `{"error":"invalid_grant"}`},
		{"no client", "grant_type=password&username=learner&password=x", 401, `{"error":"invalid_client"}`},
		{"bad secret", "grant_type=client_credentials&client_id=dot-api&client_secret=wrong", 401, `{"error":"invalid_client"}`},
		{"not this grant", "grant_type=client_credentials&client_id=dot-app", 400, `{"error":"unauthorized_client"}`},
		{"no grant type", "client_id=dot-app", 400, `{"error":"unsupported_grant_type"}`},
		{"scope", "grant_type=password&client_id=dot-app&username=learner&password=the-password-of-learner&scope=magic", 400, `{"error":"invalid_scope"}`},
	} {
		a.in("contract 3.1 row 3 "+c.name, func(a attack) {
			got := a.app("/o/token/", nil, fieldsIn(c.fields)...)
			a.exactly(got, c.status, c.body)
			if want := map[bool]string{true: `Bearer error="invalid_client"`}[c.status == 401]; got.header.Get("WWW-Authenticate") != want {
				a.Errorf("WWW-Authenticate %q", got.header.Get("WWW-Authenticate"))
			}
		})
	}
	for _, path := range []string{"/o/token/", "/o/revoke_token/"} {
		got := a.edxAsk(http.MethodGet, path, nil)
		a.exactly(got, 405, "")
		if got.header.Get("Allow") != "POST, OPTIONS" {
			a.Errorf("Allow %q", got.header.Get("Allow"))
		}
	}
	a.in("contract 3.1 rows 2, 5 refresh and revoke", func(a attack) {
		h := a.holds(a.app("/o/token/", nil, sign...), "dot-app")
		narrow := a.holds(a.app("/o/token/", nil, "grant_type", "refresh_token", "client_id", "dot-app", "refresh_token", h.Refresh, "scope", "read"), "dot-app")
		if narrow.status != 200 || narrow.Scope != "read" {
			a.Errorf("%+v", narrow)
		}
		for _, token := range []string{"x", h.Access, narrow.Refresh, narrow.Refresh} {
			got := a.app("/o/revoke_token/", nil, "token", token, "client_id", "dot-app")
			a.exactly(got, 200, "")
			if got.header.Get("Content-Type") != "text/html" {
				a.Errorf("Content-Type %q", got.header.Get("Content-Type"))
			}
		}
		a.exactly(a.app("/o/revoke_token/", nil, "client_id", "dot-app"), 400, `{"error":"invalid_request","error_description":"Missing token parameter."}`)
		a.exactly(a.app("/o/token/", nil, "grant_type", "refresh_token", "client_id", "dot-app", "refresh_token", narrow.Refresh), 400, `{"error":"invalid_grant"}`)
	})
	if got := a.request("GET", "/o/.well-known/jwks.json", "", "", nil); got.status != 200 || !strings.HasPrefix(string(got.body), `{"keys":[`) {
		a.Errorf("%d %s", got.status, got.body)
	}
}

// TestDjangoFormsInParts: Django reads a multipart form as it reads any other, and so
// do the dialects that stand where it stood.
func TestDjangoFormsInParts(t *testing.T) {
	a := pairs(t)
	a.apply(dotClients)
	parts := func(fields ...string) (kind, body string) {
		var b strings.Builder
		w := multipart.NewWriter(&b)
		for i := 0; i < len(fields); i += 2 {
			if err := w.WriteField(fields[i], fields[i+1]); err != nil {
				a.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			a.Fatal(err)
		}
		return w.FormDataContentType(), b.String()
	}
	send := func(path string, fields ...string) answer {
		kind, body := parts(fields...)
		return a.request(http.MethodPost, path, kind, body, nil)
	}
	for path, who := range map[string]string{"/o/token/": "dot-app", "/oauth2/access_token/": "demo-edx"} {
		fields := []string{"client_id", who, "username", "learner", "password", "the-password-of-learner"}
		h := a.holds(send(path, append(fields, "grant_type", "password")...), who)
		if h.status != 200 || h.Refresh == "" {
			a.Errorf("%s: %d", path, h.status)
		}
		if got := send(path, append(fields, "grant_type", "password", "client_id", "twice")...); got.status != 400 {
			a.Errorf("%s, a doubled field: %d %s", path, got.status, got.body)
		}
		revoke := map[string]string{"/o/token/": "/o/revoke_token/", "/oauth2/access_token/": "/oauth2/revoke_token/"}[path]
		if got := send(revoke, "client_id", who, "token", h.Refresh); got.status != 200 {
			a.Errorf("%s: %d %s", revoke, got.status, got.body)
		}
		if got := send(path, "grant_type", "refresh_token", "client_id", who, "refresh_token", h.Refresh); got.status != 400 {
			a.Errorf("%s, revoked: %d %s", path, got.status, got.body)
		}
	}
	if got := send("/o/introspect/", "client_id", "dot-api", "client_secret", "the-secret-of-dot-api", "token", "x"); got.status != 200 {
		a.Errorf("introspect: %d %s", got.status, got.body)
	}
	if got := send("/oauth2/exchange_access_token/google-oauth2/", "client_id", "demo-edx", "access_token", "x"); got.status == http.StatusUnsupportedMediaType {
		a.Errorf("exchange: %d %s", got.status, got.body)
	}
}

// TestDOTIntrospect (contract 3.2 rows 1..5): by a bearer token with the scope, or by
// client credentials; in the body or in the address.
func TestDOTIntrospect(t *testing.T) {
	a := pairs(t)
	a.apply(dotClients)
	h := a.holds(a.app("/o/token/", nil, "grant_type", "password", "client_id", "dot-app", "username", "learner", "password", "the-password-of-learner"), "dot-app")
	service := func(client string) string {
		return a.holds(a.app("/o/token/", basic(client, "the-secret-of-"+client), "grant_type", "client_credentials"), client).Access
	}
	api, other := bearer(service("dot-api")), bearer(service("dot-other"))
	ask := func(header http.Header, token string) (all []answer) {
		return []answer{a.app("/o/introspect/", header, "token", token), a.edxAsk(http.MethodGet, "/o/introspect/?token="+token, header)}
	}
	for name, header := range map[string]http.Header{"bearer": api, "Basic": basic("dot-api", "the-secret-of-dot-api")} {
		a.in("contract 3.2 row 1 "+name, func(a attack) {
			for _, got := range ask(header, h.Access) {
				var in struct {
					Active          bool
					Scope, Username string
					ClientID        string `json:"client_id"`
					Exp             int64
				}
				if json.Unmarshal(got.body, &in) != nil || got.status != 200 || !in.Active || in.Scope != "read write" || in.Username != "learner" || in.ClientID != "dot-app" ||
					in.Exp <= a.clock.Now().Unix() || strings.Join(members(got.body), " ") != "active scope exp client_id username aud" {
					a.Errorf("%d %s", got.status, got.body)
				}
			}
			for _, token := range []string{"x", h.Refresh, h.Access + "x"} {
				for _, got := range ask(header, token) {
					a.exactly(got, 200, `{"active":false}`)
				}
			}
			for _, got := range []answer{a.app("/o/introspect/", header, "x", "y"), a.app("/o/introspect/", header), a.edxAsk(http.MethodGet, "/o/introspect/", header)} {
				a.exactly(got, 400, `{"error":"invalid_request","error_description":"Token parameter is missing."}`)
			}
		})
	}
	for name, header := range map[string]http.Header{"nobody": nil, "without the scope": other, "a user's": bearer(h.Access), "garbage": bearer("x"),
		"a wrong secret": basic("dot-api", "wrong")} {
		a.in("contract 3.2 row 4 "+name, func(a attack) {
			for _, got := range ask(header, h.Access) {
				a.exactly(got, 403, "")
			}
		})
	}
	own := basic("dot-web", "the-secret-of-dot-web")
	web := a.holds(a.app("/o/token/", own, "grant_type", "password", "username", "learner", "password", "the-password-of-learner"), "dot-web")
	for token, active := range map[string]bool{web.Access: true, web.Refresh: false} { // its own
		for _, got := range ask(own, token) {
			if strings.HasPrefix(string(got.body), `{"active":true,`) != active || got.status != 200 {
				a.Errorf("%d %s", got.status, got.body)
			}
		}
	}
	for _, got := range ask(basic("dot-other", "the-secret-of-dot-other"), h.Access) {
		a.exactly(got, 200, `{"active":false}`) // somebody else's token
	}
	a.exactly(a.app("/o/introspect/", nil, "token", h.Access, "client_id", "dot-app"), 403, "")
}
