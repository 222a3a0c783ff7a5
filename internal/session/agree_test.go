package session_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.example/internal/fault"
	. "holdfast.example/internal/session"
)

// dice is where a walk takes its choices from: rapid, a seed, or the bytes of a
// fuzzer. Rapid and fuzzers favour 0 and the largest side, so what ought to be
// rare sits in the middle.
type dice func(sides int) int

func (roll dice) rare(sides int) bool { return roll(sides) == sides/2+1 }

// duel plays one session with the real code and with the oracle, move by move,
// and remembers the commits so that the store can lose the last ones.
type duel struct {
	s      Session
	o      *oracle
	pol    Policy
	now    time.Time
	past   []moment
	issued map[Generation]time.Time
	row    int // of the last answer
}

type moment struct {
	s Session
	o *oracle
}

// profiles are the three of design.md section 3, and each window on its own.
func profiles() []Policy {
	short := Policy{Rotate: true, Overlap: 10 * time.Second, Late: 30 * time.Second, Recovery: time.Hour, Idle: day, Absolute: 3 * day}
	hold := balanced()
	hold.OnReuse = HoldOnReuse
	endless := balanced()
	endless.Idle = 0
	return []Policy{balanced(), balanced(), balanced(), balanced().Strict(), never(), short, hold, endless,
		{Rotate: true, Overlap: overlap, Idle: idle},
		{Rotate: true, Late: late, Idle: idle},
		{Rotate: true, Recovery: recovery, Idle: idle},
		{Rotate: true, Late: late, Recovery: time.Hour},
		{Overlap: overlap, Late: late, Recovery: recovery, Idle: idle},
	}
}

func newDuel(roll dice) *duel {
	s := phone()
	if roll(4) == 3 {
		s.Key = "key"
	}
	if roll.rare(16) {
		s.Chain.Newest = lastGeneration - Generation(roll(8))
		s.Chain.First = s.Chain.Newest
	}
	return &duel{s: s, o: newOracle(s), pol: balanced(), now: t0,
		issued: map[Generation]time.Time{s.Chain.Newest: t0}}
}

// move changes the world a little and presents one token. It reports the first
// disagreement or broken invariant.
func (d *duel) move(roll dice) error {
	if roll.rare(16) {
		d.pol = profiles()[roll(len(profiles()))]
	}
	d.passTime(roll)
	if roll.rare(24) {
		d.loseCommits(1 + roll(5))
	}
	sc := scene{s: d.s, pol: d.pol, now: d.now, st: d.standing(roll), p: d.presented(roll)}
	before := copied(sc.s)
	next, v := sc.refresh()
	if !same(sc.s, before) {
		return fmt.Errorf("the session that was asked has changed: %+v", sc)
	}
	if err := lawful(sc, next, v); err != nil {
		return err
	}
	was := d.o.copy()
	want := d.o.refresh(told(sc))
	got := outcome{v.Answer.String(), v.Row, v.Reason, uint64(next.Chain.Newest), uint64(v.Ahead)}
	if got != want {
		return fmt.Errorf("%+v of %+v at %v under %+v:\n code   %+v\n oracle %+v", sc.p, sc.s.Chain, sc.now.Sub(t0), sc.pol, got, want)
	}
	if err := d.o.recognises(next); err != nil {
		return fmt.Errorf("after %+v: %w", got, err)
	}
	d.row = v.Row
	if !same(next, sc.s) {
		d.past = append(d.past, moment{sc.s, was})
		d.past = d.past[max(len(d.past)-5, 0):]
		d.issued[next.Chain.Newest] = next.Chain.IssuedAt
	}
	d.s = next
	return nil
}

// passTime waits, jumps to an edge of a window, or steps back a few seconds.
func (d *duel) passTime(roll dice) {
	switch roll(6) {
	case 0:
		d.now = d.now.Add(time.Duration(roll(20_000)) * ms)
	case 1:
		d.now = d.now.Add(time.Duration(1+roll(30)) * 20 * time.Second)
	case 2, 3:
		from := []time.Time{d.s.UsedAt, d.s.CreatedAt, d.s.Chain.IssuedAt, d.s.Chain.Seen}
		for _, u := range d.s.Chain.Uses {
			from = append(from, u.At)
		}
		w := []time.Duration{d.pol.Overlap, d.pol.Late, d.pol.Overlap + d.pol.Late, 2*d.pol.Overlap + d.pol.Late, d.pol.Recovery, d.pol.Idle, d.pol.Idle / 100, d.pol.Absolute}
		edge := from[roll(len(from))].Add(w[roll(len(w))]).Add(time.Duration(roll(3)-1) * ms)
		if edge.After(d.now) {
			d.now = edge
		}
	case 4:
		if roll(4) == 1 {
			d.now = d.now.Add(-time.Duration(1+roll(5000)) * ms)
		}
	}
}

func (d *duel) loseCommits(n int) {
	if n = min(n, len(d.past)); n > 0 {
		m := d.past[len(d.past)-n]
		d.past = d.past[:len(d.past)-n]
		d.s, d.o = m.s, m.o.copy()
	}
}

// standing is mostly good.
func (d *duel) standing(roll dice) Standing {
	st := Standing{UserEpoch: d.s.Epoch}
	switch roll(64) {
	case 33:
		st.UserDeleted = true
	case 34:
		st.UserDisabled = true
	case 35:
		st.UserEpoch, st.EpochReason = st.UserEpoch+1, fault.PasswordReset
	case 36:
		st.ClientStopped = true
	case 37:
		st.ParentEnded = fault.SignedOut
	}
	return st
}

// presented picks a token: mostly one that exists, at the borders of what the
// row remembers.
func (d *duel) presented(roll dice) Presented {
	c := d.s.Chain
	picks := []Generation{c.Newest, c.Newest, c.Newest, c.First, c.First - 1, c.Newest - Generation(roll(10)), c.Newest + Generation(1+roll(6)), 0}
	if roll.rare(24) {
		picks = []Generation{c.Newest + MaxAhead, c.Newest + MaxAhead + 1, 1<<32 - 1}
	}
	for _, u := range c.Uses {
		picks = append(picks, u.Low, u.High)
	}
	p := Presented{Client: d.s.Client, Generation: picks[roll(len(picks))], Genuine: true, Key: d.s.Key}
	if at, ok := d.issued[p.Generation]; ok {
		p.IssuedAt = at
	} else {
		p.IssuedAt = d.now.Add(-[]time.Duration{0, time.Hour, idle, idle + ms, 2 * idle}[roll(5)])
	}
	switch roll(64) {
	case 33:
		p.Genuine = false
	case 34:
		p.Client = "other"
	case 35:
		p.Key = "else"
	}
	return p
}

// told translates a scene into the oracle's words.
func told(sc scene) showing {
	w := showing{p: uint64(sc.p.Generation), issued: sc.p.IssuedAt.UnixMilli(), rotates: sc.pol.Rotate,
		overlap: window(sc.pol.Overlap / time.Millisecond), late: window(sc.pol.Late / time.Millisecond),
		recovery: window(sc.pol.Recovery / time.Millisecond), idle: sc.pol.Idle.Milliseconds(),
		absolute: sc.pol.Absolute.Milliseconds(), hold: sc.pol.OnReuse == HoldOnReuse, now: sc.now.UnixMilli()}
	switch {
	case !sc.p.Genuine:
		w.stranger = fault.Malformed
	case sc.p.Client != sc.s.Client:
		w.stranger = fault.WrongClient
	case sc.s.Key != "" && sc.s.Key != sc.p.Key:
		w.stranger = fault.WrongKey
	}
	switch {
	case sc.st.UserDeleted:
		w.standing = fault.Deleted
	case sc.st.UserDisabled:
		w.standing = fault.Disabled
	case sc.st.UserEpoch > sc.s.Epoch:
		w.standing = sc.st.EpochReason
	case sc.st.ClientStopped:
		w.standing = fault.ClientStopped
	default:
		w.standing = sc.st.ParentEnded
	}
	return w
}

// recognises compares the row with everything the oracle can say about it.
func (o *oracle) recognises(s Session) error {
	c := s.Chain
	live := o.live()
	if uint64(c.Newest) != o.newest() || uint64(c.First) != least(live) || int(c.Newest-c.First)+1 != len(live) {
		return fmt.Errorf("live %d..%d, oracle %v", c.First, c.Newest, live)
	}
	if o.seen() == c.Seen.IsZero() || s.UsedAt.UnixMilli() != o.usedAt() {
		return fmt.Errorf("seen %v, used at %v; oracle %v, %v", c.Seen, s.UsedAt.UnixMilli(), o.seen(), o.usedAt())
	}
	uses := o.uses()
	// The oracle forgets nothing that fits; the row forgets what is decided.
	if len(c.Uses) > len(uses) || len(uses) > 0 && len(c.Uses) == 0 {
		return fmt.Errorf("%d uses, oracle %d", len(c.Uses), len(uses))
	}
	for i, u := range uses[len(uses)-len(c.Uses):] {
		got := c.Uses[i]
		if u.at != got.At.UnixMilli() || least(u.stood) != uint64(got.Low) || len(u.stood) != int(got.High-got.Low)+1 {
			return fmt.Errorf("use %+v, oracle %d for %d tokens from %d", got, u.at, len(u.stood), least(u.stood))
		}
	}
	if (o.since(wasEnded) != nil) != (s.EndReason != "") {
		return fmt.Errorf("ended as %q, oracle %v", s.EndReason, o.since(wasEnded))
	}
	return nil
}

// walk plays moves and signs in anew when a session is over.
func walk(roll dice, moves int, rows map[int]int) error {
	d := newDuel(roll)
	for range moves {
		if err := d.move(roll); err != nil {
			return err
		}
		rows[d.row]++
		over := d.s.EndReason != "" || d.now.Sub(d.s.UsedAt) > d.pol.Idle && d.pol.Idle > 0
		if over && roll(3) == 1 {
			d = newDuel(roll)
		}
	}
	return nil
}

// The real code and the oracle give the same answer, the same reason and the
// same newest generation, for as long as they play. Rapid finds the shortest
// way to a disagreement.
func TestTheCodeAgreesWithTheOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		roll := func(sides int) int { return rapid.IntRange(0, sides-1).Draw(t, "") }
		if err := walk(roll, rapid.SampledFrom([]int{10, 100, 400}).Draw(t, "moves"), map[int]int{}); err != nil {
			t.Fatal(err)
		}
	})
}

// The same with fair dice and longer lives, where no row is rare.
func TestTheCodeAgreesWithTheOracleForLong(t *testing.T) {
	rows := map[int]int{}
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2026))
		if err := walk(r.IntN, 200, rows); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	for r := 1; r <= 9; r++ {
		if rows[r] < 2500 {
			t.Errorf("row %d was reached %d times only: %v", r, rows[r], rows)
		}
	}
	t.Logf("answers by row: %v", rows)
}
