package cors_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"holdfast.example/internal/cors"
)

// TestRule (HTTP-07, RS21): only an origin that is allowed, byte for byte, is named
// in an answer; credentials come with no star; a preflight reaches no endpoint.
func TestRule(t *testing.T) {
	const app = "https://app.example"
	one := func(origin string) bool { return origin == app }
	all := func(string) bool { return true }
	for _, c := range []struct {
		name        string
		rule        cors.Rule
		origins     []string
		named, cred string
	}{
		{"allowed", cors.Rule{Allows: one}, []string{app}, app, ""},
		{"allowed with cookies", cors.Rule{Allows: one, Credentials: all}, []string{app}, app, "true"},
		{"none", cors.Rule{Allows: one, Credentials: all}, nil, "", ""},
		{"another", cors.Rule{Allows: one, Credentials: all}, []string{"https://app.example.evil"}, "", ""},
		{"another case", cors.Rule{Allows: one, Credentials: all}, []string{"https://App.example"}, "", ""},
		{"null", cors.Rule{Allows: all, Credentials: all}, []string{"null"}, "", ""},
		{"two", cors.Rule{Allows: one, Credentials: all}, []string{app, app}, "", ""},
		{"everybody", cors.Rule{}, []string{"https://evil.example"}, "*", ""},
		{"everybody never with cookies", cors.Rule{Credentials: all}, []string{app}, "*", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.rule.Methods, c.rule.Asked, c.rule.Told = []string{"POST"}, "X-Asked", "X-Told"
			reached := 0
			h := c.rule.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reached++; w.WriteHeader(http.StatusTeapot) }))
			ask := func(method, asks string) *http.Response {
				r := httptest.NewRequest(method, "/", nil)
				r.Header["Origin"] = c.origins
				if asks != "" {
					r.Header.Set("Access-Control-Request-Method", asks)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w.Result()
			}
			for _, r := range []*http.Response{ask("POST", ""), ask("OPTIONS", "POST")} {
				if got := r.Header.Get("Access-Control-Allow-Origin"); got != c.named {
					t.Errorf("names %q, want %q", got, c.named)
				}
				if got := r.Header.Get("Access-Control-Allow-Credentials"); got != c.cred {
					t.Errorf("credentials %q, want %q", got, c.cred)
				}
				if c.rule.Allows != nil && !strings.Contains(r.Header.Get("Vary"), "Origin") {
					t.Error("a cache could show one origin's answer to another")
				}
			}
			want := 1
			if c.named == "" {
				want = 2 // the preflight of a stranger is any request
			}
			if reached != want {
				t.Errorf("the endpoint was reached %d times, want %d", reached, want)
			}
		})
	}
}
