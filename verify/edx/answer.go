package edx

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"holdfast.example/verify"
)

// The sentences that the apps compare (edx-drf-extensions and drf-jwt).
const (
	expiredDetail = "Token has expired."
	invalidDetail = "Invalid token."
	absentDetail  = "Authentication credentials were not provided."
)

// refusal is one answer of no.
type refusal struct {
	kind   verify.Kind
	status int // 0 is 401
	// detail is the sentence of a JWT's answer; code and its words are those of an
	// opaque token's.
	detail, code string
	wait         time.Duration
	cause        error
}

// Error implements error.
func (r *refusal) Error() string { return "edx: " + r.detail }

// Unwrap gives what verify said, so that verify.KindOf works on it.
func (r *refusal) Unwrap() error { return r.cause }

func invalid(cause error) *refusal {
	return &refusal{kind: verify.Malformed, detail: invalidDetail, cause: cause}
}

func forbidden(detail string) *refusal {
	return &refusal{kind: verify.InsufficientScope, status: http.StatusForbidden, detail: detail,
		cause: &verify.Error{Kind: verify.InsufficientScope}}
}

// details says which of the two sentences each Kind gets; a test fails when one is
// missing. What a refresh can mend is "expired", however odd: the wrong sentence
// signs an Android app out.
var details = map[verify.Kind]string{
	verify.NoToken:           absentDetail,
	verify.BadRequest:        invalidDetail,
	verify.Malformed:         invalidDetail,
	verify.UnknownKey:        expiredDetail, // a key that this service has not seen yet, or one that was retired
	verify.BadSignature:      invalidDetail,
	verify.WrongType:         invalidDetail,
	verify.WrongIssuer:       invalidDetail,
	verify.WrongAudience:     invalidDetail,
	verify.Expired:           expiredDetail,
	verify.NotYet:            expiredDetail, // this clock is slow, or the issuer's is fast
	verify.Bound:             invalidDetail,
	verify.Inactive:          expiredDetail, // an opaque token: introspection does not say why
	verify.Revoked:           invalidDetail,
	verify.Unready:           "",
	verify.InsufficientScope: "JWT missing required scopes.",
	verify.InsufficientGrade: expiredDetail,
	verify.Forged:            invalidDetail, // this guard has a check of its own (csrf.go)
}

// refused turns what verify said into an answer.
func refused(err error, opaque bool) *refusal {
	kind := verify.KindOf(err)
	r := &refusal{kind: kind, detail: details[kind], cause: err}
	var e *verify.Error
	switch {
	case kind == verify.Unready:
		r.status, r.detail, r.wait = http.StatusServiceUnavailable, "Access tokens cannot be checked at the moment.", time.Second
		if errors.As(err, &e) {
			r.wait = max(r.wait, e.RetryAfter)
		}
	case kind == verify.InsufficientScope:
		r.status = http.StatusForbidden
	case opaque && r.detail == expiredDetail:
		r.code, r.detail = "token_expired", "The provided access token has expired and is no longer valid."
	case opaque:
		r.code, r.detail = "token_nonexistent", "The provided access token does not match any valid tokens."
	}
	return r
}

// Refuse answers a request that Check did not let in. The body is a JSON object
// without a newline at its end, because the apps look at its first and last byte.
func (g *Guard) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if g.config.OnRefusal != nil {
		g.config.OnRefusal(r, err)
	}
	var no *refusal
	if !errors.As(err, &no) {
		no = refused(err, false)
	}
	status := no.status
	if status == 0 {
		status = http.StatusUnauthorized
	}
	h := w.Header()
	switch {
	case status == http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.FormatInt(int64((no.wait+time.Second-1)/time.Second), 10))
	case status == http.StatusUnauthorized && no.code != "":
		h.Set("WWW-Authenticate", `Bearer realm="`+g.config.Realm+`"`)
	case status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `JWT realm="`+g.config.Realm+`"`)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	body := map[string]string{"detail": no.detail}
	if no.code != "" {
		body = map[string]string{"error_code": no.code, "developer_message": no.detail}
	}
	text, _ := json.Marshal(body) // two strings always encode
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that has gone needs no answer
}
