// Package jose owns the small, strict part of JOSE that an access token needs:
// the compact serialization of a JWS, its header, JSON without ambiguity,
// public keys as JWK, and five signature algorithms.
//
// It does not know what a claim means, where keys come from or what time it
// is, and it has no encryption, no symmetric key and no way to sign: what is
// not here cannot be confused with what is.
//
// The life of one token in this room, always in this order:
//
//	Split      three canonical base64url segments, or nothing
//	ParseHeader  which key and which algorithm the sender claims
//	PublicKey.Verify  the algorithm is the key's, never the header's
//	Members    the payload, only after the signature passed
package jose

import (
	"encoding/base64"
	"errors"
)

// MaxToken is the longest token looked at, in bytes (security.md section 6:
// "JWT 8 KiB"). It bounds every later step, so none of them needs its own.
const MaxToken = 8 << 10

// Errors say what is wrong and never what was in the token.
var (
	ErrTooLong   = errors.New("longer than 8 KiB")
	ErrSegments  = errors.New("not three segments")
	ErrAlphabet  = errors.New("a character outside base64url")
	ErrEncoding  = errors.New("base64url that is not canonical")
	ErrHeader    = errors.New("a header that is not allowed")
	ErrAlgorithm = errors.New("an algorithm that is not supported")
)

// Compact is a JWS in compact serialization (RFC 7515 section 7.1), cut but
// not yet believed. All fields are parts of the one token string.
type Compact struct {
	Header, Payload, Signature string // base64url
	Signed                     string // Header "." Payload, the text that was signed
}

// alphabet holds true for the characters of base64url. encoding/base64 skips
// line breaks in its input, which would give one token many spellings, so the
// characters are checked before it is called.
var alphabet = func() (t [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		t[c] = true
	}
	return t
}()

// strict refuses an encoding whose unused trailing bits are not zero: without
// it, the last character of a signature could be changed and still verify.
var strict = base64.RawURLEncoding.Strict()

// Split cuts a token at its two dots. It refuses anything that could not have
// come out of a compact encoder: other counts of dots, an empty header,
// padding, white space, JSON serialization, JWE's five parts.
func Split(token string) (Compact, error) {
	if len(token) > MaxToken {
		return Compact{}, ErrTooLong
	}
	var dots [2]int
	n := 0
	for i := range len(token) {
		c := token[i]
		switch {
		case alphabet[c]:
		case c != '.':
			return Compact{}, ErrAlphabet
		case n == len(dots):
			return Compact{}, ErrSegments
		default:
			dots[n] = i
			n++
		}
	}
	if n != len(dots) || dots[0] == 0 {
		return Compact{}, ErrSegments
	}
	return Compact{
		Header:    token[:dots[0]],
		Payload:   token[dots[0]+1 : dots[1]],
		Signature: token[dots[1]+1:],
		Signed:    token[:dots[1]],
	}, nil
}

// Decode returns the bytes of one segment. There is exactly one spelling for
// each sequence of bytes.
func Decode(segment string) ([]byte, error) {
	for i := range len(segment) {
		if !alphabet[segment[i]] {
			return nil, ErrAlphabet
		}
	}
	b, err := strict.DecodeString(segment)
	if err != nil {
		return nil, ErrEncoding // base64's own error quotes an offset; it says no more than this
	}
	return b, nil
}

// Header is what a protected header may say to us. Everything else in it
// (jku, jwk, x5u, x5c, cty ...) is ignored and never fetched.
type Header struct {
	Algorithm string // alg
	KeyID     string // kid, untrusted text: only ever compared with the names of keys we hold
	Type      string // typ
}

// forbidden are header parameters that change what the signature means. We
// support none of them, and RFC 7515 section 4.1.11 says that whoever does not
// understand crit must refuse.
var forbidden = map[string]bool{
	"crit": true, // extensions that must be understood
	"b64":  true, // RFC 7797: the payload is signed in another form
	"zip":  true, // compression: a bomb
	"enc":  true, // it is a JWE
}

// ParseHeader reads a header segment.
func ParseHeader(segment string) (Header, error) {
	text, err := Decode(segment)
	if err != nil {
		return Header{}, err
	}
	var h Header
	err = Members(string(text), func(name string, v Value) error {
		if forbidden[name] {
			return ErrHeader
		}
		var into *string
		switch name {
		case "alg":
			into = &h.Algorithm
		case "kid":
			into = &h.KeyID
		case "typ":
			into = &h.Type
		default:
			return nil
		}
		var ok bool
		*into, ok = v.Text()
		if !ok || *into == "" {
			return ErrHeader
		}
		return nil
	})
	if err != nil {
		return Header{}, err
	}
	if h.Algorithm == "" {
		return Header{}, ErrHeader
	}
	return h, nil
}
