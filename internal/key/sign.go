package key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"errors"

	"holdfast.example/internal/fault"
)

// Signer signs with the key that was current when it was asked for.
type Signer struct {
	// KID is the key's name in the JWKS and in headers (RFC 7638).
	KID string
	// Alg is the JWS algorithm, as headers and the JWKS have it.
	Alg string

	key *signKey
}

// headerTypes are the typ values whose header segments are made once per key.
// Any other works too and is made on each call.
var headerTypes = []string{"", "JWT", "at+jwt", "logout+jwt", "secevent+jwt", "statuslist+jwt", "token-introspection+jwt"}

// signKey is a private signing key with everything about it that never changes.
type signKey struct {
	kid, alg string
	private  crypto.Signer
	public   crypto.PublicKey
	// headers are base64url JOSE headers by typ.
	headers map[string]string
	// jwk is the key's member of the JWKS.
	jwk []byte
}

func newSignKey(alg string, private any) (*signKey, error) {
	err := fits(alg, private)
	if err != nil {
		return nil, err
	}
	k := &signKey{alg: alg, private: private.(crypto.Signer), headers: make(map[string]string, len(headerTypes))}
	k.public = k.private.Public()
	k.kid, err = thumbprint(k.public)
	if err != nil {
		return nil, err
	}
	k.jwk, err = jwk(k.public, k.kid, alg)
	if err != nil {
		return nil, err
	}
	for _, typ := range headerTypes {
		k.headers[typ] = k.header(typ)
	}
	return k, nil
}

// header writes the JOSE header (RFC 7515 section 4). kid and alg are ours and
// need no escaping; typ is a constant of the calling code.
func (k *signKey) header(typ string) string {
	h := `{"alg":"` + k.alg + `","kid":"` + k.kid + `"`
	if typ != "" {
		h += `,"typ":"` + typ + `"`
	}
	return b64.EncodeToString([]byte(h + "}"))
}

// Header is the first segment of a JWT with this typ, without the dot. It is
// the same string for a key's whole life, so that a verifier may look it up
// whole. An empty typ leaves the member out.
func (s Signer) Header(typ string) string {
	if h, ok := s.key.headers[typ]; ok {
		return h
	}
	return s.key.header(typ)
}

// Sign makes the JWS signature of a signing input (RFC 7515 section 5.1, step
// 5): 64 bytes R || S for ES256 (RFC 7518 section 3.4), the modulus' length for
// RS256 and RS512, 64 bytes for Ed25519.
func (s Signer) Sign(input []byte) ([]byte, error) {
	if s.key == nil {
		return nil, errors.New("key: a Signer without a key")
	}
	switch k := s.key.private.(type) {
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256(input)
		der, err := ecdsa.SignASN1(rand.Reader, k, digest[:])
		if err != nil {
			return nil, err
		}
		return joinRS(der)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, input), nil
	case *rsa.PrivateKey:
		if s.key.alg == "RS512" {
			digest := sha512.Sum512(input)
			return rsa.SignPKCS1v15(nil, k, crypto.SHA512, digest[:])
		}
		digest := sha256.Sum256(input)
		return rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:])
	}
	return nil, errors.New("key: a Signer with a key of no known type")
}

// scalar is the size of R and of S for P-256 in bytes.
const scalar = 32

var errNotDER = errors.New("key: crypto/ecdsa gave a signature that is not the DER of two P-256 integers")

// joinRS turns SEQUENCE { INTEGER r, INTEGER s } into R || S, each padded to 32
// bytes. It reads only what crypto/ecdsa writes: lengths of one byte, integers
// in their shortest form.
func joinRS(der []byte) ([]byte, error) {
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return nil, errNotDER
	}
	out := make([]byte, 2*scalar)
	rest := der[2:]
	for half := range 2 {
		if len(rest) < 2 || rest[0] != 0x02 || int(rest[1]) > len(rest)-2 {
			return nil, errNotDER
		}
		n := rest[2 : 2+int(rest[1])]
		rest = rest[2+len(n):]
		if len(n) == scalar+1 && n[0] == 0 {
			n = n[1:] // the sign byte of an integer whose top bit is set
		}
		if len(n) > scalar {
			return nil, errNotDER
		}
		copy(out[(half+1)*scalar-len(n):], n)
	}
	if len(rest) != 0 {
		return nil, errNotDER
	}
	return out, nil
}

// Signer gives the current key of an algorithm; "" is the first of
// Options.Algs. It takes no lock.
func (r *Ring) Signer(alg string) (Signer, error) {
	k, ok := r.live.Load().signers[alg]
	if !ok {
		return Signer{}, fault.Newf(fault.Internal, "this server holds no signing key for %q; add it to its signing algorithms", alg)
	}
	return Signer{KID: k.kid, Alg: k.alg, key: k}, nil
}
