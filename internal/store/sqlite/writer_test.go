package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"modernc.org/sqlite/lib"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/session"
)

// gate holds the writer at the beginning of a batch until the test lets it go,
// so that a batch of a known size gathers, and lets it fail where it is told to.
type gate struct {
	w     *writer
	mu    sync.Mutex
	fail  map[point]error
	hold  chan struct{} // not nil: wait here before the next batch begins
	stays atomic.Bool   // the writer is waiting
	seen  func(point)
}

func newGate(db *DB) *gate {
	g := &gate{w: db.writer, fail: map[point]error{}}
	db.writer.hook = g.pass
	return g
}

func (g *gate) pass(p point) error {
	g.mu.Lock()
	hold, err, seen := g.hold, g.fail[p], g.seen
	g.mu.Unlock()
	if p == beforeBegin && hold != nil {
		g.stays.Store(true)
		<-hold
		g.stays.Store(false)
	}
	if seen != nil {
		seen(p)
	}
	return err
}

// failAt makes every batch fail at a point, until told otherwise.
func (g *gate) failAt(p point, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = map[point]error{p: err}
}

// close holds the writer at the beginning of a batch, with one refused write in
// its hands, until release is called.
func (g *gate) close(t *testing.T) (release func()) {
	t.Helper()
	hold, first := make(chan struct{}), make(chan error, 1)
	g.mu.Lock()
	g.hold = hold
	g.mu.Unlock()
	go func() {
		first <- g.w.write(context.Background(), func(*conn) error { return refuse(errors.New("keeps the writer busy")) })
	}()
	eventually(t, "the writer stands at the gate", g.stays.Load)
	return func() {
		g.mu.Lock()
		g.hold = nil
		g.mu.Unlock()
		close(hold)
		<-first
	}
}

// batch makes n writes wait for the same transaction and gives their errors.
// The first one is a batch of its own that keeps the writer busy meanwhile.
func (g *gate) batch(t *testing.T, n int, write func(i int) error) []error {
	t.Helper()
	release := g.close(t)
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = write(i) })
	}
	eventually(t, "all writes wait", func() bool { return len(g.w.queue) == n })
	release()
	all.Wait()
	return errs
}

// eventually waits for a state that must come; the limit is only there to end a
// broken test.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 60_000 {
		if is() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("it never came to this: %s", what)
}

// failing is an error with a code of SQLite's.
type failing int

func (f failing) Error() string { return fmt.Sprintf("made to fail with code %d", int(f)) }
func (f failing) Code() int     { return int(f) }

// bump counts up in a row nobody else uses.
func bump(c *conn) error {
	_, err := c.run("UPDATE write_probe SET count = count + 1")
	return err
}

func counted(t *testing.T, db *DB) (n int64) {
	t.Helper()
	err := db.readers.read(t.Context(), func(c *conn) (err error) {
		n, err = c.number("SELECT count FROM write_probe")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// kindOf tells the three outcomes of a write apart, as a caller does.
func kindOf(err error) string {
	switch {
	case err == nil:
		return "written"
	case fault.Is(err, fault.Busy):
		return "busy"
	case errors.Is(err, session.ErrReadOnly) && fault.Is(err, fault.Unavailable):
		return "not written"
	case fault.Is(err, fault.Unavailable):
		return "unknown"
	}
	return "another error: " + err.Error()
}

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

func TestCancelledOperations(t *testing.T) {
	db := openTest(t, Options{})
	g := newGate(db)
	hold := make(chan struct{})
	g.hold = hold
	begun := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { begun <- db.writer.write(ctx, bump) }()
	eventually(t, "the first write has begun", g.stays.Load)
	waits := make(chan error, 1)
	go func() { waits <- db.writer.write(ctx, bump) }()
	eventually(t, "the second waits", func() bool { return len(db.writer.queue) == 1 })
	cancel()
	if err := <-begun; kindOf(err) != "unknown" || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in the middle: %v, want an unknown outcome", err)
	}
	if err := <-waits; kindOf(err) != "unknown" || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled in the queue: %v, want no leave to go on without the write", err)
	}
	if err := db.writer.write(ctx, bump); kindOf(err) != "unknown" {
		t.Errorf("cancelled before: %v", err)
	}
	g.mu.Lock()
	g.hold = nil
	g.mu.Unlock()
	close(hold)
	if err := db.writer.write(t.Context(), bump); err != nil {
		t.Fatal(err)
	}
	if got := counted(t, db); got != 2 {
		t.Errorf("%d writes, want 2: the one that had begun and the last", got)
	}
}

func TestQueueIsBounded(t *testing.T) {
	db := openTest(t, Options{})
	g := newGate(db)
	release := g.close(t)
	db.writer.queueWait = 20 * time.Millisecond
	const callers = QueueDepth + 50
	errs := make(chan error, callers)
	for range callers {
		go func() { errs <- db.writer.write(context.Background(), bump) }()
	}
	for range callers { // the queue's and those beyond it alike
		if err := <-errs; kindOf(err) != "busy" {
			t.Fatalf("got %v, want busy", err)
		}
	}
	release()
	db.writer.queueWait = time.Minute // only this goroutine writes now
	if err := db.writer.write(t.Context(), bump); err != nil {
		t.Fatal(err)
	}
	if got := counted(t, db); got != 1 {
		t.Errorf("%d writes, want 1: who was told busy must never be written", got)
	}
}

func TestDiskThatDoesNotAnswer(t *testing.T) {
	db := openTest(t, Options{})
	g := newGate(db)
	db.writer.queueWait, db.writer.commitWait = 10*time.Millisecond, 10*time.Millisecond
	hold := make(chan struct{})
	g.hold = hold
	if err := db.writer.write(context.Background(), bump); kindOf(err) != "unknown" {
		t.Errorf("got %v, want an unknown outcome", err)
	}
	g.mu.Lock()
	g.hold = nil
	g.mu.Unlock()
	close(hold)
}

func TestCloseAnswersEverybody(t *testing.T) {
	db := openTest(t, Options{})
	g := newGate(db)
	release := g.close(t)
	const callers = 3 * MaxBatch
	errs := make(chan error, callers)
	for range callers {
		go func() { errs <- db.writer.write(context.Background(), bump) }()
	}
	eventually(t, "all writes wait", func() bool { return len(db.writer.queue) == callers })
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	<-db.writer.closing
	release()
	for range callers {
		if err := <-errs; err != nil {
			t.Errorf("who waited when Close was called was told: %v", err)
		}
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if err := db.writer.write(context.Background(), bump); kindOf(err) != "not written" || !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := db.Ping(context.Background()); !errors.Is(err, errClosed) {
		t.Errorf("read after Close: %v", err)
	}
	again, err := Open(db.path, Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := counted(t, again); got != callers {
		t.Errorf("%d writes are there, want %d", got, callers)
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
