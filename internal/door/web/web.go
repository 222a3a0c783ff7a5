// Package web owns the door for applications that live in a browser on the same
// site: it keeps their tokens in cookies that no script can read.
//
//	GET   /web/v1/session                who is signed in here, if anybody; never a token
//	POST  /web/v1/sign-in                user name and password → cookies
//	POST  /web/v1/refresh                refresh cookie → the next cookies
//	POST  /web/v1/sign-out               ends the session, takes the cookies away
//	POST  /web/v1/sign-out-everywhere    the same for every device of the user
//
// Bodies and answers are JSON; refusals are problem documents (RFC 9457). Every POST
// shows the CSRF token, and comes from this server's own origin or a registered one
// of its client.
//
// It does not own what a sign-in is worth or how long it lasts (room grant), nor the
// life of the refresh chain (room session).
package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/client"
	"holdfast.example/internal/cors"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/problem"
	"holdfast.example/internal/secret"
)

// Door is cookie mode.
type Door struct {
	Issuer *grant.Issuer
	// From tells the caller's address, which depends on trusted proxies.
	From func(*http.Request) netip.Addr
	// Note, when set, hears of every fault that leaves through this door.
	Note func(*http.Request, *fault.Error)
	// CookieDomain is the domain whose hosts all get the access cookie, for APIs beside
	// this host; "" keeps it to this host.
	CookieDomain string
}

// Mux is the part of a router a door needs. Every path is registered with and
// without its trailing slash, and a POST is never redirected.
type Mux interface {
	Handle(path string, h http.Handler)
}

const (
	root = "/web/v1/"
	// refreshPath is the only path that the refresh cookie is sent to.
	refreshPath = root + "refresh"
	// maxBody is the largest body, in bytes: a password at its longest, every
	// character escaped.
	maxBody = 16 << 10
)

// Mount registers the door's routes.
func (d *Door) Mount(m Mux) {
	m.Handle(root+"session", d.shared(http.MethodGet, d.session))
	m.Handle(root+"sign-in", d.shared(http.MethodPost, d.signIn))
	m.Handle(refreshPath, d.shared(http.MethodPost, d.refresh))
	m.Handle(root+"sign-out", d.shared(http.MethodPost, d.ends(fault.SignedOut)))
	m.Handle(root+"sign-out-everywhere", d.shared(http.MethodPost, d.ends(fault.Everywhere)))
}

// What scripts of other origins may send and read (room cors).
const (
	askedHeaders = "Content-Type, " + CSRFHeader
	toldHeaders  = "Retry-After, " + answer.ReasonHeader
)

// shared lets pages of registered origins call an endpoint with their cookies, and
// turns every other method away with Allow (RFC 9110 section 15.5.6).
func (d *Door) shared(method string, h func(http.ResponseWriter, *http.Request) error) http.Handler {
	methods := []string{method}
	if method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	allow := strings.Join(methods, ", ")
	rule := cors.Rule{Allows: d.trusts, Credentials: d.trusts, Methods: methods, Asked: askedHeaders, Told: toldHeaders}
	return rule.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", allow)
			d.refuse(w, r, fault.Newf(fault.MethodNotAllowed, "use %s", allow))
			return
		}
		err := h(w, r)
		if err != nil {
			d.refuse(w, r, err)
		}
	}))
}

// trusts reports whether pages of an origin act for the users of any application
// here. Whether they are those of the session's own application, each endpoint asks.
func (d *Door) trusts(origin string) bool {
	if !d.Issuer.Clients.AllowsOrigin(origin) {
		return false
	}
	return slices.ContainsFunc(d.Issuer.Clients.All(), func(c client.Client) bool { return serves(c, origin) })
}

// serves reports whether an origin is one of a client that may use this door.
func serves(c client.Client, origin string) bool {
	return c.FirstParty && c.Type == client.Public && !c.Disabled && c.AllowsOrigin(origin)
}

// Trusts is for the other doors of this server that take the access cookie: it
// reports whether a browser may send it to them from an origin.
func (d *Door) Trusts(origin string) bool { return d.trusts(origin) }

// Token reads the access token of a request to another door of this server: from the
// Authorization header, or from the cookie. The header wins; what comes by the cookie
// must prove that a page of ours sent it, unless the method is safe, and is not for
// the pages of another application: where an origin came, the token is looked at for
// whose it is. Errors are *fault.Error: NoToken, InvalidRequest, Forbidden, or
// Unavailable.
func (d *Door) Token(r *http.Request) (secret.Text, error) {
	t, err := form.Bearer(r.Header)
	if !fault.Is(err, fault.NoToken) {
		return t, err
	}
	t = form.Cookie(r, d.names().access, maxCookie)
	if t.Empty() {
		return t, err
	}
	err = d.genuine(r, d.trusts)
	if origin := r.Header["Origin"]; err != nil || len(origin) == 0 || len(origin) == 1 && origin[0] == d.own() {
		return t, err
	}
	b, err := d.Issuer.Shown(r.Context(), t)
	if fault.Is(err, fault.InvalidToken) {
		return t, nil // the door that asked refuses it in its own words
	}
	c, _ := d.Issuer.Clients.Get(b.Access.Client)
	if err == nil && !d.mine(r, c) {
		err = notItsPage()
	}
	return t, err
}

// notItsPage refuses the page of an application that a session is not of.
func notItsPage() error {
	return fault.Wrap(fault.Forbidden, errForged, "this request came from a page of another application")
}

// statuses is the one table from fault to status at this door. A test holds it
// complete.
var statuses = map[fault.Kind]int{
	fault.Internal: 500, fault.InvalidRequest: 400, fault.InvalidClient: 401, fault.InvalidGrant: 401,
	fault.UnauthorizedClient: 403, fault.UnsupportedGrant: 403, fault.InvalidScope: 400, fault.InvalidToken: 401,
	fault.InsufficientScope: 403, fault.NoToken: 401, fault.UnsupportedTokenType: 400, fault.Forbidden: 403,
	fault.NotFound: 404, fault.Conflict: 409, fault.MethodNotAllowed: 405, fault.UnsupportedMediaType: 415,
	fault.TooLarge: 413, fault.TooMany: 429, fault.Busy: 503, fault.Unavailable: 503, fault.LateAnswer: 503,
	fault.InvalidSubject: 401, fault.InvalidTarget: 400,
}

// refuse renders an error as a problem document. It never takes a cookie away: the
// answer may arrive after the one to a new sign-in in another tab.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.As(err)
	if d.Note != nil {
		d.Note(r, e)
	}
	status := statuses[e.Kind]
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+d.Issuer.Minter.Issuer+`"`)
	}
	if e.Cause == errForged {
		problem.Render(w, e, status, problem.Problem{Type: forgedType, Title: http.StatusText(status), Status: status, Detail: e.Words})
		return
	}
	problem.Refuse(w, status, e)
}

// seconds is a length of time in whole seconds, none below zero.
func seconds(d time.Duration) int { return max(0, int(d/time.Second)) }
