package oracle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"

	"holdfast.example/verify"
)

const (
	issuer   = "https://id.test"
	audience = "https://api.test"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func claims() map[string]any {
	return map[string]any{
		"iss": issuer, "sub": "usr_alice", "aud": audience, "client_id": "demo-native", "jti": "j",
		"iat": noon.Unix(), "exp": noon.Add(15 * time.Minute).Unix(), "scope": "openid read", "sid": "s",
		"acr": "urn:holdfast:password", "amr": []string{"pwd"}, "auth_time": noon.Unix(), "epoch": 3, "grant": "password",
	}
}

type pair struct {
	alg     string
	private crypto.Signer
}

func pairs(t *testing.T) []pair {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return []pair{{"ES256", ec}, {"EdDSA", ed}, {"RS256", rs}, {"RS512", rs}}
}

func verifier(t *testing.T, keys verify.KeySource) *verify.Verifier {
	t.Helper()
	v, err := verify.New(verify.Config{Issuer: issuer, Audience: audience, Keys: keys, Memo: 16})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// published returns the key set as go-jose publishes it, read by us.
func published(t *testing.T, keys ...jose.JSONWebKey) *verify.KeySet {
	t.Helper()
	document, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	set, err := verify.ParseKeySet(document)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestTheirsUnderOurs: tokens that go-jose and golang-jwt mint verify here,
// with a key set that go-jose published.
func TestTheirsUnderOurs(t *testing.T) {
	for _, p := range pairs(t) {
		v := verifier(t, published(t, jose.JSONWebKey{Key: p.private.Public(), KeyID: "k", Algorithm: p.alg, Use: "sig"}))
		accept := func(t *testing.T, token string) {
			t.Helper()
			for range 2 {
				c, err := v.Verify(t.Context(), token, noon)
				if err != nil {
					t.Fatal(err)
				}
				if c.Subject != "usr_alice" || c.Epoch != 3 || !c.HasScope("read") || !c.Expires.Equal(noon.Add(15*time.Minute)) {
					t.Fatalf("%+v", c)
				}
			}
		}
		t.Run("go-jose mints "+p.alg, func(t *testing.T) {
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(p.alg), Key: p.private},
				(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "k"))
			if err != nil {
				t.Fatal(err)
			}
			for range 50 { // r and s have leading zeros now and then
				token, err := josejwt.Signed(signer).Claims(claims()).Serialize()
				if err != nil {
					t.Fatal(err)
				}
				accept(t, token)
			}
		})
		t.Run("golang-jwt mints "+p.alg, func(t *testing.T) {
			token := jwt.NewWithClaims(jwt.GetSigningMethod(p.alg), jwt.MapClaims(claims()))
			token.Header["kid"], token.Header["typ"] = "k", "at+jwt"
			for range 50 {
				text, err := token.SignedString(p.private)
				if err != nil {
					t.Fatal(err)
				}
				accept(t, text)
			}
		})
	}
}

// TestOursUnderTheirs: tokens in the one spelling that we accept (constant
// header, RFC 9068 claims) verify under go-jose and golang-jwt, and all three
// agree about every single changed character of them.
func TestOursUnderTheirs(t *testing.T) {
	for _, p := range pairs(t) {
		t.Run(p.alg, func(t *testing.T) {
			v := verifier(t, published(t, jose.JSONWebKey{Key: p.private.Public(), KeyID: "k", Algorithm: p.alg, Use: "sig"}))
			token := mint(t, p)

			byJose := func(text string) error {
				parsed, err := josejwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(p.alg)})
				if err != nil {
					return err
				}
				var c josejwt.Claims
				err = parsed.Claims(p.private.Public(), &c)
				if err != nil {
					return err
				}
				return c.Validate(josejwt.Expected{Issuer: issuer, AnyAudience: josejwt.Audience{audience}, Time: noon})
			}
			byGolang := func(text string) error {
				_, err := jwt.Parse(text, func(*jwt.Token) (any, error) { return p.private.Public(), nil },
					jwt.WithValidMethods([]string{p.alg}), jwt.WithIssuer(issuer), jwt.WithAudience(audience), jwt.WithExpirationRequired(),
					jwt.WithTimeFunc(func() time.Time { return noon }))
				return err
			}
			byUs := func(text string) error {
				_, err := v.Verify(t.Context(), text, noon)
				return err
			}
			for name, check := range map[string]func(string) error{"go-jose": byJose, "golang-jwt": byGolang, "verify": byUs} {
				err := check(token)
				if err != nil {
					t.Fatalf("%s refuses our token: %v", name, err)
				}
			}
			for i := range len(token) {
				changed := []byte(token)
				if changed[i]++; changed[i] == '.'+1 {
					continue // not a dot any more: three parsers, three complaints
				}
				err := byUs(string(changed))
				if err == nil {
					t.Errorf("accepted with character %d changed (go-jose: %v, golang-jwt: %v)", i, byJose(string(changed)), byGolang(string(changed)))
				}
			}
		})
	}
}

// mint signs as our server does: the header is a constant, nothing is optional.
func mint(t *testing.T, p pair) string {
	t.Helper()
	payload, err := json.Marshal(claims())
	if err != nil {
		t.Fatal(err)
	}
	header := fmt.Sprintf(`{"alg":%q,"kid":"k","typ":"at+jwt"}`, p.alg)
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	var signature []byte
	switch k := p.private.(type) {
	case *ecdsa.PrivateKey:
		h := crypto.SHA256.New()
		h.Write([]byte(signed))
		r, s, err := ecdsa.Sign(rand.Reader, k, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case *rsa.PrivateKey:
		hash := map[string]crypto.Hash{"RS256": crypto.SHA256, "RS512": crypto.SHA512}[p.alg]
		h := hash.New()
		h.Write([]byte(signed))
		signature, err = rsa.SignPKCS1v15(nil, k, hash, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(k, []byte(signed))
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}
