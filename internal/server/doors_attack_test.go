package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/grant"
	"holdfast.example/internal/key"
)

// TestAttackProlongedRevoke (I4, R18): the standard endpoint ends a sign-in without a
// refresh token whole. Its tokens share a jti or come from each other, so that the
// end of one alone would be outlived by the others.
func TestAttackProlongedRevoke(t *testing.T) {
	for name, door := range map[string]struct{ obtain, prolong, verify string }{
		"sliding": {slidingAt + "/", slidingAt + "/refresh/", slidingAt + "/verify/"},
		"drf-jwt": {drfAt + "/get-token/", drfAt + "/refresh-token/", drfAt + "/verify-token/"},
	} {
		a := pairs(t)
		a.in(name, func(a attack) {
			ask := func(path, body string) answer { return a.pairAsk(http.MethodPost, path, "application/json", body) }
			first := a.keeps(ask(door.obtain, learnerJSON))
			a.clock.advance(4*time.Minute + 50*time.Second)
			longer := a.keeps(ask(door.prolong, tokenJSON(first.Token)))
			if got := a.post("/oauth2/revoke", "token", first.Token, "client_id", "pair-phone"); got.status != 200 {
				a.Fatalf("%d %s", got.status, got.body)
			}
			for range 3 { // until long after the first token's own end
				for _, path := range []string{door.verify, door.prolong} {
					if got := ask(path, tokenJSON(longer.Token)); got.status < 400 || !strings.Contains(string(got.body), "lacklisted") {
						a.Errorf("%s after the sign-out: %d", path, got.status)
					}
				}
				a.clock.advance(80 * time.Second)
				if err := a.server.Tick(t.Context()); err != nil { // what is past is forgotten
					a.Fatal(err)
				}
			}
		})
	}
}

// TestAttackNeighbourPage (B09, HTTP-07): the page of another application of this
// house gets nothing out of a browser's access cookie, at the device API either.
func TestAttackNeighbourPage(t *testing.T) {
	a := attacks(t)
	a.apply(`
[[clients]]
id = "other-spa"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
cors_origins = ["http://127.0.0.1:8499"]
`)
	b := signedInBrowser(a, goodSignIn)
	b.origin = "http://127.0.0.1:8499"
	for path, method := range map[string]string{"/account/v1/me": "GET", "/account/v1/sessions": "GET", "/account/v1/events": "GET",
		"/account/v1/sessions/end-all": "POST", "/account/v1/password": "POST"} {
		if got, _ := b.ask(method, path, ""); got.status != 403 {
			t.Errorf("another application's page at %s: %d %s", path, got.status, got.body)
		}
	}
	for _, origin := range []string{spa, testIssuer} {
		b.origin = origin
		if got, _ := b.ask("GET", "/account/v1/me", "", http.Header{"Sec-Fetch-Site": {"same-origin"}}); got.status != 200 {
			t.Errorf("from %s: %d %s", origin, got.status, got.body)
		}
	}
	b.origin = spa
	if got, _ := b.ask("GET", "/account/v1/me", "", http.Header{"Origin": nil}); got.status != 200 { // a page of this very host
		t.Errorf("%d %s", got.status, got.body)
	}
	if got, _ := b.ask("POST", "/account/v1/sessions/end-all", ""); got.status != 204 {
		t.Errorf("its own page: %d %s", got.status, got.body)
	}
}

// TestAttackTicketPlanted (WEBVIEW-04): what stood in a WebView before its ticket is
// not merged with what the ticket brings.
func TestAttackTicketPlanted(t *testing.T) {
	a := edx(t)
	thief := a.learner("demo-edx")
	planted := jar(a.app("/oauth2/login", jwtHeader(thief.Access)))["sessionid"]
	if a.pages(planted) != 200 {
		t.Fatal("nothing to plant")
	}
	h := a.learner("demo-edx")
	got := a.edxAsk("GET", a.sold(h.Access), http.Header{"Cookie": {"sessionid=" + planted.Value + "; edx-jwt-cookie-header-payload=a.b; edx-jwt-cookie-signature=c; edx-user-info=x; edxloggedin=true"}})
	after := jar(got)
	if got.status != 302 || a.pages(after["sessionid"]) != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if a.pages(planted) != 401 {
		t.Error("the planted session lives on")
	}
	for _, name := range []string{"edx-jwt-cookie-header-payload", "edx-jwt-cookie-signature", "edx-user-info", "edxloggedin"} {
		if c := after[name]; c == nil || c.MaxAge >= 0 || c.Value != "" {
			t.Errorf("%s stays: %v", name, c)
		}
	}
}

// TestAttackOtherWish: a sign-in of the same attempt that asks for something else is
// another sign-in. Who takes "remember me" back at a shared browser is not remembered.
func TestAttackOtherWish(t *testing.T) {
	a := attacks(t)
	b := browser(a)
	b.ask("GET", "/web/v1/session", "")
	body := strings.Replace(goodSignIn, "{", `{"install_id":"this browser","attempt_id":"first",`, 1)
	if _, s := b.ask("POST", "/web/v1/sign-in", body); s.User == nil || !s.User.Remembered {
		t.Fatal("not remembered")
	}
	if _, s := b.ask("POST", "/web/v1/sign-in", strings.Replace(body, "true", "false", 1)); s.User == nil || s.User.Remembered || b.jar["holdfast-refresh"].MaxAge != 0 {
		t.Errorf("remembered against the user's wish: %+v", s.User)
	}
}

// TestAttackRestricted (contract 1.12): a restricted application looks after its
// user's account no more than one of a third party does.
func TestAttackRestricted(t *testing.T) {
	a := edx(t)
	h := a.learner("edx-restricted")
	for path, method := range map[string]string{"/account/v1/me": "GET", "/account/v1/sessions/end-all": "POST"} {
		got, err := a.send(method, path, "", strings.NewReader(""), bearer(h.Access))
		if err != nil || got.status != 403 {
			t.Errorf("%s: %d %s %v", path, got.status, got.body, err)
		}
	}
}

// TestAttackKeysOfCookies (FAULT-09, R34): the turn of the key that seals it ends no web
// session before its time.
func TestAttackKeysOfCookies(t *testing.T) {
	if key.OpaqueKept < grant.WebLife {
		t.Error("keys are dropped before the cookies that they sealed are over")
	}
	a := edx(t)
	c := a.web(a.learner("demo-edx").Access)
	if err := a.server.Keys.RotateNow(t.Context(), key.Opaque, "", a.clock.Now()); err != nil {
		t.Fatal(err)
	}
	for range 13 {
		a.clock.advance(24 * time.Hour)
		if err := a.server.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := a.pages(c); got != 200 {
			t.Fatalf("the cookie answers %d after %s", got, a.clock.Now())
		}
	}
}

// TestAttackFreshened (RFC 9470, R11): a WebView's session does not make an old sign-in
// young.
func TestAttackFreshened(t *testing.T) {
	a := edx(t)
	h := a.learner("demo-edx")
	first := claims(h.Access)["auth_time"]
	a.clock.advance(30 * time.Minute)
	all := jar(a.app("/login_refresh", with("sessionid="+a.web(h.Access).Value)))
	said := claims(all["edx-jwt-cookie-header-payload"].Value + "." + all["edx-jwt-cookie-signature"].Value)
	if first == nil || said["auth_time"] != first {
		t.Errorf("signed in at %v, and the page's token says %v", first, said["auth_time"])
	}
}

// TestAttackWebViewInstall: no install_id of an app is that of a WebView, whose
// session it would replace and whose budget of attempts it would use.
func TestAttackWebViewInstall(t *testing.T) {
	a := edx(t)
	h := a.learner("demo-edx")
	c := a.web(h.Access)
	a.learner("demo-edx", "install_id", "webview of "+sidOf(h.Access))
	if got := a.pages(c); got != 200 {
		t.Errorf("the WebView answers %d", got)
	}
	got := a.app(accessToken, nil, "grant_type", "password", "client_id", "demo-edx", "username", "learner", "password", "the-password-of-learner",
		"install_id", "\x01webview of "+sidOf(h.Access))
	if got.status != 400 {
		t.Errorf("an install_id with a control character is answered %d %s", got.status, got.body)
	}
}

// TestAttackShortened (R34): a WebView does not outlive a device that a lowered limit
// has ended.
func TestAttackShortened(t *testing.T) {
	a := edx(t)
	a.apply(edxLimited)
	h := a.learner("edx-limited")
	for range 3 {
		a.clock.advance(3 * 24 * time.Hour)
		h = a.holds(a.renewed(h), "edx-limited")
	}
	c := a.web(h.Access)
	if got := a.pages(c); got != 200 {
		t.Fatalf("the WebView answers %d", got)
	}
	a.apply(strings.Replace(edxLimited, `"90d"`, `"5d"`, 1))
	if a.renewed(h).status != 400 || a.pages(c) != 401 {
		t.Errorf("the device is answered %d, its WebView %d", a.renewed(h).status, a.pages(c))
	}
}

const edxLimited = `
[[clients]]
id = "edx-limited"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
claims = "openedx"
webview = true
idle_lifetime = "4d"
absolute_lifetime = "90d"
`
