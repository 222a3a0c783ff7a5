package edx_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"holdfast.example/verify"
	"holdfast.example/verify/edx"
)

// A service that lists courses for everybody who is signed in, and grades for
// applications that may read them.
func Example() {
	tokens, err := verify.New(verify.Config{Issuer: "https://id.example.com", Audience: "openedx"})
	if err != nil {
		panic(err)
	}
	guard, err := edx.NewGuard(edx.Config{Tokens: tokens, TrustedOrigins: []string{"https://apps.example.com"}, BehindTLS: true})
	if err != nil {
		panic(err)
	}
	who := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := edx.FromContext(r.Context())
		fmt.Fprintln(w, u.Username)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /api/courses", guard.Protect(edx.Need{}, who))
	mux.Handle("GET /api/grades/{course}/{username}", guard.Protect(edx.Need{
		Scopes: []string{"grades:read"},
		Org: func(r *http.Request) string {
			key, _ := strings.CutPrefix(r.PathValue("course"), "course-v1:")
			org, _, _ := strings.Cut(key, "+")
			return org
		},
		User: func(r *http.Request) string { return r.PathValue("username") },
	}, who))
	_, pattern := mux.Handler(&http.Request{Method: "GET", URL: &url.URL{Path: "/api/grades/course-v1:edX+Demo+1/ada"}})
	fmt.Println(pattern)
	// Output: GET /api/grades/{course}/{username}
}
