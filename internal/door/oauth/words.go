package oauth

import (
	"net/http"

	"holdfast.example/internal/answer"
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
	answer.Refusal(w.Header(), e, s.status)
	if e.Kind == fault.InvalidClient && len(r.Header["Authorization"]) > 0 {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+d.Issuer.Minter.Issuer+`"`)
	}
	answer.JSON(w, s.status, errorBody{s.code, answer.Printable(e.Words)})
}

// refuseBearer renders an error of an endpoint that takes a bearer token
// (RFC 6750 section 3).
func (d *Door) refuseBearer(w http.ResponseWriter, r *http.Request, err error) {
	e := fault.As(err)
	d.note(r, e)
	s := words[e.Kind]
	answer.Refusal(w.Header(), e, s.status)
	challenge := `Bearer realm="` + d.Issuer.Minter.Issuer + `"`
	if e.Kind == fault.NoToken { // no error code when no token came (RFC 6750 section 3.1)
		w.Header().Set("WWW-Authenticate", challenge)
		answer.Empty(w, s.status)
		return
	}
	if s.status == http.StatusUnauthorized || s.status == http.StatusForbidden || s.status == http.StatusBadRequest {
		w.Header().Set("WWW-Authenticate", challenge+`, error="`+s.code+`", error_description="`+answer.Printable(e.Words)+`"`)
	}
	answer.JSON(w, s.status, errorBody{s.code, answer.Printable(e.Words)})
}
