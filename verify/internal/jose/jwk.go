package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"math/big"
)

// ErrIgnored is returned for a JWK that is not for us: another key type, an
// encryption key, a key without a name or without an algorithm. RFC 7517
// section 5 says to skip such keys, not to fail.
var ErrIgnored = errors.New("a key for something else")

// Errors name the rule that a JWK breaks, not its content.
var (
	ErrJWK        = errors.New("a key that is not well formed")
	ErrJWKPrivate = errors.New("a private key in a public document")
)

const coordinateSize = 32 // bytes of one P-256 coordinate (RFC 7518 section 6.2.1.2)

// jwk collects the members of one JWK that matter here.
type jwk struct {
	kty, kid, alg, use, crv string
	x, y, n, e              string
	private                 bool
	keyOps                  []string
	hasKeyOps               bool
}

// ParseJWK reads one public key of a JWK set (RFC 7517, 7518 section 6, 8037).
// The key must name itself (kid) and its algorithm (alg): a key whose
// algorithm is left open is one that a token could choose.
func ParseJWK(v Value) (kid string, key *PublicKey, err error) {
	var j jwk
	err = v.Object(j.member)
	if err != nil {
		return "", nil, err
	}
	if j.kty != "EC" && j.kty != "RSA" && j.kty != "OKP" {
		return "", nil, ErrIgnored
	}
	if j.private {
		return "", nil, ErrJWKPrivate
	}
	if j.kid == "" || j.alg == "" || j.use != "" && j.use != "sig" || j.hasKeyOps && !j.mayVerify() {
		return "", nil, ErrIgnored
	}
	public, err := j.public()
	if err != nil {
		return "", nil, err
	}
	key, err = NewPublicKey(j.alg, public)
	if err != nil {
		return "", nil, err
	}
	return j.kid, key, nil
}

func (j *jwk) member(name string, v Value) error {
	var into *string
	switch name {
	case "kty":
		into = &j.kty
	case "kid":
		into = &j.kid
	case "alg":
		into = &j.alg
	case "use":
		into = &j.use
	case "crv":
		into = &j.crv
	case "x":
		into = &j.x
	case "y":
		into = &j.y
	case "n":
		into = &j.n
	case "e":
		into = &j.e
	case "d", "p", "q", "dp", "dq", "qi", "oth", "k":
		j.private = true
		return nil
	case "key_ops":
		j.hasKeyOps = true
		ok := v.Elements(func(e Value) bool {
			op, ok := e.Text()
			j.keyOps = append(j.keyOps, op)
			return ok
		})
		if !ok {
			return ErrJWK
		}
		return nil
	default:
		return nil
	}
	var ok bool
	*into, ok = v.Text()
	if !ok {
		return ErrJWK
	}
	return nil
}

func (j *jwk) mayVerify() bool {
	for _, op := range j.keyOps {
		if op == "verify" {
			return true
		}
	}
	return false
}

// public builds the key of the standard library. The lengths are exact: a
// coordinate or modulus with another length is another spelling of the key.
func (j *jwk) public() (crypto.PublicKey, error) {
	switch {
	case j.kty == "EC" && j.crv == "P-256":
		x, errX := Decode(j.x)
		y, errY := Decode(j.y)
		if errX != nil || errY != nil || len(x) != coordinateSize || len(y) != coordinateSize {
			return nil, ErrJWK
		}
		point := append(append([]byte{4}, x...), y...) // 4 = uncompressed (SEC 1 section 2.3.3)
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return nil, ErrKeyPoint
		}
		return pub, nil
	case j.kty == "OKP" && j.crv == "Ed25519":
		x, err := Decode(j.x)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return nil, ErrJWK
		}
		return ed25519.PublicKey(x), nil
	case j.kty == "RSA":
		n, errN := Decode(j.n)
		e, errE := Decode(j.e)
		if errN != nil || errE != nil || len(n) == 0 || n[0] == 0 || len(e) == 0 || e[0] == 0 {
			return nil, ErrJWK
		}
		exponent := new(big.Int).SetBytes(e)
		if exponent.BitLen() > 31 { // what crypto/rsa can hold on every machine
			return nil, ErrKeyWeak
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())}, nil
	}
	return nil, ErrIgnored
}
