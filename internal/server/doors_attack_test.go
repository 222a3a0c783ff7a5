package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
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
