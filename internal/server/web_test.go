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
	var s webState
	got := patient(func() (got answer) {
		got, s = b.ask("POST", "/web/v1/sign-in", body)
		return got
	})
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
