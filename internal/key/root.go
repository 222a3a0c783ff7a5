package key

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"holdfast.example/internal/secret"
)

// Root is the root secret: 32 random bytes, the only key an operator has to
// keep. Every other key is random and stored wrapped under it. The zero value
// is no root.
//
// It holds its text form, so that whatever prints a Root prints nothing.
type Root struct{ text secret.Text }

const (
	// RootPrefix opens the text form, so that secret scanners find a leaked one.
	RootPrefix = "hfroot_"

	rootSize   = 32
	rootLength = len(RootPrefix) + 43
)

// b64 is the one spelling of binary fields: base64url without padding, and
// trailing bits must be zero.
var b64 = base64.RawURLEncoding.Strict()

// NewRoot returns a fresh random root.
func NewRoot() Root {
	var b [rootSize]byte
	rand.Read(b[:])
	return rootOf(b[:])
}

// ParseRoot reads the text form and nothing else: hfroot_ and 43 characters of
// base64url. The error never repeats what was given.
func ParseRoot(t secret.Text) (Root, error) {
	s := t.Reveal()
	switch {
	case s == "":
		return Root{}, errors.New("key: the root secret is empty; it is " + RootPrefix + " and 43 characters of base64url")
	case !strings.HasPrefix(s, RootPrefix):
		return Root{}, errors.New("key: this is not a root secret: one starts with " + RootPrefix)
	case len(s) != rootLength:
		return Root{}, errors.New("key: the root secret has a wrong length; after " + RootPrefix + " come 43 characters")
	}
	b, err := b64.DecodeString(s[len(RootPrefix):])
	if err != nil || len(b) != rootSize { // the decoder skips line breaks
		return Root{}, errors.New("key: the root secret is mistyped: it is not base64url as it was written")
	}
	if [rootSize]byte(b) == [rootSize]byte{} {
		return Root{}, errors.New("key: the root secret is all zeros, which is a placeholder and not a secret; make one")
	}
	return rootOf(b), nil
}

func rootOf(b []byte) Root { return Root{secret.New(RootPrefix + b64.EncodeToString(b))} }

// Text is the form that ParseRoot reads.
func (r Root) Text() secret.Text { return r.text }

// String implements fmt.Stringer and reveals nothing; Fingerprint names a root.
func (Root) String() string { return secret.Redacted }

// IsZero reports whether there is no root.
func (r Root) IsZero() bool { return r.text.Empty() }

// Fingerprint names the root without telling anything about it, so that an
// error can say which root a database was made under. "" for the zero Root.
func (r Root) Fingerprint() string {
	if r.IsZero() {
		return ""
	}
	return r.wrapper().mark.String()
}

// fingerprint is what the roll carries of the root, in the clear: an HKDF
// output, so that it leads back to nothing.
type fingerprint [8]byte

func (f fingerprint) String() string { return hex.EncodeToString(f[:]) }

// wrapper is what a root is used for: one AES-256-GCM key that wraps rows and
// seals the roll, and the root's public name.
type wrapper struct {
	aead cipher.AEAD
	mark fingerprint
}

// wrapper derives by HKDF (RFC 5869). A wrapped key carries a random 96-bit
// nonce; a server writes some thousands of them in its life, far below the
// 2^32 that NIST SP 800-38D allows one key.
func (r Root) wrapper() wrapper {
	raw, err := b64.DecodeString(r.text.Reveal()[len(RootPrefix):])
	if err != nil {
		panic("key: a Root that ParseRoot did not make")
	}
	return wrapper{
		aead: newAEAD(expand(raw, "holdfast/root/wrap/v1", 32)),
		mark: fingerprint(expand(raw, "holdfast/root/fingerprint/v1", len(fingerprint{}))),
	}
}

// expand derives a subkey from 32 random bytes. Labels keep every use of a key
// apart from every other.
func expand(raw []byte, label string, size int) []byte {
	sub, err := hkdf.Expand(sha256.New, raw, label, size)
	if err != nil {
		panic(err) // only for sizes above 8160
	}
	return sub
}

// newAEAD is AES-256-GCM that puts a random nonce in front of what it seals.
func newAEAD(k []byte) cipher.AEAD {
	block, err := aes.NewCipher(k)
	if err != nil {
		panic(err) // only for a wrong key size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // only for a block that is not 16 bytes
	}
	return aead
}

// ArchiveKey is the key that backups are sealed with (room archive): whoever
// lacks the root secret can neither alter one nor make one up.
func (r Root) ArchiveKey() []byte {
	raw, err := b64.DecodeString(r.text.Reveal()[len(RootPrefix):])
	if err != nil {
		panic("key: a Root that ParseRoot did not make")
	}
	return expand(raw, "holdfast/root/archive/v1", 32)
}
