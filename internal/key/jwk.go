package key

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"
)

// JWKS is the published key set (RFC 7517 section 5), made once per change of
// the keys. Body is shared: do not write to it.
type JWKS struct {
	Body []byte
	// ETag is a strong entity tag with its quotes (RFC 9110 section 8.8.3). It
	// is the same on every node that serves the same keys.
	ETag string
}

// members gives a public key's own JWK members in the order RFC 7638 hashes
// them in, without braces. Only public ones: no caller has to leave any out.
func members(public crypto.PublicKey) (string, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey: // RFC 7518 section 6.2
		point, err := k.Bytes()
		if err != nil || len(point) != 1+2*scalar {
			return "", fmt.Errorf("key: not a P-256 point: %w", err)
		}
		return fmt.Sprintf(`"crv":"P-256","kty":"EC","x":"%s","y":"%s"`,
			b64.EncodeToString(point[1:1+scalar]), b64.EncodeToString(point[1+scalar:])), nil
	case ed25519.PublicKey: // RFC 8037 section 2
		return fmt.Sprintf(`"crv":"Ed25519","kty":"OKP","x":"%s"`, b64.EncodeToString(k)), nil
	case *rsa.PublicKey: // RFC 7518 section 6.3
		return fmt.Sprintf(`"e":"%s","kty":"RSA","n":"%s"`,
			b64.EncodeToString(big.NewInt(int64(k.E)).Bytes()), b64.EncodeToString(k.N.Bytes())), nil
	}
	return "", fmt.Errorf("key: a %T has no JWK here", public)
}

// thumbprint is the SHA-256 JWK thumbprint (RFC 7638 section 3), our kid.
func thumbprint(public crypto.PublicKey) (string, error) {
	m, err := members(public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte("{" + m + "}"))
	return b64.EncodeToString(sum[:]), nil
}

// jwk is a key's member of the key set: one key, one use, one algorithm.
func jwk(public crypto.PublicKey, kid, alg string) ([]byte, error) {
	m, err := members(public)
	if err != nil {
		return nil, err
	}
	return []byte(`{"kid":"` + kid + `","use":"sig","alg":"` + alg + `",` + m + `}`), nil
}

// publish writes the key set: current keys first, because some verifiers take
// the first key that looks right, then the next ones, then the retired.
func publish(keys []held) JWKS {
	order := map[State]int{Current: 0, Next: 1, Retired: 2}
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b held) int {
		if d := order[a.row.State] - order[b.row.State]; d != 0 {
			return d
		}
		return cmp.Compare(a.row.ID, b.row.ID)
	})
	body := []byte(`{"keys":[`)
	for _, h := range keys {
		if h.sign == nil {
			continue
		}
		if body[len(body)-1] != '[' {
			body = append(body, ',')
		}
		body = append(body, h.sign.jwk...)
	}
	body = append(body, "]}"...)
	sum := sha256.Sum256(body)
	return JWKS{Body: body, ETag: `"` + b64.EncodeToString(sum[:16]) + `"`}
}

// JWKS gives the published key set: current, next and retired signing keys.
func (r *Ring) JWKS() JWKS { return r.live.Load().jwks }

// Public finds a published key by kid, with the only algorithm it may be used
// with.
func (r *Ring) Public(kid string) (public crypto.PublicKey, alg string, ok bool) {
	k, ok := r.live.Load().public[kid]
	if !ok {
		return nil, "", false
	}
	return k.public, k.alg, true
}
