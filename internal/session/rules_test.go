package session_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	. "holdfast.example/internal/session"
)

// The defaults of design.md section 3, written out so that a changed default
// cannot move the edges under test.
const (
	ms       = time.Millisecond
	overlap  = 60 * time.Second
	late     = 300 * time.Second
	day      = 24 * time.Hour
	idle     = 90 * day
	recovery = idle

	// lastGeneration is where a chain stops instead of overflowing.
	lastGeneration = 1<<32 - 2
)

var t0 = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func balanced() Policy {
	return Policy{Rotate: true, Overlap: overlap, Late: late, Recovery: recovery, Idle: idle}
}

// never is the profile none: no rotation, no windows.
func never() Policy { return Policy{Idle: idle} }

// phone is a session that signed in at t0 and holds generation 1.
func phone() Session {
	return Session{
		ID: id.Session{7}, User: id.User{9}, Client: "app", Epoch: 3, Secret: [16]byte{1, 2, 3},
		Scope: "openid read", Grant: "password", AuthTime: t0, AMR: "pwd",
		Device: Device{Install: [16]byte{4}, Name: "phone"}, CreatedAt: t0, UsedAt: t0,
		Chain: Chain{Newest: 1, First: 1, IssuedAt: t0}, Version: 5, Attempt: [8]byte{6},
	}
}

// scene is one presentation of a token.
type scene struct {
	s   Session
	p   Presented
	st  Standing
	pol Policy
	now time.Time
}

func (sc scene) refresh() (Session, Verdict) { return sc.s.Refresh(sc.p, sc.st, sc.pol, sc.now) }

// ruling is one line of the decision table, put to the test.
type ruling struct {
	name string
	was  Chain
	gen  Generation
	now  time.Duration // since t0
	with func(*scene)  // what else is out of the ordinary
	want Verdict
	next func(*Session) // what changes; nil is nothing at all
}

// rule runs the lines and checks the whole next state, field by field.
func rule(t *testing.T, rulings []ruling) {
	t.Helper()
	for _, r := range rulings {
		t.Run(r.name, func(t *testing.T) {
			sc := scene{s: phone(), pol: balanced(), now: t0.Add(r.now), st: Standing{UserEpoch: 3},
				p: Presented{Client: "app", Generation: r.gen, IssuedAt: t0, Genuine: true}}
			if r.was.Newest != 0 {
				sc.s.Chain = r.was
			}
			if r.with != nil {
				r.with(&sc)
			}
			want := copied(sc.s)
			if r.next != nil {
				r.next(&want)
			}
			before := copied(sc.s)
			got, v := sc.refresh()
			if v != r.want {
				t.Errorf("verdict %+v, want %+v", v, r.want)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("next state\n%+v\nwant\n%+v", got, want)
			}
			if !reflect.DeepEqual(sc.s, before) {
				t.Error("the session that was asked has changed")
			}
			if err := lawful(sc, got, v); err != nil {
				t.Error(err)
			}
		})
	}
}

// copied is a session that shares no memory with the original.
func copied(s Session) Session {
	s.Chain.Uses = append([]Use(nil), s.Chain.Uses...)
	return s
}

// chain writes down first..newest live after the given uses.
func chain(first, newest Generation, uses ...Use) Chain {
	return Chain{First: first, Newest: newest, IssuedAt: t0, Uses: uses}
}

// used is one accepted token that stood for low..high.
func used(g, low, high Generation, at time.Duration) Use {
	return Use{Generation: g, Low: low, High: high, At: t0.Add(at)}
}

func seen(c Chain, at time.Duration) Chain { c.Seen = t0.Add(at); return c }

// second is the everyday state: token 1 was spent at t0 for token 2.
func second() Chain { return chain(2, 2, used(1, 1, 1, 0)) }

// The verdicts, by row.
func refused(row int, why fault.Reason) Verdict {
	return Verdict{Answer: Refused, Row: row, Reason: why}
}
func repeated(row int) Verdict         { return Verdict{Answer: Repeated, Row: row} }
func rotated(ahead Generation) Verdict { return Verdict{Answer: Rotated, Row: 4, Ahead: ahead} }
func recovered() Verdict               { return Verdict{Answer: Recovered, Row: 6} }
func tooLate() Verdict                 { return Verdict{Answer: LateUse, Row: 7, Reason: fault.Late} }
func reused(why fault.Reason) Verdict  { return Verdict{Answer: Reused, Row: 9, Reason: why} }

// The changes, by row.
func shown(at time.Duration) func(*Session) {
	return func(s *Session) { s.Chain.Seen = t0.Add(at) }
}

func moved(at time.Duration, c Chain) func(*Session) {
	return func(s *Session) {
		c.IssuedAt = t0.Add(at)
		s.Chain, s.UsedAt = c, t0.Add(at)
	}
}

func ended(at time.Duration, why fault.Reason) func(*Session) {
	return func(s *Session) { s.EndedAt, s.EndReason = t0.Add(at), why }
}

func TestRow1StrangersNeitherUseNorEnd(t *testing.T) {
	forged := func(sc *scene) { sc.p.Genuine = false }
	otherApp := func(sc *scene) { sc.p.Client = "other" }
	bound := func(proof string) func(*scene) {
		return func(sc *scene) { sc.s.Key, sc.p.Key = "key", proof }
	}
	over := func(with func(*scene)) func(*scene) {
		return func(sc *scene) { sc.s = sc.s.End(fault.SignedOut, t0); with(sc) }
	}
	// Token 1 of this chain would be reuse if its owner showed it.
	old := chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, time.Hour))
	at := 2 * time.Hour
	rule(t, []ruling{
		{name: "a bad seal on a live token", gen: 1, with: forged, want: refused(1, fault.Malformed)},
		{name: "a bad seal on a spent token", was: old, gen: 1, now: at, with: forged, want: refused(1, fault.Malformed)},
		{name: "another client, live token", gen: 1, with: otherApp, want: refused(1, fault.WrongClient)},
		{name: "another client, spent token", was: old, gen: 1, now: at, with: otherApp, want: refused(1, fault.WrongClient)},
		{name: "client ids compare byte for byte", gen: 1, with: func(sc *scene) { sc.p.Client = "App" }, want: refused(1, fault.WrongClient)},
		{name: "a missing proof", gen: 1, with: bound(""), want: refused(1, fault.WrongKey)},
		{name: "a wrong proof", gen: 1, with: bound("else"), want: refused(1, fault.WrongKey)},
		{name: "a wrong proof, spent token", was: old, gen: 1, now: at, with: bound("else"), want: refused(1, fault.WrongKey)},
		{name: "a forged token that is far ahead", gen: 5000, with: forged, want: refused(1, fault.Malformed)},
		{name: "no reason of an end for a bad seal", gen: 1, with: over(forged), want: refused(1, fault.Malformed)},
		{name: "no reason of an end for another client", gen: 1, with: over(otherApp), want: refused(1, fault.WrongClient)},
		{name: "no reason of an end for a wrong proof", gen: 1, with: over(bound("else")), want: refused(1, fault.WrongKey)},
		{name: "a proof on a session without a key is not needed", gen: 1,
			with: func(sc *scene) { sc.p.Key = "any" }, want: rotated(0), next: moved(0, chain(2, 2, used(1, 1, 1, 0)))},
	})
}

func TestRow2SaysWhyItIsOver(t *testing.T) {
	lines := []ruling{
		{name: "idle to the millisecond", was: second(), gen: 2, now: idle, want: rotated(0),
			next: moved(idle, chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, idle)))},
		{name: "idle is passed", was: second(), gen: 2, now: idle + ms, want: refused(2, fault.Idle)},
		{name: "idle, for a spent token too", was: second(), gen: 1, now: idle + ms, want: refused(2, fault.Idle)},
		{name: "idle of 0 is no limit", was: second(), gen: 2, now: 20 * idle, with: func(sc *scene) { sc.pol.Idle = 0 },
			want: rotated(0), next: moved(20*idle, chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, 20*idle)))},
		{name: "absolute to the millisecond", gen: 1, now: day, with: func(sc *scene) { sc.pol.Absolute = day },
			want: rotated(0), next: moved(day, chain(2, 2, used(1, 1, 1, day)))},
		{name: "absolute is passed", gen: 1, now: day + ms, with: func(sc *scene) { sc.pol.Absolute = day }, want: refused(2, fault.Absolute)},
		{name: "use does not move the absolute limit", gen: 1, now: day + ms, want: refused(2, fault.Absolute),
			with: func(sc *scene) { sc.pol.Absolute = day; sc.s.UsedAt = t0.Add(day) }},
		{name: "a token that the store forgot testifies to its issue", was: second(), gen: 4, now: 2 * idle,
			with: func(sc *scene) { sc.p.IssuedAt = t0.Add(idle) }, want: rotated(2),
			next: moved(2*idle, chain(5, 5, used(1, 1, 1, 0), used(4, 2, 4, 2*idle)))},
		{name: "so does the newest, if it was issued again in a commit that was lost", was: second(), gen: 2, now: 2 * idle,
			with: func(sc *scene) { sc.p.IssuedAt = t0.Add(idle) }, want: rotated(0),
			next: moved(2*idle, chain(3, 3, used(1, 1, 1, 0), used(2, 2, 2, 2*idle)))},
		{name: "and not for longer than the limit", was: second(), gen: 4, now: 2*idle + ms,
			with: func(sc *scene) { sc.p.IssuedAt = t0.Add(idle) }, want: refused(2, fault.Idle)},
		{name: "a spent token testifies to nothing", was: second(), gen: 1, now: 2 * idle,
			with: func(sc *scene) { sc.p.IssuedAt = t0.Add(idle) }, want: refused(2, fault.Idle)},
		{name: "a user row older than the session's epoch ends nothing", gen: 1,
			with: func(sc *scene) { sc.st.UserEpoch = 2 }, want: rotated(0), next: moved(0, second())},
	}
	for _, why := range fault.Ends() {
		lines = append(lines,
			ruling{name: "ended as " + string(why), gen: 1, want: refused(2, why),
				with: func(sc *scene) { sc.s = sc.s.End(why, t0) }},
			ruling{name: "epoch moved by " + string(why), gen: 1, want: refused(2, why),
				with: func(sc *scene) { sc.st.UserEpoch, sc.st.EpochReason = 4, why }},
			ruling{name: "parent ended as " + string(why), gen: 1, want: refused(2, why),
				with: func(sc *scene) { sc.st.ParentEnded = why }})
	}
	// Facts in the order in which the first one is told. Each is laid over all
	// that follow it.
	facts := []struct {
		why fault.Reason
		set func(*scene)
	}{
		{fault.Replaced, func(sc *scene) { sc.s = sc.s.End(fault.Replaced, t0) }},
		{fault.Deleted, func(sc *scene) { sc.st.UserDeleted = true }},
		{fault.Disabled, func(sc *scene) { sc.st.UserDisabled = true }},
		{fault.PasswordChanged, func(sc *scene) { sc.st.UserEpoch, sc.st.EpochReason = 4, fault.PasswordChanged }},
		{fault.ClientStopped, func(sc *scene) { sc.st.ClientStopped = true }},
		{fault.SignedOut, func(sc *scene) { sc.st.ParentEnded = fault.SignedOut }},
		{fault.Idle, func(sc *scene) { sc.now = t0.Add(idle + ms) }},
		{fault.Absolute, func(sc *scene) { sc.pol.Absolute = time.Hour; sc.now = sc.now.Add(2 * time.Hour) }},
	}
	for i, f := range facts {
		lines = append(lines, ruling{name: fmt.Sprintf("%s is told before what follows", f.why), gen: 1,
			want: refused(2, f.why), with: func(sc *scene) {
				for j := len(facts) - 1; j >= i; j-- {
					facts[j].set(sc)
				}
			}})
	}
	rule(t, lines)
}

// A moved epoch ends a session whether or not the read could say why.
func TestRow2AMovedEpochNeedsNoReason(t *testing.T) {
	rule(t, []ruling{{name: "no reason was kept", gen: 1, with: func(sc *scene) { sc.st.UserEpoch = 4 },
		want: refused(2, fault.Everywhere)}})
}
