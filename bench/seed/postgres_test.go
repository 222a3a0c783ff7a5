package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/store/postgres"
	"holdfast.example/internal/testsvc"
	"holdfast.example/internal/token"
)

// server syncs, because the store accepts no other.
var server = testsvc.Postgres{Sync: true}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// What is filled in by SQL is what the store reads, and the tokens are genuine.
func TestPostgres(t *testing.T) {
	const sessions, devices = 40, 10
	url, dir := server.Database(t, nil), t.TempDir()
	root := key.NewRoot()
	p := postgresPlan{plan: plan{client: "app", sessions: sessions, users: 7, refreshes: 6}, url: url,
		root: filepath.Join(dir, "root"), tokens: filepath.Join(dir, "tokens"), devices: sessions, rewrite: true, logins: true}
	if err := key.WriteRootFile(p.root, root); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(t.Context(), secret.New(url), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ring, err := key.Open(t.Context(), db.Keys(), root, key.Options{Algs: []string{"ES256", "RS256"}, LongestAccess: time.Hour, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.fill(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(p.tokens)
	lines := strings.Fields(string(text))
	if err != nil || len(lines) != sessions {
		t.Fatalf("%d tokens for %d sessions: %v", len(lines), sessions, err)
	}
	tokens := token.Refreshes{Keys: ring}
	for _, line := range lines[:devices] {
		r, err := tokens.Decode(secret.New(line))
		if err != nil {
			t.Fatal(err)
		}
		l, err := db.Sessions().Load(t.Context(), r.Session)
		if err != nil || !tokens.Genuine(r, l.Session.Secret) || r.Generation != uint32(l.Session.Chain.Newest) || l.Session.Version != 7 || len(l.Session.Chain.Uses) == 0 || l.Session.UsedAt.After(l.Now) {
			t.Errorf("%+v of generation %d, %v", l.Session, r.Generation, err)
		}
	}
}
