package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/store/storetest"
)

// uncarried are the tables that archives do not carry, and why.
var uncarried = map[string]string{
	"schema_migration": "the database that is filled has its own",
	"sqlite_sequence":  "SQLite's own; record_head carries what matters",
	"terms":            "sessions carry what they have in common",
	"idempotent":       "answers to calls of the last day",
	"write_probe":      "nothing is in it",
}

// renamed are the columns that archives call otherwise, or that follow from
// others.
var renamed = map[string][]string{
	"user":            {"ref"},
	"client":          {"ref"},
	"client_revision": {"one"},
	"key_roll":        {"one"},
	"audit":           {"actor_client"},
	"session":         {"key", "tail", "terms", "facts"},
}

// TestArchivesCarryEverything fails when a table or column is added that nobody
// told the archive about.
func TestArchivesCarryEverything(t *testing.T) {
	db := openTest(t, Options{})
	err := db.readers.read(t.Context(), func(c *conn) error {
		return c.each(t.Context(), `SELECT m.name, p.name FROM sqlite_schema m JOIN pragma_table_info(m.name) p WHERE m.type = 'table'`, nil, func(r row) error {
			table, column := r.text(0), r.text(1)
			if uncarried[table] != "" {
				return nil
			}
			at := archive.TableOf(table)
			if at == nil {
				t.Errorf("archives do not carry the table %s: add it to internal/archive (tables) with its statements here, or to uncarried with the reason", table)
				return nil
			}
			if !slices.Contains(at.Names(), column) && !slices.Contains(renamed[table], column) {
				t.Errorf("archives do not carry %s.%s", table, column)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copied moves a database file to a new one and gives the new one's path.
func copied(t *testing.T, from string) string {
	t.Helper()
	src, err := OpenSnapshot(from, time.Now, false)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	path := filepath.Join(t.TempDir(), "copy.db")
	to, err := Fill(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	moved, err := archive.Move(t.Context(), src, to, nil)
	if err = errors.Join(err, to.Abort()); err != nil {
		t.Fatal(err)
	}
	was, err := archive.Sum(t.Context(), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := moved.Same(was); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCopyIsTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := Open(path, Options{Now: time.Now, Synchronous: Off, LoseAcknowledged: true})
	if err != nil {
		t.Fatal(err)
	}
	want := storetest.Furnish(t, bundle(db), 1)
	again, err := Open(copied(t, path), Options{Now: time.Now, Synchronous: Off, LoseAcknowledged: true})
	if err != nil {
		t.Fatal(err)
	}
	want.Holds(t, bundle(again))
	if err := errors.Join(db.Close(), again.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestSoleRefusesCompanyAndRetires(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	open := func() (*DB, error) {
		return Open(path, Options{Now: time.Now, Synchronous: Off, LoseAcknowledged: true})
	}
	db, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSnapshot(path, time.Now, true); !errors.Is(err, archive.ErrHeld) {
		t.Fatalf("a file that is open was taken alone: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSnapshot(path, time.Now, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSnapshot(path, time.Now, true); !errors.Is(err, archive.ErrHeld) {
		t.Fatalf("two had a file alone: %v", err)
	}
	if err := errors.Join(s.Retire(context.Background(), "elsewhere"), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "moved to elsewhere") {
		t.Fatalf("a file that was moved was opened: %v", err)
	}
}

// TestTwoFillings: whoever comes second leaves the file alone that the first fills.
func TestTwoFillings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	first, err := Fill(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := Fill(path, time.Now); !errors.Is(err, archive.ErrHeld) {
		t.Errorf("a file that is being filled was begun anew: %v", err)
		if second != nil {
			_ = second.Abort()
		}
	}
	if err := first.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+partSuffix, []byte("what a process left that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := Fill(path, time.Now)
	if err != nil {
		t.Fatalf("what a killed process left stands in the way: %v", err)
	}
	if err := third.Abort(); err != nil {
		t.Fatal(err)
	}
}
