package server_test

import (
	"crypto/sha1"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"holdfast.example/internal/server"
)

// breachedList writes a list of breached passwords.
func breachedList(t *testing.T, passwords ...string) (path string) {
	t.Helper()
	var lines []string
	for _, p := range passwords {
		lines = append(lines, fmt.Sprintf("%X:4\n", sha1.Sum([]byte(p))))
	}
	slices.Sort(lines)
	path = filepath.Join(t.TempDir(), "breached.txt")
	err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBreachedPasswordsAtTheDoors (LOGIN-11): every door that sets a password refuses
// one that is on the list, in words that tell a person what to do; nobody is signed
// out, and a sign-in with a listed password goes on.
func TestBreachedPasswordsAtTheDoors(t *testing.T) {
	path := breachedList(t, "demo-password", "trustno1", "12345678")
	a := attack{t, forTest(t, func(c *server.Config) { c.BreachedPasswords = path })}
	h := a.signIn("demo-native") // with a password that is listed
	refused := func(got answer) {
		a.Helper()
		a.problem(got, 400, "invalid_request")
		for _, word := range []string{"became known in a breach", "choose another one", "change it wherever else"} {
			if !strings.Contains(string(got.body), word) {
				a.Errorf("%q is missing in %s", word, got.body)
			}
		}
	}
	operate := func(path, body string) answer {
		a.Helper()
		got, err := a.operate("POST", path, strings.NewReader(body))
		if err != nil {
			a.Fatal(err)
		}
		return got
	}
	change := func(current, next string) answer {
		return a.ask("POST", "/account/v1/password", h.Access, `{"current_password":"`+current+`","new_password":"`+next+`"}`)
	}
	a.in("LOGIN-11 admin API", func(a attack) {
		refused(operate("/admin/v1/users", `{"username":"nora","password":"trustno1"}`))
		refused(operate("/admin/v1/users/demo/password", `{"password":"12345678"}`))
		if got := operate("/admin/v1/users", `{"username":"nora","password":"noras own words"}`); got.status != 201 {
			a.Errorf("a password that is on no list: %d %s", got.status, got.body)
		}
	})
	a.in("LOGIN-11 device API", func(a attack) {
		refused(change("demo-password", "trustno1"))
		refused(change("guess", "trustno1")) // and it is no failed attempt
		if got := change("demo-password", "trustno1-no-longer"); got.status != 204 {
			a.Errorf("a password that is on no list: %d %s", got.status, got.body)
		}
	})
	h = a.refreshed(h)
	if events := a.ask("GET", "/account/v1/events", h.Access, ""); strings.Contains(string(events.body), "password_change_refused") {
		a.Errorf("a refused new password is told as a failed attempt: %s", events.body)
	}
	if log := a.log.String(); strings.Contains(log, "trustno1") || strings.Contains(strings.ToUpper(log), fmt.Sprintf("%X", sha1.Sum([]byte("trustno1")))) {
		a.Error("the log tells the password")
	}
}

// TestBreachedManifest (LOGIN-11): a manifest's password is its author's own word; it
// is applied, with a warning, again and again.
func TestBreachedManifest(t *testing.T) {
	path := breachedList(t, "trustno1")
	a := attack{t, forTest(t, func(c *server.Config) { c.BreachedPasswords = path })}
	const manifest = "[[users]]\nusername = \"nora\"\npassword = \"trustno1\"\n[[users]]\nusername = \"olaf\"\npassword = \"olafs own words\"\n[[users]]\nusername = \"none\"\n"
	apply := func(want string) {
		a.Helper()
		got, err := a.operate("POST", "/admin/v1/apply?file=rows.toml", strings.NewReader(manifest))
		if err != nil || got.status != 200 || strings.Count(string(got.body), "rows.toml:") != 1 || !strings.Contains(string(got.body), want) {
			a.Errorf("%d %s %v", got.status, got.body, err)
		}
	}
	apply("rows.toml:1: user nora: the password became known in a breach")
	apply("rows.toml:1: user nora: the password became known in a breach")
	if got := a.guess("nora", "trustno1"); got.status != 200 {
		a.Errorf("the declared password: %d %s", got.status, got.body)
	}
	err := os.Remove(path)
	if err != nil {
		a.Fatal(err)
	}
	apply("the list of breached passwords cannot be read, so that no password was compared with it")
}

// TestBreachedListVanishes (LOGIN-11): while the list is gone, new passwords are
// answered with 503 and everything else goes on; a list that is put back is asked
// without a restart.
func TestBreachedListVanishes(t *testing.T) {
	path := breachedList(t, "trustno1")
	a := attack{t, forTest(t, func(c *server.Config) { c.BreachedPasswords = path })}
	aside := path + ".aside"
	rename := func(from, to string) {
		a.Helper()
		err := os.Rename(from, to)
		if err != nil {
			a.Fatal(err)
		}
	}
	rename(path, aside)
	h := a.refreshed(a.signIn("demo-native"))
	header := bearer(h.Access)
	got, err := a.send("POST", "/account/v1/password", "application/json", strings.NewReader(`{"current_password":"demo-password","new_password":"another password"}`), header)
	if err != nil {
		a.Fatal(err)
	}
	a.problem(got, 503, "unavailable")
	if got.header.Get("Retry-After") == "" || strings.Contains(string(got.body), path) {
		a.Errorf("%v %s", got.header, got.body)
	}
	if !strings.Contains(a.log.String(), "the list of breached passwords cannot be read") {
		a.Error("the log does not say why")
	}
	check, err := a.operate("GET", "/admin/v1/check", nil)
	if err != nil || check.status != 500 || !strings.Contains(string(check.body), "the list of breached passwords cannot be read") {
		a.Errorf("the check says %d %s %v", check.status, check.body, err)
	}
	rename(aside, path)
	a.operator("GET", "/admin/v1/check", "")
	a.problem(a.ask("POST", "/account/v1/password", h.Access, `{"current_password":"demo-password","new_password":"trustno1"}`), 400, "invalid_request")
	if got := a.ask("POST", "/account/v1/password", h.Access, `{"current_password":"demo-password","new_password":"another password"}`); got.status != 204 {
		a.Errorf("%d %s", got.status, got.body)
	}
}

// TestBreachedRule (LOGIN-11): a list that is named and is none refuses the start,
// with the mend; whoever only wants to reach the server is warned.
func TestBreachedRule(t *testing.T) {
	good := breachedList(t, "trustno1", "12345678")
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for _, c := range []struct{ name, text, want string }{
		{"a list", string(text), ""},
		{"empty", "", "the list of breached passwords is empty; put the whole download of SHA-1 hashes there, as one file"},
		{"passwords", "trustno1\n", "is not a SHA-1 hash of 40 hexadecimal digits, alone or with a colon and a count (at byte 0); put the whole download"},
		{"unsorted", lines[1] + lines[0], "is not in ascending order of its hashes (at byte 43); take the download that is ordered by hash, or sort it: LC_ALL=C sort FILE"},
	} {
		path := filepath.Join(t.TempDir(), "list.txt")
		err := os.WriteFile(path, []byte(c.text), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		flags := map[string]string{"breached-passwords": path}
		_, _, err = server.Load(server.LoadOptions{Dev: true, Flags: flags})
		if (err == nil) != (c.want == "") || err != nil && !(strings.Contains(err.Error(), c.want) && strings.Contains(err.Error(), "--breached-passwords: breached_passwords = ") && strings.Contains(err.Error(), "[HF131]")) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		_, warnings, err := server.Load(server.LoadOptions{Dev: true, Flags: flags, Mending: true})
		if err != nil || !strings.Contains(warnings.Error(), c.want) {
			t.Errorf("%s, mending: %v %v", c.name, err, warnings)
		}
	}
	_, _, err = server.Load(server.LoadOptions{Dev: true, Flags: map[string]string{"breached-passwords": filepath.Join(t.TempDir(), "missing")}})
	if err == nil || !strings.Contains(err.Error(), "no such file") || !strings.Contains(err.Error(), "name a file that the server may read, or remove the line") {
		t.Errorf("missing: %v", err)
	}
}
