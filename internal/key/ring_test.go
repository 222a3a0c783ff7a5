package key

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func TestFirstStart(t *testing.T) {
	m, root := new(memStore), NewRoot()
	r := open(t, m, root, options("ES256"))
	if m.rows.Version != 1 || m.replaced != 1 || r.Root() != root.Fingerprint() {
		t.Fatalf("version %d after %d writes under %s", m.rows.Version, m.replaced, r.Root())
	}
	var got []string
	for _, k := range r.Keys() {
		got = append(got, string(k.Purpose)+" "+k.Alg+" "+string(k.State))
		if !k.CreatedAt.Equal(t0) || k.ActiveAt.IsZero() != (k.State == Next) || !k.RetiredAt.IsZero() {
			t.Errorf("times of %+v", k)
		}
	}
	want := []string{"sign ES256 current", "sign ES256 next", "seal  current", "seal  next", "name  current", "opaque  current", "opaque  next"}
	if !slices.Equal(got, want) {
		t.Errorf("made %q", got)
	}
	// What is stored shows nothing of the keys, and nothing of the root.
	text := root.Text().Reveal()
	raw, _ := b64.DecodeString(text[len(RootPrefix):])
	for _, row := range m.rows.Keys {
		plain, ok := root.wrapper().unwrap(row)
		if !ok || bytes.Contains(row.Wrapped, plain[len(plain)-16:]) || bytes.Contains(row.Wrapped, raw) {
			t.Errorf("row %d is not wrapped", row.ID)
		}
	}
	// Opening again changes nothing.
	again := open(t, m, root, options("ES256"))
	if m.replaced != 1 || again.JWKS().ETag != r.JWKS().ETag || !bytes.Equal(again.JWKS().Body, r.JWKS().Body) {
		t.Error("a second start wrote, or serves other keys")
	}
	a, _ := r.Signer("")
	b, _ := again.Signer("")
	if a.KID != b.KID || a.Header("at+jwt") != b.Header("at+jwt") || r.SID(id.Session{5}) != again.SID(id.Session{5}) {
		t.Error("a second start has other keys")
	}
}

// Two nodes start on an empty database at once: one makes the keys.
func TestFirstStartOfManyNodes(t *testing.T) {
	m, root := new(memStore), NewRoot()
	var wg sync.WaitGroup
	rings := make([]*Ring, 6)
	for i := range rings {
		wg.Go(func() {
			r, err := Open(context.Background(), m, root, options("Ed25519"))
			if err != nil {
				t.Error(err)
			}
			rings[i] = r
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, r := range rings {
		if r.JWKS().ETag != rings[0].JWKS().ETag || r.SealKey().MAC(UseSeal, nil) != rings[0].SealKey().MAC(UseSeal, nil) {
			t.Error("two nodes hold different keys")
		}
	}
	if m.replaced != 1 {
		t.Errorf("keys were made %d times", m.replaced)
	}
}

// Stores keep whole milliseconds: what is decided on is what is read back.
func TestTimesAreWholeMilliseconds(t *testing.T) {
	m := new(memStore)
	opt := options("Ed25519")
	opt.RotateEvery = time.Hour
	odd := func(d time.Duration) time.Time {
		return t0.Add(d + 1234567*time.Nanosecond).In(time.FixedZone("odd", 3600))
	}
	opt.Now = func() time.Time { return odd(0) }
	r := open(t, m, NewRoot(), opt)
	err := errors.Join(r.RotateNow(t.Context(), Seal, "", odd(time.Minute)), r.Tick(t.Context(), odd(2*time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Drop(t.Context(), itoa(m.id(t, Opaque, "", Current)))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range r.Keys() {
		for _, at := range []time.Time{k.CreatedAt, k.ActiveAt, k.RetiredAt} {
			if at.Nanosecond()%1e6 != 0 || at.Location() != time.UTC {
				t.Errorf("key %d has the time %s", k.ID, at)
			}
		}
	}
}

func TestReload(t *testing.T) {
	m, root := new(memStore), NewRoot()
	a := open(t, m, root, options("Ed25519"))
	b := open(t, m, root, options("Ed25519"))
	err := a.RotateNow(t.Context(), Sign, "Ed25519", t0)
	if err != nil {
		t.Fatal(err)
	}
	// Until b looks, it goes on with what it has; what a signs is already known
	// to it, because the key was published before.
	sa, _ := a.Signer("")
	sb, _ := b.Signer("")
	_, _, known := b.Public(sa.KID)
	if sa.KID == sb.KID || !known {
		t.Fatalf("a signs with %s, b with %s, b knows a's key: %v", sa.KID, sb.KID, known)
	}
	err = b.Reload(t.Context())
	sb, _ = b.Signer("")
	if err != nil || sa.KID != sb.KID || b.JWKS().ETag != a.JWKS().ETag {
		t.Errorf("after the reload b signs with %s, %v", sb.KID, err)
	}
	live := b.live.Load()
	err = b.Reload(t.Context())
	if err != nil || b.live.Load() != live {
		t.Error("a reload without a change made a new snapshot")
	}

	// The store is gone: everything in memory goes on, changes say so.
	m.down = true
	for name, err := range map[string]error{
		"Reload": b.Reload(t.Context()), "Tick": b.Tick(t.Context(), t0), "RotateNow": b.RotateNow(t.Context(), Seal, "", t0),
	} {
		if !fault.Is(err, fault.Unavailable) || !errors.Is(err, errDisk) {
			t.Errorf("%s without a store: %v", name, err)
		}
	}
	_, err = Open(t.Context(), m, root, options("Ed25519"))
	if !fault.Is(err, fault.Unavailable) {
		t.Errorf("Open without a store: %v", err)
	}
	_, err = b.Signer("")
	if err != nil || b.live.Load() != live {
		t.Error("a node without a store lost its keys")
	}
}

// A fail-over may lose the last commit and another may take its version: the
// roll tells them apart.
func TestReloadAfterLostCommit(t *testing.T) {
	m, root := new(memStore), NewRoot()
	a := open(t, m, root, options("Ed25519"))
	b := open(t, m, root, options("Ed25519"))
	before := m.rows.clone()
	for _, r := range []*Ring{a, b} {
		m.rows = before.clone()
		err := r.RotateNow(t.Context(), Sign, "Ed25519", t0)
		if err != nil {
			t.Fatal(err)
		}
	}
	if m.rows.Version != a.live.Load().version || a.JWKS().ETag == b.JWKS().ETag {
		t.Fatal("the test did not make two changes of one version")
	}
	err := a.Reload(t.Context())
	if err != nil || a.JWKS().ETag != b.JWKS().ETag {
		t.Errorf("a keeps the keys of a commit that was lost: %v", err)
	}
}

func TestConflict(t *testing.T) {
	m, root := new(memStore), NewRoot()
	a := open(t, m, root, options("Ed25519"))
	b := open(t, m, root, options("Ed25519"))
	later := t0.Add(testMaxAge + ReloadEvery)

	// Both rotate at once: one does, the other sees that it is done and does
	// not rotate on to a key nobody has seen.
	m.meanwhile = func() {
		err := b.Rotate(t.Context(), Sign, "Ed25519", later)
		if err != nil {
			t.Error(err)
		}
	}
	err := a.Rotate(t.Context(), Sign, "Ed25519", later)
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("the loser: %v", err)
	}
	if m.replaced != 2 || m.rows.Version != 2 {
		t.Errorf("%d writes, version %d", m.replaced, m.rows.Version)
	}

	// Changes of different lines both happen.
	m.meanwhile = func() {
		err := b.RotateNow(t.Context(), Seal, "", later)
		if err != nil {
			t.Error(err)
		}
	}
	opaque := m.id(t, Opaque, "", Current)
	seal := m.id(t, Seal, "", Current)
	err = a.Rotate(t.Context(), Opaque, "", later)
	if err != nil || m.id(t, Opaque, "", Current) == opaque || m.id(t, Seal, "", Current) == seal {
		t.Errorf("one of two changes is lost: %v", err)
	}

	// Without end: it gives up with a word, having changed nothing.
	lost := &alwaysChanged{memStore: m}
	a.store = lost
	err = a.RotateNow(t.Context(), Opaque, "", later)
	if !fault.Is(err, fault.Unavailable) || lost.tries != 1+maxRetries {
		t.Errorf("after %d tries: %v", lost.tries, err)
	}
}

// alwaysChanged is a store where someone else is always faster.
type alwaysChanged struct {
	*memStore
	tries int
}

func (a *alwaysChanged) Replace(context.Context, Rows) error {
	a.tries++
	return ErrChanged
}

// A write fails: before it was applied nothing happened, after it was applied
// the next look finds it. In neither case does a node serve keys that are not
// stored.
func TestUnknownOutcome(t *testing.T) {
	for _, applied := range []bool{false, true} {
		m, root := new(memStore), NewRoot()
		r := open(t, m, root, options("Ed25519"))
		before, _ := r.Signer("")
		m.failBefore, m.failAfter = !applied, applied
		err := r.RotateNow(t.Context(), Sign, "Ed25519", t0)
		if !fault.Is(err, fault.Unavailable) {
			t.Fatalf("applied %v: %v", applied, err)
		}
		same, _ := r.Signer("")
		if same.KID != before.KID {
			t.Errorf("applied %v: a failed write moved the signer", applied)
		}
		err = r.Tick(t.Context(), t0)
		after, _ := r.Signer("")
		if err != nil || (after.KID != before.KID) != applied {
			t.Errorf("applied %v: after the next tick the signer moved: %v, %v", applied, after.KID != before.KID, err)
		}
	}
}

// Readers run while everything changes; run with -race.
func TestReadersDuringChanges(t *testing.T) {
	m, root := new(memStore), NewRoot()
	r := open(t, m, root, options("Ed25519", "ES256"))
	peer := open(t, m, root, options("Ed25519", "ES256"))
	first := r.SealKey()
	seal := first.MAC(UseSeal, []byte("token"))
	sid := r.SID(id.Session{9})
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				s, err := r.Signer("")
				if err != nil {
					t.Error(err)
					return
				}
				input := []byte(s.Header("at+jwt") + ".e30")
				sig, err := s.Sign(input)
				public, alg, ok := r.Public(s.KID)
				if err != nil || !ok || !verify(public, alg, input, sig) {
					t.Errorf("a fresh signature does not verify: %v", err)
					return
				}
				k, ok := r.SealKeyByID(first.ID)
				if !ok || k.MAC(UseSeal, []byte("token")) != seal || r.SID(id.Session{9}) != sid {
					t.Error("a refresh token or a sid is no longer recognised")
					return
				}
				plain, ok := r.OpenOpaque(r.SealOpaque([]byte("claims")))
				if !ok || string(plain) != "claims" || len(r.JWKS().Body) < 100 || len(r.Keys()) < 9 {
					t.Error("an opaque token does not open")
					return
				}
			}
		})
	}
	at := t0
	for i := range 40 {
		at = at.Add(time.Second) // so that nothing expires under a reader
		node := []*Ring{r, peer}[i%2]
		var err error
		switch i % 5 {
		case 0:
			err = node.RotateNow(t.Context(), Sign, "Ed25519", at)
		case 1:
			err = node.RotateNow(t.Context(), Seal, "", at)
		case 2:
			err = node.RotateNow(t.Context(), Opaque, "", at)
		case 3:
			err = node.Tick(t.Context(), at)
		case 4:
			err = node.Reload(t.Context())
		}
		if err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
}

// The log names keys and shows none.
func TestLog(t *testing.T) {
	var out bytes.Buffer
	opt := options("Ed25519")
	opt.Log = slog.New(slog.NewTextHandler(&out, nil))
	m, root := new(memStore), NewRoot()
	r := open(t, m, root, opt)
	s, _ := r.Signer("")
	err := r.RotateNow(t.Context(), Sign, "Ed25519", t0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Drop(t.Context(), s.KID)
	if err != nil {
		t.Fatal(err)
	}
	to := NewRoot()
	err = r.Rewrap(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	log := out.String()
	for what, n := range map[string]int{"key made": 8, "key moved on": 2, "key dropped": 1, "new root secret": 1, s.KID: 3,
		root.Text().Reveal(): 0, to.Text().Reveal(): 0} {
		if strings.Count(log, what) != n {
			t.Errorf("%q is there %d times, want %d, in\n%s", what, strings.Count(log, what), n, log)
		}
	}
}
