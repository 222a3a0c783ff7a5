package sqlite

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// tamper runs a script on a database file that nobody has open.
func tamper(t *testing.T, path, script string) {
	t.Helper()
	c, err := dialer{path: path}.open(writing)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.script(script), c.close()); err != nil {
		t.Fatal(err)
	}
}

func TestSchemaRefused(t *testing.T) {
	for name, tt := range map[string]struct{ script, want string }{
		"newer":     {"INSERT INTO schema_migration VALUES (9001, '9001_future', 'x', 0)", "has schema 9001 (9001_future), this binary knows schemas up to"},
		"changed":   {"UPDATE schema_migration SET digest = 'x' WHERE version = 1", "0001_first in the database is not the one this binary carries"},
		"hole":      {"DELETE FROM schema_migration WHERE version = 1; INSERT INTO schema_migration VALUES (2, '0002_x', 'x', 0) ON CONFLICT DO NOTHING", "is not the one this binary carries"},
		"not ours":  {"PRAGMA application_id = 5", "not a Holdfast database"},
		"no record": {"PRAGMA application_id = 0", "not a Holdfast database"},
	} {
		t.Run(name, func(t *testing.T) {
			path := prepared(t)
			tamper(t, path, tt.script)
			db, err := Open(path, Options{Now: time.Now})
			if err == nil {
				_ = db.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want words about %q", err, tt.want)
			}
		})
	}
}

func TestForeignDatabaseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "theirs.db")
	tamper(t, path, "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
	if db, err := Open(path, Options{Now: time.Now}); err == nil {
		_ = db.Close()
		t.Fatal("a foreign database was opened")
	}
	c, err := dialer{path: path}.open(writing)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if n, err := c.number("SELECT count(*) FROM sqlite_schema"); err != nil || n != 1 {
		t.Errorf("it has %d tables now (%v)", n, err)
	}
}

func TestMigrationFiles(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	for name, files := range map[string]fstest.MapFS{
		"starts late": {"migrations/0002_x.sql": file("")},
		"hole":        {"migrations/0001_x.sql": file(""), "migrations/0003_x.sql": file("")},
		"no number":   {"migrations/first.sql": file("")},
		"twice":       {"migrations/0001_x.sql": file(""), "migrations/0001_y.sql": file("")},
	} {
		if all, err := migrations(files); err == nil {
			t.Errorf("%s: accepted %d", name, len(all))
		}
	}
	if _, err := migrations(migrationFiles); err != nil {
		t.Error(err)
	}
}

// TestMigrationIsResumed stops between steps and in the middle of one: what was
// finished stays, what was not leaves nothing, and the next start goes on.
func TestMigrationIsResumed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	known, err := migrations(migrationFiles)
	if err != nil {
		t.Fatal(err)
	}
	step := func(text string) migration {
		v := len(known) + 1
		return migration{version: v, name: fmt.Sprintf("%04d_step", v), text: text, digest: text}
	}
	c, err := dialer{path: path}.open(writing)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	run := func(known []migration) error {
		for {
			done, err := pending(c, known)
			if err != nil || done == len(known) {
				return err
			}
			if err := migrateOne(c, known, time.Now); err != nil {
				return err
			}
		}
	}
	if err := run(known); err != nil {
		t.Fatal(err)
	}
	broken := append(known, step("CREATE TABLE half (x); INSERT INTO nowhere VALUES (1)"))
	if err := run(broken); err == nil || !strings.Contains(err.Error(), "_step") {
		t.Errorf("a broken step: %v", err)
	}
	if n, err := c.number("SELECT count(*) FROM sqlite_schema WHERE name = 'half'"); err != nil || n != 0 {
		t.Errorf("half a step is there (%v)", err)
	}
	mended := append(known, step("CREATE TABLE whole (x)"))
	for range 2 {
		if err := run(mended); err != nil {
			t.Fatal(err)
		}
	}
	if done, err := pending(c, mended); err != nil || done != len(mended) {
		t.Errorf("%d steps done (%v)", done, err)
	}
}

// TestMigrateTogether: processes that start at once on a new file take turns.
func TestMigrateTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "holdfast.db")
	const many = 6
	dbs := make(chan *DB, many)
	errs := make(chan error, many)
	for range many {
		go func() {
			db, err := Open(path, Options{Now: time.Now, Readers: 1})
			dbs <- db
			errs <- err
		}()
	}
	for range many {
		if err := <-errs; err != nil {
			t.Error(err)
		}
		if db := <-dbs; db != nil {
			defer db.Close()
		}
	}
}
