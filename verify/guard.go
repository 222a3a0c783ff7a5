package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// GuardConfig says how requests are let in. Tokens is enough.
type GuardConfig struct {
	// Tokens checks access tokens: a *Verifier, or *Issuers. Required.
	Tokens Checker

	// Realm names the protected space in challenges (RFC 9110 section 11.5).
	// Optional.
	Realm string

	// ResourceMetadata is the URL of this service's protected resource
	// metadata (RFC 9728), named in challenges so that clients can find the
	// authorization server. Optional; see ResourceMetadata for serving it.
	ResourceMetadata string

	// AcceptForm also accepts access_token in a form body (RFC 6750 section
	// 2.2), of 64 KiB at most. The query is never accepted.
	AcceptForm bool

	// Cookie is the name of a cookie that also brings an access token, for pages on the
	// same site: "__Host-holdfast" on the server's own host, "__Secure-holdfast" where
	// the server's cookie_domain is set, "holdfast" over plain http on loopback. The
	// Authorization header wins, and needs nothing more. With the cookie every method
	// but GET, HEAD and OPTIONS must come from this service's own origin or one of
	// Origins, and show the cookie named like this one with "-csrf" at its end in the
	// header X-CSRF-Token; otherwise it is refused as Forged. So a handler must change
	// nothing on GET. Optional.
	Cookie string

	// Origins are the origins whose pages may send Cookie with unsafe methods, as
	// "https://app.example.com". Optional; the CORS middleware must let them send
	// credentials and the header X-CSRF-Token.
	Origins []string

	// PassPreflight lets CORS preflight requests through to the handler:
	// browsers send them without credentials. Set it if the CORS middleware
	// sits inside the guard; outside is better.
	PassPreflight bool

	// Proof checks that the sender of a request holds the key its token is
	// bound to (cnf). It is called for bound tokens only, and they are refused
	// without it. It returns an *Error of kind Bound for a proof that is missing
	// or wrong; any other error is answered with 503. It is the place for DPoP (RFC 9449) and mutual TLS (RFC
	// 8705).
	Proof func(r *http.Request, token string, c *Claims) error

	// OnRefusal is told about every request that is not let in, for logs and
	// metrics: count by KindOf(err). It must not write the request's headers
	// to a log, they hold the token.
	OnRefusal func(r *http.Request, err error)

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Need says what a route asks of a token beyond being good. The zero value
// asks nothing more.
type Need struct {
	// Scope is the scopes that must all be there, separated by spaces.
	Scope string

	// ACR is the authentication context classes of which the sign-in must have
	// one (RFC 9470), the preferred first. Empty means any.
	ACR []string

	// MaxAge is how long ago the user may have signed in at most: a stolen
	// phone that is still signed in cannot do what needs a fresh sign-in. Zero
	// means any time. Clocks get no allowance here: the user is asked to sign
	// in a little too early rather than too late.
	MaxAge time.Duration
}

// Guard is net/http middleware: it lets requests with a good token in and
// answers the others as RFC 6750 and RFC 9470 say. Make it once, with
// NewGuard; it is safe for concurrent use.
type Guard struct {
	config  GuardConfig
	cookies *cookieGuard
}

// NewGuard makes a Guard.
func NewGuard(config GuardConfig) (*Guard, error) {
	if config.Tokens == nil {
		return nil, errors.New("verify: GuardConfig.Tokens is nil; set it to the Verifier that New made")
	}
	if !quotable(config.Realm) || !quotable(config.ResourceMetadata) {
		return nil, errors.New(`verify: GuardConfig.Realm and ResourceMetadata must be printable ASCII without " and \`)
	}
	cookies, err := newCookieGuard(config)
	if err != nil {
		return nil, err
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Guard{config: config, cookies: cookies}, nil
}

// Protect returns a handler that calls next for requests that carry a good
// token which meets need; FromContext gives next the claims. It panics if need
// cannot be written into a challenge, as ServeMux does for a bad pattern: it
// is a mistake in the program, found at start.
func (g *Guard) Protect(need Need, next http.Handler) http.Handler {
	err := need.check()
	if err != nil {
		panic(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.config.PassPreflight && preflight(r) {
			next.ServeHTTP(w, r)
			return
		}
		c, err := g.Check(r, need)
		if err != nil {
			g.Refuse(w, r, need, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), c)))
	})
}

// Check returns the claims of the request's token if it is good and meets
// need. It and Refuse are Protect in two halves, for other frameworks.
func (g *Guard) Check(r *http.Request, need Need) (*Claims, error) {
	token, err := bearerToken(r, g.config.AcceptForm)
	if err == nil && token == "" && g.cookies != nil {
		token, err = g.cookies.token(r)
	}
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, refuse(NoToken, nil)
	}
	now := g.config.Now()
	c, err := g.config.Tokens.Verify(r.Context(), token, now)
	if err != nil {
		return nil, err
	}
	if c.Confirmation != "" {
		if g.config.Proof == nil {
			return nil, refuse(Bound, nil)
		}
		err = g.config.Proof(r, token, c)
		if err != nil {
			return nil, classified(err)
		}
	}
	err = need.met(c, now)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// met decides whether a good token is enough. Scope comes first: a new sign-in
// does not add one.
func (n Need) met(c *Claims, now time.Time) error {
	for _, scope := range strings.Fields(n.Scope) {
		if !c.HasScope(scope) {
			return refuse(InsufficientScope, nil)
		}
	}
	if len(n.ACR) > 0 && !slices.Contains(n.ACR, c.ACR) {
		return refuse(InsufficientGrade, nil)
	}
	if n.MaxAge > 0 && (c.AuthTime.IsZero() || now.Sub(c.AuthTime) > n.MaxAge) {
		return refuse(InsufficientGrade, nil)
	}
	return nil
}

// check refuses what could not be written into a header.
func (n Need) check() error {
	if !quotable(n.Scope) {
		return fmt.Errorf("verify: Need.Scope %q is not a list of scopes", n.Scope)
	}
	for _, acr := range n.ACR {
		if acr == "" || !quotable(acr) || strings.Contains(acr, " ") {
			return fmt.Errorf("verify: Need.ACR %q is not one authentication context class", acr)
		}
	}
	if n.MaxAge < 0 || n.MaxAge%time.Second != 0 {
		return fmt.Errorf("verify: Need.MaxAge is %v; it must be whole seconds (RFC 9470)", n.MaxAge)
	}
	return nil
}

// quotable reports whether text can stand between the quotes of an
// auth-param as it is (RFC 6750 section 3 and RFC 9110 section 5.6.4).
func quotable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

type contextKey struct{}

// NewContext returns a context that carries claims. Protect does it for
// handlers; tests of handlers do it themselves.
func NewContext(ctx context.Context, c *Claims) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// FromContext returns the claims of the request's token. ok is false where no
// Guard stood in the way.
func FromContext(ctx context.Context) (c *Claims, ok bool) {
	c, ok = ctx.Value(contextKey{}).(*Claims)
	return c, ok
}
