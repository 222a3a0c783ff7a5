package server_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/id"
)

// TestTokenRequest (TOKEN-01..04, 06, 08, 09, 11; A07, A14, A16, A18, A20..A22):
// what a request to the token endpoint must not be.
func TestTokenRequest(t *testing.T) {
	a := attacks(t)
	const (
		signIn  = "grant_type=password&client_id=demo-native&username=demo&password=demo-password"
		service = "grant_type=client_credentials"
		inBody  = "&client_id=demo-service&client_secret=demo-service-secret"
	)
	right := basic("demo-service", "demo-service-secret")
	two := http.Header{"Authorization": {right.Get("Authorization"), right.Get("Authorization")}}
	for _, c := range []struct {
		rows, method, path, kind, body string
		header                         http.Header
		status                         int
		code                           string
	}{
		{rows: "TOKEN-01 A14 GET", method: "GET", path: "/oauth2/token?" + signIn, status: 405, code: "invalid_request"},
		{rows: "TOKEN-01 PUT", method: "PUT", body: signIn, status: 405, code: "invalid_request"},
		{rows: "TOKEN-01 DELETE", method: "DELETE", path: "/oauth2/token?" + signIn, status: 405, code: "invalid_request"},
		{rows: "TOKEN-01 override", method: "GET", header: http.Header{"X-Http-Method-Override": {"POST"}}, body: signIn, status: 405, code: "invalid_request"},
		{rows: "TOKEN-01 everything in the query", path: "/oauth2/token?" + signIn, status: 400, code: "invalid_request"},
		{rows: "TOKEN-01 secret in the query", path: "/oauth2/token?client_id=demo-service&client_secret=demo-service-secret", body: service, status: 400, code: "invalid_request"},
		{rows: "TOKEN-01 anything in the query", path: "/oauth2/token?x", body: signIn, status: 400, code: "invalid_request"},

		{rows: "TOKEN-02 A18 header and body", body: service + inBody, header: right, status: 400, code: "invalid_request"},
		{rows: "TOKEN-02 header and assertion", body: service + "&client_assertion=x&client_assertion_type=y", header: right, status: 400, code: "invalid_request"},
		{rows: "TOKEN-02 body and assertion", body: service + inBody + "&client_assertion=x", status: 400, code: "invalid_request"},
		{rows: "TOKEN-02 two headers", body: service, header: two, status: 400, code: "invalid_request"},
		{rows: "TOKEN-02 two names", body: service + "&client_id=demo-native", header: right, status: 400, code: "invalid_request"},
		{rows: "TOKEN-02 another scheme", body: service, header: bearer("demo-service"), status: 401, code: "invalid_client"},
		{rows: "TOKEN-02 broken Basic", body: service, header: http.Header{"Authorization": {"Basic ???"}}, status: 401, code: "invalid_client"},

		{rows: "TOKEN-04 JSON", kind: "application/json", body: `{"grant_type":"client_credentials"}`, status: 415, code: "invalid_request"},
		{rows: "TOKEN-04 text", kind: "text/plain", body: signIn, status: 415, code: "invalid_request"},
		{rows: "TOKEN-04 multipart", kind: "multipart/form-data; boundary=x", body: "--x--", status: 415, code: "invalid_request"},
		{rows: "TOKEN-04 no type", kind: "-", body: signIn, status: 415, code: "invalid_request"},
		{rows: "TOKEN-04 UTF-16", kind: urlEncoded + "; charset=utf-16", body: signIn, status: 415, code: "invalid_request"},
		{rows: "TOKEN-04 two charsets", kind: urlEncoded + "; charset=utf-8; charset=utf-16", body: signIn, status: 415, code: "invalid_request"},
		{rows: "TOKEN-04 two types", header: http.Header{"Content-Type": {urlEncoded, "application/json"}}, kind: "-", body: signIn, status: 415, code: "invalid_request"},
		{rows: "TOKEN-04 UTF-8 is fine", kind: urlEncoded + "; charset=UTF-8", body: signIn, status: 200},

		{rows: "TOKEN-06 NUL", body: signIn + "%00", status: 400, code: "invalid_request"},
		{rows: "TOKEN-06 NUL in the client", body: strings.Replace(signIn, "native", "native%00", 1), status: 400, code: "invalid_request"},
		{rows: "TOKEN-06 surrogate", body: strings.Replace(signIn, "username=demo", "username=%ed%a0%80", 1), status: 400, code: "invalid_request"},
		{rows: "TOKEN-06 overlong", body: strings.Replace(signIn, "username=demo", "username=%c0%af", 1), status: 400, code: "invalid_request"},
		{rows: "TOKEN-06 broken escape", body: signIn + "&x=%zz", status: 400, code: "invalid_request"},
		{rows: "TOKEN-06 right-to-left twin", body: strings.Replace(signIn, "demo-native", "demo-native%e2%80%ae", 1), status: 401, code: "invalid_client"},
		{rows: "TOKEN-06 full-width twin", body: strings.Replace(signIn, "demo-native", "%ef%bd%84emo-native", 1), status: 401, code: "invalid_client"},
		{rows: "TOKEN-06 case twin", body: strings.Replace(signIn, "demo-native", "Demo-Native", 1), status: 401, code: "invalid_client"},
		{rows: "TOKEN-06 space twin", body: strings.Replace(signIn, "demo-native", "demo-native+", 1), status: 401, code: "invalid_client"},
		{rows: "TOKEN-06 DEL in the scope", body: signIn + "&scope=re%7fad", status: 400, code: "invalid_scope"},
		{rows: "TOKEN-06 NFD in the scope", body: signIn + "&scope=e%cc%81", status: 400, code: "invalid_scope"},

		{rows: "TOKEN-08 A20 A22 a name is no proof", body: service + "&client_id=demo-service", status: 401, code: "invalid_client"},
		{rows: "TOKEN-08 an empty secret is none", body: service + "&client_id=demo-service&client_secret=", status: 401, code: "invalid_client"},
		{rows: "TOKEN-08 an empty Basic secret", body: service, header: basic("demo-service", ""), status: 401, code: "invalid_client"},
		{rows: "TOKEN-08 A20 a public client's secret", body: signIn + "&client_secret=anything", status: 401, code: "invalid_client"},
		{rows: "TOKEN-08 a public client's Basic", body: signIn, header: basic("demo-native", "anything"), status: 401, code: "invalid_client"},

		{rows: "TOKEN-09 A16 not allowed", body: "grant_type=password&username=demo&password=demo-password" + inBody, status: 400, code: "unauthorized_client"},
		{rows: "TOKEN-09 refresh not allowed", body: "grant_type=refresh_token&refresh_token=x" + inBody, status: 400, code: "unauthorized_client"},
		{rows: "TOKEN-11 A22 public client_credentials", body: service + "&client_id=demo-native", status: 400, code: "unauthorized_client"},
		{rows: "TOKEN-09 missing", body: "client_id=demo-native", status: 400, code: "invalid_request"},
		{rows: "TOKEN-09 empty", body: "client_id=demo-native&grant_type=", status: 400, code: "invalid_request"},
	} {
		a.in(c.rows, func(a attack) {
			if c.method == "" {
				c.method = "POST"
			}
			if c.path == "" {
				c.path = "/oauth2/token"
			}
			switch c.kind {
			case "":
				c.kind = urlEncoded
			case "-":
				c.kind = ""
			}
			got := a.request(c.method, c.path, c.kind, c.body, c.header)
			a.want(got, c.status, c.code, "")
			if c.status == 405 && got.header.Get("Allow") != "POST" {
				a.Errorf("Allow is %q", got.header.Get("Allow"))
			}
		})
	}
	a.in("TOKEN-01 HEAD", func(a attack) {
		got := a.request("HEAD", "/oauth2/token?"+signIn, "", "", nil)
		if got.status != 405 || got.header.Get("Allow") != "POST" || len(got.body) > 0 {
			a.Errorf("%d %v", got.status, got.header)
		}
	})
	a.in("TOKEN-03 A07", func(a attack) {
		for _, p := range []string{"grant_type=password", "client_id=demo-native", "username=demo", "password=demo-password", "scope=read",
			"refresh_token=x", "install_id=x", "anything=x"} {
			name, _, _ := strings.Cut(p, "=")
			full := signIn + "&scope=read&refresh_token=x&install_id=x&anything=x"
			for _, again := range []string{p, name + "=", name + "=other", strings.Replace(p, name[:1], fmt.Sprintf("%%%02x", name[0]), 1)} {
				a.want(a.request("POST", "/oauth2/token", urlEncoded, full+"&"+again, nil), 400, "invalid_request", "")
			}
		}
	})
	a.in("TOKEN-09 A16 A21 unknown grants", func(a attack) {
		for _, g := range []string{"authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:device_code",
			"urn:ietf:params:oauth:grant-type:token-exchange", "urn:x", "Password", " password", "password ", "implicit"} {
			a.oneOf(a.post("/oauth2/token", "grant_type", g, "client_id", "demo-service", "client_secret", "demo-service-secret",
				"username", "demo", "password", "demo-password"), []int{400}, "unsupported_grant_type", "unauthorized_client")
		}
	})
	a.in("A08 unknown parameters", func(a attack) {
		a.signIn("demo-native", "claims", "{}", "audience", "https://elsewhere", "resource", "https://elsewhere", "ü", "ü")
	})
}

// TestTokenRequestSize (TOKEN-05, INV-09): bodies beyond every limit are refused at
// once, many at the same time, and honest requests go on.
func TestTokenRequestSize(t *testing.T) {
	a := attacks(t)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write(bytes.Repeat([]byte("a"), 10<<20))
	_ = z.Close()
	const prefix = "grant_type=password&client_id=demo-native&x="
	bodies := map[string]func() (io.Reader, http.Header){
		"64 KiB and one": func() (io.Reader, http.Header) {
			return bytes.NewReader([]byte(prefix + strings.Repeat("a", 64<<10+1-len(prefix)))), nil
		},
		"10 MB":   func() (io.Reader, http.Header) { return io.LimitReader(letters{}, 10<<20), nil },
		"endless": func() (io.Reader, http.Header) { return letters{}, nil },
		"zipped": func() (io.Reader, http.Header) {
			return bytes.NewReader(zipped.Bytes()), http.Header{"Content-Encoding": {"gzip"}}
		},
		"100k names": func() (io.Reader, http.Header) { return strings.NewReader(strings.Repeat("a=&b&", 10_000)), nil },
		"100 names":  func() (io.Reader, http.Header) { return strings.NewReader(manyNames(100)), nil },
		"1 MB parameter": func() (io.Reader, http.Header) {
			return io.MultiReader(strings.NewReader(prefix), io.LimitReader(letters{}, 1<<20)), nil
		},
	}
	for name, body := range bodies {
		a.in("TOKEN-05 "+name, func(a attack) {
			atOnce(20, func(int) {
				r, header := body()
				got, err := a.stream(r, header)
				if err != nil {
					return // the server hung up on a body that did not end
				}
				a.tidy(name, got)
				if !slices.Contains([]int{400, 413, 415}, got.status) {
					a.Errorf("answered %d %s", got.status, got.body)
				}
			})
		})
	}
	a.in("TOKEN-05 exactly 64 KiB", func(a attack) {
		body := "grant_type=password&client_id=demo-native&username=demo&password=demo-password&x="
		got := a.request(http.MethodPost, "/oauth2/token", urlEncoded, body+strings.Repeat("a", 64<<10-len(body)), nil)
		a.want(got, 200, "", "")
	})
}

// stream posts a body as it comes, without looking at it.
func (a attack) stream(body io.Reader, header http.Header) (answer, error) {
	r, err := http.NewRequest(http.MethodPost, a.http.URL+"/oauth2/token", body)
	if err != nil {
		return answer{}, err
	}
	maps.Copy(r.Header, header)
	r.Header.Set("Content-Type", urlEncoded)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}, err
}

// letters is a body that never ends.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d=1&", i)
	}
	return b.String()
}

// TestClientAuthentication (TOKEN-07, A17, INV-07): a client that is not there, not
// allowed any more, or has the wrong secret is one answer.
func TestClientAuthentication(t *testing.T) {
	a := attacks(t)
	a.apply("[[clients]]\nid = \"stopped\"\ntype = \"confidential\"\nsecret = \"the-secret-of-stopped\"\ngrants = [\"client_credentials\"]\nscopes = [\"read\"]\n")
	a.operator("POST", "/admin/v1/clients/stopped/disable", "")
	var bodies []string
	for _, c := range []struct{ id, secret string }{
		{"nobody", "secret"}, {"nobody", "demo-service-secret"}, {"demo-service", "wrong"}, {"demo-service", "demo-service-secre"},
		{"demo-service", "demo-web-secret"}, {"stopped", "the-secret-of-stopped"}, {"stopped", "wrong"}, {"demo-service", strings.Repeat("x", 5000)},
	} {
		header := a.request("POST", "/oauth2/token", urlEncoded, "grant_type=client_credentials", basic(c.id, c.secret))
		a.want(header, 401, "invalid_client", "")
		if !strings.HasPrefix(header.header.Get("WWW-Authenticate"), `Basic realm="`) {
			a.Errorf("Basic is answered with WWW-Authenticate %q", header.header.Get("WWW-Authenticate"))
		}
		body := a.post("/oauth2/token", "grant_type", "client_credentials", "client_id", c.id, "client_secret", c.secret)
		a.want(body, 401, "invalid_client", "")
		bodies = append(bodies, string(header.body), string(body.body))
	}
	bodies = append(bodies, string(a.post("/oauth2/token", "grant_type", "client_credentials", "client_id", "demo-service").body),
		string(a.post("/oauth2/token", "grant_type", "password", "client_id", "nobody", "username", "demo", "password", "demo-password").body))
	for _, b := range bodies {
		if b != bodies[0] {
			a.Errorf("two answers can be told apart: %s and %s", b, bodies[0])
		}
	}
}

// TestBasicIsEncoded (A19, A32, O15): id and secret are url-encoded before they
// are joined, and a registered method is the only one.
func TestBasicIsEncoded(t *testing.T) {
	a := attacks(t)
	const name, secret = "a:b%c+d e", "s:e%c+r é ☂ t&="
	a.apply(fmt.Sprintf("[[clients]]\nid = %q\ntype = \"confidential\"\nsecret = %q\ngrants = [\"client_credentials\"]\nscopes = [\"read\"]\n", name, secret) +
		"[[clients]]\nid = \"only-post\"\ntype = \"confidential\"\nauth_method = \"post\"\nsecret = \"the-secret-of-only-post\"\ngrants = [\"client_credentials\"]\nscopes = [\"read\"]\n" +
		"[[clients]]\nid = \"only-basic\"\ntype = \"confidential\"\nauth_method = \"basic\"\nsecret = \"the-secret-of-only-basic\"\ngrants = [\"client_credentials\"]\nscopes = [\"read\"]\n")
	try := func(id, secret string, inHeader bool, status int) {
		a.Helper()
		var got answer
		if inHeader {
			got = a.request("POST", "/oauth2/token", urlEncoded, "grant_type=client_credentials", basic(id, secret))
		} else {
			got = a.post("/oauth2/token", "grant_type", "client_credentials", "client_id", id, "client_secret", secret)
		}
		if got.status != status {
			a.Errorf("%s (in the header: %v) was answered %d %s", id, inHeader, got.status, got.body)
		}
	}
	try(name, secret, true, 200)
	try(name, secret, false, 200)
	try("a", "b%c+d e:"+secret, true, 401) // the first colon of the decoded text divides nothing
	try("only-post", "the-secret-of-only-post", false, 200)
	try("only-post", "the-secret-of-only-post", true, 401)
	try("only-basic", "the-secret-of-only-basic", true, 200)
	try("only-basic", "the-secret-of-only-basic", false, 401)
	try("demo-service", "demo-service-secret", true, 200)
	try("demo-service", "demo-service-secret", false, 200)
}

// TestTokenAnswer (TOKEN-10, A15): what a success looks like.
func TestTokenAnswer(t *testing.T) {
	a := attacks(t)
	got := a.post("/oauth2/token", "grant_type", "password", "client_id", "demo-native", "username", "demo", "password", "demo-password")
	if got.header.Get("Content-Type") != "application/json" || got.header.Get("Pragma") != "no-cache" ||
		got.header.Get("Vary") != "Origin" || got.header.Get("Access-Control-Allow-Origin") != "" {
		a.Errorf("%v", got.header)
	}
	h := a.holds(got, "demo-native")
	if h.Type != "Bearer" || h.ExpiresIn != 900 || h.Refresh == "" || h.ID == "" || h.Scope == "" {
		a.Errorf("%s", got.body)
	}
}

// TestScopeIsNeverWidened (TOKEN-13, A09, A23, REFRESH-11, Y02): neither at the
// sign-in nor at any refresh.
func TestScopeIsNeverWidened(t *testing.T) {
	a := attacks(t)
	for _, scope := range []string{"admin", "read admin", "READ", "read  write", " read", "read ", "revocations.read", "introspect", "re\"ad", "openid\tread", "*", strings.Repeat("x", 200)} {
		a.want(a.post("/oauth2/token", "grant_type", "password", "client_id", "demo-native", "username", "demo", "password", "demo-password", "scope", scope), 400, "invalid_scope", "")
		a.want(a.post("/oauth2/token", "grant_type", "client_credentials", "client_id", "demo-service", "client_secret", "demo-service-secret", "scope", "x "+scope), 400, "invalid_scope", "")
	}
	h := a.signIn("demo-native", "scope", "openid read read")
	if h.Scope != "openid read" {
		a.Errorf("granted %q", h.Scope)
	}
	a.clock.advance(time.Hour)
	for _, scope := range []string{"openid read write", "write", "offline_access", "email", "READ"} {
		a.want(a.refresh(h, "scope", scope), 400, "invalid_scope", "")
	}
	narrow := a.refreshed(h, "scope", "read")
	if narrow.Scope != "read" || claims(narrow.Access)["scope"] != "read" {
		a.Errorf("narrowed to %q, %v", narrow.Scope, claims(narrow.Access)["scope"])
	}
	a.clock.advance(time.Hour)
	if again := a.refreshed(narrow); again.Scope != "openid read" {
		a.Errorf("after a narrow access token the grant is %q", again.Scope)
	}
	s := a.service()
	if s.Refresh != "" || s.ID != "" || s.Scope != "read write introspect revocations.read" {
		a.Errorf("a service was given %+v", s)
	}
}

// TestServiceIsNoUser (TOKEN-12, A22, J05, Y06): a client's own token opens
// nothing that is a person's, and its sub can never be a person's.
func TestServiceIsNoUser(t *testing.T) {
	a := attacks(t)
	s := a.service()
	c := claims(s.Access)
	if c["sub"] != "demo-service" || c["client_id"] != "demo-service" || c["sid"] != nil || c["auth_time"] != nil {
		a.Errorf("%v", c)
	}
	a.want(a.call(s.Access), 403, "insufficient_scope", "")
	for _, name := range []string{id.NewUser().String(), "usr_", "usr_anything"} {
		got, _ := a.operate("POST", "/admin/v1/apply?file=x", strings.NewReader(fmt.Sprintf(
			"[[clients]]\nid = %q\ntype = \"confidential\"\nsecret = \"a-secret-of-some-length\"\ngrants = [\"client_credentials\"]\nscopes = [\"openid\"]\n", name)))
		if got.status != 400 {
			a.Errorf("a client called %s was answered %d %s", name, got.status, got.body)
		}
	}
}

// TestGrantNobodyMayUse (A21, D06, D04): a grant that no client is registered
// for does not exist, neither at the endpoint nor in the metadata.
func TestGrantNobodyMayUse(t *testing.T) {
	a := attacks(t)
	for _, c := range []string{"demo-native", "demo-strict", "demo-edx", "demo-pair", "demo-spa"} {
		a.operator("POST", "/admin/v1/clients/"+c+"/disable", "")
	}
	got := a.post("/oauth2/token", "grant_type", "password", "client_id", "demo-service", "client_secret", "demo-service-secret", "username", "demo", "password", "demo-password")
	a.want(got, 400, "unsupported_grant_type", "")
	if m := a.request("GET", "/.well-known/openid-configuration", "", "", nil); strings.Contains(string(m.body), `"password"`) {
		a.Errorf("the metadata offers it: %s", m.body)
	}
	a.operator("POST", "/admin/v1/clients/demo-native/enable", "")
	a.apply("[[clients]]\nid = \"third\"\ntype = \"public\"\nredirect_uris = [\"https://third.example/cb\"]\ngrants = [\"authorization_code\", \"refresh_token\"]\n")
	a.want(a.post("/oauth2/token", "grant_type", "password", "client_id", "third", "username", "demo", "password", "demo-password"), 400, "unauthorized_client", "")
}

// TestNothingRepeats (A26, J08): ids are unique and have 128 random bits, and
// what a phone holds is made of characters it may be made of and says nothing
// about its owner.
func TestNothingRepeats(t *testing.T) {
	a := attacks(t)
	h := a.signIn("demo-native")
	h2 := a.signIn("demo-native")
	seen := map[string]bool{}
	once := func(s string) {
		a.Helper()
		if seen[s] || len(s) < 20 {
			a.Fatalf("%q is not unique", s)
		}
		seen[s] = true
	}
	once(sidOf(h.Access))
	once(sidOf(h2.Access))
	for range 200 { // the same refresh token, and each time another access token
		h = a.refreshed(h)
		once(claims(h.Access)["jti"].(string))
	}
	body, rec := "grant_type=client_credentials&client_id=demo-service&client_secret=demo-service-secret", (*httptest.ResponseRecorder)(nil)
	for range 2000 {
		r := httptest.NewRequest("POST", "/oauth2/token", strings.NewReader(body))
		r.Header.Set("Content-Type", urlEncoded)
		rec = httptest.NewRecorder()
		a.server.Handler().ServeHTTP(rec, r)
		once(claims(a.holds(answer{rec.Code, rec.Header(), rec.Body.Bytes()}, "").Access)["jti"].(string))
	}
	for range 10_000 {
		once(a.server.Keys.SID(id.NewSession()))
	}
	for range 50 {
		a.clock.advance(time.Hour)
		h = a.refreshed(h)
		once(h.Refresh)
		if strings.ContainsFunc(h.Refresh, func(r rune) bool { return r < 0x21 || r > 0x7e }) || strings.Contains(h.Refresh, "demo") {
			a.Errorf("refresh token %q", h.Refresh)
		}
	}
	if claims(h.Access)["jti"] == claims(h2.Access)["jti"] || h.Refresh == h2.Refresh {
		a.Error("two devices hold the same")
	}
}
