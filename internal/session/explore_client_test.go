package session_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"holdfast.example/internal/fault"
	. "holdfast.example/internal/session"
)

// realm is a small world of one honest device: the row, the commits that the
// store can still lose, the token that the device has stored, and its calls.
// Generations are distances below the row's newest; the device may be ahead.
type realm struct {
	row   slim
	past  [2]commit // newest first
	held  int8
	calls [3]flight
}

// commit is an earlier row; its newest generation lay fell below today's.
type commit struct {
	row   slim
	fell  int8
	valid bool
}

// flight is one call: the token it sent, how long ago, whether it still waits
// and the answer that is on its way. Its request may be delivered any number of
// times until it is too late for that; not at all is a lost request. An answer
// that never arrives before the time-out is a lost one.
type flight struct {
	sent, age int8
	waits     bool
	answer    int8
}

var idleCall = flight{sent: noToken, age: noAge, answer: noToken}

// custom is what a device in this world does.
type custom struct {
	parallel bool // several calls may wait at once
	calls    int  // how many calls may be under way
	timeout  int8 // ticks
	losses   int  // how many commits the store may lose
}

func newRealm() realm {
	return realm{row: fresh(), calls: [3]flight{idleCall, idleCall, idleCall}}
}

// shift moves every distance when the row's newest generation moved by n.
func (w *realm) shift(n int8) {
	w.held += n
	for i := range w.calls {
		if c := &w.calls[i]; c.sent != noToken {
			c.sent += n
			if c.answer != noToken {
				c.answer += n
			}
		}
	}
}

// settle puts equal worlds into one form.
func (w realm) settle() realm {
	slices.SortFunc(w.calls[:], func(a, b flight) int {
		return slices.Compare([]int8{a.age, a.sent, a.answer, one(a.waits)}, []int8{b.age, b.sent, b.answer, one(b.waits)})
	})
	w.forget(&w.row, 0)
	for i := range w.past {
		if p := &w.past[i]; p.valid {
			w.forget(&p.row, p.fell)
		} else {
			*p = commit{}
		}
	}
	return w
}

// forget gives the oldest uses of a row one form when no token in the world
// lies at or below them: they count towards the six and nothing else.
func (w *realm) forget(r *slim, fell int8) {
	lowest := w.held
	for _, c := range w.calls {
		if c != idleCall {
			lowest = max(lowest, c.sent)
		}
	}
	for i := range r.uses[:max(r.n-1, 0)] {
		u := &r.uses[i]
		if u.high <= lowest-fell {
			return
		}
		*u = slimUse{90 - int8(i), 90 - int8(i), 90 - int8(i), ageless}
	}
}

func one(b bool) int8 {
	if b {
		return 1
	}
	return 0
}

func (w realm) moves(c custom, tell found[realm]) {
	if w.row.first > maxDistance || w.held > maxDistance {
		return
	}
	tell("a tick passes", w.tick(c), nil)
	if w.mayCall(c) {
		next := w
		next.calls[0] = flight{sent: w.held, age: 0, waits: true, answer: noToken}
		tell(fmt.Sprintf("a call sends %d", -w.held), next.settle(), nil)
	}
	for i, call := range w.calls {
		if call == idleCall {
			continue
		}
		w.deliver(c, i, tell)
		next := w
		next.calls[i].waits, next.calls[i].answer = false, noToken
		switch {
		case call.answer != noToken:
			stored := next
			stored.held = call.answer
			if c.parallel {
				stored.held = min(w.held, call.answer)
			}
			tell(fmt.Sprintf("answer %d is stored", -call.answer), stored.settle(), nil)
			fallthrough
		case call.waits && !c.parallel:
			tell("the app is killed", next.settle(), nil)
		case !call.waits:
			next.calls[i] = idleCall
			tell("nothing more comes of a call", next.settle(), nil)
		}
	}
	for n := range c.losses {
		if w.past[n].valid {
			tell(fmt.Sprintf("the store loses its last %d commits", n+1), w.lose(n), nil)
		}
	}
}

// mayCall: idle calls come first in a settled world.
func (w realm) mayCall(c custom) bool {
	busy, waiting := 0, 0
	for _, call := range w.calls {
		if call != idleCall {
			busy++
		}
		if call.waits {
			waiting++
		}
	}
	return busy < c.calls && (waiting == 0 || c.parallel)
}

// tick makes everything older. A request is delivered within late or never; an
// answer is awaited for the time-out.
func (w realm) tick(c custom) realm {
	w.row.tick()
	for i := range w.past {
		w.past[i].row.tick()
	}
	for i := range w.calls {
		call := &w.calls[i]
		older(&call.age)
		if call.age > c.timeout {
			call.waits, call.answer = false, noToken
		}
		if call.age > ticksLate {
			*call = idleCall
		}
	}
	return w.settle()
}

// deliver brings one request to the server.
func (w realm) deliver(c custom, i int, tell found[realm]) {
	call := w.calls[i]
	row, grew, v, err := w.row.present(call.sent, small())
	what := fmt.Sprintf("the server gets %d: %v by row %d", -call.sent, v.Answer, v.Row)
	switch {
	case err != nil:
	case v.Answer == Refused && v.Reason == fault.Idle:
		return // nobody came back in time: outside what is promised
	case v.Answer == Reused || v.Answer == Refused:
		err = errors.New("invariant 2 or 3: an honest device was signed out")
	case v.Answer == LateUse && call.sent == w.held:
		err = errors.New("an honest device holds a token that only earns 503")
	}
	next := w
	if row != w.row && c.losses > 0 {
		next.past = [2]commit{{w.row, grew, true}, w.past[0]}
		next.past[1].fell += grew
		next.past[1].valid = next.past[1].valid && c.losses > 1
	}
	next.row = row
	next.shift(grew)
	if call.waits {
		next.calls[i].answer = 0
		if v.Answer == LateUse {
			next.calls[i].waits, next.calls[i].answer = false, noToken
		}
	}
	tell(what, next.settle(), err)
}

// lose takes the row back to what it was n+1 commits ago.
func (w realm) lose(n int) realm {
	back := w.past[n]
	w.row = back.row
	w.shift(-back.fell)
	w.past = [2]commit{}
	return w.settle()
}

// Invariant 2: one call at a time, requests delivered within late, doubled,
// lost, the app killed, and a store that loses its last commits.
func TestExploreSingleFlight(t *testing.T) {
	for _, losses := range []int{0, 2} {
		t.Run(fmt.Sprintf("%d lost commits", losses), func(t *testing.T) {
			device := custom{calls: 2, timeout: ticksOverlap, losses: losses}
			explore(t, []realm{newRealm()}, exploration(60_000), func(w realm, tell found[realm]) { w.moves(device, tell) })
		})
	}
}

// Invariant 3: several calls at a time, a stored token that never goes
// backwards, and a store that loses nothing.
func TestExploreParallel(t *testing.T) {
	for calls := 2; calls <= 3; calls++ {
		t.Run(fmt.Sprintf("%d calls", calls), func(t *testing.T) {
			device := custom{parallel: true, calls: calls, timeout: ticksOverlap}
			explore(t, []realm{newRealm()}, exploration(100_000), func(w realm, tell found[realm]) { w.moves(device, tell) })
		})
	}
}
