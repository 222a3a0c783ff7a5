package sqlite

import (
	"context"
	"errors"
	"testing"
	"time"
)

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
	var err error
	eventually(t, "the writer begins in time", func() bool {
		err = db.writer.write(context.Background(), bump)
		return kindOf(err) != "busy" // a slow machine may not even begin
	})
	if kindOf(err) != "unknown" {
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
