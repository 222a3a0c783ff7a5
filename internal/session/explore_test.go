package session_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "holdfast.example/internal/session"
)

// The explorations walk every path of a small world, breadth first, so that the
// first counterexample is a shortest one. Time passes in ticks; the windows keep
// the order of the real ones: overlap < late < late + 2 overlap < recovery.
const (
	tick = 20 * time.Second

	ticksOverlap  = 1
	ticksLate     = 2
	ticksRecovery = 6
	ticksIdle     = 6
	// ageless is one tick older than any window asks about: older times are
	// all the same.
	ageless = ticksIdle + 1
	// maxDistance bounds how far below the newest generation a world looks.
	maxDistance = 4
	// noAge and noToken stand for what is not there.
	noAge   = -1
	noToken = 99
)

func small() Policy {
	return Policy{Rotate: true, Overlap: ticksOverlap * tick, Late: ticksLate * tick, Recovery: ticksRecovery * tick, Idle: ticksIdle * tick}
}

// slim is a session's chain with everything relative, so that worlds that
// behave alike are one: generations as a distance below the newest, times as an
// age in ticks.
type slim struct {
	first, seen, used, n int8
	uses                 [MaxUses]slimUse
}

type slimUse struct{ gen, low, high, age int8 }

// The newest generation and the time of every expanded session.
const base = 1000

var noon = t0.Add(10_000 * tick)

func fresh() slim { return slim{seen: noAge} }

func (r slim) expand() Session {
	s := phone()
	at := func(age int8) time.Time { return noon.Add(-time.Duration(age) * tick) }
	s.UsedAt = at(r.used)
	s.Chain = Chain{Newest: base, First: base - Generation(r.first), IssuedAt: s.UsedAt}
	if r.seen != noAge {
		s.Chain.Seen = at(r.seen)
	}
	for _, u := range r.uses[:r.n] {
		s.Chain.Uses = append(s.Chain.Uses, Use{Generation: base - Generation(u.gen), Low: base - Generation(u.low),
			High: base - Generation(u.high), At: at(u.age)})
	}
	return s
}

func shrink(s Session) slim {
	age := func(t time.Time) int8 { return int8(min(noon.Sub(t)/tick, ageless)) }
	below := func(g Generation) int8 { return int8(min(s.Chain.Newest-g, noToken)) }
	r := slim{first: below(s.Chain.First), seen: noAge, used: age(s.UsedAt), n: int8(len(s.Chain.Uses))}
	if !s.Chain.Seen.IsZero() {
		r.seen = age(s.Chain.Seen)
	}
	for i, u := range s.Chain.Uses {
		r.uses[i] = slimUse{below(u.Generation), below(u.Low), below(u.High), age(u.At)}
	}
	return r
}

// present shows the token that lies distance below the newest (negative: ahead)
// and returns the next row, by how much the newest grew, and the verdict.
func (r slim) present(distance int8, pol Policy) (next slim, grew int8, v Verdict, err error) {
	sc := scene{s: r.expand(), pol: pol, now: noon, st: Standing{UserEpoch: 3},
		p: Presented{Client: "app", Generation: Generation(base - int(distance)), IssuedAt: noon, Genuine: true}}
	s, v := sc.refresh()
	return shrink(s), int8(s.Chain.Newest - base), v, lawful(sc, s, v)
}

func (r *slim) tick() {
	older(&r.used)
	older(&r.seen)
	for i := range r.uses[:r.n] {
		older(&r.uses[i].age)
	}
}

func older(age *int8) {
	if *age != noAge && *age < ageless {
		*age++
	}
}

// found is what a world tells the explorer about one of its moves.
type found[W any] func(what string, next W, wrong error)

// explore visits every world that moves lead to, at most limit of them, and
// stops at the first wrong one with the way that led there.
func explore[W comparable](t *testing.T, start []W, limit int, moves func(W, found[W])) {
	t.Helper()
	type origin struct {
		from int
		what string
	}
	worlds := append([]W(nil), start...)
	origins := make([]origin, len(start), limit)
	known := make(map[W]bool, limit)
	for i := range start {
		origins[i].from = -1
		known[start[i]] = true
	}
	steps := 0
	for i := 0; i < len(worlds); i++ {
		moves(worlds[i], func(what string, next W, wrong error) {
			steps++
			if wrong != nil && !t.Failed() {
				way := []string{what}
				for j := i; origins[j].from >= 0; j = origins[j].from {
					way = append([]string{origins[j].what}, way...)
				}
				t.Errorf("%v\nshortest way:\n  %s\nfrom %+v", wrong, strings.Join(way, "\n  "), worlds[i])
			}
			if wrong == nil && len(worlds) < limit && !known[next] {
				known[next] = true
				worlds = append(worlds, next)
				origins = append(origins, origin{i, what})
			}
		})
		if t.Failed() {
			return
		}
	}
	all := "all there are"
	if len(worlds) == limit {
		all = "the limit"
	}
	t.Logf("%d worlds (%s), %d moves", len(worlds), all, steps)
}

// exploration is how many worlds a test visits: a normal run must stay short.
func exploration(normal int) int {
	if testing.Short() {
		return normal / 10
	}
	if worldDays() > 0 {
		return 50 * normal
	}
	return normal
}

// Whatever is presented in whatever order, the invariants of one decision hold
// (1, 5, 6, 7 and 8), for every profile, bound or not.
func TestExploreAnyBearer(t *testing.T) {
	short := Policy{Rotate: true, Overlap: tick, Late: 2 * tick, Recovery: 5 * tick, Idle: ticksIdle * tick}
	for name, pol := range map[string]Policy{"balanced": small(), "short": short, "strict": small().Strict(), "none": {Idle: ticksIdle * tick},
		"no recovery": {Rotate: true, Overlap: tick, Late: 2 * tick, Idle: ticksIdle * tick}} {
		t.Run(name, func(t *testing.T) {
			explore(t, []slim{fresh()}, exploration(20_000), func(w slim, tell found[slim]) {
				if w.first > maxDistance {
					return
				}
				next := w
				next.tick()
				tell("a tick passes", next, nil)
				for distance := int8(-2); distance <= maxDistance; distance++ {
					next, _, v, err := w.present(distance, pol)
					tell(fmt.Sprintf("token %d is shown: %v", -distance, v.Answer), next, err)
				}
			})
		})
	}
}
