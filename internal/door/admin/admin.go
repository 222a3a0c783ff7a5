// Package admin owns the operators' door: a JSON API under /admin/v1 for what
// an operator does to users, clients, sessions and keys, and for reading what
// happened. routes.go is the table of all of it.
//
// There are two ways in. The admin socket is a file that only the server's own
// account can open, so whoever comes that way may do everything (Local). Over
// TCP every call shows an access token of this server, and its scopes say which
// role it acts in (Remote, roles.go).
//
//	way in ──▶ who asks ──▶ route ──▶ role ──▶ query ──▶ idempotency ──▶ the act
//
// It does not own what the acts mean (the rooms user, client, session, key,
// audit) nor on which listener a way in is mounted (server).
package admin

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/idem"
	"holdfast.example/internal/key"
	"holdfast.example/internal/problem"
	"holdfast.example/internal/user"
)

// Door is the operators' door.
type Door struct {
	Issuer *grant.Issuer
	Keys   *key.Ring
	Audit  audit.Store
	// Calls remembers calls with an idempotency key.
	Calls *idem.Keeper
	// Apply creates or updates what a manifest declares. local: files and
	// environment variables of this machine that the manifest names may be read.
	Apply func(ctx context.Context, file string, toml []byte, local bool) (any, error)
	// Check looks the whole store over, and the clients against the settings; what is
	// about the clients is a *fault.Error.
	Check func(context.Context) error
	// Settled, when set, returns once what ended before the call can be acknowledged; the
	// error is Unavailable. Acts ask it that find what they should end over already.
	Settled func(context.Context) error
	// Settings lists the server's settings as they stand, secrets redacted.
	Settings func() []Setting
	// From is the address a request came from.
	From func(*http.Request) netip.Addr
	Now  func() time.Time
	// Note, when set, hears of every fault that leaves through this door.
	Note func(*http.Request, *fault.Error)
}

// The limits of one request.
const (
	// MaxBody is the largest body, in bytes: a manifest with thousands of users.
	MaxBody = 4 << 20
	// MaxPage is the largest number of rows one list answers.
	MaxPage = 1000
	// usualPage is how many it answers when nobody says.
	usualPage = 100
)

// caller is who acts.
type caller struct {
	who   audit.Who
	roles roles
	// local: he is on this machine and may let the server read its files.
	local bool
}

// Way is one way in.
type Way struct {
	door *Door
	mux  *http.ServeMux
	who  func(*http.Request) (caller, error)
}

// Local is the way in through the admin socket.
func (d *Door) Local() *Way {
	return d.way(func(*http.Request) (caller, error) {
		return caller{who: audit.Who{Actor: audit.ByOperator, ID: "socket"}, roles: roles{Owner}, local: true}, nil
	})
}

// Remote is the way in over TCP: nothing is answered without a token, not even
// that a path does not exist.
func (d *Door) Remote() *Way { return d.way(d.bearer) }

func (d *Door) way(who func(*http.Request) (caller, error)) *Way {
	w := &Way{door: d, mux: http.NewServeMux(), who: who}
	for pattern, methods := range byPattern() {
		h := d.handler(methods)
		w.mux.HandleFunc(pattern, h)
		w.mux.HandleFunc(pattern+"/{$}", h)
	}
	w.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.refuse(w, r, fault.New(fault.NotFound, "no such endpoint"))
	})
	return w
}

type callerKey struct{}

// ServeHTTP answers one request.
func (w *Way) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if r, ok := w.enter(rw, r); ok {
		w.mux.ServeHTTP(rw, r)
	}
}

// NotFound answers a request whose path is nobody's.
func (w *Way) NotFound(rw http.ResponseWriter, r *http.Request) {
	if r, ok := w.enter(rw, r); ok {
		w.door.refuse(rw, r, fault.New(fault.NotFound, "no such endpoint"))
	}
}

// enter finds out who asks.
func (w *Way) enter(rw http.ResponseWriter, r *http.Request) (*http.Request, bool) {
	c, err := w.who(r)
	if err != nil {
		w.door.refuse(rw, r, err)
		return r, false
	}
	return r.WithContext(audit.As(context.WithValue(r.Context(), callerKey{}, c), c.who)), true
}

// bearer finds out who asks by the access token (RFC 6750 section 2.1).
func (d *Door) bearer(r *http.Request) (caller, error) {
	sent := r.Header["Authorization"]
	if len(sent) > 1 {
		return caller{}, fault.New(fault.InvalidRequest, "send one Authorization header")
	}
	scheme, token, found := strings.Cut(strings.Join(sent, ""), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return caller{}, fault.New(fault.NoToken, "send an access token with an administrative scope")
	}
	b, err := d.Issuer.Bearer(r.Context(), secretOf(token))
	if err != nil {
		return caller{}, err
	}
	c := caller{who: audit.Who{Actor: audit.ByOperator, ID: b.Access.Subject, Via: b.Access.Client, From: d.From(r)}, roles: rolesOf(b.Access.Scope)}
	if !b.User.IsZero() {
		u, err := d.Issuer.Users.Get(r.Context(), b.User)
		if err != nil {
			return caller{}, err
		}
		c.roles = c.roles.of(u)
	}
	if len(c.roles) == 0 {
		return caller{}, fault.New(fault.InsufficientScope, "this token has no administrative scope, or its user may not use it")
	}
	return c, nil
}

// handler answers the methods of one path.
func (d *Door) handler(methods map[string]Route) http.HandlerFunc {
	var allow []string
	for m := range methods {
		allow = append(allow, m)
		if m == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	return func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		route, ok := methods[method]
		if !ok {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			d.refuse(w, r, fault.New(fault.MethodNotAllowed, "this path answers "+strings.Join(allow, ", ")))
			return
		}
		err := d.serve(w, r, route)
		if err != nil {
			d.refuse(w, r, err)
		}
	}
}

// serve carries out one call of a route.
func (d *Door) serve(w http.ResponseWriter, r *http.Request, route Route) error {
	who, _ := r.Context().Value(callerKey{}).(caller)
	if !who.roles.may(route.Least) {
		return &insufficient{route.Least.Scope()}
	}
	c := &call{Request: r, w: w, route: route, caller: who}
	err := c.parse()
	if err != nil {
		return err
	}
	a, err := d.once(c)
	if err != nil {
		return err
	}
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.text != "" {
		w.Header().Set("Content-Type", "application/yaml")
		w.Header().Set("Cache-Control", "no-store") // it was told to somebody with a token
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write([]byte(a.text)) // the operator is gone if this fails
		return nil
	}
	problem.Write(w, a.status, a.body)
	return nil
}

// statuses is how this door words a kind of fault. A test holds it complete.
var statuses = map[fault.Kind]int{
	fault.Internal: 500, fault.InvalidRequest: 400, fault.InvalidClient: 401, fault.InvalidGrant: 400,
	fault.UnauthorizedClient: 403, fault.UnsupportedGrant: 400, fault.InvalidScope: 400, fault.InvalidToken: 401,
	fault.InsufficientScope: 403, fault.NoToken: 401, fault.UnsupportedTokenType: 400, fault.Forbidden: 403,
	fault.NotFound: 404, fault.Conflict: 409, fault.MethodNotAllowed: 405, fault.UnsupportedMediaType: 415,
	fault.TooLarge: 413, fault.TooMany: 429, fault.Busy: 503, fault.Unavailable: 503, fault.LateAnswer: 503,
	fault.InvalidSubject: 400, fault.InvalidTarget: 400,
}

// Problem is what every refusal of this door looks like: RFC 9457, and where a
// registration was refused, each mistake with its field.
type Problem struct {
	problem.Problem
	Instance string  `json:"instance"`
	Errors   []Wrong `json:"errors,omitempty"`
}

// Wrong is one mistake in a body.
type Wrong struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
	Code   string `json:"code,omitempty"`
}

// insufficient is a role that does not reach; scope is what would.
type insufficient struct{ scope string }

func (e *insufficient) Error() string { return "the scope " + e.scope + " is needed" }

// refuse renders an error as a problem document.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	short, isShort := errors.AsType[*insufficient](err)
	if isShort {
		err = fault.New(fault.InsufficientScope, short.Error())
	}
	e := fault.As(err)
	if d.Note != nil {
		d.Note(r, e)
	}
	status, name := statuses[e.Kind], e.Kind.String()
	switch {
	case errors.Is(err, user.ErrChanged), errors.Is(err, client.ErrChanged):
		status, name = http.StatusPreconditionFailed, "precondition_failed"
	case errors.Is(err, idem.ErrOtherBody):
		status, name = http.StatusUnprocessableEntity, "idempotency_key_reused"
	}
	p := Problem{Instance: r.URL.EscapedPath()}
	p.Type, p.Title, p.Status, p.Detail, p.Reason = "urn:holdfast:problem:"+name, http.StatusText(status), status, e.Words, e.Reason
	if refused, ok := errors.AsType[*client.Refused](err); ok {
		for _, one := range refused.Problems {
			p.Errors = append(p.Errors, Wrong{Field: one.Field, Detail: one.String(), Code: one.Code})
		}
	}
	challenge := `Bearer realm="` + d.realm() + `"`
	switch {
	case isShort:
		w.Header().Set("WWW-Authenticate", challenge+`, error="insufficient_scope", scope="`+short.scope+`"`)
	case e.Kind == fault.InsufficientScope:
		w.Header().Set("WWW-Authenticate", challenge+`, error="insufficient_scope"`)
	case e.Kind == fault.InvalidToken:
		w.Header().Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
	case status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", challenge)
	}
	problem.Render(w, e, p.Status, p)
}

// realm is the server's own name.
func (d *Door) realm() string {
	if d.Issuer == nil {
		return ""
	}
	return d.Issuer.Minter.Issuer
}
