package sqlite

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// factsOf keeps of a session what packFacts writes, and CreatedAt.
func factsOf(s session.Session) session.Session {
	return session.Session{Parent: s.Parent, Secret: s.Secret, Attempt: s.Attempt, AuthTime: s.AuthTime, Key: s.Key, Device: s.Device, CreatedAt: s.CreatedAt}
}

func TestFactsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		array := func(name string, b []byte) {
			copy(b, rapid.SliceOfN(rapid.Byte(), len(b), len(b)).Draw(t, name))
		}
		text := rapid.OneOf(rapid.Just(""), rapid.String(), rapid.StringN(0, 300, -1))
		ms := rapid.Int64Range(1, 1<<45)
		s := session.Session{
			CreatedAt: session.FromMillis(ms.Draw(t, "created")), AuthTime: session.FromMillis(ms.Draw(t, "auth")), Key: text.Draw(t, "key"),
			Device: session.Device{Name: text.Draw(t, "name"), Model: text.Draw(t, "model"), System: text.Draw(t, "system"), App: text.Draw(t, "app")},
		}
		array("secret", s.Secret[:])
		array("attempt", s.Attempt[:])
		if rapid.Bool().Draw(t, "installed") {
			array("install", s.Device.Install[:])
		}
		if rapid.Bool().Draw(t, "child") {
			array("parent", s.Parent[:])
		}
		got := session.Session{CreatedAt: s.CreatedAt}
		if err := unpackFacts(packFacts(s), &got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s, got); d != "" {
			t.Fatal(d)
		}
	})
}

func TestHalves(t *testing.T) {
	for _, s := range []id.Session{{}, {0xff}, {0: 0x7f, 7: 1, 8: 2, 15: 3}, id.NewSession()} {
		key, tail := halves(s)
		if got, err := joined(key, tail); err != nil || got != s {
			t.Errorf("%x became %x (%v)", s, got, err)
		}
	}
	if _, err := joined(1, []byte{1}); err == nil {
		t.Error("a short tail was accepted")
	}
}

// FuzzUnpackFacts: whatever is accepted is the one spelling of what it says.
func FuzzUnpackFacts(f *testing.F) {
	created := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	full := mature(id.NewUser(), 2)
	full.Parent, full.Key = id.NewSession(), "thumbprint"
	for _, s := range []session.Session{{CreatedAt: created, AuthTime: created}, full} {
		f.Add(packFacts(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := session.Session{CreatedAt: created}
		if err := unpackFacts(b, &s); err != nil {
			return
		}
		if again := packFacts(s); !bytes.Equal(b, again) && session.Millis(s.AuthTime) != 0 {
			t.Errorf("%x was accepted, but %+v is written as %x", b, factsOf(s), again)
		}
	})
}
