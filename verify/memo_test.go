package verify

import (
	"crypto/sha256"
	"fmt"
	"go/build"
	"os"
	"strings"
	"sync"
	"testing"
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

// Every Kind has its words and its answer.
func TestEveryKindHasAnAnswer(t *testing.T) {
	for k := NoToken; k <= InsufficientGrade; k++ {
		if words[k] == "" || !quotable(words[k]) {
			t.Errorf("kind %d has no words that can be quoted", k)
		}
		if answers[k].status < 400 {
			t.Errorf("kind %d (%v) has no answer", k, k)
		}
	}
	if len(words) != int(InsufficientGrade) || len(answers) != int(InsufficientGrade) {
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
