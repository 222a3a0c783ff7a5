package key

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// verify checks a JWS signature with the public key and algorithm alone, as a
// resource server would.
func verify(public crypto.PublicKey, alg string, input, sig []byte) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(input)
		return alg == "ES256" && len(sig) == 64 &&
			ecdsa.Verify(k, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	case ed25519.PublicKey:
		return (alg == "Ed25519" || alg == "EdDSA") && ed25519.Verify(k, input, sig)
	case *rsa.PublicKey:
		if alg == "RS512" {
			digest := sha512.Sum512(input)
			return rsa.VerifyPKCS1v15(k, crypto.SHA512, digest[:], sig) == nil
		}
		digest := sha256.Sum256(input)
		return alg == "RS256" && rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], sig) == nil
	}
	return false
}

// jwks reads a published key set as a client would.
func jwks(t testing.TB, r *Ring) []map[string]string {
	t.Helper()
	var set struct{ Keys []map[string]string }
	err := json.Unmarshal(r.JWKS().Body, &set)
	if err != nil {
		t.Fatalf("%v in %s", err, r.JWKS().Body)
	}
	return set.Keys
}

func kids(t testing.TB, r *Ring) (list []string) {
	for _, k := range jwks(t, r) {
		list = append(list, k["kid"])
	}
	return list
}

func TestSignEveryAlgorithm(t *testing.T) {
	r := open(t, new(memStore), NewRoot(), options(algorithms...))
	if !slices.Equal(r.Algs(), algorithms) {
		t.Errorf("Algs %v", r.Algs())
	}
	for _, alg := range algorithms {
		s, err := r.Signer(alg)
		if err != nil {
			t.Fatal(err)
		}
		public, pinned, ok := r.Public(s.KID)
		if !ok || pinned != alg || s.Alg != alg {
			t.Fatalf("%s: published %v as %q", alg, ok, pinned)
		}
		for _, typ := range []string{"at+jwt", "JWT", "", "something+jwt"} {
			var h map[string]string
			b, err := b64.DecodeString(s.Header(typ))
			if err == nil {
				err = json.Unmarshal(b, &h)
			}
			want := map[string]string{"alg": alg, "kid": s.KID}
			if typ != "" {
				want["typ"] = typ
			}
			if err != nil || len(h) != len(want) || h["alg"] != alg || h["kid"] != s.KID || h["typ"] != typ {
				t.Errorf("%s: header %s, %v, want %v", alg, b, err, want)
			}
		}
		input := []byte(s.Header("at+jwt") + ".e30")
		sig, err := s.Sign(input)
		if err != nil || !verify(public, alg, input, sig) {
			t.Errorf("%s: signature of %d bytes does not verify: %v", alg, len(sig), err)
		}
		if verify(public, alg, append(input, 'x'), sig) {
			t.Errorf("%s: the signature holds for another input", alg)
		}
	}
	def, err := r.Signer("")
	if err != nil || def.Alg != algorithms[0] {
		t.Errorf("default signer %q, %v", def.Alg, err)
	}
	_, err = r.Signer("HS256")
	if err == nil || !strings.Contains(err.Error(), `"HS256"`) {
		t.Errorf("a signer for HS256: %v", err)
	}
	_, err = Signer{}.Sign(nil)
	if err == nil {
		t.Error("a Signer without a key signed")
	}
}

// JW02, the part of the keys: one key, one algorithm, no weak key; the key set
// has only public members and no kid twice (D09).
func TestJW02KeySet(t *testing.T) {
	r := open(t, new(memStore), NewRoot(), options(algorithms...))
	keys := jwks(t, r)
	if len(keys) != 2*len(algorithms) {
		t.Fatalf("%d keys published", len(keys))
	}
	byKID, byAlg := map[string]bool{}, map[string]int{}
	want := map[string][]string{"EC": {"crv", "x", "y"}, "OKP": {"crv", "x"}, "RSA": {"e", "n"}}
	for i, k := range keys {
		members := want[k["kty"]]
		for _, m := range append(slices.Clone(members), "alg", "kid", "kty", "use") {
			if k[m] == "" {
				t.Errorf("key %d lacks %q: %v", i, m, k)
			}
		}
		if len(k) != len(members)+4 || k["use"] != "sig" || byKID[k["kid"]] {
			t.Errorf("key %d: %v", i, k)
		}
		byKID[k["kid"]] = true
		byAlg[k["alg"]]++
		public, alg, ok := r.Public(k["kid"])
		if !ok || alg != k["alg"] {
			t.Errorf("key %d: Public says %q, %v", i, alg, ok)
		}
		switch p := public.(type) {
		case *ecdsa.PublicKey:
			x, _ := b64.DecodeString(k["x"])
			y, _ := b64.DecodeString(k["y"])
			onCurve, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
			if err != nil || !onCurve.Equal(p) || k["crv"] != "P-256" {
				t.Errorf("key %d: %v", i, err)
			}
		case *rsa.PublicKey:
			n, _ := b64.DecodeString(k["n"])
			if !bytes.Equal(n, p.N.Bytes()) || k["e"] != "AQAB" || len(n) < 256 {
				t.Errorf("key %d is not its own modulus or short: %d bytes", i, len(n))
			}
		case ed25519.PublicKey:
			x, _ := b64.DecodeString(k["x"])
			if !bytes.Equal(x, p) || k["crv"] != "Ed25519" {
				t.Errorf("key %d is not its own point", i)
			}
		}
	}
	for _, alg := range algorithms {
		if byAlg[alg] != 2 {
			t.Errorf("%d keys for %s, want current and next", byAlg[alg], alg)
		}
	}
	if tag := r.JWKS().ETag; len(tag) != 24 || tag[0] != '"' || tag[23] != '"' {
		t.Errorf("ETag %s", tag)
	}
	_, _, ok := r.Public("../../etc/passwd")
	if ok {
		t.Error("a kid that is none found a key")
	}
}

// JW02: a stored key that does not fit its algorithm is refused.
func TestJW02Fits(t *testing.T) {
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	rsa1024, _ := rsa.GenerateKey(rand.Reader, 1024)
	rsa2048, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	cases := []struct {
		alg     string
		private any
		want    string // "" fits
	}{
		{"ES256", p256, ""}, {"ES256", p384, "is no key for"}, {"ES256", rsa2048, "is no key for"}, {"ES256", ed, "is no key for"},
		{"RS256", rsa2048, ""}, {"RS512", rsa2048, ""}, {"RS256", rsa1024, "1024 bits is too short"}, {"RS256", p256, "is no key for"},
		{"Ed25519", ed, ""}, {"EdDSA", ed, ""}, {"Ed25519", p256, "is no key for"}, {"HS256", p256, "is no key for"}, {"none", ed, "is no key for"},
		{"", p256, "is no key for"},
	}
	for _, c := range cases {
		plain, err := x509.MarshalPKCS8PrivateKey(c.private)
		if err != nil {
			t.Fatal(err)
		}
		_, err = equip(Row{Purpose: Sign, Alg: c.alg}, plain)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T for %q: %v, want %q", c.private, c.alg, err, c.want)
		}
	}
	plain, _ := x509.MarshalPKCS8PrivateKey(p256)
	for name, row := range map[string]Row{
		"kid of another key": {Purpose: Sign, Alg: "ES256", KID: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		"sealing key":        {Purpose: Seal},
		"no purpose":         {},
	} {
		_, err := equip(row, plain)
		if err == nil {
			t.Errorf("equipped a PKCS #8 key as %s", name)
		}
	}
	_, err := equip(Row{Purpose: Sign, Alg: "ES256"}, make([]byte, 32))
	if err == nil {
		t.Error("equipped 32 bytes as a signing key")
	}
	_, err = equip(Row{Purpose: "other"}, make([]byte, 32))
	if err == nil {
		t.Error("equipped a key without a known purpose")
	}
}

// The examples of RFC 7638 section 3.1 and RFC 8037 appendix A.3.
func TestThumbprint(t *testing.T) {
	n, err := b64.DecodeString("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	if err != nil {
		t.Fatal(err)
	}
	x, err := b64.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	for want, public := range map[string]crypto.PublicKey{
		"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs": &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537},
		"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k": ed25519.PublicKey(x),
	} {
		got, err := thumbprint(public)
		if err != nil || got != want {
			t.Errorf("%T: %s, %v", public, got, err)
		}
	}
	_, err = thumbprint("a string")
	if err == nil {
		t.Error("a string has a thumbprint")
	}
}

// R || S against an independent DER encoder, short and long integers alike.
func TestJoinRS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		half := rapid.OneOf(rapid.SliceOfN(rapid.Byte(), 1, 32), rapid.SliceOfN(rapid.Byte(), 32, 32))
		r := new(big.Int).SetBytes(half.Draw(t, "r"))
		s := new(big.Int).SetBytes(half.Draw(t, "s"))
		der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
		if err != nil {
			t.Fatal(err)
		}
		out, err := joinRS(der)
		if err != nil || len(out) != 64 || new(big.Int).SetBytes(out[:32]).Cmp(r) != 0 || new(big.Int).SetBytes(out[32:]).Cmp(s) != 0 {
			t.Fatalf("%x became %x, %v", der, out, err)
		}
		cut := rapid.IntRange(0, len(der)-1).Draw(t, "cut")
		_, err = joinRS(der[:cut])
		if err == nil {
			t.Fatalf("took %d of %d bytes", cut, len(der))
		}
		_, err = joinRS(append(slices.Clone(der), 0))
		if err == nil {
			t.Fatal("took a byte too many")
		}
	})
	long, _ := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)})
	_, err := joinRS(long)
	if err == nil {
		t.Error("took an integer of 257 bits")
	}
}
