package edxclients_test

import (
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/testsvc"
)

// The size of a storm, and how long its phones wait for an answer.
const (
	stormFamilies = 6
	stormRounds   = 25
	stormPatience = 2 * time.Second
	stormSeed     = 20261122
)

// mobile is a bad network over real connections.
var mobile = testsvc.Faults{Drop: 0.02, Lose: 0.03, Cut: 0.02, Delay: 0.05, Longest: 20 * time.Millisecond}

// gale takes a device out of its simulated network and puts it into one of real
// connections.
func gale(a *air, to []string, dice *rand.Rand) {
	a.to = to
	a.node = func() int { return dice.IntN(len(to)) }
	a.wire = &http.Client{Timeout: stormPatience, Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: stormPatience}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// TestStorm (contract 2.1 row 3, contract 2.2 row 2, R01, R04): phones of many people at once, over real connections
// through proxies that drop, lose, cut and delay, on two nodes: no Android app is
// signed out, and no iOS app by anything that it was answered.
func TestStorm(t *testing.T) {
	s := newSchool(t)
	var to []string
	var proxies []*testsvc.Proxy
	for i, n := range s.nodes {
		srv := httptest.NewServer(n.Handler())
		t.Cleanup(srv.Close)
		p := testsvc.NewProxy(t, stormSeed+uint64(i), "tcp", strings.TrimPrefix(srv.URL, "http://"))
		proxies, to = append(proxies, p), append(to, p.Addr())
	}
	var families []*family
	for i := range stormFamilies {
		f := s.newFamily(t)
		dice := rand.New(rand.NewPCG(stormSeed, uint64(2*i)))
		gale(f.android.air, to, dice)
		gale(f.ios.air, to, rand.New(rand.NewPCG(stormSeed, uint64(2*i+1))))
		families = append(families, f)
	}
	s.airs = nil
	for _, p := range proxies {
		p.Set(mobile)
	}
	itself := make([]int, stormFamilies)
	for range stormRounds {
		s.clock.advance(time.Hour)
		var all sync.WaitGroup
		for i, f := range families {
			all.Go(func() { f.android.calls(whoAmI, whoAmI, whoAmI) })
			all.Go(func() {
				f.ios.calls(whoAmI, whoAmI)
				if f.ios.out != "" && !strings.Contains(f.ios.out, "{") { // no answer signed it out
					itself[i]++
					for range tries {
						if f.ios.signIn(f.user.Username) {
							break
						}
					}
				}
			})
		}
		all.Wait()
	}
	var met testsvc.Counts
	for _, p := range proxies {
		met = met.Add(p.Counts())
		p.Set(testsvc.Faults{})
		p.Reset()
	}
	s.clock.advance(2 * time.Minute)
	for _, f := range families {
		if f.android.out != "" || len(f.android.odd) > 0 || f.android.call(whoAmI) != 200 {
			t.Errorf("android %q %q %s", f.android.out, f.android.odd, f.android.last.body)
		}
		if f.ios.out != "" || f.ios.call(whoAmI) != 200 {
			t.Errorf("ios %q %s", f.ios.out, f.ios.last.body)
		}
	}
	t.Logf("%+v; iOS apps signed themselves out %v times", met, itself)
	if met.Dropped == 0 || met.Lost == 0 || met.Cut == 0 || met.Delayed == 0 {
		t.Errorf("the network was too good: %+v", met)
	}
}
