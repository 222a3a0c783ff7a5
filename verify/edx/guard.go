package edx

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"holdfast.example/verify"
)

// The names of Open edX, which Config may change.
const (
	DefaultRealm         = "api"
	DefaultHeaderPayload = "edx-jwt-cookie-header-payload"
	DefaultSignature     = "edx-jwt-cookie-signature"
	DefaultCSRFCookie    = "csrftoken"
	DefaultCSRFHeader    = "X-CSRFToken"
)

// Config says how requests are let in. Tokens is enough.
type Config struct {
	// Tokens checks access tokens: a *verify.Verifier, or *verify.Issuers. With
	// verify.Config.Opaque set, opaque tokens are accepted too, under either scheme
	// word: an app that asked for a JWT and got an opaque token still says JWT.
	// Required.
	Tokens verify.Checker

	// Session finds the user of the service's own session cookie, for requests that
	// have no token or a cookie pair that failed. Nil: there is no such session.
	Session func(*http.Request) (username string, ok bool)

	// Realm is the realm of challenges; "" is "api".
	Realm string

	// HeaderPayloadCookie and SignatureCookie are the halves of the token that
	// micro-frontends carry in cookies, CSRFCookie and CSRFHeader what must agree
	// when they do. "" is the name of Open edX.
	HeaderPayloadCookie, SignatureCookie, CSRFCookie, CSRFHeader string

	// TrustedOrigins are pages on other hosts that may send unsafe requests with
	// cookies, as "https://apps.example.com".
	TrustedOrigins []string

	// BehindTLS: a proxy ends TLS before this service, so that the browser came over
	// https although the request does not say so.
	BehindTLS bool

	// OnRefusal is told about every request that is not let in; count by
	// verify.KindOf(err). The request's headers hold tokens and belong in no log.
	OnRefusal func(r *http.Request, err error)

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Guard is net/http middleware. Make it once, with NewGuard; it is safe for
// concurrent use.
type Guard struct{ config Config }

// NewGuard makes a Guard.
func NewGuard(config Config) (*Guard, error) {
	if config.Tokens == nil {
		return nil, errors.New("edx: Config.Tokens is nil; set it to the Verifier that verify.New made")
	}
	for _, name := range []struct {
		is   *string
		word string
	}{
		{&config.Realm, DefaultRealm}, {&config.HeaderPayloadCookie, DefaultHeaderPayload}, {&config.SignatureCookie, DefaultSignature},
		{&config.CSRFCookie, DefaultCSRFCookie}, {&config.CSRFHeader, DefaultCSRFHeader},
	} {
		if *name.is == "" {
			*name.is = name.word
		}
	}
	if printable(config.Realm) != config.Realm {
		return nil, errors.New(`edx: Config.Realm must be printable ASCII without " and \`)
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Guard{config: config}, nil
}

// Protect returns a handler that calls next for requests that are signed in and
// meet need; FromContext gives next the user.
func (g *Guard) Protect(need Need, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, err := g.Check(r, need)
		if err != nil {
			g.Refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), u)))
	})
}

// Check returns the user of the request if there is one who meets need. It and
// Refuse are Protect in two halves, for other frameworks.
func (g *Guard) Check(r *http.Request, need Need) (*User, error) {
	u, no := g.who(r)
	if no == nil {
		no = need.met(r, u)
	}
	if no != nil {
		return nil, no
	}
	return u, nil
}

// who finds the user: the header, whose failure is final; then the cookie pair,
// whose failure is forgiven; then the service's own session.
func (g *Guard) who(r *http.Request) (*User, *refusal) {
	if token, ok := headerToken(r.Header.Values("Authorization")); ok {
		return g.verified(r, token, ViaHeader)
	}
	session, signedIn := "", false
	if g.config.Session != nil {
		session, signedIn = g.config.Session(r)
	}
	if token, ok := g.cookieToken(r); ok {
		u, no := g.verified(r, token, ViaCookie)
		if no == nil {
			no = g.config.meant(r)
		}
		if name := unverifiedName(token); signedIn && name != "" && !strings.EqualFold(name, session) {
			// Two people in one browser: whose request it is, nobody can tell.
			return nil, &refusal{kind: verify.Malformed, detail: "Failing JWT authentication due to session user mismatch with JWT cookie user.",
				cause: &verify.Error{Kind: verify.Malformed}}
		}
		if no == nil {
			return u, nil
		}
		if no.status == http.StatusServiceUnavailable && !signedIn {
			return nil, no
		}
	}
	if signedIn {
		return &User{Username: session, Via: ViaSession}, g.config.meant(r)
	}
	return nil, &refusal{kind: verify.NoToken, detail: absentDetail, cause: &verify.Error{Kind: verify.NoToken}}
}

// verified checks one token.
func (g *Guard) verified(r *http.Request, token string, via Via) (*User, *refusal) {
	c, err := g.config.Tokens.Verify(r.Context(), token, g.config.Now())
	opaque := strings.HasPrefix(token, verify.OpaquePrefix)
	if err == nil && c.Confirmation != "" {
		err = &verify.Error{Kind: verify.Bound} // nothing here checks the proof
	}
	if err != nil {
		return nil, refused(err, opaque)
	}
	return userOf(c, via)
}

// headerToken takes the token out of an Authorization header under either scheme
// word. Anything that is not one scheme and one token is not for us, as in
// drf-jwt, and the cookies are looked at.
func headerToken(values []string) (string, bool) {
	if len(values) != 1 {
		return "", false
	}
	words := strings.Fields(values[0])
	if len(words) != 2 || !strings.EqualFold(words[0], "JWT") && !strings.EqualFold(words[0], "Bearer") {
		return "", false
	}
	return words[1], true
}

// cookieToken puts the two halves together.
func (g *Guard) cookieToken(r *http.Request) (string, bool) {
	front, err := r.Cookie(g.config.HeaderPayloadCookie)
	if err != nil || front.Value == "" {
		return "", false
	}
	signature, err := r.Cookie(g.config.SignatureCookie)
	if err != nil || signature.Value == "" {
		return "", false
	}
	return front.Value + "." + signature.Value, true
}

// unverifiedName is whom a token claims to be about, good or not: only to notice
// that it is somebody else than the session's user.
func unverifiedName(token string) string {
	if len(token) > verify.MaxToken {
		return ""
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var c claims
	if json.Unmarshal(b, &c) != nil {
		return ""
	}
	if c.PreferredUsername != "" {
		return c.PreferredUsername
	}
	return c.Username
}
