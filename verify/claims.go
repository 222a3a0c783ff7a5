package verify

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"holdfast.example/verify/internal/jose"
)

// Claims is what a verified access token says (RFC 9068 section 2.2, and our
// own sid, epoch and grant). Every value was checked for its type; none was
// checked for its meaning except issuer, audience and times.
//
// Each call that verifies a token returns Claims of its own: changing them
// changes nobody else's.
type Claims struct {
	Issuer   string   // iss, the configured one
	Subject  string   // sub: the user, or the client itself (client credentials)
	Audience []string // aud, contains the configured one
	ClientID string   // client_id: the app the token was given to
	ID       string   // jti: this token
	Scope    string   // scope: what the token allows, words separated by spaces; see HasScope
	Session  string   // sid: the device's sign-in the token came from; empty if there is none

	Expires   time.Time // exp
	IssuedAt  time.Time // iat
	NotBefore time.Time // nbf; zero if not there

	// The grade of the sign-in: how it was done and when. A refresh never
	// raises it. Need checks it per route.
	ACR      string    // acr
	AMR      []string  // amr
	AuthTime time.Time // auth_time; zero if no user signed in

	Epoch int64  // epoch: the user's epoch when the credential was checked; 0 if not there
	Grant string // grant: the way the token was earned

	// Confirmation is the cnf claim as JSON text, empty for a plain bearer
	// token. Such a token is accepted only where Config.Bound says that its
	// binding is checked.
	Confirmation string

	// KeyID names the key that signed the token; empty for an opaque token.
	KeyID string

	payload string
}

// HasScope reports whether the token carries exactly this scope. The search is
// by whole words and case-sensitive (RFC 6749 section 3.3).
func (c *Claims) HasScope(scope string) bool {
	if scope == "" {
		return false
	}
	for rest := c.Scope; rest != ""; {
		var word string
		word, rest, _ = strings.Cut(rest, " ")
		if word == scope {
			return true
		}
	}
	return false
}

// Decode reads further claims into a struct, as encoding/json does. The text
// is known to be strict JSON: no name is there twice.
func (c *Claims) Decode(into any) error {
	if c.payload == "" {
		return errors.New("verify: these claims did not come from a token")
	}
	return json.Unmarshal([]byte(c.payload), into)
}

// own returns a copy that shares nothing a caller could write to.
func (c *Claims) own() *Claims {
	mine := *c
	mine.Audience = slices.Clone(c.Audience)
	mine.AMR = slices.Clone(c.AMR)
	return &mine
}

var (
	errClaimType    = errors.New("a claim of the wrong type")
	errClaimMissing = errors.New("a claim that must be there is not")
)

// parseClaims reads a payload. It checks shapes only.
func parseClaims(payload string) (*Claims, error) {
	c := &Claims{payload: payload}
	err := jose.Members(payload, c.member)
	if err != nil {
		return nil, refuse(Malformed, err)
	}
	return c, nil
}

func (c *Claims) member(name string, v jose.Value) error {
	ok := true
	switch name {
	case "iss":
		c.Issuer, ok = v.Text()
	case "sub":
		c.Subject, ok = v.Text()
	case "aud":
		c.Audience, ok = v.Texts()
	case "client_id":
		c.ClientID, ok = v.Text()
	case "jti":
		c.ID, ok = v.Text()
	case "scope":
		c.Scope, ok = v.Text()
	case "sid":
		c.Session, ok = v.Text()
	case "exp":
		c.Expires, ok = v.Seconds()
	case "iat":
		c.IssuedAt, ok = v.Seconds()
	case "nbf":
		c.NotBefore, ok = v.Seconds()
	case "auth_time":
		c.AuthTime, ok = v.Seconds()
	case "acr":
		c.ACR, ok = v.Text()
	case "amr":
		c.AMR, ok = v.Texts()
	case "epoch":
		c.Epoch, ok = v.Int()
		ok = ok && c.Epoch >= 0
	case "grant":
		c.Grant, ok = v.Text()
	case "cnf":
		c.Confirmation, ok = v.Raw(), v.IsObject()
	}
	if !ok {
		return errClaimType
	}
	return nil
}

// complete checks that everything RFC 9068 section 2.2 requires is there.
func (c *Claims) complete() error {
	if c.Issuer == "" || c.Subject == "" || len(c.Audience) == 0 || c.ClientID == "" || c.ID == "" ||
		c.Expires.IsZero() || c.IssuedAt.IsZero() {
		return refuse(Malformed, errClaimMissing)
	}
	return nil
}

// inTime checks exp, nbf and iat at now. At exp + skew the token is over
// (RFC 7519 section 4.1.4: "on or after"); before nbf - skew or iat - skew it
// is not there yet.
func (c *Claims) inTime(now time.Time, skew time.Duration) error {
	if !now.Before(c.Expires.Add(skew)) {
		return refuse(Expired, nil)
	}
	if now.Add(skew).Before(c.NotBefore) || now.Add(skew).Before(c.IssuedAt) {
		return refuse(NotYet, nil)
	}
	return nil
}
