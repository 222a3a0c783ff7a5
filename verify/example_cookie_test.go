package verify_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"holdfast.example/verify"
)

// An API for pages on the same site, whose tokens are in cookies: the browser sends
// them by itself, so an order needs a proof that a page of ours asked for it.
func ExampleGuardConfig_cookie() {
	holdfast := startIssuer()
	defer holdfast.Close()
	tokens, err := verify.New(verify.Config{Issuer: holdfast.URL, Audience: "https://api.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := verify.NewGuard(verify.GuardConfig{
		Tokens:  tokens,
		Cookie:  "__Secure-holdfast", // the server's cookie_domain is example.com
		Origins: []string{"https://app.example.com"},
	})
	if err != nil {
		log.Fatal(err)
	}
	api := httptest.NewServer(guard.Protect(verify.Need{Scope: "write"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "ordered")
	})))
	defer api.Close()

	order := func(origin, csrf string) {
		r, err := http.NewRequest(http.MethodPost, api.URL, nil)
		if err != nil {
			log.Fatal(err)
		}
		r.Header.Set("Origin", origin)
		r.Header.Set("X-CSRF-Token", csrf)
		r.AddCookie(&http.Cookie{Name: "__Secure-holdfast", Value: holdfast.token("write", time.Now())})
		r.AddCookie(&http.Cookie{Name: "__Secure-holdfast-csrf", Value: "QJ5ZK2W7TN4CXR3V"})
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(resp.StatusCode, string(body))
	}
	order("https://app.example.com", "QJ5ZK2W7TN4CXR3V")
	order("https://evil.example", "")
	// Output:
	// 200 ordered
	// 403 {"error":"csrf","error_description":"the request does not prove that a page of this site sent it"}
}
