package user

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/scrypt"
)

// scryptTime is what one unit of N x r x p takes on one core.
const scryptTime = 350 * time.Nanosecond

// maxScrypt bounds r and p each, so that their products stay small numbers.
const maxScrypt = 1 << 10

// scryptHash is Django's scrypt$N$salt$r$p$digest (RFC 7914 names N, r and p),
// with the salt as text and the digest in padded base64.
type scryptHash struct {
	n, r, p      int
	salt, digest string
}

func parseScrypt(encoded string) (stored, error) {
	parts, err := fields(encoded, 6)
	if err != nil {
		return nil, err
	}
	h := scryptHash{salt: parts[2]}
	for i, v := range []*int{&h.n, &h.r, &h.p} {
		*v, err = number(parts[[]int{1, 3, 4}[i]])
		if err != nil {
			return nil, err
		}
	}
	digest, err := base64.StdEncoding.DecodeString(parts[5])
	if err != nil {
		return nil, errors.New("the digest is not base64")
	}
	h.digest = string(digest)
	if h.n < 2 || h.n&(h.n-1) != 0 || h.r < 1 || h.r > maxScrypt || h.p < 1 || h.p > maxScrypt {
		return nil, errors.New("scrypt cannot have these parameters")
	}
	return h, sized(h.salt, h.digest)
}

func (h scryptHash) String() string {
	return fmt.Sprintf("scrypt$%d$%s$%d$%d$%s", h.n, h.salt, h.r, h.p, base64.StdEncoding.EncodeToString([]byte(h.digest)))
}

func (h scryptHash) work() work {
	n, r, p := int64(h.n), int64(h.r), int64(h.p)
	return work{128 * r * (n + p), time.Duration(n*r) * time.Duration(p) * scryptTime}
}

func (h scryptHash) matches(password []byte) (ok, whole bool) {
	got, err := scrypt.Key(password, []byte(h.salt), h.n, h.r, h.p, len(h.digest))
	return err == nil && subtle.ConstantTimeCompare(got, []byte(h.digest)) == 1, true
}
