package edx

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/token"
)

// detail is the error body of Django REST framework.
type detail struct {
	Detail string `json:"detail"`
}

// coded is the error body of Open edX's own endpoints.
type coded struct {
	Code    string `json:"error_code"`
	Message string `json:"developer_message"`
}

// The two kinds of credentials, by the words in front of them. Apps put either
// kind behind either word, so what a token is, and not the word, decides how its
// refusal is worded.
const (
	schemeJWT    = "JWT"
	schemeBearer = "Bearer"
)

// refusal is an answer to credentials that do not hold.
type refusal struct {
	status int
	body   any
	// fault goes to the log and into the headers.
	fault *fault.Error
}

func (n *refusal) Error() string { return n.fault.Error() }

// notProvided is the answer to no credentials.
func notProvided() *refusal {
	return &refusal{http.StatusUnauthorized, detail{"Authentication credentials were not provided."}, fault.New(fault.NoToken, "no credentials")}
}

// credentials are the access token of a request and how it was brought.
type credentials struct {
	token  secret.Text
	scheme string
}

// presented reads the Authorization header. ok is false when it carries nothing
// for this door; the error is a *refusal.
func presented(h http.Header) (c credentials, ok bool, err error) {
	malformed := func(code, message string) error {
		return &refusal{http.StatusUnauthorized, coded{code, message}, fault.New(fault.InvalidToken, "the Authorization header is not one token")}
	}
	values := h["Authorization"]
	if len(values) > 1 {
		return c, false, malformed("token_malformed", "Invalid token header. Token string should not contain spaces.")
	}
	words := strings.Fields(h.Get("Authorization"))
	switch {
	case len(words) == 0:
		return c, false, nil
	case strings.EqualFold(words[0], schemeJWT):
		if len(words) != 2 { // not ours in the original, which looks for cookies then
			return c, false, nil
		}
		return credentials{secret.New(words[1]), schemeJWT}, true, nil
	case !strings.EqualFold(words[0], schemeBearer):
		return c, false, nil
	case len(words) == 1:
		return c, false, malformed("token_not_provided", "Invalid token header. No credentials provided.")
	case len(words) > 2:
		return c, false, malformed("token_malformed", "Invalid token header. Token string should not contain spaces.")
	}
	return credentials{secret.New(words[1]), schemeBearer}, true, nil
}

// opaque reports whether a refusal is worded as for an opaque token.
func (c credentials) opaque() bool {
	t := c.token.Reveal()
	return strings.HasPrefix(t, token.OpaquePrefix) || c.scheme == schemeBearer && strings.Count(t, ".") != 2
}

// bearer checks the access token of a request. The error is a *refusal.
func (d *Door) bearer(ctx context.Context, c credentials) (grant.Bearer, error) {
	b, err := d.Issuer.Shown(ctx, c.token)
	if err != nil {
		return b, d.refusedToken(ctx, c, fault.As(err))
	}
	return b, nil
}

// refusedToken words the refusal of a token. Android refreshes on the words for
// expired ones and signs out on those for all others, so the two are never mixed
// up: what was ended is never called expired.
func (d *Door) refusedToken(ctx context.Context, c credentials, e *fault.Error) *refusal {
	if e.Kind != fault.InvalidToken {
		return broken(e)
	}
	no := func(body any) *refusal { return &refusal{http.StatusUnauthorized, body, e} }
	expired := errors.Is(e, grant.ErrExpired)
	switch {
	case e.Reason == fault.Disabled && c.opaque():
		return no(disabledByAdmin(d.whose(ctx, c)))
	case e.Reason == fault.Disabled:
		return no(detail{"User account is disabled."})
	case expired && c.opaque():
		return no(coded{"token_expired", "The provided access token has expired and is no longer valid."})
	case expired:
		return no(detail{"Token has expired."})
	case c.opaque():
		return no(coded{"token_nonexistent", "The provided access token does not match any valid tokens."})
	}
	return no(detail{"Invalid token."})
}

// peeked is how much of a refusal the Android app reads, in bytes: a longer one is
// no JSON to it.
const peeked = 200

// disabledByAdmin is the refusal that signs a disabled user out, with his name where
// there is room for it.
func disabledByAdmin(name string) coded {
	c := coded{"user_is_disabled", "User disabled by admin: " + name}
	if b, err := json.Marshal(c); err != nil || len(b) > peeked {
		c.Message = "User disabled by admin."
	}
	return c
}

// whose is the user name behind a token that was refused, for its bearer. A
// genuine token is what allows to tell it.
func (d *Door) whose(ctx context.Context, c credentials) string {
	name, err := d.Issuer.Behind(ctx, c.token)
	if err != nil {
		return ""
	}
	return name
}

// refusals is the one table from fault to answer where an access token or a cookie
// is shown. A test holds it complete.
var refusals = map[fault.Kind]struct {
	status int
	code   string
}{
	fault.Internal:             {http.StatusInternalServerError, "server_error"},
	fault.InvalidRequest:       {http.StatusBadRequest, "invalid_request"},
	fault.InvalidClient:        {http.StatusUnauthorized, "invalid_client"},
	fault.InvalidGrant:         {http.StatusUnauthorized, "invalid_grant"},
	fault.UnauthorizedClient:   {http.StatusForbidden, "unauthorized_client"},
	fault.UnsupportedGrant:     {http.StatusForbidden, "unauthorized_client"},
	fault.InvalidScope:         {http.StatusForbidden, "insufficient_scope"},
	fault.InvalidToken:         {http.StatusUnauthorized, "invalid_grant"},
	fault.InsufficientScope:    {http.StatusForbidden, "insufficient_scope"},
	fault.NoToken:              {http.StatusUnauthorized, "token_not_provided"},
	fault.UnsupportedTokenType: {http.StatusBadRequest, "invalid_request"},
	fault.Forbidden:            {http.StatusForbidden, "access_denied"},
	fault.NotFound:             {http.StatusNotFound, "not_found"},
	fault.Conflict:             {http.StatusConflict, "conflict"},
	fault.MethodNotAllowed:     {http.StatusMethodNotAllowed, "invalid_request"},
	fault.UnsupportedMediaType: {http.StatusUnsupportedMediaType, "invalid_request"},
	fault.TooLarge:             {http.StatusRequestEntityTooLarge, "invalid_request"},
	fault.TooMany:              {http.StatusTooManyRequests, "temporarily_unavailable"},
	fault.Busy:                 {http.StatusServiceUnavailable, "temporarily_unavailable"},
	fault.Unavailable:          {http.StatusServiceUnavailable, "temporarily_unavailable"},
	fault.LateAnswer:           {http.StatusServiceUnavailable, "temporarily_unavailable"},
	fault.InvalidSubject:       {http.StatusUnauthorized, "invalid_grant"},
	fault.InvalidTarget:        {http.StatusBadRequest, "invalid_request"},
}

// broken is the answer to what is not about the credentials.
func broken(e *fault.Error) *refusal {
	s := refusals[e.Kind]
	return &refusal{s.status, coded{s.code, answer.Printable(e.Words)}, e}
}

// turnAway renders a refusal under the challenge of a scheme.
func (d *Door) turnAway(w http.ResponseWriter, r *http.Request, scheme string, err error) {
	n, ok := errors.AsType[*refusal](err)
	if !ok {
		n = broken(fault.As(err))
	}
	d.note(r, n.fault)
	answer.Refusal(w.Header(), n.fault, n.status)
	if n.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", scheme+` realm="api"`)
	}
	answer.JSON(w, n.status, n.body)
}
