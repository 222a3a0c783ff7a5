package session_test

import (
	"testing"
	"time"

	"holdfast.example/internal/fault"
	. "holdfast.example/internal/session"
)

func TestRow3RepeatsTheNewest(t *testing.T) {
	early := chain(2, 4, used(1, 1, 1, 0)) // two early recoveries: 2, 3 and 4 are live
	rule(t, []ruling{
		{name: "in the same tick", was: second(), gen: 2, want: repeated(3), next: shown(0)},
		{name: "at the end of the overlap", was: second(), gen: 2, now: overlap, want: repeated(3), next: shown(overlap)},
		{name: "a tick later it is a new turn", was: second(), gen: 2, now: overlap + ms, want: rotated(0),
			next: moved(overlap+ms, chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, overlap+ms)))},
		{name: "the lowest live token earns the newest", was: early, gen: 2, now: overlap, want: repeated(3), next: shown(overlap)},
		{name: "so does one between", was: early, gen: 3, now: overlap, want: repeated(3), next: shown(overlap)},
		{name: "seen is the first time", was: seen(second(), 5*time.Second), gen: 2, now: overlap, want: repeated(3)},
		{name: "the clock went back", was: second(), gen: 2, now: -5 * time.Second, want: repeated(3), next: shown(-5 * time.Second)},
		{name: "the sign-in's own token has no use to repeat", gen: 1, want: rotated(0), next: moved(0, second())},
		{name: "an overlap of 0 is off in the same tick too", was: second(), gen: 2, want: rotated(0),
			with: func(sc *scene) { sc.pol.Overlap = 0 }, next: moved(0, chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, 0)))},
		{name: "only the last use counts", was: chain(3, 3, used(1, 1, 1, overlap), used(2, 2, 2, -ms)), gen: 3, now: overlap,
			want: rotated(0), next: moved(overlap, chain(4, 4, used(1, 1, 1, overlap), used(2, 2, 2, -ms), used(3, 3, 3, overlap)))},
	})
}

func TestRow3WithoutRotation(t *testing.T) {
	profile := func(sc *scene) { sc.pol = never(); sc.s.Key, sc.p.Key = "key", "key" }
	touched := func(at time.Duration) func(*Session) { return func(s *Session) { s.UsedAt = t0.Add(at) } }
	hundredth := idle / 100
	rule(t, []ruling{
		{name: "at sign-in", gen: 1, with: profile, want: repeated(3)},
		{name: "nothing is written for a hundredth of the idle limit", gen: 1, now: hundredth - ms, with: profile, want: repeated(3)},
		{name: "then the idle limit slides", gen: 1, now: hundredth, with: profile, want: repeated(3), next: touched(hundredth)},
		{name: "to the last millisecond", gen: 1, now: idle, with: profile, want: repeated(3), next: touched(idle)},
		{name: "not after it", gen: 1, now: idle + ms, with: profile, want: refused(2, fault.Idle)},
		{name: "any live token", was: chain(2, 3, used(1, 1, 1, 0)), gen: 2, now: time.Hour, with: profile, want: repeated(3)},
		{name: "a token spent before the profile changed, bound", was: second(), gen: 1, now: time.Hour, with: profile, want: repeated(8)},
		{name: "a token spent before the profile changed, unbound", was: second(), gen: 1, now: time.Hour,
			with: func(sc *scene) { sc.pol = never() }, want: reused(fault.Reuse), next: ended(time.Hour, fault.Reuse)},
		{name: "what the store lost is taken up again", was: second(), gen: 4, now: time.Hour, with: profile, want: rotated(2),
			next: moved(time.Hour, chain(5, 5, used(1, 1, 1, 0), used(4, 2, 4, time.Hour)))},
	})
}

func TestRow4Rotates(t *testing.T) {
	six := []Use{used(1, 1, 1, 0), used(2, 2, 2, 2*overlap), used(3, 3, 3, 4*overlap), used(4, 4, 4, 6*overlap),
		used(5, 5, 5, 8*overlap), used(6, 6, 6, 10*overlap)}
	seventh := append(append([]Use(nil), six[1:]...), used(7, 7, 7, time.Hour))
	hour := moved(time.Hour, chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, time.Hour)))
	strict := func(sc *scene) { sc.pol = balanced().Strict() }
	rule(t, []ruling{
		{name: "the first refresh", gen: 1, now: time.Hour, want: rotated(0), next: moved(time.Hour, chain(2, 2, used(1, 1, 1, time.Hour)))},
		{name: "the newest", was: second(), gen: 2, now: time.Hour, want: rotated(0), next: hour},
		{name: "seen is cleared", was: seen(second(), overlap), gen: 2, now: time.Hour, want: rotated(0), next: hour},
		{name: "strict", was: second(), gen: 2, now: time.Hour, with: strict, want: rotated(0), next: hour},
		{name: "one of several live answers stands for all", was: chain(2, 4, used(1, 1, 1, 0)), gen: 3, now: time.Hour, want: rotated(0),
			next: moved(time.Hour, chain(5, 5, used(1, 1, 1, 0), used(3, 2, 4, time.Hour)))},
		{name: "six uses are remembered", was: chain(7, 7, six...), gen: 7, now: time.Hour, want: rotated(0),
			next: moved(time.Hour, chain(8, 8, seventh...))},
		{name: "uses that are decided are not", was: chain(7, 7, six...), gen: 7, now: time.Hour + 8*overlap + ms, want: rotated(0),
			next: moved(time.Hour+8*overlap+ms, chain(8, 8, six[4], six[5], used(7, 7, 7, time.Hour+8*overlap+ms)))},
		{name: "one ahead", was: second(), gen: 3, now: time.Hour, want: rotated(1),
			next: moved(time.Hour, chain(4, 4, used(1, 1, 1, 0), used(3, 2, 3, time.Hour)))},
		{name: "ahead inside the overlap", was: second(), gen: 3, now: overlap, want: rotated(1),
			next: moved(overlap, chain(4, 4, used(1, 1, 1, 0), used(3, 2, 3, overlap)))},
		{name: "ahead under strict", was: second(), gen: 3, with: strict, want: rotated(1),
			next: moved(0, chain(4, 4, used(1, 1, 1, 0), used(3, 2, 3, 0)))},
		{name: "as far ahead as a store can lose", was: second(), gen: 2 + 4096, want: rotated(4096),
			next: moved(0, chain(4099, 4099, used(1, 1, 1, 0), used(4098, 2, 4098, 0)))},
		{name: "farther than that is no token of ours", was: second(), gen: 2 + 4097, want: refused(4, fault.Malformed)},
		{name: "the largest number", was: second(), gen: 1<<32 - 1, want: refused(4, fault.Malformed)},
		{name: "the last generation", was: chain(lastGeneration-1, lastGeneration-1), gen: lastGeneration - 1, want: rotated(0),
			next: moved(0, chain(lastGeneration, lastGeneration, used(lastGeneration-1, lastGeneration-1, lastGeneration-1, 0)))},
		{name: "no generation after the last", was: chain(lastGeneration, lastGeneration), gen: lastGeneration, want: refused(4, fault.Malformed)},
		{name: "nor by being ahead", was: chain(lastGeneration-1, lastGeneration-1), gen: lastGeneration, want: refused(4, fault.Malformed)},
	})
}

func TestRow5RepeatsForTheParent(t *testing.T) {
	wide := chain(5, 5, used(1, 1, 1, 0), used(3, 2, 4, 20*time.Second)) // after ahead, two uses may lie in one overlap
	rule(t, []ruling{
		{name: "in the same tick", was: second(), gen: 1, want: repeated(5)},
		{name: "at the end of the overlap", was: second(), gen: 1, now: overlap, want: repeated(5)},
		{name: "a tick later it is a recovery", was: second(), gen: 1, now: overlap + ms, want: recovered(),
			next: moved(overlap+ms, chain(2, 3, used(1, 1, 1, overlap+ms)))},
		{name: "the clock went back", was: second(), gen: 1, now: -5 * time.Second, want: repeated(5)},
		{name: "though its answer was seen", was: seen(second(), 0), gen: 1, now: overlap, want: repeated(5)},
		{name: "the lowest a use stood for", was: wide, gen: 2, now: 20*time.Second + overlap, want: repeated(5)},
		{name: "the highest a use stood for", was: wide, gen: 4, now: 20*time.Second + overlap, want: repeated(5)},
		{name: "an earlier use, still in its overlap", was: wide, gen: 1, now: overlap, want: repeated(5)},
		{name: "an earlier use, a tick later", was: wide, gen: 1, now: overlap + ms, want: tooLate()},
		{name: "nothing that no use stood for", was: wide, gen: 0, want: reused(fault.Reuse), next: ended(0, fault.Reuse)},
	})
}

func TestRow6Recovers(t *testing.T) {
	soon, edge := late+2*overlap, late+2*overlap+ms
	wide := chain(4, 4, used(2, 1, 3, 0))
	early := chain(2, 3, used(1, 1, 1, 0)) // recovered once already
	off := func(sc *scene) { sc.pol.Recovery = 0 }
	short := func(sc *scene) { sc.pol.Recovery = time.Hour }
	rule(t, []ruling{
		{name: "early: the unused answer stays live", was: second(), gen: 1, now: soon, want: recovered(),
			next: moved(soon, chain(2, 3, used(1, 1, 1, soon)))},
		{name: "a tick later it is void", was: second(), gen: 1, now: edge, want: recovered(), next: moved(edge, chain(3, 3, used(1, 1, 1, edge)))},
		{name: "again and again", was: early, gen: 1, now: soon, want: recovered(), next: moved(soon, chain(2, 4, used(1, 1, 1, soon)))},
		{name: "and late after early voids all", was: early, gen: 1, now: edge, want: recovered(), next: moved(edge, chain(4, 4, used(1, 1, 1, edge)))},
		{name: "the lowest the use stood for", was: wide, gen: 1, now: edge, want: recovered(), next: moved(edge, chain(5, 5, used(2, 1, 3, edge)))},
		{name: "the highest the use stood for", was: wide, gen: 3, now: edge, want: recovered(), next: moved(edge, chain(5, 5, used(2, 1, 3, edge)))},
		{name: "at the end of the window", was: second(), gen: 1, now: recovery, want: recovered(), next: moved(recovery, chain(3, 3, used(1, 1, 1, recovery)))},
		{name: "a short window, at its end", was: second(), gen: 1, now: time.Hour, with: short, want: recovered(),
			next: moved(time.Hour, chain(3, 3, used(1, 1, 1, time.Hour)))},
		{name: "a short window, a tick later", was: second(), gen: 1, now: time.Hour + ms, with: short, want: reused(fault.Reuse),
			next: ended(time.Hour+ms, fault.Reuse)},
		{name: "an older token than the idle limit, while its session lives", was: second(), gen: 1, now: idle, want: recovered(),
			with: func(sc *scene) { sc.p.IssuedAt = t0.Add(-day) }, next: moved(idle, chain(3, 3, used(1, 1, 1, idle)))},
		{name: "not after an answer was seen", was: seen(second(), time.Second), gen: 1, now: overlap + ms, want: tooLate()},
		{name: "not off", was: second(), gen: 1, now: overlap + ms, with: off, want: tooLate()},
		{name: "not for an earlier use", was: chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, time.Hour)), gen: 1, now: time.Hour + late, want: tooLate()},
		{name: "not past the last generation", gen: 1, now: time.Hour, was: chain(lastGeneration, lastGeneration, used(1, 1, 1, 0)),
			want: reused(fault.Reuse), next: ended(time.Hour, fault.Reuse)},
	})
}

// A device with parallel calls stores an answer that row 5 repeated at the end
// of the overlap. A call that had read the parent a moment before comes late. If
// the recovery made the stored answer void, the device would be signed out
// (docs/adr/0003-overlap-and-recovery-windows.md).
func TestALateParallelCallDoesNotVoidAStoredAnswer(t *testing.T) {
	s := phone()
	for _, step := range []struct {
		call string
		gen  Generation
		at   time.Duration
		want Answer
	}{
		{"A sends 1", 1, 0, Rotated},
		{"B sends 1, and 2 is stored a second later", 1, overlap, Repeated},
		{"C had read 1 before that", 1, late + overlap + 100*ms, Recovered},
		{"D sends 2", 2, late + overlap + 200*ms, Repeated},
		{"D, had it come after the overlap", 2, late + 3*overlap, Rotated},
	} {
		sc := scene{s: s, pol: balanced(), now: t0.Add(step.at), st: Standing{UserEpoch: 3},
			p: Presented{Client: "app", Generation: step.gen, IssuedAt: t0, Genuine: true}}
		next, v := sc.refresh()
		if v.Answer != step.want {
			t.Fatalf("%s at %v: %v by row %d, want %v", step.call, step.at, v.Answer, v.Row, step.want)
		}
		s = next
	}
}
