package history_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/anishathalye/porcupine"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// made is a made-up history of one session: signed in at 0 with the windows of
// balanced, and then one operation a line.
//
//	call-return kind generation at clock: outcome generation at reason
type made []string

var balanced = &terms{overlap: 60, late: 300, recovery: 1000, idle: 1000, skew: 30}

func (m made) operations(t *testing.T, w *terms) []porcupine.Operation {
	t.Helper()
	all := []porcupine.Operation{{Input: question{kind: signIn, terms: w, clock: []int64{0}}, Output: reply{kind: done}}}
	for _, line := range m {
		asked, answered, _ := strings.Cut(line, ":")
		var o porcupine.Operation
		q, r := question{terms: w, expires: 900}, reply{}
		var now int64
		if _, err := fmt.Sscanf(asked, "%d-%d %s %d clock %d", &o.Call, &o.Return, &q.kind, &q.generation, &now); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		q.clock = []int64{now}
		_, _ = fmt.Sscan(answered, &r.kind, &r.generation, &r.at, &r.reason)
		if r.kind == refused {
			_, _ = fmt.Sscan(answered, &r.kind, &r.reason)
		}
		o.Input, o.Output = q, r
		all = append(all, o)
	}
	return raced(all)
}

// TestTheCheckerKnowsTheTable: histories that one session alone could have, and
// those that none could.
func TestTheCheckerKnowsTheTable(t *testing.T) {
	for name, c := range map[string]struct {
		history made
		order   bool
	}{
		"a life": {made{
			"1-2 refresh 1 clock 10: tokens 2 10",
			"3-4 refresh 1 clock 11: tokens 2 11",
			"5-6 refresh 2 clock 100: tokens 3 100",
			"7-8 refresh 1 clock 101: late",
			"9-10 introspect 0 clock 101: active",
			"11-12 sign-out 1 clock 101: done",
			"13-14 refresh 3 clock 101: refused signed_out",
			"15-16 introspect 0 clock 101: inactive"}, true},
		"a lost answer is recovered": {made{
			"1-99 refresh 1 clock 10: unknown",
			"3-4 refresh 1 clock 500: tokens 3 500"}, true},
		"the request was lost": {made{
			"1-99 refresh 1 clock 10: unknown",
			"3-4 refresh 1 clock 500: tokens 2 500"}, true},
		"an unknown outcome that comes later": {made{
			"1-99 sign-out 1 clock 10: unknown",
			"3-4 refresh 1 clock 10: tokens 2 10",
			"5-6 refresh 2 clock 10: refused signed_out"}, true},
		"theft": {made{
			"1-2 refresh 1 clock 10: tokens 2 10",
			"3-4 refresh 2 clock 100: tokens 3 100",
			"5-6 refresh 1 clock 500: refused reuse",
			"7-8 refresh 3 clock 500: refused reuse"}, true},
		"the store was not writable": {made{
			"1-2 refresh 1 clock 10: tokens 1 10",
			"3-4 refresh 1 clock 500: tokens 2 500"}, true},
		"two at once": {made{
			"1-4 refresh 1 clock 10: tokens 2 10",
			"2-3 refresh 1 clock 10: tokens 2 10"}, true},

		"a compare-and-swap that was skipped: two successors of one token": {made{
			"1-4 refresh 1 clock 10: tokens 2 10",
			"2-3 refresh 1 clock 10: tokens 3 10"}, false},
		"a rotation that was forgotten": {made{
			"1-2 refresh 1 clock 10: tokens 2 10",
			"3-4 refresh 2 clock 100: tokens 3 100",
			"5-6 refresh 2 clock 500: tokens 3 500"}, false},
		"a reused token that is answered": {made{
			"1-2 refresh 1 clock 10: tokens 2 10",
			"3-4 refresh 2 clock 100: tokens 3 100",
			"5-6 refresh 1 clock 500: tokens 4 500"}, false},
		"a reused token that ends nothing": {made{
			"1-2 refresh 1 clock 10: tokens 2 10",
			"3-4 refresh 2 clock 100: tokens 3 100",
			"5-6 refresh 1 clock 500: refused reuse",
			"7-8 refresh 3 clock 500: tokens 4 500"}, false},
		"an honest retry that is taken for theft": {made{
			"1-2 refresh 1 clock 10: tokens 2 10",
			"3-4 refresh 1 clock 40: refused reuse"}, false},
		"an end that one node forgot: refresh": {made{
			"1-2 sign-out 1 clock 10: done",
			"3-4 refresh 1 clock 10: tokens 2 10"}, false},
		"an end that one node forgot: introspection": {made{
			"1-2 refresh 1 clock 10: tokens 2 10",
			"3-4 sign-out 1 clock 10: done",
			"5-6 introspect 0 clock 10: active"}, false},
		"an end everywhere that one node forgot": {made{
			"1-2 refresh 1 clock 10: tokens 2 10",
			"3-4 everywhere 1 clock 10: done",
			"5-6 introspect 0 clock 10: active"}, false},
		"an end that comes back": {made{
			"1-9 sign-out 1 clock 10: unknown",
			"2-3 introspect 0 clock 10: inactive",
			"4-5 introspect 0 clock 10: active"}, false},
		"a sign-out for no reason": {made{
			"1-2 refresh 1 clock 10: refused signed_out"}, false},
		"an access token from another time": {made{
			"1-2 refresh 1 clock 10: tokens 2 11"}, false},
		"a recovery that voids nothing": {made{
			"1-99 refresh 1 clock 10: unknown",
			"3-4 refresh 1 clock 900: tokens 3 900",
			"5-6 refresh 2 clock 970: tokens 4 970"}, false},
		"a reason that changes": {made{
			"1-2 everywhere 1 clock 10: done",
			"3-4 sign-out 1 clock 10: done",
			"5-6 refresh 1 clock 10: refused signed_out"}, false},
		"a reason that an end gave which was under way": {made{
			"1-2 everywhere 1 clock 10: done",
			"1-4 sign-out 1 clock 10: done",
			"3-3 refresh 1 clock 10: refused everywhere",
			"5-6 refresh 1 clock 10: refused signed_out"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := porcupine.CheckOperations(table(), c.history.operations(t, balanced)); got != c.order {
				t.Errorf("an order was found: %v\n%s", got, strings.Join(c.history, "\n"))
			}
		})
	}
}

// brokenOps is how long a broken cluster is watched at most.
const brokenOps = 20_000

// TestTheCheckerFindsBrokenNodes: real nodes whose store breaks one promise are
// found out by the same players that find no fault in whole ones.
func TestTheCheckerFindsBrokenNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs nodes over PostgreSQL; run without -short")
	}
	for name, change := range map[string]wire{
		"a lost compare-and-swap is taken for a won one": func(_ int, s session.Store) session.Store { return gullible{s} },
		"one node forgets ends":                          func(node int, s session.Store) session.Store { return &forgetful{Store: s, forgets: node == 1} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := seedOf(t)
			p := newPlay(t, overPostgres(t, 2, seed, change), seed, users)
			p.quiet = true
			for p.violations == 0 && p.operations < brokenOps {
				p.run(t, p.operations+1)
			}
			if p.violations == 0 {
				t.Errorf("%d operations, and nobody noticed", p.operations)
			}
			t.Logf("found after %d operations", p.operations)
		})
	}
}

// gullible believes that every replacement succeeded.
type gullible struct{ session.Store }

func (g gullible) Replace(ctx context.Context, c session.Change) error {
	if err := g.Store.Replace(ctx, c); err != session.ErrChanged {
		return err
	}
	return nil
}

// forgetful keeps what it has read of a session that stood.
type forgetful struct {
	session.Store
	forgets bool
	mu      sync.Mutex
	stood   map[id.Session]session.Loaded
}

func (f *forgetful) Load(ctx context.Context, which id.Session) (session.Loaded, error) {
	l, err := f.Store.Load(ctx, which)
	if err != nil || !f.forgets {
		return l, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stood == nil {
		f.stood = map[id.Session]session.Loaded{}
	}
	if l.Session.EndReason == "" {
		f.stood[which] = l
	} else if before, ok := f.stood[which]; ok {
		before.Now = l.Now
		return before, nil
	}
	return l, nil
}
