package upstream

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
)

// signed is a JWS in compact form (RFC 7515 section 7.1), cut but not believed.
type signed struct {
	alg, kid, typ string
	payload       []byte
	input         string // what was signed
	signature     []byte
}

// segment has one spelling for each sequence of bytes.
var segment = base64.RawURLEncoding.Strict()

// unsegment decodes one part. encoding/base64 skips line breaks, which would give
// a token many spellings.
func unsegment(s string) ([]byte, bool) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := segment.DecodeString(s)
	return b, err == nil
}

// split cuts a token. A header that changes what a signature means (crit, b64),
// or that says that it is something else (zip, enc), is refused.
func split(token string) (signed, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[0] == "" || len(token) > MaxToken {
		return signed{}, false
	}
	header, ok := unsegment(parts[0])
	if !ok {
		return signed{}, false
	}
	h, err := parse(header)
	if err != nil || h.has("crit") || h.has("b64") || h.has("zip") || h.has("enc") {
		return signed{}, false
	}
	s := signed{alg: h.text("alg"), kid: h.text("kid"), typ: h.text("typ"), input: parts[0] + "." + parts[1]}
	var payload, signature bool
	s.payload, payload = unsegment(parts[1])
	s.signature, signature = unsegment(parts[2])
	return s, payload && signature && s.alg != ""
}

// looksSigned reports whether a text is a JWS by its form.
func looksSigned(token string) bool { _, ok := split(token); return ok }

// unverifiedIssuer is whom a signed token says it is of.
func unverifiedIssuer(token string) string {
	s, ok := split(token)
	if !ok {
		return ""
	}
	claims, err := parse(s.payload)
	if err != nil {
		return ""
	}
	return claims.text("iss")
}

// publicKey is a provider's key, pinned to one algorithm: a token never chooses
// (RFC 8725 section 3.1). There is no symmetric one.
type publicKey struct {
	rsa *rsa.PublicKey
	ec  *ecdsa.PublicKey
}

// The limits of an RSA key, and the size of a P-256 number, in bits and bytes.
const (
	minRSABits = 2048
	maxRSABits = 8192
	p256Size   = 32
)

// readKey reads one JWK (RFC 7517); ok is false for a key that is not for us.
func readKey(text []byte) (kid string, key publicKey, ok bool) {
	j, err := parse(text)
	if err != nil || j.text("kid") == "" || j.has("use") && j.text("use") != "sig" {
		return "", publicKey{}, false
	}
	alg := j.text("alg")
	switch {
	case j.text("kty") == "RSA" && (alg == "RS256" || !j.has("alg")):
		n, okN := unsegment(j.text("n"))
		e, okE := unsegment(j.text("e"))
		exponent := new(big.Int).SetBytes(e)
		if !okN || !okE || exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 {
			return "", publicKey{}, false
		}
		key.rsa = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}
		bits := key.rsa.N.BitLen()
		return j.text("kid"), key, bits >= minRSABits && bits <= maxRSABits && key.rsa.N.Bit(0) == 1
	case j.text("kty") == "EC" && j.text("crv") == "P-256" && (alg == "ES256" || !j.has("alg")):
		x, okX := unsegment(j.text("x"))
		y, okY := unsegment(j.text("y"))
		if !okX || !okY || len(x) != p256Size || len(y) != p256Size {
			return "", publicKey{}, false
		}
		point := append(append([]byte{4}, x...), y...) // 4: not compressed
		key.ec, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		return j.text("kid"), key, err == nil
	}
	return "", publicKey{}, false
}

// verifies reports whether the key made the token's signature.
func (k publicKey) verifies(s signed) bool {
	digest := sha256.Sum256([]byte(s.input))
	switch {
	case k.rsa != nil && s.alg == "RS256":
		return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, digest[:], s.signature) == nil
	case k.ec != nil && s.alg == "ES256" && len(s.signature) == 2*p256Size:
		r, t := new(big.Int).SetBytes(s.signature[:p256Size]), new(big.Int).SetBytes(s.signature[p256Size:])
		return ecdsa.Verify(k.ec, digest[:], r, t)
	}
	return false
}
