package web

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// AccessCookie is the name of the access cookie, without the prefix that says to
// browsers who may set it (RFC 6265bis section 4.1.3). The CSRF cookie and the
// readable one have the same name with an end of their own.
const AccessCookie = "holdfast"

const (
	csrfEnd = "-csrf"
	// userEnd is of the cookie that scripts read: who is signed in, and until when.
	userEnd = "-user"
	// refreshCookie is sent to refreshPath alone.
	refreshCookie = "holdfast-refresh"
)

// The limits of cookies.
const (
	// maxCookie is the largest value that is read or set, in bytes: browsers drop a
	// cookie whose name and value are longer than 4096.
	maxCookie = 4000
	// longestCookie is what browsers cut a longer life to (RFC 6265bis section 5.5).
	longestCookie = 400 * 24 * time.Hour
	// csrfSize is the length of a CSRF token, in characters of base32.
	csrfSize = 32
)

// names are the cookies' names under the settings.
type names struct{ access, csrf, user, refresh string }

// names follow the issuer and not the connection, which a proxy in front makes
// plain. Over plain http, on loopback, no prefix is allowed.
func (d *Door) names() names {
	host, path := "", ""
	switch {
	case !d.secure():
	case d.CookieDomain == "":
		host, path = "__Host-", "__Secure-"
	default: // __Host- allows no Domain
		host, path = "__Secure-", "__Secure-"
	}
	return names{access: host + AccessCookie, csrf: host + AccessCookie + csrfEnd, user: host + AccessCookie + userEnd, refresh: path + refreshCookie}
}

func (d *Door) secure() bool { return strings.HasPrefix(d.Issuer.Minter.Issuer, "https:") }

// cookie is one Set-Cookie.
type cookie struct {
	name, value string
	// life is the Max-Age: nil for a cookie that the browser forgets when it is closed,
	// 0 to take one away.
	life *time.Duration
	// hidden is HttpOnly.
	hidden bool
}

// set writes a cookie. All are SameSite=Strict: nothing here is meant to be reached
// by a link from elsewhere, and the pages of this site send them with every request
// of their own. What takes a cookie away has the attributes of what set it, or the
// browser would keep the old one.
func (d *Door) set(w http.ResponseWriter, c cookie) {
	h := http.Cookie{Name: c.name, Value: c.value, Path: "/", Secure: d.secure(), HttpOnly: c.hidden, SameSite: http.SameSiteStrictMode}
	if c.name == d.names().refresh {
		h.Path = refreshPath
	} else {
		h.Domain = d.CookieDomain
	}
	if c.life != nil {
		h.MaxAge = seconds(min(*c.life, longestCookie))
		if h.MaxAge == 0 {
			h.MaxAge = -1 // net/http's word for Max-Age=0
		}
	}
	w.Header().Add("Set-Cookie", h.String())
}

// signedIn sets the cookies of what was issued. Those of a visit have no Max-Age;
// the others live as long as what they stand for.
func (d *Door) signedIn(w http.ResponseWriter, issued grant.Issued, who id.Client, whose person, csrf string) error {
	refresh := pack(issued.RefreshToken, who)
	shown, err := json.Marshal(whose)
	user := url.PathEscape(string(shown))
	if err != nil || len(issued.AccessToken.Reveal()) > maxCookie || len(refresh.Reveal()) > maxCookie || len(user) > maxCookie {
		return fault.Wrap(fault.Internal, err, "the tokens of this client do not fit into cookies; give it fewer scopes, or opaque access tokens")
	}
	var access, all *time.Duration
	if !issued.Visit {
		life := longestCookie
		if !issued.Until.IsZero() {
			life = issued.Until.Sub(issued.Now)
		}
		access, all = &issued.ExpiresIn, &life
	}
	n := d.names()
	d.set(w, cookie{n.access, issued.AccessToken.Reveal(), access, true})
	d.set(w, cookie{n.refresh, refresh.Reveal(), all, true})
	d.set(w, cookie{n.user, user, all, false})
	d.set(w, cookie{n.csrf, csrf, all, false})
	return nil
}

// signedOut takes all cookies away.
func (d *Door) signedOut(w http.ResponseWriter) {
	var gone time.Duration
	n := d.names()
	for _, c := range []cookie{{n.access, "", &gone, true}, {n.refresh, "", &gone, true}, {n.user, "", &gone, false}, {n.csrf, "", &gone, false}} {
		d.set(w, c)
	}
}

// between stands between a refresh token and the name of its client.
const between = "~"

// pack writes a refresh cookie: the token, and whose it is, so that a renewal needs
// no body and no look-up. A wrong name earns nothing: the chain refuses it.
func pack(t secret.Text, who id.Client) secret.Text {
	return secret.New(t.Reveal() + between + base64.RawURLEncoding.EncodeToString([]byte(who)))
}

// unpack reads a refresh cookie; ok is false for anything else.
func unpack(c secret.Text) (t secret.Text, who id.Client, ok bool) {
	token, name, found := strings.Cut(c.Reveal(), between)
	b, err := base64.RawURLEncoding.Strict().DecodeString(name)
	if !found || err != nil || token == "" || len(b) == 0 {
		return secret.Text{}, "", false
	}
	return secret.New(token), id.Client(b), true
}

// newCSRF makes a CSRF token.
func newCSRF() string { return (rand.Text() + rand.Text())[:csrfSize] }
