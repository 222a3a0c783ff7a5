package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// The tests of edx_*_test.go hold the Open edX door to the wire contract of the
// apps it serves; the rows they name are listed in docs/reference/compatibility.md.

// edxClients are what the tests need besides demo-edx.
const edxClients = `
[[clients]]
id = "edx-web"
type = "confidential"
secret = "the-secret-of-edx-web"
first_party = true
grants = ["password", "refresh_token", "client_credentials"]
scopes = ["read", "write", "email", "profile", "user_id", "grades:read"]
claims = "openedx"
cors_origins = ["https://apps.example"]
audiences = ["lms"]
filters = ["content_org:Example"]

[[clients]]
id = "edx-restricted"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
claims = "openedx"
restricted = true
webview = true

[[clients]]
id = "edx-opaque"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
claims = "openedx"
access_format = "opaque"
webview = true

[[clients]]
id = "edx-no-pages"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
claims = "openedx"

[[users]]
username = "learner"
email = "learner@example.com"
password = "the-password-of-learner"
name = "A Learner"
id = 4711
`

// edx is a house with the Open edX clients.
func edx(t *testing.T) attack {
	t.Helper()
	a := attacks(t)
	a.apply(edxClients)
	return a
}

// app sends a form as an app does and holds the answer to what every answer of
// this door must be (contract 1.2 row 3, R45): never a redirect on POST, nothing
// for a cache, and of a failure a JSON object without a newline at its end, or
// nothing.
func (a attack) app(path string, header http.Header, fields ...string) answer {
	a.Helper()
	return a.edxAsk(http.MethodPost, path, header, fields...)
}

func (a attack) edxAsk(method, path string, header http.Header, fields ...string) answer {
	a.Helper()
	kind := ""
	if len(fields) > 0 {
		kind = urlEncoded
	}
	got, err := a.send(method, path, kind, strings.NewReader(encode(fields)), header)
	if err != nil {
		a.Fatalf("%s %s: %v", method, path, err)
	}
	h := got.header
	if method == http.MethodPost && got.status >= 300 && got.status < 400 || h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" {
		a.Errorf("%s %s: %d %v", method, path, got.status, h)
	}
	if bytes.HasSuffix(got.body, []byte("\n")) || bytes.Contains(got.body, []byte("<")) {
		a.Errorf("%s %s: a newline or a page: %q", method, path, got.body)
	}
	if got.status >= 400 && len(got.body) > 0 && string(got.body) != `"Unauthorized"` {
		var object map[string]any
		if json.Unmarshal(got.body, &object) != nil || h.Get("Content-Type") != "application/json" {
			a.Errorf("%s %s: %s is no JSON object", method, path, got.body)
		}
	}
	return got
}

// exactly checks status and body byte by byte.
func (a attack) exactly(got answer, status int, body string) {
	a.Helper()
	if got.status != status || string(got.body) != body {
		a.Errorf("answered %d %s\n  want %d %s", got.status, got.body, status, body)
	}
}

const accessToken = "/oauth2/access_token"

// learner signs in as the phone apps do; fields are added.
func (a attack) learner(client string, fields ...string) held {
	a.Helper()
	fields = append([]string{"grant_type", "password", "client_id", client, "username", "learner", "password", "the-password-of-learner",
		"token_type", "JWT", "asymmetric_jwt", "true"}, fields...)
	h := a.holds(a.app(accessToken, nil, fields...), client)
	if h.status != http.StatusOK {
		a.Fatalf("sign-in answered %d", h.status)
	}
	return h
}

func (a attack) renewed(h held) answer {
	a.Helper()
	return a.app(accessToken+"/", nil, "grant_type", "refresh_token", "client_id", h.client, "refresh_token", h.Refresh, "token_type", "JWT", "asymmetric_jwt", "true")
}

func jwtHeader(token string) http.Header { return http.Header{"Authorization": {"JWT " + token}} }

// TestEdXToken (contract 1.1 row 1, contract 1.2 rows 1..9, contract 1.3 row 3, contract 1.11 rows 1..4, 6..12, contract 1.13 row 1,
// contract 2.1 row 1, R36, R37, R40, R43): what a
// sign-in is answered, with and without the trailing slash, by user name and by
// e-mail address, as JWT and opaque.
func TestEdXToken(t *testing.T) {
	a := edx(t)
	for _, path := range []string{accessToken, accessToken + "/"} {
		for _, name := range []string{"learner", "learner@example.com", "LEARNER"} {
			h := a.holds(a.app(path, nil, "grant_type", "password", "client_id", "demo-edx", "username", name, "password", "the-password-of-learner",
				"token_type", "jwt", "asymmetric_jwt", "0"), "demo-edx")
			if h.status != 200 || h.Type != "JWT" || h.ExpiresIn != 3600 || h.Scope != "read write email profile user_id" || len(h.Refresh) < 30 {
				a.Errorf("%s as %s: %+v", path, name, h)
			}
		}
	}
	got := a.app(accessToken, nil, "grant_type", "password", "client_id", "demo-edx", "username", "learner", "password", "the-password-of-learner")
	if h := a.holds(got, "demo-edx"); h.Type != "Bearer" || h.ExpiresIn != 36000 || strings.Contains(h.Access, ".") || got.header["Set-Cookie"] != nil {
		a.Errorf("opaque: %s", got.body)
	}
	var members []string
	dec := json.NewDecoder(bytes.NewReader(got.body))
	for tok, err := dec.Token(); err == nil; tok, err = dec.Token() {
		if s, ok := tok.(string); ok && slices.Contains([]string{"access_token", "expires_in", "token_type", "scope", "refresh_token"}, s) {
			members = append(members, s)
		}
	}
	if strings.Join(members, " ") != "access_token expires_in token_type scope refresh_token" {
		a.Errorf("members in the order %v", members)
	}
	header := a.holds(a.app(accessToken, http.Header{"X-Token-Type": {"JWT"}, "Authorization": {"JWT stale"}}, "grant_type", "password", "client_id", "demo-edx",
		"username", "learner", "password", "the-password-of-learner"), "demo-edx")
	if header.Type != "JWT" {
		a.Errorf("X-Token-Type: %+v", header)
	}
	h := a.learner("demo-edx")
	a.edxClaims(claims(h.Access))
	head, _ := base64.RawURLEncoding.DecodeString(strings.Split(h.Access, ".")[0])
	if !strings.HasPrefix(string(head), `{"alg":"RS256","kid":"`) {
		a.Errorf("header %s", head)
	}
	few := claims(a.holds(a.app(accessToken, nil, "grant_type", "refresh_token", "client_id", "demo-edx", "refresh_token", h.Refresh, "scope", "read", "token_type", "jwt"), "").Access)
	for _, name := range []string{"email", "name", "administrator", "user_id"} {
		if few[name] != nil {
			a.Errorf("the scope read opens %s", name)
		}
	}
}

// edxClaims holds the claims of contract 1.11.
func (a attack) edxClaims(c map[string]any) {
	a.Helper()
	for name, want := range map[string]any{"iss": testIssuer, "aud": testIssuer, "preferred_username": "learner", "grant_type": "password",
		"version": "1.2.0", "is_restricted": false, "email_verified": false, "email": "learner@example.com", "name": "A Learner",
		"family_name": nil, "given_name": nil, "administrator": false, "superuser": false, "user_id": float64(4711)} {
		if got, there := c[name]; !there || got != want {
			a.Errorf("claim %s is %v (%v), want %v", name, got, there, want)
		}
	}
	scopes, _ := json.Marshal(c["scopes"])
	filters, _ := json.Marshal(c["filters"])
	if string(scopes) != `["read","write","email","profile","user_id"]` || string(filters) != `["user:me"]` {
		a.Errorf("scopes %s, filters %s", scopes, filters)
	}
	if c["exp"].(float64)-c["iat"].(float64) != 3600 {
		a.Errorf("exp %v iat %v", c["exp"], c["iat"])
	}
}

// TestEdXErrors (contract 1.3 rows 1, 4..11, contract 2.2 row 1, R45): every refusal of the token endpoint,
// byte by byte.
func TestEdXErrors(t *testing.T) {
	a := edx(t)
	type row struct {
		name   string
		fields string
		status int
		body   string
	}
	for _, c := range []row{
		{"row 1 wrong password", "grant_type=password&client_id=demo-edx&username=learner&password=wrong", 400, `{"error":"invalid_grant","error_description":"Invalid credentials given."}`},
		{"row 1 unknown user", "grant_type=password&client_id=demo-edx&username=nobody&password=wrong", 400, `{"error":"invalid_grant","error_description":"Invalid credentials given."}`},
		{"row 4 no user name", "grant_type=password&client_id=demo-edx&password=x", 400, `{"error":"invalid_request","error_description":"Request is missing username parameter."}`},
		{"row 4 no password", "grant_type=password&client_id=demo-edx&username=learner", 400, `{"error":"invalid_request","error_description":"Request is missing password parameter."}`},
		{"row 5 no refresh token", "grant_type=refresh_token&client_id=demo-edx", 400, `{"error":"invalid_request","error_description":"Missing refresh token parameter."}`},
		{"row 6 unknown refresh token", "grant_type=refresh_token&client_id=demo-edx&refresh_token=abcdefghijklmnopqrstuvwxyz0123", 400, `{"error":"invalid_grant"}`},
		{"row 7 no client", "grant_type=password&username=learner&password=x", 401, `{"error":"invalid_client"}`},
		{"row 7 no client and nothing else", "grant_type=password", 401, `{"error":"invalid_client"}`},
		{"row 7 unknown client", "grant_type=password&client_id=nobody&username=learner&password=x", 401, `{"error":"invalid_client"}`},
		{"row 7 no secret", "grant_type=client_credentials&client_id=edx-web", 401, `{"error":"invalid_client"}`},
		{"row 7 bad secret", "grant_type=client_credentials&client_id=edx-web&client_secret=wrong", 401, `{"error":"invalid_client"}`},
		{"row 8 not this grant", "grant_type=client_credentials&client_id=demo-edx", 400, `{"error":"unauthorized_client"}`},
		{"row 9 no grant type", "client_id=demo-edx", 400, `{"error":"unsupported_grant_type"}`},
		{"row 9 unknown grant type", "client_id=demo-edx&grant_type=magic", 400, `{"error":"unsupported_grant_type"}`},
		{"row 10 scope", "grant_type=password&client_id=demo-edx&username=learner&password=the-password-of-learner&scope=grades:read", 400, `{"error":"invalid_scope"}`},
	} {
		a.in("contract 1.3 "+c.name, func(a attack) {
			got := a.app(accessToken, nil, fieldsIn(c.fields)...)
			a.exactly(got, c.status, c.body)
			if want := map[bool]string{true: `Bearer error="invalid_client"`}[c.status == 401]; got.header.Get("WWW-Authenticate") != want {
				a.Errorf("WWW-Authenticate %q", got.header.Get("WWW-Authenticate"))
			}
		})
	}
	a.in("contract 1.3 row 11 GET", func(a attack) {
		got := a.edxAsk(http.MethodGet, accessToken, nil)
		a.exactly(got, 405, "")
		if got.header.Get("Allow") != "POST, OPTIONS" {
			a.Errorf("Allow %q", got.header.Get("Allow"))
		}
	})
	a.in("contract 1.3 row 6 other client's, R07", func(a attack) {
		h := a.learner("demo-edx")
		a.exactly(a.app(accessToken, nil, "grant_type", "refresh_token", "client_id", "edx-opaque", "refresh_token", h.Refresh), 400, `{"error":"invalid_grant"}`)
		if a.renewed(h).status != 200 {
			a.Error("a stranger spent the token")
		}
	})
}

func fieldsIn(s string) (all []string) {
	for _, pair := range strings.Split(s, "&") {
		k, v, _ := strings.Cut(pair, "=")
		all = append(all, k, v)
	}
	return all
}

// TestEdXClients (contract 1.2 rows 10..12, contract 1.11 rows 5, 9, contract 1.12 row 6,
// contract 1.13 row 2, R36, R38):
// services, restricted applications and the switch that takes JWTs from an app.
func TestEdXClients(t *testing.T) {
	a := edx(t)
	a.in("client credentials", func(a attack) {
		got := a.app(accessToken, nil, "grant_type", "client_credentials", "client_id", "edx-web", "client_secret", "the-secret-of-edx-web", "token_type", "jwt")
		h := a.holds(got, "edx-web")
		c := claims(h.Access)
		filters, _ := json.Marshal(c["filters"])
		if h.Refresh != "" || h.Scope != "read write email profile" || c["grant_type"] != "client-credentials" || c["preferred_username"] != "edx-web" ||
			c["user_id"] != nil || c["aud"] != "lms" || string(filters) != `["content_org:Example"]` {
			a.Errorf("%s %v", got.body, c)
		}
		a.exactly(a.edxAsk(http.MethodGet, "/api/mobile/v0.5/my_user_info", jwtHeader(h.Access)), 403, `{"detail":"You do not have permission to perform this action."}`)
	})
	a.in("Basic", func(a attack) {
		got := a.app(accessToken, basic("edx-web", "the-secret-of-edx-web"), "grant_type", "client_credentials")
		if h := a.holds(got, "edx-web"); h.Type != "Bearer" || h.ExpiresIn != 36000 {
			a.Errorf("%s", got.body)
		}
	})
	a.in("restricted", func(a attack) {
		h := a.learner("edx-restricted")
		if c := claims(h.Access); h.Type != "JWT" || h.ExpiresIn != 3600 || c["is_restricted"] != true {
			a.Errorf("%+v", h)
		}
		a.exactly(a.edxAsk(http.MethodGet, "/api/mobile/v0.5/my_user_info", jwtHeader(h.Access)), 403, `{"detail":"JWT missing required scopes."}`)
		dead := a.holds(a.app(accessToken, nil, "grant_type", "refresh_token", "client_id", "edx-restricted", "refresh_token", h.Refresh), "edx-restricted")
		if dead.Type != "Bearer" || dead.ExpiresIn != -a.clock.Now().Unix() {
			a.Errorf("%+v", dead)
		}
		a.exactly(a.edxAsk(http.MethodGet, "/api/mobile/v0.5/my_user_info", bearer(dead.Access)), 401,
			`{"error_code":"token_expired","developer_message":"The provided access token has expired and is no longer valid."}`)
	})
	a.in("kill switch, R38", func(a attack) {
		h := a.learner("edx-opaque")
		if h.Type != "Bearer" || h.ExpiresIn != 36000 || strings.Contains(h.Access, ".") {
			a.Errorf("%+v", h)
		}
		for _, word := range []string{"JWT ", "jwt ", "Bearer ", "BEARER "} {
			got := a.edxAsk(http.MethodGet, "/api/mobile/v0.5/my_user_info", http.Header{"Authorization": {word + h.Access}})
			if got.status != 200 {
				a.Errorf("%s: %d %s", word, got.status, got.body)
			}
		}
	})
}

// TestEdXRefresh (contract 1.4 rows 1..3, contract 1.7 row 4, R02, R04, R14, R18, R42): a
// refresh keeps the grant's words and scope, and ends with what ended it.
func TestEdXRefresh(t *testing.T) {
	a := edx(t)
	h := a.learner("demo-edx")
	a.clock.advance(time.Hour)
	got := a.renewed(h)
	next := a.holds(got, "demo-edx")
	if next.status != 200 || next.Refresh == h.Refresh || next.Scope != h.Scope {
		a.Fatalf("%s", got.body)
	}
	a.edxClaims(claims(next.Access))
	again := a.holds(a.renewed(h), "demo-edx") // its answer was lost
	if again.Refresh != next.Refresh {
		a.Error("the repeated refresh brought another token")
	}
	other := a.learner("demo-edx")
	a.exactly(a.app("/oauth2/revoke_token/", nil, "token", next.Refresh, "client_id", "demo-edx", "token_type_hint", "refresh_token"), 200, "")
	a.exactly(a.renewed(next), 400, `{"error":"invalid_grant"}`)
	if a.renewed(other).status != 200 {
		a.Error("the other device was signed out")
	}
	a.clock.advance(91 * 24 * time.Hour)
	a.exactly(a.renewed(other), 400, `{"error":"invalid_grant"}`)
}

// TestEdXRevoke (contract 1.1 row 4, contract 1.7 rows 1..3, R18): the answer never tells what the token
// was.
func TestEdXRevoke(t *testing.T) {
	a := edx(t)
	h := a.learner("demo-edx")
	for _, path := range []string{"/oauth2/revoke_token", "/oauth2/revoke_token/"} {
		for _, token := range []string{"x", h.Access + "x", h.Refresh, h.Refresh} {
			got := a.app(path, jwtHeader(h.Access), "token", token, "client_id", "demo-edx", "token_type_hint", "nonsense")
			a.exactly(got, 200, "")
			if got.header.Get("Content-Type") != "text/html" {
				a.Errorf("Content-Type %q", got.header.Get("Content-Type"))
			}
		}
		a.exactly(a.app(path, nil, "client_id", "demo-edx"), 400, `{"error":"invalid_request","error_description":"Missing token parameter."}`)
		a.exactly(a.app(path, nil, "token", "x"), 401, `{"error":"invalid_client"}`)
		a.exactly(a.app(path, nil, "token", "x", "client_id", "nobody"), 401, `{"error":"invalid_client"}`)
		a.exactly(a.app(path, nil, "client_id", "nobody"), 401, `{"error":"invalid_client"}`)
	}
}
