// Package answer owns what every door's answers have in common: headers that keep
// them out of caches, the reason and the wait of a refusal, and how a body is put
// on the wire.
//
// It does not own what is said: statuses, codes and words are each door's own table,
// and what went wrong is room fault.
package answer

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"holdfast.example/internal/fault"
)

// ReasonHeader carries the reason of a refusal or an end to the app
// (design.md promise P7).
const ReasonHeader = "Holdfast-Reason"

// typeJSON is the media type of JSON's answers.
const typeJSON = "application/json"

// Private keeps an answer out of every cache and out of every guess at what it
// is (RFC 6749 section 5.1).
func Private(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
}

// Refusal sets what a refusal tells besides its body: the reason, and when to come
// back. status is the one it will be answered with.
func Refusal(h http.Header, e *fault.Error, status int) {
	if e.Reason != "" {
		h.Set(ReasonHeader, string(e.Reason))
	}
	if s := Seconds(e, status); s > 0 {
		h.Set("Retry-After", strconv.FormatInt(s, 10))
	}
}

// Seconds is how long the caller is told to wait, rounded up; 0 is not at all.
// Whoever is told to wait is told how long.
func Seconds(e *fault.Error, status int) int64 {
	wait := e.RetryAfter
	if wait <= 0 && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		wait = fault.RetrySoon
	}
	return int64((max(0, wait) + time.Second - 1) / time.Second)
}

// Empty answers with a status alone.
func Empty(w http.ResponseWriter, status int) {
	Private(w.Header())
	if status != http.StatusNoContent { // RFC 9110 section 8.6 forbids it there
		w.Header().Set("Content-Length", "0")
	}
	w.WriteHeader(status)
}

// JSON answers with a body that has no trailing newline: clients of the systems we
// replace look at the last byte.
func JSON(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	Body(w, status, typeJSON, b)
}

// Body answers with bytes of a media type.
func Body(w http.ResponseWriter, status int, kind string, b []byte) {
	h := w.Header()
	Private(h)
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the caller is gone if this fails
}

// Printable keeps an error_description inside the characters of RFC 6749
// section 5.2.
func Printable(s string) string {
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
