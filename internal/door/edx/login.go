package edx

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/secret"
)

// The refusals of the swap from access token to cookie, which apps read.
var (
	accountDisabled = coded{"account_disabled", "User account is disabled."}
	notSupported    = coded{"non_supported_token", "Only access tokens with grant type password are supported."}
	notAsymmetric   = coded{"non_asymmetric_token", "Only asymmetric jwt are supported."}
)

// login swaps an access token for the cookie of a WebView. The token comes in a
// header that no page can set for another origin, so there is nothing to forge;
// the answer has no body, and no cookie holds a token.
func (d *Door) login(w http.ResponseWriter, r *http.Request) {
	web, ok := d.swapped(w, r)
	if !ok {
		return
	}
	d.signedIn(w, r, web)
	answer.Empty(w, http.StatusNoContent)
}

// signedIn sets the cookies of a web session, and takes away what pages read of the
// one that was there before: it may have been somebody else's. Pages fetch their own.
func (d *Door) signedIn(w http.ResponseWriter, r *http.Request, web grant.Web) {
	for _, name := range pageCookies {
		if len(r.CookiesNamed(name)) > 0 {
			d.drop(w, name, true)
		}
	}
	d.set(w, cookie{name: sessionCookie, value: web.Cookie.Reveal(), until: web.Expires, now: web.Now, hidden: true})
	d.freshCSRF(w)
}

// swapped opens the web session of the device whose access token came. When it
// answers false, the refusal is written.
func (d *Door) swapped(w http.ResponseWriter, r *http.Request) (web grant.Web, done bool) {
	c, ok, err := presented(r.Header)
	if err == nil && !ok {
		err = notProvided()
	}
	if err == nil && symmetric(c.token) {
		err = &refusal{http.StatusUnauthorized, notAsymmetric, fault.New(fault.InvalidToken, "the token is signed with a shared secret")}
	}
	if err != nil {
		d.turnAway(w, r, schemeBearer, err)
		return web, false
	}
	b, err := d.Issuer.Shown(r.Context(), c.token)
	switch e := fault.As(err); {
	case err == nil:
	case e.Kind == fault.InvalidToken && e.Reason == fault.Disabled:
		d.turnAway(w, r, schemeBearer, &refusal{http.StatusUnauthorized, accountDisabled, e})
		return web, false
	default:
		d.turnAway(w, r, schemeBearer, d.refusedToken(r.Context(), c, e))
		return web, false
	}
	ctx := audit.As(r.Context(), audit.Who{Actor: audit.ByUser, ID: b.User.String(), Via: b.Access.Client, From: d.From(r)})
	web, err = d.Issuer.OpenWeb(ctx, b, form.Cookie(r, sessionCookie, maxCookie))
	if errors.Is(err, grant.ErrNotForWeb) {
		err = &refusal{http.StatusUnauthorized, notSupported, fault.As(err)}
	}
	if err != nil {
		d.turnAway(w, r, schemeBearer, err)
		return web, false
	}
	return web, true
}

// symmetric reports whether a token says that it is signed with a shared secret.
// This server holds none, so nothing more needs to be known about it.
func symmetric(t secret.Text) bool {
	head, rest, ok := strings.Cut(t.Reveal(), ".")
	if !ok || strings.Count(rest, ".") != 1 {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(head)
	var h struct {
		Alg string `json:"alg"`
	}
	return err == nil && json.Unmarshal(b, &h) == nil && strings.HasPrefix(h.Alg, "HS")
}
