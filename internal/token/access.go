package token

import (
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/verify"
)

// Access is what an access token says (RFC 9068 section 2.2), in either form.
type Access struct {
	// ID is the jti; every token has its own.
	ID string
	// Subject is the user's subject, or the client_id for a client's own token.
	Subject  string
	Client   id.Client
	Audience []string
	// Scope is space separated.
	Scope    string
	IssuedAt time.Time
	Expires  time.Time

	// The rest is set only when a user stands behind the token.

	// SID is the outside name of the session.
	SID string
	// Epoch is the user's epoch that was read for this token: a higher one in
	// the record ends it (design.md section 7).
	Epoch uint32
	// Grant says how the session was earned.
	Grant    string
	AuthTime time.Time
	ACR      string
	AMR      []string

	// EdX, when set, adds the claims of an Open edX. It is only written: this
	// server reads nothing from them.
	EdX *EdX
	// Pair, when set, adds the claims of simplejwt; it is only written, too.
	Pair *Pair
}

// AccessType is the typ header of access tokens (RFC 9068 section 2.1).
const AccessType = "at+jwt"

// Minter makes access and ID tokens.
type Minter struct {
	Keys MintKeys
	// Issuer is the server's issuer URL, byte for byte as clients know it.
	Issuer string
}

// MintKeys is the part of key.Ring that minting needs.
type MintKeys interface {
	Signer(alg string) (key.Signer, error)
	SealOpaque(plain []byte) []byte
	OpenOpaque(sealed []byte) ([]byte, bool)
	// UnknownOpaque is the id of the key that sealed names and that is not held, 0
	// for none.
	UnknownOpaque(sealed []byte) uint32
	CatchUp
}

// JWT signs an access token with the current key of an algorithm ("" is the
// server's default). The error is ErrTooLong, or that of the keys.
func (m Minter) JWT(a Access, alg string) (secret.Text, error) {
	s, err := m.Keys.Signer(alg)
	if err != nil {
		return secret.Text{}, err
	}
	t, err := sign(s, AccessType, m.claims(a))
	if err == nil && len(t.Reveal()) > verify.MaxToken {
		return secret.Text{}, ErrTooLong
	}
	return t, err
}

// claims writes the claim set. The order is fixed so that golden tests can read it.
func (m Minter) claims(a Access) []byte {
	o := newObject()
	o.text("iss", m.Issuer)
	o.text("sub", a.Subject)
	if len(a.Audience) == 1 {
		o.text("aud", a.Audience[0])
	} else {
		o.list("aud", a.Audience)
	}
	o.seconds("exp", a.Expires)
	o.seconds("iat", a.IssuedAt)
	o.text("jti", a.ID)
	o.text("client_id", string(a.Client))
	o.text("scope", a.Scope)
	if a.SID != "" {
		o.text("sid", a.SID)
		o.integer("epoch", int64(a.Epoch))
		o.text("grant", a.Grant)
		o.seconds("auth_time", a.AuthTime)
		o.text("acr", a.ACR)
		o.list("amr", a.AMR)
	}
	if a.EdX != nil {
		o.edx(a.Scope, *a.EdX)
	}
	if a.Pair != nil {
		o.pair(*a.Pair)
	}
	return o.close()
}

// sign makes a compact JWS (RFC 7515 section 7.1) in one buffer.
func sign(s key.Signer, typ string, claims []byte) (secret.Text, error) {
	header := s.Header(typ)
	out := make([]byte, 0, len(header)+b64.EncodedLen(len(claims))+2+512)
	out = append(out, header...)
	out = append(out, '.')
	out = b64.AppendEncode(out, claims)
	sig, err := s.Sign(out)
	if err != nil {
		return secret.Text{}, err
	}
	out = append(out, '.')
	out = b64.AppendEncode(out, sig)
	return secret.New(string(out)), nil
}
