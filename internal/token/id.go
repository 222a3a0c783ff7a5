package token

import (
	"crypto/sha256"
	"crypto/sha512"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// Identity is what an ID token says (OIDC Core section 2).
type Identity struct {
	Subject  string
	Client   id.Client
	IssuedAt time.Time
	Expires  time.Time
	AuthTime time.Time
	Nonce    string
	ACR      string
	AMR      []string
	SID      string
	// Access is the access token that came along; its hash becomes at_hash.
	Access secret.Text

	Email         string
	EmailVerified bool
	Name          string
	GivenName     string
	FamilyName    string
	Username      string
}

// identityType is the typ header of ID tokens: never that of an access token,
// so that neither passes as the other (RFC 8725 section 3.11).
const identityType = "JWT"

// ID signs an ID token with the current key of an algorithm ("" is the
// server's default).
func (m Minter) ID(i Identity, alg string) (secret.Text, error) {
	s, err := m.Keys.Signer(alg)
	if err != nil {
		return secret.Text{}, err
	}
	o := newObject()
	o.text("iss", m.Issuer)
	o.text("sub", i.Subject)
	o.text("aud", string(i.Client))
	o.seconds("exp", i.Expires)
	o.seconds("iat", i.IssuedAt)
	o.seconds("auth_time", i.AuthTime)
	o.text("nonce", i.Nonce)
	o.text("acr", i.ACR)
	o.list("amr", i.AMR)
	o.text("sid", i.SID)
	o.text("at_hash", accessHash(i.Access, s.Alg))
	if i.Email != "" {
		o.text("email", i.Email)
		o.boolean("email_verified", i.EmailVerified)
	}
	o.text("name", i.Name)
	o.text("given_name", i.GivenName)
	o.text("family_name", i.FamilyName)
	o.text("preferred_username", i.Username)
	return sign(s, identityType, o.close())
}

// accessHash is at_hash (OIDC Core section 3.1.3.6): the left half of the hash
// that the signature algorithm names.
func accessHash(t secret.Text, alg string) string {
	switch alg {
	case "ES256", "RS256":
		sum := sha256.Sum256([]byte(t.Reveal()))
		return b64.EncodeToString(sum[:len(sum)/2])
	default: // Ed25519 and RS512 hash with SHA-512
		sum := sha512.Sum512([]byte(t.Reveal()))
		return b64.EncodeToString(sum[:len(sum)/2])
	}
}
