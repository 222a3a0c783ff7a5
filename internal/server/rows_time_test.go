package server_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/feed"
	"holdfast.example/internal/server"
	"holdfast.example/internal/session"
	"holdfast.example/verify"
)

// TestClockGoesBack (FAULT-10): the clock of the machine is set back an hour, and
// then right again. Nobody is signed out, nobody is locked out, nothing lives
// longer than it may, and theft is still found.
func TestClockGoesBack(t *testing.T) {
	a := attacks(t)
	phone, spent := a.signIn("demo-native", "install_id", "phone"), a.signIn("demo-native", "install_id", "copied")
	a.clock.advance(time.Hour)
	copied := a.refreshed(a.refreshed(spent))
	a.clock.advance(time.Hour)
	copied = a.refreshed(copied)
	phone = a.refreshed(phone)
	idle := a.signIn("demo-native", "install_id", "drawer")

	a.clock.advance(-time.Hour)
	h := phone
	for range 5 {
		h = a.refreshed(h)
		if c := claims(h.Access); c["exp"].(float64)-c["iat"].(float64) != 900 || h.ExpiresIn != 900 {
			t.Errorf("an access token of %v", c)
		}
		a.alive(h.Access)
		a.clock.advance(2 * time.Minute)
	}
	if got := a.call(phone.Access); got.status != 401 {
		t.Errorf("a token from the future is answered %d", got.status)
	}
	again := a.signIn("demo-native", "install_id", "another")
	a.alive(again.Access)
	a.want(a.post("/oauth2/revoke", "client_id", "demo-native", "token", again.Refresh), 200, "", "")
	a.dead(again.Access, "signed_out")

	a.clock.advance(50*time.Minute + 10*time.Minute)
	h = a.refreshed(h)
	a.want(a.refresh(spent), 400, "invalid_grant", "reuse")
	a.want(a.refresh(copied), 400, "invalid_grant", "reuse")
	a.want(a.refresh(again), 400, "invalid_grant", "signed_out")
	a.clock.advance(89 * 24 * time.Hour)
	a.refreshed(h)
	a.clock.advance(2 * 24 * time.Hour)
	a.want(a.refresh(idle), 400, "invalid_grant", "idle")
	if n := a.figure("holdfast_refresh_ahead_total"); n != 0 {
		t.Errorf("%v tokens were taken for lost commits", n)
	}
}

// TestSuspended (FAULT-10): a machine that slept for hours wakes up and goes on.
func TestSuspended(t *testing.T) {
	a := attacks(t)
	h := a.signIn("demo-native")
	a.clock.advance(26 * time.Hour)
	if err := a.server.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	h = a.refreshed(h)
	a.alive(h.Access)
}

// elsewhere is a store on a machine with another clock.
type elsewhere struct {
	session.Store
	ahead atomic.Int64
}

func (e *elsewhere) Now(ctx context.Context) (time.Time, error) {
	now, err := e.Store.Now(ctx)
	return now.Add(time.Duration(e.ahead.Load())), err
}

// TestClockDrifts (FAULT-10): a node whose clock is not the database's says so, once in
// a while and as a figure, and is silent again when it was set right.
func TestClockDrifts(t *testing.T) {
	a, db := attacks(t), &elsewhere{}
	a.rewire = func(p *server.Parts) { db.Store = p.Stores.Sessions; p.Stores.Sessions = db }
	if err := a.reopen(); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for i, step := range []struct {
		by    time.Duration // the database's clock, seen from here
		wait  time.Duration
		lines int
	}{
		{0, 0, 0}, {5 * time.Second, 0, 0}, {6 * time.Second, 0, 1}, {6 * time.Second, 5 * time.Second, 0}, {4 * time.Second, 0, 0}, {6 * time.Second, 0, 0},
		{7 * time.Second, 10 * time.Minute, 1},
		{time.Second, 0, 0}, {-2 * time.Minute, 0, 1}, {-2 * time.Minute, time.Minute, 0}, {0, 0, 0},
	} {
		a.clock.advance(step.wait)
		db.ahead.Store(int64(step.by))
		if err := a.server.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines += step.lines
		if n := strings.Count(a.log.String(), "clock is not the database's"); n != lines {
			t.Errorf("step %d: the log has %d lines about it, want %d", i, n, lines)
		}
		if ahead := a.figure("holdfast_clock_ahead_seconds"); ahead != -step.by.Seconds() {
			t.Errorf("step %d: the figure is %v, want %v", i, ahead, -step.by.Seconds())
		}
	}
}

// TestRecordOutlivesTokens (CHAIN-09): as long as any service could accept a
// token that was minted from a read before an end, the record still tells of the
// end: its clock half a minute behind, its skew the usual, the answer ten seconds
// under way, and the purge as often as it likes.
func TestRecordOutlivesTokens(t *testing.T) {
	a := attacks(t)
	jwks := a.request("GET", "/oauth2/jwks", "", "", nil).body
	keys, err := verify.ParseKeySet(jwks)
	if err != nil {
		t.Fatal(err)
	}
	service, err := verify.New(verify.Config{Issuer: testIssuer, Audience: testIssuer, Keys: verify.LocalKeys(func() *verify.KeySet { return keys })})
	if err != nil {
		t.Fatal(err)
	}
	const behind = 30 * time.Second
	recorded := func(match func(feed.Entry) bool) bool {
		all, err := a.db.Feed().Since(t.Context(), 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if match(e) {
				return true
			}
		}
		return false
	}
	for name, c := range map[string]struct {
		client string
		end    func(held)
		entry  func(held) func(feed.Entry) bool
	}{
		"session": {"demo-native", func(h held) { a.post("/oauth2/revoke", "client_id", h.client, "token", h.Refresh) },
			func(h held) func(feed.Entry) bool {
				return func(e feed.Entry) bool { return e.Kind == feed.Session && e.Key == sidOf(h.Access) }
			}},
		"token": {"demo-native", func(h held) { a.post("/oauth2/revoke", "client_id", h.client, "token", h.Access) },
			func(h held) func(feed.Entry) bool {
				return func(e feed.Entry) bool { return e.Kind == feed.Token && e.Key == claims(h.Access)["jti"] }
			}},
		"everywhere": {"demo-native", func(h held) { a.operator("POST", "/admin/v1/users/demo/sign-out", "{}") },
			func(h held) func(feed.Entry) bool {
				epoch := uint32(claims(h.Access)["epoch"].(float64))
				return func(e feed.Entry) bool {
					return e.Kind == feed.Subject && e.Key == claims(h.Access)["sub"] && e.Epoch > epoch
				}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			h := a.signIn(c.client)
			told := c.entry(h)
			c.end(h)
			expires := time.Unix(int64(claims(h.Access)["exp"].(float64)), 0)
			var accepted time.Duration
			for {
				if err := a.server.Tick(t.Context()); err != nil {
					t.Fatal(err)
				}
				_, err := service.Verify(context.Background(), h.Access, a.clock.Now().Add(-behind))
				if err != nil {
					break
				}
				if !recorded(told) {
					t.Fatalf("%v after the end a service still accepts the token, and the record has forgotten the end", a.clock.Now().Sub(time.Unix(int64(claims(h.Access)["iat"].(float64)), 0)))
				}
				step := 30 * time.Second
				if a.clock.Now().Add(step).After(expires) {
					step = time.Second // closely, where it matters
				}
				a.clock.advance(step)
				accepted += step
			}
			if life := time.Duration(h.ExpiresIn) * time.Second; accepted < life+behind {
				t.Errorf("the service accepted it for %v only: the test looked at nothing", accepted)
			}
		})
	}
	// In the end it is forgotten, or the record would grow for ever.
	a.clock.advance(24 * time.Hour)
	if err := a.server.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if recorded(func(feed.Entry) bool { return true }) {
		t.Error("after a day the record still has entries")
	}
}
