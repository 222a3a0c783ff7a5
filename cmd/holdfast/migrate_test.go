package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/key"
	"holdfast.example/internal/testsvc"
)

// says runs a command in this process and gives its exit code and all it printed.
func says(t *testing.T, args ...string) (code int, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	var out strings.Builder
	code = run(ctx, args, terminal{strings.NewReader(""), &out, &out, nil})
	if ctx.Err() != nil {
		t.Fatalf("holdfast %s did not end:\n%s", strings.Join(args, " "), out.String())
	}
	return code, out.String()
}

// TestMigrateIsLeftToMigrate: with auto_migrate off the server does not start over a
// database that is behind, says what to run, and starts when that was run: by a role
// that may do more, where the database has roles.
func TestMigrateIsLeftToMigrate(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "holdfast.db")
		leftToMigrate(t, path, path, func() {})
	})
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts a database server; run without -short")
		}
		pg := &testsvc.Postgres{Sync: true}
		t.Cleanup(func() {
			if err := pg.Stop(); err != nil {
				t.Error(err)
			}
		})
		owner := pg.Home(t)
		u, err := url.Parse(owner)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.User("serving")
		pg.Run(t, "CREATE ROLE serving LOGIN")
		pg.Run(t, "GRANT USAGE ON SCHEMA public TO serving")
		pg.Run(t, "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO serving")
		leftToMigrate(t, u.String(), owner, func() {
			conn, err := pgx.Connect(t.Context(), u.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.WithoutCancel(t.Context()))
			if _, err := conn.Exec(t.Context(), "CREATE TABLE mine (x int)"); err == nil {
				t.Error("the serving role may change the schema")
			}
		})
	})
}

// leftToMigrate serves from a database that owner may migrate; served is called while
// the server runs.
func leftToMigrate(t *testing.T, database, owner string, served func()) {
	dir, listen := t.TempDir(), freePort(t)
	root, config := filepath.Join(dir, "root.secret"), filepath.Join(dir, "holdfast.toml")
	if err := key.WriteRootFile(root, key.NewRoot()); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("issuer = %q\nlisten = %q\ndata = %q\ndatabase = %q\nroot_secret_file = %q\nauto_migrate = false\n",
		"http://"+listen, listen, filepath.Join(dir, "data"), database, root)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, text := says(t, "serve", "--config", config); code == 0 || !strings.Contains(text, "run `holdfast migrate`") {
		t.Fatalf("serve ended with %d and says %s", code, text)
	}
	if code, text := says(t, "migrate", "--config", config, "--database", owner); code != 0 || !strings.Contains(text, "is at schema") {
		t.Fatalf("migrate ended with %d and says %s", code, text)
	}
	r := start(t, dir, listen, "serve", "--config", config)
	served()
	if err := r.stop(); err != nil {
		t.Errorf("it did not stop cleanly: %v\n%s", err, tail(filepath.Join(dir, "server.log")))
	}
}
