package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"testing"

	"holdfast.example/internal/upstream/fake"
)

// elliptical is a provider that signs with ES256, at the addresses of an abroad.
type elliptical struct {
	key   *ecdsa.PrivateKey
	other http.Handler
}

func (e elliptical) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/keys" {
		e.other.ServeHTTP(w, r)
		return
	}
	point, err := e.key.PublicKey.Bytes()
	if err != nil {
		panic(err) // a key of P-256
	}
	text := base64.RawURLEncoding.EncodeToString
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","kid":"ec-1","x":%q,"y":%q}]}`, text(point[1:33]), text(point[33:]))
}

// sign makes an ID token with a signature, and the same with the other signature
// that everybody can make of it: (r, n-s) is as good as (r, s).
func (e elliptical) sign(t *testing.T, c fake.Claims) (token, twin string) {
	t.Helper()
	claims, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	input := text([]byte(`{"alg":"ES256","kid":"ec-1"}`)) + "." + text(claims)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, e.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	with := func(s *big.Int) string {
		return input + "." + text(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	return with(s), with(new(big.Int).Sub(elliptic.P256().Params().N, s))
}

// TestExchangeTwinSignature (XCHG-09): whoever holds a copy of an ID token that is
// signed with ES256 can write it with another signature that is good as well. It is
// the same token, and spent.
func TestExchangeTwinSignature(t *testing.T) {
	w := goesAbroad(t)
	w.link("bob", "oidc", "o-1")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	e := elliptical{key, w.p}
	w.mu.Lock()
	w.before = e
	w.mu.Unlock()
	for _, first := range []bool{true, false} {
		token, twin := e.sign(t, w.person("o-1", "bob@gmail.com"))
		if !first {
			token, twin = twin, token
		}
		was := w.living("bob")
		h := w.holds(w.shows("oidc", "id_token", token, "attempt_id", "a-1"), "demo-native")
		if h.status != 200 {
			t.Fatalf("a good token was answered %d %s", h.status, h.reason)
		}
		w.want(w.shows("oidc", "id_token", twin, "attempt_id", "thief"), 400, "invalid_request", "")
		w.want(w.shows("oidc", "id_token", twin, "client_id", "demo-strict"), 400, "invalid_request", "")
		if again := w.holds(w.shows("oidc", "id_token", twin, "attempt_id", "a-1"), "demo-native"); again.Refresh != h.Refresh {
			t.Errorf("the repeat was answered %d %s with another token", again.status, again.reason)
		}
		if n := w.living("bob") - was; n != 1 {
			t.Errorf("the token opened %d sessions", n)
		}
	}
}
