package session_test

import (
	"math/rand/v2"
	"time"

	"holdfast.example/internal/fault"
	. "holdfast.example/internal/session"
)

// plan is a class of devices.
type plan struct {
	name    string
	part    int // percent of all device-days
	days    int // the life of one device
	pace    span
	weather weather
	calls   int // how many may start at once; 1 is a single-flight client
	tabs    int // callers that wake by themselves and share one stored token
	timeout span
	losses  float64 // share of commits soon after which the store loses some

	// What puts a device outside the model.
	separate  bool // each tab keeps a copy of its own
	backwards bool // an older answer may overwrite a newer one
	policy    func() Policy
}

// device is one honest phone or browser, its network and its row.
type device struct {
	clock
	*plan
	rng     *rand.Rand
	pol     Policy
	vault   vault
	callers []caller
	held    []ticket // what the device has stored: one, or one per tab
	before  []ticket // what it held earlier, newest last, for thieves
	over    fault.Reason
	count   *tally
	served  func(Verdict) // told of each of the owner's answers
}

// caller is the app, or one tab: how often it was started, for what was awaited
// before a kill is lost, and how many calls wait.
type caller struct{ starts, waiting int }

func newDevice(p *plan, seed uint64, count *tally) *device {
	d := &device{plan: p, rng: rand.New(rand.NewPCG(seed, 77)), pol: balanced(), count: count, callers: make([]caller, p.tabs)}
	if p.policy != nil {
		d.pol = p.policy()
	}
	d.vault.s = phone()
	for range p.tabs {
		d.held = append(d.held, ticket{1, t0})
	}
	for tab := range p.tabs {
		d.after(p.pace.draw(d.rng), func() { d.wake(tab) })
	}
	return d
}

// store is where a tab keeps its token.
func (d *device) store(tab int) *ticket {
	if d.separate {
		return &d.held[tab]
	}
	return &d.held[0]
}

// serve is the whole server: load, decide, replace.
func (d *device) serve(t ticket) (ticket, Verdict) {
	sc := scene{s: d.vault.s, pol: d.pol, now: t0.Add(d.now), st: Standing{UserEpoch: d.vault.s.Epoch},
		p: Presented{Client: d.vault.s.Client, Generation: t.g, IssuedAt: t.issued, Genuine: true}}
	next, v := sc.refresh()
	d.count.rows[v.Row]++
	if err := lawful(sc, next, v); err != nil {
		d.count.broken = err
	}
	if v.Answer == Rotated || v.Answer == Recovered || !next.Chain.Seen.Equal(sc.s.Chain.Seen) || v.Answer == Reused {
		d.vault.commit(next)
		if d.losses > 0 && d.rng.Float64() < d.losses {
			d.after(span{ms, time.Hour}.draw(d.rng), func() { d.vault.lose(1 + d.rng.IntN(maxLost)) })
		}
	}
	c := d.vault.s.Chain
	return ticket{c.Newest, c.IssuedAt}, v
}

// wake starts one call, or several at about the same time.
func (d *device) wake(tab int) {
	if d.calls == 1 {
		d.call(tab, 0) // the next wake follows from what becomes of this call
		return
	}
	for range 1 + d.rng.IntN(d.calls) {
		d.after(d.weather.spread(d.rng), func() { d.call(tab, 0) })
	}
	d.later(d.pace, func() { d.wake(tab) })
}

// later waits, but never so long that the session would rightly be idle: not
// longer than the limit after the last use that the store remembers, and where
// the store forgets, after the last answer that the device stored.
func (d *device) later(wait span, do func()) {
	w := wait.draw(d.rng)
	if limit := d.pol.Idle; limit > 0 {
		from := d.vault.s.UsedAt
		if d.losses > 0 {
			from = d.held[0].issued
		}
		w = max(min(w, from.Add(limit-6*time.Hour).Sub(t0.Add(d.now))), time.Second)
	}
	d.after(w, do)
}

// pending is one call that waits for its answer.
type pending struct {
	tab, start, tries int
	open              bool
}

func (d *device) call(tab, tries int) {
	c := &pending{tab: tab, start: d.callers[tab].starts, tries: tries, open: true}
	d.callers[tab].waiting++
	sent := *d.store(tab)
	d.after(d.timeout.draw(d.rng), func() {
		if d.close(c) {
			d.retry(c)
		}
	})
	copies := 1
	if d.rng.Float64() < d.weather.doubled {
		copies = 2
	}
	for range copies {
		if d.rng.Float64() >= d.weather.lostRequest {
			d.after(d.weather.delay(d.rng), func() { d.arrive(c, sent) })
		}
	}
}

// close ends the waiting and reports whether anybody waited.
func (d *device) close(c *pending) bool {
	who := &d.callers[c.tab]
	if !c.open || c.start != who.starts {
		return false
	}
	c.open = false
	who.waiting--
	return true
}

func (d *device) arrive(c *pending, sent ticket) {
	got, v := d.serve(sent)
	if v.Answer == LateUse && sent.g == d.store(c.tab).g {
		d.count.stuck++
	}
	if d.served != nil {
		d.served(v)
	}
	if v.Answer == Refused || v.Answer == Reused {
		d.over = v.Reason
		return
	}
	if d.rng.Float64() >= d.weather.lostAnswer {
		d.after(d.weather.delay(d.rng), func() { d.receive(c, got, v) })
	}
}

// receive stores an answer that somebody still waits for, unless the app is
// killed at that very moment.
func (d *device) receive(c *pending, got ticket, v Verdict) {
	if !d.close(c) {
		return
	}
	store := d.store(c.tab)
	switch {
	case d.rng.Float64() < d.weather.killed:
		d.callers[c.tab] = caller{starts: c.start + 1}
		if d.calls == 1 {
			d.later(span{time.Second, day}, func() { d.wake(c.tab) })
		}
	case v.Answer == LateUse:
		d.after(time.Second, func() { d.call(c.tab, c.tries+1) })
	default:
		if d.calls == 1 && (d.tabs == 1 || d.separate) || d.backwards || got.g > store.g {
			if got.g != store.g {
				d.before = append(d.before[max(len(d.before)-7, 0):], *store)
			}
			*store = got
		}
		if d.calls == 1 {
			d.later(d.pace, func() { d.wake(c.tab) })
		}
	}
}

// retry comes again after seconds, hours or days. One of many parallel calls
// gives up after three tries: the app's next call is near.
func (d *device) retry(c *pending) {
	if d.calls > 1 {
		if c.tries < 3 {
			d.after(span{time.Second, 10 * time.Minute}.draw(d.rng), func() { d.call(c.tab, c.tries+1) })
		}
		return
	}
	wait := span{time.Second, time.Minute}
	switch r := d.rng.Float64(); {
	case r < .03:
		wait = span{time.Hour, 4 * day}
	case r < .2:
		wait = span{time.Minute, time.Hour}
	}
	d.later(wait, func() { d.wake(c.tab) })
}
