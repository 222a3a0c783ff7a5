package session_test

import (
	"testing"
	"time"

	"holdfast.example/internal/fault"
	. "holdfast.example/internal/session"
)

func TestRow7AsksForAnotherTry(t *testing.T) {
	hour := time.Hour
	third := chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, hour))
	off := func(sc *scene) { sc.pol.Recovery = 0 }
	rule(t, []ruling{
		{name: "overtaken by the next use, at the edge", was: third, gen: 1, now: hour + late, want: tooLate()},
		{name: "a tick later it is reuse", was: third, gen: 1, now: hour + late + ms, want: reused(fault.Reuse), next: ended(hour+late+ms, fault.Reuse)},
		{name: "overtaken by seen, at the edge", was: seen(second(), overlap), gen: 1, now: overlap + late, want: tooLate()},
		{name: "overtaken by seen, a tick later", was: seen(second(), overlap), gen: 1, now: overlap + late + ms, want: reused(fault.Reuse),
			next: ended(overlap+late+ms, fault.Reuse)},
		{name: "by itself when there is no recovery, at the edge", was: second(), gen: 1, now: late, with: off, want: tooLate()},
		{name: "by itself, a tick later", was: second(), gen: 1, now: late + ms, with: off, want: reused(fault.Reuse), next: ended(late+ms, fault.Reuse)},
		{name: "seen does not count for an earlier use", was: seen(third, hour+overlap), gen: 1, now: hour + late + ms, want: reused(fault.Reuse),
			next: ended(hour+late+ms, fault.Reuse)},
		{name: "a window of 0 is off", was: third, gen: 1, now: hour + ms, with: func(sc *scene) { sc.pol.Late, sc.pol.Overlap = 0, 0 },
			want: reused(fault.Reuse), next: ended(hour+ms, fault.Reuse)},
		{name: "the oldest use that is remembered", gen: 1, now: 4*overlap + late, want: tooLate(),
			was: chain(7, 7, used(1, 1, 1, 0), used(2, 2, 2, 4*overlap), used(3, 3, 3, 5*overlap), used(4, 4, 4, 6*overlap),
				used(5, 5, 5, 7*overlap), used(6, 6, 6, 8*overlap))},
		{name: "a bound session waits as well", was: third, gen: 1, now: hour + late, want: tooLate(),
			with: func(sc *scene) { sc.s.Key, sc.p.Key = "key", "key" }},
	})
}

func TestRow8BoundSessionsForgive(t *testing.T) {
	bound := func(sc *scene) { sc.s.Key, sc.p.Key = "key", "key" }
	hour := time.Hour
	third := chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, hour))
	rule(t, []ruling{
		{name: "what would be reuse", was: third, gen: 1, now: 2 * hour, with: bound, want: repeated(8)},
		{name: "a token that no use stood for", was: third, gen: 0, now: 2 * hour, with: bound, want: repeated(8)},
		{name: "without a time limit", was: third, gen: 1, now: 10 * 365 * day, want: repeated(8),
			with: func(sc *scene) { bound(sc); sc.pol.Idle = 0 }},
		{name: "a token older than the idle limit", was: third, gen: 1, now: idle, want: repeated(8),
			with: func(sc *scene) { bound(sc); sc.p.IssuedAt = t0.Add(-idle) }},
		{name: "strict", was: second(), gen: 1, with: func(sc *scene) { bound(sc); sc.pol = balanced().Strict() }, want: repeated(8)},
		{name: "on reuse: hold", was: third, gen: 1, now: 2 * hour, with: func(sc *scene) { bound(sc); sc.pol.OnReuse = HoldOnReuse }, want: repeated(8)},
		{name: "an end is an end", was: third, gen: 1, now: 2 * hour, want: refused(2, fault.SignedOutElsewhere),
			with: func(sc *scene) { bound(sc); sc.s = sc.s.End(fault.SignedOutElsewhere, t0) }},
	})
}

func TestRow9EndsTheSession(t *testing.T) {
	hour := time.Hour
	third := chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, hour))
	void := chain(3, 3, used(1, 1, 1, hour)) // 2 was an answer that a late recovery made void
	strict := func(sc *scene) { sc.pol = balanced().Strict() }
	end := ended(2*hour, fault.Reuse)
	rule(t, []ruling{
		{name: "a spent token", was: third, gen: 1, now: 2 * hour, want: reused(fault.Reuse), next: end},
		{name: "on reuse: hold", was: third, gen: 1, now: 2 * hour, with: func(sc *scene) { sc.pol.OnReuse = HoldOnReuse },
			want: reused(fault.Held), next: ended(2*hour, fault.Held)},
		{name: "a void answer", was: void, gen: 2, now: 2 * hour, want: reused(fault.Reuse), next: end},
		{name: "a void answer, inside the overlap", was: void, gen: 2, now: hour, want: reused(fault.Reuse), next: ended(hour, fault.Reuse)},
		{name: "a use that is no longer remembered", was: chain(9, 9, used(8, 8, 8, hour)), gen: 3, now: hour, want: reused(fault.Reuse),
			next: ended(hour, fault.Reuse)},
		{name: "strict, in the same tick", was: second(), gen: 1, with: strict, want: reused(fault.Reuse), next: ended(0, fault.Reuse)},
		{name: "strict, later", was: second(), gen: 1, now: 2 * hour, with: strict, want: reused(fault.Reuse), next: end},
		{name: "strict, when the clock went back", was: second(), gen: 1, now: -5 * time.Second, with: strict, want: reused(fault.Reuse),
			next: ended(-5*time.Second, fault.Reuse)},
		{name: "a token as old as the idle limit", was: third, gen: 1, now: 2 * hour, want: reused(fault.Reuse), next: end,
			with: func(sc *scene) { sc.p.IssuedAt = sc.now.Add(-idle) }},
		{name: "an older one is only refused", was: third, gen: 1, now: 2 * hour, want: refused(9, fault.Superseded),
			with: func(sc *scene) { sc.p.IssuedAt = sc.now.Add(-idle - ms) }},
		{name: "under hold too", was: third, gen: 1, now: 2 * hour, want: refused(9, fault.Superseded),
			with: func(sc *scene) { sc.p.IssuedAt = sc.now.Add(-idle - ms); sc.pol.OnReuse = HoldOnReuse }},
		{name: "under strict too", was: second(), gen: 1, now: 2 * hour, want: refused(9, fault.Superseded),
			with: func(sc *scene) { strict(sc); sc.p.IssuedAt = sc.now.Add(-idle - ms) }},
		{name: "without an idle limit no token is too old", was: third, gen: 1, now: 2 * hour, want: reused(fault.Reuse), next: end,
			with: func(sc *scene) { sc.pol.Idle = 0; sc.p.IssuedAt = sc.now.Add(-10 * idle) }},
	})
}

// Ended absorbs: whatever is presented later, the first reason stays.
func TestEndedAbsorbs(t *testing.T) {
	for _, pol := range []Policy{balanced(), balanced().Strict(), never()} {
		s := phone()
		s.Chain = second()
		s = s.End(fault.Reuse, t0)
		for g := Generation(0); g < 6; g++ {
			for _, at := range []time.Duration{-time.Second, 0, overlap, late, idle, 10 * idle} {
				sc := scene{s: s, pol: pol, now: t0.Add(at), p: Presented{Client: "app", Generation: g, IssuedAt: t0, Genuine: true}}
				next, v := sc.refresh()
				if v != refused(2, fault.Reuse) || !same(next, s) {
					t.Fatalf("generation %d at %v: %+v", g, at, v)
				}
			}
		}
		if again := s.End(fault.SignedOut, t0.Add(day)); !same(again, s) {
			t.Errorf("a second end changed the first: %+v", again)
		}
	}
}

// A read that changes nothing must not look like one that does: a refusal and
// a late answer return the very session that was asked.
func TestAnswersHaveNames(t *testing.T) {
	want := []string{"refused", "repeated", "rotated", "recovered", "late", "reused"}
	for i, name := range want {
		if got := Answer(i).String(); got != name {
			t.Errorf("answer %d is called %q, want %q", i, got, name)
		}
	}
}
