package sqlite

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/client"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// require skips a test whose tool is missing, unless HOLDFAST_TEST_REQUIRE
// names it: then it fails, so that a machine that must run it cannot forget to.
func require(t *testing.T, tool string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if strings.Contains(os.Getenv("HOLDFAST_TEST_REQUIRE"), tool) {
		t.Fatalf("%s is required and cannot be used: %v", tool, err)
	}
	t.Skipf("%s cannot be used: %v", tool, err)
}

// household is a client, a user and one session in a database.
func household(t *testing.T, db *DB) session.Session {
	t.Helper()
	u := user.User{ID: id.NewUser(), Username: "anna", Epoch: 1, Version: 1}
	s := phone(u.ID)
	err := errors.Join(
		db.Clients().Put(t.Context(), client.Change{Next: client.Client{ID: s.Client, Version: 1}}),
		db.Users().Create(t.Context(), u, nil),
		db.Sessions().Open(t.Context(), session.Opening{Session: s}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fillDisk replaces a session by ever larger ones until the database will not
// take it, and returns the last one that was acknowledged.
func fillDisk(t *testing.T, db *DB, s session.Session) session.Session {
	t.Helper()
	const most = 4000
	for range most {
		next := s
		next.Version++
		next.Device.Name += strings.Repeat("grows ", 1000)
		err := db.Sessions().Replace(t.Context(), session.Change{Next: next})
		if err == nil {
			s = next
			continue
		}
		if kindOf(err) != "not written" {
			t.Fatalf("a full disk is reported as %s: %v", kindOf(err), err)
		}
		return s
	}
	t.Fatal("the disk never filled up")
	return s
}

// survives checks the time of fault and the time after it: what was
// acknowledged is there and can be read, and once the cause is mended writing
// works again without a restart.
func survives(t *testing.T, db *DB, s session.Session, mend func()) {
	t.Helper()
	check := func(when string, want session.Session) {
		t.Helper()
		l, err := db.Sessions().Load(t.Context(), want.ID)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if d := cmp.Diff(want, l.Session); d != "" {
			t.Errorf("%s:\n%.500s", when, d)
		}
	}
	check("while nothing can be written", s)
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	mend()
	if err := db.Writable(t.Context()); err != nil {
		t.Fatalf("Writable after mending: %v", err)
	}
	next := s
	next.Version++
	next.Device.Name += strings.Repeat("grows ", 1000)
	if err := db.Sessions().Replace(t.Context(), session.Change{Next: next}); err != nil {
		t.Fatalf("a write after mending: %v", err)
	}
	check("after mending", next)
	rep, err := db.Check(t.Context())
	if err != nil || len(rep.Problems) != 0 {
		t.Errorf("check after mending: %v %v", rep.Problems, err)
	}
}

func TestPageLimitReached(t *testing.T) {
	db := openTest(t, Options{})
	s := household(t, db)
	limit := func(pages int) {
		t.Helper()
		err := db.writer.write(t.Context(), func(c *conn) error {
			_, err := c.one("PRAGMA max_page_count="+strconv.Itoa(pages), nil, func(row) error { return nil })
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(60)
	s = fillDisk(t, db, s)
	if err := db.writer.write(t.Context(), bump); err != nil { // fits still
		t.Error(err)
	}
	fillDisk(t, db, s)
	survives(t, db, s, func() { limit(1 << 20) })
}

// TestReadOnly makes the log immutable under the open database, as a file system
// does that turns read-only after an error. The first failure comes from a
// write, the later ones from opening the log anew.
func TestReadOnly(t *testing.T) {
	db := openTest(t, Options{})
	s := household(t, db)
	chattr := func(flag string) error { return exec.Command("chattr", flag, db.path+"-wal").Run() }
	require(t, "chattr", chattr("+i"))
	t.Cleanup(func() { _ = chattr("-i") }) // so that the folder can be removed
	next := s
	next.Version++
	for range 3 {
		if err := db.Sessions().Replace(t.Context(), session.Change{Next: next}); kindOf(err) != "not written" {
			t.Errorf("got %v, want certainly not written", err)
		}
	}
	if err := db.Writable(t.Context()); kindOf(err) != "not written" {
		t.Errorf("Writable: %v", err)
	}
	survives(t, db, s, func() {
		if err := chattr("-i"); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFullDisk fills a real file system. The failure comes from the operating
// system in the middle of a commit.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	require(t, "tmpfs", syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m,mode=0700"))
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(filepath.Join(dir, "holdfast.db"), Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := fillDisk(t, db, household(t, db))
	// Nothing that anybody tries in the meantime may succeed by halves.
	for range 20 {
		next := s
		next.Version++
		next.Device.Name += strings.Repeat("grows ", 1000)
		if err := db.Sessions().Replace(t.Context(), session.Change{Next: next}); kindOf(err) != "not written" {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	survives(t, db, s, func() {
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	})
}

// TestAnotherProcessWrites: a lock that does not go away in time is certainly
// not written, and nothing is wrong once it has gone.
func TestAnotherProcessWrites(t *testing.T) {
	db := openTest(t, Options{})
	other, err := dialer{path: db.path}.open(writing)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	err = db.writer.write(context.Background(), func(c *conn) error { _, err := c.run("PRAGMA busy_timeout=1"); return err })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.run("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if err := db.writer.write(t.Context(), bump); kindOf(err) != "not written" {
		t.Errorf("got %v, want certainly not written", err)
	}
	if _, err := other.run("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := db.writer.write(t.Context(), bump); err != nil || counted(t, db) != 1 {
		t.Errorf("afterwards: %v, %d writes", err, counted(t, db))
	}
}
