package history_test

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// The kinds of operations.
const (
	signIn     = "sign-in"
	refresh    = "refresh"
	introspect = "introspect"
	signOut    = "sign-out"
	everywhere = "everywhere"
)

// The kinds of outcomes.
const (
	tokens   = "tokens"
	refused  = "refused"
	late     = "late"
	done     = "done"
	active   = "active"
	inactive = "inactive"
	// unknown: there was no answer, or one that tells nothing. The operation may
	// have happened at any moment of its interval, or never.
	unknown = "unknown"
)

// question is what a client asked, with what the checker has to know about it.
// Times are in seconds.
type question struct {
	kind    string
	session int
	terms   *terms
	// generation and issued are the refresh token's; issued and expires are an
	// access token's.
	generation      uint32
	issued, expires int64
	// clock is every time that the store's clock showed during the operation.
	clock []int64
	node  int
	// races: a sign-out everywhere was under way at the same time.
	races bool
}

// reply is what the client was told.
type reply struct {
	kind       string
	generation uint32
	// at is the time that an access token says it was issued: the time of the read
	// that the answer rests on.
	at     int64
	reason string
}

// terms are the windows of a session, in seconds; 0 is off.
type terms struct {
	overlap, late, recovery, idle int64
	// skew is what introspection forgives.
	skew int64
}

// chain is one session as the table of design.md section 3 sees it. It is compared
// with ==, so its uses are an array.
type chain struct {
	opened        bool
	newest, first uint32
	used, seen    int64
	uses          [6]use
	count         int
	ended         string
}

// use is one accepted token: it was shown at a time and stood for low..high.
type use struct {
	low, high uint32
	at        int64
}

func (u use) stoodFor(g uint32) bool { return u.low <= g && g <= u.high }

// verdict is what the table says to a refresh token: the reply, and what becomes of
// the chain.
type verdict struct {
	reply reply
	next  chain
}

// says walks the table from the top for a genuine token of the right client. No row
// here is copied from the code under test: it is the third telling of the table,
// beside the code and the oracle of room session.
func (c chain) says(q question, now int64) verdict {
	t, g := q.terms, q.generation
	no := func(reason string) verdict { return verdict{reply{kind: refused, reason: reason}, c} }
	same := verdict{reply{kind: tokens, generation: c.newest, at: now}, c}
	fits := func(window, at int64) bool { return window > 0 && now-at <= window }
	var last *use
	if c.count > 0 {
		last = &c.uses[c.count-1]
	}
	// Row 2.
	if c.ended != "" {
		return no(c.ended)
	}
	if t.idle > 0 && now-c.used > t.idle {
		return no("idle")
	}
	// Rows 3 and 4: the token is live.
	if g > c.newest {
		return no("a token that was never issued")
	}
	if g >= c.first {
		if last != nil && fits(t.overlap, last.at) {
			if same.next.seen == 0 {
				same.next.seen = now
			}
			return same
		}
		return c.rotate(now)
	}
	// Row 5.
	for _, u := range c.uses[:c.count] {
		if u.stoodFor(g) && fits(t.overlap, u.at) {
			return same
		}
	}
	// Row 6.
	if last != nil && last.stoodFor(g) && c.seen == 0 && fits(t.recovery, last.at) {
		return c.recover(t, now)
	}
	// Row 7.
	for i, u := range c.uses[:c.count] {
		overtaken := u.at
		if i+1 < c.count {
			overtaken = c.uses[i+1].at
		} else if c.seen != 0 {
			overtaken = c.seen
		}
		if u.stoodFor(g) && fits(t.late, overtaken) {
			return verdict{reply{kind: late}, c}
		}
	}
	// Row 9.
	if t.idle > 0 && now-q.issued > t.idle {
		return no("superseded")
	}
	v := no("reuse")
	v.next.ended = "reuse"
	return v
}

func (c chain) rotate(now int64) verdict {
	if c.count == len(c.uses) {
		copy(c.uses[:], c.uses[1:])
		c.count--
	}
	c.uses[c.count] = use{c.first, c.newest, now}
	c.count++
	c.newest++
	c.first, c.used, c.seen = c.newest, now, 0
	return verdict{reply{kind: tokens, generation: c.newest, at: now}, c}
}

func (c chain) recover(t *terms, now int64) verdict {
	last := &c.uses[c.count-1]
	c.newest++
	if now-last.at > t.late+2*t.overlap {
		c.first = c.newest
	}
	last.at, c.used = now, now
	return verdict{reply{kind: tokens, generation: c.newest, at: now}, c}
}

// after lists the states in which an operation with this outcome can leave the
// session; none when it cannot have had this outcome.
func (c chain) after(q question, r reply) (all []chain) {
	switch q.kind {
	case signIn:
		return []chain{{opened: true, newest: 1, first: 1, used: q.clock[0]}}
	case refresh:
		return c.afterRefresh(q, r)
	case introspect:
		if c.answers(q, r) {
			return []chain{c}
		}
		return nil
	}
	// A sign-out, of this device or everywhere.
	over := c
	if over.ended == "" {
		over.ended = map[string]string{signOut: "signed_out", everywhere: "everywhere"}[q.kind]
	}
	all = []chain{over}
	if q.kind == signOut && q.races && c.ended == "everywhere" {
		all = append(all, c.endedBy("signed_out"))
	}
	switch r.kind {
	case done:
		return all
	case refused: // the access token was not good enough to ask
		if c.answers(q, reply{kind: inactive}) {
			return []chain{c}
		}
		return nil
	}
	return append(all, c)
}

// endedBy is an end that was decided before a sign-out everywhere and written after
// it. The account's row and the session's are two, and the session's reason is the
// one that is told from then on; nothing lives again.
func (c chain) endedBy(reason string) chain {
	c.ended = reason
	return c
}

func (c chain) afterRefresh(q question, r reply) (all []chain) {
	add := func(next chain) {
		if !slices.Contains(all, next) {
			all = append(all, next)
		}
	}
	if r.kind == unknown {
		add(c)
	}
	for _, now := range q.clock {
		v := c.says(q, now)
		if r.kind == unknown || r == v.reply {
			add(v.next)
		}
		if v.reply.kind == tokens && v.next != c && r == (reply{kind: tokens, generation: q.generation, at: now}) {
			// The store could be read and not written: the same token again, and
			// nothing has happened (design.md section 3, order inside one refresh).
			add(c)
		}
		if q.races && c.ended == "everywhere" && (r.kind == unknown || r == reply{kind: refused, reason: "reuse"}) && c.endedBy("").says(q, now).next.ended == "reuse" {
			add(c.endedBy("reuse"))
		}
	}
	return all
}

// answers reports whether introspection may answer so about an access token.
func (c chain) answers(q question, r reply) bool {
	for _, now := range q.clock {
		stands := c.ended == "" && now < q.expires+q.terms.skew
		if stands == (r.kind == active) {
			return true
		}
	}
	return false
}

// table is the model that histories are checked against: each session by itself.
func table() porcupine.Model {
	one := porcupine.NondeterministicModel{
		Init: func() []any { return []any{chain{}} },
		Step: func(state, in, out any) (next []any) {
			c, q := state.(chain), in.(question)
			if c.opened == (q.kind == signIn) {
				return nil
			}
			for _, n := range c.after(q, out.(reply)) {
				next = append(next, n)
			}
			return next
		},
		Equal: func(a, b any) bool { return a.(chain) == b.(chain) },
		Hash: func(a any) uint64 {
			c := a.(chain)
			return uint64(c.newest)<<20 ^ uint64(c.used)<<3 ^ uint64(len(c.ended))
		},
		DescribeOperation: func(in, out any) string {
			q, r := in.(question), out.(reply)
			return fmt.Sprintf("node %d %s %d (issued %d) clock %v: %s %d at %d %s", q.node, q.kind, q.generation, q.issued, q.clock, r.kind, r.generation, r.at, r.reason)
		},
		DescribeState: func(a any) string { return fmt.Sprintf("%+v", a) },
	}
	m := one.ToModel()
	m.Partition = bySession
	return m
}

func bySession(all []porcupine.Operation) (parts [][]porcupine.Operation) {
	place := map[int]int{}
	for _, o := range all {
		s := o.Input.(question).session
		i, ok := place[s]
		if !ok {
			i = len(parts)
			place[s] = i
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], o)
	}
	return parts
}
