package edxclients_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// fault is what a network does to one request and its answer.
type fault int

// The faults, the harmless first, so that a failure shrinks to few.
const (
	fine fault = iota
	slowly
	lostAnswer
	lostRequest
	doubled // it arrives twice
	tooLate // it arrives after its sender gave up
	cut     // half of the answer arrives
	kinds
)

// The times of a network.
const (
	latency  = 100 * time.Millisecond
	patience = 60 * time.Second // of a client, which is what both apps have
	slowest  = 20 * time.Second
	// held is how long a request may wander about before it arrives.
	held = 4 * time.Minute
)

// air is the network of one device. What it does, and which node a request comes
// to, is for a test to say; every wait passes on the clock alone.
type air struct {
	*school
	fault func(*http.Request) fault
	node  func() int
	// wandering are requests that will arrive after their senders gave up.
	wandering []wandering
	met       [kinds]int
	requests  int
	// last is what was said last.
	last answer
	// wire, when set, is a real network instead, to these addresses of the nodes.
	wire *http.Client
	to   []string
}

type wandering struct {
	arrive func()
	until  time.Time
}

// air makes the network of a device, without faults until a test says otherwise.
func (s *school) air() *air {
	a := &air{school: s}
	a.clear()
	s.airs = append(s.airs, a)
	return a
}

// clear ends all faults.
func (a *air) clear() {
	a.fault = func(*http.Request) fault { return fine }
	a.node = func() int { return a.requests % len(a.nodes) }
}

var errNetwork = errors.New("the network failed")

// RoundTrip implements http.RoundTripper.
func (a *air) RoundTrip(r *http.Request) (*http.Response, error) {
	a.requests++
	if a.wire != nil {
		r.URL.Host = a.to[a.node()]
		return a.wire.Do(r)
	}
	a.arrive(2 * patience)
	body := bodyOf(r)
	var to http.Handler = a.nodes[a.node()].Handler()
	if strings.HasPrefix(r.URL.String(), courses) {
		to = a.service
	}
	f := a.fault(r)
	a.met[f]++
	a.clock.advance(latency)
	switch f {
	case slowly:
		a.clock.advance(slowest)
	case lostRequest:
		a.clock.advance(patience)
		return nil, errNetwork
	case tooLate:
		a.wandering = append(a.wandering, wandering{func() { answered(to, r, body) }, a.clock.Now().Add(held)})
		a.clock.advance(patience)
		return nil, errNetwork
	}
	res := answered(to, r, body)
	a.clock.advance(latency)
	switch f {
	case lostAnswer:
		a.clock.advance(patience)
		return nil, errNetwork
	case doubled:
		answered(to, r, body)
	case cut:
		whole, _ := io.ReadAll(res.Body)
		if len(whole) > 0 {
			res.Body = io.NopCloser(io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), broken{}))
		}
	}
	return res, nil
}

// broken is a connection that was reset.
type broken struct{}

// Read implements io.Reader.
func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// arrive lets the wandering requests arrive that cannot wait for d more.
func (s *school) arrive(d time.Duration) {
	for _, a := range s.airs {
		a.wandering = slices.DeleteFunc(a.wandering, func(w wandering) bool {
			due := s.clock.Now().Add(d).After(w.until)
			if due {
				w.arrive()
			}
			return due
		})
	}
}

// pass lets time pass.
func (s *school) pass(d time.Duration) {
	s.arrive(d)
	s.clock.advance(d)
}

// answer is what a client heard.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error
}

// ask sends one request and reads the answer.
func (a *air) ask(method, at, body string, header map[string]string) answer {
	r, err := http.NewRequest(method, at, strings.NewReader(body))
	if err != nil {
		panic(err) // our own addresses
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	res, err := a.RoundTrip(r)
	if err != nil {
		return answer{err: err}
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{err: err}
	}
	a.last = answer{res.StatusCode, res.Header, b, nil}
	return a.last
}

// jar keeps the cookies of one browser by the browser's own clock.
type jar struct{ kept map[string]kept }

type kept struct {
	value, host string
	shared      bool
	until       time.Time
}

// keep takes over what an answer sets.
func (j *jar) keep(a answer, host string, now time.Time) {
	if j.kept == nil {
		j.kept = map[string]kept{}
	}
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			delete(j.kept, c.Name+" "+host)
			continue
		}
		j.kept[c.Name+" "+host] = kept{c.Value, host, c.Domain != "", now.Add(time.Duration(c.MaxAge) * time.Second)}
	}
}

// send is the Cookie header for a host.
func (j *jar) send(host string, now time.Time) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(j.kept)) {
		if k := j.kept[key]; now.Before(k.until) && (k.shared || k.host == host) {
			all = append(all, strings.Fields(key)[0]+"="+k.value)
		}
	}
	return strings.Join(all, "; ")
}

// read is the cookie that a script of a page would see.
func (j *jar) read(name, host string, now time.Time) string {
	if k, there := j.kept[name+" "+host]; there && now.Before(k.until) {
		return k.value
	}
	return ""
}
