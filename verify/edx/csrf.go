package edx

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"

	"holdfast.example/verify"
)

// meant refuses a request that rests on a cookie and fails the CSRF check.
func (c *Config) meant(r *http.Request) *refusal {
	wrong := c.csrf(r)
	if wrong == "" {
		return nil
	}
	return &refusal{kind: verify.BadRequest, status: http.StatusForbidden, detail: "CSRF Failed: " + wrong,
		cause: &verify.Error{Kind: verify.BadRequest}}
}

// csrf is the check that a request which rests on a cookie was meant by the page
// that sent it. It returns what is wrong, empty for nothing.
//
// The header must repeat the CSRF cookie, and where the browser says which page it
// was, that page must be this service's own or one of trusted. Over https a
// request that says nothing about its page is refused.
func (c *Config) csrf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return ""
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if !c.ownPage(r, origin) {
			return "Origin checking failed - " + printable(origin) + " does not match any trusted origins."
		}
	} else if c.secure(r) {
		referer := r.Header.Get("Referer")
		if referer == "" {
			return "Referer checking failed - no Referer."
		}
		if !c.ownPage(r, referer) {
			return "Referer checking failed - it does not match any trusted origins."
		}
	}
	cookie, err := r.Cookie(c.CSRFCookie)
	if err != nil || cookie.Value == "" {
		return "CSRF cookie not set."
	}
	sent := r.Header.Get(c.CSRFHeader)
	if sent == "" {
		return "CSRF token missing."
	}
	if subtle.ConstantTimeCompare([]byte(sent), []byte(cookie.Value)) != 1 {
		return "CSRF token incorrect."
	}
	return ""
}

// ownPage reports whether a page belongs to this service or is trusted.
func (c *Config) ownPage(r *http.Request, page string) bool {
	u, err := url.Parse(page)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return false
	}
	if slices.Contains(c.TrustedOrigins, u.Scheme+"://"+u.Host) {
		return true
	}
	own := "http"
	if c.secure(r) {
		own = "https"
	}
	return u.Host == r.Host && u.Scheme == own
}

// secure reports whether the browser came over https.
func (c *Config) secure(r *http.Request) bool { return r.TLS != nil || c.BehindTLS }

// printable keeps what a stranger sent from breaking the JSON or the log.
func printable(s string) string {
	const longest = 200
	if len(s) > longest {
		s = s[:longest]
	}
	b := []byte(s)
	for i, c := range b {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			b[i] = '?'
		}
	}
	return string(b)
}
