package server_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to read the stolen copy

	"holdfast.example/internal/key"
	"holdfast.example/internal/server"
	"holdfast.example/internal/store/sqlite"
)

// life fills a house with everything it can hold: signed in, refreshed, lost,
// signed out, stolen, opaque, revoked.
func (a attack) life() []held {
	a.Helper()
	a.apply("[[clients]]\nid = \"sealed\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nscopes = [\"openid\", \"read\"]\naccess_format = \"opaque\"\n" +
		"[[clients]]\nid = \"web\"\ntype = \"confidential\"\nfirst_party = true\nsecret = \"the-secret-of-the-web-app\"\ngrants = [\"password\", \"refresh_token\"]\nscopes = [\"openid\", \"read\"]\n" +
		"[[users]]\nusername = \"alice\"\npassword = \"the-password-of-alice\"\n")
	var all []held
	for i, client := range []string{"demo-native", "demo-strict", "demo-edx", "sealed"} {
		h := a.signIn(client, "install_id", fmt.Sprint("install-", i), "attempt_id", fmt.Sprint("attempt-", i), "device_name", "phone")
		all = append(all, h)
		a.clock.advance(time.Hour)
		h = a.refreshed(h)
		all = append(all, h)
	}
	a.refreshed(all[7]) // an answer that was lost
	a.post("/oauth2/revoke", "client_id", "demo-edx", "token", all[5].Access)
	web := a.holds(a.post("/oauth2/token", "grant_type", "password", "client_id", "web", "client_secret", "the-secret-of-the-web-app", "username", "alice", "password", "the-password-of-alice"), "web")
	return append(all, web)
}

// stolen copies the database file with its WAL, as a thief of disks would.
func (a attack) stolen() string {
	a.Helper()
	dir := a.TempDir()
	for name, b := range a.files() {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			a.Fatal(err)
		}
	}
	return filepath.Join(dir, "holdfast.db")
}

// everything lists each value of each table of a stolen copy.
func everything(t *testing.T, path string) map[string]string {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var tables []string
	rows, err := db.Query("SELECT name FROM sqlite_schema WHERE type = 'table'")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		tables = append(tables, name)
	}
	rows.Close()
	values := map[string]string{}
	for _, table := range tables {
		rows, err := db.Query("SELECT * FROM " + table)
		if err != nil {
			t.Fatal(err)
		}
		columns, _ := rows.Columns()
		for rows.Next() {
			cells := make([]any, len(columns))
			for i := range cells {
				cells[i] = new(any)
			}
			if err := rows.Scan(cells...); err != nil {
				t.Fatal(err)
			}
			for i, c := range cells {
				switch v := (*c.(*any)).(type) {
				case string:
					values[v] = table + "." + columns[i]
				case []byte:
					values[string(v)] = table + "." + columns[i]
				}
			}
		}
		rows.Close()
	}
	return values
}

// TestDumpAndReplay (REST-01, REST-02, INV-08, CHAIN-11): nothing in the database
// works as a credential, in whatever spelling and at whatever endpoint.
func TestDumpAndReplay(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) { c.AttemptsPerAccount, c.AttemptsPerAddress = 1000, 100_000 })}
	a.life()
	for _, leak := range a.leaks() {
		t.Error(leak)
	}
	defer a.secrets.forget() // what is sent from here on is from the database
	values := everything(t, a.stolen())
	if len(values) < 100 {
		t.Fatalf("the copy holds %d values: the test looks at nothing", len(values))
	}
	try := func(where, token string) {
		for _, client := range []string{"demo-native", "sealed"} {
			if got := a.refresh(held{Refresh: token, client: client}); got.status == 200 {
				t.Errorf("%s works as a refresh token", where)
			}
		}
		if got := a.introspect(token); strings.HasPrefix(string(got.body), `{"active":true`) || got.status >= 401 {
			t.Errorf("%s works as an access token", where)
		}
		for _, client := range []string{"demo-service", "web"} {
			got := a.request("POST", "/oauth2/introspect", urlEncoded, "token=x", basic(client, token))
			if got.status == 200 {
				t.Errorf("%s works as the secret of %s", where, client)
			}
		}
	}
	hashes := 0
	for v, where := range values {
		spellings := []string{v, hex.EncodeToString([]byte(v)), base64.StdEncoding.EncodeToString([]byte(v)), b64.EncodeToString([]byte(v))}
		for _, s := range spellings[1:] {
			spellings = append(spellings, "hfr_"+s, "hfa_"+s)
		}
		for _, s := range spellings {
			if len(s) < 12 || len(s) > 20_000 || strings.ContainsAny(s, "\x00") {
				continue
			}
			a.clock.advance(5 * time.Millisecond) // under the limit on strangers
			try(where, s)
		}
		if parts := strings.Split(v, "$"); len(parts) > 2 && hashes < 12 { // pass the hash, whole and in parts
			for _, password := range append(parts, v) {
				if hashes++; len(password) > 8 && a.guess("demo", password).status == 200 {
					t.Errorf("%s works as a password", where)
				}
			}
		}
	}
}

// TestDumpWithoutRoot (REST-01, REST-03, INV-08): the copy, opened by a server of the
// thief's own with another root secret, does not even start.
func TestDumpWithoutRoot(t *testing.T) {
	a := attacks(t)
	a.life()
	db, err := sqlite.Open(a.stolen(), sqlite.Options{Now: a.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = server.New(context.Background(), a.config, server.Parts{Root: key.NewRoot(), Now: a.clock.Now,
		Stores: server.Stores{Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit()}})
	if err == nil {
		t.Error("a server with another root secret opened the stolen database")
	}
}

// TestRestart (INV-02): everything that was answered before a stop works after
// it, and what was ended stays ended.
func TestRestart(t *testing.T) {
	a := attacks(t)
	all := a.life()
	dead := a.signIn("demo-native")
	a.want(a.post("/oauth2/revoke", "client_id", "demo-native", "token", dead.Refresh), 200, "", "")
	if err := a.reopen(); err != nil {
		t.Fatal(err)
	}
	a.dead(dead.Access, "signed_out")
	a.want(a.refresh(dead), 400, "invalid_grant", "signed_out")
	for _, h := range []held{all[1], all[3], all[5], all[7]} {
		a.refreshed(h)
	}
	if got := a.request(http.MethodGet, "/oauth2/jwks", "", "", nil); !strings.Contains(string(got.body), kidOf(all[1].Access)) {
		t.Error("another key set after a restart")
	}
}

// TestFilesAreOurs (REST-05): the database and what stands beside it can be read
// by nobody else.
func TestFilesAreOurs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	db, err := sqlite.Open(filepath.Join(dir, "holdfast.db"), sqlite.Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(names) < 2 {
		t.Errorf("only %v: no WAL to look at", names)
	}
	for _, name := range append(names, dir) {
		i, err := os.Stat(name)
		if err != nil || i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v %v", name, i.Mode(), err)
		}
	}
	path := filepath.Join(dir, "admin.sock")
	l, err := server.ListenAdmin(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the admin socket has mode %v %v", i.Mode(), err)
	}
	for mode, bad := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o666: true} {
		file := filepath.Join(t.TempDir(), "root.secret")
		if err := key.WriteRootFile(file, key.NewRoot()); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := key.ReadRootFile(file); (err != nil) != bad {
			t.Errorf("a root secret of mode %v: %v", mode, err)
		}
	}
}
