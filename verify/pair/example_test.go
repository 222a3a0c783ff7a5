package pair_test

import (
	"fmt"
	"net/http"
	"net/url"

	"holdfast.example/verify"
	"holdfast.example/verify/pair"
)

// A service whose app was written against simplejwt.
func Example() {
	tokens, err := verify.New(verify.Config{Issuer: "https://id.example.com", Audience: "https://api.example.com"})
	if err != nil {
		panic(err)
	}
	guard, err := pair.NewGuard(pair.Config{Tokens: tokens})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /notes", guard.Protect(pair.Need{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := pair.FromContext(r.Context())
		fmt.Fprintln(w, u.ID)
	})))
	_, pattern := mux.Handler(&http.Request{Method: "GET", URL: &url.URL{Path: "/notes"}})
	fmt.Println(pattern)
	// Output: GET /notes
}
