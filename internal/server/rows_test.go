package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tests of rows_*_test.go attack the running server row by row: each names
// the rows it is about (docs/reference/standards.md says which are where).

const urlEncoded = "application/x-www-form-urlencoded"

// attack is one house and what a test does to it.
type attack struct {
	*testing.T
	*house
}

func attacks(t *testing.T) attack { t.Helper(); return attack{t, forTest(t)} }

// in is the same attack in a subtest.
func (a attack) in(name string, f func(attack)) {
	a.Helper()
	a.Run(name, func(t *testing.T) { f(attack{t, a.house}) })
}

// request sends one request and holds the answer to what every answer must be.
func (a attack) request(method, path, kind, body string, header http.Header) answer {
	a.Helper()
	got, err := a.send(method, path, kind, strings.NewReader(body), header)
	if err != nil {
		a.Fatalf("%s %s: %v", method, path, err)
	}
	a.tidy(method+" "+path, got)
	return got
}

// post sends a form. Fields are name, value, name, value.
func (a attack) post(path string, fields ...string) answer {
	a.Helper()
	return a.request(http.MethodPost, path, urlEncoded, encode(fields), nil)
}

func encode(fields []string) string {
	v := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		v.Set(fields[i], fields[i+1])
	}
	return v.Encode()
}

// basic is an Authorization header as RFC 6749 section 2.3.1 wants it.
func basic(id, secret string) http.Header {
	r, _ := http.NewRequest(http.MethodPost, "/", nil)
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	return r.Header
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// tidy is what holds of every answer of the standard door (HTTP-10, TOKEN-10,
// A15, A30): its type, its caching, no cookie, and nothing of the inside.
func (a attack) tidy(what string, got answer) {
	a.Helper()
	h := got.header
	complain := func(format string, args ...any) {
		a.Helper()
		a.Errorf("%s: %s\n%d %v %s", what, fmt.Sprintf(format, args...), got.status, h, got.body)
	}
	if h["Set-Cookie"] != nil || h.Get("Location") != "" || h["Server"] != nil || h.Get("X-Content-Type-Options") != "nosniff" {
		complain("a cookie, a redirect, a banner or no nosniff")
	}
	public := strings.HasPrefix(h.Get("Cache-Control"), "public, max-age=")
	if h.Get("Cache-Control") != "no-store" && !(public && got.status < 400) {
		complain("Cache-Control %q", h.Get("Cache-Control"))
	}
	if h.Get("Access-Control-Allow-Credentials") != "" {
		complain("scripts may bring credentials")
	}
	if wait := h.Get("Retry-After"); wait == "" && (got.status == 429 || got.status == 503) {
		complain("nobody says when to come back")
	}
	if got.status < 400 || len(got.body) == 0 {
		return
	}
	var e map[string]string
	err := json.Unmarshal(got.body, &e)
	if err != nil || h.Get("Content-Type") != "application/json" || e["error"] == "" {
		complain("no error of RFC 6749 section 5.2: %v", err)
	}
	for member, text := range e {
		if member != "error" && member != "error_description" || strings.ContainsFunc(text, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) {
			complain("member %s is %q", member, text)
		}
	}
	for _, inside := range []string{"SELECT", "sqlite", "goroutine", ".go:", "panic", "holdfast.example", "sql:", "context deadline"} {
		if strings.Contains(string(got.body), inside) {
			complain("shows %s", inside)
		}
	}
	if got.status == 500 {
		complain("a 500 fails a case whatever else it says")
	}
}

// want checks status, error code and reason; "" is none.
func (a attack) want(got answer, status int, code, reason string) {
	a.Helper()
	var e struct{ Error string }
	_ = json.Unmarshal(got.body, &e)
	if got.status != status || e.Error != code || got.header.Get("Holdfast-Reason") != reason {
		a.Errorf("answered %d %q (%s), want %d %q (%s): %s", got.status, e.Error, got.header.Get("Holdfast-Reason"), status, code, reason, got.body)
	}
}

// oneOf checks that the error code is one of several and the status fits.
func (a attack) oneOf(got answer, statuses []int, codes ...string) {
	a.Helper()
	var e struct{ Error string }
	_ = json.Unmarshal(got.body, &e)
	if !slices.Contains(statuses, got.status) || !slices.Contains(codes, e.Error) {
		a.Errorf("answered %d %q, want one of %v %v: %s", got.status, e.Error, statuses, codes, got.body)
	}
}

// held is what a sign-in or a refresh gave.
type held struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	ID        string `json:"id_token"`
	Type      string `json:"token_type"`
	ExpiresIn int64  `json:"expires_in"`
	Scope     string `json:"scope"`
	status    int
	reason    string
	client    string
}

func (a attack) holds(got answer, client string) held {
	a.Helper()
	h := held{status: got.status, reason: got.header.Get("Holdfast-Reason"), client: client}
	if got.status == http.StatusOK {
		err := json.Unmarshal(got.body, &h)
		if err != nil {
			a.Fatalf("%v: %s", err, got.body)
		}
	}
	return h
}

// signIn is the demo user's sign-in at a client; further fields override.
func (a attack) signIn(client string, fields ...string) held {
	a.Helper()
	h := a.holds(patient(func() answer { return a.signInOnce(client, fields...) }), client)
	if h.status != http.StatusOK {
		a.Fatalf("the sign-in at %s was answered %d %s", client, h.status, h.reason)
	}
	return h
}

func (a attack) trySignIn(client string, fields ...string) held {
	a.Helper()
	return a.holds(a.signInOnce(client, fields...), client)
}

func (a attack) signInOnce(client string, fields ...string) answer {
	a.Helper()
	return a.post("/oauth2/token", append([]string{"grant_type", "password", "client_id", client, "username", "demo", "password", "demo-password"}, fields...)...)
}

// patient asks again while the server is busy, as an app does: on a loaded machine
// passwords take longer than one request may.
func patient(ask func() answer) (got answer) {
	const times = 30
	for range times {
		got = ask()
		if got.status != http.StatusServiceUnavailable || got.header.Get("Holdfast-Reason") != "" {
			break
		}
		time.Sleep(time.Second)
	}
	return got
}

// refresh shows a refresh token at its client; further fields override.
func (a attack) refresh(h held, fields ...string) answer {
	a.Helper()
	return a.post("/oauth2/token", append([]string{"grant_type", "refresh_token", "client_id", h.client, "refresh_token", h.Refresh}, fields...)...)
}

// refreshed is a refresh that must be good.
func (a attack) refreshed(h held, fields ...string) held {
	a.Helper()
	got := a.refresh(h, fields...)
	if got.status != http.StatusOK {
		a.Fatalf("the refresh was answered %d %s: %s", got.status, got.header.Get("Holdfast-Reason"), got.body)
	}
	return a.holds(got, h.client)
}

// call asks userinfo with an access token.
func (a attack) call(token string) answer {
	a.Helper()
	return a.request(http.MethodGet, "/oauth2/userinfo", "", "", bearer(token))
}

// introspect asks about a token as the demo service.
func (a attack) introspect(token string) answer {
	a.Helper()
	return a.request(http.MethodPost, "/oauth2/introspect", urlEncoded, encode([]string{"token", token}), basic("demo-service", "demo-service-secret"))
}

const inactive = `{"active":false}`

// dead: the access token is refused by userinfo and inactive.
func (a attack) dead(token, reason string) {
	a.Helper()
	a.want(a.call(token), 401, "invalid_token", reason)
	if got := a.introspect(token); got.status != 200 || string(got.body) != inactive {
		a.Errorf("introspection says %d %s", got.status, got.body)
	}
}

// alive: the access token is accepted by userinfo and active.
func (a attack) alive(token string) {
	a.Helper()
	if got := a.call(token); got.status != 200 {
		a.Errorf("userinfo says %d %s", got.status, got.body)
	}
	if got := a.introspect(token); got.status != 200 || !strings.HasPrefix(string(got.body), `{"active":true`) {
		a.Errorf("introspection says %d %s", got.status, got.body)
	}
}

// service is an access token of the demo service's own.
func (a attack) service() held {
	a.Helper()
	got := a.request(http.MethodPost, "/oauth2/token", urlEncoded, "grant_type=client_credentials", basic("demo-service", "demo-service-secret"))
	if got.status != 200 {
		a.Fatalf("client credentials were answered %d %s", got.status, got.body)
	}
	return a.holds(got, "demo-service")
}

// apply declares clients and users.
func (a attack) apply(manifest string) {
	a.Helper()
	got, err := a.operate(http.MethodPost, "/admin/v1/apply?file=rows.toml", strings.NewReader(manifest))
	if err != nil || got.status != 200 {
		a.Fatalf("the manifest was answered %d %s %v", got.status, got.body, err)
	}
}

// operator does something through the admin API that must succeed.
func (a attack) operator(method, path, body string) map[string]any {
	a.Helper()
	got, err := a.operate(method, path, strings.NewReader(body))
	if err != nil || got.status != 200 {
		a.Fatalf("%s %s was answered %d %s %v", method, path, got.status, got.body, err)
	}
	var v map[string]any
	_ = json.Unmarshal(got.body, &v)
	return v
}

// figure reads one series of /metrics; 0 when it is not there.
func (a attack) figure(series string) float64 {
	a.Helper()
	text, err := a.metrics()
	if err != nil {
		a.Fatal(err)
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == series {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				a.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// atOnce runs f at the same moment in n goroutines.
func atOnce(n int, f func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { <-start; f(i) })
	}
	close(start)
	wg.Wait()
}
