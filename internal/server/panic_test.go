package server_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"holdfast.example/internal/id"
	"holdfast.example/internal/server"
	"holdfast.example/internal/session"
)

// broken is a store with a mistake in it.
type broken struct {
	session.Store
	on atomic.Bool
}

func (b *broken) Load(ctx context.Context, which id.Session) (session.Loaded, error) {
	if b.on.Load() {
		panic("a mistake")
	}
	return b.Store.Load(ctx, which)
}

// TestPanic: a mistake in the house costs one answer, and nobody keeps that: it is
// told in the log, and the next request is answered.
func TestPanic(t *testing.T) {
	a, store := attacks(t), &broken{}
	a.rewire = func(p *server.Parts) { store.Store = p.Stores.Sessions; p.Stores.Sessions = store }
	if err := a.reopen(); err != nil {
		t.Fatal(err)
	}
	h := a.signIn("demo-native")
	store.on.Store(true)
	got, err := a.send(http.MethodPost, "/oauth2/token", urlEncoded, strings.NewReader(encode([]string{"grant_type", "refresh_token", "client_id", "demo-native", "refresh_token", h.Refresh})), nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.body) != `{"error":"server_error"}` || got.status != 500 {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff", "Content-Length": "24"} {
		if got.header.Get(name) != want {
			t.Errorf("%s is %q, not %q", name, got.header.Get(name), want)
		}
	}
	if log := a.log.String(); !strings.Contains(log, "a mistake") || strings.Contains(log, h.Refresh) {
		t.Errorf("the log says %s", log)
	}
	store.on.Store(false)
	a.refreshed(h)
}
