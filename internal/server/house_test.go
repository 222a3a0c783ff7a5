package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/key"
	"holdfast.example/internal/server"
	"holdfast.example/internal/store/sqlite"
	"holdfast.example/internal/user"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == hashWorker {
		if user.ServeHashes(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if missed := unseen(); code == 0 && len(missed) > 0 {
		fmt.Fprintf(os.Stderr, "no test saw these described operations succeed:\n\t%s\n", strings.Join(missed, "\n\t"))
		code = 1
	}
	os.Exit(code)
}

// hashWorker makes the test binary a process that hashes passwords.
const hashWorker = "hash-passwords-for-the-test"

// clock is the virtual time of one house.
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

// house is a whole server in the test process: real listener, real database,
// virtual clock, demo manifest.
type house struct {
	dir    string
	clock  *clock
	root   key.Root
	config server.Config
	log    *syncBuffer
	// image is the closed database, of the template only.
	image []byte
	// rewire, when set, changes the parts before the server is made.
	rewire func(*server.Parts)
	// secrets is every credential that went over the wire (LOGS-01).
	secrets secrets

	db     *sqlite.DB
	server *server.Server
	http   *httptest.Server
}

const testIssuer = "http://id.test"

// template is a database with keys and the demo manifest, made once: RSA keys
// and password hashes take seconds under the race detector.
var template = sync.OnceValues(func() (*house, error) {
	dir, err := os.MkdirTemp("", "holdfast-template")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	h, err := makeHouse(dir, key.NewRoot())
	if err != nil {
		return nil, err
	}
	_, err = h.server.ApplyDemo(context.Background())
	if err != nil {
		return nil, err
	}
	err = h.shut()
	if err != nil {
		return nil, err
	}
	h.image, err = os.ReadFile(filepath.Join(dir, "holdfast.db"))
	return h, err
})

// newHouse is a copy of the template.
func newHouse(dir string, change ...func(*server.Config)) (*house, error) {
	like, err := template()
	if err != nil {
		return nil, err
	}
	err = os.WriteFile(filepath.Join(dir, "holdfast.db"), like.image, 0o600)
	if err != nil {
		return nil, err
	}
	return makeHouse(dir, like.root, change...)
}

func makeHouse(dir string, root key.Root, change ...func(*server.Config)) (*house, error) {
	h := &house{dir: dir, root: root, log: &syncBuffer{}, clock: &clock{now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}}
	c, _, err := server.Load(server.LoadOptions{Dev: true, Flags: map[string]string{"issuer": testIssuer, "data": dir, "listen": "127.0.0.1:8420"}})
	if err != nil {
		return nil, err
	}
	for _, f := range change {
		f(&c)
	}
	h.config = c
	return h, h.open()
}

func (h *house) open() error {
	var err error
	h.db, err = sqlite.Open(filepath.Join(h.dir, "holdfast.db"), sqlite.Options{Now: h.clock.Now})
	if err != nil {
		return err
	}
	db := h.db
	log := slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p := server.Parts{
		Stores: server.Stores{Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(), Calls: db.Calls(), Once: db.Once(), Upstreams: db.Upstreams(),
			Ready: db.Ping, Writable: db.Writable, Check: func(ctx context.Context) error { _, err := db.Check(ctx); return err }},
		Root: h.root, Log: log, Now: h.clock.Now, Dev: &server.Dev{}, HashCommand: []string{os.Args[0], hashWorker},
	}
	if h.rewire != nil {
		h.rewire(&p)
	}
	h.server, err = server.New(context.Background(), h.config, p)
	if err != nil {
		return err
	}
	h.http = httptest.NewServer(h.server.Handler())
	return nil
}

func (h *house) shut() error {
	h.http.Close()
	h.server.Close()
	return h.db.Close()
}

func (h *house) reopen() error {
	err := h.shut()
	if err != nil {
		return err
	}
	return h.open()
}

func (h *house) close() { _ = h.shut() }

// forTest is newHouse for a plain test.
func forTest(t testing.TB, change ...func(*server.Config)) *house {
	t.Helper()
	h, err := newHouse(t.TempDir(), change...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, leak := range h.leaks() {
			t.Error(leak)
		}
		h.close()
	})
	return h
}

func (h *house) send(method, path, kind string, body io.Reader, header http.Header) (answer, error) {
	sent, err := h.sentBody(body)
	if err != nil {
		return answer{}, err
	}
	r, err := http.NewRequest(method, h.http.URL+path, bytes.NewReader(sent))
	if err != nil {
		return answer{}, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	h.secrets.seen(b)
	a := answer{res.StatusCode, res.Header, b}
	return a, described(false, r, sent, a)
}

// sentBody reads a body that is sent, so that it can be looked at as well.
func (h *house) sentBody(body io.Reader) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	b, err := io.ReadAll(body)
	h.secrets.seen(b)
	return b, err
}

func (h *house) operate(method, path string, body io.Reader) (answer, error) {
	sent, err := h.sentBody(body)
	if err != nil {
		return answer{}, err
	}
	r, err := http.NewRequest(method, "http://admin"+path, bytes.NewReader(sent))
	if err != nil {
		return answer{}, err
	}
	if len(sent) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if strings.HasPrefix(path, "/admin/v1/apply") {
		r.Header.Set("Content-Type", "application/toml")
	}
	rec := httptest.NewRecorder()
	h.server.Admin().ServeHTTP(rec, r)
	h.secrets.seen(rec.Body.Bytes())
	a := answer{rec.Code, rec.Result().Header, rec.Body.Bytes()}
	return a, described(true, r, sent, a)
}

func (h *house) metrics() (string, error) {
	rec := httptest.NewRecorder()
	h.server.Metrics().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if rec.Code != http.StatusOK {
		return "", fmt.Errorf("/metrics answered %d", rec.Code)
	}
	return rec.Body.String(), nil
}

// claims reads a JWT's payload without checking anything.
func claims(jwt string) map[string]any {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return nil
	}
	b, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var m map[string]any
	_ = json.Unmarshal(b, &m)
	return m
}

func sidOf(jwt string) string { s, _ := claims(jwt)["sid"].(string); return s }

func kidOf(jwt string) string {
	b, _ := base64.RawURLEncoding.DecodeString(strings.Split(jwt, ".")[0])
	var h struct{ Kid string }
	_ = json.Unmarshal(b, &h)
	return h.Kid
}

// syncBuffer is a log that many goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
