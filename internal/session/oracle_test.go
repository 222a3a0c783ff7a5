package session_test

import (
	"holdfast.example/internal/fault"
	. "holdfast.example/internal/session"
)

// oracle is the decision table of design.md section 3 told a second time, from
// its words alone and for clearness only. It keeps no row: it keeps the list of
// everything that ever happened to the session and works out each fact anew,
// with sets of generations where the row keeps ranges. Times are milliseconds.
//
// It knows two things that the words do not say outright: a live token testifies
// to the time of its own issue when the store has forgotten it (section 3, row 4
// would otherwise meet the idle limit), and a session that never rotates slides
// its idle limit in steps of a hundredth.
type oracle struct {
	events []event
	bound  bool
}

type happening int

const (
	signedIn happening = iota
	accepted
	wasShown
	wasRecovered
	touched
	wasEnded
)

type set map[uint64]bool

type event struct {
	what  happening
	at    int64
	stood set    // accepted: what the presented token stood for
	gives uint64 // signedIn, accepted, wasRecovered: the generation issued
	voids bool   // wasRecovered: the unused answers are void
	why   fault.Reason
}

// window is a length of time in milliseconds; 0 is off.
type window int64

func (w window) covers(at, now int64) bool { return w > 0 && now-at <= int64(w) }

// showing is a presentation in the oracle's words.
type showing struct {
	p        uint64
	issued   int64
	stranger fault.Reason // "" for the rightful client with a right proof
	standing fault.Reason // what the owner's or the client's standing says
	rotates  bool
	overlap  window
	late     window
	recovery window
	idle     int64
	absolute int64
	hold     bool
	now      int64
}

// outcome is what the table answers.
type outcome struct {
	answer string
	row    int
	reason fault.Reason
	newest uint64
	ahead  uint64
}

func newOracle(s Session) *oracle {
	first := event{what: signedIn, at: s.CreatedAt.UnixMilli(), gives: uint64(s.Chain.Newest)}
	return &oracle{events: []event{first}, bound: s.Key != ""}
}

// one turn of the table: does the row fit, and what does it do.
type row struct {
	number int
	fits   bool
	do     func() (answer string, reason fault.Reason)
}

// refresh walks the table from the top; the first row that fits wins.
func (o *oracle) refresh(w showing) outcome {
	newest, live := o.newest(), o.live()
	lowest := least(live)
	uses := o.uses()
	lastAt, lastStood, anyUse := int64(0), set(nil), len(uses) > 0
	if anyUse {
		lastAt, lastStood = uses[len(uses)-1].at, uses[len(uses)-1].stood
	}
	isLive := w.p >= lowest // beyond the newest only when the store lost commits
	ahead := uint64(0)
	if w.p > newest {
		ahead = w.p - newest
	}
	say := func(answer string, why fault.Reason) func() (string, fault.Reason) {
		return func() (string, fault.Reason) { return answer, why }
	}
	over := o.over(w, isLive)
	for _, r := range []row{
		{1, w.stranger != "", say("refused", w.stranger)},
		{2, over != "", say("refused", over)},
		{3, live[w.p] && (!w.rotates || anyUse && w.overlap.covers(lastAt, w.now)), func() (string, fault.Reason) { return o.show(w) }},
		{4, isLive && (ahead > 4096 || max(w.p, newest)+1 > lastGeneration), say("refused", fault.Malformed)},
		{4, isLive, func() (string, fault.Reason) { return o.accept(w, live, newest) }},
		{5, inAny(uses, w.p, func(u use) bool { return w.overlap.covers(u.at, w.now) }), say("repeated", "")},
		{6, lastStood[w.p] && !o.seen() && w.recovery.covers(lastAt, w.now) && newest < lastGeneration,
			func() (string, fault.Reason) { return o.recover(w, lastAt, newest) }},
		{7, inAny(uses, w.p, func(u use) bool { return w.late.covers(u.superseded, w.now) }), say("late", fault.Late)},
		{8, o.bound, say("repeated", "")},
		{9, w.idle > 0 && w.now-w.issued > w.idle, say("refused", fault.Superseded)},
		{9, true, func() (string, fault.Reason) { return o.end(w) }},
	} {
		if !r.fits {
			continue
		}
		answer, why := r.do()
		if answer != "rotated" {
			ahead = 0
		}
		return outcome{answer, r.number, why, o.newest(), ahead}
	}
	panic("the last row fits always")
}

func (o *oracle) show(w showing) (string, fault.Reason) {
	switch {
	case w.rotates && !o.seen():
		o.add(event{what: wasShown, at: w.now})
	case !w.rotates && w.now-o.usedAt() >= w.idle/100:
		o.add(event{what: touched, at: w.now})
	}
	return "repeated", ""
}

func (o *oracle) accept(w showing, live set, newest uint64) (string, fault.Reason) {
	stood := set{}
	for g := range live {
		stood[g] = true
	}
	for g := newest + 1; g <= w.p; g++ {
		stood[g] = true
	}
	o.add(event{what: accepted, at: w.now, stood: stood, gives: max(w.p, newest) + 1})
	return "rotated", ""
}

func (o *oracle) recover(w showing, lastAt int64, newest uint64) (string, fault.Reason) {
	old := w.now-lastAt > int64(w.late)+2*int64(w.overlap)
	o.add(event{what: wasRecovered, at: w.now, gives: newest + 1, voids: old})
	return "recovered", ""
}

func (o *oracle) end(w showing) (string, fault.Reason) {
	why := fault.Reuse
	if w.hold {
		why = fault.Held
	}
	o.add(event{what: wasEnded, at: w.now, why: why})
	return "reused", why
}

func (o *oracle) add(e event) { o.events = append(o.events, e) }

// copy shares nothing that is ever changed: events are only appended.
func (o *oracle) copy() *oracle {
	c := *o
	c.events = o.events[:len(o.events):len(o.events)]
	return &c
}

// since lists the events from the last one of a kind on, itself included.
func (o *oracle) since(kinds ...happening) []event {
	for i := len(o.events) - 1; i >= 0; i-- {
		for _, k := range kinds {
			if o.events[i].what == k {
				return o.events[i:]
			}
		}
	}
	return nil
}

func (o *oracle) newest() uint64 { return o.since(signedIn, accepted, wasRecovered)[0].gives }

func (o *oracle) usedAt() int64 { return o.since(signedIn, accepted, wasRecovered, touched)[0].at }

// live is the set of answers given since the last accepted token.
func (o *oracle) live() set {
	live := set{}
	for _, e := range o.since(signedIn, accepted) {
		if e.voids {
			live = set{}
		}
		if e.gives != 0 {
			live[e.gives] = true
		}
	}
	return live
}

// seen: a live token was shown again since the last accepted one.
func (o *oracle) seen() bool {
	for _, e := range o.since(signedIn, accepted) {
		if e.what == wasShown {
			return true
		}
	}
	return false
}

// use is an accepted token with the time that counts for it (a recovery renews
// it) and the time at which it was superseded.
type use struct {
	stood      set
	at         int64
	superseded int64
}

// uses lists the last six, oldest first.
func (o *oracle) uses() []use {
	var all []use
	for _, e := range o.events {
		switch last := len(all) - 1; {
		case e.what == accepted:
			all = append(all, use{stood: e.stood, at: e.at, superseded: e.at})
		case e.what == wasRecovered && last >= 0:
			all[last].at, all[last].superseded = e.at, e.at
		case e.what == wasShown && last >= 0:
			all[last].superseded = e.at
		}
	}
	for i := range all[:max(len(all)-1, 0)] {
		all[i].superseded = all[i+1].at
	}
	return all[max(len(all)-6, 0):]
}

// over is row 2: why the session does not stand, in the order in which reasons
// are told.
func (o *oracle) over(w showing, isLive bool) fault.Reason {
	last := o.usedAt()
	if isLive && w.issued > last {
		last = w.issued
	}
	switch ended := o.since(wasEnded); {
	case ended != nil:
		return ended[0].why
	case w.standing != "":
		return w.standing
	case w.idle > 0 && w.now-last > w.idle:
		return fault.Idle
	case w.absolute > 0 && w.now-o.events[0].at > w.absolute:
		return fault.Absolute
	}
	return ""
}

func inAny(uses []use, p uint64, fits func(use) bool) bool {
	for _, u := range uses {
		if u.stood[p] && fits(u) {
			return true
		}
	}
	return false
}

func least(s set) uint64 {
	low := ^uint64(0)
	for g := range s {
		low = min(low, g)
	}
	return low
}
