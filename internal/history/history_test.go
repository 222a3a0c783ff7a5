package history_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"holdfast.example/internal/testsvc"
)

// The size of a history. HOLDFAST_HISTORY_OPS asks for another number of operations,
// HOLDFAST_HISTORY_MINUTES for an end before that, and HOLDFAST_SEED for the dice of
// another run. A long history is played by more users, because a round takes as long
// as its longest wait, however many play.
const (
	historyOps = 20_000
	users      = 8
	usersLong  = 40
	perRound   = 20 // operations of each caller between two rests
	longest    = 160
	checkWait  = 20 * time.Second
)

// number reads a number from the environment.
func number(t testing.TB, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%q is no number", name, text)
	}
	return n
}

// seedOf is the seed of a run: chosen anew each time, or told.
func seedOf(t testing.TB) uint64 {
	seed := uint64(number(t, "HOLDFAST_SEED", int(time.Now().UnixNano()%1_000_000_000)))
	t.Logf("seed: HOLDFAST_SEED=%d", seed)
	return seed
}

// The networks of the histories, before and behind each node.
var (
	mobile = testsvc.Faults{Mute: 0.005, Drop: 0.01, Hold: 0.0005, Delay: 0.03, Longest: 60 * time.Millisecond, Cut: 0.005, Lose: 0.02}
	rack   = testsvc.Faults{Mute: 0.002, Drop: 0.003, Hold: 0.0004, Delay: 0.01, Longest: 30 * time.Millisecond, Cut: 0.001, Lose: 0.004}
)

// TestHistory (FAULT-03): what many clients ask of 1, 2 and 3 nodes through networks that fail,
// and what they hear, is what one session alone in the world would have answered in
// some order. An end that one node acknowledged is therefore obeyed at once by
// refresh and introspection at every other.
func TestHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("runs nodes over PostgreSQL for a minute; run without -short")
	}
	ops := number(t, "HOLDFAST_HISTORY_OPS", historyOps)
	var mu sync.Mutex
	met := map[string]int{}
	t.Run("over", func(t *testing.T) {
		for i, share := range []int{20, 30, 50} {
			count := i + 1
			t.Run(fmt.Sprint(count, " nodes"), func(t *testing.T) {
				t.Parallel() // much of the time all callers wait for answers that were swallowed
				seed := seedOf(t)
				crowd := users
				if ops > historyOps {
					crowd = usersLong
				}
				p := newPlay(t, overPostgres(t, count, seed, nil), seed, crowd)
				p.run(t, ops*share/100)
				p.tell(t)
				if p.violations > 0 || p.undecided > p.checked/20 {
					t.Errorf("%d sessions of %d answered as one alone would not; of %d nobody knows", p.violations, p.checked, p.undecided)
				}
				mu.Lock()
				defer mu.Unlock()
				for name, n := range p.outcomes {
					met[name] += n
				}
			})
		}
	})
	if ops < historyOps {
		return
	}
	for _, name := range []string{"refresh tokens", "refresh refused reuse", "refresh refused signed_out", "refresh refused everywhere", "refresh refused idle",
		"refresh late", "refresh unknown", "introspect active", "introspect inactive", "sign-out done", "everywhere done"} {
		if met[name] == 0 {
			t.Errorf("nobody met %q: the histories show nothing about it", name)
		}
	}
}

// play is a history of a cluster under way.
type play struct {
	*record
	cluster *cluster
	devices []*device
	callers []*caller
	dice    *caller

	sessions, checked, violations int
	operations, undecided         int
	// quiet: violations are looked for, and not shown.
	quiet bool
	began time.Time
}

func newPlay(t *testing.T, c *cluster, seed uint64, users int) *play {
	t.Helper()
	p := &play{record: newRecord(c.clock), cluster: c, began: time.Now()}
	p.dice = newCaller(p.record, c, seed, 0)
	balanced := &terms{overlap: 60, late: 300, recovery: int64(idleLimit / time.Second), idle: int64(idleLimit / time.Second), skew: 30}
	alone := &terms{idle: balanced.idle, skew: 30}
	for i := range users {
		u := c.newUser(t, fmt.Sprintf("user-%d", i))
		own := []*device{{user: u.ID, client: phone, terms: balanced, callers: 2}, {user: u.ID, client: phone, terms: balanced, callers: 2}}
		if i%2 == 0 {
			own = append(own, &device{user: u.ID, client: strict, terms: alone, callers: 1})
		}
		for _, d := range own {
			d.siblings = slices.DeleteFunc(slices.Clone(own), func(o *device) bool { return o == d })
		}
		p.devices = append(p.devices, own...)
	}
	for _, d := range p.devices {
		p.renew(t, d)
		for range d.callers {
			p.callers = append(p.callers, newCaller(p.record, c, seed, uint64(len(p.callers)+1)))
		}
	}
	return p
}

// steps are how far the clock goes between two rounds, and jolts while one lasts.
var (
	steps = []time.Duration{time.Second, 20 * time.Second, 59 * time.Second, 61 * time.Second, 2 * time.Minute, 5 * time.Minute,
		6 * time.Minute, 8 * time.Minute, 20 * time.Minute, time.Hour, 30 * time.Hour}
	jolts = []time.Duration{0, 0, time.Second, 30 * time.Second, 61 * time.Second, 301 * time.Second}
)

// awhile is a rare step, after every seventh round: nobody uses any session for
// longer than the idle limit. No dice decide it, because a short history has so few
// rounds that they might never fall that way.
const (
	awhile      = idleLimit + time.Second
	awhileEvery = 7
	awhileFirst = 2
)

// run plays rounds until so many operations were asked. In a round all callers ask
// at once; between two rounds the cluster comes to rest, what is over is checked,
// and the clock goes on.
func (p *play) run(t *testing.T, ops int) {
	t.Helper()
	said := time.Now()
	limit := time.Duration(number(t, "HOLDFAST_HISTORY_MINUTES", 24*60)) * time.Minute
	for rounds := 0; p.operations < ops && time.Since(p.began) < limit; rounds++ {
		p.round()
		p.cluster.rest(t)
		p.close()
		for _, d := range p.devices {
			if d.over || d.asked > longest {
				p.check(t, d)
				p.renew(t, d)
			}
		}
		step := steps[p.dice.dice.IntN(len(steps))]
		if rounds%awhileEvery == awhileFirst {
			step = awhile
		}
		p.cluster.clock.advance(step)
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			t.Logf("%v: %d of %d operations, %d sessions checked, %d violations", time.Since(p.began).Round(time.Second), p.operations, ops, p.checked, p.violations)
		}
	}
	for _, d := range p.devices {
		p.check(t, d)
		p.renew(t, d)
	}
}

func (p *play) round() {
	p.cluster.spoil(mobile, rack)
	var asked atomic.Int64
	var all sync.WaitGroup
	jolt := jolts[p.dice.dice.IntN(len(jolts))]
	middle := int64(len(p.callers) * perRound / 2)
	i := 0
	for _, d := range p.devices {
		for range d.callers {
			c := p.callers[i]
			i++
			all.Go(func() {
				for range perRound {
					if !c.once(d) {
						break
					}
					if asked.Add(1) == middle && jolt > 0 {
						p.cluster.clock.advance(jolt)
					}
				}
				c.http.CloseIdleConnections()
			})
		}
	}
	all.Wait()
	p.operations += int(asked.Load())
	for _, d := range p.devices {
		d.open = 0
	}
}

// renew signs a device in again.
func (p *play) renew(t *testing.T, d *device) {
	t.Helper()
	p.sessions++
	d.signIn(t, p.record, p.cluster.nodes[p.dice.dice.IntN(len(p.cluster.nodes))], p.sessions)
}

// check looks for an order of what one session was asked and answered.
func (p *play) check(t *testing.T, d *device) {
	t.Helper()
	ops := p.take(d.session)
	p.checked++
	switch porcupine.CheckOperationsTimeout(table(), raced(ops), checkWait) {
	case porcupine.Ok:
	case porcupine.Unknown:
		p.undecided++
		t.Logf("session %d: neither an order of %d operations nor the lack of one was found in %v", d.session, len(ops), checkWait)
	default:
		p.violations++
		if p.violations <= 3 && !p.quiet {
			t.Logf("session %d of client %s has no order:\n%s", d.session, d.client, show(ops))
		}
	}
}

// raced marks what was under way together with a sign-out everywhere.
func raced(ops []porcupine.Operation) []porcupine.Operation {
	for i, o := range ops {
		q := o.Input.(question)
		for _, e := range ops {
			if e.Input.(question).kind == everywhere && o.Call <= e.Return && e.Call <= o.Return {
				q.races = true
			}
		}
		ops[i].Input = q
	}
	return ops
}

// show lists operations as people read them.
func show(ops []porcupine.Operation) string {
	var b strings.Builder
	m := table()
	slices.SortFunc(ops, func(x, y porcupine.Operation) int { return int(x.Call - y.Call) })
	for _, o := range ops {
		fmt.Fprintf(&b, "  [%d, %d] %s\n", o.Call, o.Return, m.DescribeOperation(o.Input, o.Output))
	}
	return b.String()
}

// tell says what was played.
func (p *play) tell(t *testing.T) {
	t.Helper()
	var before, behind testsvc.Counts
	for _, n := range p.cluster.nodes {
		before, behind = before.Add(n.before.Counts()), behind.Add(n.behind.Counts())
	}
	t.Logf("%d operations on %d sessions over %d nodes in %v, %d violations, %d undecided", p.operations, p.checked, len(p.cluster.nodes), time.Since(p.began).Round(time.Second), p.violations, p.undecided)
	t.Logf("before the nodes: %+v", before)
	t.Logf("behind the nodes: %+v", behind)
	for _, name := range slices.Sorted(maps.Keys(p.outcomes)) {
		t.Logf("%7d %s", p.outcomes[name], name)
	}
}
