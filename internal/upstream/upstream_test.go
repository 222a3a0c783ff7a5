package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/upstream/fake"
)

// clock is a time that a test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock { c := &clock{}; c.at.Store(noon.UnixNano()); return c }

func (c *clock) now() time.Time          { return time.Unix(0, c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// counted is a provider that counts what it is asked, and fails while down.
type counted struct {
	*fake.Provider
	asked atomic.Int64
	down  atomic.Bool
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.asked.Add(1)
	if c.down.Load() {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	c.Provider.ServeHTTP(w, r)
}

// key is made once: an RSA key takes long under the race detector.
var shared = &fake.Provider{}

func issuer(t *testing.T, c *clock) (*counted, provider) {
	t.Helper()
	shared.Now = c.now
	p := &counted{Provider: shared}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	shared.Issuer = srv.URL
	r := &Registry{Now: c.now}
	return p, r.provider(Upstream{ID: "x", Kind: OIDC, Issuer: srv.URL, ClientIDs: []string{"our-app"}})
}

func show(p provider, token string) (Identity, error) {
	return p.verify(context.Background(), Presented{Token: secret.New(token), Form: IDToken})
}

// TestKeysAreFetchedOnce: discovery and keys are asked for once, by however many
// wait, and not again for names that somebody invents.
func TestKeysAreFetchedOnce(t *testing.T) {
	c := newClock()
	p, x := issuer(t, c)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := show(x, p.IDToken(p.Person("1", "our-app")))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := p.asked.Load(); n != 2 { // the discovery document and the keys
		t.Errorf("20 first tokens made %d calls", n)
	}
	for _, kid := range []string{"a", "b", "c", "d"} {
		_, err := show(x, p.Sign(map[string]any{"alg": "RS256", "kid": kid}, p.Person("1", "our-app")))
		if !errors.Is(err, ErrRejected) {
			t.Errorf("a key of nobody: %v", err)
		}
	}
	if n := p.asked.Load(); n != 2 {
		t.Errorf("within the cool-down invented names made %d calls more", n-2)
	}
	c.advance(coolDown)
	for _, kid := range []string{"e", "f"} {
		_, _ = show(x, p.Sign(map[string]any{"alg": "RS256", "kid": kid}, p.Person("1", "our-app")))
	}
	if n := p.asked.Load(); n != 4 {
		t.Errorf("after the cool-down two invented names made %d calls, want one look", n-2)
	}
}

// TestKeysOutliveAnOutage: while the provider is down its known keys are good for
// a day, and a key that is not known is an outage, not a refusal.
func TestKeysOutliveAnOutage(t *testing.T) {
	c := newClock()
	p, x := issuer(t, c)
	token := func() string { return p.IDToken(p.Person("1", "our-app")) }
	if _, err := show(x, token()); err != nil {
		t.Fatal(err)
	}
	p.down.Store(true)
	c.advance(2 * time.Hour)
	if _, err := show(x, token()); err != nil {
		t.Errorf("two hours into an outage: %v", err)
	}
	c.advance(coolDown)
	if _, err := show(x, p.Sign(map[string]any{"alg": "RS256", "kid": "new"}, p.Person("1", "our-app"))); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a key that nobody can look up: %v", err)
	}
	c.advance(23 * time.Hour)
	if _, err := show(x, token()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a day into an outage: %v", err)
	}
	p.down.Store(false)
	c.advance(restFor)
	if _, err := show(x, token()); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}

// TestDiscoveryOfAnother: a document that names another issuer, or keys at an
// address that nobody may listen to, is an outage.
func TestDiscoveryOfAnother(t *testing.T) {
	for _, document := range []string{`{"issuer":"https://evil.example","jwks_uri":"https://id.example/keys"}`, `{"issuer":"https://id.example"}`,
		`{"issuer":"https://id.example","jwks_uri":"http://id.example/keys"}`, `{"issuer":"https://id.example","jwks_uri":"file:///etc/passwd"}`,
		`{"issuer":"https://id.example","jwks_uri":"https://user@id.example/keys"}`} {
		r := &Registry{Now: newClock().now, Transport: scripted{document}}
		x := r.provider(Upstream{ID: "x", Kind: OIDC, Issuer: "https://id.example", ClientIDs: []string{"our-app"}})
		_, err := show(x, "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.e30.AA")
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", document, err)
		}
	}
}

// TestNoTokenInErrors (LOGS-01): what a provider's failure leaves in an error
// names no token and no secret, although both travel in addresses.
func TestNoTokenInErrors(t *testing.T) {
	r := &Registry{Now: newClock().now, Transport: refusing{}}
	for _, kind := range []Kind{Google, Facebook} {
		x := r.provider(Upstream{ID: "x", Kind: kind, ClientIDs: []string{"our-app"}, Secret: secret.New("the-client-secret"), BaseURL: "http://127.0.0.1:1"})
		_, err := x.verify(t.Context(), Presented{Token: secret.New("the-token"), Form: AccessToken})
		if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "the-token") || strings.Contains(err.Error(), "the-client-secret") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// TestAtOnce (XCHG-12): a provider that hangs holds so many calls and no more;
// whoever comes then is told at once.
func TestAtOnce(t *testing.T) {
	hung := &hanging{release: make(chan struct{}), arrived: make(chan struct{}, atOnce)}
	c := newCaller(hung, newClock().now)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() { _, _ = c.get(context.Background(), "http://127.0.0.1:1/", nil, "") })
	}
	for range atOnce {
		<-hung.arrived
	}
	_, err := c.get(t.Context(), "http://127.0.0.1:1/", nil, "")
	if !fault.Is(err, fault.Busy) {
		t.Errorf("one call more: %v", err)
	}
	close(hung.release)
	wg.Wait()
}

type hanging struct{ release, arrived chan struct{} }

func (h *hanging) RoundTrip(*http.Request) (*http.Response, error) {
	h.arrived <- struct{}{}
	<-h.release
	return nil, errors.New("released")
}

// TestFind: an upstream is found by its id, its issuer, or the name Open edX has
// for its kind, and not where two could be meant.
func TestFind(t *testing.T) {
	r := &Registry{}
	set := map[string]*standing{}
	for _, u := range []Upstream{{ID: "g", Kind: Google}, {ID: "one", Kind: OIDC, Issuer: "https://one.example"}, {ID: "a1", Kind: Apple}, {ID: "a2", Kind: Apple},
		{ID: "ms", Kind: Microsoft}, {ID: "fb", Kind: Facebook}} {
		set[u.ID] = &standing{Upstream: u}
	}
	r.set.Store(&set)
	for name, want := range map[string]string{"g": "g", "google-oauth2": "g", "facebook": "fb", "azuread-oauth2": "ms", "https://accounts.google.com": "g", "accounts.google.com": "g",
		"https://one.example": "one", "https://one.example/": "", "apple-id": "", "a1": "a1", "https://login.microsoftonline.com/x/v2.0": "ms", "": "", "google": "", "G": "",
		"https://login.microsoftonline.com.evil.example/": ""} {
		u, found := r.Find(name)
		if u.ID != want || found != (want != "") {
			t.Errorf("%q is %q (%v), want %q", name, u.ID, found, want)
		}
	}
	var none *Registry
	if _, found := none.Find("g"); found {
		t.Error("a house without upstreams has one")
	}
}
