package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"holdfast.example/internal/door/admin"
	"holdfast.example/internal/id"
)

// TestFiltersThatSayNothing (ADMIN-03, ADMIN-04): a filter that was left empty, or
// that names nobody, never lists what is others'.
func TestFiltersThatSayNothing(t *testing.T) {
	d := newDesk(t)
	token := d.token("admin.owner")
	d.each(func(r admin.Route, s sample) {
		path, _, _ := strings.Cut(s.path, "?")
		for _, name := range r.Query {
			if a := d.remote(token, r.Method, path+"?"+name+"=", s.body); a.status != 400 {
				t.Errorf("%s with an empty %s: %d %s", r.Operation, name, a.status, a.body)
			}
		}
		if a := d.remote(token, r.Method, path+"?colour=red", s.body); len(r.Query) == 0 && !bytes.Contains(a.body, []byte("reads no parameters")) {
			t.Errorf("%s: %s", r.Operation, a.body)
		}
	})
	nobody := id.User{}.String()
	for _, path := range []string{"/admin/v1/audit?user=" + nobody, "/admin/v1/sessions?user=" + nobody, "/admin/v1/users?login=" + nobody} {
		if a := d.remote(token, "GET", path, ""); a.status != 200 || !bytes.Contains(a.body, []byte(":[]")) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := d.remote(token, "GET", "/admin/v1/audit?before=0001-01-01T00:00:00Z", ""); a.status != 400 {
		t.Errorf("before the beginning of time: %d %s", a.status, a.body)
	}
}

// TestNamesThatAreNoText (ADMIN-08): what no database can be asked for is refused
// here: PostgreSQL would answer with an error, and the caller be told to repeat it.
func TestNamesThatAreNoText(t *testing.T) {
	d := newDesk(t)
	token := d.token("admin.owner")
	for _, in := range []string{"a\x00b", "\xff\xfe"} {
		d.each(func(r admin.Route, s sample) {
			path, _, _ := strings.Cut(s.path, "?")
			for _, name := range r.Query {
				if a := d.remote(token, r.Method, path+"?"+name+"="+url.QueryEscape(in), s.body); a.status != 400 {
					t.Errorf("%s %s=%q: %d %s", r.Operation, name, in, a.status, a.body)
				}
			}
			for _, named := range []string{"{user}", "{client}", "{sid}", "{upstream}"} {
				if !strings.Contains(r.Pattern, named) {
					continue
				}
				parts, pattern := strings.Split(path, "/"), strings.Split(r.Pattern, "/")
				parts[slices.Index(pattern, named)] = url.PathEscape(in)
				want := 404
				if r.Method == http.MethodPut { // its name is refused, as part of what it sends
					want = 400
				}
				if a := d.remote(token, r.Method, strings.Join(parts, "/"), s.body); a.status != want {
					t.Errorf("%s with the %s %q: %d %s", r.Operation, named, in, a.status, a.body)
				}
			}
		})
	}
}

// TestManifestsSayWhatTheyAre (ADMIN-04): a manifest is application/toml, as
// the description says; what a form of a web page can send is none.
func TestManifestsSayWhatTheyAre(t *testing.T) {
	d := newDesk(t)
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json", "application/toml;;"} {
		r, err := http.NewRequest("POST", "http://admin/admin/v1/apply", strings.NewReader("[[users]]\nusername = \"smuggled\"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		rec := httptest.NewRecorder()
		d.server.Admin().ServeHTTP(rec, r)
		if b, _ := io.ReadAll(rec.Body); rec.Code != 415 {
			t.Errorf("%q: %d %s", kind, rec.Code, b)
		}
	}
	d.must(404, "GET", "/admin/v1/users/smuggled", "")
}

// TestEveryEndIsCounted (design.md promise P7): session_ended_total counts each
// session once and under the reason that its device hears, also where one act ends
// all sessions of a user without touching their rows.
func TestEveryEndIsCounted(t *testing.T) {
	a := attacks(t)
	d := &desk{T: t, house: a.house}
	d.must(201, "POST", "/admin/v1/users", `{"username":"otto","password":"ottos-password"}`)
	count := func(reason string) float64 { return a.figure(`session_ended_total{reason="` + reason + `"}`) }
	devices := func(password string) (access string) {
		for _, install := range []string{"one", "two", "three"} {
			access = a.signIn("demo-native", "username", "otto", "password", password, "install_id", install).Access
		}
		return access
	}
	devices("ottos-password")
	d.must(200, "POST", "/admin/v1/users/otto/password", `{"password":"ottos-second"}`)
	if got := count("password_changed"); got != 3 {
		t.Errorf("a new password ended 3 devices, %v were counted", got)
	}
	devices("ottos-second") // replaces the rows that had ended
	if got := count("password_changed"); got != 3 || count("replaced") != 0 {
		t.Errorf("after new sign-ins %v are counted, and %v as replaced", got, count("replaced"))
	}
	d.must(200, "POST", "/admin/v1/users/otto/disable", "")
	d.must(200, "POST", "/admin/v1/users/otto/disable", "")
	if got := count("disabled"); got != 3 {
		t.Errorf("a disabled account had 3 devices, %v were counted", got)
	}
	d.must(200, "POST", "/admin/v1/users/otto/enable", "")
	access := devices("ottos-second")
	if got := a.ask("POST", "/account/v1/sessions/end-others", access, ""); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := count("signed_out_elsewhere"); got != 2 {
		t.Errorf("2 other devices were signed out, %v were counted", got)
	}
	if got := a.ask("POST", "/account/v1/sessions/end-all", access, ""); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := count("everywhere"); got != 1 {
		t.Errorf("the last device was signed out, %v were counted", got)
	}
	d.must(200, "POST", "/admin/v1/sessions/"+sidOf(access)+"/end", "")
	if got := count("everywhere") + count("operator"); got != 1 {
		t.Errorf("ending an ended device was counted: %v", got)
	}
}
