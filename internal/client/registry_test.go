package client_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

func TestReload(t *testing.T) {
	s := newTable()
	a, b := open(t, s), open(t, s)
	apply(t, a, phone())
	if _, ok := b.Get("phone"); ok {
		t.Error("the other node knows before it looked")
	}
	reads := s.reads
	for range 3 {
		if err := b.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := b.Get("phone"); !ok || s.reads != reads+1 {
		t.Errorf("found %v after %d reads; only a new revision is worth one", ok, s.reads-reads)
	}
	if err := a.Delete(t.Context(), "phone"); err != nil {
		t.Fatal(err)
	}
	_ = b.Reload(t.Context())
	if _, ok := b.Get("phone"); ok {
		t.Error("a deleted client is still there")
	}
	for name, err := range map[string]error{
		"delete": a.Delete(t.Context(), "phone"), "disable": a.Disable(t.Context(), "phone"), "enable": a.Enable(t.Context(), "phone"),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s an unknown client: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var zero client.Registry
	if _, ok := zero.Get("x"); ok || zero.Grants() != nil || zero.AllowsOrigin("x") {
		t.Error("an empty registry knows somebody")
	}
	_ = a.Reload(ended) // a caller that gave up may not disturb the others
	if err := a.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRotateSecret(t *testing.T) {
	r := open(t, newTable())
	apply(t, r, phone(), service())
	fresh, err := r.RotateSecret(t.Context(), "service")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := r.Get("service")
	if !r.CheckSecret(c, fresh) || r.CheckSecret(c, service().Secret) || c.Version != 2 {
		t.Errorf("%+v", c)
	}
	_, err = r.RotateSecret(t.Context(), "phone")
	if !fault.Is(err, fault.InvalidRequest) {
		t.Errorf("a public client: %v", err)
	}
	_, err = r.RotateSecret(t.Context(), "absent")
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("an unknown client: %v", err)
	}
}

func TestWhatAnyClientMay(t *testing.T) {
	r := open(t, newTable())
	spa := phone()
	spa.ID, spa.CORSOrigins = "spa", []string{"https://app.example"}
	apply(t, r, phone(), spa, service())
	if got := fmt.Sprint(r.Grants(), r.Scopes()); got != "[authorization_code client_credentials refresh_token] [email offline_access openid profile read]" {
		t.Error(got)
	}
	if !r.AllowsOrigin("https://app.example") || r.AllowsOrigin("https://other.example") {
		t.Error("origins are wrong")
	}
	_ = r.Disable(t.Context(), "spa")
	_ = r.Disable(t.Context(), "service")
	if got := fmt.Sprint(r.Grants()); got != "[authorization_code refresh_token]" || r.AllowsOrigin("https://app.example") || len(r.All()) != 3 {
		t.Errorf("disabled clients count: %s", got)
	}
	r.Server.Defaults = client.Standard()
	r.Server.Defaults.Idle = client.Standard().Access
	if found := r.Problems(); len(found) == 0 || found[0].Code != "HF101" {
		t.Errorf("a shorter idle limit goes unnoticed: %v", found)
	}
}

// Readers never see a half set while others write and reload.
func TestReadersAndWriters(t *testing.T) {
	s := newTable()
	r := open(t, s)
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := range 20 {
				d := phone()
				d.ID = id.Client(fmt.Sprintf("phone-%d", n))
				d.Name = fmt.Sprint(i)
				_, err := r.Apply(context.Background(), []client.Declared{d})
				if err != nil {
					t.Error(err)
				}
				if c, ok := r.Get(d.ID); !ok || c.Name != d.Name {
					t.Errorf("own write is not seen: %+v", c)
				}
				r.Grants()
			}
		})
	}
	all.Wait()
	if len(r.All()) != 4 {
		t.Errorf("%d clients", len(r.All()))
	}
}
