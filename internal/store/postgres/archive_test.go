package postgres

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/store/sqlite"
	"holdfast.example/internal/store/storetest"
)

// uncarried are the tables that archives do not carry, and why.
var uncarried = map[string]string{
	"schema_migration": "the database that is filled has its own",
	"idempotent":       "answers to calls of the last day",
	"budget":           "attempts of the last minutes",
	"write_probe":      "nothing is in it",
}

// TestArchivesCarryEverything fails when a table or column is added that nobody
// told the archive about.
func TestArchivesCarryEverything(t *testing.T) {
	follows := map[string][]string{"key_roll": {"one"}, "record_head": {"one"}, "client_revision": {"one"}, "revocation": {"id", "written"}}
	conn, err := plainConn(t.Context(), secret.New(newDatabase(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	has := map[string][]string{}
	for _, table := range archive.Tables() {
		for _, c := range table.Columns {
			has[tableName(table)] = append(has[tableName(table)], columnName(c))
		}
	}
	rows, err := conn.Query(t.Context(), "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()")
	if err != nil {
		t.Fatal(err)
	}
	var table, column string
	seen := 0
	_, err = pgx.ForEachRow(rows, []any{&table, &column}, func() error {
		seen++
		switch {
		case uncarried[table] != "" || strings.HasPrefix(table, "session_"): // its partitions
		case has[table] == nil:
			t.Errorf("archives do not carry the table %s: add it to internal/archive (tables), or to uncarried with the reason", table)
			has[table] = []string{}
		case !slices.Contains(has[table], column) && !slices.Contains(follows[table], column):
			t.Errorf("archives do not carry %s.%s", table, column)
		}
		return nil
	})
	if err != nil || seen == 0 {
		t.Fatal(seen, err)
	}
}

// TestCopies moves furnished databases into each other, and through a file.
func TestCopies(t *testing.T) {
	for seed := range uint64(4) {
		first := newDatabase(t)
		db := openAt(t, first, Options{})
		want := storetest.Furnish(t, bundle(db, first), seed)
		file := filepath.Join(t.TempDir(), "x.db")
		toSQLite(t, first, file)
		second := newDatabase(t)
		throughFile(t, file, second)
		again := openAt(t, second, Options{})
		want.Holds(t, bundle(again, second))
	}
}

func toSQLite(t *testing.T, url, file string) {
	t.Helper()
	from, err := OpenSnapshot(t.Context(), secret.New(url), false)
	if err != nil {
		t.Fatal(err)
	}
	to, err := sqlite.Fill(file, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = archive.Move(t.Context(), from, to, nil)
	if err = errors.Join(err, to.Abort(), from.Close()); err != nil {
		t.Fatal(err)
	}
}

// throughFile backs up a SQLite file and restores it to PostgreSQL without a floor.
func throughFile(t *testing.T, file, url string) {
	t.Helper()
	from, err := sqlite.OpenSnapshot(file, time.Now, true)
	if err != nil {
		t.Fatal(err)
	}
	facts, err := from.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	sealed := archive.Sealed{Key: []byte("key"), Root: "root"}
	w, err := archive.NewWriter(&b, sealed, facts)
	if err != nil {
		t.Fatal(err)
	}
	_, err = archive.Backup(t.Context(), from, w, nil)
	if err = errors.Join(err, w.Close(), from.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := archive.NewReader(&b, sealed)
	if err != nil {
		t.Fatal(err)
	}
	to, err := Fill(t.Context(), secret.New(url), Options{LoseAcknowledged: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = archive.Restore(t.Context(), r, to, nil, nil)
	if err = errors.Join(err, to.Abort()); err != nil {
		t.Fatal(err)
	}
}

func TestFillRefusesWhatIsNotEmpty(t *testing.T) {
	url := newDatabase(t)
	storetest.Furnish(t, bundle(openAt(t, url, Options{}), url), 1)
	if _, err := Fill(t.Context(), secret.New(url), Options{LoseAcknowledged: true}); !errors.Is(err, archive.ErrNotEmpty) {
		t.Fatalf("a database with rows was filled: %v", err)
	}
}

func TestSoleRefusesServersAndRetires(t *testing.T) {
	url := newDatabase(t)
	db := openAt(t, url, Options{})
	if _, err := OpenSnapshot(t.Context(), secret.New(url), true); !errors.Is(err, archive.ErrHeld) {
		t.Fatalf("a database that a server is connected to was taken alone: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSnapshot(t.Context(), secret.New(url), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Retire(t.Context(), "elsewhere"), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), secret.New(url), Options{LoseAcknowledged: true})
	if err == nil || !strings.Contains(err.Error(), "moved to elsewhere") {
		t.Fatalf("a database that was moved was opened: %v", err)
	}
}

// TestAServerThatComesDuringAMove: it was started, or started again by a supervisor,
// after the look for servers, or calls itself otherwise. It must not go on with the
// rows that others now change elsewhere.
func TestAServerThatComesDuringAMove(t *testing.T) {
	url := newDatabase(t)
	before := openAt(t, url+"&application_name=other", Options{})
	_, signed := signIn(t, before)
	s, err := OpenSnapshot(t.Context(), secret.New(url), true)
	if err != nil {
		t.Fatal(err)
	}
	late := openAt(t, url, Options{})
	for _, db := range []*DB{before, late} {
		if _, err := db.Sessions().Load(t.Context(), signed.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Retire(t.Context(), "elsewhere"), s.Close()); err != nil {
		t.Fatal(err)
	}
	for name, db := range map[string]*DB{"of another name": before, "that came late": late} {
		if _, err := db.Sessions().Load(t.Context(), signed.ID); err == nil {
			t.Errorf("a server %s still reads what was moved", name)
		}
		if err := db.Sessions().Replace(t.Context(), session.Change{Next: rotated(signed)}); err == nil {
			t.Errorf("a server %s still writes what was moved", name)
		}
	}
}
