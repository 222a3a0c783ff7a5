package verify

import (
	"errors"
	"time"
)

// Kind says why a token was not accepted. The list is closed: metrics and
// alarms may count by it.
type Kind int

// The kinds of refusal. What each means for an HTTP answer stands in the table
// answers (answer.go).
const (
	_ Kind = iota

	// NoToken: the request carries no credentials at all.
	NoToken
	// BadRequest: the credentials are not a bearer token (RFC 6750 section 3.1, invalid_request).
	BadRequest
	// Malformed: the token, its header or its claims are not written as they must be.
	Malformed
	// UnknownKey: the issuer does not publish the key the token names.
	UnknownKey
	// BadSignature: the signature is not the key's.
	BadSignature
	// WrongType: it is no access token (RFC 9068 section 4: typ at+jwt).
	WrongType
	// WrongIssuer: another server issued it.
	WrongIssuer
	// WrongAudience: it is meant for another service.
	WrongAudience
	// Expired: its time is over.
	Expired
	// NotYet: it was issued in the future or is not valid yet.
	NotYet
	// Bound: it is bound to a key and nobody checked that the sender holds it.
	Bound
	// Inactive: the issuer says that an opaque token is not valid.
	Inactive
	// Revoked: it was ended before its time.
	Revoked
	// Unready: it cannot be decided now, because keys, introspection or
	// revocations cannot be reached. It says nothing about the token: answer
	// 503, never 401.
	Unready
	// InsufficientScope: the token is good and lacks a scope.
	InsufficientScope
	// InsufficientGrade: the token is good and the sign-in behind it is too old
	// or too weak (RFC 9470).
	InsufficientGrade
	// Forged: the token came in a cookie, and nothing proves that a page of ours sent
	// the request (CSRF). The page fetches its CSRF token anew and repeats.
	Forged
)

// words are what the public learns about each Kind: constants, so that nothing
// of a token or a request can be echoed.
var words = map[Kind]string{
	NoToken:           "an access token is needed",
	BadRequest:        "the request does not carry exactly one well-formed bearer token",
	Malformed:         "the access token is malformed",
	UnknownKey:        "the access token is signed with an unknown key",
	BadSignature:      "the signature of the access token is not valid",
	WrongType:         "the token is not an access token",
	WrongIssuer:       "the access token is from another issuer",
	WrongAudience:     "the access token is for another audience",
	Expired:           "the access token has expired",
	NotYet:            "the access token is not valid yet",
	Bound:             "the access token is bound to a key and no proof was checked",
	Inactive:          "the access token is not active",
	Revoked:           "the access token was revoked",
	Unready:           "access tokens cannot be checked at the moment",
	InsufficientScope: "the access token lacks a scope",
	InsufficientGrade: "a newer or stronger sign-in is needed",
	Forged:            "the request does not prove that a page of this site sent it",
}

// String returns the public words.
func (k Kind) String() string { return words[k] }

// Error is the only error type of this package's checks. Its text never holds
// a part of a token, a secret or an answer of another server.
type Error struct {
	Kind Kind

	// RetryAfter is set with Unready: the earliest time at which asking again
	// can help.
	RetryAfter time.Duration

	// Cause is for the log of the resource server, never for its answer.
	Cause error
}

// Error returns the public words and the cause.
func (e *Error) Error() string {
	text := "verify: " + e.Kind.String()
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf returns the kind of an error that came from this package, and Unready
// for any other: what nobody classified must not open the gate, and must not
// be blamed on the token either.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Unready
}

// classified returns err as an *Error. What comes from a hook without a kind is
// Unready, for the reason KindOf gives.
func classified(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return refuse(Unready, err)
}

func refuse(kind Kind, cause error) error { return &Error{Kind: kind, Cause: cause} }
