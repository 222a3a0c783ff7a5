package token_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/token"
)

// keyStore is the two verbs of key.Store over a variable.
type keyStore struct {
	mu   sync.Mutex
	rows key.Rows
}

func (s *keyStore) Load(context.Context) (key.Rows, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows, nil
}

func (s *keyStore) Replace(_ context.Context, next key.Rows) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next.Version != s.rows.Version+1 {
		return key.ErrChanged
	}
	s.rows = next
	return nil
}

var start = time.Date(2026, 11, 22, 8, 0, 0, 123e6, time.UTC)

func openRing(t testing.TB, algs ...string) *key.Ring {
	t.Helper()
	if len(algs) == 0 {
		algs = []string{"ES256"}
	}
	r, err := key.Open(t.Context(), &keyStore{}, key.NewRoot(), key.Options{Algs: algs, LongestAccess: time.Hour,
		JWKSMaxAge: 5 * time.Minute, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var own = [16]byte{1, 2, 3}

func TestRefreshRoundTrip(t *testing.T) {
	c := token.Refreshes{Keys: openRing(t)}
	s := id.NewSession()
	text := c.Encode(s, own, 7, start)
	if len(text.Reveal()) != token.RefreshLength || !strings.HasPrefix(text.Reveal(), token.RefreshPrefix) {
		t.Fatalf("the string dress is %q", text.Reveal())
	}
	dressed := c.Dress(text, must(c.Decode(text)), token.DressClaims{Subject: `usr_"x`, ExpiresAt: start.Add(time.Hour)})
	for name, dress := range map[string]secret.Text{"string": text, "JWT": dressed} {
		r, err := c.Decode(dress)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Session != s || r.Generation != 7 || !r.IssuedAt.Equal(start) {
			t.Errorf("%s: opened %+v", name, r)
		}
		if !c.Genuine(r, own) {
			t.Errorf("%s: not genuine", name)
		}
		if c.Genuine(r, [16]byte{9}) {
			t.Errorf("%s: genuine under another session's secret", name)
		}
	}
	if c.Encode(s, own, 7, start).Reveal() != text.Reveal() {
		t.Error("the same generation was spelled in two ways")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A26: refresh tokens are VSCHAR, unique, and say nothing about the user.
func TestRefreshTokensAreUnique(t *testing.T) {
	c := token.Refreshes{Keys: openRing(t)}
	shape := regexp.MustCompile(`^hfr_[A-Za-z0-9_-]{76}$`)
	seen := map[string]bool{}
	for range 10_000 {
		s := c.Encode(id.NewSession(), own, 1, start).Reveal()
		if !shape.MatchString(s) || seen[s] {
			t.Fatalf("bad or repeated: %s", s)
		}
		seen[s] = true
	}
}

// Every single-character change, in either dress, is not ours.
func TestRefreshHasOneSpelling(t *testing.T) {
	c := token.Refreshes{Keys: openRing(t)}
	text := c.Encode(id.NewSession(), own, 1, start)
	dressed := c.Dress(text, must(c.Decode(text)), token.DressClaims{Subject: "usr_x"})
	for _, s := range []string{text.Reveal(), dressed.Reveal()} {
		for i := range len(s) {
			for _, ch := range []byte{s[i] ^ 1, 'A', '=', '.', '\n', ' ', 0, '+', '/'} {
				if ch == s[i] {
					continue
				}
				changed := s[:i] + string(ch) + s[i+1:]
				if _, err := c.Decode(secret.New(changed)); err == nil {
					t.Fatalf("accepted %q with %q at %d", changed, ch, i)
				}
			}
			inserted := s[:i] + "\n" + s[i:]
			if _, err := c.Decode(secret.New(inserted)); err == nil {
				t.Fatalf("accepted a line break at %d", i)
			}
		}
		for _, odd := range []string{s + "=", s + "A", s[1:], s[:len(s)-1], " " + s, s + " ", strings.ToUpper(s), s + "." + s, ""} {
			if _, err := c.Decode(secret.New(odd)); err == nil {
				t.Fatalf("accepted %q", odd)
			}
		}
	}
}

// P5, invariant 11: what a dump, the sealing key or the root alone can make is
// not genuine. Another install's keys open nothing.
func TestRefreshNeedsKeyAndSecret(t *testing.T) {
	ours, theirs := token.Refreshes{Keys: openRing(t)}, token.Refreshes{Keys: openRing(t)}
	s := id.NewSession()
	if _, err := ours.Decode(theirs.Encode(s, own, 1, start)); err == nil {
		t.Error("a token under other keys was opened")
	}
	// The sealing key without the row: the forger must guess the session's secret.
	forged := must(ours.Decode(ours.Encode(s, [16]byte{}, 99, start)))
	if ours.Genuine(forged, own) {
		t.Error("a token sealed without the session's secret is genuine")
	}
}

// A token sealed under a retired key is still recognised.
func TestRefreshOutlivesItsSealingKey(t *testing.T) {
	ring := openRing(t)
	c := token.Refreshes{Keys: ring}
	s := id.NewSession()
	before := c.Encode(s, own, 3, start)
	err := ring.RotateNow(t.Context(), key.Seal, "", start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	after := c.Encode(s, own, 3, start)
	if before.Reveal() == after.Reveal() {
		t.Fatal("the sealing key did not change")
	}
	for _, text := range []secret.Text{before, after} {
		r, err := c.Decode(text)
		if err != nil || !c.Genuine(r, own) || r.Generation != 3 {
			t.Errorf("after the rotation: %+v, %v", r, err)
		}
	}
}

// What is not a token costs no seal and panics nowhere.
func TestRefreshGarbage(t *testing.T) {
	c := token.Refreshes{Keys: openRing(t)}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, rnd.IntN(120))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		for _, s := range []string{string(b), token.RefreshPrefix + base64.RawURLEncoding.EncodeToString(b), "eyJ." + string(b) + ".x"} {
			if _, err := c.Decode(secret.New(s)); err == nil {
				t.Fatalf("accepted %q", s)
			}
		}
	}
}

func TestTokensAreUnloggable(t *testing.T) {
	c := token.Refreshes{Keys: openRing(t)}
	text := c.Encode(id.NewSession(), own, 1, start)
	holder := struct {
		Name string
		in   secret.Text
		Out  secret.Text
	}{"x", text, text}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{text, &text, holder, &holder} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, text.Reveal()[4:20]) {
				t.Errorf("%s of %T shows the token", verb, v)
			}
		}
	}
}

func FuzzRefresh(f *testing.F) {
	c := token.Refreshes{Keys: openRing(f)}
	text := c.Encode(id.Session{1}, own, 7, start)
	f.Add(text.Reveal())
	f.Add(c.Dress(text, must(c.Decode(text)), token.DressClaims{Subject: "usr_x"}).Reveal())
	f.Add("hfr_")
	f.Add(token.RefreshPrefix + strings.Repeat("A", 76))
	f.Add("eyJhbGciOiJIUzI1NiIsInR5cCI6InJ0K2p3dCJ9.e30.")
	// Decode, encode, compare: what is accepted is what we would write.
	f.Fuzz(func(t *testing.T, s string) {
		r, err := c.Decode(secret.New(s))
		if err != nil {
			return
		}
		again := c.Encode(r.Session, own, r.Generation, r.IssuedAt)
		genuine := c.Genuine(r, own)
		if !strings.Contains(s, ".") && genuine != (again.Reveal() == s) {
			t.Fatalf("%q: genuine %v, but we would write %q", s, genuine, again.Reveal())
		}
		if strings.Contains(s, ".") && !bytes.Contains([]byte(must(base64.RawURLEncoding.DecodeString(strings.Split(s, ".")[1]))), []byte(token.RefreshPrefix)) {
			t.Fatalf("%q carries no refresh token", s)
		}
	})
}

func BenchmarkRefreshEncode(b *testing.B) {
	c := token.Refreshes{Keys: openRing(b)}
	s := id.NewSession()
	b.ReportAllocs()
	for b.Loop() {
		c.Encode(s, own, 7, start)
	}
}

func BenchmarkRefreshOpen(b *testing.B) {
	c := token.Refreshes{Keys: openRing(b)}
	text := c.Encode(id.NewSession(), own, 7, start)
	b.ReportAllocs()
	for b.Loop() {
		r, err := c.Decode(text)
		if err != nil || !c.Genuine(r, own) {
			b.Fatal(err)
		}
	}
}
