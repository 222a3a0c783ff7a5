package server_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"holdfast.example/internal/server"
)

// BenchmarkRefresh is one rotating refresh from the parsed request to the
// written answer, durable on the disk, without the network: for profiles and
// for counting allocations. bench/ measures the whole server from outside.
func BenchmarkRefresh(b *testing.B) { benchmarkRefresh(b, "demo-strict", "") }

// BenchmarkRefreshPair is the same for an app of simplejwt, whose refresh token is a
// JWT and whose access token carries the user's integer id.
func BenchmarkRefreshPair(b *testing.B) {
	benchmarkRefresh(b, "pair-strict", "[[clients]]\nid = \"pair-strict\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nclaims = \"simplejwt\"\nrefresh = \"strict\"\n")
}

func benchmarkRefresh(b *testing.B, client, manifest string) {
	h, err := newHouse(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer h.close()
	db := h.db
	s, err := server.New(context.Background(), h.config, server.Parts{
		Stores: server.Stores{Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(),
			Ready: db.Ping, Writable: db.Writable},
		Root: h.root, Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), Now: h.clock.Now, HashCommand: []string{os.Args[0], hashWorker}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Apply(context.Background(), "bench.toml", []byte(manifest)); err != nil {
		b.Fatal(err)
	}
	const devices = 16
	tokens := make(chan string, devices)
	for range devices {
		tokens <- ask(b, s, url.Values{"grant_type": {"password"}, "client_id": {client}, "username": {"demo"}, "password": {"demo-password"}})
	}
	b.SetParallelism(devices) // for each processor; the devices are the bound
	b.ReportAllocs()
	b.ResetTimer()
	var failed atomic.Bool
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() && !failed.Load() {
			t := <-tokens
			next := ask(b, s, url.Values{"grant_type": {"refresh_token"}, "client_id": {client}, "refresh_token": {t}})
			if next == "" || next == t {
				failed.Store(true)
			}
			tokens <- next
		}
	})
	if failed.Load() {
		b.Fatal("a refresh did not rotate")
	}
}

// ask posts a form to the token endpoint and returns the refresh token.
func ask(b *testing.B, s *server.Server, form url.Values) string {
	r, err := http.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		b.Error(err)
		return ""
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = "192.0.2.1:4711"
	w := &written{header: http.Header{}}
	s.Handler().ServeHTTP(w, r)
	var body struct {
		Refresh string `json:"refresh_token"`
	}
	err = json.Unmarshal(w.body, &body)
	if err != nil || w.status != http.StatusOK {
		b.Errorf("status %d: %s", w.status, w.body)
	}
	return body.Refresh
}

// written is an answer.
type written struct {
	header http.Header
	status int
	body   []byte
}

func (w *written) Header() http.Header    { return w.header }
func (w *written) WriteHeader(status int) { w.status = status }
func (w *written) Write(b []byte) (int, error) {
	w.body = append(w.body, b...)
	return len(b), nil
}
