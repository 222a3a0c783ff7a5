package verify

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"holdfast.example/verify/internal/jose"
)

// Limits of a key document (RFC 7517 JWK set).
const (
	// MaxKeyDocument is the longest JWK set that is read, in bytes.
	MaxKeyDocument = 256 << 10
	// MaxKeys is the largest number of usable keys in a set.
	MaxKeys = 64
	// MaxKeyID is the longest name of a key, in bytes.
	MaxKeyID = 256
)

// Key is one public key of an issuer: a name, and a key pinned to the one
// algorithm it verifies. It never changes; two Keys are the same key only if
// they are the same pointer.
type Key struct {
	id     string
	public *jose.PublicKey
}

// NewKey makes a Key of an *ecdsa.PublicKey on P-256 (ES256), an *rsa.PublicKey
// of 2048 bits or more (RS256, RS512) or an ed25519.PublicKey (Ed25519 or
// EdDSA, whichever name the issuer writes into its headers).
func NewKey(id, algorithm string, public crypto.PublicKey) (*Key, error) {
	if id == "" || len(id) > MaxKeyID {
		return nil, fmt.Errorf("verify: a key id has 1 to %d bytes", MaxKeyID)
	}
	pinned, err := jose.NewPublicKey(algorithm, public)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return &Key{id: id, public: pinned}, nil
}

// ID returns the key's name, the kid of the tokens it signs.
func (k *Key) ID() string { return k.id }

// Algorithm returns the alg of the tokens it signs.
func (k *Key) Algorithm() string { return k.public.Algorithm() }

// KeySet is the keys an issuer is trusted with at one moment. It never
// changes: keys rotate by putting a new set in its place. A KeySet is itself a
// KeySource, for tests and for issuers whose keys are given in a file.
type KeySet struct{ byID map[string]*Key }

// NewKeySet makes a set. Two keys with one name are refused: a token could not
// say which of them it means.
func NewKeySet(keys ...*Key) (*KeySet, error) {
	if len(keys) > MaxKeys {
		return nil, fmt.Errorf("verify: more than %d keys", MaxKeys)
	}
	s := &KeySet{byID: make(map[string]*Key, len(keys))}
	for _, k := range keys {
		if s.byID[k.id] != nil {
			return nil, errors.New("verify: two keys with one name")
		}
		s.byID[k.id] = k
	}
	return s, nil
}

// ParseKeySet reads a JWK set. Keys of other kinds, for other uses, without kid
// or alg, and keys too weak to trust are left out (RFC 7517 section 5); a set
// in which none is left, one with two keys of one name and one that contains a
// private key are refused.
func ParseKeySet(document []byte) (*KeySet, error) {
	if len(document) > MaxKeyDocument {
		return nil, fmt.Errorf("verify: a key document longer than %d bytes", MaxKeyDocument)
	}
	var keys []*Key
	var refused error
	found := false
	err := jose.Members(string(document), func(name string, v jose.Value) error {
		if name != "keys" {
			return nil
		}
		found = v.Elements(func(e jose.Value) bool {
			id, public, err := jose.ParseJWK(e)
			switch {
			case errors.Is(err, jose.ErrJWKPrivate):
				refused = err
			case err == nil && len(id) <= MaxKeyID:
				keys = append(keys, &Key{id: id, public: public})
			}
			return refused == nil
		})
		return refused
	})
	if err != nil {
		return nil, fmt.Errorf("verify: key document: %w", err)
	}
	if !found || len(keys) == 0 {
		return nil, errors.New("verify: key document: no usable key")
	}
	return NewKeySet(keys...)
}

// adopt returns s with every key that prior holds too replaced by prior's own
// Key, so that what was remembered about a key lives as long as the key. It
// also tells whether s brings a key that prior has not.
func (s *KeySet) adopt(prior *KeySet) (merged *KeySet, news bool) {
	merged = &KeySet{byID: make(map[string]*Key, len(s.byID))}
	for id, k := range s.byID {
		if old := prior.Lookup(id); old != nil && old.public.Equal(k.public) {
			k = old
		} else {
			news = true
		}
		merged.byID[id] = k
	}
	return merged, news
}

// Lookup returns the key of that name, or nil. A nil set has no keys.
func (s *KeySet) Lookup(id string) *Key {
	if s == nil {
		return nil
	}
	return s.byID[id]
}

// holds reports whether k itself is trusted, not merely a key of its name.
func (s *KeySet) holds(k *Key) bool { return s.Lookup(k.id) == k }

// Current implements KeySource.
func (s *KeySet) Current() *KeySet { return s }

// Find implements KeySource.
func (s *KeySet) Find(_ context.Context, id string) (*Key, error) {
	k := s.Lookup(id)
	if k == nil {
		return nil, refuse(UnknownKey, nil)
	}
	return k, nil
}

// KeySource says which keys an issuer is trusted with. *JWKS fetches them,
// *KeySet is a fixed list, LocalKeys asks a function.
//
// A key that stays trusted must stay the same *Key: a Verifier remembers what
// it learned about a key by the pointer, and forgets it when Current no longer
// holds that pointer. Both methods are called from many goroutines at once.
type KeySource interface {
	// Current returns the set to trust now, nil for none. It is called for
	// every token and must not wait.
	Current() *KeySet

	// Find returns the key of that name, and may take some time to look for
	// it. The error is an *Error of kind UnknownKey when the issuer has no
	// such key, of kind Unready when that cannot be known.
	Find(ctx context.Context, id string) (*Key, error)
}

// LocalKeys is a KeySource for a process that holds the keys itself, as the
// authorization server does: the function returns the set of the moment.
type LocalKeys func() *KeySet

// Current implements KeySource.
func (f LocalKeys) Current() *KeySet { return f() }

// Find implements KeySource.
func (f LocalKeys) Find(ctx context.Context, id string) (*Key, error) {
	set := f()
	if set == nil {
		return nil, refuse(Unready, errors.New("no keys yet"))
	}
	return set.Find(ctx, id)
}
