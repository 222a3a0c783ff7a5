package client_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/client"
)

// slow is a table whose looks wait until they may end.
type slow struct {
	*table
	looks atomic.Int64
	began chan struct{}
	end   chan struct{}
	down  atomic.Bool
}

func (s *slow) Revision(ctx context.Context) (uint64, error) {
	s.looks.Add(1)
	s.began <- struct{}{}
	<-s.end
	if s.down.Load() {
		return 0, errors.New("nobody answers")
	}
	return s.table.Revision(ctx)
}

// TestFresh: what another node did before the call is known after it, and those who
// ask together share one look that began after all of them.
func TestFresh(t *testing.T) {
	s := newTable()
	a := open(t, s)
	apply(t, a, phone())
	there := &slow{table: s, began: make(chan struct{}, 100), end: make(chan struct{}, 100)}
	there.end <- struct{}{}
	b := &client.Registry{Store: there}
	if err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-there.began

	// One look is under way when a client is stopped; what it will find is open.
	var first sync.WaitGroup
	first.Go(func() { _ = b.Fresh(t.Context()) })
	<-there.began
	if err := a.Disable(t.Context(), "phone"); err != nil {
		t.Fatal(err)
	}
	const callers = 40
	var all sync.WaitGroup
	var ready sync.WaitGroup
	ready.Add(callers)
	for range callers {
		all.Go(func() {
			ready.Done()
			if err := b.Fresh(t.Context()); err != nil {
				t.Error(err)
			}
			if c, _ := b.Get("phone"); !c.Disabled {
				t.Error("a stop that was acknowledged before the call is not known after it")
			}
		})
	}
	ready.Wait()
	for range callers + 1 {
		there.end <- struct{}{}
	}
	first.Wait()
	all.Wait()
	if n := there.looks.Load(); n >= callers {
		t.Errorf("%d callers made %d looks", callers, n-2)
	}
	there.down.Store(true)
	if err := b.Fresh(t.Context()); err == nil {
		t.Error("a look that failed is told as one that succeeded")
	}
}

// TestAgain: what another node registered is found by who fails, and those who fail
// all the time make the store work no more than the gap allows.
func TestAgain(t *testing.T) {
	s := newTable()
	a, b := open(t, s), open(t, s)
	now := opened
	b.Now = func() time.Time { return now }
	apply(t, a, phone())
	if !b.Again(t.Context()) {
		t.Fatal("the first failure makes no look")
	}
	if _, ok := b.Get("phone"); !ok {
		t.Error("a look did not find what the other node registered")
	}
	for range 100 {
		if b.Again(t.Context()) {
			t.Fatal("failures at one moment make several looks")
		}
	}
	now = now.Add(time.Second)
	if !b.Again(t.Context()) {
		t.Error("a later failure makes no look")
	}
	now = now.Add(-time.Hour)
	if !b.Again(t.Context()) {
		t.Error("a clock that went back stops all looks")
	}
}
