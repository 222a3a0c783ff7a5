package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/cors"
	"holdfast.example/internal/testsvc"
	"holdfast.example/verify"
)

// annotations are the types in the guide's program: what a browser does not read.
var annotations = regexp.MustCompile(`: (Promise<boolean> \| null|object \| null|string|boolean|RequestInit)\b`)

// guideProgram is the program of docs/guide/browsers.md as a browser reads it.
func guideProgram(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/guide/browsers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```ts\n")
	program, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the guide has no program")
	}
	return annotations.ReplaceAllString(program, "")
}

// shop is an application in a browser: its pages, its API, and the server, each at an
// origin of its own on one host.
type shop struct {
	attack
	pages, api *httptest.Server
	renewals   atomic.Int32
	orders     atomic.Int32
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{attack: attacks(t)}
	program := guideProgram(t)
	s.pages = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth.js" {
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprint(w, program)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><script type="module">import { cookieAuth } from "/auth.js"; window.auth = cookieAuth(%q, "shop-web");</script>`, s.http.URL)
	}))
	t.Cleanup(s.pages.Close)
	s.apply(fmt.Sprintf(`
[[clients]]
id = "shop-web"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
scopes = ["read", "write"]
audiences = ["shop"]
cors_origins = [%q]
`, s.pages.URL))
	keys, err := verify.ParseKeySet(s.server.Keys.JWKS().Body)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := verify.New(verify.Config{Issuer: testIssuer, Audience: "shop", Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := verify.NewGuard(verify.GuardConfig{Tokens: tokens, Cookie: "holdfast", Origins: []string{s.pages.URL}, Now: s.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	one := func(origin string) bool { return origin == s.pages.URL }
	shared := cors.Rule{Allows: one, Credentials: one, Methods: []string{"GET", "POST"}, Asked: "X-CSRF-Token"}
	s.api = httptest.NewServer(shared.Wrap(guard.Protect(verify.Need{Scope: "write"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.orders.Add(1)
		fmt.Fprint(w, "ordered")
	}))))
	t.Cleanup(s.api.Close)
	inner := s.http.Config.Handler
	s.http.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/web/v1/refresh" {
			s.renewals.Add(1)
		}
		inner.ServeHTTP(w, r)
	})
	return s
}

// page opens the shop and waits for its program.
func (s *shop) page(c *testsvc.Chromium) *testsvc.Tab {
	p := c.Open(s, s.pages.URL)
	s.loaded(p)
	return p
}

func (s *shop) loaded(p *testsvc.Tab) {
	for range 3000 {
		if p.Eval(s, `location.href !== "about:blank" && window.auth !== undefined`) == "true" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Fatal("the page does not load")
}

// TestChromium (R30, R31, R32, R33, B08): a real browser keeps the cookies as meant, and the
// program of the guide keeps its user signed in.
func TestChromium(t *testing.T) {
	testsvc.NeedChromium(t)
	s := openShop(t)
	profile := t.TempDir()
	c := testsvc.StartChromium(t, profile)
	p := s.page(c)
	order := fmt.Sprintf(`auth.call(%q, {method: "POST"}).then((a) => a.status)`, s.api.URL)
	is := func(what, expression, want string) {
		t.Helper()
		if got := p.Eval(t, expression); got != want {
			t.Errorf("%s: %s is %s, not %s", what, expression, got, want)
		}
	}
	const who = `auth.restore().then((s) => s.signed_in)`
	is("nobody", who, "false")
	is("nobody orders", order, "401")
	is("the wrong password", `auth.signIn("demo", "wrong-password", true).catch((e) => "refused")`, `"refused"`)
	is("sign in", `auth.signIn("demo", "demo-password", true).then((u) => u.username)`, `"demo"`)
	is("order", order, "200")
	sid := s.sessionsOf("shop-web")

	t.Run("R30 no script reads a token", func(t *testing.T) {
		readable := p.Eval(t, `document.cookie`)
		if strings.Contains(readable, "holdfast=") || strings.Contains(readable, "refresh") || !strings.Contains(readable, "holdfast-user=") || !strings.Contains(readable, "holdfast-csrf=") {
			t.Errorf("a script reads %s", readable)
		}
	})
	t.Run("R33 a reload", func(t *testing.T) {
		p.Go(t, s.pages.URL+"/?again")
		s.loaded(p)
		is("reloaded", who, "true")
	})
	t.Run("R33 five calls with an expired access cookie", func(t *testing.T) {
		s.clock.advance(time.Hour)
		renewed, ordered := s.renewals.Load(), s.orders.Load()
		is("five", `Promise.all([1, 2, 3, 4, 5].map(() => `+order+`)).then((all) => all.join())`, `"200,200,200,200,200"`)
		if got := s.renewals.Load() - renewed; got != 1 || s.orders.Load()-ordered != 5 {
			t.Errorf("%d renewals, %d orders", got, s.orders.Load()-ordered)
		}
	})
	t.Run("R33 two tabs at once", func(t *testing.T) {
		other := s.page(c)
		s.clock.advance(time.Hour)
		for _, tab := range []*testsvc.Tab{p, other} {
			tab.Eval(t, `{ window.both = auth.renew(); null }`)
		}
		for _, tab := range []*testsvc.Tab{p, other} {
			if got := tab.Eval(t, `both`); got != "true" {
				t.Errorf("a tab was signed out: %s", got)
			}
		}
	})
	t.Run("R32 another origin", func(t *testing.T) {
		evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<!doctype html>") }))
		defer evil.Close()
		ordered := s.orders.Load()
		e := c.Open(t, evil.URL)
		for e.Eval(t, `location.href === "about:blank" || document.readyState !== "complete"`) == "true" {
			time.Sleep(10 * time.Millisecond)
		}
		// The same host, so the browser does send the cookies along.
		e.Eval(t, fmt.Sprintf(`fetch(%q, {method: "POST", credentials: "include", mode: "no-cors"}).then(() => 1, () => 0)`, s.api.URL))
		e.Eval(t, fmt.Sprintf(`fetch(%q, {method: "POST", credentials: "include", mode: "no-cors"}).then(() => 1, () => 0)`, s.http.URL+"/web/v1/sign-out"))
		if got := e.Eval(t, fmt.Sprintf(`fetch(%q, {credentials: "include"}).then((a) => a.text(), () => "unread")`, s.http.URL+"/web/v1/session")); got != `"unread"` {
			t.Errorf("a page of another origin reads %s", got)
		}
		if s.orders.Load() != ordered {
			t.Error("a page of another origin ordered")
		}
		is("still here", order, "200")
	})
	t.Run("R33 only the refresh cookie is left", func(t *testing.T) {
		p.DeleteCookie(t, "holdfast", s.http.URL)
		is("renewed", who, "true")
	})
	t.Run("R33 the browser was closed: remembered", func(t *testing.T) {
		c.Close(t)
		s.clock.advance(24 * time.Hour)
		c = testsvc.StartChromium(s, profile) // it lives longer than this part
		p = s.page(c)
		is("remembered", who, "true")
		is("remembered", order, "200")
		if got := s.sessionsOf("shop-web"); got != sid {
			t.Errorf("sessions %s, were %s", got, sid)
		}
	})
	t.Run("R33 the browser was closed: a visit", func(t *testing.T) {
		is("out", `auth.signOut().then(() => document.cookie)`, `""`)
		is("signed out", who, "false")
		is("sign in", `auth.signIn("demo", "demo-password", false).then((u) => u.remembered)`, `false`)
		is("a visit", order, "200")
		c.Close(t)
		c = testsvc.StartChromium(s, profile) // it lives longer than this part
		p = s.page(c)
		is("a visit is over", who, "false")
		is("nothing is left", `document.cookie.includes("holdfast-user")`, "false")
		c.Close(t)
	})
}

// sessionsOf lists the live sessions of the demo user at a client.
func (s *shop) sessionsOf(client string) string {
	s.Helper()
	got, err := s.operate("GET", "/admin/v1/sessions?client="+client, nil)
	if err != nil || got.status != 200 {
		s.Fatalf("%v %d %s", err, got.status, got.body)
	}
	return strings.Join(regexp.MustCompile(`"sid":"[^"]+"`).FindAllString(string(got.body), -1), " ")
}
