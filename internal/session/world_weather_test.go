package session_test

import (
	"math"
	"math/rand/v2"
	"time"

	. "holdfast.example/internal/session"
)

// clock is the world's virtual time: a queue of what happens when.
type clock struct {
	now   time.Duration // since t0
	queue []happens     // latest first
}

type happens struct {
	at time.Duration
	do func()
}

func (c *clock) after(wait time.Duration, do func()) {
	at := c.now + wait.Truncate(ms)
	i := len(c.queue)
	for i > 0 && c.queue[i-1].at <= at {
		i--
	}
	c.queue = append(c.queue, happens{})
	copy(c.queue[i+1:], c.queue[i:])
	c.queue[i] = happens{at, do}
}

// run lets time pass until the end, or until stop says so.
func (c *clock) run(end time.Duration, stop func() bool) {
	for len(c.queue) > 0 && !stop() {
		next := c.queue[len(c.queue)-1]
		if next.at > end {
			return
		}
		c.queue = c.queue[:len(c.queue)-1]
		c.now = next.at
		next.do()
	}
}

// vault is a store of one session that keeps its last commits and can lose them.
type vault struct {
	s    Session
	past []Session
}

const maxLost = 5

func (v *vault) commit(next Session) {
	if len(v.past) == maxLost {
		copy(v.past, v.past[1:])
		v.past = v.past[:maxLost-1]
	}
	v.past, v.s = append(v.past, v.s), next
}

func (v *vault) lose(n int) {
	if n = min(n, len(v.past)); n > 0 {
		v.s = v.past[len(v.past)-n]
		v.past = v.past[:len(v.past)-n]
	}
}

// ticket is a refresh token as its bearer keeps it.
type ticket struct {
	g      Generation
	issued time.Time
}

// span is a length of time drawn so that seconds and days are equally likely.
type span struct{ low, high time.Duration }

func (s span) draw(r *rand.Rand) time.Duration {
	low, high := math.Log(float64(s.low)), math.Log(float64(s.high))
	return time.Duration(math.Exp(low + r.Float64()*(high-low)))
}

// weather is what the network and the phone's owner do to a call: each number
// is a share of 1.
type weather struct {
	lostRequest, lostAnswer, doubled, slow, killed float64
	latest                                         time.Duration // the slowest delivery
	edges                                          bool          // delays lie on the edges of the windows
}

var (
	fair  = weather{lostRequest: .01, lostAnswer: .02, doubled: .01, slow: .02, killed: .002, latest: late}
	storm = weather{lostRequest: .1, lostAnswer: .3, doubled: .15, slow: .2, killed: .02, latest: late}
	edges = weather{lostRequest: .1, lostAnswer: .2, doubled: .5, killed: .05, latest: late, edges: true}
)

func (w weather) delay(r *rand.Rand) time.Duration {
	if w.edges && r.IntN(4) == 0 {
		return time.Duration(r.Float64() * float64(overlap))
	}
	if w.edges {
		at := [...]time.Duration{0, 0, 0, ms, overlap - ms, overlap, overlap + ms, late - overlap, late - ms, late}
		return at[r.IntN(len(at))]
	}
	if r.Float64() < w.slow {
		return span{2 * time.Second, w.latest}.draw(r)
	}
	return span{20 * ms, 2 * time.Second}.draw(r)
}

// spread is how far the calls of one moment lie apart: mostly close together,
// and where everything lies on an edge, over two overlaps, so that one call
// reads the stored token just before the answer to another one is stored.
func (w weather) spread(r *rand.Rand) time.Duration {
	if w.edges {
		return time.Duration(r.Float64() * 2 * float64(overlap))
	}
	return span{ms, overlap}.draw(r)
}
