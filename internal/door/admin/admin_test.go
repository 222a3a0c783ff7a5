package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"holdfast.example/internal/fault"
)

// TestEveryKindHasAStatus: a kind of fault without one would be answered with
// status 0.
func TestEveryKindHasAStatus(t *testing.T) {
	for _, k := range fault.Kinds() {
		s, ok := statuses[k]
		if !ok || s < 400 || s > 599 || http.StatusText(s) == "" {
			t.Errorf("%s has the status %d", k, s)
		}
	}
	if len(statuses) != len(fault.Kinds()) {
		t.Errorf("%d kinds have a status, there are %d", len(statuses), len(fault.Kinds()))
	}
}

// TestEveryRefusal (AD01): whatever went wrong, the answer is a problem document
// (RFC 9457) whose status is the answer's, no cache keeps it, it tells nothing
// private, and whoever has to wait is told how long.
func TestEveryRefusal(t *testing.T) {
	for _, k := range fault.Kinds() {
		t.Run(k.String(), func(t *testing.T) {
			w := httptest.NewRecorder()
			(&Door{}).refuse(w, httptest.NewRequest(http.MethodGet, "/", nil), fault.Wrap(k, errors.New("SELECT secret"), "words"))
			var p Problem
			err := json.Unmarshal(w.Body.Bytes(), &p)
			h := w.Result().Header
			if err != nil || w.Code != statuses[k] || p.Status != w.Code || p.Title == "" || p.Detail != "words" ||
				p.Type != "urn:holdfast:problem:"+k.String() || strings.Contains(w.Body.String(), "SELECT") {
				t.Errorf("%d %s %v", w.Code, w.Body, err)
			}
			if h.Get("Content-Type") != "application/problem+json" || h.Get("Cache-Control") != "no-store" ||
				h.Get("X-Content-Type-Options") != "nosniff" || h["Set-Cookie"] != nil || h["Access-Control-Allow-Origin"] != nil {
				t.Errorf("headers %v", h)
			}
			if wait := h.Get("Retry-After"); (wait == "") == (w.Code == 429 || w.Code == 503) {
				t.Errorf("%d with Retry-After %q", w.Code, wait)
			}
		})
	}
}
