package edxclients_test

import (
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.example/internal/user"
)

// checks is how many lives of a family of devices one run plays; -rapid.checks asks
// for another number, -rapid.seed for the dice of another run.
const checks = "30"

func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		_ = flag.Set("rapid.checks", checks) // the flag is rapid's
	}
	os.Exit(m.Run())
}

// family is one person's devices: two phones and a page in the WebView of one.
type family struct {
	*school
	user    user.User
	android *android
	ios     *ios
	page    *page
	// cookie is when the WebView was last signed in.
	cookie time.Time
}

// newFamily signs a new account in on both phones.
func (s *school) newFamily(t fataler) *family {
	s.airs = nil
	s.clock.advance(s.clock.Now().Truncate(time.Hour).Add(time.Hour).Sub(s.clock.Now())) // what came before plays no part
	f := &family{school: s, user: s.enrol(t)}
	f.android = &android{air: s.air(), client: "android"}
	f.ios = &ios{air: s.air(), client: "ios"}
	f.page = &page{air: f.android.air, cookies: &f.android.web}
	if !f.android.signIn(f.user.Username) || !f.ios.signIn(f.user.Username) {
		t.Fatal("nobody could sign in", f.android.out, f.android.odd, f.ios.out, f.ios.said)
	}
	return f
}

// open shows the page in the WebView of the Android phone.
func (f *family) open() bool {
	before := f.android.webAt
	f.android.webView()
	if f.android.webAt != before {
		f.cookie = f.clock.Now()
	}
	return f.page.load()
}

// outgrown forgives a page that its cookie's own life has signed out: a WebView
// whose swap failed for two weeks.
func (f *family) outgrown() {
	const life = 14*24*time.Hour - time.Hour // the token that earned it may have been an hour old
	if f.page.out && (f.cookie.IsZero() || f.clock.Now().Sub(f.cookie) >= life) {
		f.page.out, f.android.web, f.android.webAt = false, jar{}, time.Time{}
	}
}

// signedIn fails when a device lost its sign-in, or met an answer that it cannot
// read.
func (f *family) signedIn(t *rapid.T) {
	f.outgrown()
	if f.android.out != "" || f.ios.out != "" || f.page.out || len(f.android.odd) > 0 || len(f.page.broken) > 0 {
		t.Fatalf("android %q %q, ios %q, page %v %q, of %v at %v: %v", f.android.out, f.android.odd, f.ios.out, f.page.out, f.page.broken, f.cookie, f.clock.Now(), f.android.last.header)
	}
}

// faults that a network has: most messages pass.
var weather = []fault{fine, fine, fine, fine, fine, fine, fine, fine, fine, fine, fine, slowly, lostAnswer, lostAnswer, lostRequest, doubled, doubled, tooLate, tooLate, cut}

// stormy lets dice say what happens to each message. A refresh of the iOS app must
// not be lost: the app signs itself out then, whatever a server does.
func (f *family) stormy(t *rapid.T) {
	for _, a := range []*air{f.android.air, f.ios.air} {
		a.node = func() int { return rapid.IntRange(0, len(f.nodes)-1).Draw(t, "node") }
		a.fault = func(r *http.Request) fault {
			if a == f.ios.air && strings.HasSuffix(r.URL.Path, "/access_token") {
				return rapid.SampledFrom([]fault{fine, fine, slowly, doubled}).Draw(t, "fault of a refresh")
			}
			return rapid.SampledFrom(weather).Draw(t, "fault")
		}
	}
}

// pauses are the times between two steps: from the middle of a burst to a long
// holiday, below the idle limit.
var pauses = []time.Duration{0, time.Second, 20 * time.Second, time.Minute, 4 * time.Minute, 58 * time.Minute, time.Hour, 3 * time.Hour, 26 * time.Hour, 13 * 24 * time.Hour, 80 * 24 * time.Hour}

// TestFaults (contract 2.1 rows 1, 3, contract 2.2 rows 1..3, contract 2.3 rows 1..3, contract 1.12 row 3, R01, R04, R45): lost, late, doubled, cut
// and slow messages, calls in parallel, two nodes and wrong clocks sign nobody out,
// and afterwards every device works.
func TestFaults(t *testing.T) {
	s := newSchool(t)
	steps, requests := 0, 0
	var met [kinds]int
	rapid.Check(t, func(t *rapid.T) {
		f := s.newFamily(t)
		s.slow = rapid.SampledFrom([]time.Duration{0, 40 * time.Second}).Draw(t, "the service is slow by")
		clocks := rapid.SampledFrom([]time.Duration{0, time.Hour, -time.Hour})
		f.android.wrong, f.ios.wrong = clocks.Draw(t, "android is fast by"), clocks.Draw(t, "ios is fast by")
		f.android.ends, f.android.refreshed = f.android.ends.Add(f.android.wrong), time.Time{}
		f.page.wrong = f.android.wrong
		f.stormy(t)
		for range rapid.IntRange(20, 60).Draw(t, "steps") {
			steps++
			f.rest(rapid.SampledFrom(pauses).Draw(t, "pause"))
			f.step(t)
			f.signedIn(t)
		}
		f.settle(t)
		requests += f.android.requests + f.ios.requests
		for k := range met {
			met[k] += f.android.met[k] + f.ios.met[k]
		}
	})
	t.Logf("%d steps, %d requests, faults %v", steps, requests, met)
	for k, n := range met {
		if n == 0 && steps > 500 {
			t.Errorf("nobody met the fault %d", k)
		}
	}
}

// idle is the longest that a phone may be left alone: below the idle limit of 90
// days, with room for a bad day.
const idle = 88 * 24 * time.Hour

// rest lets time pass, but not so much that a phone is signed out for being idle.
func (f *family) rest(d time.Duration) {
	for _, kept := range []time.Time{f.android.kept, f.ios.kept} {
		if f.clock.Now().Add(d).Sub(kept) > idle {
			return
		}
	}
	f.pass(d)
}

// step is one thing that one device does.
func (f *family) step(t *rapid.T) {
	at := rapid.SliceOfN(rapid.SampledFrom([]string{whoAmI, lessons}), 1, 4).Draw(t, "calls")
	switch rapid.SampledFrom([]string{"android", "ios", "page", "ios pages"}).Draw(t, "device") {
	case "android":
		f.android.calls(at...)
	case "ios":
		f.ios.calls(at...)
	case "page":
		if f.open() {
			f.page.send("GET", lessons)
			f.page.send("POST", lessons)
		}
	case "ios pages":
		f.ios.webView()
	}
}

// settle ends the faults. A device that works is answered 200 by the server and,
// when its clock has caught up, by the service.
func (f *family) settle(t *rapid.T) {
	for _, a := range []*air{f.android.air, f.ios.air} {
		a.clear()
	}
	f.pass(2 * held)
	f.android.call(whoAmI)
	f.ios.call(whoAmI)
	f.pass(2 * time.Minute)
	for name, status := range map[string]int{"android at home": f.android.call(whoAmI), "android abroad": f.android.call(lessons),
		"ios at home": f.ios.call(whoAmI), "ios abroad": f.ios.call(lessons)} {
		if status != 200 {
			t.Fatalf("%s: %d; android heard %s, ios %s", name, status, f.android.last.body, f.ios.last.body)
		}
	}
	f.outgrown()
	if !f.open() || f.page.user != f.user.Username {
		t.Fatalf("the page does not open: %+v", f.page)
	}
	for _, method := range []string{"GET", "POST"} {
		if got := f.page.send(method, lessons); f.slow == 0 && got.status != 200 {
			t.Fatalf("%s by the page: %d %s", method, got.status, got.body)
		}
	}
	f.signedIn(t)
}
