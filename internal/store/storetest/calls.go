package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdfast.example/internal/idem"
)

// exerciseCalls: a call is reserved once, however many ask, until it is released
// or forgotten.
func exerciseCalls(t *testing.T, open func(*testing.T) Bundle) {
	w := begin(t, open)
	if w.Calls == nil {
		t.Skip("this store keeps no calls")
	}
	first := idem.Record{Call: [32]byte{1}, At: day, Sealed: []byte("body")}
	reserve := func(r idem.Record, notBefore time.Time) (idem.Record, bool) {
		t.Helper()
		standing, reserved, err := w.Calls.Reserve(w.ctx, r, notBefore)
		if err != nil {
			t.Fatal(err)
		}
		return standing, reserved
	}
	if _, reserved := reserve(first, day.Add(-time.Hour)); !reserved {
		t.Fatal("a new call was not reserved")
	}
	later := first
	later.At, later.Sealed = day.Add(time.Minute), []byte("other")
	if standing, reserved := reserve(later, day); reserved || !cmp.Equal(standing, first) {
		t.Errorf("reserved again (%v), or not told what stands: %+v", reserved, standing)
	}
	done := first
	done.Answered, done.Sealed = true, []byte("answer")
	if err := w.Calls.Complete(w.ctx, done); err != nil {
		t.Fatal(err)
	}
	if err := w.Calls.Release(w.ctx, first.Call); err != nil {
		t.Fatal(err)
	}
	if standing, reserved := reserve(later, day); reserved || !cmp.Equal(standing, done) {
		t.Errorf("an answer did not stay: %v %+v", reserved, standing)
	}
	if _, reserved := reserve(later, day.Add(time.Second)); !reserved {
		t.Error("a record that is too old still stands")
	}
	if err := w.Calls.Release(w.ctx, first.Call); err != nil {
		t.Fatal(err)
	}
	if _, reserved := reserve(first, day); !reserved {
		t.Error("a released call cannot be made")
	}

	const racers = 8
	won := 0
	taken := make([]bool, racers)
	for _, err := range every(racers, func(i int) error {
		_, reserved, err := w.Calls.Reserve(w.ctx, idem.Record{Call: [32]byte{2}, At: day, Sealed: []byte{byte(i)}}, day)
		taken[i] = reserved
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	for _, reserved := range taken {
		if reserved {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d of %d reserved one call", won, racers)
	}

	if n, err := w.Calls.Forget(w.ctx, day, 10); err != nil || n != 0 {
		t.Errorf("forgot %d that were not due (%v)", n, err)
	}
	if n, err := w.Calls.Forget(w.ctx, day.Add(time.Second), 1); err != nil || n != 1 {
		t.Errorf("forgot %d, the limit is 1 (%v)", n, err)
	}
	if n, err := w.Calls.Forget(w.ctx, day.Add(time.Second), 10); err != nil || n != 1 {
		t.Errorf("forgot %d, 1 was left (%v)", n, err)
	}
}
