package edxclients_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/feed"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/server"
	"holdfast.example/internal/store/sqlite"
	"holdfast.example/internal/user"
	"holdfast.example/verify"
	"holdfast.example/verify/edx"
)

// The hosts of a school: the server, and a service of its operators.
const (
	lms     = "http://id.test"
	courses = "http://courses.test"
	// whoAmI is what apps ask of the server after each sign-in, and lessons what they
	// ask of the service.
	whoAmI  = lms + "/api/mobile/v0.5/my_user_info"
	lessons = courses + "/api/courses"
)

const manifest = `
[[clients]]
id = "android"
type = "public"
first_party = true
grants = ["password", "refresh_token", "token_exchange"]
claims = "openedx"
webview = true
audiences = ["openedx"]

[[clients]]
id = "ios"
type = "public"
first_party = true
grants = ["password", "refresh_token", "token_exchange"]
claims = "openedx"
webview = true
audiences = ["openedx"]

[[clients]]
id = "tablet"
type = "public"
first_party = true
grants = ["password", "refresh_token"]
claims = "openedx"

[[clients]]
id = "pages"
type = "public"
first_party = true
grants = ["password"]
claims = "openedx"
cors_origins = ["https://apps.test"]
`

// clock is the right time. Every device may have a wrong one.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// school is two nodes of the server over one database, and a service that follows
// their record of revocations.
type school struct {
	clock   *clock
	nodes   []*server.Server
	service http.Handler
	// slow is how far the service's clock is behind.
	slow time.Duration
	airs []*air
	// pupils counts the accounts that were made; the first one's password hash is
	// that of all.
	pupils int
	hash   string
}

const password = "the-password-of-every-pupil"

func newSchool(t testing.TB) *school {
	t.Helper()
	s := &school{clock: &clock{now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}}
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "holdfast.db"), sqlite.Options{Now: s.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	root := key.NewRoot()
	for i := range 2 {
		n := s.node(t, db, root)
		if i > 0 {
			err = n.Clients.Reload(t.Context())
		} else {
			_, err = n.Apply(t.Context(), "school.toml", []byte(manifest))
		}
		if err != nil {
			t.Fatal(err)
		}
		s.nodes = append(s.nodes, n)
	}
	s.service = s.guarded(t, db.Feed())
	return s
}

// node is one server over the database of all.
func (s *school) node(t testing.TB, db *sqlite.DB, root key.Root) *server.Server {
	t.Helper()
	config, _, err := server.Load(server.LoadOptions{Dev: true, Flags: map[string]string{"issuer": lms, "data": t.TempDir(), "listen": "127.0.0.1:8420"}})
	if err != nil {
		t.Fatal(err)
	}
	config.SigningAlgs, config.KeyRotation, config.Doors = []string{"RS256"}, 0, []string{"edx"}
	config.AttemptsPerAddress, config.CookieDomain = 100_000, "test"
	n, err := server.New(context.Background(), config, server.Parts{
		Stores: server.Stores{Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(), Calls: db.Calls(),
			Once: db.Once(), Ready: db.Ping, Writable: db.Writable},
		Root: root, Log: slog.New(slog.DiscardHandler), Now: s.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// guarded is a service with verify/edx in front, which knows the keys and follows
// the record.
func (s *school) guarded(t testing.TB, record feed.Store) http.Handler {
	t.Helper()
	now := func() time.Time { return s.clock.Now().Add(-s.slow) }
	tokens, err := verify.New(verify.Config{Issuer: lms, Audience: "openedx", Revocations: &follower{record: record}, Keys: verify.LocalKeys(func() *verify.KeySet {
		got := httptest.NewRecorder()
		s.nodes[0].Handler().ServeHTTP(got, httptest.NewRequest(http.MethodGet, lms+"/oauth2/jwks", nil))
		keys, err := verify.ParseKeySet(got.Body.Bytes())
		if err != nil {
			t.Error(err)
		}
		return keys
	})})
	if err != nil {
		t.Fatal(err)
	}
	g, err := edx.NewGuard(edx.Config{Tokens: tokens, TrustedOrigins: []string{"https://apps.test"}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/courses", g.Protect(edx.Need{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := edx.FromContext(r.Context())
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"username":%q}`, u.Username)
	})))
	mux.HandleFunc("/csrf/api/v1/token", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "csrftoken", Value: "0123456789abcdef0123456789abcdef", MaxAge: 365 * 24 * 3600})
		_, _ = io.WriteString(w, `{"csrfToken":"0123456789abcdef0123456789abcdef"}`)
	})
	return mux
}

// follower is a service's copy of the record of revocations.
type follower struct {
	record   feed.Store
	mu       sync.Mutex
	position int64
	entries  []feed.Entry
}

// catchUp is how many entries are read at once.
const catchUp = 1000

// Refuse implements verify.Revocations.
func (f *follower) Refuse(c *verify.Claims, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	news, err := f.record.Since(context.Background(), f.position, catchUp)
	if err != nil {
		return &verify.Error{Kind: verify.Unready, Cause: err}
	}
	for _, e := range news {
		f.position = max(f.position, e.Position)
		f.entries = append(f.entries, e)
	}
	for _, e := range f.entries {
		switch {
		case now.After(e.Until): // forgotten
		case e.Kind == feed.Session && e.Key == c.Session,
			e.Kind == feed.Subject && e.Key == c.Subject && c.Epoch < int64(e.Epoch) && c.Session != e.ExceptSID:
			return &verify.Error{Kind: verify.Revoked}
		}
	}
	return nil
}

// fataler is what a test and a property have in common.
type fataler interface{ Fatal(...any) }

// enrol makes an account.
func (s *school) enrol(t fataler) user.User {
	s.pupils++
	name := fmt.Sprintf("pupil-%d", s.pupils)
	email, number := name+"@example.com", int64(s.pupils)
	d := user.Declared{Username: name, Email: &email, PasswordHash: s.hash, Number: &number}
	if s.hash == "" {
		d.Password = secret.New(password)
	}
	u, err := s.nodes[0].Users.Create(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	s.hash = u.PasswordHash
	return u
}

// operate does something as an operator.
func (s *school) operate(t testing.TB, path, body string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://admin"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	got := httptest.NewRecorder()
	s.nodes[0].Admin().ServeHTTP(got, r)
	if got.Code >= 300 {
		t.Fatalf("%s: %d %s", path, got.Code, got.Body)
	}
}

// answered is what a handler says to a request, as it comes out of a network.
func answered(h http.Handler, r *http.Request, body []byte) *http.Response {
	in := httptest.NewRequest(r.Method, r.URL.String(), strings.NewReader(string(body)))
	in.Header = r.Header.Clone()
	got := httptest.NewRecorder()
	h.ServeHTTP(got, in)
	res := got.Result()
	res.Request = r
	return res
}

// bodyOf reads what a client sends.
func bodyOf(r *http.Request) []byte {
	if r.Body == nil {
		return nil
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err) // our own client's
	}
	return b
}

// kid is the key that a JWT names.
func (s *school) kid(jwt string) string {
	head, _, _ := strings.Cut(jwt, ".")
	b, _ := base64.RawURLEncoding.DecodeString(head)
	var h struct {
		KeyID string `json:"kid"`
	}
	_ = json.Unmarshal(b, &h)
	return h.KeyID
}
