package pair

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"holdfast.example/verify"
)

// The sentences of simplejwt and of Django REST framework.
const (
	invalid     = "Token is invalid"
	expired     = "Token is expired"
	wrongType   = "Token has wrong type"
	blacklisted = "Token is blacklisted"
	noType      = "Given token not valid for any token type"
	noUserID    = "Token contained no recognizable user identification"
	twoWords    = "Authorization header must contain two space-delimited values"
	notProvided = "Authentication credentials were not provided."
	permission  = "You do not have permission to perform this action."
	unready     = "Access tokens cannot be checked at the moment."
)

// classes are what simplejwt calls the types of tokens.
var classes = map[string]string{TypeAccess: "AccessToken", TypeSliding: "SlidingToken", "": "AccessToken"}

// body is the answer of no.
type body struct {
	Detail   string    `json:"detail"`
	Code     string    `json:"code,omitempty"`
	Messages []message `json:"messages,omitempty"`
}

// message says of one accepted type why a token is none.
type message struct {
	Class   string `json:"token_class"`
	Type    string `json:"token_type"`
	Message string `json:"message"`
}

// refusal is one answer of no.
type refusal struct {
	status int
	body   body
	wait   time.Duration
	cause  error
}

// Error implements error.
func (r *refusal) Error() string { return "pair: " + r.body.Detail }

// Unwrap gives what verify said, so that verify.KindOf works on it.
func (r *refusal) Unwrap() error { return r.cause }

func absent() *refusal {
	return &refusal{http.StatusUnauthorized, body{Detail: notProvided}, 0, &verify.Error{Kind: verify.NoToken}}
}

func malformedHeader() *refusal {
	return &refusal{http.StatusUnauthorized, body{Detail: twoWords, Code: "bad_authorization_header"}, 0, &verify.Error{Kind: verify.BadRequest}}
}

func nobody() *refusal {
	return &refusal{http.StatusUnauthorized, body{Detail: noUserID, Code: "token_not_valid"}, 0, &verify.Error{Kind: verify.Malformed}}
}

func forbidden() *refusal {
	return &refusal{http.StatusForbidden, body{Detail: permission}, 0, &verify.Error{Kind: verify.InsufficientScope}}
}

// notValid is the answer to a token that is none of the accepted types.
func (g *Guard) notValid(kind verify.Kind, why string, cause error) *refusal {
	var all []message
	for _, t := range g.config.Types {
		all = append(all, message{classes[t], t, why})
	}
	if verify.KindOf(cause) != kind {
		cause = &verify.Error{Kind: kind, Cause: cause}
	}
	return &refusal{http.StatusUnauthorized, body{noType, "token_not_valid", all}, 0, cause}
}

// unknown is the answer to what Config.User said.
func unknown(err error) *refusal {
	cause := &verify.Error{Kind: verify.Revoked, Cause: err}
	switch {
	case errors.Is(err, ErrUserNotFound):
		return &refusal{http.StatusUnauthorized, body{Detail: "User not found", Code: "user_not_found"}, 0, cause}
	case errors.Is(err, ErrUserInactive):
		return &refusal{http.StatusUnauthorized, body{Detail: "User is inactive", Code: "user_inactive"}, 0, cause}
	}
	return &refusal{http.StatusServiceUnavailable, body{Detail: unready}, time.Second, &verify.Error{Kind: verify.Unready, Cause: err}}
}

// sentences says what each Kind is called; a test fails when one is missing. Those
// that are not about the token are answered otherwise.
var sentences = map[verify.Kind]string{
	verify.NoToken:           notProvided,
	verify.BadRequest:        twoWords,
	verify.Malformed:         invalid,
	verify.UnknownKey:        invalid,
	verify.BadSignature:      invalid,
	verify.WrongType:         wrongType,
	verify.WrongIssuer:       invalid,
	verify.WrongAudience:     invalid,
	verify.Expired:           expired,
	verify.NotYet:            invalid,
	verify.Bound:             invalid,
	verify.Inactive:          expired, // an opaque token: introspection does not say why
	verify.Revoked:           blacklisted,
	verify.Unready:           unready,
	verify.InsufficientScope: permission,
	verify.InsufficientGrade: expired,
}

// refused turns what verify said into an answer.
func (g *Guard) refused(err error, token string) *refusal {
	kind := verify.KindOf(err)
	var e *verify.Error
	switch kind {
	case verify.Unready:
		r := &refusal{http.StatusServiceUnavailable, body{Detail: unready}, time.Second, err}
		if errors.As(err, &e) {
			r.wait = max(r.wait, e.RetryAfter)
		}
		return r
	case verify.NoToken:
		return absent()
	case verify.InsufficientScope:
		return forbidden()
	}
	why := sentences[kind]
	switch {
	case (why == "" || why == invalid) && refresh(token):
		why = wrongType
	case why == "":
		why = invalid
	}
	return g.notValid(kind, why, err)
}

// refresh reports whether a string says that it is a refresh token of the server:
// only to tell a developer what he mixed up.
func refresh(token string) bool {
	header, _, _ := strings.Cut(token, ".")
	if len(header) > verify.MaxToken {
		return false
	}
	b, err := base64.RawURLEncoding.DecodeString(header)
	var h struct {
		Type string `json:"typ"`
	}
	return err == nil && json.Unmarshal(b, &h) == nil && h.Type == "rt+jwt"
}

// Refuse answers a request that Check did not let in. The body is a JSON object
// without a newline at its end.
func (g *Guard) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if g.config.OnRefusal != nil {
		g.config.OnRefusal(r, err)
	}
	var no *refusal
	if !errors.As(err, &no) {
		no = g.refused(err, "")
	}
	h := w.Header()
	switch no.status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.FormatInt(int64((no.wait+time.Second-1)/time.Second), 10))
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", g.config.Schemes[0]+` realm="`+g.config.Realm+`"`)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	text, _ := json.Marshal(no.body) // text always encodes
	w.WriteHeader(no.status)
	_, _ = w.Write(text) // a client that has gone needs no answer
}
