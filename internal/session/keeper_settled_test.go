package session_test

import (
	"context"
	"errors"
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	. "holdfast.example/internal/session"
)

// TestARepeatedSignInWaitsForWhatItReplaced: the first answer was lost, or was a 503
// because the end of the replaced session could not be acknowledged. The second one
// says that it is over, so it is held back until that can be said, by whichever name
// the session is found and whichever node is asked.
func TestARepeatedSignInWaitsForWhatItReplaced(t *testing.T) {
	for name, which := range map[string]id.Session{"found by its install": {}, "found by its id": id.NewSession()} {
		t.Run(name, func(t *testing.T) {
			k := keeping(t)
			if _, err := k.Open(t.Context(), k.signsIn("phone", "first", balanced())); err != nil {
				t.Fatal(err)
			}
			again := k.signsIn("phone", "second", balanced())
			again.ID = which
			opened, err := k.Open(t.Context(), again)
			if err != nil {
				t.Fatal(err)
			}
			asked, full := 0, errors.New("the disk is full")
			k.Settled = func(context.Context) error { asked++; return full }
			if _, err := k.Open(t.Context(), again); !fault.Is(err, fault.Unavailable) {
				t.Errorf("answered %v while the end could not be acknowledged", err)
			}
			full = nil
			if turn, err := k.Open(t.Context(), again); err != nil || turn.Answer != Repeated || turn.Session.ID != opened.Session.ID {
				t.Errorf("%+v, %v", turn, err)
			}
			if asked != 2 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}

// TestARepeatedSignInThatReplacedNothing waits for nobody.
func TestARepeatedSignInThatReplacedNothing(t *testing.T) {
	k := keeping(t)
	in := k.signsIn("", "only", balanced())
	in.ID = id.NewSession()
	k.Settled = func(context.Context) error { return errors.New("the disk is full") }
	for range 2 {
		if _, err := k.Open(t.Context(), in); err != nil {
			t.Error(err)
		}
	}
}
