package history_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// The size of a storm. HOLDFAST_STORM_SESSIONS asks for another number of phones,
// HOLDFAST_STORM_SOCKETS for another share of them that calls through sockets.
const (
	stormSessions = 500
	stormSockets  = 10
	stormRounds   = 50
	perUser       = 5
	stormWorkers  = 16
	stormWait     = 30 * time.Second // for an answer that is not lost
	calmTries     = 10
	calmPause     = time.Second
)

// storm is many phones and their network.
type storm struct {
	cluster *cluster
	http    *http.Client
	phones  []*handset
	// sockets is how many of a hundred phones call through a real connection; the
	// others call the node's handler, which costs a third.
	sockets int

	mu     sync.Mutex
	dice   *rand.Rand
	counts map[string]int
	// signedOut are refusals, which no phone here has deserved.
	signedOut []string
}

// TestStorm (promise P1): a third of all answers is lost, doubled or late, phones
// call twice at once and die with an answer in hand, and nobody is signed out.
func TestStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("sends a hundred thousand requests; run without -short")
	}
	phones := number(t, "HOLDFAST_STORM_SESSIONS", stormSessions)
	for name, c := range map[string]struct {
		share int // of the phones, in hundredths
		start func(*testing.T, uint64) *cluster
	}{
		"SQLite":                      {100, func(t *testing.T, _ uint64) *cluster { return overSQLite(t) }},
		"PostgreSQL":                  {10, func(t *testing.T, seed uint64) *cluster { return overPostgres(t, 1, seed, nil) }},
		"two nodes, and one database": {100, func(t *testing.T, seed uint64) *cluster { return overPostgres(t, 2, seed, nil) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := seedOf(t)
			s := newStorm(t, c.start(t, seed), phones*c.share/100, seed)
			said := time.Now()
			for round := range stormRounds {
				s.round(t, rand.New(rand.NewPCG(seed, uint64(round))))
				if time.Since(said) > 10*time.Second {
					said = time.Now()
					t.Logf("round %d of %d: %d refusals", round+1, stormRounds, len(s.signedOut))
				}
			}
			s.calm(t)
			s.tell(t)
		})
	}
}

func newStorm(t *testing.T, c *cluster, phones int, seed uint64) *storm {
	t.Helper()
	s := &storm{cluster: c, counts: map[string]int{}, sockets: number(t, "HOLDFAST_STORM_SOCKETS", stormSockets), dice: rand.New(rand.NewPCG(seed, 1)),
		http: &http.Client{Timeout: stormWait, Transport: &http.Transport{MaxIdleConnsPerHost: 4 * stormWorkers, DisableCompression: true}}}
	t.Cleanup(s.http.CloseIdleConnections)
	var owner id.User
	var epoch uint32
	for i := range phones {
		if i%perUser == 0 {
			u := c.newUser(t, fmt.Sprint("owner-", i))
			owner, epoch = u.ID, u.Epoch
		}
		turn, err := c.nodes[0].Sessions.Open(t.Context(), session.SignIn{User: owner, Epoch: epoch, Client: phone, Scope: "openid", Grant: "password", AMR: "pwd",
			Device: session.Device{Install: session.InstallDigest(fmt.Sprint("install-", i))}, Policy: session.Policy{Rotate: true}})
		if err != nil {
			t.Fatal(err)
		}
		s.phones = append(s.phones, &handset{number: i, dice: rand.New(rand.NewPCG(seed, uint64(i)<<20)), session: turn.Session.ID, stored: turn.Token.Reveal(), generation: 1})
	}
	return s
}

// waits are how long a phone waits before it calls again, and the moments at which
// the network delivers what it still carries. All of a phone's calls of one round
// lie within one overlap, and nothing arrives later than late.
var (
	waits = []time.Duration{8 * time.Second, 15 * time.Second, 20 * time.Second}
	hauls = []time.Duration{40 * time.Second, 150 * time.Second}
	gaps  = []time.Duration{61 * time.Second, 10 * time.Minute, time.Hour, 20 * time.Hour}
)

// round is one refresh of every phone: the call, the calls again of those that
// heard nothing, and what arrives after everybody has given up.
func (s *storm) round(t *testing.T, dice *rand.Rand) {
	t.Helper()
	for _, p := range s.phones {
		p.fresh = false
	}
	s.all(func(p *handset) { s.calls(p) })
	for _, wait := range waits {
		s.cluster.clock.advance(wait)
		s.all(func(p *handset) {
			if !p.fresh && p.dice.Float64() < 0.95 { // the others are put away until the next round
				s.calls(p)
			}
		})
	}
	for _, haul := range hauls {
		s.cluster.clock.advance(haul)
		s.all(func(p *handset) {
			var rest []string
			for _, stored := range p.later {
				if p.dice.IntN(2) == 0 && haul != hauls[len(hauls)-1] {
					rest = append(rest, stored)
					continue
				}
				s.send(t.Context(), p, stored)
			}
			p.later = rest
		})
	}
	s.cluster.clock.advance(gaps[dice.IntN(len(gaps))])
}

// all lets every phone do something, some of them at once.
func (s *storm) all(do func(*handset)) {
	next := make(chan *handset)
	var workers sync.WaitGroup
	for range stormWorkers {
		workers.Go(func() {
			for p := range next {
				do(p)
			}
		})
	}
	for _, p := range s.phones {
		next <- p
	}
	close(next)
	workers.Wait()
}

func (s *storm) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

func (s *storm) refused(p *handset, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signedOut = append(s.signedOut, fmt.Sprintf("phone %d: %s", p.number, why))
}

// calm is the day after: every phone refreshes once more, and there is one row for
// each of them.
func (s *storm) calm(t *testing.T) {
	t.Helper()
	s.cluster.clock.advance(time.Hour)
	s.all(func(p *handset) {
		for range calmTries {
			if s.send(context.Background(), p, p.stored) != "" {
				return
			}
			time.Sleep(calmPause) // the server is busy
		}
		s.refused(p, "no answer on the day after")
	})
	store := s.cluster.nodes[0].Sessions.Store
	rows, seen := 0, map[id.User]bool{}
	for _, p := range s.phones {
		l, err := store.Load(t.Context(), p.session)
		if err != nil || l.Session.EndReason != "" {
			t.Errorf("phone %d: %v, ended %q", p.number, err, l.Session.EndReason)
		}
		if err != nil || seen[l.Session.User] {
			continue
		}
		seen[l.Session.User] = true
		all, err := store.Find(t.Context(), session.Query{User: l.Session.User, Ended: true, Limit: 100})
		if err != nil {
			t.Error(err)
		}
		rows += len(all)
	}
	if rows != len(s.phones) {
		t.Errorf("%d rows for %d phones", rows, len(s.phones))
	}
}

// tell says what happened, and refuses a storm in which nothing did.
func (s *storm) tell(t *testing.T) {
	t.Helper()
	t.Logf("%d phones, %d rounds: %v", len(s.phones), stormRounds, s.counts)
	turns := map[string]float64{}
	ends := 0.0
	for _, n := range s.cluster.nodes {
		for line := range strings.Lines(figures(n)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
			var v float64
			_, _ = fmt.Sscan(value, &v)
			if answer, ok := strings.CutPrefix(name, `holdfast_refresh_total{answer="`); ok {
				turns[strings.TrimSuffix(answer, `"`)] += v
			}
			if strings.HasPrefix(name, "session_ended_total{") {
				ends += v
			}
		}
	}
	t.Logf("answers: %v", turns)
	if len(s.signedOut) > 0 || ends > 0 {
		t.Errorf("%d refusals, %v ends; the first: %v", len(s.signedOut), ends, s.signedOut[:min(5, len(s.signedOut))])
	}
	if least := 0.9 * float64(len(s.phones)*stormRounds); turns["rotated"] < least {
		t.Errorf("%v refreshes rotated, fewer than %v: the clock stood still", turns["rotated"], least)
	}
	for _, w := range weather {
		if s.counts[w.what] == 0 {
			t.Errorf("no %s: that was no storm", w.what)
		}
	}
	if turns["recovered"] == 0 || turns["repeated"] == 0 {
		t.Error("nothing was lost")
	}
}

// figures are a node's metrics.
func figures(n *node) string {
	w := httptest.NewRecorder()
	n.Metrics().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}
