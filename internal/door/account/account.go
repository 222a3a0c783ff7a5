// Package account owns the device API: JSON under /account/v1, with which a
// signed-in device looks after its user's sign-ins. A door parses, calls,
// renders; it holds no policy and no SQL.
//
//	GET     /account/v1/me                     who am I
//	GET     /account/v1/sessions               my devices, or those that ended
//	PATCH   /account/v1/sessions/{sid}         another name
//	DELETE  /account/v1/sessions/{sid}         sign one out
//	POST    /account/v1/sessions/end-others    sign out all but this one
//	POST    /account/v1/sessions/end-all       sign out everywhere
//	POST    /account/v1/password               change the password
//	GET     /account/v1/events                 what happened
//	GET     /account/v1/openapi.yaml           the description of all this
//
// It does not own who may look after whose account (room grant), how JSON is
// read and refused (room problem) or what happened (room audit).
package account

import (
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"holdfast.example/docs/reference/openapi"
	"holdfast.example/internal/answer"
	"holdfast.example/internal/audit"
	"holdfast.example/internal/cors"
	"holdfast.example/internal/cursor"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/form"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/problem"
	"holdfast.example/internal/secret"
)

// Door is the device API.
type Door struct {
	Issuer *grant.Issuer
	// Keys seal the cursors of lists.
	Keys cursor.Keys
	// From tells the caller's address, which depends on trusted proxies.
	From func(*http.Request) netip.Addr
	// Token, when set, reads the access token of a request in another way than from
	// the Authorization header alone; Cookies reports from which origins a browser may
	// send a cookie along that it reads.
	Token   func(*http.Request) (secret.Text, error)
	Cookies func(origin string) bool
	// Note, when set, hears of every fault that leaves through this door.
	Note func(*http.Request, *fault.Error)
}

// The limits of one request.
const (
	// MaxBody is the largest body, in bytes: two passwords at their longest,
	// every character escaped.
	MaxBody = 16 << 10
	// MaxPage is the largest number of rows one list answers.
	MaxPage = 200
	// usualPage is how many it answers when nobody says.
	usualPage = 50
)

const root = "/account/v1/"

// Mux is the part of a router a door needs. Every path is registered with and
// without its trailing slash, and a POST is never redirected.
type Mux interface {
	Handle(path string, h http.Handler)
}

// ask is one request whose token was good.
type ask struct {
	*http.Request
	w     http.ResponseWriter
	owner grant.Owner
	from  netip.Addr
}

// reply is what an endpoint has to say; the zero one is 204.
type reply struct {
	body any
	// ended is set when the call ended the very sign-in it was made with.
	ended fault.Reason
}

type verb func(*ask) (reply, error)

// Mount registers the door's routes.
func (d *Door) Mount(m Mux) {
	for path, verbs := range map[string]map[string]verb{
		"me":                  {http.MethodGet: d.me},
		"sessions":            {http.MethodGet: d.sessions},
		"sessions/{sid}":      {http.MethodPatch: d.rename, http.MethodDelete: d.end},
		"sessions/end-others": {http.MethodPost: d.endOthers},
		"sessions/end-all":    {http.MethodPost: d.endAll},
		"password":            {http.MethodPost: d.password},
		"events":              {http.MethodGet: d.events},
	} {
		m.Handle(root+path, d.shared(d.owned(verbs), verbs))
	}
	m.Handle(root+"openapi.yaml", d.only(http.HandlerFunc(description), http.MethodGet))
	nothing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.refuse(w, r, fault.New(fault.NotFound, "no such endpoint"))
	})
	m.Handle(root, nothing)
	m.Handle(strings.TrimSuffix(root, "/"), nothing) // or the router would send it on
}

// What scripts of registered origins may send and read (room cors).
const (
	askedHeaders = "Authorization, Content-Type, X-CSRF-Token"
	toldHeaders  = "WWW-Authenticate, Retry-After, " + answer.ReasonHeader
)

// shared lets scripts of registered origins call an endpoint and read its answers.
func (d *Door) shared(next http.Handler, verbs map[string]verb) http.Handler {
	return cors.Rule{Allows: d.Issuer.Clients.AllowsOrigin, Credentials: d.Cookies, Methods: slices.Sorted(maps.Keys(verbs)), Asked: askedHeaders, Told: toldHeaders}.Wrap(next)
}

// only turns every other method away with Allow (RFC 9110 section 15.5.6).
// Whoever may GET may also ask for the HEAD alone.
func (d *Door) only(h http.Handler, methods ...string) http.Handler {
	if slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodHead)
	}
	slices.Sort(methods)
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", allow)
			d.refuse(w, r, fault.Newf(fault.MethodNotAllowed, "use %s", allow))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// owned answers requests of users about their own account. The token is checked
// before anything else is read, so that strangers learn nothing.
func (d *Door) owned(verbs map[string]verb) http.Handler {
	var methods []string
	for m := range verbs {
		methods = append(methods, m)
	}
	return d.only(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		a, err := d.serve(w, r, verbs[method])
		switch {
		case err != nil:
			d.refuse(w, r, err)
		case a.body != nil:
			problem.Write(w, http.StatusOK, a.body)
		default:
			if a.ended != "" {
				w.Header().Set(answer.ReasonHeader, string(a.ended))
			}
			answer.Empty(w, http.StatusNoContent)
		}
	}), methods...)
}

func (d *Door) token(r *http.Request) (secret.Text, error) {
	if d.Token != nil {
		return d.Token(r)
	}
	return form.Bearer(r.Header)
}

func (d *Door) serve(w http.ResponseWriter, r *http.Request, v verb) (reply, error) {
	t, err := d.token(r)
	if err != nil {
		return reply{}, err
	}
	o, err := d.Issuer.Owner(r.Context(), t)
	if err != nil {
		return reply{}, err
	}
	from := d.From(r)
	ctx := audit.As(r.Context(), audit.Who{Actor: audit.ByUser, ID: o.User.String(), Via: o.Client.ID, From: from})
	return v(&ask{r.WithContext(ctx), w, o, from})
}

// statuses is how this door words a kind of fault. A test holds it complete.
var statuses = map[fault.Kind]int{
	fault.Internal: 500, fault.InvalidRequest: 400, fault.InvalidClient: 401, fault.InvalidGrant: 403,
	fault.UnauthorizedClient: 403, fault.UnsupportedGrant: 400, fault.InvalidScope: 400, fault.InvalidToken: 401,
	fault.InsufficientScope: 403, fault.NoToken: 401, fault.UnsupportedTokenType: 400, fault.Forbidden: 403,
	fault.NotFound: 404, fault.Conflict: 409, fault.MethodNotAllowed: 405, fault.UnsupportedMediaType: 415,
	fault.TooLarge: 413, fault.TooMany: 429, fault.Busy: 503, fault.Unavailable: 503, fault.LateAnswer: 503,
	fault.InvalidSubject: 400, fault.InvalidTarget: 400,
}

// challenges is what WWW-Authenticate adds to the scheme (RFC 6750 section 3):
// nothing when no token came.
var challenges = map[fault.Kind]string{
	fault.NoToken:           "",
	fault.InvalidToken:      `, error="invalid_token"`,
	fault.InsufficientScope: `, error="insufficient_scope", scope="account"`,
}

// refuse renders an error as a problem document.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.As(err)
	if d.Note != nil {
		d.Note(r, e)
	}
	if more, ok := challenges[e.Kind]; ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+d.Issuer.Minter.Issuer+`"`+more)
	}
	problem.Refuse(w, statuses[e.Kind], e)
}

// description serves what this door is, for people and for generators.
func description(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/yaml") // RFC 9512
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(openapi.Account)) // the caller is gone if this fails
}
