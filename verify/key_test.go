package verify_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"

	"holdfast.example/verify"
)

// TestKeysThatAreRefused is JW02: one key, one algorithm, and no weak key.
func TestKeysThatAreRefused(t *testing.T) {
	p256 := newMint(t, "k", "ES256").private.Public().(*ecdsa.PublicKey)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edPublic := newMint(t, "k", "Ed25519").private.Public().(ed25519.PublicKey)
	rsaPublic := rsaKey().Public().(*rsa.PublicKey)
	half := new(big.Int).Rsh(rsaPublic.N, 1024)
	half.SetBit(half, 0, 1)

	for _, c := range []struct {
		name, id, alg string
		key           any
		ok            bool
	}{
		{"ES256", "k", "ES256", p256, true},
		{"RS256", "k", "RS256", rsaPublic, true},
		{"RS512", "k", "RS512", rsaPublic, true},
		{"Ed25519", "k", "Ed25519", edPublic, true},
		{"EdDSA", "k", "EdDSA", edPublic, true},
		{"HS256", "k", "HS256", []byte("0123456789abcdef0123456789abcdef"), false},
		{"none", "k", "none", p256, false},
		{"PS256", "k", "PS256", rsaPublic, false},
		{"ES256 on P-384", "k", "ES256", p384.Public(), false},
		{"ES384", "k", "ES384", p384.Public(), false},
		{"EC key as RS256", "k", "RS256", p256, false},
		{"RSA key as ES256", "k", "ES256", rsaPublic, false},
		{"Ed25519 key as ES256", "k", "ES256", edPublic, false},
		{"short Ed25519 key", "k", "Ed25519", edPublic[:31], false},
		{"RSA 1024", "k", "RS256", &rsa.PublicKey{N: half, E: 65537}, false},
		{"RSA 2047", "k", "RS256", &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int).Rsh(rsaPublic.N, 1), 0, 1), E: 65537}, false},
		{"RSA 16384", "k", "RS256", &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int).Lsh(rsaPublic.N, 14336), 0, 1), E: 65537}, false},
		{"RSA exponent 1", "k", "RS256", &rsa.PublicKey{N: rsaPublic.N, E: 1}, false},
		{"RSA exponent even", "k", "RS256", &rsa.PublicKey{N: rsaPublic.N, E: 65536}, false},
		{"RSA modulus even", "k", "RS256", &rsa.PublicKey{N: new(big.Int).Lsh(rsaPublic.N, 1), E: 65537}, false},
		{"private key", "k", "ES256", p384, false},
		{"no key", "k", "ES256", nil, false},
		{"no name", "", "ES256", p256, false},
		{"long name", string(make([]byte, verify.MaxKeyID+1)), "ES256", p256, false},
	} {
		t.Run("JW02/"+c.name, func(t *testing.T) {
			_, err := verify.NewKey(c.id, c.alg, c.key)
			if (err == nil) != c.ok {
				t.Errorf("error %v; want accepted %v", err, c.ok)
			}
		})
	}
}

// TestKeyDocument is JW02 for keys that arrive as JWK.
func TestKeyDocument(t *testing.T) {
	es, rs, ed := newMint(t, "es", "ES256"), newMint(t, "rs", "RS256"), newMint(t, "ed", "Ed25519")
	change := func(m *mint, name string, value any) map[string]any {
		j := m.jwk()
		if j[name] = value; value == nil {
			delete(j, name)
		}
		return j
	}
	y := es.jwk()["y"].(string)
	otherY := string(append([]byte{y[0] ^ 1}, y[1:]...))

	point, _ := es.private.Public().(*ecdsa.PublicKey).Bytes()
	shifted := change(es, "x", b64(point[1:34])) // the same point, cut one byte later
	shifted["y"] = b64(point[34:])

	// Each of these is left out; the good key beside it stays.
	for name, j := range map[string]map[string]any{
		"no kid": change(es, "kid", nil), "empty kid": change(es, "kid", ""), "kid is a number": change(es, "kid", 1), "no alg": change(es, "alg", nil),
		"alg HS256": change(es, "alg", "HS256"), "alg none": change(es, "alg", "none"), "alg of another key type": change(es, "alg", "RS256"),
		"alg ES384 on P-256": change(es, "alg", "ES384"), "for encryption": change(es, "use", "enc"), "key_ops sign": change(es, "key_ops", []string{"sign"}),
		"key_ops a string": change(es, "key_ops", "verify"), "crv P-384": change(es, "crv", "P-384"), "no crv": change(es, "crv", nil), "no y": change(es, "y", nil),
		"off the curve": change(es, "y", otherY), "point zero": {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "z", "x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))},
		"x takes a byte of y": shifted, "short x": change(es, "x", b64(make([]byte, 31))), "long x": change(es, "x", b64(make([]byte, 33))), "padded x": change(es, "x", es.jwk()["x"].(string)+"="),
		"oct": {"kty": "oct", "alg": "HS256", "kid": "o", "k": "AAAA"}, "unknown kty": {"kty": "AKP", "alg": "ML-DSA-44", "kid": "m", "pub": "AAAA"}, "no kty": change(es, "kty", nil),
		"kty in lower case": change(es, "kty", "ec"), "RSA 1024": change(rs, "n", b64(rsaKey().N.Bytes()[:128])), "RSA leading zero": change(rs, "n", b64(append([]byte{0}, rsaKey().N.Bytes()...))),
		"RSA exponent 1": change(rs, "e", b64([]byte{1})), "RSA exponent huge": change(rs, "e", b64([]byte{1, 0, 0, 0, 1})), "RSA no exponent": change(rs, "e", nil), "RSA no modulus": change(rs, "n", nil),
		"Ed25519 short": change(ed, "x", b64(make([]byte, 31))), "Ed448": change(ed, "crv", "Ed448"), "kid too long": change(es, "kid", string(make([]byte, verify.MaxKeyID+1))),
	} {
		t.Run("JW02/"+name, func(t *testing.T) {
			good := newMint(t, "good", "ES256")
			s, err := verify.ParseKeySet(marshal(map[string]any{"keys": []any{j, good.jwk()}}))
			if err != nil {
				t.Fatal(err)
			}
			if s.Lookup("good") == nil {
				t.Error("the good key is gone too")
			}
			kid, _ := j["kid"].(string)
			if kid != "" && s.Lookup(kid) != nil {
				t.Error("accepted")
			}
			_, err = verify.ParseKeySet(marshal(map[string]any{"keys": []any{j}}))
			if err == nil {
				t.Error("a set without a usable key was accepted")
			}
		})
	}

	for name, j := range map[string]map[string]any{
		"plain": es.jwk(), "RSA": rs.jwk(), "Ed25519": ed.jwk(), "no use": change(es, "use", nil), "key_ops verify": change(es, "key_ops", []string{"verify"}),
		"x5c is ignored": change(es, "x5c", []string{"AA"}), "further members": change(es, "exp", 5),
	} {
		s, err := verify.ParseKeySet(marshal(map[string]any{"keys": []any{j}}))
		if err != nil || s.Lookup(j["kid"].(string)).Algorithm() != j["alg"] {
			t.Errorf("%s: %v", name, err)
		}
	}

	withPrivate := change(es, "d", b64(make([]byte, 32)))
	esText, _ := json.Marshal(es.jwk())
	for name, document := range map[string]string{
		"a private key": string(marshal(map[string]any{"keys": []any{ed.jwk(), withPrivate}})), "two keys of one name": string(jwks(es, &mint{"es", "Ed25519", ed.private})),
		"keys twice": fmt.Sprintf(`{"keys":[%s],"keys":[%s]}`, esText, esText), "a member twice": fmt.Sprintf(`{"keys":[{"kid":"x",%s]}`, string(esText)[1:]),
		"not an object": `[]`, "keys is an object": `{"keys":{}}`, "keys is null": `{"keys":null}`, "keys of numbers": `{"keys":[1]}`, "empty": ``, "cut": `{"keys":[`, "no keys": `{}`,
	} {
		_, err := verify.ParseKeySet([]byte(document))
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}

	var many []*mint
	for i := range verify.MaxKeys + 1 {
		many = append(many, &mint{fmt.Sprint("k", i), "ES256", es.private})
	}
	if _, err := verify.ParseKeySet(jwks(many...)); err == nil {
		t.Error("more keys than the limit accepted")
	}
}

// TestLocalKeys shows the source of a process that holds the keys itself.
func TestLocalKeys(t *testing.T) {
	a, b := newMint(t, "a", "ES256"), newMint(t, "b", "Ed25519")
	var set *verify.KeySet
	v := newVerifier(t, verify.Config{Keys: verify.LocalKeys(func() *verify.KeySet { return set }), Memo: 16})
	tokenA := a.token(claims())
	_, err := v.Verify(t.Context(), tokenA, noon)
	wantKind(t, err, verify.Unready)

	keyA := a.key(t)
	set, err = verify.NewKeySet(keyA)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = v.Verify(t.Context(), tokenA, noon)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = v.Verify(t.Context(), b.token(claims()), noon)
	wantKind(t, err, verify.UnknownKey)

	set = keySet(t, b) // a is retired: its tokens die, remembered or not
	_, err = v.Verify(t.Context(), tokenA, noon)
	wantKind(t, err, verify.UnknownKey)
	_, err = v.Verify(t.Context(), b.token(claims()), noon)
	if err != nil {
		t.Fatal(err)
	}
}
