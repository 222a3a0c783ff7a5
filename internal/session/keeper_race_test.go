package session_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	. "holdfast.example/internal/session"
)

// together runs f at the same moment in n goroutines.
func together(n int, f func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { <-start; f(i) })
	}
	close(start)
	wg.Wait()
}

// standing lists the sessions of the user that are not ended.
func (k *kept) standing() []Loaded {
	k.Helper()
	const plenty = 1000
	all, err := k.db.Sessions().OfUser(k.Context(), k.owner.ID, plenty)
	if err != nil {
		k.Fatal(err)
	}
	return all
}

// TestOneInstallOneSession: many sign-ins of one install at the same moment, as
// of an app that repeats what was not answered, leave one session. With one
// attempt_id they are one sign-in and hold one token.
func TestOneInstallOneSession(t *testing.T) {
	const phones = 64
	k := keeping(t)
	turns, errs := make([]Turn, phones), make([]error, phones)
	together(phones, func(i int) {
		turns[i], errs[i] = k.Open(t.Context(), k.signsIn("install", "attempt", balanced()))
	})
	for i := range phones {
		if errs[i] != nil || !turns[i].Token.Equal(turns[0].Token) {
			t.Errorf("sign-in %d of one attempt: %v, same token %v", i, errs[i], turns[i].Token.Equal(turns[0].Token))
		}
	}
	if n := len(k.standing()); n != 1 {
		t.Errorf("one attempt left %d sessions", n)
	}
	// Sign-ins that know nothing of each other replace each other, one after the
	// other or not at all.
	done := make([]Turn, phones)
	together(phones, func(i int) {
		done[i], errs[i] = k.Open(t.Context(), k.signsIn("install", fmt.Sprint(i), balanced()))
	})
	stands := k.standing()
	if len(stands) != 1 {
		t.Fatalf("different attempts left %d sessions", len(stands))
	}
	served := 0
	for i := range phones {
		switch {
		case errs[i] == nil:
			served++
		case !repeatable(errs[i]):
			t.Errorf("sign-in %d: %v", i, errs[i])
		}
		if errs[i] == nil && done[i].Session.ID != stands[0].Session.ID && k.stored(done[i].Session.ID).EndReason != fault.Replaced {
			t.Errorf("sign-in %d lost and was not ended as replaced", i)
		}
	}
	if served == 0 {
		t.Error("nobody was served")
	}
}

// TestLostSignIn: a sign-in whose commit was not heard of is repeated with the
// same attempt_id and finds what it opened: no ghost device. What it replaced is
// ended once.
func TestLostSignIn(t *testing.T) {
	for _, w := range []way{lost, unheard, locked, crowded} {
		k := keeping(t)
		before, err := k.Open(t.Context(), k.signsIn("install", "first", balanced()))
		if err != nil {
			t.Fatal(err)
		}
		k.clock.move(time.Hour)
		in := k.signsIn("install", "second", balanced())
		k.disk.plan(works, works, w) // now, install, open
		_, err = k.Open(t.Context(), in)
		if !repeatable(err) {
			t.Errorf("%v: answered %v", w, err)
		}
		turn, err := k.Open(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if all := k.standing(); len(all) != 1 || all[0].Session.ID != turn.Session.ID {
			t.Errorf("%v: %d sessions stand", w, len(all))
		}
		if why := k.stored(before.Session.ID).EndReason; why != fault.Replaced {
			t.Errorf("%v: the session before is ended %q", w, why)
		}
		k.must(turn.Token, balanced())
	}
}

// TestRaceWithFailures: many present one token at the same moment while the
// store loses, hides and refuses writes. Every answer of a round carries the
// same token, everybody else is told to repeat, and nobody is signed out.
func TestRaceWithFailures(t *testing.T) {
	const phones, rounds = 32, 12
	k := keeping(t)
	held := k.opened(balanced())
	k.clock.move(2 * overlap)
	for round := range rounds {
		// Reads work, and every second or third write does not.
		var script []way
		for i := range phones {
			script = append(script, []way{works, lost, works, unheard, works, works}[(i+round)%6])
		}
		k.disk.plan(script...)
		turns, errs := make([]Turn, phones), make([]error, phones)
		together(phones, func(i int) { turns[i], errs[i] = k.present(held.Token, balanced()) })
		k.disk.plan()
		for i := range phones {
			switch {
			case errs[i] != nil && !repeatable(errs[i]):
				t.Errorf("round %d: answered %v", round, errs[i])
			case errs[i] == nil && turns[i].Session.Chain.Newest != Generation(round+2):
				t.Errorf("round %d: an answer carries generation %d", round, turns[i].Session.Chain.Newest)
			}
		}
		next := k.must(held.Token, balanced())
		if next.Session.Chain.Newest != Generation(round+2) {
			t.Fatalf("round %d: the retry carries generation %d", round, next.Session.Chain.Newest)
		}
		held = next
		k.clock.move(late + 2*overlap)
	}
	if n := k.ends(); n != 0 {
		t.Errorf("%d ends were observed", n)
	}
}

// TestEndAgainstRotations (REFRESH-15, INV-04): phones rotate as fast as they can
// while one ends the session. Once the end is acknowledged no token works, not
// even one that was issued at the same moment.
func TestEndAgainstRotations(t *testing.T) {
	const rounds = 40
	for range rounds {
		k := keeping(t)
		pol := balanced()
		pol.Overlap, pol.Late = time.Millisecond, 0
		first := k.opened(pol)
		var mu sync.Mutex
		issued := []Turn{first}
		together(4, func(i int) {
			if i == 0 {
				if err := k.End(t.Context(), first.Session.ID, fault.SignedOut); err != nil {
					t.Error(err)
				}
				return
			}
			held := first
			for range 8 {
				k.clock.move(2 * time.Millisecond)
				turn, err := k.present(held.Token, pol)
				if err != nil {
					return
				}
				held = turn
				mu.Lock()
				issued = append(issued, turn)
				mu.Unlock()
			}
		})
		for _, turn := range issued {
			if _, err := k.present(turn.Token, pol); !fault.Is(err, fault.InvalidGrant) {
				t.Fatalf("generation %d works after the end: %v", turn.Session.Chain.Newest, err)
			}
		}
	}
}
