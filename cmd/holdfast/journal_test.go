package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/feed"
	"holdfast.example/internal/journal"
	"holdfast.example/internal/server"
)

// journaled is a house in this process whose journal can be broken.
type journaled struct {
	*house
	path string
}

func newJournaled(t *testing.T) *journaled {
	t.Helper()
	dir := t.TempDir()
	j := &journaled{path: filepath.Join(dir, "other-disk", "journal")}
	c, _, err := server.Load(server.LoadOptions{Dev: true, Flags: map[string]string{"data": filepath.Join(dir, "data"), "journal": j.path, "log-level": "error"}})
	if err != nil {
		t.Fatal(err)
	}
	j.house, err = openHouse(t.Context(), c, terminal{err: io.Discard}, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := j.server.Apply(t.Context(), "crash.toml", []byte(crashManifest+nodesUser)); err != nil {
		t.Fatal(err)
	}
	return j
}

// fail lets the journal fail: where the file was is a folder.
func (j *journaled) fail(t *testing.T) {
	t.Helper()
	if err := os.Rename(j.path, j.path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(j.path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func (j *journaled) mend(t *testing.T) {
	t.Helper()
	if err := os.Remove(j.path); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(j.path+".away", j.path); err != nil {
		t.Fatal(err)
	}
}

// has counts the lines of a kind.
func (j *journaled) has(t *testing.T, kind feed.Kind) (n int) {
	t.Helper()
	c, err := journal.Read(j.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Entries {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// asked is one request to a handler; a form, a JSON object, or nothing.
func asked(h http.Handler, method, path string, body any) (status int, answer string) {
	var r *http.Request
	switch v := body.(type) {
	case url.Values:
		r = httptest.NewRequest(method, path, strings.NewReader(v.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	case string:
		r = httptest.NewRequest(method, path, strings.NewReader(v))
		r.Header.Set("Content-Type", "application/toml")
	case map[string]any:
		b, _ := json.Marshal(v)
		r = httptest.NewRequest(method, path, strings.NewReader(string(b)))
		r.Header.Set("Content-Type", "application/json")
	default:
		r = httptest.NewRequest(method, path, nil)
	}
	r.RemoteAddr = "127.0.0.1:1"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// tokens signs a phone in.
func (j *journaled) tokens(t *testing.T, install string) map[string]string {
	t.Helper()
	status, text := asked(j.server.Handler(), http.MethodPost, "/oauth2/token", signInForm(install))
	var all map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil || status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, text)
	}
	a := map[string]string{}
	for name, v := range all {
		a[name] = fmt.Sprint(v)
	}
	return a
}

// TestEndsThatAreRepeated: an end that took effect and could not be written to the
// journal is answered with 503. Whoever repeats it is told that it is done when the
// journal has it, and not before, although the server finds nothing left to do.
func TestEndsThatAreRepeated(t *testing.T) {
	j := newJournaled(t)
	clientNamed := func(name string) string { return strings.Replace(crashManifest, `"crash"`, `"`+name+`"`, 1) }
	for _, name := range []string{"stopped", "put", "declared", "deleted"} {
		if _, err := j.server.Apply(t.Context(), "more.toml", []byte(clientNamed(name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"gone", "secretive", "declared", "everywhere"} {
		manifest := fmt.Sprintf("[[users]]\nusername = %q\npassword = \"demo-password\"\n", name)
		if _, err := j.server.Apply(t.Context(), "more.toml", []byte(manifest)); err != nil {
			t.Fatal(err)
		}
	}
	public, admin := j.server.Handler(), j.server.Admin()
	newest := func() (sid string) {
		status, text := asked(admin, http.MethodGet, "/admin/v1/sessions?user=demo", nil)
		var page struct {
			Sessions []struct {
				SID string `json:"sid"`
			} `json:"sessions"`
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil || status != http.StatusOK || len(page.Sessions) == 0 {
			t.Fatalf("the sessions: %d %s", status, text)
		}
		return page.Sessions[0].SID
	}
	phone, operated := j.tokens(t, "phone"), ""
	j.tokens(t, "operated")
	operated = newest()
	// A client with an overlap, so that the second time is the same sign-in.
	patient := strings.Replace(clientNamed("patient"), "overlap = \"1ms\"\nlate = \"0s\"\n", "", 1)
	if _, err := j.server.Apply(t.Context(), "more.toml", []byte(patient)); err != nil {
		t.Fatal(err)
	}
	replacing := signInForm("replaced")
	replacing.Set("client_id", "patient")
	if status, text := asked(public, http.MethodPost, "/oauth2/token", replacing); status != http.StatusOK {
		t.Fatalf("signing in: %d %s", status, text)
	}
	replacing.Set("attempt_id", "one")
	kid := func() string {
		_, text := asked(admin, http.MethodGet, "/admin/v1/keys", nil)
		var page struct {
			Keys []struct {
				KID   string `json:"kid"`
				State string `json:"state"`
			} `json:"keys"`
		}
		if err := json.Unmarshal([]byte(text), &page); err != nil {
			t.Fatal(err)
		}
		for _, k := range page.Keys {
			if k.KID != "" && k.State == "current" {
				return k.KID
			}
		}
		t.Fatalf("no key in %s", text)
		return ""
	}()
	for _, act := range []struct {
		name    string
		handler http.Handler
		method  string
		path    string
		body    any
		kind    feed.Kind
		// then is the answer when the journal has it; 0 is 200.
		then int
	}{
		{"sign-out", public, http.MethodPost, "/oauth2/revoke", url.Values{"client_id": {"crash"}, "token": {phone["refresh_token"]}}, feed.Session, 0},
		{"an operator's end", admin, http.MethodPost, "/admin/v1/sessions/" + operated + "/end", nil, feed.Session, 0},
		{"a sign-in that replaces", public, http.MethodPost, "/oauth2/token", replacing, feed.Session, 0},
		{"everywhere", admin, http.MethodPost, "/admin/v1/users/everywhere/sign-out", nil, feed.Subject, 0},
		{"disabled", admin, http.MethodPost, "/admin/v1/users/gone/disable", nil, feed.Subject, 0},
		{"a password", admin, http.MethodPost, "/admin/v1/users/secretive/password", map[string]any{"password": "another-password-1"}, feed.Subject, 0},
		{"a declared password", admin, http.MethodPost, "/admin/v1/apply", "[[users]]\nusername = \"declared\"\npassword = \"another-password-2\"\n", feed.Subject, 0},
		{"a declared stop of a user", admin, http.MethodPost, "/admin/v1/apply", "[[users]]\nusername = \"declared\"\ndisabled = true\n", feed.Subject, 0},
		{"a client's stop", admin, http.MethodPost, "/admin/v1/clients/stopped/disable", nil, feed.Client, 0},
		{"a client put as stopped", admin, http.MethodPut, "/admin/v1/clients/put", map[string]any{"type": "public", "first_party": true, "grants": []string{"password", "refresh_token"}, "disabled": true}, feed.Client, 0},
		{"a declared stop of a client", admin, http.MethodPost, "/admin/v1/apply", clientNamed("declared") + "disabled = true\n", feed.Client, 0},
		{"a client's end", admin, http.MethodDelete, "/admin/v1/clients/deleted", nil, feed.Client, http.StatusNotFound},
		{"a compromised key", admin, http.MethodPost, "/admin/v1/keys/drop", map[string]any{"key": kid}, feed.Key, http.StatusNotFound},
	} {
		t.Run(act.name, func(t *testing.T) {
			before := j.has(t, act.kind)
			j.fail(t)
			for i := range 3 {
				status, text := asked(act.handler, act.method, act.path, act.body)
				if status != http.StatusServiceUnavailable {
					t.Errorf("time %d: %d %s", i+1, status, text)
				}
				// As the house-keeper does every few seconds; it fails with the journal.
				_ = j.server.Clients.Reload(t.Context())
				_ = j.server.Keys.Tick(t.Context(), time.Now())
			}
			j.mend(t)
			status, text := asked(act.handler, act.method, act.path, act.body)
			if want := max(act.then, http.StatusOK); status != want {
				t.Errorf("with the journal: %d %s, want %d", status, text, want)
			}
			if j.has(t, act.kind) <= before {
				t.Error("it was acknowledged, and the journal does not have it")
			}
		})
	}
}

// TestWhatAJournalTells is the figures and the gate while a journal works, fails and
// works again.
func TestWhatAJournalTells(t *testing.T) {
	j := newJournaled(t)
	figure := func(name string) (f float64) {
		_, text := asked(j.server.Metrics(), http.MethodGet, "/metrics", nil)
		for line := range strings.Lines(text) {
			if value, ok := strings.CutPrefix(line, "holdfast_journal_"+name+" "); ok {
				if _, err := fmt.Sscan(value, &f); err != nil {
					t.Fatal(err)
				}
				return f
			}
		}
		t.Fatalf("no figure %s in %s", name, text)
		return 0
	}
	tells := func(when string, entries, failed, owed float64, ready string) {
		t.Helper()
		if e, f, o := figure("entries_total"), figure("failed_total"), figure("unacknowledged"); e != entries || f != failed || o != owed {
			t.Errorf("%s: %v entries, %v failures, %v unacknowledged; want %v, %v, %v", when, e, f, o, entries, failed, owed)
		}
		if status, text := asked(j.server.Handler(), http.MethodGet, "/readyz", nil); status != http.StatusOK || !strings.Contains(text, ready) {
			t.Errorf("%s: %d %s, want %q", when, status, text, ready)
		}
		if b := figure("behind_seconds"); b < 0 {
			t.Errorf("%s: %v s behind", when, b)
		}
	}
	out := func(of map[string]string) {
		asked(j.server.Handler(), http.MethodPost, "/oauth2/revoke", url.Values{"client_id": {"crash"}, "token": {of["refresh_token"]}})
	}
	one, two := j.tokens(t, "one"), j.tokens(t, "two")
	out(one)
	tells("one end", 1, 0, 0, `"ok"`)
	j.fail(t)
	out(two)
	tells("an end that the journal lacks", 1, 1, 1, "journal")
	status, text := asked(j.server.Handler(), http.MethodPost, "/oauth2/token", refreshForm(j.tokens(t, "three")["refresh_token"]))
	if status != http.StatusOK {
		t.Errorf("a refresh while the journal fails: %d %s", status, text)
	}
	j.mend(t)
	if err := j.server.Tick(t.Context()); err != nil {
		t.Error(err)
	}
	tells("mended", 2, 1, 0, `"ok"`)
}
