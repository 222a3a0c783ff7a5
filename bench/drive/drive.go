// Package drive puts load on the token endpoint of any OAuth 2.0 server from
// outside, and measures it: throughput, latency, errors, and what the server's
// processes used meanwhile.
//
// Each worker has one kept-alive connection and its own share of the devices,
// and every device follows the rotation of its refresh token. Every answer is
// verified. A device whose refresh is refused is dead: its user is signed out.
//
// The load is a closed loop (each worker sends when it has its answer) or, with
// Options.Rate, an open one (requests are due at fixed times, and an answer's
// latency counts from when its request was due, so that a server which stalls
// does not get fewer requests for it).
package drive

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdfast.example/bench/proctree"
)

// Scenarios are the operations that can be measured.
var Scenarios = []string{Refresh, Password, ClientCredentials, Introspect, Revoke, Get}

// The scenarios.
const (
	// Refresh is RFC 6749 section 6, one device after the other.
	Refresh = "refresh"
	// Password is a sign-in with the password grant (RFC 6749 section 4.3).
	Password = "password"
	// ClientCredentials is RFC 6749 section 4.4.
	ClientCredentials = "client_credentials"
	// Introspect is RFC 7662 on the devices' tokens.
	Introspect = "introspect"
	// Revoke is RFC 7009; each operation uses up one device.
	Revoke = "revoke"
	// Get is a plain GET of Options.URL.
	Get = "get"
)

// Options say what to do to which server.
type Options struct {
	Name, Scenario string
	// URL is the token endpoint, or what Get asks for; for Refresh it may be those
	// of several servers, separated by commas, among which the connections are dealt
	// out. The others are needed by the scenarios of their name.
	URL, IntrospectURL, RevokeURL string
	// ClientSecret is empty for a public client. Auth is none, basic or post.
	ClientID, ClientSecret, Auth string
	// User may hold %d, the number of the device modulo Users.
	User, Password string
	Users          int
	Scope          string
	// MustRotate makes a refresh that answers the same refresh token, or none, an
	// error. Without it both are counted.
	MustRotate bool
	// JWT makes an access token that is no JWT an error.
	JWT bool
	// AccessTokens makes Introspect ask about access tokens, not refresh tokens.
	AccessTokens bool

	Connections    int
	Rate           float64 // arrivals per second; 0 is a closed loop
	Warm, Duration time.Duration
	// Processes are the roots of the trees whose CPU and memory count. Apart are
	// those among them, like a database's, whose CPU is also told by itself.
	Processes, Apart []int
}

func (o Options) check() error {
	needs := map[string]string{Refresh: o.URL, Password: o.URL, ClientCredentials: o.URL, Introspect: o.IntrospectURL, Revoke: o.RevokeURL, Get: o.URL}
	address, known := needs[o.Scenario]
	switch {
	case !known:
		return fmt.Errorf("unknown scenario %q; there are %v", o.Scenario, Scenarios)
	case address == "":
		return fmt.Errorf("the scenario %s needs the address of its endpoint", o.Scenario)
	case o.Auth != "none" && o.Auth != "basic" && o.Auth != "post":
		return fmt.Errorf("unknown client authentication %q: none, basic or post", o.Auth)
	case o.Connections < 1 || o.Users < 1 || o.Rate < 0 || o.Duration < 0 || o.Warm < 0:
		return errors.New("connections and users are at least 1, and nothing is negative")
	case strings.Contains(o.URL, ",") && o.Scenario != Refresh:
		return errors.New("only refreshes go to several servers")
	}
	return nil
}

// The phases of a run. What ends in the measured phase counts.
const (
	warming int32 = iota
	measuring
	over
)

// worker is one connection with its devices.
type worker struct {
	run     *run
	number  int
	token   target
	conn    connection
	check   checker
	devices []*Device
	next    int
	body    []byte
	tally   tally
}

// tally is what one worker counted in the measured phase.
type tally struct {
	took          []time.Duration
	kinds         map[string]int64
	rotated, same int64
}

// run is one measurement.
type run struct {
	Options
	operation operation
	endpoint  target // of the scenario
	began     time.Time
	phase     atomic.Int32
	tickets   atomic.Int64
}

// Run measures one scenario with these devices, which it leaves with the tokens
// they have now.
func Run(o Options, devices []*Device) (Result, error) {
	err := o.check()
	if err != nil {
		return Result{}, err
	}
	r := &run{Options: o, operation: operations[o.Scenario]}
	tokens, endpoint, err := o.targets()
	if err != nil {
		return Result{}, err
	}
	r.endpoint = endpoint
	if len(devices) < 1 && (o.Scenario == Refresh || o.Scenario == Introspect || o.Scenario == Revoke) {
		return Result{}, fmt.Errorf("the scenario %s needs devices", o.Scenario)
	}
	workers := make([]*worker, o.Connections)
	for i := range workers {
		workers[i] = &worker{run: r, number: i, token: tokens[i%len(tokens)], check: checker{jwt: o.JWT}, tally: tally{kinds: map[string]int64{}}}
	}
	for i, d := range devices {
		w := workers[i%len(workers)]
		w.devices = append(w.devices, d)
	}
	w, err := r.measure(workers)
	if err != nil {
		return Result{}, err
	}
	return o.result(workers, devices, w), nil
}

// window is what was read at both ends of the measured phase.
type window struct {
	length             time.Duration
	server, apart, own proctree.Usage
}

func (r *run) measure(workers []*worker) (w window, err error) {
	r.began = time.Now()
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(w.work)
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	defer func() { r.phase.Store(over); <-done }()

	wait(r.Warm, done)
	stop, err := r.account()
	if err != nil {
		return w, err
	}
	from := time.Now()
	r.phase.Store(measuring)
	wait(r.Duration, done)
	r.phase.Store(over)
	w.length = time.Since(from)
	return w, stop(&w)
}

// account begins to count what the server and this process use, when the server
// is on this machine.
func (r *run) account() (stop func(*window) error, err error) {
	if len(r.Processes) == 0 {
		return func(*window) error { return nil }, nil
	}
	var all [3]*proctree.Sampler
	for i, roots := range [][]int{r.Processes, r.Apart, {os.Getpid()}} {
		all[i], err = proctree.Start(roots...)
		if err != nil {
			return nil, err
		}
	}
	return func(w *window) (err error) {
		for i, into := range []*proctree.Usage{&w.server, &w.apart, &w.own} {
			used, failed := all[i].Stop()
			*into, err = used, errors.Join(err, failed)
		}
		return err
	}, nil
}

func wait(d time.Duration, done <-chan struct{}) {
	select {
	case <-time.After(d):
	case <-done:
	}
}

// errNothingLeft ends a worker whose devices are dead or used up.
var errNothingLeft = errors.New("nothing left to do")

// pause keeps a server that refuses everything from turning the client into a
// spinning wheel.
const pause = 2 * time.Millisecond

func (w *worker) work() {
	defer w.conn.close()
	r := w.run
	for r.phase.Load() != over {
		start := time.Now()
		if r.Rate > 0 {
			due := r.began.Add(time.Duration(float64(r.tickets.Add(1)-1) / r.Rate * float64(time.Second)))
			time.Sleep(due.Sub(start))
			start = due
		}
		did, err := r.operation(w)
		if errors.Is(err, errNothingLeft) {
			return
		}
		took := time.Since(start)
		if r.phase.Load() == measuring {
			w.tally.add(did, err, took)
		}
		if err != nil {
			time.Sleep(pause)
		}
	}
}

// maxKinds bounds how many kinds of errors are told apart.
const maxKinds = 50

func (t *tally) add(d did, err error, took time.Duration) {
	if err != nil {
		kind := err.Error()
		if _, known := t.kinds[kind]; !known && len(t.kinds) >= maxKinds {
			kind = "(further kinds)"
		}
		t.kinds[kind]++
		return
	}
	t.took = append(t.took, took)
	if d.rotated {
		t.rotated++
	}
	if d.sameAccess {
		t.same++
	}
}
