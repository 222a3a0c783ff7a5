package client_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

func TestApplyTwiceChangesNothing(t *testing.T) {
	s := newTable()
	r := open(t, s)
	idle := service()
	idle.ID, idle.Grants = "no-grants", []string{}
	first := apply(t, r, phone(), service(), idle)
	if !reflect.DeepEqual(first.Created, []id.Client{"phone", "service", "no-grants"}) || first.Updated != nil || first.Unchanged != nil {
		t.Errorf("%+v", first)
	}
	puts := s.puts
	second := apply(t, r, phone(), service(), idle)
	if len(second.Unchanged) != 3 || second.Created != nil || second.Updated != nil || s.puts != puts {
		t.Errorf("%+v after %d writes", second, s.puts-puts)
	}
	c, ok := r.Get("service")
	if !ok || c.Version != 1 || !r.CheckSecret(c, secret.New("a-secret-of-enough-characters")) || strings.Contains(c.SecretHash, "a-secret") {
		t.Errorf("%+v", c)
	}
}

func TestApplyUpdatesWhatDiffers(t *testing.T) {
	s := newTable()
	r := open(t, s)
	apply(t, r, phone(), service())
	p, v := phone(), service()
	p.Name = "Renamed"
	v.Secret = secret.New("another-secret-of-enough-characters")
	report := apply(t, r, p, v)
	if len(report.Updated) != 2 {
		t.Errorf("%+v", report)
	}
	c, _ := r.Get("service")
	if c.Version != 2 || r.CheckSecret(c, secret.New("a-secret-of-enough-characters")) || !r.CheckSecret(c, v.Secret) {
		t.Errorf("%+v", c)
	}
	v.Secret = secret.Text{} // says nothing about it, so it stays
	if report := apply(t, r, v); len(report.Unchanged) != 1 {
		t.Errorf("%+v", report)
	}
}

func TestApplyChecksAllBeforeItWritesAny(t *testing.T) {
	s := newTable()
	r := open(t, s)
	bad := service()
	bad.Scopes = []string{"a b"}
	bad.Grants = []string{"implicit"}
	_, err := r.Apply(t.Context(), []client.Declared{phone(), bad, phone()})
	if !fault.Is(err, fault.InvalidRequest) || s.puts != 0 {
		t.Fatalf("%v after %d writes", err, s.puts)
	}
	for _, want := range []string{"client service: scopes[0]", "client service: grants[0]", "client phone is declared twice"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in %v", want, err)
		}
	}
	fresh := service()
	fresh.Secret = secret.Text{}
	_, err = r.Apply(t.Context(), []client.Declared{fresh})
	if !fault.Is(err, fault.InvalidRequest) || s.puts != 0 {
		t.Errorf("a new client without a secret: %v", err)
	}
	_, err = r.Apply(t.Context(), make([]client.Declared, client.MaxDeclared+1))
	if !fault.Is(err, fault.TooLarge) {
		t.Errorf("too many: %v", err)
	}
}

func TestApplyLeavesAStoppedClientToTheOperator(t *testing.T) {
	s := newTable()
	r := open(t, s)
	apply(t, r, phone())
	if err := r.Disable(t.Context(), "phone"); err != nil {
		t.Fatal(err)
	}
	stopped := []feed.Entry{{Kind: feed.Client, Key: "phone", Reason: fault.ClientStopped, At: opened, Until: opened.Add(time.Hour)}}
	if !reflect.DeepEqual(s.last.Entries, stopped) || s.last.Audit[0].Name != audit.ClientDisabled {
		t.Errorf("disabling came with %+v", s.last)
	}
	renamed := phone()
	renamed.Name = "Renamed"
	report := apply(t, r, renamed)
	if c, _ := r.Get("phone"); !c.Disabled || c.Name != "Renamed" || s.last.Entries != nil || s.last.Audit[0].Name != audit.ClientUpdated {
		t.Errorf("%+v %+v", c, report)
	}
	no, yes := false, true
	renamed.Stopped = &no
	apply(t, r, renamed)
	if c, _ := r.Get("phone"); c.Disabled {
		t.Errorf("%+v", c)
	}
	renamed.Stopped = &yes
	if report := apply(t, r, renamed); !reflect.DeepEqual(s.last.Entries, stopped) {
		t.Errorf("%+v %+v", report, s.last)
	}
	if report := apply(t, r, renamed); len(report.Unchanged) != 1 {
		t.Errorf("%+v", report)
	}
}

func TestApplyDecidesAnewWhenSomebodyElseWrites(t *testing.T) {
	s := newTable()
	r := open(t, s)
	apply(t, r, phone())
	times := 0
	s.before = func(s *table, c client.Client) error { // another node writes in between
		if times++; times <= 2 {
			s.mu.Lock()
			other := s.rows[c.ID]
			other.Version++
			other.Disabled = true
			s.write(other)
			s.mu.Unlock()
		}
		return nil
	}
	renamed := phone()
	renamed.Name = "Renamed"
	apply(t, r, renamed)
	if c, _ := r.Get("phone"); c.Name != "Renamed" || !c.Disabled || c.Version != 4 {
		t.Errorf("the other change was lost: %+v", c)
	}
	times = -100
	renamed.Name = "Again"
	_, err := r.Apply(t.Context(), []client.Declared{renamed})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("an endless race gives %v", err)
	}
}

func TestApplyGoesOnAfterAnUnknownOutcome(t *testing.T) {
	s := newTable()
	r := open(t, s)
	s.before = func(s *table, c client.Client) error { // written, but the answer was lost
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.ID == "service" && s.rows[c.ID].Version == 0 {
			s.write(c)
			return errors.New("connection lost")
		}
		return nil
	}
	report, err := r.Apply(t.Context(), []client.Declared{phone(), service()})
	if !fault.Is(err, fault.Unavailable) || len(report.Created) != 1 {
		t.Fatalf("%v, %+v", err, report)
	}
	report = apply(t, r, phone(), service())
	if len(report.Unchanged) != 2 {
		t.Errorf("%+v", report)
	}
}

// Applying any set in any order ends in that set, and applying it again changes
// nothing.
func TestApplySettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newTable()
		r, err := client.OpenRegistry(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		r.Now = func() time.Time { return opened }
		for range rapid.IntRange(1, 5).Draw(t, "rounds") {
			var set []client.Declared
			for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]id.Client{"a", "b", "c"}), 0, 3, func(c id.Client) id.Client { return c }).Draw(t, "ids") {
				d := rapid.SampledFrom([]func() client.Declared{phone, service}).Draw(t, "kind")()
				d.ID, d.Name = name, rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "name")
				if d.Type == client.Confidential {
					d.Secret = secret.New(rapid.SampledFrom([]string{"first-secret-of-enough-length", "second-secret-of-enough-length"}).Draw(t, "secret"))
				}
				d.Stopped = rapid.SampledFrom([]*bool{nil, new(bool)}).Draw(t, "stopped")
				set = append(set, d)
			}
			_, err := r.Apply(t.Context(), set)
			if err != nil {
				t.Fatal(err)
			}
			puts := s.puts
			report, err := r.Apply(t.Context(), set)
			if err != nil || len(report.Unchanged) != len(set) || s.puts != puts {
				t.Fatalf("applying again: %v, %+v, %d writes", err, report, s.puts-puts)
			}
			for _, d := range set {
				c, ok := r.Get(d.ID)
				if !ok || c.Type != d.Type || (d.Type == client.Public) != (c.SecretHash == "") || !d.Secret.Empty() && !r.CheckSecret(c, d.Secret) {
					t.Fatalf("%+v became %+v", d.Client, c)
				}
			}
		}
	})
}
