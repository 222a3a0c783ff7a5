package sqlite

import (
	"errors"
	"sync/atomic"
	"testing"

	"modernc.org/sqlite/lib"

	"holdfast.example/internal/session"
)

func TestOneTransactionForAllWhoWait(t *testing.T) {
	db := openTest(t, Options{})
	g := newGate(db)
	before := db.Stats()
	var answered atomic.Int64
	var early, invisible atomic.Int64
	g.seen = func(p point) {
		early.Add(answered.Load())
		if p == afterCommit && db.Stats().LastBatch == 1 { // the batch of all, not the first
			if counted(t, db) != 20 {
				invisible.Add(1)
			}
		}
	}
	for i, err := range g.batch(t, 20, func(int) error {
		err := db.writer.write(t.Context(), bump)
		answered.Add(1)
		return err
	}) {
		if err != nil {
			t.Errorf("write %d: %v", i, err)
		}
	}
	after := db.Stats()
	if after.Batches-before.Batches != 2 || after.LastBatch != 20 || after.Ops-before.Ops != 21 {
		t.Errorf("20 writes that waited together: %+v, before %+v; want one batch of 20", after, before)
	}
	if early.Load() != 0 {
		t.Error("an answer left before its batch was durable")
	}
	if invisible.Load() != 0 || counted(t, db) != 20 {
		t.Error("a batch was answered before a reader could see it")
	}
}

func TestNoWaitingForCompany(t *testing.T) {
	db := openTest(t, Options{})
	for range 10 {
		if err := db.writer.write(t.Context(), bump); err != nil {
			t.Fatal(err)
		}
	}
	if s := db.Stats(); s.Batches != 10 || s.LastBatch != 1 || s.Commits != 10 {
		t.Errorf("ten writes one after the other: %+v, want ten batches of one", s)
	}
}

func TestFailedBatchFailsEveryWaiter(t *testing.T) {
	tests := map[string]struct {
		at      point
		err     error
		want    string
		applied bool
	}{
		"another process holds the lock": {beforeBegin, failing(sqlite3.SQLITE_BUSY), "not written", false},
		"the file cannot be opened":      {beforeBegin, failing(sqlite3.SQLITE_CANTOPEN), "not written", false},
		"the disk is full":               {beforeCommit, failing(sqlite3.SQLITE_FULL), "not written", false},
		"the log cannot be appended":     {beforeCommit, failing(sqlite3.SQLITE_IOERR_WRITE), "not written", false},
		"the file is read-only":          {beforeCommit, failing(sqlite3.SQLITE_READONLY), "not written", false},
		"fsync failed, not applied":      {beforeCommit, failing(sqlite3.SQLITE_IOERR_FSYNC), "unknown", false},
		"fsync failed, but applied":      {afterCommit, failing(sqlite3.SQLITE_IOERR_FSYNC), "unknown", true},
		"no code at all, but applied":    {afterCommit, errors.New("the connection broke"), "unknown", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db := openTest(t, Options{})
			g := newGate(db)
			g.failAt(tt.at, tt.err)
			for i, err := range g.batch(t, 5, func(int) error { return db.writer.write(t.Context(), bump) }) {
				if kindOf(err) != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("waiter %d: %s (%v), want %s", i, kindOf(err), err, tt.want)
				}
			}
			want := int64(0)
			if tt.applied {
				want = 5
			}
			if got := counted(t, db); got != want {
				t.Errorf("%d writes are there, want %d", got, want)
			}
			if err := db.Writable(t.Context()); err == nil {
				t.Error("Writable says yes although the last batch failed and still would")
			}
			want = counted(t, db) // a probe that is reported as failed may be applied as well
			g.failAt(tt.at, nil)
			if err := db.Writable(t.Context()); err != nil {
				t.Errorf("Writable after healing: %v", err)
			}
			if err := db.writer.write(t.Context(), bump); err != nil {
				t.Errorf("a write after healing: %v", err)
			}
			if got := counted(t, db); got != want+2 { // Writable wrote one of its own
				t.Errorf("%d writes are there after healing, want %d", got, want+2)
			}
		})
	}
}

func TestRefusalsAreAnsweredWithTheirBatch(t *testing.T) {
	db := openTest(t, Options{})
	g := newGate(db)
	no := errors.New("no")
	write := func(i int) error {
		return db.writer.write(t.Context(), func(c *conn) error {
			if i%2 == 0 {
				return refuse(no)
			}
			return bump(c)
		})
	}
	for i, err := range g.batch(t, 6, write) {
		if i%2 == 0 && !errors.Is(err, no) || i%2 == 1 && err != nil {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	if got := counted(t, db); got != 3 {
		t.Errorf("%d writes, want 3", got)
	}
	// A refusal rests on what the batch did before it; if that is lost, so is
	// the refusal's ground.
	g.failAt(beforeCommit, failing(sqlite3.SQLITE_IOERR_FSYNC))
	for i, err := range g.batch(t, 2, write) {
		if kindOf(err) != "unknown" {
			t.Errorf("operation %d of a failed batch: %v", i, err)
		}
	}
}

func TestGuiltyOperationFailsAlone(t *testing.T) {
	db := openTest(t, Options{})
	g := newGate(db)
	const guilty = 3
	for i, err := range g.batch(t, 8, func(i int) error {
		return db.writer.write(t.Context(), func(c *conn) error {
			if err := bump(c); err != nil {
				return err
			}
			if i == guilty { // after its first write
				_, err := c.run("INSERT INTO write_probe (one, count) VALUES (2, 0)")
				return err
			}
			return nil
		})
	}) {
		if (err != nil) != (i == guilty) {
			t.Errorf("operation %d: %v", i, err)
		}
		if i == guilty && kindOf(err) != "not written" {
			t.Errorf("the guilty one: %s", kindOf(err))
		}
	}
	if got := counted(t, db); got != 7 {
		t.Errorf("%d writes, want 7: every one but the guilty one's", got)
	}
}

// TestCommitThatFails lets SQLite itself refuse a COMMIT, which leaves the
// transaction open. The next batch must not find it.
func TestCommitThatFails(t *testing.T) {
	db := openTest(t, Options{})
	err := db.writer.write(t.Context(), func(c *conn) error {
		if _, err := c.run("PRAGMA defer_foreign_keys = 1"); err != nil {
			return err
		}
		if err := bump(c); err != nil {
			return err
		}
		_, err := c.run("INSERT INTO login (canonical, user) VALUES ('nobody', 4711)")
		return err
	})
	if kindOf(err) != "unknown" || extended(err) != sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY {
		t.Fatalf("got %v, want the commit to fail", err)
	}
	if err := db.writer.write(t.Context(), bump); err != nil {
		t.Errorf("the next batch: %v", err)
	}
	if got := counted(t, db); got != 1 {
		t.Errorf("%d writes, want only the second", got)
	}
}

// TestNothingIsRememberedOfARollback: the number of terms that were made in a
// transaction which did not happen must not be used.
func TestNothingIsRememberedOfARollback(t *testing.T) {
	db := openTest(t, Options{})
	s := household(t, db)
	g := newGate(db)
	next := s
	next.Version++
	next.Scope = "a scope nobody had before"
	g.failAt(beforeCommit, failing(sqlite3.SQLITE_FULL))
	if err := db.Sessions().Replace(t.Context(), session.Change{Next: next}); kindOf(err) != "not written" {
		t.Fatal(err)
	}
	g.failAt(beforeCommit, nil)
	if err := db.Sessions().Replace(t.Context(), session.Change{Next: next}); err != nil {
		t.Fatal(err)
	}
	l, err := db.Sessions().Load(t.Context(), s.ID)
	if err != nil || l.Session.Scope != next.Scope {
		t.Errorf("scope %q (%v)", l.Session.Scope, err)
	}
}
