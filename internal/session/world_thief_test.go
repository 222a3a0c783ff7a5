package session_test

import (
	"time"

	. "holdfast.example/internal/session"
)

// loot is which copy a thief got.
type loot int

const (
	lootNewest loot = iota // what the owner holds
	lootParent             // what he held before
	lootOld                // what he held three answers earlier
)

// scheme is a class of thieves.
type scheme struct {
	name  string
	loot  loot
	first bool // uses the copy before the owner's next refresh
	owner weather
	// keepsAway: every use is outside overlap and late of the last request;
	// insideFirst: every use but the first.
	keepsAway, insideFirst bool
	// again draws the wait for the next use; it may look at the owner.
	again func(h *thief) time.Duration
	// afterOwner, when set, uses the token this long after each of the owner's
	// answers, and at no other time.
	afterOwner func(h *thief) time.Duration
	once       bool
	// limit: this class is the stated limit and need not be found.
	limit bool
}

// theft horizon and pace: the owner refreshes about every hour for two months.
const theftDays = 60

var ownersPace = span{20 * time.Minute, 2 * time.Hour}

// quiet is how long after a request the next one is outside overlap and late
// for certain: answers of a use are live for late + 2 overlap.
const quiet = late + 2*overlap

// calm is a network without faults.
var calm = weather{latest: late}

// thief holds a copy of one device's token and has a perfect network.
type thief struct {
	*scheme
	d     *device
	holds ticket
	stole bool
	used  bool
	owner bool // the owner has used what was copied
	done  bool
	last  time.Duration // of anybody's last request
	asked bool          // a use is planned
	plot  int           // counts plans, so that a plan can be given up
	after int           // refreshes since both had used it
}

// runTheft plays one theft and counts how it ended.
func runTheft(s *scheme, seed uint64, count *tally) {
	owner := &plan{name: "owner", days: theftDays, pace: ownersPace, weather: s.owner, calls: 1, tabs: 1, timeout: span{5 * time.Second, 30 * time.Second}}
	d := newDevice(owner, seed, count)
	h := &thief{scheme: s, d: d}
	d.served = h.ownerServed
	d.run(theftDays*day, func() bool { return d.over != "" || d.vault.s.EndReason != "" })
	count.days += d.now.Hours() / 24
	if !h.stole {
		return
	}
	count.thieves++
	if d.vault.s.EndReason != "" {
		count.found++
		count.steps = append(count.steps, h.after)
	}
}

// ownerServed hears of each answer to the owner.
func (h *thief) ownerServed(v Verdict) {
	d := h.d
	if v.Answer == LateUse {
		return
	}
	h.last = d.now
	if !h.stole {
		if len(d.before) >= 4 {
			d.after(span{10 * time.Second, 5 * time.Minute}.draw(d.rng), h.steal)
		}
		return
	}
	if h.first && !h.used { // too late to be first: steal another one
		h.stole, h.asked = false, false
		h.plot++
		return
	}
	if h.used && h.owner {
		h.after++
	}
	h.owner = true
	switch {
	case h.done || h.asked:
	case h.afterOwner != nil:
		h.plan(h.afterOwner(h))
	case !h.used: // thief second: the owner came first
		h.plan(h.again(h))
	}
}

func (h *thief) steal() {
	d := h.d
	if h.stole || d.callers[0].waiting > 0 || d.now-h.last < 5*time.Second {
		return // the next answer brings another chance
	}
	h.stole = true
	switch b := d.before; h.loot {
	case lootNewest:
		h.holds = d.held[0]
	case lootParent:
		h.holds, h.owner = b[len(b)-1], true
	case lootOld:
		h.holds, h.owner = b[len(b)-3], true
	}
	if h.first {
		h.plan(span{quiet, ownersPace.low - 6*time.Minute}.draw(d.rng))
	}
}

func (h *thief) plan(wait time.Duration) {
	h.asked = true
	plot := h.plot
	h.d.after(wait, func() {
		if plot == h.plot {
			h.strike()
		}
	})
}

// strike shows the thief's token.
func (h *thief) strike() {
	d := h.d
	if h.afterOwner == nil && (h.keepsAway || h.used && h.insideFirst) && d.now-h.last <= quiet {
		h.plan(quiet - (d.now - h.last) + ms)
		return
	}
	h.asked = false
	both := h.used && h.owner
	got, v := d.serve(h.holds)
	h.last = d.now
	if both && v.Answer != LateUse {
		h.after++
	}
	h.used = true
	switch v.Answer {
	case LateUse:
		h.plan(time.Second)
		return
	case Refused, Reused:
		h.done = true
		return
	}
	h.holds = got
	h.done = h.once
	if !h.done && h.afterOwner == nil {
		h.plan(h.again(h))
	}
}

func ownPace(h *thief) time.Duration { return ownersPace.draw(h.d.rng) }

// schemes lists the classes of thieves. Those before the limits keep refreshing
// and must always be found.
func schemes() []*scheme {
	within := func(low, high time.Duration) func(h *thief) time.Duration {
		return func(h *thief) time.Duration { return span{low, high}.draw(h.d.rng) }
	}
	atEdges := func(h *thief) time.Duration {
		at := [...]time.Duration{overlap - ms, overlap, overlap + ms, late - ms, late, late + ms, late + overlap, quiet, quiet + ms, 2 * quiet}
		return at[h.d.rng.IntN(len(at))]
	}
	insideFirst := func(h *thief) time.Duration {
		if !h.used {
			return span{time.Second, overlap}.draw(h.d.rng)
		}
		return ownPace(h)
	}
	return []*scheme{
		{name: "newest copy, thief first, own pace", first: true, owner: fair, keepsAway: true, again: ownPace},
		{name: "newest copy, thief second, own pace", owner: fair, keepsAway: true, again: ownPace},
		{name: "newest copy, thief first, owner in a storm", first: true, owner: storm, again: ownPace},
		{name: "newest copy, thief second, owner in a storm", owner: storm, again: ownPace},
		{name: "newest copy, first use inside the overlap", owner: fair, insideFirst: true, again: insideFirst},
		{name: "newest copy, at the edges of the windows", owner: fair, afterOwner: atEdges},
		{name: "newest copy, polls every 20 s", first: true, owner: fair, again: within(20*time.Second, 20*time.Second+ms)},
		{name: "parent copy, own pace", loot: lootParent, first: true, owner: fair, keepsAway: true, again: ownPace},
		{name: "old copy, own pace", loot: lootOld, first: true, owner: fair, keepsAway: true, again: ownPace},
		{name: "newest copy, second, used once", owner: fair, keepsAway: true, again: ownPace, once: true, limit: true},
		{name: "newest copy, first, used once", first: true, owner: fair, keepsAway: true, again: ownPace, once: true, limit: true},
		{name: "shadow inside the overlap, faultless network", owner: calm, afterOwner: within(time.Second, overlap), limit: true},
		{name: "shadow after it within late, faultless", owner: calm, afterOwner: within(overlap+ms, quiet), limit: true},
		{name: "shadow inside the overlap", owner: fair, afterOwner: within(time.Second, overlap), limit: true},
		{name: "shadow after the overlap, within late", owner: fair, afterOwner: within(overlap+ms, quiet), limit: true},
	}
}
