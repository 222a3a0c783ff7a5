package answer_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.example/internal/answer"
	"holdfast.example/internal/fault"
)

// TestRefusal: a wait is rounded up, never to 0; who is told to wait is told how
// long; nobody else is.
func TestRefusal(t *testing.T) {
	for _, c := range []struct {
		status int
		e      fault.Error
		wait   string
	}{
		{429, fault.Error{RetryAfter: time.Millisecond}, "1"},
		{429, fault.Error{RetryAfter: time.Second}, "1"},
		{503, fault.Error{RetryAfter: 1001 * time.Millisecond}, "2"},
		{429, fault.Error{RetryAfter: time.Minute}, "60"},
		{503, fault.Error{Reason: fault.Late}, "1"},
		{429, fault.Error{RetryAfter: -time.Minute}, "1"},
		{400, fault.Error{Reason: fault.Reuse}, ""},
		{401, fault.Error{RetryAfter: -time.Minute}, ""},
	} {
		h := http.Header{}
		answer.Refusal(h, &c.e, c.status)
		if h.Get("Retry-After") != c.wait || h.Get(answer.ReasonHeader) != string(c.e.Reason) || len(h) > 2 {
			t.Errorf("%d, %+v: %v", c.status, c.e, h)
		}
	}
}

// TestAnswers: nothing is kept by a cache, and the last byte of JSON is its own.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		write func(http.ResponseWriter)
		body  string
		h     map[string]string
	}{
		"json":       {func(w http.ResponseWriter) { answer.JSON(w, 200, map[string]int{"a": 1}) }, `{"a":1}`, map[string]string{"Content-Type": "application/json", "Content-Length": "7"}},
		"no json":    {func(w http.ResponseWriter) { answer.JSON(w, 500, func() {}) }, `{"error":"server_error"}`, map[string]string{"Content-Type": "application/json"}},
		"empty":      {func(w http.ResponseWriter) { answer.Empty(w, 302) }, "", map[string]string{"Content-Length": "0"}},
		"no content": {func(w http.ResponseWriter) { answer.Empty(w, 204) }, "", map[string]string{"Content-Length": ""}},
	} {
		w := httptest.NewRecorder()
		c.write(w)
		h := w.Result().Header
		if w.Body.String() != c.body || h.Get("Cache-Control") != "no-store" || h.Get("Pragma") != "no-cache" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %s %v", name, w.Body, h)
		}
		for k, v := range c.h {
			if h.Get(k) != v {
				t.Errorf("%s: %s is %q", name, k, h.Get(k))
			}
		}
	}
}

// descriptive: the characters of RFC 6749 section 5.2.
func descriptive(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// TestPrintable (A30): whatever the words are, the description is inside the
// characters of RFC 6749 section 5.2, and what is already is left alone.
func TestPrintable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "words")
		got := answer.Printable(s)
		if !descriptive(got) {
			t.Fatalf("%q became %q", s, got)
		}
		if descriptive(s) && got != s {
			t.Fatalf("%q became %q for no reason", s, got)
		}
	})
}
