package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/store/storetest"
)

// roomy is a step that leaves room for the version before.
const roomy = `ALTER TABLE session ADD COLUMN later text NOT NULL DEFAULT 'x';
ALTER TABLE account ADD COLUMN later bigint;
ALTER TABLE audit ADD COLUMN later text NOT NULL DEFAULT '';
CREATE TABLE later (id uuid PRIMARY KEY, account uuid REFERENCES account (id));
CREATE INDEX later_account ON later (account);`

// nextVersion gives the steps of a program that is one schema ahead of this one.
func nextVersion(t *testing.T, compatible int, text string) []migration {
	t.Helper()
	known, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	return append(known, migration{len(known) + 1, fmt.Sprintf("%04d_next", len(known)+1), text, hex.EncodeToString(sum[:]), compatible})
}

// upgrade is what a newer program does when it starts.
func upgrade(t *testing.T, address string, steps []migration) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := migrateTo(t.Context(), conn, steps); err != nil {
		t.Fatal(err)
	}
}

// TestAnOlderProgramServesBesideANewerOne (FAULT-08): while this program serves, a
// newer one migrates. This one goes on with the connections and the statements it
// has, and starts anew beside the other. A step that leaves no room for it is refused
// in one sentence.
func TestAnOlderProgramServesBesideANewerOne(t *testing.T) {
	steps := nextVersion(t, 1, roomy)
	t.Run("while it serves", func(t *testing.T) {
		address := newDatabase(t)
		serving := openAt(t, address, Options{})
		_, s := signIn(t, serving)
		use := func(db *DB) {
			t.Helper()
			l, err := db.Sessions().Load(t.Context(), s.ID)
			if err == nil {
				s = rotated(l.Session)
				err = db.Sessions().Replace(t.Context(), session.Change{Next: s})
			}
			if err != nil {
				t.Error(err)
			}
		}
		use(serving)
		upgrade(t, address, steps)
		use(serving)
		for _, o := range []Options{{}, {KeepSchema: true}} {
			started := openAt(t, address, o)
			use(started)
			signIn(t, started)
		}
		use(serving)
	})
	t.Run("without room for it", func(t *testing.T) {
		address := newDatabase(t)
		upgrade(t, address, nextVersion(t, len(steps), "ALTER TABLE session DROP COLUMN scope"))
		for _, o := range []Options{{}, {KeepSchema: true}} {
			o.LoseAcknowledged = true
			db, err := Open(t.Context(), secretOf(address), o)
			if err == nil {
				db.Close()
			}
			if want := fmt.Sprintf("the database has schema %d", len(steps)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "run a newer version") {
				t.Errorf("got %v, want the sentence with %q", err, want)
			}
		}
	})
}

// TestWhoMayChangeTheSchema: with KeepSchema a schema that is behind is refused, and
// so is one whose role may not change it; both sentences name holdfast migrate.
func TestWhoMayChangeTheSchema(t *testing.T) {
	address := server.Database(t, nil)
	refused := func(address string, o Options) {
		t.Helper()
		o.LoseAcknowledged = true
		db, err := Open(t.Context(), secretOf(address), o)
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "`holdfast migrate`") {
			t.Errorf("got %v, want a sentence that names holdfast migrate", err)
		}
	}
	refused(address, Options{KeepSchema: true})
	refused(as(t, address, servingRole(t, address)), Options{})
	openAt(t, address, Options{})
	openAt(t, address, Options{KeepSchema: true})
}

// servingRole makes a role with the four rights docs/guide/operate.md says, on what
// there is and on what the owner adds later.
func servingRole(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	role := "serves_" + strings.TrimPrefix(u.Path, "/holdfast_test_")
	t.Cleanup(func() { // before the database is dropped
		ctx := context.WithoutCancel(t.Context())
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			_, err = conn.Exec(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role)
			err = errors.Join(err, conn.Close(ctx))
		}
		if err != nil {
			t.Error(err)
		}
	})
	admin(t, address, "CREATE ROLE "+role+" LOGIN",
		"GRANT USAGE ON SCHEMA public TO "+role,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "+role,
		"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "+role)
	return role
}

// as is the same database under another role.
func as(t *testing.T, address, role string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	return u.String()
}

// envWide runs the whole exercise where one round of calls is run otherwise.
const envWide = "HOLDFAST_STORE_WIDE"

// TestARoleThatMayOnlyReadAndWriteRowsServes, on a schema that a newer program has
// moved on.
func TestARoleThatMayOnlyReadAndWriteRowsServes(t *testing.T) {
	steps := nextVersion(t, 1, roomy)
	open := func(t *testing.T) (*DB, string) {
		address := newDatabase(t)
		limited := as(t, address, servingRole(t, address)) + "&pool_min_conns=0"
		upgrade(t, address, steps)
		return openAt(t, limited, Options{}), limited
	}
	if os.Getenv(envWide) != "" {
		storetest.Exercise(t, func(t *testing.T) storetest.Bundle { return bundle(open(t)) })
	}
	db, _ := open(t)
	if _, err := db.pool.Exec(t.Context(), "CREATE TABLE mine (x int)"); code(err) != insufficientPrivilege {
		t.Errorf("the role may change the schema: %v", err)
	}
	u, s := signIn(t, db)
	child := s
	child.ID, child.Parent = id.NewSession(), s.ID
	for _, call := range []struct {
		name string
		do   func() error
	}{
		{"open", func() error { return db.Sessions().Open(t.Context(), session.Opening{Session: child}) }},
		{"replace", func() error { return db.Sessions().Replace(t.Context(), ended(s)) }},
		{"load", func() error { _, err := db.Sessions().Load(t.Context(), s.ID); return err }},
		{"writable", func() error { db.stats.failing = true; return db.Writable(t.Context()) }},
		{"purge", func() error {
			_, err := db.Sessions().Purge(t.Context(), day.Add(-time.Hour), day.Add(-time.Hour), 10)
			return err
		}},
		{"record", func() error { _, err := db.Feed().Since(t.Context(), 0, 10); return err }},
		{"forget", func() error { _, err := db.Feed().Forget(t.Context(), day.Add(-time.Hour), 10); return err }},
		{"everywhere", func() error {
			_, err := db.Sessions().EndAll(t.Context(), session.Everywhere{User: u.ID, Reason: fault.Everywhere, EntryLife: time.Hour})
			return err
		}},
		{"check", func() error { _, err := db.Check(t.Context()); return err }},
	} {
		if err := call.do(); err != nil {
			t.Errorf("%s: %v", call.name, err)
		}
	}
}
