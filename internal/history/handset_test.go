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

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/token"
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
