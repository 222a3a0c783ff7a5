package server_test

import (
	"net/http"
	"strings"
	"testing"

	"holdfast.example/internal/server"
)

// TestCrossOriginAccount (HTTP-07, RS21): scripts of registered origins look after
// their user's account, without cookies; those of other origins read nothing.
func TestCrossOriginAccount(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) { c.Doors = nil })}
	const spa = "http://127.0.0.1:8422"
	h := a.signIn("demo-native")
	ask := func(method, path, origin, token, asks string) answer {
		header := http.Header{"Origin": {origin}}
		if token != "" {
			header.Set("Authorization", "Bearer "+token)
		}
		if asks != "" {
			header.Set("Access-Control-Request-Method", asks)
			header.Set("Access-Control-Request-Headers", "authorization,content-type")
		}
		got, err := a.send(method, path, "", nil, header)
		if err != nil {
			a.Fatal(err)
		}
		return got
	}
	for path, methods := range map[string]string{"/account/v1/me": "GET", "/account/v1/sessions": "GET", "/account/v1/sessions/x": "DELETE, PATCH",
		"/account/v1/sessions/end-others": "POST", "/account/v1/sessions/end-all/": "POST", "/account/v1/password": "POST", "/account/v1/events": "GET"} {
		got := ask("OPTIONS", path, spa, "", "POST")
		if got.status != 204 || got.header.Get("Access-Control-Allow-Origin") != spa || got.header.Get("Access-Control-Allow-Methods") != methods ||
			!strings.Contains(got.header.Get("Access-Control-Allow-Headers"), "Authorization") || got.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
		for _, evil := range []string{"null", "https://evil.example", spa + "/", testIssuer} {
			for _, got := range []answer{ask("OPTIONS", path, evil, "", "POST"), ask("GET", path, evil, h.Access, "")} {
				if got.status == 204 || got.header.Get("Access-Control-Allow-Origin") != "" || got.header.Get("Vary") != "Origin" {
					t.Errorf("%s from %s: %d %v", path, evil, got.status, got.header)
				}
			}
		}
	}
	for token, status := range map[string]int{h.Access: 200, "": 401} {
		got := ask("GET", "/account/v1/me", spa, token, "")
		if got.status != status || got.header.Get("Access-Control-Allow-Origin") != spa || !strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "Holdfast-Reason") {
			t.Errorf("%d %v", got.status, got.header)
		}
	}
}
