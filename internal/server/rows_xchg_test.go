package server_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/server"
	"holdfast.example/internal/upstream/fake"
)

// abroad is a house with providers on loopback, one address for all of them.
type abroad struct {
	attack
	p *fake.Provider
	// before, when set, answers instead of the provider.
	before http.Handler
	mu     sync.Mutex
	asked  []string
}

const exchangeType = "urn:ietf:params:oauth:grant-type:token-exchange"

// fakeKey is made once: RSA keys take long under the race detector.
var fakeKey = &fake.Provider{Issuer: "", Secret: "secret-of-our-app"}

func goesAbroad(t *testing.T, change ...func(*server.Config)) *abroad {
	t.Helper()
	w := &abroad{attack: attack{t, forTest(t, append([]func(*server.Config){func(c *server.Config) { c.AttemptsPerAddress = 10_000 }}, change...)...)}}
	fakeKey.Now = w.clock.Now
	w.p = fakeKey
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.asked = append(w.asked, r.URL.Path)
		before := w.before
		w.mu.Unlock()
		if before != nil {
			before.ServeHTTP(rw, r)
			return
		}
		w.p.ServeHTTP(rw, r)
	}))
	t.Cleanup(srv.Close)
	w.p.Issuer = srv.URL
	var text strings.Builder
	for _, kind := range []string{"google", "facebook", "apple", "microsoft", "oidc"} {
		fmt.Fprintf(&text, "[[upstreams]]\nid = %q\nkind = %q\nclient_ids = [\"our-app\"%s]\nbase_url = %q\nlink = \"verified_email\"\n", kind, kind,
			map[bool]string{true: `, "our-web"`}[kind != "facebook"], srv.URL)
		switch kind {
		case "facebook":
			text.WriteString("client_secret = \"secret-of-our-app\"\n")
		case "oidc":
			fmt.Fprintf(&text, "issuer = %q\n", srv.URL)
		}
	}
	text.WriteString("[[users]]\nusername = \"bob\"\nemail = \"bob@gmail.com\"\nemail_verified = true\n" +
		"[[users]]\nusername = \"squatter\"\nemail = \"victim@gmail.com\"\n" +
		"[[users]]\nusername = \"root\"\nemail = \"root@gmail.com\"\nemail_verified = true\nstaff = true\n" +
		"[[clients]]\nid = \"apple-only\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"token_exchange\", \"refresh_token\"]\nupstreams = [\"apple\"]\n")
	w.apply(text.String())
	return w
}

// person is what a provider says about somebody at our app.
func (w *abroad) person(subject, email string) fake.Claims {
	return w.p.Person(subject, "our-app").With("email", email).With("email_verified", true)
}

// shows exchanges a token of an upstream.
func (w *abroad) shows(up, kind, token string, fields ...string) answer {
	w.Helper()
	return w.post("/oauth2/token", append([]string{"grant_type", exchangeType, "client_id", "demo-native", "subject_token", token,
		"subject_token_type", "urn:ietf:params:oauth:token-type:" + kind, "subject_issuer", up}, fields...)...)
}

func (w *abroad) idToken(up string, c fake.Claims, fields ...string) answer {
	w.Helper()
	return w.shows(up, "id_token", w.p.IDToken(c), fields...)
}

func (w *abroad) accessToken(up string, c fake.Claims, fields ...string) answer {
	w.Helper()
	return w.shows(up, "access_token", w.p.AccessToken(c), fields...)
}

// linked lists the upstreams and subjects an account is linked to.
func (w *abroad) linked(name string) (all []string) {
	w.Helper()
	u, err := w.server.Users.ByLogin(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	links, err := w.server.Upstreams.Links(w.Context(), u.ID)
	if err != nil {
		w.Fatal(err)
	}
	for _, l := range links {
		all = append(all, l.Upstream+" "+l.Subject)
	}
	return all
}

// signedInAs is the user name behind an answer, "" for a refusal.
func (w *abroad) signedInAs(got answer) string {
	w.Helper()
	if got.status != 200 {
		return ""
	}
	var u struct {
		Name string `json:"preferred_username"`
	}
	_ = json.Unmarshal(w.call(w.holds(got, "demo-native").Access).body, &u)
	return u.Name
}

// TestMadeForAnotherApp (XCHG-01, XCHG-02, T02): a token that a provider
// gave to somebody else's app is refused whatever else is right about it, and
// leaves nothing behind.
func TestMadeForAnotherApp(t *testing.T) {
	w := goesAbroad(t)
	good := w.person("b-1", "bob@gmail.com")
	bad := map[string]fake.Claims{"another's": good.With("aud", "evil-app"), "none": good.With("aud", nil), "another's azp": good.With("azp", "evil-app"),
		"ours and another's": good.With("aud", []string{"our-app", "evil-app"}), "empty": good.With("aud", ""), "prefix": good.With("aud", "our-app2")}
	for name, c := range bad {
		for _, up := range []string{"google", "apple", "facebook", "oidc", "microsoft"} {
			w.want(w.idToken(up, c), 400, "invalid_request", "")
		}
		if name == "ours and another's" {
			continue // tokeninfo names one
		}
		w.want(w.accessToken("google", c), 400, "invalid_request", "")
	}
	// userinfo says who, and never for whom.
	w.before = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/tokeninfo" {
			rw.WriteHeader(400)
			_, _ = rw.Write([]byte(`{"error":"invalid_token"}`))
			return
		}
		_, _ = rw.Write([]byte(`{"sub":"b-1","email":"bob@gmail.com","email_verified":true}`))
	})
	w.want(w.accessToken("google", good), 400, "invalid_request", "")
	w.before = nil
	for _, up := range []string{"apple", "microsoft", "oidc"} { // none of them tells whom an access token was made for
		w.want(w.accessToken(up, good), 400, "invalid_request", "")
	}
	if l := w.linked("bob"); l != nil {
		t.Errorf("bob is linked: %v", l)
	}
	if got := w.signedInAs(w.accessToken("google", good)); got != "bob" {
		t.Errorf("our own app's token signs in %q", got)
	}
	if got := w.signedInAs(w.accessToken("google", good.With("aud", "our-web").With("azp", "our-app"))); got != "bob" {
		t.Errorf("the token of our other app signs in %q", got)
	}
}

// TestFacebookDebugToken (XCHG-03): whatever debug_token has against a token, it
// is refused; and so is one whose /me is somebody else.
func TestFacebookDebugToken(t *testing.T) {
	w := goesAbroad(t)
	w.link("bob", "facebook", "f-1")
	now := w.clock.Now().Unix()
	data := fake.Claims{"app_id": "our-app", "is_valid": true, "type": "USER", "user_id": "f-1", "expires_at": now + 60, "data_access_expires_at": now + 60}
	say := func(d fake.Claims) answer { return w.accessToken("facebook", w.person("f-1", "").With("data", d)) }
	for name, d := range map[string]fake.Claims{
		"another app": data.With("app_id", "evil-app"), "no app": data.With("app_id", nil), "not valid": data.With("is_valid", false),
		"valid as text": data.With("is_valid", "true"), "no word on it": data.With("is_valid", nil), "a page": data.With("type", "PAGE"),
		"an app": data.With("type", "APP"), "no type": data.With("type", nil), "another person": data.With("user_id", "f-2"),
		"nobody": data.With("user_id", nil), "expired": data.With("expires_at", now-1), "no end": data.With("expires_at", nil),
		"no data access": data.With("data_access_expires_at", now-1), "a number as app": data.With("app_id", 17),
	} {
		w.in("XCHG-03 "+name, func(a attack) { a.want(say(d), 400, "invalid_request", "") })
	}
	w.want(w.accessToken("facebook", w.person("f-1", "").With("me", map[string]any{"id": "f-2"})), 400, "invalid_request", "")
	w.want(w.shows("facebook", "access_token", "EAAinvented"), 400, "invalid_request", "")
	if got := w.signedInAs(say(data)); got != "bob" {
		t.Errorf("a good token signs in %q", got)
	}
	if got := w.signedInAs(say(data.With("expires_at", 0))); got != "bob" {
		t.Errorf("a token without an end signs in %q", got)
	}
}

// link links an account as an operator does.
func (w *abroad) link(name, up, subject string) {
	w.Helper()
	w.operator("POST", "/admin/v1/users/"+name+"/links", fmt.Sprintf(`{"upstream":%q,"subject":%q}`, up, subject))
}

// TestSignedTokens (XCHG-04, XCHG-05, T03): signature, algorithm, key, issuer,
// audience, time and nonce of a signed token, at each kind of provider.
func TestSignedTokens(t *testing.T) {
	w := goesAbroad(t)
	now := w.clock.Now().Unix()
	usual := map[string]any{"alg": "RS256", "kid": fake.KeyID, "typ": "JWT"}
	head := func(name string, v any) map[string]any {
		h := map[string]any{"alg": usual["alg"], "kid": usual["kid"], "typ": usual["typ"]}
		h[name] = v
		return h
	}
	for _, up := range []string{"apple", "google", "oidc", "facebook", "microsoft"} {
		good, tenant := w.person("s-1", "bob@gmail.com"), "11112222-3333-4444-5555-666677778888"
		subject := "s-1"
		if up == "microsoft" {
			good = good.With("tid", tenant).With("oid", "aaaa").With("iss", w.p.Issuer+"/"+tenant+"/v2.0")
			subject = tenant + "/aaaa"
		}
		w.link("bob", up, subject)
		claims := map[string]fake.Claims{
			"another issuer": good.With("iss", "https://evil.example"), "no issuer": good.With("iss", nil), "our own issuer": good.With("iss", testIssuer),
			"another bundle": good.With("aud", "com.example.services"), "expired an hour ago": good.With("exp", now-3600), "expired beyond skew": good.With("exp", now-31),
			"no exp": good.With("exp", nil), "exp as text": good.With("exp", fmt.Sprint(now+60)), "exp far": good.With("exp", 1e300), "no iat": good.With("iat", nil),
			"iat in the future": good.With("iat", now+3600), "old": good.With("iat", now-13*3600).With("exp", now+60), "not yet": good.With("nbf", now+3600),
			"nbf as text": good.With("nbf", "x"), "no sub": good.With("sub", nil).With("oid", nil), "sub a number": good.With("sub", 17).With("oid", 17),
			"a nonce nobody shows": good.With("nonce", "n-1"),
		}
		for name, c := range claims {
			w.in("XCHG-04 XCHG-05 "+up+" "+name, func(a attack) { a.want(w.idToken(up, c), 400, "invalid_request", "") })
		}
		hs := w.hs256(good)
		for name, token := range map[string]string{
			"HS256 with the public key": hs, "none": w.none(good), "ES256 says it": w.p.Sign(head("alg", "ES256"), good), "RS512 says it": w.p.Sign(head("alg", "RS512"), good),
			"unknown kid": w.p.Sign(head("kid", "kid-of-nobody"), good), "no kid": w.p.Sign(head("kid", nil), good), "crit": w.p.Sign(head("crit", []string{"exp"}), good),
			"at+jwt": w.p.Sign(head("typ", "at+jwt"), good), "another payload": swapped(w.p.IDToken(good.With("sub", "s-2")), w.p.IDToken(good)),
			"no signature": strings.Join(strings.Split(w.p.IDToken(good), ".")[:2], ".") + ".", "two parts": strings.Join(strings.Split(w.p.IDToken(good), ".")[:2], "."),
			"empty": "...", "not signed": "x", "a line break": strings.Replace(w.p.IDToken(good), ".", ".\n", 1), "huge": strings.Repeat("a", 17<<10),
		} {
			w.in("XCHG-04 T03 "+up+" "+name, func(a attack) { a.want(w.shows(up, "id_token", token), 400, "invalid_request", "") })
		}
		nonced := good.With("nonce", "n-"+up)
		w.want(w.idToken(up, nonced, "nonce", "another"), 400, "invalid_request", "")
		w.want(w.idToken(up, good.With("nonce_supported", false), "nonce", "n-"+up), 400, "invalid_request", "")
		if got := w.signedInAs(w.idToken(up, nonced, "nonce", "n-"+up)); got != "bob" {
			t.Errorf("%s: a token with its nonce signs in %q", up, got)
		}
		sum := sha256.Sum256([]byte("plain-" + up))
		if got := w.signedInAs(w.idToken(up, good.With("nonce", hex.EncodeToString(sum[:])), "nonce", "plain-"+up)); got != "bob" {
			t.Errorf("%s: a token with the hash of its nonce signs in %q", up, got)
		}
		if got := w.signedInAs(w.idToken(up, good.With("exp", now-1))); got != "bob" {
			t.Errorf("%s: within the skew it signs in %q", up, got)
		}
	}
	if n := w.count503(); n != 0 {
		t.Errorf("%d refusals of tokens were answered as an outage", n)
	}
}

func (w *abroad) count503() int { return int(w.figure(`holdfast_requests_total{code="503"}`)) }

// swapped puts the payload of one token under the signature of another.
func swapped(payload, signature string) string {
	a, b := strings.Split(payload, "."), strings.Split(signature, ".")
	return b[0] + "." + a[1] + "." + b[2]
}

// hs256 signs with the provider's public key as the secret.
func (w *abroad) hs256(c fake.Claims) string {
	der, err := x509.MarshalPKIXPublicKey(w.p.PublicKey())
	if err != nil {
		w.Fatal(err)
	}
	input := segmentOf(map[string]string{"alg": "HS256", "kid": fake.KeyID, "typ": "JWT"}) + "." + segmentOf(c)
	m := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	m.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

func (w *abroad) none(c fake.Claims) string {
	return segmentOf(map[string]string{"alg": "none", "kid": fake.KeyID, "typ": "JWT"}) + "." + segmentOf(c) + "."
}

func segmentOf(v any) string {
	b, _ := json.Marshal(v) // maps of text always encode
	return base64.RawURLEncoding.EncodeToString(b)
}

// TestLinkingByEmail (XCHG-06, XCHG-07, XCHG-08, T05): an address links only when
// both sides verified it and the provider gives it out; once linked, only the
// subject counts.
func TestLinkingByEmail(t *testing.T) {
	w := goesAbroad(t)
	bob := w.person("g-1", "bob@gmail.com")
	for name, c := range map[string]fake.Claims{"false": bob.With("email_verified", false), "missing": bob.With("email_verified", nil),
		"text false": bob.With("email_verified", "false"), "text true": bob.With("email_verified", "true"), "number": bob.With("email_verified", 1),
		"another address": bob.With("email", "bob@example.org"), "no address": bob.With("email", nil)} {
		w.in("XCHG-06 T05 "+name, func(a attack) {
			a.want(w.idToken("google", c), 400, "invalid_request", "")
			a.want(w.accessToken("google", c), 400, "invalid_request", "")
		})
	}
	w.apply("[[users]]\nusername = \"eve\"\nemail = \"eve@example.org\"\nemail_verified = true\n")
	for name, got := range map[string]answer{
		"an address that Google only verified":  w.idToken("google", w.person("g-2", "eve@example.org")),
		"another domain than the one it runs":   w.idToken("google", w.person("g-2", "eve@example.org").With("hd", "example.com")),
		"the squatter's account (XCHG-07)":      w.idToken("google", w.person("g-3", "victim@gmail.com")),
		"an operator's account":                 w.idToken("google", w.person("g-4", "root@gmail.com")),
		"Facebook says nothing about addresses": w.accessToken("facebook", w.person("f-1", "bob@gmail.com")),
		"Apple does not run gmail.com":          w.idToken("apple", bob),
		"a Microsoft tenant writes what it likes": w.idToken("microsoft", bob.With("tid", "11112222-3333-4444-5555-666677778888").With("oid", "o").
			With("iss", w.p.Issuer+"/11112222-3333-4444-5555-666677778888/v2.0")),
	} {
		if got.status != 400 {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	}
	for _, name := range []string{"bob", "eve", "squatter", "root"} {
		if l := w.linked(name); l != nil {
			t.Errorf("%s is linked: %v", name, l)
		}
	}
	if got := w.signedInAs(w.idToken("google", w.person("g-2", "eve@example.org").With("hd", "example.org"))); got != "eve" {
		t.Errorf("the address of a domain that Google runs signs in %q", got)
	}
	if got := w.signedInAs(w.idToken("google", bob)); got != "bob" {
		t.Errorf("an address that Google gives out signs in %q", got)
	}
	// XCHG-08: the address is another account's by now; the person is the same.
	if got := w.signedInAs(w.idToken("google", w.person("g-1", "eve@example.org").With("hd", "example.org"))); got != "bob" {
		t.Errorf("a changed address signs in %q", got)
	}
	w.want(w.idToken("google", w.person("g-9", "bob@gmail.com")), 400, "invalid_request", "") // the address was given to somebody else
	if l := w.linked("bob"); !slices.Equal(l, []string{"google g-1"}) {
		t.Errorf("bob is linked: %v", l)
	}
}

// TestShownTwice (XCHG-09, T04): a token about one sign-in earns one session,
// except for the attempt whose answer was lost; a nonce is good once; first
// sign-ins at the same moment make one link.
func TestShownTwice(t *testing.T) {
	w := goesAbroad(t)
	token := w.p.IDToken(w.person("g-1", "bob@gmail.com"))
	phone := []string{"install_id", "phone", "attempt_id", "attempt-1"}
	first := w.holds(w.shows("google", "id_token", token, phone...), "demo-native")
	again := w.holds(w.shows("google", "id_token", token, phone...), "demo-native")
	if first.status != 200 || again.status != 200 || first.Refresh != again.Refresh {
		t.Errorf("the attempt was answered %d, repeated %d, and the tokens differ: %v", first.status, again.status, first.Refresh != again.Refresh)
	}
	for name, fields := range map[string][]string{"a thief": nil, "another attempt": {"install_id", "phone", "attempt_id", "attempt-2"},
		"another install": {"install_id", "thief", "attempt_id", "attempt-1"}, "no attempt": {"install_id", "phone"},
		"another client": {"client_id", "demo-strict", "install_id", "phone", "attempt_id", "attempt-1"}} {
		w.in("XCHG-09 T04 "+name, func(a attack) {
			for range 2 {
				a.want(w.shows("google", "id_token", token, fields...), 400, "invalid_request", "")
			}
		})
	}
	w.refreshed(first)
	nonced := w.person("g-1", "bob@gmail.com").With("nonce", "n-1")
	if got := w.idToken("google", nonced, "nonce", "n-1"); got.status != 200 {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	w.want(w.idToken("google", nonced.With("jti", "another token"), "nonce", "n-1"), 400, "invalid_request", "")

	w.apply("[[users]]\nusername = \"ann\"\nemail = \"ann@gmail.com\"\nemail_verified = true\n")
	const racers = 50
	answers := make([]answer, racers)
	var wg sync.WaitGroup
	for i := range racers {
		token := w.p.IDToken(w.person("g-ann", "ann@gmail.com"))
		wg.Go(func() { answers[i] = w.shows("google", "id_token", token) })
	}
	wg.Wait()
	good := 0
	for _, a := range answers {
		switch a.status {
		case 200:
			good++
		case 503: // more than may wait at once
		default:
			t.Errorf("a first sign-in was answered %d %s", a.status, a.body)
		}
	}
	if l := w.linked("ann"); good == 0 || !slices.Equal(l, []string{"google g-ann"}) {
		t.Errorf("%d first sign-ins at once linked %v", good, l)
	}
}

// TestUpstreamOfAnotherClient (XCHG-10): a provider that is out of use, or that a
// client may not use, is refused as such, before it is asked.
func TestUpstreamOfAnotherClient(t *testing.T) {
	w := goesAbroad(t)
	c := w.person("x-1", "bob@gmail.com")
	w.want(w.idToken("google", c, "client_id", "apple-only"), 400, "unauthorized_client", "")
	w.want(w.idToken("", c, "client_id", "demo-web", "client_secret", "demo-web-secret"), 400, "unauthorized_client", "")
	w.operator("POST", "/admin/v1/upstreams/google/disable", "")
	w.want(w.idToken("google", c), 400, "unauthorized_client", "")
	w.apply("[[upstreams]]\nid = \"google\"\nkind = \"google\"\nclient_ids = [\"our-app\"]\nlink = \"verified_email\"\nbase_url = \"" + w.p.Issuer + "\"\n")
	w.want(w.idToken("google", c), 400, "unauthorized_client", "") // applying again does not bring it back
	if len(w.asked) != 0 {
		t.Errorf("the provider was asked: %v", w.asked)
	}
	w.operator("POST", "/admin/v1/upstreams/google/enable", "")
	if got := w.signedInAs(w.idToken("google", c)); got != "bob" {
		t.Errorf("in use again it signs in %q", got)
	}
}

// TestDisabledAbroad (XCHG-11, T07): a disabled account earns nothing, and the
// answer is the one that a stranger gets.
func TestDisabledAbroad(t *testing.T) {
	w := goesAbroad(t)
	w.link("bob", "google", "g-1")
	w.operator("POST", "/admin/v1/users/bob/disable", "")
	got := w.idToken("google", w.person("g-1", "bob@gmail.com"))
	stranger := w.idToken("google", w.person("g-7", "nobody@gmail.com"))
	w.want(got, 400, "invalid_request", "")
	if string(got.body) != string(stranger.body) {
		t.Errorf("a disabled account is told apart: %s, a stranger %s", got.body, stranger.body)
	}
	w.want(w.idToken("google", w.person("g-8", "bob@gmail.com")), 400, "invalid_request", "")
	if l := w.linked("bob"); !slices.Equal(l, []string{"google g-1"}) {
		t.Errorf("bob is linked: %v", l)
	}
	if _, err := w.server.Users.ByLogin(t.Context(), "nobody@gmail.com"); err == nil {
		t.Error("an account was made")
	}
}

// TestProviderAway (XCHG-12): a provider that is slow, broken or hostile is an
// outage (503), never a refusal; nobody follows where it points; and nobody else
// waits for it.
func TestProviderAway(t *testing.T) {
	w := goesAbroad(t)
	c := w.person("g-1", "bob@gmail.com")
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	json := func(text string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write([]byte(text))
		}
	}
	canary := 0
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { canary++ }))
	t.Cleanup(trap.Close)
	for _, bad := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"500", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) }},
		{"429", func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(429) }},
		{"redirect to loopback", func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, trap.URL, http.StatusFound) }},
		{"10 MB", json(`{"aud":"our-app","x":"` + strings.Repeat("x", 10<<20) + `"}`)},
		{"a name twice", json(`{"aud":"evil-app","aud":"our-app","exp":"9999999999","sub":"g-1"}`)},
		{"no JSON", json(`aud=our-app`)},
		{"HTML", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/html")
			_, _ = rw.Write([]byte(`{"aud":"our-app"}`))
		}},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		w.mu.Lock()
		w.before = bad.answer
		w.mu.Unlock()
		w.in("XCHG-12 "+bad.name, func(a attack) { a.want(w.accessToken("google", c), 503, "temporarily_unavailable", "") })
		w.clock.advance(11 * time.Second) // past the breaker
	}
	if canary != 0 {
		t.Error("a redirect was followed")
	}
	w.mu.Lock()
	w.before = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { // endless and slow
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	w.mu.Unlock()
	waits := make(chan answer, 1)
	go func() { waits <- w.accessToken("google", c) }()
	h := w.signIn("demo-native") // meanwhile
	w.refreshed(h)
	w.want(<-waits, 503, "temporarily_unavailable", "")

	// The breaker: after failures in a row the provider is left alone for a while.
	w.mu.Lock()
	asked := len(w.asked)
	w.before = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(500) })
	w.mu.Unlock()
	for range 5 {
		w.want(w.accessToken("google", c), 503, "temporarily_unavailable", "")
	}
	w.mu.Lock()
	if got := len(w.asked); got > asked+1 {
		t.Errorf("a provider that failed nine times in a row was asked %d times more", got-asked)
	}
	w.before = nil
	w.mu.Unlock()
	w.want(w.accessToken("google", c), 503, "temporarily_unavailable", "")
	w.clock.advance(11 * time.Second)
	if got := w.signedInAs(w.accessToken("google", w.person("g-1", "bob@gmail.com"))); got != "bob" {
		t.Errorf("back again it signs in %q", got)
	}
}

// TestExchangesAreBounded: who tries tokens out from one address is told to wait
// before the provider is asked again; good ones cost nothing.
func TestExchangesAreBounded(t *testing.T) {
	w := goesAbroad(t, func(c *server.Config) { c.AttemptsPerAddress = 4 })
	for range 6 {
		if got := w.signedInAs(w.accessToken("google", w.person("g-1", "bob@gmail.com"))); got != "bob" {
			t.Fatalf("a good token signs in %q", got)
		}
	}
	for i := range 6 {
		w.mu.Lock()
		before := len(w.asked)
		w.mu.Unlock()
		got := w.accessToken("google", w.person("g-1", "bob@gmail.com").With("aud", "evil-app"))
		if want := map[bool]int{true: 400, false: 429}[i < 4]; got.status != want {
			t.Errorf("token %d is answered %d, want %d", i, got.status, want)
		}
		if got.status == 429 && len(w.asked) != before {
			t.Error("the provider was asked for somebody who must wait")
		}
	}
}

// TestSecretOutlivesItsKey: an upstream's secret is stored sealed, and sealed again
// before the key that sealed it is gone.
func TestSecretOutlivesItsKey(t *testing.T) {
	w := goesAbroad(t)
	stored := func() []byte {
		rows, err := w.db.Upstreams().Upstreams(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.ID == "facebook" {
				return r.Sealed
			}
		}
		t.Fatal("it is not stored")
		return nil
	}
	first := stored()
	if len(first) == 0 || strings.Contains(string(first), "secret-of-our-app") {
		t.Fatalf("the secret is stored as %q", first)
	}
	w.operator("POST", "/admin/v1/keys/rotate", `{"purpose":"opaque","force":true}`)
	for range 2 {
		if err := w.server.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if string(stored()[:5]) == string(first[:5]) {
		t.Error("it is still sealed under the key that was rotated out")
	}
	w.link("bob", "facebook", "f-1")
	if got := w.signedInAs(w.accessToken("facebook", w.person("f-1", ""))); got != "bob" {
		t.Errorf("after the rotation it signs in %q", got)
	}
}
