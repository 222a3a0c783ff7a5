// Package fault owns the one error type that crosses rooms: a Kind from a
// closed list, words for people, a Reason from another closed list, and the
// private cause.
//
// It does not own how a door says it: every door has one table from Kind to
// its own status code and error word, and a test fails when a Kind has none.
// An error that is not a *Error is our own fault and becomes Internal; its text
// goes to the log and never outside.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what went wrong, in the terms a door needs to answer.
type Kind uint8

// The closed list of kinds. The comment names the OAuth error it becomes at
// the standard door.
const (
	Internal             Kind = iota // our own fault: server_error
	InvalidRequest                   // malformed, missing or doubled parameter (RFC 6749 5.2)
	InvalidClient                    // client authentication failed
	InvalidGrant                     // the credential behind the grant does not hold
	UnauthorizedClient               // this client may not use this grant
	UnsupportedGrant                 // nobody may use this grant here
	InvalidScope                     // unknown, malformed or too wide scope
	InvalidToken                     // bearer token refused (RFC 6750 3.1)
	InsufficientScope                // bearer token good, but not for this
	NoToken                          // a bearer token is needed and none came
	UnsupportedTokenType             // RFC 7009 2.2.1
	Forbidden                        // known caller, not allowed
	NotFound                         // no such thing, or none you may see
	Conflict                         // the name is taken, or the thing changed meanwhile
	MethodNotAllowed                 // wrong HTTP method
	UnsupportedMediaType             // body of another type than the endpoint reads
	TooLarge                         // body or header over its limit
	TooMany                          // attempt limit reached; RetryAfter is set
	Busy                             // a queue is full; nothing was begun; RetryAfter is set
	Unavailable                      // the store cannot answer; safe to repeat; RetryAfter is set
	LateAnswer                       // an answer overtaken by a newer one; repeat (design.md section 3, row 7)
	InvalidSubject                   // the token shown to a token exchange does not hold or its owner may not sign in (RFC 8693 2.2.2)
	InvalidTarget                    // resource or audience unknown or not for this client (RFC 8693 2.2.2)
	kindCount
)

var kindNames = [kindCount]string{
	"internal", "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
	"unsupported_grant", "invalid_scope", "invalid_token", "insufficient_scope", "no_token",
	"unsupported_token_type", "forbidden", "not_found", "conflict", "method_not_allowed",
	"unsupported_media_type", "too_large", "too_many", "busy", "unavailable", "late",
	"invalid_subject", "invalid_target",
}

// String is the kind's name in logs and metrics.
func (k Kind) String() string {
	if k < kindCount {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Kinds lists every kind, for the tests that hold a door's table complete.
func Kinds() []Kind {
	all := make([]Kind, kindCount)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is a failure that a door can answer.
type Error struct {
	Kind Kind
	// Words tell a developer what is wrong, where and what to do. They go
	// outside: no secret, no SQL, nothing about whether a user exists.
	Words string
	// Reason is set when the failure is about a session's end or refusal.
	Reason Reason
	// RetryAfter is when to come back, for the kinds that invite it.
	RetryAfter time.Duration
	// Cause is private: logged, never shown.
	Cause error
}

// Error implements error for logs.
func (e *Error) Error() string {
	s := e.Kind.String()
	if e.Reason != "" {
		s += " (" + string(e.Reason) + ")"
	}
	if e.Words != "" {
		s += ": " + e.Words
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the private cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Cause }

// New returns an error with words for the outside.
func New(k Kind, words string) *Error { return &Error{Kind: k, Words: words} }

// Newf is New with formatting. Arguments go outside: pass nothing secret.
func Newf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Words: fmt.Sprintf(format, args...)}
}

// Wrap returns an error with a private cause.
func Wrap(k Kind, cause error, words string) *Error {
	return &Error{Kind: k, Words: words, Cause: cause}
}

// RetrySoon is how long a caller is asked to wait when the store or a queue
// could not serve it: long enough for a batch to pass, short enough for a
// person to keep waiting.
const RetrySoon = time.Second

// Down wraps a failure of the store whose outcome is unknown or certain not to
// have happened; either way repeating the request is safe.
func Down(cause error) *Error {
	return &Error{Kind: Unavailable, Words: "the server cannot reach its database right now; repeat the same request",
		RetryAfter: RetrySoon, Cause: cause}
}

// InTime is err, or Down when the time of a request is over: an answer that took too
// long is not sent, because what it says may be stale (design.md section 3).
func InTime(ctx context.Context, err error) error {
	if late := ctx.Err(); err == nil && late != nil {
		return Down(late)
	}
	return err
}

// As returns err as *Error. What is not one becomes Internal with err as its
// cause. A nil err gives nil.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Kind: Internal, Words: "the server met an unexpected condition; repeat the same request", Cause: err}
}

// Is reports whether err is a *Error of kind k.
func Is(err error, k Kind) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == k
}
