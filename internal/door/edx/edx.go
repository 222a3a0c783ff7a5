// Package edx owns the door for the apps of an Open edX: its paths, its shapes
// and its words, so that phones and pages in the field move over by a change of
// the host name.
//
//	POST  /oauth2/access_token                      form; JWT or opaque
//	POST  /oauth2/revoke_token                      form
//	POST  /oauth2/exchange_access_token/{backend}   form; another provider's token → tokens
//	POST  /oauth2/login                             access token → cookie of a WebView
//	POST  /oauth2/login/ticket                      access token → a link that works once
//	GET   /oauth2/login/ticket?ticket=&next=        the link: cookie of a WebView, and on
//	GET   /api/mobile/v0.5/my_user_info             who am I, for apps
//	GET   /api/mobile/v0.5/users/{username}
//	GET   /api/user/v1/accounts/{username}          who am I, for pages
//	POST  /login_refresh                            cookie → cookies with a JWT
//	GET   /csrf/api/v1/token
//	GET   /logout
//
// Every path answers with and without its trailing slash. Bodies are those of the
// original byte by byte, where its clients read them; what we do differently, and
// why, is docs/adr/0014-open-edx-differences.md.
//
// It does not own what a grant is worth, nor the life of a web session (room
// grant), nor the standard endpoints (door oauth).
package edx

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/client"
	"holdfast.example/internal/cors"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
)

// Door is the Open edX door.
type Door struct {
	Issuer *grant.Issuer
	// From tells the caller's address, which depends on trusted proxies.
	From func(*http.Request) netip.Addr
	// Note, when set, hears of every fault that leaves through this door.
	Note func(*http.Request, *fault.Error)
	// CookieDomain is the domain of the cookies that other applications read, "" for
	// this host alone.
	CookieDomain string
	// Now is the time of the dates in answers and cookies.
	Now func() time.Time
}

// Mux is the part of a router a door needs. Every path is registered with and
// without its trailing slash, and a POST is never redirected.
type Mux interface {
	Handle(path string, h http.Handler)
}

// Mount registers the door's routes.
func (d *Door) Mount(m Mux) {
	m.Handle("/oauth2/access_token", d.only(d.token, emptyBody, http.MethodPost))
	m.Handle("/oauth2/revoke_token", d.only(d.revoke, emptyBody, http.MethodPost))
	m.Handle("/oauth2/exchange_access_token/{backend}", d.only(d.exchange, detailBody, http.MethodPost))
	m.Handle("/oauth2/login", d.only(d.login, detailBody, http.MethodPost))
	m.Handle("/oauth2/login/ticket", d.only(d.ticket, detailBody, http.MethodPost, http.MethodGet))
	m.Handle("/api/mobile/v0.5/my_user_info", d.pages(d.myUserInfo, detailBody, http.MethodGet))
	m.Handle("/api/mobile/v0.5/users/{username}", d.pages(d.mobileUser, detailBody, http.MethodGet))
	m.Handle("/api/user/v1/accounts/{username}", d.pages(d.account, detailBody, http.MethodGet))
	m.Handle("/login_refresh", d.pages(d.loginRefresh, emptyBody, http.MethodPost))
	m.Handle("/csrf/api/v1/token", d.pages(d.csrfToken, detailBody, http.MethodGet))
	m.Handle("/logout", d.only(d.logout, emptyBody, http.MethodGet))
}

// wrongMethod answers a method that a path does not have.
type wrongMethod func(w http.ResponseWriter, method string)

// emptyBody is the answer of plain Django views.
func emptyBody(w http.ResponseWriter, _ string) { answer.Empty(w, http.StatusMethodNotAllowed) }

// detailBody is the answer of Django REST framework views.
func detailBody(w http.ResponseWriter, method string) {
	answer.JSON(w, http.StatusMethodNotAllowed, detail{"Method " + strconv.Quote(answer.Printable(method)) + " not allowed."})
}

// only answers OPTIONS and turns every method that the path does not have away.
func (d *Door) only(h http.HandlerFunc, wrong wrongMethod, methods ...string) http.Handler {
	allowed := slices.Clone(methods)
	if slices.Contains(methods, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	allow := strings.Join(append(allowed, http.MethodOptions), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case slices.Contains(allowed, r.Method):
			h(w, r)
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", allow)
			answer.Empty(w, http.StatusOK)
		default:
			w.Header().Set("Allow", allow)
			d.note(r, fault.Newf(fault.MethodNotAllowed, "use %s", allow))
			wrong(w, r.Method)
		}
	})
}

// What pages of other hosts may send and read (room cors).
const (
	askedHeaders = "Authorization, Content-Type, USE-JWT-COOKIE, X-CSRFToken"
	toldHeaders  = "Retry-After, " + answer.ReasonHeader
)

// pages is only for paths that micro-frontends call with their cookies: the
// registered origins of first-party Open edX clients, byte for byte, may do so.
func (d *Door) pages(h http.HandlerFunc, wrong wrongMethod, methods ...string) http.Handler {
	return cors.Rule{Allows: d.trusts, Credentials: d.trusts, Methods: methods, Asked: askedHeaders, Told: toldHeaders}.Wrap(d.only(h, wrong, methods...))
}

// trusts reports whether pages of an origin act for the user: an answer with
// credentials shows them who he is.
func (d *Door) trusts(origin string) bool {
	if !d.Issuer.Clients.AllowsOrigin(origin) {
		return false
	}
	return slices.ContainsFunc(d.Issuer.Clients.All(), func(c client.Client) bool {
		return c.FirstParty && !c.Disabled && c.Claims == client.OpenEdX && c.AllowsOrigin(origin)
	})
}

func (d *Door) note(r *http.Request, e *fault.Error) {
	if d.Note != nil {
		d.Note(r, e)
	}
}
