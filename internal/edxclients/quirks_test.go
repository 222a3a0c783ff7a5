package edxclients_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestClocks (contract 2.1 row 2, contract 2.3 row 1): a phone whose clock is an hour fast or slow works as one whose
// clock is right, and refreshes no more often than each hour; a service whose clock
// is 40 s slow asks for patience, and not for a sign-in.
func TestClocks(t *testing.T) {
	s := newSchool(t)
	for _, wrong := range []time.Duration{time.Hour, -time.Hour} {
		f := s.newFamily(t)
		f.android.wrong, f.ios.wrong, f.page.wrong = wrong, wrong, wrong
		if !f.android.signIn(f.user.Username) || !f.ios.signIn(f.user.Username) {
			t.Fatal("no sign-in")
		}
		before := f.android.requests
		const calls = 48
		for range calls {
			f.pass(30 * time.Minute)
			if f.android.call(whoAmI) != 200 || f.ios.call(lessons) != 200 {
				t.Fatalf("%v: android %s, ios %s", wrong, f.android.last.body, f.ios.last.body)
			}
		}
		if sent := f.android.requests - before; sent > calls*3/2+2 {
			t.Errorf("%v: %d requests for %d calls", wrong, sent, calls)
		}
		for range 3 {
			f.pass(50 * time.Minute)
			if !f.open() || f.page.send("GET", lessons).status != 200 {
				t.Errorf("%v: page %+v", wrong, f.page)
			}
		}
		if f.android.out != "" || f.ios.out != "" || f.page.out {
			t.Errorf("%v: %q %q %v", wrong, f.android.out, f.ios.out, f.page.out)
		}
	}
	s.slow = 40 * time.Second
	f := s.newFamily(t)
	f.android.call(lessons)
	f.ios.call(lessons) // it asks again and again, until the service's clock has come near
	if f.android.out != "" || f.ios.out != "" || code(f.android.last.body) != "Token has expired." {
		t.Errorf("android %q %s, ios %q", f.android.out, f.android.last.body, f.ios.out)
	}
	f.pass(15 * time.Second)
	if a, i := f.android.call(lessons), f.ios.call(lessons); a != 200 || i != 200 {
		t.Errorf("%d %s, %d", a, f.android.last.body, i)
	}
}

// TestIOS (contract 2.2 rows 1..3): what the iOS app does by itself. A refresh that is lost signs it out,
// whatever a server does; the server then still knows the device, and the next
// sign-in works. Its errors are those it can read.
func TestIOS(t *testing.T) {
	s := newSchool(t)
	f := s.newFamily(t)
	held := f.ios.refresh
	f.pass(2 * time.Hour)
	f.ios.fault = func(r *http.Request) fault {
		if strings.HasSuffix(r.URL.Path, "/access_token") {
			return lostAnswer
		}
		return fine
	}
	f.ios.call(whoAmI)
	if f.ios.out != "the refresh failed: the network failed" {
		t.Fatalf("%q: the app is another one than in the field", f.ios.out)
	}
	f.ios.clear()
	again := &ios{air: f.ios.air, client: "ios", refresh: held}
	if !again.renew() {
		t.Errorf("the server ended what only an answer was lost of: %s", again.out)
	}
	if !f.ios.signIn(f.user.Username) || !f.ios.webView() || f.ios.web.read("sessionid", lms, f.ios.now()) == "" {
		t.Errorf("%v", f.ios.said)
	}
	if f.ios.signIn("nobody"); len(f.ios.said) != 1 || f.ios.said[0] != "Invalid credentials given." {
		t.Errorf("the user reads %q", f.ios.said)
	}
	f.operate(t, "/admin/v1/users/"+f.user.ID.String()+"/disable", "")
	if f.ios.signIn(f.user.Username); f.ios.said[1] != "Invalid credentials given." {
		t.Errorf("the user reads %q", f.ios.said)
	}
}

// TestAdopted (contract 1.10 rows 2, 3, contract 2.2 row 2, contract 2.3 row 1): the app that came in through the pages of a provider joins
// the halves of the JWT and lives on them, without a refresh token; when they are
// over it is refused, and not signed out.
func TestAdopted(t *testing.T) {
	f := newSchool(t).newFamily(t)
	if !f.open() {
		t.Fatal("no page")
	}
	sso := &ios{air: f.air(), client: "ios"}
	if !sso.adopt(&f.android.web) || sso.call(lessons) != 200 {
		t.Errorf("%s", sso.last.body)
	}
	f.pass(2 * time.Hour)
	if sso.call(whoAmI) != 401 || sso.out != "" {
		t.Errorf("%q %s", sso.out, sso.last.body)
	}
}

// TestParallel (contract 2.1 row 3, R01, R17): many calls at the moment of expiry, on two nodes: on Android the ones that left
// with the old token may fail once, and nobody is signed out; on iOS all of them
// are sent again after one refresh.
func TestParallel(t *testing.T) {
	f := newSchool(t).newFamily(t)
	many := make([]string, 12)
	for i := range many {
		many[i] = []string{whoAmI, lessons}[i%2]
	}
	for range 5 {
		f.pass(time.Hour)
		for i, status := range f.android.calls(many...) {
			if status != 200 {
				t.Errorf("android %d: %d", i, status)
			}
		}
		for i, status := range f.ios.calls(many...) {
			if status != 200 {
				t.Errorf("ios %d: %d", i, status)
			}
		}
	}
	f.pass(time.Hour)
	f.android.ends = f.clock.Now().Add(time.Hour) // it does not know: its own clock was changed
	f.android.calls(many...)
	if f.android.out != "" || f.ios.out != "" || f.android.call(whoAmI) != 200 {
		t.Errorf("%q %q %s", f.android.out, f.ios.out, f.android.last.body)
	}
}

// TestBurst (R01): fifty refreshes with one token at the same moment on two nodes all
// answer, with one successor.
func TestBurst(t *testing.T) {
	f := newSchool(t).newFamily(t)
	f.pass(time.Hour)
	const many = 50
	phones := make([]*ios, many)
	apart := *f.school // no other device takes part
	apart.airs = nil
	var all sync.WaitGroup
	for i := range phones {
		phones[i] = &ios{air: &air{school: &apart}, client: "ios", refresh: f.ios.refresh}
		phones[i].clear()
		phones[i].node = func() int { return i % len(f.nodes) }
		all.Go(func() { phones[i].renew() })
	}
	all.Wait()
	next := map[string]bool{}
	for _, p := range phones {
		if p.out != "" {
			t.Error(p.out)
		}
		next[p.refresh] = true
	}
	if len(next) != 1 {
		t.Errorf("%d successors", len(next))
	}
}

// TestWebViewStays (contract 1.10 row 1, R34): a page lives as long as the cookie that the app renewed, also when
// the WebView has been in use for longer than the idle limit.
func TestWebViewStays(t *testing.T) {
	f := newSchool(t).newFamily(t)
	const life = 13 * 24 * time.Hour // of a cookie, but for a day
	for round := range 10 {
		if !f.open() {
			t.Fatalf("signed out in round %d: %s %v", round, f.page.last.body, f.page.last.header)
		}
		f.pass(life)
		if !f.page.load() || f.page.out {
			t.Fatalf("signed out in round %d: %s %v", round, f.page.last.body, f.page.last.header)
		}
	}
}
