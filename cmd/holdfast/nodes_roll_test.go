package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rollRounds is how often each of the two nodes is restarted under load.
const rollRounds = 2

// healthEvery is how often the balancer asks /readyz, as one in production does
// with a finger quicker.
const healthEvery = 50 * time.Millisecond

// healthLate is when a look at /readyz is overdue: a machine that is too busy for it
// within most of the second and a half that a draining node goes on says nothing
// about the node.
const healthLate = time.Second

// balancer is the least that a load balancer does: it sends a request to a node
// whose last /readyz was good, in turns, and repeats nothing.
type balancer struct {
	nodes  []*node
	ready  [2]atomic.Bool
	looked [2]atomic.Int64 // when the last look began, in nanoseconds since 1970
	next   atomic.Uint64
	to     http.Transport
	// none counts requests for which no node was ready, late those that were sent
	// again because the look was overdue.
	none, late atomic.Int64
}

func newBalancer(ctx context.Context, two []*node) *balancer {
	b := &balancer{nodes: two, to: http.Transport{MaxIdleConnsPerHost: 32}}
	for i := range two {
		b.look(ctx, i)
		go func() {
			for ctx.Err() == nil {
				time.Sleep(healthEvery)
				b.look(ctx, i)
			}
		}()
	}
	return b
}

func (b *balancer) look(ctx context.Context, i int) {
	began := time.Now()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.nodes[i].listen+"/readyz", nil)
	if err != nil {
		panic(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err == nil {
		res.Body.Close()
	}
	b.ready[i].Store(err == nil && res.StatusCode == http.StatusOK)
	b.looked[i].Store(began.UnixNano())
}

// ServeHTTP implements http.Handler.
func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the phone has left
	}
	for first, try := b.next.Add(1), uint64(0); try < 2; try++ {
		i := int((first + try) % 2)
		if !b.ready[i].Load() {
			continue
		}
		res, err := b.send(r, i, body)
		if err != nil && time.Since(time.Unix(0, b.looked[i].Load())) > healthLate {
			b.late.Add(1)
			continue
		}
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprintf(w, "%q", err.Error())
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
		return
	}
	b.none.Add(1)
	w.WriteHeader(http.StatusBadGateway)
}

func (b *balancer) send(r *http.Request, i int, body []byte) (*http.Response, error) {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+b.nodes[i].listen+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	out.Header.Set("Content-Type", r.Header.Get("Content-Type"))
	return b.to.RoundTrip(out)
}

// tally is what the clients of a rolling restart count.
type tally struct{ served, failed, moved atomic.Int64 }

// TestRollingRestart (FAULT-07): each node in turn is told to end and started again
// while phones refresh, some through a balancer that asks /readyz, some with both
// addresses, of which they take the other one only when a connection is refused or
// closed under them. No request fails.
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts servers for some seconds; run without -short")
	}
	_, two := cluster(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := newBalancer(ctx, two)
	front := httptest.NewServer(b)
	defer front.Close()
	var stop atomic.Bool
	var load sync.WaitGroup
	var behind, direct tally
	lives := func(n int, c *tally, ask func(client *http.Client, token string) (map[string]string, int, error)) {
		refresh, err := signIn(http.DefaultClient, two[n%2].base, fmt.Sprint("roll-", n))
		if err != nil {
			t.Fatal(err)
		}
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for !stop.Load() {
				a, status, err := ask(client, refresh)
				if err != nil || status != http.StatusOK {
					c.failed.Add(1)
					t.Logf("phone %d: %d %v %v", n, status, a, err)
					return
				}
				c.served.Add(1)
				refresh = a["refresh_token"]
				time.Sleep(3 * time.Millisecond)
			}
		})
	}
	for n := range 6 {
		lives(n, &behind, func(client *http.Client, token string) (map[string]string, int, error) {
			return post(client, front.URL, refreshForm(token))
		})
		at := n
		lives(6+n, &direct, func(client *http.Client, token string) (map[string]string, int, error) {
			return eitherNode(client, two, &at, &direct, token)
		})
	}
	var slowest time.Duration
	for i := range 2 * rollRounds {
		time.Sleep(300 * time.Millisecond)
		n := two[i%2]
		began := time.Now()
		if err := n.stop(); err != nil {
			t.Errorf("the node did not drain: %v\n%s", err, tail(n.running.log.Name()))
		}
		slowest = max(slowest, time.Since(began))
		n.start(t)
		for !b.ready[i%2].Load() { // a deployment waits for the one before it goes on to the next
			time.Sleep(healthEvery)
		}
	}
	stop.Store(true)
	load.Wait()
	t.Logf("%d restarts: %d requests behind a balancer, %d failed; %d with both addresses, %d failed, %d sent again to the other; slowest drain %v",
		2*rollRounds, behind.served.Load(), behind.failed.Load(), direct.served.Load(), direct.failed.Load(), direct.moved.Load(), slowest.Round(time.Millisecond))
	if late := b.late.Load(); late > 0 {
		t.Logf("%d requests were sent again because this machine was too busy to ask /readyz every second", late)
	}
	if behind.failed.Load()+direct.failed.Load() > 0 {
		t.Errorf("requests failed, %d of them because the balancer knew no node", b.none.Load())
	}
	if behind.served.Load() < 100 || direct.served.Load() < 100 {
		t.Error("there was no load")
	}
	if slowest > 30*time.Second {
		t.Errorf("the slowest drain took %v", slowest)
	}
	stopAll(t, two)
}

// eitherNode asks the node of last time, and the other one when nobody answered
// because the connection was refused or closed.
func eitherNode(client *http.Client, two []*node, at *int, c *tally, token string) (a map[string]string, status int, err error) {
	for range 4 {
		a, status, err = post(client, "http://"+two[*at%2].listen, refreshForm(token))
		var refused *net.OpError
		closed := errors.As(err, &refused) || errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "server closed idle connection")
		if !closed {
			return a, status, err
		}
		c.moved.Add(1)
		*at++
	}
	return a, status, err
}
