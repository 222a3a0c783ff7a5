package client_test

import (
	"errors"
	"strings"
	"testing"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
)

func TestPutCreatesOnceAndReplaces(t *testing.T) {
	s := newTable()
	r := open(t, s)
	put := func(p client.Put) client.PutReport {
		t.Helper()
		report, err := r.Put(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	d := service()
	d.Secret = secret.Text{}
	made := put(client.Put{Declared: d, Version: new(uint64)})
	if !made.Created || made.Secret.Empty() || !client.CheckSecret(made.Client.SecretHash, made.Secret) || made.Client.Version != 1 {
		t.Errorf("%+v", made)
	}
	if e := s.last.Audit[0]; e.Name != audit.ClientCreated || e.Details["Grants"] == "" || strings.Contains(e.EncodeDetails(), "hmac-sha256") {
		t.Errorf("%+v", e)
	}
	puts := s.puts
	if again := put(client.Put{Declared: d}); again.Created || !again.Secret.Empty() || s.puts != puts {
		t.Errorf("putting the same again: %+v, %d writes", again, s.puts-puts)
	}
	d.Name = "Renamed"
	d.Secret = secret.New("another-secret-of-enough-length")
	one := uint64(1)
	next := put(client.Put{Declared: d, Version: &one})
	if next.Client.Name != "Renamed" || !client.CheckSecret(next.Client.SecretHash, d.Secret) || next.Client.Version != 2 {
		t.Errorf("%+v", next)
	}
	for name, p := range map[string]client.Put{
		"an old version": {Declared: d, Version: &one},
		"a new client":   {Declared: d, Version: new(uint64)},
	} {
		if _, err := r.Put(t.Context(), p); !fault.Is(err, fault.Conflict) || !errors.Is(err, client.ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	forbidden := fault.New(fault.Forbidden, "no")
	_, err := r.Put(t.Context(), client.Put{Declared: d, May: func(was, is client.Client) error {
		if was.Name != "Renamed" || is.Name != "Renamed" {
			t.Errorf("asked about %+v and %+v", was, is)
		}
		return forbidden
	}})
	if !errors.Is(err, forbidden) {
		t.Errorf("what it may not do: %v", err)
	}
}

func TestPutTellsEveryProblem(t *testing.T) {
	d := phone()
	d.Grants, d.Scopes = []string{"magic"}, []string{"admin.viewer"}
	_, err := open(t, newTable()).Put(t.Context(), client.Put{Declared: d})
	refused, ok := errors.AsType[*client.Refused](err)
	if !fault.Is(err, fault.InvalidRequest) || !ok || len(refused.Problems) < 2 {
		t.Fatalf("%v", err)
	}
	if !strings.Contains(refused.Error(), "grants") || !strings.Contains(refused.Error(), "scopes[0]: this scope opens the server's own interfaces") {
		t.Errorf("%v", refused)
	}
}
