package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"sync"
	"testing"
	"time"

	"holdfast.example/verify"
)

// The world of the tests: one issuer, one service, one moment.
const (
	issuer   = "https://id.test"
	audience = "https://api.test"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// rsaKey is made once: it takes longer than all other preparations together.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// mint is an issuer's signing key: the encoder that the verifier is held
// against. It writes whatever header and payload it is told to.
type mint struct {
	id, alg string
	private crypto.Signer
}

func newMint(t testing.TB, id, alg string) *mint {
	t.Helper()
	m := &mint{id: id, alg: alg}
	var err error
	switch alg {
	case "ES256":
		m.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256", "RS512":
		m.private = rsaKey()
	case "EdDSA", "Ed25519":
		_, m.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no key for %s", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// key returns the public half as the verifier holds it.
func (m *mint) key(t testing.TB) *verify.Key {
	t.Helper()
	k, err := verify.NewKey(m.id, m.alg, m.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// jwk returns the public half as it is published.
func (m *mint) jwk() map[string]any {
	j := map[string]any{"kid": m.id, "alg": m.alg, "use": "sig"}
	switch pub := m.private.Public().(type) {
	case *ecdsa.PublicKey:
		point, _ := pub.Bytes()
		j["kty"], j["crv"], j["x"], j["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
	case *rsa.PublicKey:
		j["kty"], j["n"], j["e"] = "RSA", b64(pub.N.Bytes()), b64(big.NewInt(int64(pub.E)).Bytes())
	case ed25519.PublicKey:
		j["kty"], j["crv"], j["x"] = "OKP", "Ed25519", b64(pub)
	}
	return j
}

func keySet(t testing.TB, mints ...*mint) *verify.KeySet {
	t.Helper()
	var keys []*verify.Key
	for _, m := range mints {
		keys = append(keys, m.key(t))
	}
	s, err := verify.NewKeySet(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func jwks(mints ...*mint) []byte {
	list := []any{}
	for _, m := range mints {
		list = append(list, m.jwk())
	}
	return marshal(map[string]any{"keys": list})
}

// header is the constant header our server writes for a key.
func (m *mint) header() string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, m.alg, m.id)
}

// token signs claims as our server does.
func (m *mint) token(claims map[string]any) string {
	return m.sign(m.header(), string(marshal(claims)))
}

// sign signs exactly this header and payload with the key's own algorithm,
// whatever the header says.
func (m *mint) sign(header, payload string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	return signed + "." + b64(m.signature([]byte(signed)))
}

func (m *mint) signature(signed []byte) []byte {
	switch k := m.private.(type) {
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256(signed)
		r, s, err := ecdsa.Sign(rand.Reader, k, digest[:])
		if err != nil {
			panic(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig
	case *rsa.PrivateKey:
		hash, digest := crypto.SHA256, sum256(signed)
		if m.alg == "RS512" {
			full := sha512.Sum512(signed)
			hash, digest = crypto.SHA512, full[:]
		}
		sig, err := rsa.SignPKCS1v15(nil, k, hash, digest)
		if err != nil {
			panic(err)
		}
		return sig
	case ed25519.PrivateKey:
		return ed25519.Sign(k, signed)
	}
	panic("no such key")
}

// claims returns the claims of a good token at noon; changes are laid over
// them, a nil value removes a claim.
func claims(changes ...map[string]any) map[string]any {
	c := map[string]any{
		"iss": issuer, "sub": "usr_alice", "aud": audience, "client_id": "demo-native",
		"jti": "jti-1", "iat": noon.Unix(), "exp": noon.Add(15 * time.Minute).Unix(),
		"scope": "openid read", "sid": "sid-1", "acr": "urn:holdfast:password", "amr": []string{"pwd"},
		"auth_time": noon.Add(-time.Hour).Unix(), "epoch": 3, "grant": "password",
	}
	for _, change := range changes {
		maps.Copy(c, change)
	}
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func with(name string, value any) map[string]any { return map[string]any{name: value} }

func newVerifier(t testing.TB, config verify.Config) *verify.Verifier {
	t.Helper()
	if config.Issuer == "" {
		config.Issuer = issuer
	}
	if config.Audience == "" {
		config.Audience = audience
	}
	v, err := verify.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func sum256(b []byte) []byte {
	d := sha256.Sum256(b)
	return d[:]
}

// wantKind checks why a token was refused.
func wantKind(t testing.TB, err error, want verify.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; want refusal: %v", want)
	}
	if got := verify.KindOf(err); got != want {
		t.Fatalf("refused because %v (%v); want %v", got, err, want)
	}
}
