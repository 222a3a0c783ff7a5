package verify

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"go/build"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// The memo never holds more than it was made for, whatever is put in.
func TestMemoIsBounded(t *testing.T) {
	const capacity = 64
	m := newMemo(capacity)
	key := &Key{id: "k"}
	set := &KeySet{byID: map[string]*Key{"k": key}}
	sum := func(i int) digest { return sha256.Sum256(fmt.Append(nil, i)) }
	size := func() (n int) {
		for i := range m.shards {
			n += len(m.shards[i].entries)
		}
		return n
	}
	for i := range 10_000 {
		m.remember(sum(i), key, &Claims{Subject: fmt.Sprint(i)})
		m.remember(sum(i), key, &Claims{Subject: fmt.Sprint(i)}) // twice takes one place
		if i%3 == 0 {
			m.forget(sum(i))
			m.remember(sum(i), key, &Claims{Subject: fmt.Sprint(i)})
		}
		if c := m.recall(sum(i), set); c == nil || c.Subject != fmt.Sprint(i) {
			t.Fatalf("entry %d: %v", i, c)
		}
	}
	if n := size(); n > capacity {
		t.Errorf("%d entries; want %d at most", n, capacity)
	}
	other := &KeySet{byID: map[string]*Key{"k": {id: "k"}}}
	for i := range 10_000 {
		if m.recall(sum(i), other) != nil {
			t.Fatal("an entry outlived its key")
		}
	}
	if n := size(); n != 0 {
		t.Errorf("%d entries of a dropped key are still there", n)
	}
}

func TestMemoInParallel(t *testing.T) {
	m := newMemo(32)
	key := &Key{id: "k"}
	set := &KeySet{byID: map[string]*Key{"k": key}}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				text := fmt.Sprint(i % 50)
				d := sha256.Sum256([]byte(text))
				switch (i + g) % 3 {
				case 0:
					m.remember(d, key, &Claims{Subject: text})
				case 1:
					if c := m.recall(d, set); c != nil && c.Subject != text {
						t.Error("another token's claims")
					}
				case 2:
					m.forget(d)
				}
			}
		})
	}
	wg.Wait()
}

func TestScopeIsAWord(t *testing.T) {
	c := Claims{Scope: " read  write "}
	for scope, want := range map[string]bool{"read": true, "write": true, "": false, " ": false, "rea": false, "read  write": false} {
		if c.HasScope(scope) != want {
			t.Errorf("HasScope(%q) is %v", scope, !want)
		}
	}
}

// Headers learned from the issuer's own tokens stay bounded, too.
func TestKnownHeadersAreBounded(t *testing.T) {
	v, err := New(Config{Issuer: "i", Audience: "a", Keys: &KeySet{}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 * maxKnownHeaders {
		v.learnHeader(fmt.Sprint(i), &Key{})
		if n := len(*v.known.Load()); n > maxKnownHeaders {
			t.Fatalf("%d headers known", n)
		}
	}
}

// refuseAll is a Revocations that ended everything.
type refuseAll struct{}

func (refuseAll) Refuse(*Claims, time.Time) error { return &Error{Kind: Revoked} }

// Strangers leave nothing behind: a header is remembered only after a good
// signature, a token only if it was accepted.
func TestOnlyAcceptedTokensAreRemembered(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewKey("k", "Ed25519", public)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := NewKeySet(key)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := func(header string) string {
		signed := encode([]byte(header)) + "." +
			encode([]byte(`{"iss":"i","aud":"a","sub":"s","client_id":"c","jti":"j","iat":1000,"exp":2000}`))
		return signed + "." + encode(ed25519.Sign(private, []byte(signed)))
	}
	good := token(`{"alg":"Ed25519","kid":"k","typ":"at+jwt"}`)
	stranger := token(`{"alg":"Ed25519","kid":"k","typ":"at+jwt","x":1}`)
	stranger = stranger[:len(stranger)-86] + good[len(good)-86:] // another token's signature

	for _, c := range []struct {
		name             string
		token            string
		now              int64
		revocations      Revocations
		headers, entries int
	}{
		{"accepted", good, 1500, nil, 1, 1},
		{"bad signature", stranger, 1500, nil, 0, 0},
		{"expired", good, 3000, nil, 1, 0},
		{"revoked", good, 1500, refuseAll{}, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := New(Config{Issuer: "i", Audience: "a", Keys: keys, Memo: 16, Revocations: c.revocations})
			if err != nil {
				t.Fatal(err)
			}
			_, err = v.Verify(t.Context(), c.token, time.Unix(c.now, 0))
			if (err == nil) != (c.entries == 1) {
				t.Errorf("error %v", err)
			}
			entries := 0
			for i := range v.memo.shards {
				entries += len(v.memo.shards[i].entries)
			}
			if headers := len(*v.known.Load()); headers != c.headers || entries != c.entries {
				t.Errorf("%d headers and %d tokens remembered; want %d and %d", headers, entries, c.headers, c.entries)
			}
		})
	}

	// A remembered token leaves when it is shown after its time.
	v, err := New(Config{Issuer: "i", Audience: "a", Keys: keys, Memo: 16})
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []int64{1500, 3000} {
		_, _ = v.Verify(t.Context(), good, time.Unix(now, 0)) // the outcome is checked above
	}
	if v.memo.recall(digestOf(good), keys) != nil {
		t.Error("an expired token is still remembered")
	}
}

// Every Kind has its words and its answer.
func TestEveryKindHasAnAnswer(t *testing.T) {
	for k := NoToken; k <= Forged; k++ {
		if words[k] == "" || !quotable(words[k]) {
			t.Errorf("kind %d has no words that can be quoted", k)
		}
		if answers[k].status < 400 {
			t.Errorf("kind %d (%v) has no answer", k, k)
		}
	}
	if len(words) != int(Forged) || len(answers) != int(Forged) {
		t.Error("words or answers for a Kind that does not exist")
	}
}

// A service that adds this package inherits nothing: the standard library only.
func TestStandardLibraryOnly(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil || strings.Contains(string(mod), "require") || strings.Contains(string(mod), "replace") {
		t.Errorf("go.mod names another module, or cannot be read: %v", err)
	}
	for _, dir := range []string{".", "internal/jose"} {
		pkg, err := build.ImportDir(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range append(append(pkg.Imports, pkg.TestImports...), pkg.XTestImports...) {
			first, _, _ := strings.Cut(path, "/")
			if strings.Contains(first, ".") && !strings.HasPrefix(path, "holdfast.example/verify") {
				t.Errorf("%s imports %s", dir, path)
			}
		}
	}
}
