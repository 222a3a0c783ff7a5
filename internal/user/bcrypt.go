package user

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// bcryptTime is what one doubling unit of the cost takes on one core, and
// bcryptReads how many bytes of a password bcrypt looks at.
const (
	bcryptTime  = 59 * time.Microsecond
	bcryptReads = 72
)

// bcrypt64 is bcrypt's own base64 alphabet.
var bcrypt64 = base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)

// bcryptHash is $2b$12$ with 22 characters of salt and 31 of digest. The
// letters a, b and y name bug fixes in other people's code; the algorithm is
// one. Django writes bcrypt$ in front, or bcrypt_sha256$ when the password was
// hashed first so that all of it counts.
type bcryptHash struct {
	django       string // "", "bcrypt$" or "bcrypt_sha256$"
	letter       string
	cost         int
	salt, digest string
}

func parseBcrypt(encoded string) (stored, error) {
	parts, err := fields(encoded, 4)
	if err != nil {
		return nil, err
	}
	cost, err := number(parts[2])
	if err != nil || cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		return nil, errors.New("bcrypt cannot have this cost")
	}
	const saltEnd, length = 22, 53
	if len(parts[3]) != length || !slices.Contains([]string{"2a", "2b", "2y"}, parts[1]) {
		return nil, errors.New("not a bcrypt hash")
	}
	salt, saltErr := bcrypt64.DecodeString(parts[3][:saltEnd])
	digest, digestErr := bcrypt64.DecodeString(parts[3][saltEnd:])
	if saltErr != nil || digestErr != nil {
		return nil, errors.New("the salt or the digest is not in bcrypt's base64")
	}
	return bcryptHash{letter: parts[1][1:], cost: cost, salt: string(salt), digest: string(digest)}, nil
}

func parseDjangoBcrypt(encoded string) (stored, error) {
	at := strings.IndexByte(encoded, '$') + 1
	s, err := parseBcrypt(encoded[at:])
	if err != nil {
		return nil, err
	}
	h := s.(bcryptHash)
	h.django = encoded[:at]
	return h, nil
}

func (h bcryptHash) String() string { return h.django + h.plain() }

func (h bcryptHash) plain() string {
	return fmt.Sprintf("$2%s$%02d$%s%s", h.letter, h.cost, bcrypt64.EncodeToString([]byte(h.salt)), bcrypt64.EncodeToString([]byte(h.digest)))
}

func (h bcryptHash) work() work { return work{0, bcryptTime << h.cost} }

func (h bcryptHash) matches(password []byte) (ok, whole bool) {
	if h.django == "bcrypt_sha256$" {
		sum := sha256.Sum256(password)
		password = []byte(hex.EncodeToString(sum[:]))
	}
	whole = len(password) <= bcryptReads
	if !whole {
		password = password[:bcryptReads]
	}
	return bcrypt.CompareHashAndPassword([]byte(h.plain()), password) == nil, whole
}
