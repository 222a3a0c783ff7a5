package key

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// works is everything a ring does for those who hold something of it.
type works struct {
	kids   []string
	signer string
	seal   [32]byte
	sid    string
	opaque []byte
}

func worksOf(t *testing.T, r *Ring) works {
	t.Helper()
	s, err := r.Signer("")
	if err != nil {
		t.Fatal(err)
	}
	return works{kids(t, r), s.KID, r.SealKey().MAC(UseSeal, []byte("token")), r.SID(id.Session{3}), r.SealOpaque([]byte("claims"))}
}

func (w works) check(t *testing.T, r *Ring) {
	t.Helper()
	now := worksOf(t, r)
	_, opens := r.OpenOpaque(w.opaque)
	if !slices.Equal(now.kids, w.kids) || now.signer != w.signer || now.seal != w.seal || now.sid != w.sid || !opens {
		t.Error("somebody was signed out")
	}
}

// REST-04: the root changes while tokens are made and checked; nothing fails,
// and everything made before is still good.
func TestREST04Online(t *testing.T) {
	m, old := new(memStore), NewRoot()
	r := open(t, m, old, options("ES256", "Ed25519"))
	before := worksOf(t, r)
	stored := m.rows.clone()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				s, err := r.Signer("Ed25519")
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.Sign([]byte("input"))
				_, opens := r.OpenOpaque(before.opaque)
				if err != nil || !opens || r.SealKey().MAC(UseSeal, []byte("token")) != before.seal || r.SID(id.Session{3}) != before.sid {
					t.Errorf("a request failed during the change of root: %v", err)
					return
				}
			}
		})
	}
	roots := []Root{NewRoot(), NewRoot(), NewRoot(), NewRoot(), NewRoot()}
	for _, to := range roots {
		err := r.Rewrap(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		if r.Root() != to.Fingerprint() {
			t.Errorf("under %s, want %s", r.Root(), to.Fingerprint())
		}
	}
	close(done)
	wg.Wait()
	before.check(t, r)
	last := roots[len(roots)-1]
	before.check(t, open(t, m, last, options("ES256", "Ed25519")))
	for i, row := range m.rows.Keys {
		if slices.Equal(row.Wrapped, stored.Keys[i].Wrapped) {
			t.Errorf("%s is wrapped as before", row.name())
		}
	}
	if int(m.rows.Version) != 1+len(roots) {
		t.Errorf("version %d: a change of root is one transaction", m.rows.Version)
	}
	_, err := Open(t.Context(), m, old, options("ES256", "Ed25519"))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), last.Fingerprint()) {
		t.Errorf("the old root still opens: %v", err)
	}
	err = r.Rewrap(t.Context(), Root{})
	if !fault.Is(err, fault.InvalidRequest) {
		t.Errorf("wrapping under no root: %v", err)
	}
}

// REST-04: a kill in the middle. The database is under exactly one root, and a
// start with both finds out which.
func TestREST04Crash(t *testing.T) {
	for _, applied := range []bool{false, true} {
		m, old, to := new(memStore), NewRoot(), NewRoot()
		r := open(t, m, old, options("Ed25519"))
		before := worksOf(t, r)
		m.failBefore, m.failAfter = !applied, applied
		err := r.Rewrap(t.Context(), to)
		if !fault.Is(err, fault.Unavailable) {
			t.Fatalf("applied %v: %v", applied, err)
		}
		under, other := old, to
		if applied {
			under, other = to, old
		}
		// The process that lived learns what became of its write.
		before.check(t, r)
		err = r.Reload(t.Context())
		if err != nil || r.Root() != under.Fingerprint() {
			t.Errorf("applied %v: the reload is under %s, %v", applied, r.Root(), err)
		}
		before.check(t, r)
		// A new process opens it with the right root, or with both in any order.
		before.check(t, open(t, m, under, options("Ed25519")))
		_, err = Open(t.Context(), m, other, options("Ed25519"))
		if !errors.Is(err, ErrRefused) {
			t.Errorf("applied %v: opened under the other root: %v", applied, err)
		}
		both := options("Ed25519")
		both.OtherRoots = []Root{under}
		again := open(t, m, other, both)
		before.check(t, again)
		// And finishes the work, or does it again without harm.
		err = again.Rewrap(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		before.check(t, open(t, m, to, options("Ed25519")))
	}
}

// REST-04 on several nodes: one that knows the new root follows, one that does
// not goes on with what it has and says which root it needs.
func TestREST04OtherNodes(t *testing.T) {
	m, old, to := new(memStore), NewRoot(), NewRoot()
	ctx := context.Background()
	a := open(t, m, old, options("Ed25519"))
	ready := options("Ed25519")
	ready.OtherRoots = []Root{to}
	b := open(t, m, old, ready)
	c := open(t, m, old, options("Ed25519"))
	before := worksOf(t, a)
	err := a.Rewrap(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Tick(ctx, t0)
	if err != nil || b.Root() != to.Fingerprint() {
		t.Errorf("the node that knows the new root: %v, under %s", err, b.Root())
	}
	err = c.Tick(ctx, t0)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), to.Fingerprint()) {
		t.Errorf("the node that does not: %v", err)
	}
	err = c.RotateNow(ctx, Sign, "Ed25519", t0)
	if !errors.Is(err, ErrRefused) || m.rows.Version != 2 {
		t.Errorf("the node that does not know the root changed keys: %v", err)
	}
	for _, r := range []*Ring{a, b, c} {
		before.check(t, r)
	}
	// b changes keys under the new root, and a follows.
	err = b.RotateNow(ctx, Sign, "Ed25519", t0)
	if err != nil || b.Root() != to.Fingerprint() {
		t.Fatalf("%v, under %s", err, b.Root())
	}
	err = a.Reload(ctx)
	if err != nil || a.JWKS().ETag != b.JWKS().ETag {
		t.Errorf("a does not follow: %v", err)
	}
}
