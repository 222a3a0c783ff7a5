package history_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/session"
)

// raceRounds is how often each race between nodes is run; HOLDFAST_RACE_ROUNDS asks
// for more. The catalogue wants 500 of refreshes and 1,000 of ends.
const raceRounds = 20

// heard is what a node answers to a form.
type heard struct {
	status  int
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Expires int    `json:"expires_in"`
	Active  bool   `json:"active"`
	Error   string `json:"error"`
}

// form sends a form to a node's handler. A node that asks for patience is asked
// again, as apps do: on a busy machine the database may be slower than a node waits.
func (n *node) form(path string, fields ...string) (h heard) {
	for waited := time.Duration(0); waited < settled; waited += settlePause {
		if h = n.once(path, fields); h.status != http.StatusServiceUnavailable {
			break
		}
		time.Sleep(settlePause)
	}
	return h
}

func (n *node) once(path string, fields []string) (h heard) {
	f := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		f.Set(fields[i], fields[i+1])
	}
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(f.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if path == "/oauth2/introspect" {
		r.SetBasicAuth(watcher, watcherSecret)
	}
	w := httptest.NewRecorder()
	n.Handler().ServeHTTP(w, r)
	_ = json.Unmarshal(w.Body.Bytes(), &h) // an empty body says nothing
	h.status = w.Code
	return h
}

func (n *node) refresh(token string) heard {
	return n.form("/oauth2/token", "grant_type", "refresh_token", "client_id", phone, "refresh_token", token)
}

func (n *node) active(token string) bool { return n.form("/oauth2/introspect", "token", token).Active }

// signIn opens a session of a new user at a node.
func (c *cluster) signIn(t *testing.T, n *node, name string) string {
	t.Helper()
	u := c.newUser(t, name)
	turn, err := n.Sessions.Open(t.Context(), session.SignIn{User: u.ID, Epoch: u.Epoch, Client: phone, Scope: "openid", Grant: "password", AMR: "pwd",
		Policy: session.Policy{Rotate: true}})
	if err != nil {
		t.Fatal(err)
	}
	return turn.Token.Reveal()
}

// TestRefreshesAtTwoNodes (REFRESH-05, INV-01): 2, 8, 64 and 256 refreshes with one
// token at the same moment, half of them at each node, over and over: all are
// answered, all with the same successor, and nobody is signed out.
func TestRefreshesAtTwoNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL; run without -short")
	}
	c := overPostgres(t, 2, 1, nil)
	rounds := number(t, "HOLDFAST_RACE_ROUNDS", raceRounds)
	for _, race := range []struct{ callers, rounds int }{{2, rounds}, {8, rounds / 2}, {64, rounds / 5}, {256, rounds / 15}} {
		token := c.signIn(t, c.nodes[0], fmt.Sprint("raced-by-", race.callers))
		for round := range race.rounds {
			c.clock.advance(time.Hour)
			answers := make([]heard, race.callers)
			atOnce(race.callers, func(i int) { answers[i] = c.nodes[i%2].refresh(token) })
			for i, got := range answers {
				if got.status != http.StatusOK || got.Refresh != answers[0].Refresh || got.Refresh == token {
					t.Fatalf("%d callers, round %d: caller %d is answered %d %s", race.callers, round, i, got.status, got.Error)
				}
			}
			token = answers[0].Refresh
		}
	}
}

// TestEndAgainstTheOtherNode (REFRESH-15, INV-04): a sign-out at one node races
// refreshes at the other. As soon as it is acknowledged, nothing that was ever
// answered to the device works at either, also what was answered in that moment.
func TestEndAgainstTheOtherNode(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL; run without -short")
	}
	c := overPostgres(t, 2, 1, nil)
	for round := range number(t, "HOLDFAST_RACE_ROUNDS", raceRounds) {
		here, there := c.nodes[round%2], c.nodes[(round+1)%2]
		token := c.signIn(t, there, fmt.Sprint("leaves-in-round-", round))
		c.clock.advance(time.Hour)
		const callers = 4
		answers := make([]heard, callers+1)
		atOnce(callers+1, func(i int) {
			if i == callers {
				answers[i] = here.form("/oauth2/revoke", "client_id", phone, "token", token)
			} else {
				answers[i] = there.refresh(token)
			}
		})
		if got := answers[callers]; got.status != http.StatusOK {
			t.Fatalf("round %d: the sign-out is answered %d %s", round, got.status, got.Error)
		}
		for _, n := range c.nodes {
			for _, got := range append(answers[:callers:callers], heard{Refresh: token}) {
				if got.Access != "" && n.active(got.Access) {
					t.Fatalf("round %d: an access token outlives its session", round)
				}
				if got.Refresh == "" {
					continue
				}
				if after := n.refresh(got.Refresh); after.status != http.StatusBadRequest || after.Error != "invalid_grant" {
					t.Fatalf("round %d: a refresh after the end is answered %d %s", round, after.status, after.Error)
				}
			}
		}
	}
}

// atOnce calls a function many times in the same moment.
func atOnce(count int, f func(int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range count {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// TestNodesWithOtherClocks (FAULT-10): one node's clock is two minutes ahead of the
// database's, another's two minutes behind. The database's decides: sessions go on at
// both, tokens live as long as they should, and what is over is over at both.
func TestNodesWithOtherClocks(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL; run without -short")
	}
	c := overPostgres(t, 2, 1, nil, 2*time.Minute, -2*time.Minute)
	token := c.signIn(t, c.nodes[0], "traveller")
	var got heard
	for round := range 20 {
		c.clock.advance(time.Hour)
		got = c.nodes[round%2].refresh(token)
		if got.status != http.StatusOK || got.Expires != 900 {
			t.Fatalf("round %d: %d %s, an access token of %d s", round, got.status, got.Error, got.Expires)
		}
		if again := c.nodes[(round+1)%2].refresh(token); again.status != http.StatusOK || again.Refresh != got.Refresh {
			t.Fatalf("round %d: the other node answers %d %s", round, again.status, again.Error)
		}
		for i, n := range c.nodes {
			if !n.active(got.Access) {
				t.Errorf("round %d: a fresh token is not active at node %d", round, i)
			}
		}
		token = got.Refresh
	}
	both := func(what string, want bool, ok func(n *node) bool) {
		t.Helper()
		for i, n := range c.nodes {
			if ok(n) != want {
				t.Errorf("%s at node %d: %v", what, i, !want)
			}
		}
	}
	c.clock.advance(15*time.Minute - time.Second)
	both("a token is active a second before its end", true, func(n *node) bool { return n.active(got.Access) })
	c.clock.advance(time.Minute + 2*time.Second)
	both("a token is active a minute after its end", false, func(n *node) bool { return n.active(got.Access) })
	refreshed := func(n *node) bool {
		got = n.refresh(token)
		return got.status == http.StatusOK
	}
	c.clock.advance(idleLimit - 16*time.Minute - 2*time.Second)
	both("a session goes on just before its idle limit", true, refreshed)
	token = got.Refresh
	c.clock.advance(idleLimit + time.Second)
	both("a session goes on just after its idle limit", false, refreshed)

	token = c.signIn(t, c.nodes[1], "leaver")
	first := c.nodes[0].refresh(token)
	c.clock.advance(time.Hour)
	last := c.nodes[1].refresh(first.Refresh)
	c.nodes[1].form("/oauth2/revoke", "client_id", phone, "token", last.Refresh)
	token = last.Refresh
	both("a session goes on after its sign-out", false, refreshed)
	both("a token is active after its sign-out", false, func(n *node) bool { return n.active(last.Access) })
}
