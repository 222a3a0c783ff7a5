package edx

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/form"
)

// The cookies of an Open edX, by the names its pages know them by.
const (
	// sessionCookie is the web session, csrfCookie what pages send back in a header.
	sessionCookie = "sessionid"
	csrfCookie    = "csrftoken"
	// The two halves of a JWT: pages read the first, no script reads the second.
	payloadCookie   = "edx-jwt-cookie-header-payload"
	signatureCookie = "edx-jwt-cookie-signature"
	// loggedInCookie and userCookie tell other sites of the same domain that
	// somebody is signed in, and who.
	loggedInCookie = "edxloggedin"
	userCookie     = "edx-user-info"
)

// pageCookies are those that /login_refresh gives to pages.
var pageCookies = []string{payloadCookie, signatureCookie, loggedInCookie, userCookie}

// The limits of cookies.
const (
	// maxCookie is the largest value that is read or set, in bytes: browsers drop
	// what is larger.
	maxCookie = 4096
	// csrfLife is how long a page may keep its token.
	csrfLife = 52 * 7 * 24 * time.Hour
	// csrfSize is the length of a token, in characters.
	csrfSize = 32
)

// cookie is one Set-Cookie.
type cookie struct {
	name, value string
	// until is when it ends; in the past, it takes the cookie away.
	until, now time.Time
	// hidden is HttpOnly. shared goes to every host of CookieDomain.
	hidden, shared bool
}

// set writes a cookie. Secure follows the issuer and not the connection, which a
// proxy in front makes plain.
func (d *Door) set(w http.ResponseWriter, c cookie) {
	age := int(c.until.Sub(c.now) / time.Second)
	if age < 0 || c.value == "" {
		age = 0
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s=%s; Path=/; Max-Age=%d; Expires=%s; SameSite=Lax", c.name, c.value, age, c.until.UTC().Format(http.TimeFormat))
	if c.shared && d.CookieDomain != "" {
		b.WriteString("; Domain=" + d.CookieDomain)
	}
	if strings.HasPrefix(d.Issuer.Minter.Issuer, "https:") {
		b.WriteString("; Secure")
	}
	if c.hidden {
		b.WriteString("; HttpOnly")
	}
	w.Header().Add("Set-Cookie", b.String())
}

// drop takes a cookie away.
func (d *Door) drop(w http.ResponseWriter, name string, shared bool) {
	d.set(w, cookie{name: name, until: time.Unix(0, 0), now: d.Now(), shared: shared})
}

// freshCSRF sets a new token for forms, and returns it.
func (d *Door) freshCSRF(w http.ResponseWriter) string {
	t := rand.Text() + rand.Text()
	t = t[:csrfSize]
	now := d.Now()
	d.set(w, cookie{name: csrfCookie, value: t, until: now.Add(csrfLife), now: now})
	return t
}

// csrfToken gives a page its token: the one it has, or a new one.
func (d *Door) csrfToken(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Token string `json:"csrfToken"`
	}
	now := d.Now()
	body.Token = form.Cookie(r, csrfCookie, maxCookie).Reveal()
	if plainToken(body.Token) {
		d.set(w, cookie{name: csrfCookie, value: body.Token, until: now.Add(csrfLife), now: now})
	} else {
		body.Token = d.freshCSRF(w)
	}
	answer.JSON(w, http.StatusOK, body)
}

// plainToken reports whether a page's token looks like one of ours; what is not is
// never sent back.
func plainToken(t string) bool {
	return len(t) == csrfSize && !strings.ContainsFunc(t, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// quoted writes text as Python's http.cookies does, which is how the readers of
// these cookies unquote it.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c > 0x7e || c == ',' || c == ';':
			b.WriteByte('\\')
			b.WriteString(fmt.Sprintf("%03s", strconv.FormatInt(int64(c), 8)))
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
