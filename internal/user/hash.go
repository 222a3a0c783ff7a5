package user

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdfast.example/internal/fault"
)

// Limits of what a stored hash may cost to verify. Whoever can write a hash (an
// import, a manifest) could otherwise make every sign-in of that account an
// attack on the server.
const (
	// MaxHashMemory admits Django's argon2 (100 MiB), the dearest default known.
	MaxHashMemory = 128 << 20
	// MaxHashTime is nominal: each format states what a unit of its work takes
	// on one core of a small server. It admits bcrypt 14 and pbkdf2 at 5 million.
	MaxHashTime = time.Second
	// maxEncoded is the longest hash string, in bytes.
	maxEncoded = 512
	// Salts and digests outside of these, in bytes, are no product of any known
	// system.
	minSalt, maxSalt     = 1, 128
	minDigest, maxDigest = 16, 64
)

// stored is one parsed hash string. A format is a type that implements it, in a
// file of its own, and a line in formats.
type stored interface {
	// String encodes it again; the result must be what was parsed.
	String() string
	// work is what one call of matches costs.
	work() work
	// matches reports whether the hash was made from password. whole is false
	// when the hash did not look at all of its bytes.
	matches(password []byte) (ok, whole bool)
}

// work is a price: bytes of memory and nominal time on one core.
type work struct {
	memory int64
	time   time.Duration
}

// formats lists how hash strings begin and who reads them. Ours is the first;
// the others are verified and replaced at the next sign-in.
var formats = []struct {
	prefix string
	parse  func(encoded string) (stored, error)
}{
	{"$argon2id$", parseArgon2},
	{"$argon2i$", parseArgon2},
	{"argon2$", parseDjangoArgon2},
	{"pbkdf2_sha256$", parsePBKDF2},
	{"$2a$", parseBcrypt},
	{"$2b$", parseBcrypt},
	{"$2y$", parseBcrypt},
	{"bcrypt$", parseDjangoBcrypt},
	{"bcrypt_sha256$", parseDjangoBcrypt},
	{"scrypt$", parseScrypt},
}

// parseHash reads a hash string strictly: there is one spelling of each hash,
// and none that costs more than the limits.
func parseHash(encoded string) (stored, error) {
	if len(encoded) > maxEncoded {
		return nil, fmt.Errorf("longer than %d bytes", maxEncoded)
	}
	for _, f := range formats {
		if !strings.HasPrefix(encoded, f.prefix) {
			continue
		}
		s, err := f.parse(encoded)
		if err != nil {
			return nil, err
		}
		if s.String() != encoded {
			return nil, errors.New("not in its canonical spelling")
		}
		if w := s.work(); w.memory > MaxHashMemory || w.time > MaxHashTime {
			return nil, fmt.Errorf("costs more than %d MiB or %v to verify", MaxHashMemory>>20, MaxHashTime)
		}
		return s, nil
	}
	return nil, errors.New("not a format that is known here")
}

// CheckHash reports what is wrong with a hash somebody wants to import, as a
// *fault.Error of kind InvalidRequest. The known formats are argon2id and
// argon2i in PHC form, bcrypt ($2a$, $2b$, $2y$), and Django's pbkdf2_sha256,
// argon2, bcrypt, bcrypt_sha256 and scrypt.
func CheckHash(encoded string) error {
	_, err := parseHash(encoded)
	if err != nil {
		return fault.Newf(fault.InvalidRequest, "the password hash cannot be used: %v", err)
	}
	return nil
}

// heirSalt is the salt of the hash that replaces encoded when its password is
// proved. It is derived, so that sign-ins racing to replace it write the same
// thing, and so that replaced can tell. A salt has to be unique, not secret, and
// encoded holds a salt of its own; an argon2id hash passes it on.
func heirSalt(encoded string) [saltSize]byte {
	s, err := parseHash(encoded)
	if h, ok := s.(argon2Hash); err == nil && ok && h.kind == argon2id && len(h.salt) == saltSize {
		return [saltSize]byte([]byte(h.salt))
	}
	sum := sha256.Sum256([]byte("holdfast heir salt\x00" + encoded))
	return [saltSize]byte(sum[:saltSize])
}

// replaced reports whether heir is old, or what a proof of old's password made
// of it.
func replaced(old, heir string) bool {
	o, oldErr := parseHash(old)
	h, heirErr := parseHash(heir)
	if old == heir || oldErr != nil || heirErr != nil {
		return old == heir
	}
	is, ours := h.(argon2Hash)
	if !ours || is.django || is.kind != argon2id || heirSalt(old) != heirSalt(heir) {
		return false
	}
	was, _ := o.(argon2Hash)
	alike := was.kind == is.kind && was.cost == is.cost && len(was.digest) == len(is.digest)
	return !alike || was.digest == is.digest
}

// number reads a decimal that fits in 31 bits. Spellings with signs or leading
// zeros do not survive the comparison in parseHash.
func number(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errors.New("a parameter is not a number")
	}
	return int(n), nil
}

// fields splits encoded at $ into exactly n parts.
func fields(encoded string, n int) ([]string, error) {
	parts := strings.Split(encoded, "$")
	if len(parts) != n {
		return nil, errors.New("the number of fields is wrong")
	}
	return parts, nil
}

// sized checks the length of a salt and a digest.
func sized(salt, digest string) error {
	if len(salt) < minSalt || len(salt) > maxSalt || len(digest) < minDigest || len(digest) > maxDigest {
		return errors.New("the salt or the digest has an impossible length")
	}
	return nil
}
