package idem_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/idem"
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
func open(t *testing.T) (*idem.Keeper, *time.Time, *sqlite.DB) {
	t.Helper()
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "h.db"), sqlite.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &idem.Keeper{Store: db.Calls(), Seal: newSealer(t, "k"), Now: func() time.Time { return now }, Patience: time.Minute}, &now, db
}

var call = idem.Call{Actor: "a", Route: "POST /x", Key: "k", Body: []byte("body")}

// answering counts how often it is carried out.
func answering(n *int, body string, err error) func() (idem.Answer, error) {
	return func() (idem.Answer, error) {
		*n++
		return idem.Answer{Status: 200, Header: http.Header{"Etag": {`"1"`}}, Body: []byte(body)}, err
	}
}

func TestACallHappensOnce(t *testing.T) {
	k, now, _ := open(t)
	n := 0
	for i := range 3 {
		a, again, err := k.Do(t.Context(), call, answering(&n, "first", nil))
		if err != nil || again != (i > 0) || string(a.Body) != "first" || a.Header.Get("Etag") != `"1"` || n != 1 {
			t.Errorf("%+v %v %v, carried out %d times", a, again, err, n)
		}
	}
	for name, other := range map[string]idem.Call{
		"another actor": {Actor: "b", Route: call.Route, Key: call.Key}, "another route": {Actor: "a", Route: "POST /y", Key: "k"},
		"another key": {Actor: "a", Route: call.Route, Key: "l"}, "the border moved": {Actor: "aP", Route: "OST /x", Key: "k"},
	} {
		was := n
		if _, again, err := k.Do(t.Context(), other, answering(&n, "", nil)); err != nil || again || n != was+1 {
			t.Errorf("%s: %v %v", name, again, err)
		}
	}
	other := call
	other.Body = []byte("other")
	if _, _, err := k.Do(t.Context(), other, answering(&n, "", nil)); !errors.Is(err, idem.ErrOtherBody) {
		t.Errorf("another body: %v", err)
	}
	*now = now.Add(idem.Life + time.Second)
	if _, again, err := k.Do(t.Context(), other, answering(&n, "", nil)); err != nil || again {
		t.Errorf("after its life: %v %v", again, err)
	}
}

// TestWhatIsStoredTellsNothing: neither the answer nor the body can be read or
// guessed at from the rows.
func TestWhatIsStoredTellsNothing(t *testing.T) {
	k, _, _ := open(t)
	n := 0
	if _, _, err := k.Do(t.Context(), call, answering(&n, "hfs_secret", nil)); err != nil {
		t.Fatal(err)
	}
	k.Seal = newSealer(t, "x") // a key that is gone
	if _, _, err := k.Do(t.Context(), call, answering(&n, "", nil)); !fault.Is(err, fault.Conflict) || n != 1 {
		t.Errorf("%v, carried out %d times", err, n)
	}
}

func TestWhatWasRefusedMayBeRepeated(t *testing.T) {
	for kind, free := range map[fault.Kind]bool{fault.InvalidRequest: true, fault.Conflict: true, fault.NotFound: true, fault.Busy: true, fault.Unavailable: false, fault.Internal: false} {
		k, now, _ := open(t)
		n := 0
		_, _, err := k.Do(t.Context(), call, answering(&n, "", fault.New(kind, "no")))
		if !fault.Is(err, kind) {
			t.Errorf("%s: %v", kind, err)
		}
		_, _, err = k.Do(t.Context(), call, answering(&n, "", nil))
		if (err == nil) != free || !free && (!fault.Is(err, fault.Conflict) || fault.As(err).RetryAfter == 0) {
			t.Errorf("again after %s: %v", kind, err)
		}
		*now = now.Add(2 * time.Minute)
		_, _, err = k.Do(t.Context(), call, answering(&n, "", nil))
		if !free && (!fault.Is(err, fault.Conflict) || fault.As(err).RetryAfter != 0 || !strings.Contains(err.Error(), "unknown") || n != 1) {
			t.Errorf("much later after %s: %v, carried out %d times", kind, err, n)
		}
	}
}

// TestACallerWhoLeft: what happened is written down all the same.
func TestACallerWhoLeft(t *testing.T) {
	k, _, _ := open(t)
	ctx, leave := context.WithCancel(t.Context())
	n := 0
	_, _, err := k.Do(ctx, call, func() (idem.Answer, error) {
		leave()
		return answering(&n, "first", nil)()
	})
	if err != nil {
		t.Fatal(err)
	}
	a, again, err := k.Do(t.Context(), call, answering(&n, "second", nil))
	if err != nil || !again || string(a.Body) != "first" {
		t.Errorf("%+v %v %v", a, again, err)
	}
}

func TestALargeAnswerIsGivenOnce(t *testing.T) {
	k, now, _ := open(t)
	n := 0
	if a, _, err := k.Do(t.Context(), call, answering(&n, strings.Repeat("x", idem.MaxAnswer+1), nil)); err != nil || len(a.Body) != idem.MaxAnswer+1 {
		t.Errorf("%d bytes, %v", len(a.Body), err)
	}
	*now = now.Add(time.Hour)
	if _, _, err := k.Do(t.Context(), call, answering(&n, "", nil)); !fault.Is(err, fault.Conflict) || n != 1 {
		t.Errorf("%v", err)
	}
}

func TestAStoreThatFails(t *testing.T) {
	k, _, db := open(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	if _, _, err := k.Do(t.Context(), call, answering(&n, "", nil)); !fault.Is(err, fault.Unavailable) || n != 0 {
		t.Errorf("%v, carried out %d times", err, n)
	}
}

func TestCheckKey(t *testing.T) {
	for key, good := range map[string]bool{"k": true, "a-B_9~!": true, strings.Repeat("k", idem.MaxKey): true, "": false, " ": false, "a b": false, "é": false, "a\x7f": false, strings.Repeat("k", idem.MaxKey+1): false} {
		if err := idem.CheckKey(key); (err == nil) != good {
			t.Errorf("%q: %v", key, err)
		}
	}
}
