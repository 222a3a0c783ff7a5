package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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
