package token

import (
	"encoding/hex"
	"strings"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// Pair is what an access token says besides RFC 9068, so that the verifiers and
// the apps of djangorestframework-simplejwt and of django-rest-framework-jwt find
// in it what they read. It is only written: this server reads nothing from it.
type Pair struct {
	// Type becomes token_type: PairAccess, or PairSliding for a token that is
	// prolonged. "" leaves the claim out, as django-rest-framework-jwt does.
	Type string
	// UserID is the user's integer id, 0 when no user stands behind the token.
	UserID int64
	// RefreshUntil becomes refresh_exp: until when a sliding token is prolonged.
	RefreshUntil time.Time
	// Username and SignedInAt become username and orig_iat.
	Username   string
	SignedInAt time.Time
}

// The values of the claim token_type.
const (
	PairAccess  = "access"
	PairSliding = "sliding"
)

// pair writes the claims of a Pair.
func (o *object) pair(p Pair) {
	o.text("token_type", p.Type)
	if p.UserID != 0 {
		o.integer("user_id", p.UserID)
	}
	o.seconds("refresh_exp", p.RefreshUntil)
	o.text("username", p.Username)
	o.seconds("orig_iat", p.SignedInAt)
}

// NewPairID returns a fresh jti as simplejwt writes it: 128 random bits in 32
// hexadecimal digits.
func NewPairID() string {
	s := id.NewSession()
	return hex.EncodeToString(s[:])
}

// Dressed reports whether a refresh token wears its JWT dress.
func Dressed(t secret.Text) bool { return strings.Count(t.Reveal(), ".") == 2 }
