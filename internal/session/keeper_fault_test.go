package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	. "holdfast.example/internal/session"
)

// TestCrashIsALostAnswer (CHAIN-10, INV-02, INV-03, INV-10): whatever happens to the
// calls of one refresh, the phone either has a token that works, or is told to
// repeat and then has one. Nothing is rotated twice for one request.
func TestCrashIsALostAnswer(t *testing.T) {
	for _, script := range scripts(3, works, lost, unheard, locked, crowded) {
		t.Run(fmt.Sprint(script), func(t *testing.T) {
			k := keeping(t)
			held := k.opened(balanced())
			k.clock.move(2 * overlap)
			k.disk.plan(script...)
			turn, err := k.present(held.Token, balanced())
			k.disk.plan()
			if got := k.stored(held.Session.ID); got.Chain.Newest > 2 || got.EndReason != "" {
				t.Fatalf("one request left generation %d, ended %q", got.Chain.Newest, got.EndReason)
			}
			switch {
			case err == nil:
				held = turn
			case !repeatable(err):
				t.Fatalf("answered %v, which a phone cannot repeat", err)
			default:
				k.clock.move(overlap / 2)
				held = k.must(held.Token, balanced())
			}
			for range 3 { // and life goes on
				k.clock.move(late + 2*overlap)
				held = k.must(held.Token, balanced())
			}
			if n := k.ends(); n != 0 {
				t.Errorf("%d ends were observed", n)
			}
		})
	}
}

// TestStrictKnowsItsOwnWrite: without any window, a rotation whose commit was
// not heard of is recognised by the keeper's mark and answered once. Only when
// the store stays away does the phone have to repeat, and then strict is strict.
func TestStrictKnowsItsOwnWrite(t *testing.T) {
	strict := balanced().Strict()
	for _, script := range scripts(3, works, lost, unheard) {
		t.Run(fmt.Sprint(script), func(t *testing.T) {
			k := keeping(t)
			held := k.opened(strict)
			k.disk.plan(script...)
			turn, err := k.present(held.Token, strict)
			k.disk.plan()
			was := k.stored(held.Session.ID)
			rotated := was.Chain.Newest == 2
			switch {
			case was.Chain.Newest > 2 || was.EndReason != "":
				t.Fatalf("one request left generation %d, ended %q", was.Chain.Newest, was.EndReason)
			case err == nil && (turn.Answer != Rotated || !rotated):
				t.Fatalf("answered %v at generation %d", turn.Answer, was.Chain.Newest)
			case err == nil:
				k.must(turn.Token, strict)
			case !repeatable(err):
				t.Fatalf("answered %v", err)
			case !rotated:
				k.must(held.Token, strict)
			default:
				_, err = k.present(held.Token, strict)
				if fault.As(err).Reason != fault.Reuse {
					t.Errorf("a second use was answered %v", err)
				}
			}
		})
	}
	// The keeper's own second look is enough for one bad moment.
	k := keeping(t)
	held := k.opened(strict)
	k.disk.plan(works, unheard)
	turn := k.must(held.Token, strict)
	if turn.Answer != Rotated || turn.Session.Chain.Newest != 2 {
		t.Errorf("answered %v, generation %d", turn.Answer, turn.Session.Chain.Newest)
	}
	if e := k.events[len(k.events)-1]; e.Verdict != (Verdict{Answer: Rotated, Row: 4}) || e.Tries != 2 {
		t.Errorf("observed %+v", e)
	}
}

// TestOwnWriteOutlivesNoEnd: the user was signed out everywhere between a rotation whose
// commit was not heard of and the look that finds it. The row is the keeper's own, and
// earns nothing any more.
func TestOwnWriteOutlivesNoEnd(t *testing.T) {
	for name, pol := range map[string]Policy{"balanced": balanced(), "strict": balanced().Strict()} {
		k := keeping(t)
		held := k.opened(pol)
		k.clock.move(2 * overlap)
		looks := 0
		k.disk.before = func(call string) {
			if call != "load" {
				return
			}
			if looks++; looks == 2 {
				other := &Keeper{Store: k.db.Sessions(), Tokens: k.Tokens, Names: k.Names, EntryLife: k.EntryLife}
				if err := other.EndAll(k.Context(), k.owner.ID, fault.Everywhere, id.Session{}); err != nil {
					t.Error(err)
				}
			}
		}
		k.disk.plan(works, unheard)
		_, err := k.present(held.Token, pol)
		if !fault.Is(err, fault.InvalidGrant) || fault.As(err).Reason != fault.Everywhere || looks != 2 {
			t.Errorf("%s: after %d looks a session that was ended everywhere answered %v", name, looks, err)
		}
	}
}

// TestReuseIsNeverForgotten: a spent token is either found out, durably, or the
// request is to be repeated and then found out. No failure makes tokens of it.
func TestReuseIsNeverForgotten(t *testing.T) {
	for _, script := range scripts(3, works, lost, unheard, locked) {
		t.Run(fmt.Sprint(script), func(t *testing.T) {
			k := keeping(t)
			spent := k.opened(balanced())
			held := spent
			for range 2 {
				k.clock.move(late + 2*overlap)
				held = k.must(held.Token, balanced())
			}
			k.clock.move(late + 2*overlap)
			k.ends()
			k.disk.plan(script...)
			_, err := k.present(spent.Token, balanced())
			k.disk.plan()
			ended := k.stored(spent.Session.ID).EndReason
			switch {
			case err == nil:
				t.Fatal("a spent token was answered with tokens")
			case fault.As(err).Reason == fault.Reuse:
				if ended != fault.Reuse || k.ends() != 1 {
					t.Errorf("called reuse, but the session is ended %q", ended)
				}
			case !repeatable(err):
				t.Errorf("answered %v", err)
			}
			for _, old := range []Turn{spent, held} {
				_, err := k.present(old.Token, balanced())
				if !fault.Is(err, fault.InvalidGrant) || fault.As(err).Reason != fault.Reuse {
					t.Errorf("afterwards answered %v", err)
				}
			}
		})
	}
}

// TestEndTellsTheTruth (REVOKE-03): an end that is acknowledged is in the store;
// any other is to be repeated, and can be.
func TestEndTellsTheTruth(t *testing.T) {
	for _, script := range scripts(3, works, lost, unheard, locked, crowded) {
		t.Run(fmt.Sprint(script), func(t *testing.T) {
			k := keeping(t)
			held := k.opened(balanced())
			k.disk.plan(script...)
			err := k.End(t.Context(), held.Session.ID, fault.SignedOut)
			k.disk.plan()
			if err == nil && k.stored(held.Session.ID).EndReason != fault.SignedOut {
				t.Error("acknowledged, but the session stands")
			}
			if err != nil && !repeatable(err) {
				t.Errorf("answered %v", err)
			}
			for range 2 {
				if err := k.End(t.Context(), held.Session.ID, fault.Operator); err != nil {
					t.Errorf("repeated: %v", err)
				}
			}
			_, err = k.present(held.Token, balanced())
			if !fault.Is(err, fault.InvalidGrant) {
				t.Errorf("an ended session answered %v", err)
			}
		})
	}
	for _, w := range []way{lost, unheard, locked, crowded} {
		k := keeping(t)
		held := k.opened(balanced())
		k.disk.plan(works, w)
		if err := k.EndAll(t.Context(), k.owner.ID, fault.Everywhere, held.Session.ID); !repeatable(err) {
			t.Errorf("%v: everywhere answered %v", w, err)
		}
		if err := k.EndAll(t.Context(), k.owner.ID, fault.Everywhere, k.opened2().Session.ID); err != nil {
			t.Errorf("%v: everywhere repeated: %v", w, err)
		}
		if _, err := k.present(held.Token, balanced()); !fault.Is(err, fault.InvalidGrant) {
			t.Errorf("%v: a session that was ended everywhere answered %v", w, err)
		}
	}
}

// opened2 is another phone of the same user, at the epoch that stands now.
func (k *kept) opened2() Turn {
	k.Helper()
	u, err := k.db.Users().ByID(k.Context(), k.owner.ID)
	if err != nil {
		k.Fatal(err)
	}
	k.owner = u
	return k.opened(balanced())
}

// TestEndWinsAgainstABusySession (REFRESH-15): somebody changes the row between
// each look and each write of the end, as a thief who rotates without a pause
// would by chance. The end comes through all the same.
func TestEndWinsAgainstABusySession(t *testing.T) {
	k := keeping(t)
	held := k.opened(balanced().Strict())
	rounds := 10
	k.disk.before = func(call string) {
		if call != "replace" || rounds == 0 {
			return
		}
		rounds--
		busy := &Keeper{Store: k.db.Sessions(), Tokens: k.Tokens, Names: k.Names}
		turn, err := busy.Refresh(k.Context(), held.Token, "app", under(balanced().Strict()))
		if err != nil {
			t.Error(err)
		}
		held = turn
	}
	if err := k.End(t.Context(), held.Session.ID, fault.SignedOut); err != nil {
		t.Fatal(err)
	}
	if rounds > 0 || k.stored(held.Session.ID).EndReason != fault.SignedOut {
		t.Errorf("%d rounds were left, ended %q", rounds, k.stored(held.Session.ID).EndReason)
	}
}

// TestReadOnly (FAULT-04): while the store cannot be written, a refresh answers
// with the token it was shown and changes nothing, whichever row would have
// decided; afterwards everything goes on from where it was.
func TestReadOnly(t *testing.T) {
	for _, w := range []way{locked, crowded} {
		k := keeping(t)
		first := k.opened(balanced())
		k.clock.move(2 * overlap)
		check := func(what string, shown Turn) {
			t.Helper()
			before := k.stored(shown.Session.ID)
			k.events = nil
			k.disk.plan(works, w)
			turn := k.must(shown.Token, balanced())
			if turn.Answer != Repeated || !turn.Token.Equal(shown.Token) || k.stored(shown.Session.ID).Version != before.Version {
				t.Errorf("%v, %s: answered %v", w, what, turn.Answer)
			}
			if len(k.events) != 1 || !k.events[0].Degraded {
				t.Errorf("%v, %s: observed %+v", w, what, k.events)
			}
		}
		check("a rotation", first)
		second := k.must(first.Token, balanced())
		check("a token that came back", second) // would note that it was seen
		k.clock.move(2 * overlap)
		check("a recovery", first)
		third := k.must(first.Token, balanced())
		k.clock.move(2 * overlap)
		k.must(third.Token, balanced())
	}
}

// TestGoneCallerIsNoReadOnlyStore: a store tells a caller who left that nothing
// was written. That says nothing about the store, and nobody is answered.
func TestGoneCallerIsNoReadOnlyStore(t *testing.T) {
	k := keeping(t)
	held := k.opened(balanced())
	k.clock.move(2 * overlap)
	ctx, leave := context.WithCancel(t.Context())
	k.disk.before = func(call string) {
		if call == "replace" {
			leave()
		}
	}
	k.events = nil
	_, err := k.Refresh(ctx, held.Token, "app", under(balanced()))
	if !repeatable(err) || len(k.events) != 0 {
		t.Errorf("answered %v, observed %+v", err, k.events)
	}
}

// TestRefusedTerms: what the caller may not have is refused before the token is
// spent, but never hides that a token is spent or not the caller's.
func TestRefusedTerms(t *testing.T) {
	k := keeping(t)
	tooWide := errors.New("too wide")
	refusing := func(Session) (Policy, error) { return balanced(), tooWide }
	first := k.opened(balanced())
	k.clock.move(2 * overlap)
	_, err := k.Refresh(t.Context(), first.Token, "app", refusing)
	if !errors.Is(err, tooWide) || k.stored(first.Session.ID).Version != 1 {
		t.Errorf("a live token was answered %v, version %d", err, k.stored(first.Session.ID).Version)
	}
	_, err = k.Refresh(t.Context(), first.Token, "other", refusing)
	if fault.As(err).Reason != fault.WrongClient {
		t.Errorf("a stranger was answered %v", err)
	}
	held := first
	for range 2 {
		held = k.must(held.Token, balanced())
		k.clock.move(late + 2*overlap)
	}
	_, err = k.Refresh(t.Context(), first.Token, "app", refusing)
	if fault.As(err).Reason != fault.Reuse || k.stored(first.Session.ID).EndReason != fault.Reuse {
		t.Errorf("a spent token was answered %v", err)
	}
}
