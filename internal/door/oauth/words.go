package oauth

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"holdfast.example/internal/fault"
)

// says is how this door words a kind of fault: the status, and the error code
// of RFC 6749 section 5.2, RFC 6750 section 3.1 or RFC 7009 section 2.2.1.
type says struct {
	status int
	code   string
}

// words is the one table from fault to answer. A test holds it complete.
var words = map[fault.Kind]says{
	fault.Internal:             {http.StatusInternalServerError, "server_error"},
	fault.InvalidRequest:       {http.StatusBadRequest, "invalid_request"},
	fault.InvalidClient:        {http.StatusUnauthorized, "invalid_client"},
	fault.InvalidGrant:         {http.StatusBadRequest, "invalid_grant"},
	fault.UnauthorizedClient:   {http.StatusBadRequest, "unauthorized_client"},
	fault.UnsupportedGrant:     {http.StatusBadRequest, "unsupported_grant_type"},
	fault.InvalidScope:         {http.StatusBadRequest, "invalid_scope"},
	fault.InvalidToken:         {http.StatusUnauthorized, "invalid_token"},
	fault.InsufficientScope:    {http.StatusForbidden, "insufficient_scope"},
	fault.NoToken:              {http.StatusUnauthorized, ""},
	fault.UnsupportedTokenType: {http.StatusBadRequest, "unsupported_token_type"},
	fault.Forbidden:            {http.StatusForbidden, "access_denied"},
	fault.NotFound:             {http.StatusNotFound, "invalid_request"},
	fault.Conflict:             {http.StatusConflict, "invalid_request"},
	fault.MethodNotAllowed:     {http.StatusMethodNotAllowed, "invalid_request"},
	fault.UnsupportedMediaType: {http.StatusUnsupportedMediaType, "invalid_request"},
	fault.TooLarge:             {http.StatusRequestEntityTooLarge, "invalid_request"},
	fault.TooMany:              {http.StatusTooManyRequests, "temporarily_unavailable"},
	fault.Busy:                 {http.StatusServiceUnavailable, "temporarily_unavailable"},
	fault.Unavailable:          {http.StatusServiceUnavailable, "temporarily_unavailable"},
	fault.LateAnswer:           {http.StatusServiceUnavailable, "temporarily_unavailable"},
	fault.InvalidSubject:       {http.StatusBadRequest, "invalid_request"}, // RFC 8693 section 2.2.2 asks for this code
	fault.InvalidTarget:        {http.StatusBadRequest, "invalid_target"},
}

// ReasonHeader carries the reason of a refusal or an end to the app
// (design.md promise P7).
const ReasonHeader = "Holdfast-Reason"

// errorBody is RFC 6749 section 5.2. The order of the members is the order on
// the wire.
type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// refuse renders an error of the token, revocation and introspection endpoints.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.As(err)
	d.note(r, e)
	s := words[e.Kind]
	refusalHeaders(w, e)
	if e.Kind == fault.InvalidClient && len(r.Header["Authorization"]) > 0 {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+d.Issuer.Minter.Issuer+`"`)
	}
	writeJSON(w, s.status, errorBody{s.code, printable(e.Words)})
}

// refuseBearer renders an error of an endpoint that takes a bearer token
// (RFC 6750 section 3).
func (d *Door) refuseBearer(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.As(err)
	d.note(r, e)
	s := words[e.Kind]
	refusalHeaders(w, e)
	challenge := `Bearer realm="` + d.Issuer.Minter.Issuer + `"`
	if e.Kind == fault.NoToken { // no error code when no token came (RFC 6750 section 3.1)
		w.Header().Set("WWW-Authenticate", challenge)
		private(w.Header())
		w.WriteHeader(s.status)
		return
	}
	if s.status == http.StatusUnauthorized || s.status == http.StatusForbidden || s.status == http.StatusBadRequest {
		w.Header().Set("WWW-Authenticate", challenge+`, error="`+s.code+`", error_description="`+printable(e.Words)+`"`)
	}
	writeJSON(w, s.status, errorBody{s.code, printable(e.Words)})
}

// refusalHeaders tell the reason and when to come back: whoever is told to wait
// is always told how long.
func refusalHeaders(w http.ResponseWriter, e *fault.Error) {
	if e.Reason != "" {
		w.Header().Set(ReasonHeader, string(e.Reason))
	}
	wait := e.RetryAfter
	if s := words[e.Kind].status; wait <= 0 && (s == http.StatusTooManyRequests || s == http.StatusServiceUnavailable) {
		wait = fault.RetrySoon
	}
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
}

// private keeps an answer out of every cache and out of every guess at what it
// is (RFC 6749 section 5.1).
func private(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
}

// writeJSON writes a body without a trailing newline: clients of the systems
// we replace look at the last byte.
func writeJSON(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	h := w.Header()
	private(h)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client is gone if this fails
}

// printable keeps an error_description inside the characters of RFC 6749
// section 5.2.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < 0x20 || r > 0x7e || r == '\\':
			return '?'
		}
		return r
	}, s)
}
