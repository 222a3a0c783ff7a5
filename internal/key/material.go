package key

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
)

const (
	// symmetricSize is the size of sealing, name and opaque keys in bytes.
	symmetricSize = 32
	// rsaBits is what new RSA keys have. 2048 bits sign in a millisecond and
	// are enough for tokens that live an hour; a longer modulus would make the
	// signature of every token longer too.
	rsaBits = 2048
	// minRSABits: RFC 7518 section 3.3 refuses less.
	minRSABits = 2048
)

// algorithms are the JWS algorithms this room signs with.
//
// Ed25519 and EdDSA are the same mathematics under two names. RFC 9864
// deprecates EdDSA because the name leaves the curve open, but most libraries
// of 2026 know only that name: go-oidc, golang-jwt and PyJWT verify an EdDSA
// token and refuse the same one called Ed25519, jose (JavaScript) verifies
// both. So the name is not a flag on one key: they are two algorithms with
// keys of their own, header and JWK always agree, and a verifier that pins one
// key to one algorithm (RFC 8725 section 3.1) is never asked to bend.
var algorithms = []string{"ES256", "RS256", "RS512", "Ed25519", "EdDSA"}

// defaultAlgs: ES256 is verified everywhere and signs 25 times faster than RSA;
// OpenID Connect requires RS256; Ed25519 is there for whoever asks.
var defaultAlgs = []string{"ES256", "RS256", "Ed25519"}

// held is one key in use: its row, and what its purpose needs of it.
type held struct {
	row    Row
	sign   *signKey
	seal   *sealKey
	name   cipher.Block
	opaque cipher.AEAD
}

// generate makes the private part of a new key: PKCS #8 for a signing key,
// random bytes for the others.
func generate(l line) ([]byte, error) {
	if l.purpose != Sign {
		raw := make([]byte, symmetricSize)
		rand.Read(raw)
		return raw, nil
	}
	var private crypto.Signer
	var err error
	switch l.alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256", "RS512":
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case "Ed25519", "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("key: unknown signing algorithm %q", l.alg)
	}
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(private)
}

// equip makes a stored key usable. It refuses a key that does not fit its row:
// one key has one purpose and one algorithm, RSA keys have at least 2048 bits,
// and the kid is the key's own thumbprint.
func equip(row Row, plain []byte) (held, error) {
	h := held{row: row}
	if row.Purpose == Sign {
		private, err := x509.ParsePKCS8PrivateKey(plain)
		if err != nil {
			return held{}, fmt.Errorf("it is not a PKCS #8 key: %w", err)
		}
		h.sign, err = newSignKey(row.Alg, private)
		if err == nil && row.KID != "" && row.KID != h.sign.kid {
			err = fmt.Errorf("its thumbprint is %s and not its kid", h.sign.kid)
		}
		if err != nil {
			return held{}, err
		}
		h.row.KID = h.sign.kid
		return h, nil
	}
	if len(plain) != symmetricSize {
		return held{}, fmt.Errorf("it has %d bytes instead of %d", len(plain), symmetricSize)
	}
	switch row.Purpose {
	case Seal:
		h.seal = newSealKey(plain)
	case Name:
		block, err := aes.NewCipher(expand(plain, "holdfast/name/v1", 32))
		if err != nil {
			return held{}, err
		}
		h.name = block
	case Opaque:
		h.opaque = newAEAD(expand(plain, "holdfast/opaque/v1", 32))
	default:
		return held{}, fmt.Errorf("%q is not a purpose", row.Purpose)
	}
	return h, nil
}

// fits reports why a private key must not be used with an algorithm.
func fits(alg string, private any) error {
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		if alg == "ES256" && k.Curve == elliptic.P256() {
			return nil
		}
	case *rsa.PrivateKey:
		if k.N.BitLen() < minRSABits {
			return fmt.Errorf("an RSA key of %d bits is too short, %d is the least", k.N.BitLen(), minRSABits)
		}
		if alg == "RS256" || alg == "RS512" {
			return nil
		}
	case ed25519.PrivateKey:
		if alg == "Ed25519" || alg == "EdDSA" {
			return nil
		}
	}
	return fmt.Errorf("a %T is no key for %q", private, alg)
}

// known reports whether this room can sign with an algorithm.
func known(alg string) bool { return slices.Contains(algorithms, alg) }
