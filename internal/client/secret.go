package client

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"holdfast.example/internal/secret"
)

// secretPrefix lets secret scanners find a leaked client secret.
const secretPrefix = "hfs_"

// NewSecret generates a client secret: 256 random bits behind a fixed prefix.
func NewSecret() secret.Text {
	var b [32]byte
	rand.Read(b[:])
	return secret.New(secretPrefix + base64.RawURLEncoding.EncodeToString(b[:]))
}

// scheme names how a stored digest was made, so that another way can come.
const scheme = "hmac-sha256"

// saltSize is 128 bits: equal secrets of two clients look different.
const saltSize = 16

// HashSecret makes what is stored of a secret: a salted digest,
// "hmac-sha256$salt$digest".
//
// The digest is a fast one on purpose. A client authenticates on every call,
// thousands of times a second, and whoever sends garbage to a slow hash makes
// the server do the slow work. A generated secret loses nothing by it: 256
// random bits cannot be guessed at any speed. A declared one does when it is
// short, so a short one is warned about and a very short one refused (HF205).
func HashSecret(s secret.Text) string {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	return scheme + "$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(digest(salt, s))
}

func digest(salt []byte, s secret.Text) []byte {
	m := hmac.New(sha256.New, salt)
	m.Write([]byte(s.Reveal()))
	return m.Sum(nil)
}

// CheckSecret reports whether presented is the secret behind a stored digest.
// The work and the time are the same when stored is "" or unreadable, so that an
// unknown client cannot be told from a wrong secret.
func CheckSecret(stored string, presented secret.Text) bool {
	salt, want, ok := parseDigest(stored)
	if !ok {
		salt, want = make([]byte, saltSize), make([]byte, sha256.Size)
	}
	return hmac.Equal(digest(salt, presented), want) && ok
}

// parseDigest reads what HashSecret wrote.
func parseDigest(stored string) (salt, sum []byte, ok bool) {
	parts := strings.Split(stored, "$")
	if len(parts) != 3 || parts[0] != scheme {
		return nil, nil, false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[1])
	if err != nil || len(salt) != saltSize {
		return nil, nil, false
	}
	sum, err = base64.RawStdEncoding.DecodeString(parts[2])
	return salt, sum, err == nil && len(sum) == sha256.Size
}
