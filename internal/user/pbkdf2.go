package user

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// pbkdf2Time is what one iteration takes on one core.
const pbkdf2Time = 200 * time.Nanosecond

// pbkdf2Hash is Django's default, pbkdf2_sha256$iterations$salt$digest, with the
// salt as text and the digest in padded base64.
type pbkdf2Hash struct {
	iterations   int
	salt, digest string
}

func parsePBKDF2(encoded string) (stored, error) {
	parts, err := fields(encoded, 4)
	if err != nil {
		return nil, err
	}
	iterations, err := number(parts[1])
	if err != nil {
		return nil, err
	}
	digest, err := base64.StdEncoding.DecodeString(parts[3])
	if err != nil || iterations < 1 || len(digest) != sha256.Size {
		return nil, errors.New("pbkdf2_sha256 has iterations and 32 bytes of digest")
	}
	return pbkdf2Hash{iterations, parts[2], string(digest)}, sized(parts[2], string(digest))
}

func (h pbkdf2Hash) String() string {
	return fmt.Sprintf("pbkdf2_sha256$%d$%s$%s", h.iterations, h.salt, base64.StdEncoding.EncodeToString([]byte(h.digest)))
}

func (h pbkdf2Hash) work() work { return work{0, time.Duration(h.iterations) * pbkdf2Time} }

func (h pbkdf2Hash) matches(password []byte) (ok, whole bool) {
	got, err := pbkdf2.Key(sha256.New, string(password), []byte(h.salt), h.iterations, len(h.digest))
	return err == nil && subtle.ConstantTimeCompare(got, []byte(h.digest)) == 1, true
}
