package limit

import (
	"context"
	"errors"
	"testing"
	"time"
)

// weather is a twin that is away while down is set, and hangs while hung is.
type weather struct {
	*Memory
	down, hung bool
	asked      int
}

func (w *weather) Take(ctx context.Context, now time.Time, k Key, r Rate) (time.Duration, error) {
	if err := w.answer(ctx); err != nil {
		return 0, err
	}
	return w.Memory.Take(ctx, now, k, r)
}

func (w *weather) Give(ctx context.Context, now time.Time, k Key, r Rate) error {
	if err := w.answer(ctx); err != nil {
		return err
	}
	return w.Memory.Give(ctx, now, k, r)
}

func (w *weather) answer(ctx context.Context) error {
	w.asked++
	if w.hung {
		<-ctx.Done()
		return ctx.Err()
	}
	if w.down {
		return errors.New("gone")
	}
	return nil
}

// pass counts how many of n takes pass.
func pass(t *testing.T, c Counters, n int, now time.Time, k Key, r Rate) (passed int) {
	t.Helper()
	for range n {
		wait, err := c.Take(t.Context(), now, k, r)
		if err != nil {
			t.Fatal(err)
		}
		if wait == 0 {
			passed++
		}
	}
	return passed
}

// TestNodesThatAreCutOff (FAULT-14): without what they share, every node goes on
// with its own memory, which remembers what went through it before.
func TestNodesThatAreCutOff(t *testing.T) {
	both, r, k := &weather{Memory: NewMemory()}, Rate{10, time.Minute}, NewKey("k")
	one, two := &Fallback{Nodes: both, Own: NewMemory()}, &Fallback{Nodes: both, Own: NewMemory()}
	if a, b := pass(t, one, 3, noon, k, r), pass(t, two, 2, noon, k, r); a != 3 || b != 2 {
		t.Fatalf("%d and %d passed within the burst", a, b)
	}
	both.down = true
	if a, b := pass(t, one, 20, noon, k, r), pass(t, two, 20, noon, k, r); a != 7 || b != 8 {
		t.Errorf("cut off, %d and %d passed; the nodes had seen 3 and 2 of 10", a, b)
	}
	if one.Alone() != 20 || two.Alone() != 20 {
		t.Errorf("%d and %d were counted as taken alone", one.Alone(), two.Alone())
	}
	both.down = false
	later := noon.Add(Rest)
	if a, b := pass(t, one, 20, later, k, r), pass(t, two, 20, later, k, r); a+b != 5 {
		t.Errorf("together again, %d passed; 5 of 10 were left", a+b)
	}
	if one.Alone() != 20 {
		t.Error("counted alone although the answer was there")
	}
}

// TestOneQuestionAtATimeOfNeed: after a question that failed nobody waits for
// another one until Rest is over, whichever way the clock goes.
func TestOneQuestionAtATimeOfNeed(t *testing.T) {
	away, r, k := &weather{Memory: NewMemory(), down: true}, Rate{100, time.Minute}, NewKey("k")
	f := &Fallback{Nodes: away, Own: NewMemory()}
	pass(t, f, 50, noon, k, r)
	if away.asked != 1 {
		t.Errorf("%d questions were asked of what is gone", away.asked)
	}
	pass(t, f, 1, noon.Add(Rest-1), k, r)
	pass(t, f, 1, noon.Add(Rest), k, r)
	pass(t, f, 1, noon.Add(-time.Hour), k, r)
	if away.asked != 3 {
		t.Errorf("%d questions, want one in each Rest", away.asked)
	}
}

// TestACallerThatLeaves is no sign that the store is gone, and is told so.
func TestACallerThatLeaves(t *testing.T) {
	hung, r, k := &weather{Memory: NewMemory(), hung: true}, Rate{100, time.Minute}, NewKey("k")
	f := &Fallback{Nodes: hung, Own: NewMemory()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Take(ctx, noon, k, r); err == nil {
		t.Error("counted for a caller that is gone")
	}
	hung.hung = false
	if wait, err := f.Take(t.Context(), noon, k, r); wait != 0 || err != nil || hung.asked != 2 || f.Alone() != 0 {
		t.Errorf("the next caller: %v %v, asked %d times, %d alone", wait, err, hung.asked, f.Alone())
	}
	hung.hung = true // now the store is what does not answer
	if wait, err := f.Take(t.Context(), noon, k, r); wait != 0 || err != nil || f.Alone() != 1 {
		t.Errorf("a store that hangs: %v %v, %d alone", wait, err, f.Alone())
	}
	if err := f.Give(t.Context(), noon, k, r); err != nil || hung.asked != 3 {
		t.Errorf("giving back while it rests: %v, asked %d times", err, hung.asked)
	}
}
