package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/server"
)

// TestCrossOrigin (A29, V10, HTTP-07, RS21): scripts of a registered origin, byte
// for byte, and of no other, may call what an application needs.
func TestCrossOrigin(t *testing.T) {
	a := attacks(t)
	const spa = "http://127.0.0.1:8422"
	preflight := func(path, origin string) answer {
		return a.request("OPTIONS", path, "", "", http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization"}})
	}
	strangers := []string{"null", "https://evil.example", "http://127.0.0.1:8422.evil.example", "http://sub.127.0.0.1:8422", "http://127.0.0.1:84220", "http://127.0.0.1",
		"https://127.0.0.1:8422", "HTTP://127.0.0.1:8422", spa + "/", "http://localhost:8422", "*", "", testIssuer, "http://127.0.0.1:8420"}
	for path, methods := range map[string]string{"/oauth2/token": "POST", "/oauth2/revoke": "POST", "/oauth2/userinfo": "GET, POST", "/oauth2/token/": "POST"} {
		a.in("A29 V10 "+path, func(a attack) {
			got := preflight(path, spa)
			h := got.header
			if got.status != 204 || h.Get("Access-Control-Allow-Origin") != spa || h.Get("Access-Control-Allow-Methods") != methods ||
				!strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") || h.Get("Access-Control-Max-Age") == "" || h.Get("Vary") != "Origin" || len(got.body) > 0 {
				a.Errorf("%d %v", got.status, h)
			}
			for _, method := range []string{"GET", "POST", "DELETE", "OPTIONS"} {
				got := a.request(method, path, "", "", http.Header{"Origin": {spa}})
				if got.header.Get("Access-Control-Allow-Origin") != spa || !strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") ||
					!strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "Holdfast-Reason") {
					a.Errorf("%s: a refusal that the script cannot read: %v", method, got.header)
				}
			}
			for _, origin := range strangers {
				for _, got := range []answer{preflight(path, origin), a.request("POST", path, urlEncoded, "x=y", http.Header{"Origin": {origin}})} {
					for name := range got.header {
						if strings.HasPrefix(name, "Access-Control-") {
							a.Errorf("%q is given %s: %s", origin, name, got.header.Get(name))
						}
					}
					if got.header.Get("Vary") != "Origin" || got.status == 204 {
						a.Errorf("%q: %d, Vary %q", origin, got.status, got.header.Get("Vary"))
					}
				}
			}
			two := a.request("POST", path, urlEncoded, "x=y", http.Header{"Origin": {spa, spa}})
			if two.header.Get("Access-Control-Allow-Origin") != "" {
				a.Error("two origins are allowed")
			}
		})
	}
	for _, path := range []string{"/oauth2/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		a.in("A29 D03 "+path, func(a attack) {
			for _, origin := range append(strangers, spa) {
				if got := preflight(path, origin); got.status != 204 || got.header.Get("Access-Control-Allow-Origin") != "*" {
					a.Errorf("%d %v", got.status, got.header)
				}
			}
			if got := a.request("GET", path, "", "", http.Header{"Origin": {"null"}}); got.header.Get("Access-Control-Allow-Origin") != "*" {
				a.Errorf("%v", got.header)
			}
		})
	}
	for _, path := range []string{"/oauth2/introspect", "/healthz", "/readyz", "/nothing", "/", "/demo/api"} {
		a.in("HTTP-07 "+path, func(a attack) {
			for _, method := range []string{"OPTIONS", "GET", "POST"} {
				got, err := a.send(method, path, "", nil, http.Header{"Origin": {spa}, "Access-Control-Request-Method": {"POST"}})
				if err != nil || got.header.Get("Access-Control-Allow-Origin") != "" {
					a.Errorf("%s: %d %v %v", method, got.status, got.header, err)
				}
			}
		})
	}
	a.in("HTTP-07 admin", func(a attack) {
		for _, method := range []string{"OPTIONS", "GET", "POST"} {
			r := httptest.NewRequest(method, "http://admin/admin/v1/users", nil)
			r.Header.Set("Origin", spa)
			r.Header.Set("Access-Control-Request-Method", "POST")
			w := httptest.NewRecorder()
			a.server.Admin().ServeHTTP(w, r)
			for name := range w.Result().Header {
				if strings.HasPrefix(name, "Access-Control-") {
					a.Errorf("%s: %s", method, name)
				}
			}
		}
	})
	a.in("an origin that is taken out", func(a attack) {
		a.operator("POST", "/admin/v1/clients/demo-spa/disable", "")
		if got := preflight("/oauth2/token", spa); got.status == 204 || got.header.Get("Access-Control-Allow-Origin") != "" {
			a.Errorf("%d %v", got.status, got.header)
		}
	})
}

// TestForgedAddresses (HTTP-05, HTTP-06, Y08, D01): what a caller says about
// where it is, or where we are, changes nothing, unless a trusted proxy says it.
func TestForgedAddresses(t *testing.T) {
	lies := http.Header{"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-For": {"9.9.9.9"}, "X-Forwarded-Prefix": {"/evil"},
		"X-Original-Url": {"/evil"}, "X-Rewrite-Url": {"/evil"}, "Forwarded": {"host=evil.example;proto=https;for=9.9.9.9"}, "X-Real-Ip": {"9.9.9.9"}, "X-Forwarded-Port": {"1"}}
	t.Run("HTTP-05", func(t *testing.T) {
		a := attacks(t)
		for _, path := range []string{"/.well-known/openid-configuration", "/oauth2/jwks", "/nothing", "/oauth2/userinfo"} {
			want := a.request("GET", path, "", "", nil)
			r, _ := http.NewRequest("GET", a.http.URL+path, nil)
			r.Host, r.Header = "evil.example", lies
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(body) != string(want.body) || res.StatusCode != want.status || res.Header.Get("WWW-Authenticate") != want.header.Get("WWW-Authenticate") {
				t.Errorf("%s: %s", path, body)
			}
		}
		if h := a.signIn("demo-native"); claims(h.Access)["iss"] != testIssuer {
			t.Errorf("iss is %v", claims(h.Access)["iss"])
		}
	})
	guess := func(a attack, from string) int {
		a.Helper()
		got, err := a.send("POST", "/oauth2/token", urlEncoded, strings.NewReader(encode([]string{"grant_type", "password", "client_id", "demo-native",
			"username", "nobody" + strconv.Itoa(a.count()), "password", "guessed-password"})), http.Header{"X-Forwarded-For": strings.Split(from, "|")})
		if err != nil {
			a.Fatal(err)
		}
		return got.status
	}
	few := func(c *server.Config) { c.AttemptsPerAddress = 3 }
	t.Run("HTTP-06 nobody is trusted", func(t *testing.T) {
		a := attack{t, forTest(t, few)}
		for i := range 4 {
			if got, want := guess(a, fmt.Sprintf("1.1.1.%d", i)), []int{400, 400, 400, 429}[i]; got != want {
				t.Errorf("guess %d: %d", i, got)
			}
		}
	})
	t.Run("HTTP-06 a trusted proxy", func(t *testing.T) {
		trusting := func(c *server.Config) {
			few(c)
			c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("10.0.0.0/8")}
		}
		a := attack{t, forTest(t, trusting)}
		for i, from := range []string{"9.9.9.9", "8.8.8.8, 9.9.9.9", "1.2.3.4|9.9.9.9"} { // whatever it puts in front
			if got := guess(a, from); got != 400 {
				t.Errorf("guess %d: %d", i, got)
			}
		}
		for _, from := range []string{"9.9.9.9", "7.7.7.7, 9.9.9.9", "7.7.7.7,9.9.9.9, 10.1.2.3", "::ffff:9.9.9.9"} {
			if got := guess(a, from); got != 429 {
				t.Errorf("from %s it goes on: %d", from, got)
			}
		}
		if got := guess(a, "9.9.9.8"); got != 400 {
			t.Errorf("a neighbour is answered %d", got)
		}
	})
}

// count numbers what must not be the same twice.
func (a attack) count() int { a.clock.advance(time.Microsecond); return int(a.clock.Now().UnixMicro()) }

// TestFlood (A33, HTTP-08): an address whose client authentications fail too
// often is told to wait, and only it, and only for what fails.
func TestFlood(t *testing.T) {
	a := attack{t, forTest(t, func(c *server.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })}
	h := a.signIn("demo-native")
	ask := func(from string) answer {
		r := httptest.NewRequest("POST", "/oauth2/token", strings.NewReader("grant_type=client_credentials&client_id=nobody&client_secret=wrong"))
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("Content-Type", urlEncoded)
		r.Header.Set("X-Forwarded-For", from)
		w := httptest.NewRecorder()
		a.server.Handler().ServeHTTP(w, r)
		got := answer{w.Code, w.Result().Header, w.Body.Bytes()}
		a.tidy("a flood", got)
		return got
	}
	told := 0
	for range 1000 {
		switch got := ask("9.9.9.9"); got.status {
		case 401:
			told++
		case 429:
			a.want(got, 429, "temporarily_unavailable", "")
		default:
			t.Fatalf("answered %d %s", got.status, got.body)
		}
	}
	if told != 400 {
		t.Errorf("%d of 1000 failures were told apart from a flood", told)
	}
	from := http.Header{"X-Forwarded-For": {"9.9.9.9"}}
	for what, body := range map[string]string{
		"refresh": encode([]string{"grant_type", "refresh_token", "client_id", "demo-native", "refresh_token", h.Refresh}),
		"sign-in": "grant_type=password&client_id=demo-native&username=demo&password=demo-password",
		"service": "grant_type=client_credentials&client_id=demo-service&client_secret=demo-service-secret",
	} {
		if got := a.request("POST", "/oauth2/token", urlEncoded, body, from); got.status != 200 {
			t.Errorf("%s behind the same address is answered %d", what, got.status)
		}
	}
	for _, path := range []string{"/oauth2/revoke", "/oauth2/introspect"} {
		a.want(a.request("POST", path, urlEncoded, "token=x&client_id=nobody", from), 429, "temporarily_unavailable", "")
	}
	if got := ask("9.9.9.8"); got.status != 401 {
		t.Errorf("a neighbour is answered %d", got.status)
	}
	a.clock.advance(time.Second)
	if got := ask("9.9.9.9"); got.status != 401 {
		t.Errorf("a second later it is answered %d", got.status)
	}
}

// TestErrorsEverywhere (HTTP-10, D10, ADMIN-01 paths): whatever is asked of
// whatever path, the answer is in order, and nothing is ever redirected.
func TestErrorsEverywhere(t *testing.T) {
	a := attacks(t)
	paths := []string{"/", "/nothing", "/oauth2", "/oauth2/", "/oauth2/authorize", "/oauth2/nothing", "//oauth2/token", "/oauth2//token", "/oauth2/../oauth2/token", "/oauth2/./token",
		"/oauth2%2ftoken", "/oauth2/token//", "/OAUTH2/TOKEN", "/oauth2/token%00", "/oauth2/token;x", "/.well-known/", "/.well-known/nothing", "/.well-known/jwks.json",
		"/metrics", "/debug/pprof/", "/dev/clock", "/favicon.ico", "/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/userinfo", "/oauth2/jwks",
		"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/" + strings.Repeat("a", 5000)}
	for _, path := range paths {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "HEAD"} {
			for _, body := range []struct{ kind, text string }{{"", ""}, {urlEncoded, "x=%zz"}, {"application/json", "{"}} {
				got := a.request(method, path, body.kind, body.text, http.Header{"Authorization": {"Bearer x"}})
				public := got.header.Get("Cache-Control") != "no-store"
				if got.status < 400 && !public && path != "/oauth2/revoke" || got.status >= 300 && got.status < 400 {
					a.Errorf("%s %s: %d %s", method, path, got.status, got.body)
				}
			}
		}
	}
	for _, path := range paths[:9] {
		if got := a.request("GET", path, "", "", nil); got.status != 404 {
			a.Errorf("%s: %d", path, got.status)
		}
	}
	if got := a.request("POST", "/oauth2/token/", urlEncoded, "grant_type=client_credentials&client_id=demo-service&client_secret=demo-service-secret", nil); got.status != 200 {
		a.Errorf("a trailing slash: %d", got.status)
	}
}

// TestPublicDocuments (HTTP-11, D03, D09): what may be cached says for how long
// and in which version.
func TestPublicDocuments(t *testing.T) {
	a := attacks(t)
	for path, kind := range map[string]string{"/oauth2/jwks": "application/jwk-set+json", "/.well-known/openid-configuration": "application/json", "/.well-known/oauth-authorization-server": "application/json"} {
		a.in("HTTP-11 "+path, func(a attack) {
			got := a.request("GET", path, "", "", nil)
			age, err := strconv.Atoi(strings.TrimPrefix(got.header.Get("Cache-Control"), "public, max-age="))
			etag := got.header.Get("ETag")
			if got.status != 200 || err != nil || age < 300 || age > 3600 || len(etag) < 8 || got.header.Get("Content-Type") != kind || !json.Valid(got.body) {
				a.Errorf("%d %v", got.status, got.header)
			}
			again := a.request("GET", path, "", "", http.Header{"If-None-Match": {etag}})
			if again.status != 304 || len(again.body) > 0 || again.header.Get("ETag") != etag {
				a.Errorf("%d %v", again.status, again.header)
			}
			if other := a.request("GET", path, "", "", http.Header{"If-None-Match": {`"other"`}}); other.status != 200 {
				a.Errorf("%d", other.status)
			}
			head := a.request("HEAD", path, "", "", nil)
			if head.status != 200 || len(head.body) > 0 || head.header.Get("Content-Length") != strconv.Itoa(len(got.body)) || head.header.Get("ETag") != etag {
				a.Errorf("%d %v", head.status, head.header)
			}
		})
	}
	before := a.request("GET", "/.well-known/openid-configuration", "", "", nil)
	a.operator("POST", "/admin/v1/clients/demo-service/disable", "")
	if after := a.request("GET", "/.well-known/openid-configuration", "", "", nil); after.header.Get("ETag") == before.header.Get("ETag") {
		t.Error("another document has the same ETag")
	}
}

// TestHeaderBombs (HTTP-02): headers beyond every limit are refused by the
// listener itself, and honest requests on other connections go on.
func TestHeaderBombs(t *testing.T) {
	a := attacks(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.server.Run(ctx, server.Listeners{Main: l}) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for name, request := range map[string]string{
		"1 MB header":       "GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
		"10k headers":       "GET /healthz HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 10_000) + "\r\n",
		"5k cookies":        "GET /healthz HTTP/1.1\r\nHost: x\r\nCookie: " + strings.Repeat("a=b; ", 5000) + "c=d\r\n\r\n",
		"1 MB path":         "GET /" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"100k query names":  "GET /healthz?" + strings.Repeat("a=b&", 100_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"1 MB method":       strings.Repeat("G", 1<<20) + " / HTTP/1.1\r\nHost: x\r\n\r\n",
		"1 MB bearer token": "GET /oauth2/userinfo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
	} {
		a.in("HTTP-02 "+name, func(a attack) {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				a.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			go func() { _, _ = io.WriteString(c, request) }() // the server need not read all of it
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				return // it hung up at once
			}
			defer res.Body.Close()
			if !slices.Contains([]int{400, 414, 431}, res.StatusCode) || !res.Close {
				a.Errorf("answered %d, close %v", res.StatusCode, res.Close)
			}
		})
	}
	res, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("afterwards: %v %v", res, err)
	}
	res.Body.Close()
}
