package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"math/big"
)

// The algorithms, as they are written in a header and in a JWK. There is no
// symmetric one and no "none": they cannot be switched on.
const (
	ES256   = "ES256"   // ECDSA on P-256 with SHA-256
	RS256   = "RS256"   // RSASSA-PKCS1-v1_5 with SHA-256
	RS512   = "RS512"   // the same with SHA-512; Open edX signs with it
	EdDSA   = "EdDSA"   // Ed25519 under its older name (RFC 8037)
	Ed25519 = "Ed25519" // Ed25519 under its own name (RFC 9864)
)

// Limits of an RSA key: shorter ones can be factored (RFC 7518 section 3.3),
// longer ones are a way to make the reader of a key document work.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

const es256SignatureSize = 64 // r and s, 32 bytes each, never DER

// Errors name the rule that a key breaks, not the key.
var (
	ErrKeyAlgorithm = errors.New("the algorithm does not fit the key")
	ErrKeyWeak      = errors.New("an RSA key shorter than 2048 bits, longer than 8192, with an unsafe exponent or from a broken generator")
	ErrKeyPoint     = errors.New("a point that is not on the curve")
)

// PublicKey is a public key that verifies one algorithm only. Which one is
// decided when the key is made, so no token can choose (RFC 8725 section 3.1).
type PublicKey struct {
	algorithm string
	ec        *ecdsa.PublicKey
	rsa       *rsa.PublicKey
	ed        ed25519.PublicKey
}

// Supported reports whether a header may name this algorithm at all.
func Supported(algorithm string) bool {
	switch algorithm {
	case ES256, RS256, RS512, EdDSA, Ed25519:
		return true
	}
	return false
}

// NewPublicKey pins algorithm to key, which is an *ecdsa.PublicKey on P-256, an
// *rsa.PublicKey or an ed25519.PublicKey.
func NewPublicKey(algorithm string, key crypto.PublicKey) (*PublicKey, error) {
	k := &PublicKey{algorithm: algorithm}
	switch pub := key.(type) {
	case *ecdsa.PublicKey:
		if algorithm != ES256 || pub.Curve != elliptic.P256() {
			return nil, ErrKeyAlgorithm
		}
		_, err := pub.Bytes()
		if err != nil {
			return nil, ErrKeyPoint
		}
		k.ec = pub
	case *rsa.PublicKey:
		if algorithm != RS256 && algorithm != RS512 {
			return nil, ErrKeyAlgorithm
		}
		bits := pub.N.BitLen()
		if bits < minRSABits || bits > maxRSABits || pub.N.Bit(0) == 0 || pub.E < 3 || pub.E&1 == 0 || infineon(pub.N) {
			return nil, ErrKeyWeak
		}
		k.rsa = pub
	case ed25519.PublicKey:
		if algorithm != EdDSA && algorithm != Ed25519 || len(pub) != ed25519.PublicKeySize {
			return nil, ErrKeyAlgorithm
		}
		k.ed = pub
	default:
		return nil, ErrKeyAlgorithm
	}
	return k, nil
}

// infineon reports whether a modulus carries the mark of the generator of
// CVE-2017-15361 (ROCA), whose keys can be factored: modulo every small prime
// it is a power of 65537. A sound key passes for one with a chance below one
// in a hundred million.
func infineon(modulus *big.Int) bool {
	for p := int64(3); p <= 167; p += 2 {
		if !big.NewInt(p).ProbablyPrime(0) { // exact below 2^64
			continue
		}
		residue := new(big.Int).Mod(modulus, big.NewInt(p)).Int64()
		power := int64(1)
		for range p {
			if power == residue {
				break
			}
			power = power * 65537 % p
		}
		if power != residue {
			return false
		}
	}
	return true
}

// Algorithm returns the one algorithm the key verifies.
func (k *PublicKey) Algorithm() string { return k.algorithm }

// Equal reports whether o is the same key for the same algorithm.
func (k *PublicKey) Equal(o *PublicKey) bool {
	if k.algorithm != o.algorithm {
		return false
	}
	switch {
	case k.ec != nil:
		return k.ec.Equal(o.ec)
	case k.rsa != nil:
		return k.rsa.Equal(o.rsa)
	default:
		return k.ed.Equal(o.ed)
	}
}

// Verify reports whether signature is the key's own over signed. The
// primitives of the standard library refuse zero and out-of-range values of r
// and s, and an RSA signature whose length is not the modulus's.
func (k *PublicKey) Verify(signed, signature []byte) bool {
	switch k.algorithm {
	case ES256:
		if len(signature) != es256SignatureSize {
			return false
		}
		digest := sha256.Sum256(signed)
		r := new(big.Int).SetBytes(signature[:es256SignatureSize/2])
		s := new(big.Int).SetBytes(signature[es256SignatureSize/2:])
		return ecdsa.Verify(k.ec, digest[:], r, s)
	case RS256:
		digest := sha256.Sum256(signed)
		return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, digest[:], signature) == nil
	case RS512:
		digest := sha512.Sum512(signed)
		return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA512, digest[:], signature) == nil
	case EdDSA, Ed25519:
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(k.ed, signed, signature)
	}
	return false
}
