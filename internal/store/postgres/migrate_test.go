package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/secret"
)

func secretOf(address string) secret.Text { return secret.New(address) }

// TestNodesThatStartTogether: all of them open, and every step ran once.
func TestNodesThatStartTogether(t *testing.T) {
	address := server.Database(t, nil)
	const nodes = 6
	opened := make(chan error, nodes)
	for range nodes {
		go func() {
			db, err := Open(t.Context(), secretOf(address), Options{LoseAcknowledged: true})
			if err == nil {
				err = db.Close()
			}
			opened <- err
		}()
	}
	for range nodes {
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}
}

// TestVersionsSideBySide (FAULT-08): a database that a newer version has migrated
// opens as long as the newer step says that it can, and not beyond.
func TestVersionsSideBySide(t *testing.T) {
	known, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	newest := len(known)
	for name, tt := range map[string]struct {
		text string
		want string
	}{
		"one step ahead, compatible":  {"INSERT INTO schema_migration VALUES (%d, 'next', 'x', %d, 0)", ""},
		"one step ahead, too far":     {"INSERT INTO schema_migration VALUES (%d, 'next', 'x', %d + 1, 0)", "newer version"},
		"a step of another build":     {"UPDATE schema_migration SET digest = 'x' WHERE version = 1", "another build"},
		"tables of somebody else":     {"DROP TABLE schema_migration", "not Holdfast's"},
		"a column that was added":     {"ALTER TABLE session ADD COLUMN later text", ""},
		"a table that was added":      {"CREATE TABLE later (id bigint)", ""},
		"a default that newer expect": {"ALTER TABLE audit ADD COLUMN later text NOT NULL DEFAULT ''", ""},
	} {
		t.Run(name, func(t *testing.T) {
			address := newDatabase(t)
			admin(t, address, strings.NewReplacer("%d, 'next'", itoa(newest+1)+", 'next'", "%d", itoa(newest)).Replace(tt.text))
			db, err := Open(t.Context(), secretOf(address), Options{LoseAcknowledged: true})
			if err == nil {
				signIn(t, db)
				err = db.Close()
			}
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func itoa(n int) string { return string(rune('0' + n)) }

// TestAStepThatFails leaves the database as it was.
func TestAStepThatFails(t *testing.T) {
	address := server.Database(t, nil)
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	broken, err := migrations(fstest.MapFS{"migrations/0001_a.sql": {Data: []byte("-- compatible-with: 1\nCREATE TABLE a (x int); CREATE TABLE b (x nonsense);")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := migrateTo(t.Context(), conn, broken); err == nil || !strings.Contains(err.Error(), "0001_a") {
		t.Errorf("got %v", err)
	}
	var tables int
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace").Scan(&tables)
	if err != nil || tables != 0 {
		t.Errorf("%d tables and indexes are left (%v)", tables, err)
	}
}

func TestStepsAreNumberedAndSayHowFarTheyReach(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"a number left out":  {"migrations/0002_a.sql": {Data: []byte("-- compatible-with: 1\n")}},
		"no first line":      {"migrations/0001_a.sql": {Data: []byte("CREATE TABLE a (x int);")}},
		"beyond itself":      {"migrations/0001_a.sql": {Data: []byte("-- compatible-with: 2\n")}},
		"a number by itself": {"migrations/0001_a.sql": {Data: []byte("1\n")}},
	} {
		if _, err := migrations(files); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if known, err := migrations(migrationFiles); err != nil || len(known) == 0 {
		t.Error(err)
	}
}

// TestCheck finds nothing in a good database and says what is wrong in a bad one.
func TestCheck(t *testing.T) {
	address := newDatabase(t)
	db := openAt(t, address, Options{})
	_, s := signIn(t, db)
	server := func(problem string) bool { return strings.Contains(problem, "on the server") } // fsync is off in tests
	check := func() (problems []string) {
		t.Helper()
		rep, err := db.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if rep.Rows["session"] != 1 || rep.Rows["account"] != 1 || rep.Schema == 0 {
			t.Errorf("counted %+v", rep)
		}
		for _, p := range rep.Problems {
			if !server(p) {
				problems = append(problems, p)
			}
		}
		return problems
	}
	if found := check(); len(found) != 0 {
		t.Errorf("a good database has problems: %q", found)
	}
	admin(t, address, "UPDATE session SET chain = '\\x00'", "UPDATE session SET epoch = 9",
		"INSERT INTO revocation (position, written, kind, key, epoch, except_sid, reason, at, until) VALUES (99, 0, 'token', 'x', 0, '', '', 0, 0)")
	if found := check(); len(found) != 3 {
		t.Errorf("found %q, want three problems", found)
	}
	if _, err := db.Sessions().Load(t.Context(), s.ID); err == nil || errors.Is(err, context.Canceled) {
		t.Error("a session whose chain cannot be read was loaded")
	}
}
