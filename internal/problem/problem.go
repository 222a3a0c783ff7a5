// Package problem owns how the JSON doors speak: refusals as RFC 9457 problem
// documents, and bodies read strictly (read.go).
//
// It does not own what went wrong (room fault) nor which status a kind of fault
// has: that table stays in each door.
package problem

import (
	"encoding/json"
	"net/http"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/fault"
)

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
	answer.Refusal(w.Header(), e, status)
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
	answer.Body(w, status, kind, b)
}
