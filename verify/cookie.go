package verify

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Cookies of browser applications (docs/guide/browsers.md of Holdfast): the access
// token in one that no script reads, and beside it the token that pages of the same
// site show on unsafe methods.
const (
	// CSRFHeader is the header in which a page shows its CSRF token.
	CSRFHeader = "X-CSRF-Token"
	// csrfEnd follows the name of the access cookie in that of the CSRF cookie.
	csrfEnd = "-csrf"
	// minCSRF is the shortest CSRF token, in bytes: 16 characters of base32 hold 80
	// random bits. The server's have 32.
	minCSRF = 16
	// maxCookie is the longest cookie that is read, in bytes: browsers keep no longer
	// ones.
	maxCookie = 4096
)

// cookieGuard is how cookies are read: nil for not at all.
type cookieGuard struct {
	access, csrf string
	origins      *http.CrossOriginProtection
}

// newCookieGuard checks the part of a GuardConfig that is about cookies.
func newCookieGuard(config GuardConfig) (*cookieGuard, error) {
	if config.Cookie == "" {
		if config.Origins != nil {
			return nil, errors.New("verify: GuardConfig.Origins says whose pages may send a cookie, and Cookie names none")
		}
		return nil, nil
	}
	if strings.ContainsFunc(config.Cookie, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }) {
		return nil, fmt.Errorf("verify: GuardConfig.Cookie %q is not the name of a cookie", config.Cookie)
	}
	g := &cookieGuard{access: config.Cookie, csrf: config.Cookie + csrfEnd, origins: http.NewCrossOriginProtection()}
	for _, o := range config.Origins {
		err := g.origins.AddTrustedOrigin(o)
		if err != nil {
			return nil, fmt.Errorf("verify: GuardConfig.Origins: %w", err)
		}
	}
	return g, nil
}

// token takes the access token out of a request's cookies; the empty string is for
// none. A browser sends cookies whoever made it send the request, so a method that
// is not safe needs two proofs that a page of ours did: what the browser says, and
// the CSRF token, which pages of other sites can neither read nor put into a header.
func (g *cookieGuard) token(r *http.Request) (string, error) {
	token := oneCookie(r, g.access)
	if token == "" {
		return "", nil
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return token, nil
	}
	if len(r.Header["Origin"]) > 1 || g.origins.Check(r) != nil {
		return "", refuse(Forged, errors.New("a page of another origin sent the request; GuardConfig.Origins lists those that may"))
	}
	kept, shown := oneCookie(r, g.csrf), r.Header.Values(CSRFHeader)
	if len(kept) < minCSRF || len(shown) != 1 || subtle.ConstantTimeCompare([]byte(kept), []byte(shown[0])) != 1 {
		return "", refuse(Forged, errors.New("the CSRF token is missing or another one"))
	}
	return token, nil
}

// oneCookie reads a cookie. Two with different values are none: nobody can tell
// which one the browser's user meant.
func oneCookie(r *http.Request, name string) string {
	value := ""
	for _, c := range r.CookiesNamed(name) {
		if value != "" && c.Value != value || len(c.Value) > maxCookie {
			return ""
		}
		value = c.Value
	}
	return value
}
