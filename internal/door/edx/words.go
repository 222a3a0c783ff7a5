package edx

import (
	"net/http"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/fault"
)

// says is how this door words a kind of fault where a client asks for tokens: the
// status, the error code, and the error_description: its own, none, or what the
// fault says.
type says struct {
	status int
	code   string
	words  string
}

// asItSays stands for the words of the fault.
const asItSays = "*"

// words is the one table from fault to answer of the token endpoints. A test holds
// it complete. Where the original gives no error_description its clients expect
// none, and the reason goes into a header.
var words = map[fault.Kind]says{
	fault.Internal:             {http.StatusInternalServerError, "server_error", asItSays},
	fault.InvalidRequest:       {http.StatusBadRequest, "invalid_request", asItSays},
	fault.InvalidClient:        {http.StatusUnauthorized, "invalid_client", ""},
	fault.InvalidGrant:         {http.StatusBadRequest, "invalid_grant", ""},
	fault.UnauthorizedClient:   {http.StatusBadRequest, "unauthorized_client", ""},
	fault.UnsupportedGrant:     {http.StatusBadRequest, "unsupported_grant_type", ""},
	fault.InvalidScope:         {http.StatusBadRequest, "invalid_scope", ""},
	fault.InvalidToken:         {http.StatusUnauthorized, "invalid_token", asItSays},
	fault.InsufficientScope:    {http.StatusForbidden, "insufficient_scope", asItSays},
	fault.NoToken:              {http.StatusUnauthorized, "invalid_request", asItSays},
	fault.UnsupportedTokenType: {http.StatusBadRequest, "unsupported_token_type", asItSays},
	fault.Forbidden:            {http.StatusForbidden, "access_denied", asItSays},
	fault.NotFound:             {http.StatusNotFound, "invalid_request", asItSays},
	fault.Conflict:             {http.StatusConflict, "invalid_request", asItSays},
	fault.MethodNotAllowed:     {http.StatusMethodNotAllowed, "invalid_request", asItSays},
	fault.UnsupportedMediaType: {http.StatusUnsupportedMediaType, "invalid_request", asItSays},
	fault.TooLarge:             {http.StatusRequestEntityTooLarge, "invalid_request", asItSays},
	fault.TooMany:              {http.StatusTooManyRequests, "temporarily_unavailable", asItSays},
	fault.Busy:                 {http.StatusServiceUnavailable, "temporarily_unavailable", asItSays},
	fault.Unavailable:          {http.StatusServiceUnavailable, "temporarily_unavailable", asItSays},
	fault.LateAnswer:           {http.StatusServiceUnavailable, "temporarily_unavailable", asItSays},
	fault.InvalidSubject:       {http.StatusBadRequest, "invalid_grant", "access_token is not valid"},
	fault.InvalidTarget:        {http.StatusBadRequest, "invalid_request", asItSays},
}

// wrongPassword is what apps show to a person whose sign-in was refused.
const wrongPassword = "Invalid credentials given."

// errorBody is RFC 6749 section 5.2 in the order of the original.
type errorBody struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// refuse renders an error of a token endpoint. said replaces the description of
// the table; "" leaves it.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error, said string) {
	e := fault.As(err)
	d.note(r, e)
	s := words[e.Kind]
	body := errorBody{s.code, s.words}
	if body.Description == asItSays {
		body.Description = answer.Printable(e.Words)
	}
	if said != "" {
		body.Description = said
	}
	answer.Refusal(w.Header(), e, s.status)
	if s.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer error="`+s.code+`"`)
	}
	answer.JSON(w, s.status, body)
}
