package session_test

import (
	"errors"
	"fmt"
	"testing"

	. "holdfast.example/internal/session"
)

// theft is a small world of two parties who hold tokens of one session. Both go
// on refreshing, each time longer than overlap and late after the last request
// of either.
type theft struct {
	row          slim
	owner, thief int8 // the tokens they hold, below the newest
	quiet        int8 // ticks since the last request, at most quietEnough
	// both is set when both have used what was copied; from then on each has
	// one more turn.
	ownerUsed, thiefUsed bool
	ownerNext, thiefNext bool
}

const quietEnough = 2*ticksOverlap + ticksLate + 1

func (w theft) moves(pol Policy, tell found[theft]) {
	if w.quiet < quietEnough {
		next := w
		next.row.tick()
		next.quiet++
		tell("a tick passes", next, nil)
		return
	}
	w.turn(pol, "owner", w.owner, tell, func(next *theft, both bool, got bool) {
		next.ownerUsed, next.ownerNext = true, w.ownerNext || both
		if got {
			next.owner = 0
		}
	})
	w.turn(pol, "thief", w.thief, tell, func(next *theft, both bool, got bool) {
		next.thiefUsed, next.thiefNext = true, w.thiefNext || both
		if got {
			next.thief = 0
		}
	})
}

// turn lets one party refresh, and the owner's answer be lost.
func (w theft) turn(pol Policy, who string, token int8, tell found[theft], took func(next *theft, both, got bool)) {
	row, grew, v, err := w.row.present(token, pol)
	if v.Answer == Reused {
		tell(who+" is found out", theft{}, err)
		return
	}
	for _, got := range []bool{true, false} {
		if who == "thief" && !got {
			continue
		}
		next := w
		next.row, next.quiet = row, 0
		next.owner += grew
		next.thief += grew
		took(&next, w.ownerUsed && w.thiefUsed, got)
		wrong := err
		if wrong == nil && next.ownerNext && next.thiefNext {
			wrong = errors.New("invariant 4: both refreshed again and nobody was found out")
		}
		if next.owner > maxDistance || next.thief > maxDistance {
			continue
		}
		tell(fmt.Sprintf("the %s shows %d: %v by row %d (answer kept: %v)", who, -token, v.Answer, v.Row, got), next, wrong)
	}
}

// Invariant 4, from every state that an owner can be in when the copy is made.
func TestExploreTwoParties(t *testing.T) {
	pol := small()
	pol.Idle, pol.Recovery = 0, 1000*tick // the parties may rest as long as they like
	var start []theft
	for _, w := range ownersStates(pol) {
		for copied := int8(0); copied <= 3; copied++ {
			start = append(start, theft{row: w.row, owner: w.owner, thief: w.owner + copied, quiet: 0, ownerUsed: copied > 0})
		}
	}
	explore(t, start, exploration(60_000), func(w theft, tell found[theft]) { w.moves(pol, tell) })
}

// ownersStates lists a few honest pasts: right after sign-in, after rotations,
// after a lost answer that was recovered early or late.
func ownersStates(pol Policy) []theft {
	var states []theft
	for _, past := range [][]int8{{}, {9}, {9, 9}, {9, 9, 9}, {9, 9, 9, 9}, {9, -3}, {9, -9}, {9, 9, -3}, {9, 9, 9, -9}, {9, 9, 9, -3, 1}} {
		w := theft{row: fresh()}
		for _, wait := range past {
			lost := wait < 0
			for range max(wait, -wait) {
				w.row.tick()
			}
			row, grew, _, _ := w.row.present(w.owner, pol)
			w.row = row
			w.owner += grew
			if !lost {
				w.owner = 0
			}
		}
		states = append(states, w)
	}
	return states
}

// The stated limit (docs/reference/chain.md): a thief who always comes back
// within the overlap of the owner's refresh shares his answers and is not seen.
// So is one who always comes within late + overlap, on answers of his own. This
// test keeps the page honest: if the table learns to see them, it fails.
func TestTheStatedLimitOfBearerTokens(t *testing.T) {
	for name, after := range map[string]int8{"inside the overlap": 1, "after the overlap, within late": ticksOverlap + 1} {
		t.Run(name, func(t *testing.T) {
			row, owner, thief := fresh(), int8(0), int8(0)
			for round := range 100 {
				for range ageless {
					row.tick()
				}
				next, grew, v, err := row.present(owner, Policy{Rotate: true, Overlap: ticksOverlap * tick, Late: ticksLate * tick, Recovery: 1000 * tick})
				row, owner, thief = next, 0, thief+grew
				for range after {
					row.tick()
				}
				next, grew, w, errThief := row.present(thief, Policy{Rotate: true, Overlap: ticksOverlap * tick, Late: ticksLate * tick, Recovery: 1000 * tick})
				row, owner, thief = next, owner+grew, 0
				if err := errors.Join(err, errThief); err != nil || v.Answer == Reused || w.Answer == Reused {
					t.Fatalf("round %d: owner %+v, thief %+v, %v", round, v, w, err)
				}
			}
		})
	}
}
