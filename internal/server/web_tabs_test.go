package server_test

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"
)

// The size of the histories below.
const (
	tabHistories = 6
	tabRounds    = 12
	mostTabs     = 4
)

// TestWebTabsAnyOrder (R33, INV-03, CHAIN-03): whatever tabs renew together, whichever of their
// answers arrive, and in which order the browser keeps their cookies, the session goes
// on, and there is one.
func TestWebTabsAnyOrder(t *testing.T) {
	a := attacks(t)
	for seed := range uint64(tabHistories) {
		random := rand.New(rand.NewPCG(seed, 33))
		b := signedInBrowser(a, goodSignIn)
		sid := sidOf(b.jar["holdfast"].Value)
		for round := range tabRounds {
			a.clock.advance(time.Duration(random.Int64N(int64(20 * time.Hour)))) // never as long as the idle limit
			cookies := http.Header{"Cookie": {b.sent("/web/v1/refresh")}}
			var arrived []map[string]*http.Cookie
			for range 1 + random.IntN(mostTabs) {
				a.clock.advance(time.Duration(random.Int64N(int64(10 * time.Second)))) // within one overlap
				kept := b.jar
				b.jar = map[string]*http.Cookie{}
				got, s := b.ask("POST", "/web/v1/refresh", "", cookies)
				if got.status != 200 || !s.SignedIn || sidOf(b.jar["holdfast"].Value) != sid {
					t.Fatalf("history %d, round %d: %d %s %s", seed, round, got.status, got.header.Get("Holdfast-Reason"), got.body)
				}
				if random.IntN(3) > 0 { // or the answer is lost
					arrived = append(arrived, b.jar)
				}
				b.jar = kept
			}
			if len(arrived) > 0 { // the last to arrive is kept, whichever it is
				b.jar = arrived[random.IntN(len(arrived))]
			}
		}
	}
}

// TestWebJarGoesBack (R33): an answer that arrives long after a newer one puts an old
// refresh cookie back, and the user stays signed in.
func TestWebJarGoesBack(t *testing.T) {
	a := attacks(t)
	b := signedInBrowser(a, goodSignIn)
	a.clock.advance(time.Hour)
	b.ask("POST", "/web/v1/refresh", "")
	old := b.jar["holdfast-refresh"]
	a.clock.advance(time.Hour)
	b.ask("POST", "/web/v1/refresh", "")
	if b.jar["holdfast-refresh"].Value == old.Value {
		t.Fatal("nothing was rotated")
	}
	b.jar["holdfast-refresh"] = old
	a.clock.advance(time.Hour)
	for range 2 {
		if got, _ := b.ask("POST", "/web/v1/refresh", ""); got.status != 200 {
			t.Errorf("%d %s", got.status, got.header.Get("Holdfast-Reason"))
		}
		a.clock.advance(time.Hour)
	}
}
