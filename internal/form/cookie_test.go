package form

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestCookie: one cookie, or several that say the same; nobody who sets a second one,
// from another host of the domain, has a say, in whatever order they come.
func TestCookie(t *testing.T) {
	for sent, want := range map[string]string{
		"": "", "a=x": "x", "b=y; a=x": "x", "a=x; a=x": "x", "a=x; a=y": "", "a=y; a=x": "", "a=; a=x": "", "a=x; a=": "",
		"a=x; a=y; a=x": "", "a=12345": "12345", "a=123456": "", "a=x; a=123456": "", "A=x": "", "a": "",
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", sent)
		if got := Cookie(r, "a", 5).Reveal(); got != want {
			t.Errorf("%q: %q, not %q", sent, got, want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["Cookie"] = []string{"a=", "a=x"}
	if got := Cookie(r, "a", 5).Reveal(); got != "" {
		t.Errorf("in two headers: %q", got)
	}
}
