package verify_test

import (
	"net/http"
	"strings"
	"testing"

	"holdfast.example/verify"
)

// TestCookies (R31, R32, B09): a token in the cookie lets a page in; a method that is
// not safe needs to come from a page of ours and to show the CSRF token; the header
// wins, and needs none.
func TestCookies(t *testing.T) {
	const app, token = "https://app.example.com", "ABCDEFGHIJKLMNOP2345672345672345"
	g := newGate(t, verify.Need{}, func(_ *verify.Config, c *verify.GuardConfig) {
		c.Cookie, c.Origins = "__Host-holdfast", []string{app}
	})
	good := g.mint.token(claims())
	cookies := "__Host-holdfast=" + good + "; __Host-holdfast-csrf=" + token
	for _, c := range []struct {
		name, method string
		header       http.Header
		status       int
	}{
		{"safe", "GET", http.Header{"Cookie": {cookies}}, 200},
		{"safe, from anywhere", "GET", http.Header{"Cookie": {cookies}, "Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}, 200},
		{"head", "HEAD", http.Header{"Cookie": {cookies}}, 200},
		{"no cookie", "GET", nil, 401},
		{"another cookie", "GET", http.Header{"Cookie": {"holdfast=" + good}}, 401},
		{"two tokens", "GET", http.Header{"Cookie": {cookies + "; __Host-holdfast=x"}}, 401},
		{"too long", "GET", http.Header{"Cookie": {"__Host-holdfast=" + strings.Repeat("x", 4097)}}, 401},
		{"garbage", "GET", http.Header{"Cookie": {"__Host-holdfast=garbage"}}, 401},
		{"unsafe", "POST", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {token}, "Origin": {app}, "Sec-Fetch-Site": {"same-site"}}, 200},
		{"same origin", "DELETE", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {token}, "Origin": {"https://example.com"}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		{"an old browser", "POST", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {token}, "Origin": {app}}, 200},
		{"no page at all", "PUT", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {token}}, 200},
		{"no CSRF token", "POST", http.Header{"Cookie": {cookies}, "Origin": {app}}, 403},
		{"another CSRF token", "POST", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {strings.ToLower(token)}, "Origin": {app}}, 403},
		{"two CSRF tokens", "POST", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {token, token}, "Origin": {app}}, 403},
		{"no CSRF cookie", "POST", http.Header{"Cookie": {"__Host-holdfast=" + good}, "X-Csrf-Token": {token}, "Origin": {app}}, 403},
		{"both empty", "POST", http.Header{"Cookie": {"__Host-holdfast=" + good + "; __Host-holdfast-csrf="}, "X-Csrf-Token": {""}, "Origin": {app}}, 403},
		{"a short one", "POST", http.Header{"Cookie": {"__Host-holdfast=" + good + "; __Host-holdfast-csrf=1"}, "X-Csrf-Token": {"1"}, "Origin": {app}}, 403},
		{"two CSRF cookies", "POST", http.Header{"Cookie": {cookies + "; __Host-holdfast-csrf=" + token[1:] + "A"}, "X-Csrf-Token": {token}, "Origin": {app}}, 403},
		{"a neighbour", "POST", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {token}, "Origin": {"https://blog.example.com"}, "Sec-Fetch-Site": {"same-site"}}, 403},
		{"evil", "PATCH", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {token}, "Sec-Fetch-Site": {"cross-site"}}, 403},
		{"null", "POST", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {token}, "Origin": {"null"}}, 403},
		{"two origins", "POST", http.Header{"Cookie": {cookies}, "X-Csrf-Token": {token}, "Origin": {app, app}}, 403},
		{"header", "POST", http.Header{"Authorization": {"Bearer " + good}, "Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}, 200},
		{"the header wins", "GET", http.Header{"Authorization": {"Bearer garbage"}, "Cookie": {cookies}}, 401},
		{"the header wins, well formed or not", "GET", http.Header{"Authorization": {"Bearer a b"}, "Cookie": {cookies}}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := g.ask(func(r *http.Request) { r.Method, r.Header = c.method, c.header.Clone() })
			if w.Code != c.status || (g.reached != nil) != (c.status == 200) {
				t.Errorf("%d %s, want %d", w.Code, w.Body, c.status)
			}
			if c.status == 403 && !strings.Contains(w.Body.String(), `"error":"csrf"`) {
				t.Errorf("%s", w.Body)
			}
		})
	}
}

// A guard that was not told of a cookie reads none.
func TestNoCookies(t *testing.T) {
	g := newGate(t, verify.Need{}, nil)
	w := g.ask(func(r *http.Request) { r.Header.Set("Cookie", "holdfast="+g.mint.token(claims())) })
	if w.Code != 401 {
		t.Errorf("%d", w.Code)
	}
}

func TestCookieConfig(t *testing.T) {
	for _, c := range []verify.GuardConfig{
		{Cookie: "a b"}, {Cookie: "a;b"}, {Cookie: "a=b"}, {Origins: []string{"https://app.example.com"}},
		{Cookie: "a", Origins: []string{"https://app.example.com/"}}, {Cookie: "a", Origins: []string{"app.example.com"}},
	} {
		c.Tokens = &verify.Verifier{}
		if _, err := verify.NewGuard(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
