package edxclients_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/key"
)

// ends are the ways in which a person's devices are signed out on purpose. Each
// ends both phones and the page.
var ends = map[string]func(*testing.T, *family){
	"everywhere": func(t *testing.T, f *family) {
		r := httptest.NewRequest(http.MethodPost, lms+"/account/v1/sessions/end-all", nil)
		other := &android{air: f.air(), client: "tablet"}
		if !other.signIn(f.user.Username) {
			t.Fatal("no third device")
		}
		r.Header = http.Header{"Authorization": {"Bearer " + other.access}}
		got := httptest.NewRecorder()
		f.nodes[1].Handler().ServeHTTP(got, r)
		if got.Code != http.StatusNoContent {
			t.Fatal(got.Code, got.Body)
		}
	},
	"by an operator": func(t *testing.T, f *family) { f.operate(t, "/admin/v1/users/"+f.user.ID.String()+"/sign-out", "") },
	"password set by an operator": func(t *testing.T, f *family) {
		f.operate(t, "/admin/v1/users/"+f.user.ID.String()+"/password", `{"password":"another-password-of-this-pupil"}`)
	},
	"disabled": func(t *testing.T, f *family) { f.operate(t, "/admin/v1/users/"+f.user.ID.String()+"/disable", "") },
}

// since is how long devices slept after the end: from at once to when the record
// has forgotten and the server has cleared everything away.
var since = map[string]time.Duration{"at once": 0, "after the tokens": 3 * time.Hour, "a year later": 366 * 24 * time.Hour}

// TestEnds (contract 2.1 rows 2, 4, contract 2.2 row 2, contract 2.3 row 2, R20..23, R29): whoever was signed out on purpose learns it, on every
// device, however long it slept: the Android app by the words of an API, the iOS
// app by its refresh, a page by 401.
func TestEnds(t *testing.T) {
	s := newSchool(t)
	for how, end := range ends {
		for when, slept := range since {
			t.Run(how+" "+when, func(t *testing.T) {
				f := s.newFamily(t)
				if !f.open() {
					t.Fatal("the page never opened")
				}
				f.pass(2 * time.Minute)
				end(t, f)
				f.sleep(t, slept)
				f.android.call(whoAmI)
				if f.android.out == "" {
					t.Errorf("android: %s", f.android.last.body)
				}
				f.ios.call(whoAmI)
				if !strings.Contains(f.ios.out, "invalid_grant") {
					t.Errorf("ios %q: %s", f.ios.out, f.ios.last.body)
				}
				f.pass(time.Hour) // a page believes its own token until then
				if f.page.load() || !f.page.out || len(f.page.broken) > 0 {
					t.Errorf("page: %v %v", f.page.broken, f.page.user)
				}
			})
		}
	}
}

// sleep lets time pass in which the server does its housework.
func (f *family) sleep(t *testing.T, d time.Duration) {
	f.pass(d)
	for range 3 {
		for _, n := range f.nodes {
			if err := n.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestEndAbroad (contract 2.1 row 2, R24, R29): a service tells the Android app of the end as well, as
// long as the record speaks of it: at once, and when the token has expired since.
func TestEndAbroad(t *testing.T) {
	s := newSchool(t)
	for _, slept := range []time.Duration{0, 2 * time.Minute, time.Hour + 30*time.Second} {
		f := s.newFamily(t)
		ends["by an operator"](t, f)
		f.sleep(t, slept)
		f.android.call(lessons)
		if f.android.out != "Invalid token." {
			t.Errorf("after %v: %q %s", slept, f.android.out, f.android.last.body)
		}
	}
}

// TestOneDevice (R18, R42): the sign-out of one device is nobody else's.
func TestOneDevice(t *testing.T) {
	f := newSchool(t).newFamily(t)
	f.ios.signOut()
	if f.ios.access != "" {
		t.Error("the app kept its tokens: the answer was no success to it")
	}
	f.pass(2 * time.Hour)
	if f.android.call(whoAmI) != 200 || !f.open() {
		t.Errorf("android %q, page %+v", f.android.out, f.page)
	}
	stolen := f.android.web // somebody copied the cookies
	f.android.signOut()
	f.pass(time.Hour)
	if f.page.cookies = &stolen; len(stolen.kept) == 0 || f.page.load() || !f.page.out {
		t.Error("the page outlives its phone")
	}
}

// TestIdle (contract 2.1 row 2, R14, R29): a phone whose session ended because nobody used it hears that,
// and not for ever that its token has expired.
func TestIdle(t *testing.T) {
	f := newSchool(t).newFamily(t)
	f.pass(91 * 24 * time.Hour) // the row still stands
	f.android.call(whoAmI)
	f.ios.call(whoAmI)
	if f.android.out != "Invalid token." || f.ios.out == "" {
		t.Errorf("android %q, ios %q", f.android.out, f.ios.out)
	}
}

// TestKeysGone (contract 2.1 row 2, R46): a phone that slept while the key of its token was rotated away, and
// whose refresh is lost when it wakes, is told to refresh and not to sign out. One
// that was signed out meanwhile is told that.
func TestKeysGone(t *testing.T) {
	s := newSchool(t)
	f, other := s.newFamily(t), &android{air: s.air(), client: "android"}
	if !other.signIn(f.user.Username) {
		t.Fatal("no other phone")
	}
	f.air().ask("POST", lms+"/oauth2/revoke_token/", url.Values{"client_id": {"android"}, "token": {other.refresh}}.Encode(), nil)
	was := s.kid(f.android.access)
	for range 2 {
		if err := s.nodes[0].Keys.RotateNow(t.Context(), key.Sign, "RS256", s.clock.Now()); err != nil {
			t.Fatal(err)
		}
		f.sleep(t, 12*time.Hour)
	}
	if _, _, kept := s.nodes[1].Keys.Public(was); kept {
		t.Fatal("the key is still there: the test shows nothing")
	}
	for _, p := range []*android{f.android, other} {
		p.fault = func(r *http.Request) fault {
			if strings.Contains(r.URL.Path, "access_token") {
				return lostRequest
			}
			return fine
		}
		p.call(whoAmI)
	}
	if f.android.out != "" || code(f.android.last.body) != "Token has expired." {
		t.Errorf("signed out by %q", f.android.out)
	}
	if other.out != "Invalid token." {
		t.Errorf("the other phone: %q %s", other.out, other.last.body)
	}
	s.forged(t, f.android)
	f.android.clear()
	if f.android.call(whoAmI) != 200 {
		t.Error(string(f.android.last.body))
	}
}

// forged holds that nothing is believed of a token whose key nobody knows: it opens
// nothing, and whoever invents one learns nothing.
func (s *school) forged(t *testing.T, p *android) {
	t.Helper()
	parts := strings.Split(p.access, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{"another issuer": {`"iss":"` + lms, `"iss":"` + lms + "x"}, "another session": {`"sid":"`, `"sid":"A`},
		"another client": {`"client_id":"android"`, `"client_id":"ios"`}, "a time to come": {`"exp":1`, `"exp":9`}} {
		payload := strings.Replace(string(text), change[0], change[1], 1)
		if payload == string(text) {
			t.Fatalf("%s: nothing to change in %s", name, text)
		}
		token := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "." + parts[2]
		if got := p.get(whoAmI, token); got.status != 401 || code(got.body) != "Invalid token." {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}
