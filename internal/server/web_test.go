package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/server"
)

// spa is the origin of the demo's browser application.
const spa = "http://127.0.0.1:8422"

// tab is a page of a browser: it shares a jar of cookies with the others, and knows
// its CSRF token.
type tab struct {
	attack
	origin string
	jar    map[string]*http.Cookie
	csrf   string
}

// webState is what the door answers.
type webState struct {
	SignedIn  bool   `json:"signed_in"`
	Renewable bool   `json:"renewable"`
	CSRF      string `json:"csrf_token"`
	User      *struct {
		Subject    string `json:"sub"`
		Number     string `json:"number"`
		Username   string `json:"username"`
		Client     string `json:"client_id"`
		Expires    int64  `json:"expires_at"`
		Until      int64  `json:"until"`
		Remembered bool   `json:"remembered"`
	} `json:"user"`
}

func browser(a attack) *tab { return &tab{attack: a, origin: spa, jar: map[string]*http.Cookie{}} }

// sent is the cookies that a browser would send to a path.
func (b *tab) sent(path string) string {
	var all []string
	for name, c := range b.jar {
		if strings.HasPrefix(path+"/", strings.TrimSuffix(c.Path, "/")+"/") {
			all = append(all, name+"="+c.Value)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// ask sends what a page would and keeps the cookies of the answer; more overrides
// headers, and takes one away with nil.
func (b *tab) ask(method, path, body string, more ...http.Header) (answer, webState) {
	b.Helper()
	h := http.Header{"Origin": {b.origin}, "Sec-Fetch-Site": {"same-site"}, "X-Csrf-Token": {b.csrf}}
	if cookies := b.sent(path); cookies != "" {
		h.Set("Cookie", cookies)
	}
	for _, m := range more {
		for name, values := range m {
			if h[name] = values; values == nil {
				delete(h, name)
			}
		}
	}
	kind := ""
	if body != "" {
		kind = "application/json"
	}
	got, err := b.send(method, path, kind, strings.NewReader(body), h)
	if err != nil {
		b.Fatal(err)
	}
	if got.header.Get("Cache-Control") != "no-store" || len(got.body) > 0 && got.header.Get("X-Content-Type-Options") != "nosniff" || !slices.Contains(got.header["Vary"], "Origin") {
		b.Errorf("%s %s: %v", method, path, got.header)
	}
	for name, c := range jar(got) {
		if c.HttpOnly {
			b.secrets.add(name, c.Value)
			b.secrets.add(name, strings.Split(c.Value, "~")[0])
		}
		if c.MaxAge < 0 {
			delete(b.jar, name)
		} else {
			b.jar[name] = c
		}
	}
	var s webState
	if got.status == 200 {
		err := json.Unmarshal(got.body, &s)
		if err != nil {
			b.Fatal(err)
		}
		if s.CSRF != "" {
			b.csrf = s.CSRF
		}
	}
	return got, s
}

const goodSignIn = `{"client_id":"demo-spa","username":"demo","password":"demo-password","remember":true}`

// signedIn is a browser where the demo user has signed in.
func signedInBrowser(a attack, body string) *tab {
	a.Helper()
	b := browser(a)
	b.ask("GET", "/web/v1/session", "")
	got, s := b.ask("POST", "/web/v1/sign-in", body)
	if got.status != 200 || !s.SignedIn {
		a.Fatalf("%d %s", got.status, got.body)
	}
	return b
}

// TestWebCookies (R30, R31, R33, B08, WEBVIEW-05): what a browser gets at a sign-in, with which
// attributes, and that no answer and no readable cookie holds a token.
func TestWebCookies(t *testing.T) {
	day := 24 * 3600
	for _, c := range []struct {
		name, issuer, domain, prefix, refreshPrefix string
		remember                                    bool
		access, rest                                int
	}{
		{"loopback, remembered", "http://id.test", "", "", "", true, 900, 14 * day},
		{"https, remembered", "https://id.test", "", "__Host-", "__Secure-", true, 900, 14 * day},
		{"https, a visit", "https://id.test", "", "__Host-", "__Secure-", false, 0, 0},
		{"https with a domain", "https://id.test", "id.test", "__Secure-", "__Secure-", true, 900, 14 * day},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := attack{t, forTest(t, func(s *server.Config) { s.Issuer, s.CookieDomain = c.issuer, c.domain })}
			b := signedInBrowser(a, strings.Replace(goodSignIn, "true", map[bool]string{true: "true", false: "false"}[c.remember], 1))
			got, s := b.ask("POST", "/web/v1/refresh", "")
			set := jar(got)
			if len(set) != 4 || len(b.jar) != 4 {
				t.Fatalf("%v", got.header["Set-Cookie"])
			}
			for name, want := range map[string]struct {
				hidden bool
				path   string
				age    int
			}{c.prefix + "holdfast": {true, "/", c.access}, c.refreshPrefix + "holdfast-refresh": {true, "/web/v1/refresh", c.rest},
				c.prefix + "holdfast-user": {false, "/", c.rest}, c.prefix + "holdfast-csrf": {false, "/", c.rest}} {
				one := set[name]
				if one == nil {
					t.Fatalf("no cookie %s: %v", name, got.header["Set-Cookie"])
				}
				domain := c.domain
				if want.hidden && want.path != "/" {
					domain = ""
				}
				if one.HttpOnly != want.hidden || one.Path != want.path || one.MaxAge != want.age || one.SameSite != http.SameSiteStrictMode ||
					one.Secure != strings.HasPrefix(c.issuer, "https:") || one.Domain != domain || !one.Expires.IsZero() || len(one.Name)+len(one.Value) > 4096 {
					t.Errorf("%s", one.Raw)
				}
			}
			access, refresh := set[c.prefix+"holdfast"].Value, strings.Split(set[c.refreshPrefix+"holdfast-refresh"].Value, "~")[0]
			shown, err := url.PathUnescape(set[c.prefix+"holdfast-user"].Value)
			readable := shown + set[c.prefix+"holdfast-csrf"].Value + string(got.body)
			if err != nil || strings.Contains(readable, access) || strings.Contains(readable, refresh) || strings.Contains(readable, access[strings.LastIndexByte(access, '.')+1:]) {
				t.Errorf("a script can read a token: %s", readable)
			}
			var who struct{ Sub, Username string }
			if json.Unmarshal([]byte(shown), &who) != nil || who.Username != "demo" || who.Sub != s.User.Subject || s.User.Number == "" || s.User.Remembered != c.remember {
				t.Errorf("%s %s", shown, got.body)
			}
		})
	}
}

// TestWebSession (R31, R33, B09): what a page is told of the session, and that an expired
// access cookie is renewed without a question.
func TestWebSession(t *testing.T) {
	a := attacks(t)
	b := browser(a)
	got, s := b.ask("GET", "/web/v1/session", "")
	if got.status != 200 || s.SignedIn || s.Renewable || len(s.CSRF) != 32 || b.jar["holdfast-csrf"].Value != s.CSRF || b.jar["holdfast-csrf"].MaxAge != 0 {
		t.Fatalf("%d %s %v", got.status, got.body, got.header)
	}
	if got, again := b.ask("GET", "/web/v1/session", ""); again.CSRF != s.CSRF || got.header["Set-Cookie"] != nil {
		t.Error("another tab was given another token")
	}
	b = signedInBrowser(a, goodSignIn)
	first := b.jar["holdfast-csrf"].Value
	if _, s = b.ask("GET", "/web/v1/session", ""); !s.SignedIn || s.User.Username != "demo" || s.User.Client != "demo-spa" || !s.User.Remembered || s.CSRF != first {
		t.Errorf("%+v", s)
	}
	a.in("R33 expired", func(a attack) {
		a.clock.advance(13 * 24 * time.Hour)
		delete(b.jar, "holdfast") // its Max-Age is over
		if _, s := b.ask("GET", "/web/v1/session", ""); s.SignedIn || !s.Renewable {
			a.Errorf("%+v", s)
		}
		got, s := b.ask("POST", "/web/v1/refresh", "")
		if got.status != 200 || !s.SignedIn || s.CSRF != first {
			a.Errorf("%d %s", got.status, got.body)
		}
		a.clock.advance(13 * 24 * time.Hour) // each renewal begins the limit anew
		if got, _ := b.ask("POST", "/web/v1/refresh", ""); got.status != 200 {
			a.Errorf("%d %s", got.status, got.body)
		}
	})
	a.in("over", func(a attack) {
		a.clock.advance(15 * 24 * time.Hour)
		got, _ := b.ask("POST", "/web/v1/refresh", "")
		if got.status != 401 || got.header.Get("Holdfast-Reason") != "idle" || got.header["Set-Cookie"] != nil || got.header.Get("WWW-Authenticate") == "" {
			a.Errorf("%d %v", got.status, got.header)
		}
	})
	a.in("a visit is over after a day", func(a attack) {
		b := signedInBrowser(a, strings.Replace(goodSignIn, "true", "false", 1))
		a.clock.advance(23 * time.Hour)
		if got, s := b.ask("POST", "/web/v1/refresh", ""); got.status != 200 || s.User.Remembered {
			a.Errorf("%d %s", got.status, got.body)
		}
		a.clock.advance(25 * time.Hour)
		if got, _ := b.ask("POST", "/web/v1/refresh", ""); got.status != 401 || got.header.Get("Holdfast-Reason") != "idle" {
			a.Errorf("%d %s", got.status, got.body)
		}
	})
	a.in("nobody", func(a attack) {
		b := browser(a)
		b.ask("GET", "/web/v1/session", "")
		got, _ := b.ask("POST", "/web/v1/refresh", "")
		a.problem(got, 401, "no_token")
		got, _ = b.ask("POST", "/web/v1/sign-out", "")
		a.problem(got, 401, "no_token")
	})
}

// TestWebTabs (R33, INV-03): tabs that renew at once, and answers that never arrive, are one
// session and sign nobody out; a refusal takes no cookie away.
func TestWebTabs(t *testing.T) {
	a := attacks(t)
	b := signedInBrowser(a, goodSignIn)
	before := sidOf(b.jar["holdfast"].Value)
	a.clock.advance(time.Hour)
	header := http.Header{"Origin": {spa}, "Cookie": {b.sent("/web/v1/refresh")}, "X-Csrf-Token": {b.csrf}}
	var mu sync.Mutex
	var all sync.WaitGroup
	tokens := map[string]bool{}
	for range 8 {
		all.Go(func() {
			got, err := a.send("POST", "/web/v1/refresh", "", nil, header)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || got.status != 200 {
				a.Errorf("%v %d %s", err, got.status, got.body)
				return
			}
			set := jar(got)
			tokens[set["holdfast-refresh"].Value] = true
			if sidOf(set["holdfast"].Value) != before {
				a.Error("another session")
			}
		})
	}
	all.Wait()
	if len(tokens) != 1 {
		t.Errorf("%d refresh tokens in one overlap", len(tokens))
	}
	a.clock.advance(2 * time.Hour) // no answer arrived: the old cookie comes again
	got, err := a.send("POST", "/web/v1/refresh", "", nil, header)
	if err != nil || got.status != 200 {
		t.Errorf("after lost answers: %v %d %s", err, got.status, got.body)
	}
}

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

// TestWebSignOut (Z12, WEBVIEW-07): a sign-out ends the session and takes the cookies away with
// the attributes they have; what was copied before is dead, and so is every cookie
// after a sign-out everywhere.
func TestWebSignOut(t *testing.T) {
	a := attacks(t)
	for path, reason := range map[string]string{"/web/v1/sign-out": "signed_out", "/web/v1/sign-out-everywhere": "everywhere"} {
		a.in(path, func(a attack) {
			phone := a.signIn("demo-native")
			b := signedInBrowser(a, goodSignIn)
			copied := browser(a)
			copied.csrf = b.csrf
			kept := map[string]*http.Cookie{}
			for name, c := range b.jar {
				copied.jar[name], kept[name] = c, c
			}
			got, _ := b.ask("POST", path, "")
			if got.status != 204 || len(b.jar) != 0 || got.header.Get("Holdfast-Reason") != reason {
				a.Fatalf("%d %v %v", got.status, got.header, b.jar)
			}
			for name, gone := range jar(got) {
				if was := kept[name]; was == nil || gone.Path != was.Path || gone.Domain != was.Domain || gone.Secure != was.Secure || gone.HttpOnly != was.HttpOnly || gone.Value != "" || gone.MaxAge >= 0 {
					a.Errorf("%s does not take away %v", gone.Raw, was)
				}
			}
			if _, s := copied.ask("GET", "/web/v1/session", ""); s.SignedIn {
				a.Error("a copied access cookie lives")
			}
			if got, _ := copied.ask("POST", "/web/v1/refresh", ""); got.status != 401 || got.header.Get("Holdfast-Reason") != reason {
				a.Errorf("a copied refresh cookie: %d %v", got.status, got.header)
			}
			if got, _ := copied.ask("POST", path, ""); got.status != 204 || len(copied.jar) != 0 {
				a.Errorf("what has ended can be signed out: %d %s", got.status, got.body)
			}
			if want := map[bool]int{true: 400, false: 200}[reason == "everywhere"]; a.refresh(phone).status != want {
				a.Errorf("the phone: not %d", want)
			}
		})
	}
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
