package edx

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
)

// webScopes are the scopes of the JWT that pages read from their cookies.
const webScopes = "user_id email profile"

// refreshBody is the answer to pages that renew their cookies.
type refreshBody struct {
	Success     bool    `json:"success"`
	UserID      int64   `json:"user_id"`
	Now         float64 `json:"response_epoch_seconds"`
	Date        string  `json:"response_http_date"`
	Expires     string  `json:"expires"`
	ExpiresUnix int64   `json:"expires_epoch_seconds"`
}

// userInfo is what edx-user-info says.
type userInfo struct {
	Version  int               `json:"version"`
	Username string            `json:"username"`
	Email    string            `json:"email"`
	Header   map[string]string `json:"header_urls"`
	Images   map[string]string `json:"user_image_urls"`
}

// loginRefresh gives a page with a live web session new cookies. Pages take 401,
// and nothing else, for signed out. It needs no CSRF token, as in the original: it
// changes nothing but the caller's own cookies.
func (d *Door) loginRefresh(w http.ResponseWriter, r *http.Request) {
	web, err := d.Issuer.Web(r.Context(), form.Cookie(r, sessionCookie, maxCookie))
	if err == nil {
		err = d.refreshCookies(w, r, web)
	}
	if err == nil {
		return
	}
	e := fault.As(err)
	if e.Kind == fault.InvalidToken || e.Kind == fault.NotFound || e.Kind == fault.Forbidden {
		d.note(r, e)
		answer.Refusal(w.Header(), e, http.StatusUnauthorized)
		answer.JSON(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	d.turnAway(w, r, schemeJWT, err)
}

func (d *Door) refreshCookies(w http.ResponseWriter, r *http.Request, web grant.Web) error {
	issued, err := d.Issuer.WebToken(r.Context(), web, webScopes)
	if err != nil {
		return err
	}
	jwt := issued.AccessToken.Reveal()
	dot := strings.LastIndexByte(jwt, '.')
	if dot < 0 || dot >= maxCookie {
		return fault.New(fault.Internal, "the token does not fit into a cookie")
	}
	now, ends := web.Now, web.Now.Add(issued.ExpiresIn)
	d.set(w, cookie{name: payloadCookie, value: jwt[:dot], until: ends, now: now, shared: true})
	d.set(w, cookie{name: signatureCookie, value: jwt[dot+1:], until: ends, now: now, shared: true, hidden: true})
	d.set(w, cookie{name: loggedInCookie, value: "true", until: web.Expires, now: now, shared: true})
	info, err := json.Marshal(userInfo{1, web.User.Username, web.User.Email, map[string]string{}, map[string]string{}})
	if err != nil {
		return err
	}
	d.set(w, cookie{name: userCookie, value: quoted(string(info)), until: web.Expires, now: now, shared: true})
	answer.JSON(w, http.StatusOK, refreshBody{Success: true, UserID: web.User.Integer(), Now: float64(now.UnixMilli()) / 1000,
		Date: now.UTC().Format(http.TimeFormat), Expires: ends.UTC().Format(http.TimeFormat), ExpiresUnix: ends.Unix()})
	return nil
}

// logout ends the web session of this browser, takes its cookies away and sends it
// on. The device that the session hangs under stays signed in.
func (d *Door) logout(w http.ResponseWriter, r *http.Request) {
	err := d.Issuer.EndWeb(r.Context(), form.Cookie(r, sessionCookie, maxCookie))
	if err != nil { // a sign-out that did not happen is not answered as one
		d.turnAway(w, r, schemeJWT, err)
		return
	}
	d.drop(w, sessionCookie, false)
	for _, name := range pageCookies {
		d.drop(w, name, true)
	}
	w.Header().Set("Location", d.onward(r.URL.Query().Get("redirect_url")))
	answer.Empty(w, http.StatusFound)
}

// maxRedirect bounds the address a browser is sent on to, in bytes.
const maxRedirect = 2000

// onward is where a browser may be sent after its sign-out: a path of this host,
// or an address at a registered origin; else the front page.
func (d *Door) onward(asked string) string {
	front := "/"
	if asked == "" || len(asked) > maxRedirect || strings.ContainsFunc(asked, func(r rune) bool { return r <= 0x20 || r > 0x7e || r == '\\' }) {
		return front
	}
	u, err := url.Parse(asked)
	switch {
	case err != nil || u.User != nil:
		return front
	case u.Scheme == "" && u.Host == "" && strings.HasPrefix(asked, "/") && !strings.HasPrefix(asked, "//"):
		return asked
	}
	origin := u.Scheme + "://" + u.Host
	registered := slices.ContainsFunc(d.Issuer.Clients.All(), func(c client.Client) bool {
		return !c.Disabled && slices.Contains(c.PostLogoutURIs, asked)
	})
	if u.Host != "" && (origin == d.Issuer.Minter.Issuer || registered || d.trusts(origin)) {
		return asked
	}
	return front
}

// httpDate is a time as JSON of Open edX has it.
func httpDate(t time.Time) string { return t.UTC().Format(time.RFC3339) }
