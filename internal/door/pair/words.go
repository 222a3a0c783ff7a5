package pair

import (
	"errors"
	"net/http"
	"strconv"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
)

// The sentences of djangorestframework-simplejwt.
const (
	invalid       = "Token is invalid"
	expired       = "Token is expired"
	blacklisted   = "Token is blacklisted"
	wrongType     = "Token has wrong type"
	pastRefresh   = "Token 'refresh_exp' claim has expired"
	noAccount     = "No active account found with the given credentials"
	accountGone   = "No active account found for the given token."
	otherPassword = "The user's password has been changed."
	// notValid is the code beside a sentence about a token.
	notValid = "token_not_valid"
)

// statuses is the one table from fault to status where nothing is said about a
// token. A test holds it complete.
var statuses = map[fault.Kind]int{
	fault.Internal:             http.StatusInternalServerError,
	fault.InvalidRequest:       http.StatusBadRequest,
	fault.InvalidClient:        http.StatusServiceUnavailable, // the setting names a client that is not there
	fault.InvalidGrant:         http.StatusUnauthorized,
	fault.UnauthorizedClient:   http.StatusForbidden,
	fault.UnsupportedGrant:     http.StatusForbidden,
	fault.InvalidScope:         http.StatusBadRequest,
	fault.InvalidToken:         http.StatusUnauthorized,
	fault.InsufficientScope:    http.StatusForbidden,
	fault.NoToken:              http.StatusUnauthorized,
	fault.UnsupportedTokenType: http.StatusBadRequest,
	fault.Forbidden:            http.StatusForbidden,
	fault.NotFound:             http.StatusNotFound,
	fault.Conflict:             http.StatusConflict,
	fault.MethodNotAllowed:     http.StatusMethodNotAllowed,
	fault.UnsupportedMediaType: http.StatusUnsupportedMediaType,
	fault.TooLarge:             http.StatusRequestEntityTooLarge,
	fault.TooMany:              http.StatusTooManyRequests,
	fault.Busy:                 http.StatusServiceUnavailable,
	fault.Unavailable:          http.StatusServiceUnavailable,
	fault.LateAnswer:           http.StatusServiceUnavailable,
	fault.InvalidSubject:       http.StatusUnauthorized,
	fault.InvalidTarget:        http.StatusBadRequest,
}

// words says what each reason is called here and in django-rest-framework-jwt. The
// originals know fewer reasons than we do; which one it was stands in the header.
// A test holds it complete.
var words = map[fault.Reason]struct{ simple, drf string }{
	fault.SignedOut:          {blacklisted, drfBlacklisted},
	fault.SignedOutElsewhere: {blacklisted, drfBlacklisted},
	fault.Everywhere:         {blacklisted, drfBlacklisted},
	fault.Replaced:           {blacklisted, drfBlacklisted},
	fault.PasswordChanged:    {otherPassword, drfBlacklisted},
	fault.PasswordReset:      {otherPassword, drfBlacklisted},
	fault.Disabled:           {accountGone, "User account is disabled."},
	fault.Deleted:            {accountGone, "User doesn't exist."},
	fault.ClientStopped:      {blacklisted, drfBlacklisted},
	fault.ConsentWithdrawn:   {blacklisted, drfBlacklisted},
	fault.Reuse:              {blacklisted, drfBlacklisted},
	fault.Held:               {blacklisted, drfBlacklisted},
	fault.Idle:               {expired, drfExpired},
	fault.Absolute:           {expired, drfExpired},
	fault.Operator:           {blacklisted, drfBlacklisted},
	fault.KeyCompromise:      {blacklisted, drfBlacklisted},
	fault.Late:               {blacklisted, drfBlacklisted}, // never said: it is answered 503
	fault.Superseded:         {expired, drfExpired},
	fault.WrongClient:        {invalid, drfInvalid},
	fault.WrongKey:           {invalid, drfInvalid},
	fault.Malformed:          {invalid, drfInvalid},
}

// The sentences of django-rest-framework-jwt.
const (
	drfInvalid     = "Error decoding signature."
	drfExpired     = "Signature has expired."
	drfPast        = "Refresh has expired."
	drfBlacklisted = "Token is blacklisted."
	drfNoAccount   = "Unable to log in with provided credentials."
)

// detail is the error body of Django REST framework.
type detail struct {
	Detail string `json:"detail"`
	Code   string `json:"code,omitempty"`
}

// nonField is its error body for what is about no single field.
func nonField(message string) fieldErrors { return fieldErrors{{"non_field_errors", message}} }

// refusal is an answer of no that is worded already.
type refusal struct {
	status int
	body   any
	// fault goes to the log and into the headers.
	fault *fault.Error
}

// Error implements error.
func (n *refusal) Error() string { return n.fault.Error() }

// said is the answer to what is not about a token or a password: the fault's own
// words.
func said(e *fault.Error) *refusal {
	n := &refusal{statuses[e.Kind], detail{Detail: e.Words}, e}
	if e.Kind == fault.TooMany {
		n.body = detail{Detail: throttled(e)}
	}
	return n
}

// throttled is how Django REST framework tells somebody to wait.
func throttled(e *fault.Error) string {
	s := answer.Seconds(e, http.StatusTooManyRequests)
	unit := " seconds."
	if s == 1 {
		unit = " second."
	}
	return "Request was throttled. Expected available in " + strconv.FormatInt(s, 10) + unit
}

// sentences picks what a refused token is told in both dialects.
func sentences(e *fault.Error) (simple, drf string) {
	switch {
	case errors.Is(e, grant.ErrPastRefresh):
		return pastRefresh, drfPast
	case errors.Is(e, grant.ErrExpired):
		return expired, drfExpired
	case errors.Is(e, grant.ErrWrongType):
		return wrongType, drfInvalid
	}
	w, ok := words[e.Reason]
	if !ok {
		return invalid, drfInvalid
	}
	return w.simple, w.drf
}

// worded turns an error about a token into this dialect's answer.
func (d *Door) worded(err error) *refusal {
	if n, ok := errors.AsType[*refusal](err); ok {
		return n
	}
	e := fault.As(err)
	if e.Kind != fault.InvalidGrant && e.Kind != fault.InvalidToken {
		return said(e)
	}
	simple, drf := sentences(e)
	if d.Dialect == DRFJWT {
		return &refusal{http.StatusBadRequest, nonField(drf), e}
	}
	body := detail{simple, notValid}
	if simple == accountGone || simple == otherPassword {
		body.Code = "" // these two come from another place of the original
	}
	return &refusal{http.StatusUnauthorized, body, e}
}

// refuse renders an error about a token.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	n := d.worded(d.stopped(err))
	d.note(r, n.fault)
	answer.Refusal(w.Header(), n.fault, n.status)
	if n.status == http.StatusUnauthorized {
		scheme := "Bearer"
		if d.Dialect == DRFJWT {
			scheme = "JWT"
		}
		w.Header().Set("WWW-Authenticate", scheme+` realm="api"`)
	}
	answer.JSON(w, n.status, n.body)
}

// stopped turns "this client may not" into what it means to an app whose client is
// fixed by a setting: sign-ins of a client that was stopped are over, and a client
// that is not there is the operator's mistake.
func (d *Door) stopped(err error) error {
	if !fault.Is(err, fault.InvalidClient) {
		return err
	}
	if c, found := d.Issuer.Clients.Get(d.Client); found && c.Disabled {
		return &fault.Error{Kind: fault.InvalidGrant, Reason: fault.ClientStopped, Words: fault.ClientStopped.Sentence(), Cause: err}
	}
	return fault.Wrap(fault.Unavailable, err, "this server is not set up for this app; tell its operator")
}
