package user

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// The parts of our own hashes, in bytes.
const (
	saltSize   = 16 // RFC 9106 section 3.1
	digestSize = 32
)

// maxLanes bounds the parallelism of a foreign argon2 hash.
const maxLanes = 16

// argon2Time is what one pass over one KiB takes on one core.
const argon2Time = time.Microsecond

// Cost is how dear an argon2id hash is (RFC 9106 section 3.1).
type Cost struct {
	// Memory is in KiB.
	Memory int
	Passes int
	Lanes  int
}

// DefaultCost is the least that OWASP recommends for argon2id: 19 MiB and two
// passes, about 22 ms of one core. More would be safer against a stolen
// database and would let fewer people sign in at once; a stolen database also
// meets MinPassword first.
var DefaultCost = Cost{Memory: 19456, Passes: 2, Lanes: 1}

type argon2Kind string

const (
	argon2id argon2Kind = "argon2id"
	argon2i  argon2Kind = "argon2i"
)

// argon2Hash is $argon2id$v=19$m=19456,t=2,p=1$salt$digest, the PHC string
// format, with base64 without padding; Django puts argon2 in front. salt and
// digest are bytes in a string, so that the type can be compared.
type argon2Hash struct {
	django       bool
	kind         argon2Kind
	cost         Cost
	salt, digest string
}

// newArgon2 hashes a prepared password.
func newArgon2(password string, c Cost, salt [saltSize]byte) argon2Hash {
	h := argon2Hash{kind: argon2id, cost: c, salt: string(salt[:])}
	h.digest = string(h.derive([]byte(password), digestSize))
	return h
}

func parseArgon2(encoded string) (stored, error) {
	parts, err := fields(encoded, 6)
	if err != nil {
		return nil, err
	}
	h := argon2Hash{kind: argon2Kind(parts[1])}
	if h.kind != argon2id && h.kind != argon2i {
		return nil, errors.New("argon2 of a kind that is not known here")
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, errors.New("argon2 of another version than 1.3")
	}
	pieces := strings.Split(parts[3], ",")
	if len(pieces) != 3 {
		return nil, errors.New("argon2 needs m, t and p")
	}
	for i, p := range []*int{&h.cost.Memory, &h.cost.Passes, &h.cost.Lanes} {
		*p, err = number(strings.TrimPrefix(pieces[i], string("mtp"[i])+"="))
		if err != nil {
			return nil, err
		}
	}
	salt, saltErr := base64.RawStdEncoding.DecodeString(parts[4])
	digest, digestErr := base64.RawStdEncoding.DecodeString(parts[5])
	if saltErr != nil || digestErr != nil {
		return nil, errors.New("the salt or the digest is not base64")
	}
	h.salt, h.digest = string(salt), string(digest)
	if h.cost.Lanes < 1 || h.cost.Lanes > maxLanes || h.cost.Passes < 1 || h.cost.Memory < 8*h.cost.Lanes {
		return nil, errors.New("argon2 cannot have these parameters")
	}
	return h, sized(h.salt, h.digest)
}

func parseDjangoArgon2(encoded string) (stored, error) {
	s, err := parseArgon2(strings.TrimPrefix(encoded, "argon2"))
	if err != nil {
		return nil, err
	}
	h := s.(argon2Hash)
	h.django = true
	return h, nil
}

func (h argon2Hash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	s := fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", h.kind, argon2.Version, h.cost.Memory, h.cost.Passes, h.cost.Lanes,
		b64([]byte(h.salt)), b64([]byte(h.digest)))
	if h.django {
		return "argon2" + s
	}
	return s
}

func (h argon2Hash) work() work {
	return work{int64(h.cost.Memory) << 10, time.Duration(h.cost.Memory) * time.Duration(h.cost.Passes) * argon2Time}
}

func (h argon2Hash) matches(password []byte) (ok, whole bool) {
	return subtle.ConstantTimeCompare(h.derive(password, len(h.digest)), []byte(h.digest)) == 1, true
}

func (h argon2Hash) derive(password []byte, size int) []byte {
	derive := argon2.IDKey
	if h.kind == argon2i {
		derive = argon2.Key
	}
	return derive(password, []byte(h.salt), uint32(h.cost.Passes), uint32(h.cost.Memory), uint8(h.cost.Lanes), uint32(size))
}

// current reports whether encoded is what a new hash of this cost would look
// like. What is not is replaced when its password is next proved, also when it
// is dearer: while all accounts cost the same, the time of an answer says
// nothing about an account.
func (c Cost) current(encoded string) bool {
	s, err := parseHash(encoded)
	if err != nil {
		return false
	}
	h, ok := s.(argon2Hash)
	return ok && !h.django && h.kind == argon2id && h.cost == c && len(h.salt) == saltSize && len(h.digest) == digestSize
}
