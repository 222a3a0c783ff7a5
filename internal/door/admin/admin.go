// Package admin owns the operators' door: a JSON API under /admin/v1 for what
// an operator does to users, clients, sessions and keys. The command line
// speaks it through the admin socket, a file that only the server's own account
// can open.
//
// It does not own what the acts mean (the rooms user, client, session, key) nor
// who may reach the listener it is mounted on (server).
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/key"
)

// Door is the operators' door.
type Door struct {
	Issuer *grant.Issuer
	Keys   *key.Ring
	// Apply creates or updates what a manifest declares.
	Apply func(ctx context.Context, file string, toml []byte) (any, error)
	// Check looks the whole store over.
	Check func(context.Context) error
	Now   func() time.Time
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

// Mount registers the door's routes.
func (d *Door) Mount(m *http.ServeMux) {
	for pattern, h := range map[string]func(*http.Request) (any, error){
		"GET /admin/v1/status":                    d.status,
		"GET /admin/v1/check":                     d.check,
		"POST /admin/v1/apply":                    d.apply,
		"POST /admin/v1/why":                      d.why,
		"GET /admin/v1/users":                     d.users,
		"POST /admin/v1/users":                    d.createUser,
		"GET /admin/v1/users/{user}":              d.user,
		"POST /admin/v1/users/{user}/disable":     d.disableUser,
		"POST /admin/v1/users/{user}/enable":      d.enableUser,
		"POST /admin/v1/users/{user}/password":    d.setPassword,
		"POST /admin/v1/users/{user}/sign-out":    d.signOutUser,
		"GET /admin/v1/clients":                   d.clients,
		"GET /admin/v1/clients/{client}":          d.client,
		"POST /admin/v1/clients/{client}/secret":  d.rotateSecret,
		"POST /admin/v1/clients/{client}/disable": d.disableClient,
		"POST /admin/v1/clients/{client}/enable":  d.enableClient,
		"DELETE /admin/v1/clients/{client}":       d.deleteClient,
		"GET /admin/v1/sessions":                  d.sessions,
		"GET /admin/v1/sessions/{sid}":            d.session,
		"POST /admin/v1/sessions/{sid}/end":       d.endSession,
		"GET /admin/v1/keys":                      d.keys,
		"POST /admin/v1/keys/rotate":              d.rotateKey,
		"POST /admin/v1/keys/drop":                d.dropKey,
	} {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			body, err := h(r.WithContext(audit.As(r.Context(), audit.Who{Actor: audit.ByOperator})))
			if err != nil {
				d.refuse(w, r, err)
				return
			}
			write(w, http.StatusOK, "application/json", body)
		})
	}
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d.refuse(w, r, fault.New(fault.NotFound, "no such endpoint"))
	})
}

// statuses is how this door words a kind of fault. A test holds it complete.
var statuses = map[fault.Kind]int{
	fault.Internal: 500, fault.InvalidRequest: 400, fault.InvalidClient: 401, fault.InvalidGrant: 400,
	fault.UnauthorizedClient: 403, fault.UnsupportedGrant: 400, fault.InvalidScope: 400, fault.InvalidToken: 401,
	fault.InsufficientScope: 403, fault.NoToken: 401, fault.UnsupportedTokenType: 400, fault.Forbidden: 403,
	fault.NotFound: 404, fault.Conflict: 409, fault.MethodNotAllowed: 405, fault.UnsupportedMediaType: 415,
	fault.TooLarge: 413, fault.TooMany: 429, fault.Busy: 503, fault.Unavailable: 503, fault.LateAnswer: 503,
}

// Problem is RFC 9457: what every refusal of this door looks like.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Reason is the session reason, where one is the cause.
	Reason fault.Reason `json:"reason,omitempty"`
}

// refuse renders an error as a problem document.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.As(err)
	if d.Note != nil {
		d.Note(r, e)
	}
	status := statuses[e.Kind]
	wait := e.RetryAfter
	if wait <= 0 && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		wait = fault.RetrySoon // whoever is told to wait is told how long
	}
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	write(w, status, "application/problem+json", Problem{Type: "urn:holdfast:problem:" + e.Kind.String(),
		Title: http.StatusText(status), Status: status, Detail: e.Words, Reason: e.Reason})
}

func write(w http.ResponseWriter, status int, kind string, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"type":"about:blank","title":"Internal Server Error","status":500}`)
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the operator is gone if this fails
}

// read decodes a JSON body into a struct. Unknown members are refused: a typo
// must not silently do less than was meant. An empty body leaves into as it is.
func read(r *http.Request, into any) error {
	if r.Body == nil {
		return nil
	}
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, MaxBody))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.InvalidRequest, err, "the body is not the JSON this endpoint reads: "+err.Error())
	}
	if dec.More() {
		return fault.New(fault.InvalidRequest, "the body has something after its JSON")
	}
	return nil
}

// limitOf reads ?limit=.
func limitOf(r *http.Request) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return usualPage, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxPage {
		return 0, fault.Newf(fault.InvalidRequest, "limit is a number from 1 to %d", MaxPage)
	}
	return n, nil
}

// stamp writes a time for JSON; the zero time is left out by omitempty.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// done is the answer of an act that has nothing to tell.
type done struct {
	Done bool `json:"done"`
}
