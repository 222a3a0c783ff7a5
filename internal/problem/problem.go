// Package problem owns how the JSON doors speak: refusals as RFC 9457 problem
// documents, answers that no cache keeps, and bodies read strictly (read.go).
//
// It does not own what went wrong (room fault) nor which status a kind of fault
// has: that table stays in each door.
package problem

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"holdfast.example/internal/fault"
)

// ReasonHeader carries the reason of a refusal or an end to the app
// (design.md promise P7).
const ReasonHeader = "Holdfast-Reason"

// The media types of the answers.
const (
	jsonType    = "application/json"
	problemType = "application/problem+json"
)

// Problem is RFC 9457 section 3.1: what every refusal looks like.
type Problem struct {
	// Type is urn:holdfast:problem: and the kind of the fault.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Reason is the session reason, where one is the cause.
	Reason fault.Reason `json:"reason,omitempty"`
}

// Refuse answers a fault with the status that the door has for its kind. The
// private cause stays inside, and whoever is told to wait is told how long.
func Refuse(w http.ResponseWriter, status int, e *fault.Error) {
	Render(w, e, status, Problem{Type: "urn:holdfast:problem:" + e.Kind.String(),
		Title: http.StatusText(status), Status: status, Detail: e.Words, Reason: e.Reason})
}

// Render is Refuse with a document of the door's own, which says more than a
// Problem does.
func Render(w http.ResponseWriter, e *fault.Error, status int, document any) {
	h := w.Header()
	if e.Reason != "" {
		h.Set(ReasonHeader, string(e.Reason))
	}
	wait := e.RetryAfter
	if wait <= 0 && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable) {
		wait = fault.RetrySoon
	}
	if wait > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	write(w, status, problemType, document)
}

// Write answers with a JSON body.
func Write(w http.ResponseWriter, status int, body any) { write(w, status, jsonType, body) }

func write(w http.ResponseWriter, status int, kind string, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, kind = http.StatusInternalServerError, problemType
		b = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500}`)
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the caller is gone if this fails
}
