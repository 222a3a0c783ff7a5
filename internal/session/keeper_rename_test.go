package session_test

import (
	"fmt"
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	. "holdfast.example/internal/session"
)

// TestRenameTellsTheTruth: a name that is acknowledged is in the store; any
// other is to be repeated, and can be. The sign-in itself goes on in any case.
func TestRenameTellsTheTruth(t *testing.T) {
	for _, script := range scripts(3, works, lost, unheard, locked, crowded) {
		t.Run(fmt.Sprint(script), func(t *testing.T) {
			k := keeping(t)
			held := k.opened(balanced())
			k.disk.plan(script...)
			got, err := k.Rename(t.Context(), held.Session.ID, "kitchen", balanced())
			k.disk.plan()
			switch name := k.stored(held.Session.ID).Device.Name; {
			case err == nil && (name != "kitchen" || got.Device.Name != name):
				t.Errorf("acknowledged, but the name is %q", name)
			case err != nil && !repeatable(err):
				t.Errorf("answered %v", err)
			}
			_, err = k.Rename(t.Context(), held.Session.ID, "kitchen", balanced())
			if err != nil || k.stored(held.Session.ID).Device.Name != "kitchen" {
				t.Errorf("repeated: %v", err)
			}
			k.clock.move(2 * overlap)
			k.must(held.Token, balanced())
		})
	}
}

// TestRenameOverwritesNothing: what else happens to the row between the look and
// the write stays, and a row that never rests is to be tried again.
func TestRenameOverwritesNothing(t *testing.T) {
	k := keeping(t)
	strict := balanced().Strict()
	held := k.opened(strict)
	other := &Keeper{Store: k.db.Sessions(), Tokens: k.Tokens, Names: k.Names}
	rounds := 1
	k.disk.before = func(call string) {
		if call != "replace" || rounds == 0 {
			return
		}
		rounds--
		turn, err := other.Refresh(t.Context(), held.Token, "app", under(strict))
		if err != nil {
			t.Error(err)
		}
		held = turn
	}
	_, err := k.Rename(t.Context(), held.Session.ID, "kitchen", strict)
	s := k.stored(held.Session.ID)
	if err != nil || s.Device.Name != "kitchen" || s.Chain.Newest != 2 {
		t.Errorf("%v: %q at generation %d", err, s.Device.Name, s.Chain.Newest)
	}
	rounds = 100
	_, err = k.Rename(t.Context(), held.Session.ID, "cellar", strict)
	if !repeatable(err) || k.stored(held.Session.ID).Device.Name != "kitchen" {
		t.Errorf("a row that never rests: %v", err)
	}
}

// TestRefreshKnowsItsWriteUnderANewName: the phone's rotation was written and
// not heard of, and its owner renames it before the keeper looks again. The
// keeper must still know its own write, or strict would call it reuse.
func TestRefreshKnowsItsWriteUnderANewName(t *testing.T) {
	k := keeping(t)
	strict := balanced().Strict()
	held := k.opened(strict)
	other := &Keeper{Store: k.db.Sessions(), Tokens: k.Tokens, Names: k.Names}
	loads := 0
	k.disk.before = func(call string) {
		if call != "load" {
			return
		}
		loads++
		if loads == 2 {
			_, err := other.Rename(t.Context(), held.Session.ID, "kitchen", strict)
			if err != nil {
				t.Error(err)
			}
		}
	}
	k.disk.plan(works, unheard)
	turn := k.must(held.Token, strict)
	if s := k.stored(held.Session.ID); turn.Answer != Rotated || s.Device.Name != "kitchen" || s.EndReason != "" {
		t.Errorf("answered %v, named %q, ended %q", turn.Answer, s.Device.Name, s.EndReason)
	}
}

// TestSameSignInUnderANewName: a sign-in whose answer was lost is the same
// sign-in although the device was renamed meanwhile.
func TestSameSignInUnderANewName(t *testing.T) {
	k := keeping(t)
	in := k.signsIn("install", "tap", balanced())
	first, err := k.Open(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Rename(t.Context(), first.Session.ID, "kitchen", balanced())
	if err != nil {
		t.Fatal(err)
	}
	again, err := k.Open(t.Context(), in)
	if err != nil || again.Session.ID != first.Session.ID || again.Session.Device.Name != "kitchen" {
		t.Errorf("%v: %+v", err, again.Session)
	}
}

// TestNoNameForWhatIsOver: ended, silent for too long, or never there.
func TestNoNameForWhatIsOver(t *testing.T) {
	k := keeping(t)
	ended, idle := k.opened(balanced()), k.opened(balanced())
	err := k.End(t.Context(), ended.Session.ID, fault.SignedOut)
	if err != nil {
		t.Fatal(err)
	}
	k.clock.move(balanced().Idle + overlap)
	for _, which := range []id.Session{ended.Session.ID, idle.Session.ID, id.NewSession()} {
		_, err := k.Rename(t.Context(), which, "kitchen", balanced())
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%v", err)
		}
	}
	for _, turn := range []Turn{ended, idle} {
		if name := k.stored(turn.Session.ID).Device.Name; name != "phone" {
			t.Errorf("renamed to %q", name)
		}
	}
}
