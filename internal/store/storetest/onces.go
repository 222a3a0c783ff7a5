package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"holdfast.example/internal/once"
)

// exerciseOnce: of many who use one thing at the same moment one is the first, and
// it stays so until the thing is forgotten.
func exerciseOnce(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	now, err := w.Sessions.Now(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	soon := now.Add(time.Hour)
	spend := func(k once.Key, until time.Time) bool {
		t.Helper()
		first, err := w.Once.Spend(w.ctx, k, until)
		if err != nil {
			t.Fatal(err)
		}
		return first
	}
	if k := once.NewKey("jti", "a"); !spend(k, soon) || spend(k, soon) || spend(k, soon.Add(time.Hour)) {
		t.Error("a proof was spent twice, or never")
	}
	if !spend(once.NewKey("jti", "b"), soon) {
		t.Error("another proof counts as spent")
	}
	// Expired is not forgotten: a node whose clock is behind still believes it.
	if k := once.NewKey("jti", "old"); !spend(k, now.Add(-time.Hour)) || spend(k, soon) {
		t.Error("an expired proof was spent twice before it was forgotten")
	}
	if n := firsts(w, func() (bool, error) { return w.Once.Spend(w.ctx, once.NewKey("jti", "race"), soon) }); n != 1 {
		t.Errorf("one proof was spent %d times at the same moment", n)
	}

	code, value := once.NewKey("code", "c"), []byte("sealed")
	if _, err := w.Once.Take(w.ctx, code); !errors.Is(err, once.ErrUnknown) {
		t.Errorf("nothing was put: %v", err)
	}
	if err := w.Once.Put(w.ctx, code, value, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := w.Once.Put(w.ctx, code, []byte("other"), time.Hour); !errors.Is(err, once.ErrTaken) {
		t.Errorf("put twice: %v", err)
	}
	if spend(code, soon) {
		t.Error("a key that holds a value was spent")
	}
	first, err := w.Once.Take(w.ctx, code)
	if err != nil || !first.First || !slices.Equal(first.Sealed, value) || first.At.IsZero() {
		t.Errorf("took %+v (%v)", first, err)
	}
	for range 2 {
		again, err := w.Once.Take(w.ctx, code)
		if err != nil || again.First || !slices.Equal(again.Sealed, value) || !again.At.Equal(first.At) {
			t.Errorf("took again %+v (%v), first at %v", again, err, first.At)
		}
	}
	raced := once.NewKey("code", "race")
	if err := w.Once.Put(w.ctx, raced, value, time.Hour); err != nil {
		t.Fatal(err)
	}
	if n := firsts(w, func() (bool, error) { v, err := w.Once.Take(w.ctx, raced); return v.First, err }); n != 1 {
		t.Errorf("one value was taken %d times at the same moment", n)
	}
	if _, err := w.Once.Take(w.ctx, once.NewKey("jti", "a")); !errors.Is(err, once.ErrUnknown) {
		t.Errorf("a spent proof was taken as a value: %v", err)
	}
	expired := once.NewKey("code", "expired")
	if err := w.Once.Put(w.ctx, expired, value, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Once.Take(w.ctx, expired); !errors.Is(err, once.ErrUnknown) {
		t.Errorf("an expired value was taken: %v", err)
	}

	// Two are over by half an hour and more from now: old, and expired.
	if n, err := w.Once.Forget(w.ctx, now.Add(-2*time.Hour), 10); err != nil || n != 0 {
		t.Errorf("forgot %d that were not due (%v)", n, err)
	}
	if n, err := w.Once.Forget(w.ctx, now.Add(30*time.Minute), 1); err != nil || n != 1 {
		t.Errorf("forgot %d, the limit is 1 (%v)", n, err)
	}
	if n, err := w.Once.Forget(w.ctx, now.Add(30*time.Minute), 10); err != nil || n != 1 {
		t.Errorf("forgot %d, 1 was left (%v)", n, err)
	}
	if k := once.NewKey("jti", "old"); !spend(k, soon) {
		t.Error("what was forgotten is remembered")
	}
}

// firsts counts how many of many at the same moment are told that they are the
// first.
func firsts(w world, use func() (bool, error)) (n int) {
	w.Helper()
	const racers = 16
	told := make([]bool, racers)
	for _, err := range every(racers, func(i int) (err error) { told[i], err = use(); return err }) {
		if err != nil {
			w.Error(err)
		}
	}
	for _, first := range told {
		if first {
			n++
		}
	}
	return n
}
