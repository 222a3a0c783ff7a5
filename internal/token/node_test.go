package token_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/token"
)

// counted is a keyStore that counts what it is asked and can go away.
type counted struct {
	keyStore
	loads atomic.Int64
	down  atomic.Bool
}

func (s *counted) Load(ctx context.Context) (key.Rows, error) {
	s.loads.Add(1)
	if s.down.Load() {
		return key.Rows{}, errors.New("nobody answers")
	}
	return s.keyStore.Load(ctx)
}

// twoNodes are two rings over one store, as two servers have them.
func twoNodes(t *testing.T) (a, b *key.Ring, store *counted) {
	t.Helper()
	store = &counted{}
	root := key.NewRoot()
	open := func() *key.Ring {
		r, err := key.Open(t.Context(), store, root, key.Options{Algs: []string{"ES256"}, LongestAccess: time.Hour,
			JWKSMaxAge: 5 * time.Minute, Now: func() time.Time { return start }})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	return open(), open(), store
}

// turn rotates a line so often that the other node cannot know the key in use.
func turn(t *testing.T, r *key.Ring, p key.Purpose) {
	t.Helper()
	for range 2 {
		if err := r.RotateNow(t.Context(), p, "", start); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnotherNodesKey (FAULT-09): what one node made with a key of this moment is
// read at another that has not reloaded yet, and is never called garbage while
// nobody can tell.
func TestAnotherNodesKey(t *testing.T) {
	a, b, store := twoNodes(t)
	turn(t, a, key.Seal)
	turn(t, a, key.Opaque)
	there, here := token.Refreshes{Keys: a}, token.Refreshes{Keys: b}
	s := id.NewSession()
	fresh := there.Encode(s, own, 7, start)
	dressed := there.Dress(fresh, must(there.Decode(fresh)), token.DressClaims{Subject: "usr_x"})
	access := must(token.Minter{Keys: a, Issuer: "https://id.test"}.Opaque(token.Access{ID: "x", Subject: "usr_x", Audience: []string{"api"}, Expires: start.Add(time.Hour)}))
	cookie := token.Minter{Keys: a}.Web(token.WebSession{Session: s, Expires: start.Add(time.Hour)})
	reader := token.Reader{Minter: token.Minter{Keys: b, Issuer: "https://id.test"}}

	if _, err := here.Decode(fresh); !errors.Is(err, token.ErrNotOurs) {
		t.Fatalf("the other node knows the key already: %v", err)
	}
	store.down.Store(true)
	if _, err := here.Open(t.Context(), fresh); !fault.Is(err, fault.Unavailable) {
		t.Errorf("while the store is away a token of an unknown key is %v", err)
	}
	if _, err := here.Open(t.Context(), dressed); !fault.Is(err, fault.Unavailable) {
		t.Errorf("while the store is away a dressed token of an unknown key is %v", err)
	}
	if _, err := reader.Access(t.Context(), access, start); !fault.Is(err, fault.Unavailable) {
		t.Errorf("while the store is away an access token of an unknown key is %v", err)
	}
	if _, err := reader.Minter.ReadWeb(t.Context(), cookie, start); !fault.Is(err, fault.Unavailable) {
		t.Errorf("while the store is away a web session of an unknown key is %v", err)
	}
	store.down.Store(false)
	r, err := here.Open(t.Context(), dressed)
	if err != nil || r.Session != s || r.Generation != 7 {
		t.Errorf("another node's token: %+v %v", r, err)
	}
	if w, err := reader.Minter.ReadWeb(t.Context(), cookie, start); err != nil || w.Session != s {
		t.Errorf("another node's web session: %+v %v", w, err)
	}
	turn(t, a, key.Opaque)
	access = must(token.Minter{Keys: a, Issuer: "https://id.test"}.Opaque(token.Access{ID: "x", Subject: "usr_x", Audience: []string{"api"}, Expires: start.Add(time.Hour)}))
	if got, err := reader.Access(t.Context(), access, start); err != nil || got.ID != "x" {
		t.Errorf("another node's access token: %+v %v", got, err)
	}
	before := store.loads.Load()
	if _, err := here.Open(t.Context(), fresh); err != nil || store.loads.Load() != before {
		t.Errorf("a key that is known by now was looked for again: %v", err)
	}
}

// TestStrangersNamesOfKeys: a name of a key that cannot be costs nothing, and those
// that could be share their looks.
func TestStrangersNamesOfKeys(t *testing.T) {
	_, b, store := twoNodes(t)
	c := token.Refreshes{Keys: b}
	named := func(n uint32) error {
		_, err := c.Keys.SealKeyByID(n)
		if err {
			t.Fatalf("key %d is there", n)
		}
		return c.Keys.CatchUp(t.Context(), n)
	}
	before := store.loads.Load()
	for _, n := range []uint32{1 << 20, 1<<32 - 1} {
		if err := named(n); err != nil || store.loads.Load() != before {
			t.Errorf("key %d was looked for: %v", n, err)
		}
	}
	const callers = 50
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			if err := named(100); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if looks := store.loads.Load() - before; looks < 1 || looks > callers/2 {
		t.Errorf("%d callers made %d looks", callers, looks)
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if err := b.CatchUp(ctx, 0); !fault.Is(err, fault.Unavailable) {
		t.Errorf("who left heard %v", err)
	}
}
