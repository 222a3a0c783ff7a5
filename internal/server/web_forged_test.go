package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestWebForged (R32, B09, AUTHZ-16, WEBVIEW-04): an unsafe request without both proofs does nothing, at the
// sign-in too; and a session planted in a browser ends with its user's sign-in.
func TestWebForged(t *testing.T) {
	a := attacks(t)
	b := signedInBrowser(a, goodSignIn)
	other := signedInBrowser(a, goodSignIn)
	for path, body := range map[string]string{"/web/v1/sign-in": goodSignIn, "/web/v1/refresh": "", "/web/v1/sign-out": "", "/web/v1/sign-out-everywhere": "",
		"/account/v1/sessions/end-all": ""} {
		for name, h := range map[string]http.Header{
			"no token":             {"X-Csrf-Token": nil},
			"an empty one":         {"X-Csrf-Token": {""}},
			"another one":          {"X-Csrf-Token": {strings.Repeat("A", 32)}},
			"another session's":    {"X-Csrf-Token": {other.csrf}},
			"two":                  {"X-Csrf-Token": {b.csrf, b.csrf}},
			"no cookie":            {"Cookie": {strings.ReplaceAll(b.sent(path), "holdfast-csrf", "x")}},
			"two cookies":          {"Cookie": {b.sent(path) + "; holdfast-csrf=" + strings.Repeat("A", 32)}},
			"evil":                 {"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}},
			"a neighbour":          {"Origin": {"http://127.0.0.1:9999"}, "Sec-Fetch-Site": {"same-site"}},
			"another port's twin":  {"Origin": {spa + "0"}},
			"null":                 {"Origin": {"null"}, "Sec-Fetch-Site": nil},
			"an old browser":       {"Origin": {"https://evil.example"}, "Sec-Fetch-Site": nil},
			"no origin, said evil": {"Origin": nil, "Sec-Fetch-Site": {"cross-site"}},
			"two origins":          {"Origin": {spa, spa}},
		} {
			got, _ := b.ask("POST", path, body, h)
			var p struct{ Type string }
			_ = json.Unmarshal(got.body, &p)
			if got.status != 403 || got.header["Set-Cookie"] != nil || strings.HasPrefix(path, "/web") && p.Type != "urn:holdfast:problem:csrf" {
				t.Errorf("%s, %s: %d %v %s", path, name, got.status, got.header, got.body)
			}
		}
	}
	if got, _ := b.ask("POST", "/web/v1/sign-in", goodSignIn, http.Header{"Content-Type": {"text/plain"}}); got.status != 200 && got.status != 415 {
		t.Errorf("%d", got.status)
	}
	if got, s := b.ask("GET", "/web/v1/session", ""); got.status != 200 || !s.SignedIn {
		t.Errorf("a forged request did something: %d %s", got.status, got.body)
	}
	a.in("WEBVIEW-04 planted", func(a attack) {
		thief := signedInBrowser(a, goodSignIn)
		victim := browser(a)
		for name, c := range thief.jar {
			victim.jar[name] = c
		}
		victim.ask("GET", "/web/v1/session", "")
		victim.ask("POST", "/web/v1/sign-in", goodSignIn)
		if got, _ := thief.ask("POST", "/web/v1/refresh", ""); got.status != 401 || got.header.Get("Holdfast-Reason") != "replaced" {
			a.Errorf("the planted session lives: %d %s", got.status, got.header.Get("Holdfast-Reason"))
		}
		if got, s := victim.ask("POST", "/web/v1/refresh", ""); got.status != 200 || !s.SignedIn || victim.csrf == thief.csrf {
			a.Errorf("%d %s", got.status, got.body)
		}
	})
}

// TestWebRefused (AUTHZ-16, LOGIN-01): who may not sign in here, and that nobody learns why a
// password was refused.
func TestWebRefused(t *testing.T) {
	a := attacks(t)
	b := browser(a)
	b.ask("GET", "/web/v1/session", "")
	for name, c := range map[string]struct {
		body   string
		origin string
		status int
	}{
		"wrong password":        {strings.Replace(goodSignIn, "demo-password", "wrong-password", 1), spa, 401},
		"nobody":                {strings.Replace(goodSignIn, `"demo"`, `"nobody"`, 1), spa, 401},
		"no password":           {`{"client_id":"demo-spa","username":"demo"}`, spa, 400},
		"no body":               {"", spa, 403},
		"unknown member":        {strings.Replace(goodSignIn, "{", `{"admin":true,`, 1), spa, 400},
		"doubled member":        {strings.Replace(goodSignIn, "{", `{"username":"x",`, 1), spa, 400},
		"another client's page": {strings.Replace(goodSignIn, "demo-spa", "demo-native", 1), spa, 403},
		"a confidential client": {strings.Replace(goodSignIn, "demo-spa", "demo-web", 1), testIssuer, 401},
		"an unknown client":     {strings.Replace(goodSignIn, "demo-spa", "nothing", 1), testIssuer, 401},
		"too much":              {strings.Replace(goodSignIn, "demo-password", strings.Repeat("x", 20000), 1), spa, 413},
	} {
		b.origin = c.origin
		got, _ := b.ask("POST", "/web/v1/sign-in", c.body)
		if got.status != c.status || got.header["Set-Cookie"] != nil || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %v %s", name, got.status, got.header, got.body)
		}
	}
	for _, path := range []string{"/web/v1/session", "/web/v1/refresh"} {
		method := map[string]string{"/web/v1/session": "POST", "/web/v1/refresh": "GET"}[path]
		if got, _ := b.ask(method, path, ""); got.status != 405 || got.header.Get("Allow") == "" {
			t.Errorf("%s %s: %d", method, path, got.status)
		}
	}
}

// TestWebCrossOrigin (HTTP-07, B09): pages of registered origins may call with cookies; of no
// others, and another application's page does not learn who is signed in.
func TestWebCrossOrigin(t *testing.T) {
	a := attacks(t)
	a.apply(`
[[clients]]
id = "other-spa"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
cors_origins = ["http://127.0.0.1:8499"]

[[clients]]
id = "foreign-spa"
type = "public"
grants = ["authorization_code", "refresh_token"]
redirect_uris = ["https://foreign.example/callback"]
cors_origins = ["https://foreign.example"]
`)
	b := signedInBrowser(a, goodSignIn)
	for _, path := range []string{"/web/v1/session", "/web/v1/sign-in", "/web/v1/refresh/", "/account/v1/me"} {
		for origin, ok := range map[string]bool{spa: true, "http://127.0.0.1:8499": true, "https://foreign.example": false, "https://evil.example": false, "null": false} {
			b.origin = origin
			got, err := a.send("OPTIONS", path, "", nil, http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"x-csrf-token"}})
			h := got.header
			if err != nil || ok != (h.Get("Access-Control-Allow-Credentials") == "true") || ok != (got.status == 204 && h.Get("Access-Control-Allow-Origin") == origin && strings.Contains(h.Get("Access-Control-Allow-Headers"), "X-CSRF-Token")) {
				if path != "/account/v1/me" || origin != "https://foreign.example" || h.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s from %s: %v %d %v", path, origin, err, got.status, h)
				}
			}
		}
	}
	b.origin = "http://127.0.0.1:8499"
	if _, s := b.ask("GET", "/web/v1/session", ""); s.SignedIn {
		t.Error("another application's page learns who is signed in")
	}
	for _, path := range []string{"/web/v1/refresh", "/web/v1/sign-out"} {
		if got, _ := b.ask("POST", path, ""); got.status != 403 {
			t.Errorf("another application's page at %s: %d", path, got.status)
		}
	}
}

// TestWebAccount (R31, R32): the device API takes the access cookie; the header wins, and needs
// no CSRF token.
func TestWebAccount(t *testing.T) {
	a := attacks(t)
	b := signedInBrowser(a, goodSignIn)
	phone := a.signIn("demo-native", "device_name", "phone")
	if got, _ := b.ask("GET", "/account/v1/sessions", ""); got.status != 200 || !strings.Contains(string(got.body), "phone") || !strings.Contains(string(got.body), "Browser") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got, _ := b.ask("GET", "/account/v1/me", "", bearer("garbage")); got.status != 401 {
		t.Errorf("the cookie beats a bad header: %d", got.status)
	}
	if got, _ := b.ask("POST", "/account/v1/sessions/end-others", ""); got.status != 204 || a.refresh(phone).status != 400 {
		t.Errorf("%d %s", got.status, got.body)
	}
	token := http.Header{"Authorization": {"Bearer " + b.jar["holdfast"].Value}, "X-Csrf-Token": nil, "Cookie": nil, "Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
	if got, _ := b.ask("POST", "/account/v1/sessions/end-all", "", token); got.status != 204 {
		t.Errorf("%d %s", got.status, got.body)
	}
}
