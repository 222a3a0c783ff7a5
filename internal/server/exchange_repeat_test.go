package server_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/server"
	"holdfast.example/internal/session"
	"holdfast.example/internal/upstream/fake"
)

// crashing is a real store that is switched off at the opening of a session: before
// it was written, or right after.
type crashing struct {
	session.Store
	mu            sync.Mutex
	before, after int
}

func (c *crashing) Open(ctx context.Context, o session.Opening) error {
	c.mu.Lock()
	before, after := c.before > 0, c.after > 0
	c.before, c.after = max(c.before-1, 0), max(c.after-1, 0)
	c.mu.Unlock()
	off := fault.Down(errors.New("switched off"))
	if before {
		return off
	}
	err := c.Store.Open(ctx, o)
	if after {
		return off
	}
	return err
}

// crashes is a house abroad whose store can be switched off.
func crashes(t *testing.T) (*abroad, *crashing) {
	t.Helper()
	w, c := goesAbroad(t), &crashing{}
	w.rewire = func(p *server.Parts) { c.Store = p.Stores.Sessions; p.Stores.Sessions = c }
	err := w.reopen()
	if err != nil {
		t.Fatal(err)
	}
	return w, c
}

// living counts the live sessions of an account.
func (w *abroad) living(name string) int {
	w.Helper()
	u, err := w.server.Users.ByLogin(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	all, err := w.server.Sessions.Store.OfUser(w.Context(), u.ID, 100)
	if err != nil {
		w.Fatal(err)
	}
	return len(all)
}

// TestExchangeAnswerLost (XCHG-09, INV-10): an exchange whose answer was lost, or
// that a crash cut in two, is repeated within the overlap and is one sign-in, also
// of an app that names no install and no attempt. Afterwards, and for anybody else,
// the token is spent.
func TestExchangeAnswerLost(t *testing.T) {
	w, store := crashes(t)
	w.link("bob", "google", "g-1")
	sessions := 0
	for name, fields := range map[string][]string{"no name": nil, "install": {"install_id", "phone"}, "attempt": {"attempt_id", "a-1"},
		"both": {"install_id", "tablet", "attempt_id", "a-1"}, "nonce": {"nonce", "n-1", "attempt_id", "a-1"}} {
		w.in("XCHG-09 "+name, func(a attack) {
			token := w.p.IDToken(w.person("g-1", "bob@gmail.com").With("nonce", nonceOf(fields)))
			show := func(more ...string) answer {
				return w.shows("google", "id_token", token, append(slices.Clone(fields), more...)...)
			}
			store.before = 1 // the token is spent, the session not written
			a.want(show(), 503, "temporarily_unavailable", "")
			for _, other := range [][]string{{"client_id", "demo-strict"}, {"install_id", "thief"}, {"attempt_id", "thief"}} {
				a.want(show(other...), 400, "invalid_request", "") // nobody takes up what another began
			}
			store.after = 1 // it is written, and nobody hears of it
			a.want(show(), 503, "temporarily_unavailable", "")
			first := a.holds(show(), "demo-native")
			w.clock.advance(30 * time.Second)
			again := a.holds(show(), "demo-native")
			if sessions++; first.status != 200 || again.status != 200 || first.Refresh != again.Refresh || w.living("bob") != sessions {
				a.Fatalf("answered %d, repeated %d, one token: %v, %d sessions, want %d", first.status, again.status, first.Refresh == again.Refresh, w.living("bob"), sessions)
			}
			a.want(show("client_id", "demo-strict"), 400, "invalid_request", "") // another client
			a.want(show("install_id", "thief"), 400, "invalid_request", "")
			a.want(show("attempt_id", "thief"), 400, "invalid_request", "")
			w.clock.advance(31 * time.Second) // a minute after the sign-in
			a.want(show(), 400, "invalid_request", "")
			next := a.refreshed(first)
			a.want(show(), 400, "invalid_request", "")
			if a.refreshed(next); w.living("bob") != sessions {
				a.Errorf("%d sessions, want %d", w.living("bob"), sessions)
			}
		})
	}
}

func nonceOf(fields []string) any {
	if len(fields) > 0 && fields[0] == "nonce" {
		return fields[1]
	}
	return nil
}

// TestExchangeNonceOnce (XCHG-09): a nonce is good once. The sign-in that a crash
// kept from being written is made when it is repeated; one that was written is not
// answered again, unless the app named the attempt.
func TestExchangeNonceOnce(t *testing.T) {
	w, store := crashes(t)
	w.link("bob", "google", "g-1")
	token := w.p.IDToken(w.person("g-1", "bob@gmail.com").With("nonce", "n-1"))
	show := func(more ...string) answer {
		return w.shows("google", "id_token", token, append([]string{"nonce", "n-1"}, more...)...)
	}
	store.before = 1
	w.want(show(), 503, "temporarily_unavailable", "")
	if got := show(); got.status != 200 {
		t.Errorf("the repeat was answered %d %s", got.status, got.body)
	}
	for _, more := range [][]string{nil, {"attempt_id", "a-1"}, {"install_id", "phone"}} {
		w.want(show(more...), 400, "invalid_request", "")
	}
	if n := w.living("bob"); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// TestExchangeRepeatedTooLate (XCHG-09): within the overlap too a token opens
// nothing once its session was refreshed or ended, and of a strict client nothing
// a second time; a crash that took longer than the overlap costs a new token.
func TestExchangeRepeatedTooLate(t *testing.T) {
	w, store := crashes(t)
	w.link("bob", "google", "g-1")
	show := func(token string, fields ...string) answer { return w.shows("google", "id_token", token, fields...) }
	fresh := func() string { return w.p.IDToken(w.person("g-1", "bob@gmail.com")) }

	token := fresh()
	h := w.holds(show(token), "demo-native")
	w.clock.advance(time.Second)
	w.refreshed(h)
	w.want(show(token), 400, "invalid_request", "")

	token = fresh()
	h = w.holds(show(token), "demo-native")
	if got := w.post("/oauth2/revoke", "client_id", "demo-native", "token", h.Refresh); got.status != 200 {
		t.Errorf("the sign-out was answered %d %s", got.status, got.body)
	}
	w.want(show(token), 400, "invalid_request", "")

	token = fresh()
	for _, attempt := range []string{"", "a-1"} {
		w.want(show(token, "attempt_id", attempt, "client_id", "demo-strict"), map[string]int{"": 200, "a-1": 400}[attempt], map[string]string{"a-1": "invalid_request"}[attempt], "")
	}
	w.want(show(token, "client_id", "demo-strict"), 400, "invalid_request", "")

	token = fresh()
	store.before = 1
	w.want(show(token, "client_id", "demo-strict"), 503, "temporarily_unavailable", "")
	w.want(show(token, "client_id", "demo-strict"), 400, "invalid_request", "")

	token = fresh()
	store.before = 1
	w.want(show(token), 503, "temporarily_unavailable", "")
	w.clock.advance(61 * time.Second)
	was := w.living("bob")
	w.want(show(token), 400, "invalid_request", "")
	if w.living("bob") != was {
		t.Error("a token that was spent long ago opened a session")
	}
}

// TestExchangeAfterPurge (XCHG-09): a session that was ended is remembered for as long
// as the token it came of could be repeated, however little is to be remembered.
func TestExchangeAfterPurge(t *testing.T) {
	w := goesAbroad(t, func(c *server.Config) { c.EndedRetention = time.Second })
	w.link("bob", "google", "g-1")
	token := w.p.IDToken(w.person("g-1", "bob@gmail.com"))
	h := w.holds(w.shows("google", "id_token", token), "demo-native")
	if got := w.post("/oauth2/revoke", "client_id", "demo-native", "token", h.Refresh); h.status != 200 || got.status != 200 {
		t.Fatalf("signed in %d, signed out %d", h.status, got.status)
	}
	for range 3 {
		w.clock.advance(15 * time.Second)
		if err := w.server.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.want(w.shows("google", "id_token", token), 400, "invalid_request", "")
	}
	if n := w.living("bob"); n != 0 {
		t.Errorf("%d sessions after the sign-out", n)
	}
}

// TestExchangeTwiceAtOnce (XCHG-09): an impatient app that shows one token many
// times at the same moment is signed in once.
func TestExchangeTwiceAtOnce(t *testing.T) {
	w, _ := crashes(t)
	w.link("bob", "google", "g-1")
	token := w.p.IDToken(w.person("g-1", "bob@gmail.com"))
	const racers = 8
	answers := make([]answer, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { answers[i] = w.shows("google", "id_token", token) })
	}
	wg.Wait()
	held := map[string]bool{}
	for _, got := range answers {
		if got.status == 503 {
			continue
		}
		if h := w.holds(got, "demo-native"); h.status != 200 {
			t.Errorf("answered %d %s", got.status, got.body)
		} else {
			held[h.Refresh] = true
		}
	}
	if len(held) != 1 || w.living("bob") != 1 {
		t.Errorf("%d refresh tokens, %d sessions", len(held), w.living("bob"))
	}
}

// TestExchangeTellsWhen: auth_time is when the provider says that the person
// was there. Of an access token whose provider says nothing of that it is left
// out, so that no API that asks for a recent sign-in takes it for one; and it
// stays left out after refreshes.
func TestExchangeTellsWhen(t *testing.T) {
	w := goesAbroad(t)
	w.link("bob", "google", "g-1")
	w.link("bob", "facebook", "f-1")
	now := w.clock.Now()
	told := func(name string, got answer, want any) {
		t.Helper()
		h := w.holds(got, "demo-native")
		if h.status != 200 {
			t.Fatalf("%s: answered %d %s", name, got.status, got.body)
		}
		w.clock.advance(2 * time.Minute)
		next := w.refreshed(h)
		for _, token := range []string{h.Access, next.Access} {
			if got := claims(token)["auth_time"]; got != want {
				t.Errorf("%s: auth_time is %v, want %v", name, got, want)
			}
		}
	}
	ago := func(d time.Duration) int64 { return now.Add(-d).Unix() }
	google, book := w.person("g-1", "bob@gmail.com"), w.person("f-1", "")
	data := fake.Claims{"app_id": "our-app", "is_valid": true, "type": "USER", "user_id": "f-1", "expires_at": now.Unix() + 7200}
	told("Google's access token", w.accessToken("google", google), nil)
	told("Facebook's", w.accessToken("facebook", book.With("data", data)), nil)
	told("Facebook's with an age", w.accessToken("facebook", book.With("data", data.With("issued_at", ago(9*24*time.Hour)))), float64(ago(9*24*time.Hour)))
	told("Facebook's with no age at all", w.accessToken("facebook", book.With("data", data.With("issued_at", 0))), nil)
	told("an ID token", w.idToken("google", google), float64(now.Unix()))
	told("an ID token that says when", w.idToken("google", google.With("auth_time", ago(time.Hour))), float64(ago(time.Hour)))
}
