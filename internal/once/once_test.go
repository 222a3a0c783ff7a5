package once_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/once"
	"holdfast.example/internal/store/sqlite"
)

// sealer has the shape of key.Ring's sealing, under one key.
type sealer struct{ aead cipher.AEAD }

func newSealer(t *testing.T, secret string) sealer {
	t.Helper()
	block, err := aes.NewCipher([]byte(strings.Repeat(secret, 32)))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{aead}
}

func (s sealer) SealOpaque(plain []byte) []byte { return s.aead.Seal(nil, nil, plain, nil) }

func (s sealer) OpenOpaque(sealed []byte) ([]byte, bool) {
	b, err := s.aead.Open(nil, nil, sealed, nil)
	return b, err == nil
}

// open is a Keeper over a real store, at a time that the test moves.
func open(t *testing.T) (*once.Keeper, *time.Time) {
	t.Helper()
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "h.db"), sqlite.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &once.Keeper{Store: db.Once(), Seal: newSealer(t, "k"), Now: func() time.Time { return now }}, &now
}

func TestAProofIsSpentOnce(t *testing.T) {
	k, now := open(t)
	proof, until := once.NewKey("dpop", "client", "jti"), now.Add(time.Minute)
	spend := func(want bool, why string) {
		t.Helper()
		if first, err := k.Spend(t.Context(), proof, until); first != want || err != nil {
			t.Errorf("%s: first %v (%v)", why, first, err)
		}
	}
	tick := func() {
		t.Helper()
		if err := k.Tick(t.Context(), *now, 10); err != nil {
			t.Fatal(err)
		}
	}
	spend(true, "new")
	spend(false, "shown again")
	*now = until.Add(once.Slack)
	tick()
	spend(false, "expired, for nodes whose clock is behind")
	*now = now.Add(time.Millisecond)
	tick()
	spend(true, "forgotten")
	if _, err := k.Spend(t.Context(), once.NewKey("dpop", "later"), now.Add(once.MaxLife+time.Second)); !fault.Is(err, fault.InvalidRequest) {
		t.Errorf("a proof that lives for ever: %v", err)
	}
}

func TestAValueIsTakenOnce(t *testing.T) {
	k, now := open(t)
	code, value := once.NewKey("code", "c"), []byte(`{"user":"u"}`)
	if err := k.Put(t.Context(), code, value, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := k.Put(t.Context(), code, value, time.Minute); !errors.Is(err, once.ErrTaken) {
		t.Errorf("put twice: %v", err)
	}
	at := *now
	if got, err := k.Take(t.Context(), code); err != nil || !bytes.Equal(got, value) {
		t.Errorf("took %q (%v)", got, err)
	}
	*now = now.Add(30 * time.Second)
	got, err := k.Take(t.Context(), code)
	if spent, ok := errors.AsType[*once.Spent](err); got != nil || !ok || !bytes.Equal(spent.Value, value) || !spent.At.Equal(at) {
		t.Errorf("took again %q (%v)", got, err)
	}
	*now = now.Add(30 * time.Second)
	if got, err := k.Take(t.Context(), code); got != nil || !errors.Is(err, once.ErrUnknown) {
		t.Errorf("took %q after its life (%v)", got, err)
	}
	late := once.NewKey("code", "late")
	if err := k.Put(t.Context(), late, value, time.Minute); err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Minute)
	if got, err := k.Take(t.Context(), late); got != nil || !errors.Is(err, once.ErrUnknown) {
		t.Errorf("took %q for the first time after its life (%v)", got, err)
	}
}

// TestValuesAreSealed: who writes into the database can neither read a value, nor
// move it to another key, nor bring one of his own.
func TestValuesAreSealed(t *testing.T) {
	k, _ := open(t)
	value := []byte("what the code stands for")
	mine, theirs, other := once.NewKey("code", "mine"), once.NewKey("code", "theirs"), once.NewKey("ticket", "mine")
	if err := k.Put(t.Context(), theirs, value, time.Minute); err != nil {
		t.Fatal(err)
	}
	stored, err := k.Store.Take(t.Context(), theirs)
	if err != nil || bytes.Contains(stored.Sealed, value) {
		t.Fatalf("the database holds %q (%v)", stored.Sealed, err)
	}
	for which, sealed := range map[once.Key][]byte{mine: stored.Sealed, other: k.Seal.SealOpaque([]byte(`{"use":"other","value":"eA=="}`))} {
		if err := k.Store.Put(t.Context(), which, sealed, time.Minute); err != nil {
			t.Fatal(err)
		}
		if got, err := k.Take(t.Context(), which); got != nil || !errors.Is(err, once.ErrUnknown) {
			t.Errorf("took %q (%v)", got, err)
		}
	}
	stranger := *k
	stranger.Seal = newSealer(t, "x")
	if got, err := stranger.Take(t.Context(), theirs); got != nil || !errors.Is(err, once.ErrUnknown) {
		t.Errorf("took %q under another key (%v)", got, err)
	}
}

func TestLimitsOfValues(t *testing.T) {
	k, _ := open(t)
	for name, c := range map[string]struct {
		size int
		life time.Duration
	}{"too large": {once.MaxValue + 1, time.Minute}, "no life": {1, 0}, "too long": {1, once.MaxLife + 1}} {
		if err := k.Put(t.Context(), once.NewKey("v", name), make([]byte, c.size), c.life); !fault.Is(err, fault.Internal) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := k.Put(t.Context(), once.NewKey("v"), make([]byte, once.MaxValue), once.MaxLife); err != nil {
		t.Error(err)
	}
}

// lost is a store that carries a call out and loses the answer.
type lost struct{ once.Store }

var errLost = errors.New("the connection died")

func (l lost) Spend(ctx context.Context, k once.Key, until time.Time) (bool, error) {
	first, err := l.Store.Spend(ctx, k, until)
	return first, errors.Join(err, errLost)
}

func (l lost) Take(ctx context.Context, k once.Key) (once.Value, error) {
	v, err := l.Store.Take(ctx, k)
	return v, errors.Join(err, errLost)
}

// TestUnknownOutcomeIsNoFirstUse: after an answer that was lost, the proof is
// refused and stays refused.
func TestUnknownOutcomeIsNoFirstUse(t *testing.T) {
	k, now := open(t)
	cut := *k
	cut.Store = lost{k.Store}
	proof, code := once.NewKey("jti"), once.NewKey("code")
	if err := k.Put(t.Context(), code, []byte("v"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if first, err := cut.Spend(t.Context(), proof, now.Add(time.Minute)); first || !fault.Is(err, fault.Unavailable) {
		t.Errorf("spent: %v %v", first, err)
	}
	if got, err := cut.Take(t.Context(), code); got != nil || !fault.Is(err, fault.Unavailable) {
		t.Errorf("took %q %v", got, err)
	}
	if first, err := k.Spend(t.Context(), proof, now.Add(time.Minute)); first || err != nil {
		t.Errorf("spent after that: %v %v", first, err)
	}
	if got, err := k.Take(t.Context(), code); got != nil || err == nil {
		t.Errorf("took after that: %q %v", got, err)
	}
}

func TestKeysDoNotRunTogether(t *testing.T) {
	seen := map[once.Key]bool{}
	for _, k := range []once.Key{once.NewKey("a"), once.NewKey("a", ""), once.NewKey("", "a"), once.NewKey("a", "b", "c"), once.NewKey("a", "bc"), once.NewKey("ab", "c")} {
		if seen[k] {
			t.Errorf("key %x twice", k)
		}
		seen[k] = true
	}
}
