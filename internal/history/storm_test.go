package history_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/token"
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
)

// weather is what becomes of a request and its answer, in shares of one. The five
// that are not fair are 30 % of all.
var weather = []struct {
	share float64
	what  string
}{
	{0.06, "request lost"},
	{0.07, "answer lost"},
	{0.05, "caller gone"}, // the phone hangs up as soon as it has sent
	{0.06, "doubled"},
	{0.06, "delivered late"},
}

// handset is an app as people write it: one stored token, one call at a time and
// sometimes two, a call again when no answer came, and a death now and then
// between an answer and the storage.
type handset struct {
	number  int
	dice    *rand.Rand
	session id.Session

	mu         sync.Mutex
	stored     string
	generation uint32
	// fresh: an answer of this round was stored.
	fresh bool
	// later are requests that the network still carries.
	later []string
}

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

// calls is one call of a phone, or two at once.
func (s *storm) calls(p *handset) {
	dice := []*rand.Rand{rand.New(rand.NewPCG(p.dice.Uint64(), 1))}
	if p.dice.IntN(8) == 0 {
		dice = append(dice, rand.New(rand.NewPCG(p.dice.Uint64(), 2)))
	}
	stored := p.stored
	var both sync.WaitGroup
	for _, d := range dice {
		both.Go(func() { s.call(p, stored, d) })
	}
	both.Wait()
}

// call sends one request into the weather.
func (s *storm) call(p *handset, stored string, dice *rand.Rand) {
	what := "fair"
	roll := dice.Float64()
	for _, w := range weather {
		if roll -= w.share; roll < 0 {
			what = w.what
			break
		}
	}
	s.count(what)
	ctx := context.Background()
	switch what {
	case "request lost":
		return
	case "delivered late":
		p.mu.Lock()
		p.later = append(p.later, stored)
		p.mu.Unlock()
		return
	case "answer lost":
		s.send(ctx, p, stored)
		return
	case "caller gone":
		gone, leave := context.WithCancel(ctx)
		defer leave()
		s.send(httptrace.WithClientTrace(gone, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { leave() }}), p, stored)
		return
	}
	var double sync.WaitGroup
	if what == "doubled" {
		double.Go(func() { s.send(ctx, p, stored) })
	}
	answer := s.send(ctx, p, stored)
	double.Wait()
	if answer == "" {
		return
	}
	if dice.IntN(50) == 0 {
		s.count("killed before storing")
		return
	}
	p.store(s, stored, answer)
}

// store keeps an answer when the stored token is still the one that was sent.
func (p *handset) store(s *storm, sent, answer string) {
	opened, err := token.Refreshes{Keys: s.cluster.nodes[0].Keys}.Decode(secret.New(answer))
	if err != nil {
		s.refused(p, "an answer that cannot be read: "+err.Error())
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stored == sent {
		p.stored, p.generation = answer, opened.Generation
	}
	p.fresh = true
}

// send asks for a refresh and gives the refresh token of the answer, "" for none.
func (s *storm) send(ctx context.Context, p *handset, stored string) string {
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {phone}, "refresh_token": {stored}}
	status, reason, body := s.post(ctx, p, form.Encode())
	var in struct {
		Refresh string `json:"refresh_token"`
	}
	switch {
	case status == 0:
		s.count("no answer")
	case status == http.StatusServiceUnavailable:
		s.count(strings.TrimSpace("try again " + reason))
	case status != http.StatusOK:
		s.refused(p, fmt.Sprint(status, " ", reason))
	case json.Unmarshal(body, &in) != nil:
		s.refused(p, "an answer that is no JSON: "+string(body))
	default:
		s.count("answered")
	}
	return in.Refresh
}

// post asks whatever node, through a socket or in the process. Status 0 is no answer.
func (s *storm) post(ctx context.Context, p *handset, form string) (status int, reason string, body []byte) {
	s.mu.Lock()
	n := s.cluster.nodes[s.dice.IntN(len(s.cluster.nodes))]
	s.mu.Unlock()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.base+"/oauth2/token", strings.NewReader(form))
	if err != nil {
		panic(err) // our own address
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p.number%100 >= s.sockets {
		if trace := httptrace.ContextClientTrace(ctx); trace != nil {
			go trace.WroteRequest(httptrace.WroteRequestInfo{})
		}
		r.RemoteAddr = "192.0.2.1:4711"
		w := httptest.NewRecorder()
		n.Handler().ServeHTTP(w, r)
		if ctx.Err() != nil {
			return 0, "", nil
		}
		return w.Code, w.Header().Get("Holdfast-Reason"), w.Body.Bytes()
	}
	res, err := s.http.Do(r)
	if err != nil {
		return 0, "", nil
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, "", nil
	}
	return res.StatusCode, res.Header.Get("Holdfast-Reason"), body
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
		if answer := s.send(context.Background(), p, p.stored); answer == "" {
			s.refused(p, "no answer on the day after")
		}
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
