package verify_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"holdfast.example/verify"
)

const metadataURL = "https://api.test/.well-known/oauth-protected-resource"

// gate is one protected handler and what it takes to ask it.
type gate struct {
	mint    *mint
	handler http.Handler
	reached *verify.Claims // by the last request that got through
}

func newGate(t *testing.T, need verify.Need, change func(*verify.Config, *verify.GuardConfig)) *gate {
	t.Helper()
	g := &gate{mint: newMint(t, "es-1", "ES256")}
	config := verify.Config{Keys: keySet(t, g.mint)}
	guardConfig := verify.GuardConfig{Realm: "api", ResourceMetadata: metadataURL, Now: func() time.Time { return noon }}
	if change != nil {
		change(&config, &guardConfig)
	}
	if guardConfig.Tokens == nil {
		guardConfig.Tokens = newVerifier(t, config)
	}
	guard, err := verify.NewGuard(guardConfig)
	if err != nil {
		t.Fatal(err)
	}
	g.handler = guard.Protect(need, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c, ok := verify.FromContext(r.Context())
		if !ok && r.Method != http.MethodOptions {
			t.Error("no claims in the context")
		}
		g.reached = c
	}))
	return g
}

func (g *gate) ask(change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/orders", nil)
	if change != nil {
		change(r)
	}
	g.reached = nil
	w := httptest.NewRecorder()
	g.handler.ServeHTTP(w, r)
	return w
}

func (g *gate) bearer(token string) *httptest.ResponseRecorder {
	return g.ask(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
}

func wantAnswer(t *testing.T, w *httptest.ResponseRecorder, status int, challenge string) {
	t.Helper()
	if w.Code != status || w.Header().Get("WWW-Authenticate") != challenge {
		t.Errorf("answer %d\n%s\nwant %d\n%s", w.Code, w.Header().Get("WWW-Authenticate"), status, challenge)
	}
	if status >= 400 {
		var body map[string]string
		err := json.Unmarshal(w.Body.Bytes(), &body)
		if err != nil || body["error_description"] == "" || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("body %s, headers %v", w.Body, w.Header())
		}
	}
}

const plainChallenge = `Bearer realm="api", resource_metadata="` + metadataURL + `"`

func errorChallenge(word, description string) string {
	return plainChallenge + fmt.Sprintf(`, error=%q, error_description=%q`, word, description)
}

// TestGuard holds the middleware against the checks of standards.md section 3.
func TestGuard(t *testing.T) {
	malformedRequest := errorChallenge("invalid_request", "the request does not carry exactly one well-formed bearer token")

	t.Run("RS01 no credentials", func(t *testing.T) {
		g := newGate(t, verify.Need{}, nil)
		wantAnswer(t, g.ask(nil), 401, plainChallenge)
		for _, other := range []string{"Basic YTpi", "DPoP x.y.z", "JWT x.y.z", "Bearertoken", "Bearer\tx", ""} {
			wantAnswer(t, g.ask(func(r *http.Request) { r.Header.Set("Authorization", other) }), 401, plainChallenge)
		}
		bare := newGate(t, verify.Need{}, func(_ *verify.Config, gc *verify.GuardConfig) { gc.Realm, gc.ResourceMetadata = "", "" })
		wantAnswer(t, bare.ask(nil), 401, "Bearer")
	})

	t.Run("RS02 malformed request", func(t *testing.T) {
		g := newGate(t, verify.Need{}, nil)
		good := g.mint.token(claims())
		for _, value := range []string{"Bearer", "Bearer ", "Bearer    ", "Bearer a b", "Bearer " + good + " " + good, "Bearer " + good + ", Bearer " + good, "Bearer " + good + "\tx"} {
			wantAnswer(t, g.ask(func(r *http.Request) { r.Header.Set("Authorization", value) }), 400, malformedRequest)
		}
		wantAnswer(t, g.ask(func(r *http.Request) {
			r.Header.Add("Authorization", "Bearer "+good)
			r.Header.Add("Authorization", "Bearer "+good)
		}), 400, malformedRequest)
		wantAnswer(t, g.ask(func(r *http.Request) {
			r.Header.Add("Authorization", "Basic YTpi")
			r.Header.Add("Authorization", "Bearer "+good)
		}), 400, malformedRequest)
		if g.reached != nil {
			t.Error("the handler was reached")
		}
	})

	form := func(values url.Values, more func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			*r = *httptest.NewRequest("POST", "/orders", strings.NewReader(values.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
			if more != nil {
				more(r)
			}
		}
	}
	t.Run("RS02 RS03 form body", func(t *testing.T) {
		closed := newGate(t, verify.Need{}, nil)
		good := closed.mint.token(claims())
		wantAnswer(t, closed.ask(form(url.Values{"access_token": {good}}, nil)), 401, plainChallenge)

		open := newGate(t, verify.Need{}, func(_ *verify.Config, gc *verify.GuardConfig) { gc.AcceptForm = true })
		good = open.mint.token(claims())
		header := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+good) }
		wantAnswer(t, open.ask(form(url.Values{"access_token": {good}}, nil)), 200, "")
		wantAnswer(t, open.ask(form(url.Values{"x": {"y"}}, header)), 200, "")
		wantAnswer(t, open.ask(form(url.Values{"access_token": {good}}, header)), 400, malformedRequest)
		wantAnswer(t, open.ask(form(url.Values{"access_token": {good, good}}, nil)), 400, malformedRequest)
		wantAnswer(t, open.ask(form(url.Values{"access_token": {good}, "x": {strings.Repeat("x", 70<<10)}}, nil)), 400, malformedRequest)
		wantAnswer(t, open.ask(form(url.Values{"access_token": {good}}, func(r *http.Request) { r.Method = "GET" })), 401, plainChallenge)
	})

	t.Run("RS03 query", func(t *testing.T) {
		for _, acceptForm := range []bool{false, true} {
			g := newGate(t, verify.Need{}, func(_ *verify.Config, gc *verify.GuardConfig) { gc.AcceptForm = acceptForm })
			query := "?access_token=" + g.mint.token(claims())
			wantAnswer(t, g.ask(func(r *http.Request) { r.URL, _ = url.Parse("/orders" + query) }), 401, plainChallenge)
			wantAnswer(t, g.ask(form(url.Values{"x": {"y"}}, func(r *http.Request) { r.URL, _ = url.Parse("/orders" + query) })), 401, plainChallenge)
		}
	})

	t.Run("RS04 invalid token", func(t *testing.T) { // the whole list is in TestRefusedTokens
		g := newGate(t, verify.Need{}, nil)
		wantAnswer(t, g.bearer(g.mint.token(claims(with("exp", 1)))), 401, errorChallenge("invalid_token", "the access token has expired"))
		wantAnswer(t, g.bearer("x"), 401, errorChallenge("invalid_token", "the access token is malformed"))
	})

	t.Run("RS05 scope", func(t *testing.T) {
		g := newGate(t, verify.Need{Scope: "read write"}, nil)
		wantAnswer(t, g.bearer(g.mint.token(claims())), 403, errorChallenge("insufficient_scope", "the access token lacks a scope")+`, scope="read write"`)
		wantAnswer(t, g.bearer(g.mint.token(claims(with("scope", "write read")))), 200, "")
		wantAnswer(t, g.bearer(g.mint.token(claims(with("scope", nil)))), 403, errorChallenge("insufficient_scope", "the access token lacks a scope")+`, scope="read write"`)
		for _, near := range []string{"readwrite", "read writ", "READ WRITE", "read,write", "read\twrite"} {
			if w := g.bearer(g.mint.token(claims(with("scope", near)))); w.Code != 403 {
				t.Errorf("scope %q: %d", near, w.Code)
			}
		}
	})

	t.Run("RS06 scheme", func(t *testing.T) {
		g := newGate(t, verify.Need{}, nil)
		for _, scheme := range []string{"Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "} {
			token := g.mint.token(claims())
			wantAnswer(t, g.ask(func(r *http.Request) { r.Header.Set("Authorization", scheme+" "+token) }), 200, "")
		}
	})

	t.Run("RS14 nothing is echoed", func(t *testing.T) {
		g := newGate(t, verify.Need{Scope: "none"}, nil)
		const mark = "EVIL"
		for _, token := range []string{
			mark, mark + `"\r\nX: y`, mark + "." + mark + "." + mark, g.mint.token(claims(with("scope", mark))), g.mint.token(claims(with("iss", mark))),
			g.mint.sign(`{"alg":"`+mark+`"}`, mark), g.mint.sign(`{"alg":"ES256","typ":"`+mark+`"}`, mark), g.mint.sign(`{"alg":"ES256","typ":"at+jwt","kid":"`+mark+`"}`, mark),
		} {
			w := g.bearer(token)
			if all := fmt.Sprint(w.Header(), w.Body); strings.Contains(all, mark) || w.Code < 400 {
				t.Errorf("%q: %d %s", token, w.Code, all)
			}
		}
	})

	t.Run("RS17 step-up", func(t *testing.T) {
		need := verify.Need{ACR: []string{"urn:holdfast:passkey", "urn:holdfast:otp"}, MaxAge: 5 * time.Minute}
		g := newGate(t, need, nil)
		refused := errorChallenge("insufficient_user_authentication", "a newer or stronger sign-in is needed") +
			`, acr_values="urn:holdfast:passkey urn:holdfast:otp", max_age="300"`
		fresh := with("auth_time", noon.Add(-5*time.Minute).Unix())
		wantAnswer(t, g.bearer(g.mint.token(claims(fresh, with("acr", "urn:holdfast:otp")))), 200, "")
		wantAnswer(t, g.bearer(g.mint.token(claims(fresh))), 401, refused)
		wantAnswer(t, g.bearer(g.mint.token(claims(fresh, with("acr", nil)))), 401, refused)
		old := with("auth_time", noon.Add(-5*time.Minute-time.Second).Unix())
		wantAnswer(t, g.bearer(g.mint.token(claims(old, with("acr", "urn:holdfast:otp")))), 401, refused)
		wantAnswer(t, g.bearer(g.mint.token(claims(with("auth_time", nil), with("acr", "urn:holdfast:otp")))), 401, refused)
	})

	t.Run("RS21 preflight and CORS", func(t *testing.T) {
		preflight := func(r *http.Request) {
			r.Method = http.MethodOptions
			r.Header.Set("Origin", "https://app.test")
			r.Header.Set("Access-Control-Request-Method", "GET")
		}
		open := newGate(t, verify.Need{}, func(_ *verify.Config, gc *verify.GuardConfig) { gc.PassPreflight = true })
		wantAnswer(t, open.ask(preflight), 200, "")
		wantAnswer(t, open.ask(func(r *http.Request) { r.Method = http.MethodOptions }), 401, plainChallenge)
		closed := newGate(t, verify.Need{}, nil)
		wantAnswer(t, closed.ask(preflight), 401, plainChallenge)

		w := closed.ask(func(r *http.Request) { r.Header.Set("Origin", "https://app.test") })
		if got := w.Header().Get("Access-Control-Expose-Headers"); !strings.Contains(got, "WWW-Authenticate") || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("headers %v", w.Header())
		}
	})

	t.Run("RS22 sibling audience", func(t *testing.T) {
		g := newGate(t, verify.Need{}, func(c *verify.Config, _ *verify.GuardConfig) { c.Audience = "https://api.b" })
		wantAnswer(t, g.bearer(g.mint.token(claims())), 401, errorChallenge("invalid_token", "the access token is for another audience"))
	})
}

// ended is a Revocations for tests: what a follower of the feed will be.
type ended struct {
	session string
	epoch   map[string]int64 // by subject: epochs below are over
	stale   bool
	asked   int
}

func (e *ended) Refuse(c *verify.Claims, _ time.Time) error {
	e.asked++
	switch {
	case e.stale:
		return &verify.Error{Kind: verify.Unready, RetryAfter: 3 * time.Second, Cause: errors.New("the feed is behind")}
	case c.Session == e.session || c.Epoch < e.epoch[c.Subject]:
		return &verify.Error{Kind: verify.Revoked}
	}
	return nil
}

// TestRevocations covers the hook of RS10, RS11 and RS13: it is asked about
// every good token on every use, remembered or not.
func TestRevocations(t *testing.T) {
	for _, memo := range []int{0, 16} {
		t.Run(fmt.Sprintf("RS10 RS11/memo %d", memo), func(t *testing.T) {
			feed := &ended{}
			g := newGate(t, verify.Need{}, func(c *verify.Config, _ *verify.GuardConfig) { c.Revocations, c.Memo = feed, memo })
			token := g.mint.token(claims())
			for range 3 {
				wantAnswer(t, g.bearer(token), 200, "")
			}
			if feed.asked != 3 {
				t.Errorf("asked %d times for 3 requests", feed.asked)
			}
			feed.session = "sid-1"
			wantAnswer(t, g.bearer(token), 401, errorChallenge("invalid_token", "the access token was revoked"))
			feed.session = ""
			feed.epoch = map[string]int64{"usr_alice": 4}
			wantAnswer(t, g.bearer(token), 401, errorChallenge("invalid_token", "the access token was revoked"))
			feed.stale = true
			w := g.bearer(token)
			wantAnswer(t, w, 503, "")
			if w.Header().Get("Retry-After") != "3" {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			asked := feed.asked
			g.bearer(g.mint.token(claims(with("aud", "x"))))
			if feed.asked != asked {
				t.Error("asked about a token that is not good")
			}
		})
	}
}

// brokenHook returns an error that nobody classified.
type brokenHook struct{}

func (brokenHook) Refuse(*verify.Claims, time.Time) error { return errors.New("secret detail") }

func TestUnclassifiedErrorsCloseTheGate(t *testing.T) {
	g := newGate(t, verify.Need{}, func(c *verify.Config, _ *verify.GuardConfig) { c.Revocations = brokenHook{} })
	w := g.bearer(g.mint.token(claims()))
	wantAnswer(t, w, 503, "")
	if strings.Contains(w.Body.String(), "secret detail") {
		t.Error("the cause is in the answer")
	}
}

// TestBoundTokens covers the hook of RS19: a bound token is a bearer token
// only to those who do not look.
func TestBoundTokens(t *testing.T) {
	bound := with("cnf", map[string]any{"jkt": "thumbprint"})
	refused := errorChallenge("invalid_token", "the access token is bound to a key and no proof was checked")
	t.Run("RS19", func(t *testing.T) {
		g := newGate(t, verify.Need{}, func(c *verify.Config, _ *verify.GuardConfig) { c.Bound = true })
		wantAnswer(t, g.bearer(g.mint.token(claims(bound))), 401, refused)

		var proofErr error
		g = newGate(t, verify.Need{}, func(c *verify.Config, gc *verify.GuardConfig) {
			c.Bound = true
			gc.Proof = func(_ *http.Request, token string, c *verify.Claims) error {
				if token == "" || c.Confirmation != `{"jkt":"thumbprint"}` {
					t.Errorf("proof of %q", c.Confirmation)
				}
				return proofErr
			}
		})
		wantAnswer(t, g.bearer(g.mint.token(claims(bound))), 200, "")
		proofErr = &verify.Error{Kind: verify.Bound}
		wantAnswer(t, g.bearer(g.mint.token(claims(bound))), 401, refused)
		wantAnswer(t, g.bearer(g.mint.token(claims())), 200, "")
	})
}

// TestAnyAudience is the authorization server's own view: every audience, and
// everything else as strict as ever.
func TestAnyAudience(t *testing.T) {
	m := newMint(t, "es-1", "ES256")
	v, err := verify.New(verify.Config{Issuer: issuer, AnyAudience: true, Keys: keySet(t, m)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(t.Context(), m.token(claims(with("aud", "https://api.b"))), noon)
	if err != nil {
		t.Error(err)
	}
	_, err = v.Verify(t.Context(), m.token(claims(with("aud", nil))), noon)
	wantKind(t, err, verify.Malformed)
	_, err = v.Verify(t.Context(), m.token(claims(with("iss", "https://evil.test"))), noon)
	wantKind(t, err, verify.WrongIssuer)
}

func TestOnRefusal(t *testing.T) {
	var kinds []verify.Kind
	g := newGate(t, verify.Need{Scope: "write"}, func(_ *verify.Config, gc *verify.GuardConfig) {
		gc.OnRefusal = func(_ *http.Request, err error) { kinds = append(kinds, verify.KindOf(err)) }
	})
	g.ask(nil)
	g.bearer("x")
	g.bearer(g.mint.token(claims()))
	g.bearer(g.mint.token(claims(with("scope", "write"))))
	if want := []verify.Kind{verify.NoToken, verify.Malformed, verify.InsufficientScope}; fmt.Sprint(kinds) != fmt.Sprint(want) {
		t.Errorf("told about %v; want %v", kinds, want)
	}
}

// TestMistakesAreFoundAtStart: what is wrong in a configuration does not wait
// for the first request.
func TestMistakesAreFoundAtStart(t *testing.T) {
	m := newMint(t, "es-1", "ES256")
	keys := keySet(t, m)
	for name, config := range map[string]verify.Config{
		"no issuer": {Audience: audience, Keys: keys}, "no audience": {Issuer: issuer, Keys: keys},
		"an audience and any": {Issuer: issuer, Audience: audience, AnyAudience: true, Keys: keys},
		"skew":                {Issuer: issuer, Audience: audience, Keys: keys, Skew: 2 * time.Minute}, "memo": {Issuer: issuer, Audience: audience, Keys: keys, Memo: -1},
		"plain http": {Issuer: "http://id.test", Audience: audience}, "no URL": {Issuer: "id", Audience: audience},
	} {
		_, err := verify.New(config)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, config := range map[string]verify.GuardConfig{
		"no tokens": {}, "realm": {Tokens: newVerifier(t, verify.Config{Keys: keys}), Realm: `a"b`},
		"metadata": {Tokens: newVerifier(t, verify.Config{Keys: keys}), ResourceMetadata: "https://x/\r\n"},
	} {
		_, err := verify.NewGuard(config)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	guard, err := verify.NewGuard(verify.GuardConfig{Tokens: newVerifier(t, verify.Config{Keys: keys})})
	if err != nil {
		t.Fatal(err)
	}
	for _, need := range []verify.Need{{Scope: `a"`}, {ACR: []string{"a b"}}, {ACR: []string{""}}, {MaxAge: -1}, {MaxAge: time.Millisecond}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v: accepted", need)
				}
			}()
			guard.Protect(need, http.NotFoundHandler())
		}()
	}
}

func TestClaimsBelongToTheCaller(t *testing.T) {
	m := newMint(t, "es-1", "ES256")
	v := newVerifier(t, verify.Config{Keys: keySet(t, m), Memo: 16})
	token := m.token(claims())
	for range 3 {
		c, err := v.Verify(t.Context(), token, noon)
		if err != nil {
			t.Fatal(err)
		}
		if c.Subject != "usr_alice" || c.Audience[0] != audience || c.AMR[0] != "pwd" {
			t.Fatalf("another caller's change is here: %+v", c)
		}
		var more struct {
			Grant string `json:"grant"`
		}
		err = c.Decode(&more)
		if err != nil || more.Grant != "password" {
			t.Fatal(more, err)
		}
		c.Subject, c.Audience[0], c.AMR[0] = "usr_evil", "evil", "evil"
	}
}

// TestResourceMetadata is RS16.
func TestResourceMetadata(t *testing.T) {
	t.Run("RS16", func(t *testing.T) {
		m := verify.ResourceMetadata{Resource: audience, AuthorizationServers: []string{issuer}, Scopes: []string{"read"}}
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest("GET", verify.MetadataPath, nil))
		want := `{"resource":"https://api.test","authorization_servers":["https://id.test"],"scopes_supported":["read"],"bearer_methods_supported":["header"]}`
		if strings.TrimSpace(w.Body.String()) != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s", w.Body)
		}
		w = httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest("POST", verify.MetadataPath, nil))
		if w.Code != 405 {
			t.Errorf("POST: %d", w.Code)
		}
	})
}

// TestIssuers is RS18 and JW07: keys and audiences are never mixed.
func TestIssuers(t *testing.T) {
	t.Run("RS18 JW07", func(t *testing.T) {
		a, b := newMint(t, "k", "ES256"), newMint(t, "k", "ES256") // one name, two keys
		const issuerB = "https://b.id.test"
		s, err := verify.NewIssuers(
			newVerifier(t, verify.Config{Keys: keySet(t, a)}),
			newVerifier(t, verify.Config{Keys: keySet(t, b), Issuer: issuerB, Audience: "https://b.api.test"}),
		)
		if err != nil {
			t.Fatal(err)
		}
		var _ verify.Checker = s // so a Guard takes it
		ofB := map[string]any{"iss": issuerB, "aud": "https://b.api.test"}
		for _, c := range []struct {
			name  string
			token string
			want  verify.Kind
		}{
			{"A's token", a.token(claims()), 0},
			{"B's token", b.token(claims(ofB)), 0},
			{"A's key, B's name", a.token(claims(ofB)), verify.BadSignature},
			{"B's key, A's name", b.token(claims()), verify.BadSignature},
			{"B's issuer, A's audience", b.token(claims(with("iss", issuerB))), verify.WrongAudience},
			{"a stranger", a.token(claims(with("iss", "https://c.id.test"))), verify.WrongIssuer},
			{"no issuer", a.token(claims(with("iss", nil))), verify.WrongIssuer},
			{"issuer twice", a.sign(a.header(), `{"iss":"https://id.test","iss":"https://b.id.test"}`), verify.Malformed},
			{"no token", "x", verify.Malformed},
			{"opaque", "hfa_x", verify.WrongType},
		} {
			_, err := s.Verify(t.Context(), c.token, noon)
			if c.want == 0 && err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if c.want != 0 && (err == nil || verify.KindOf(err) != c.want) {
				t.Errorf("%s: %v; want %v", c.name, err, c.want)
			}
		}
		_, err = verify.NewIssuers(newVerifier(t, verify.Config{Keys: keySet(t, a)}), newVerifier(t, verify.Config{Keys: keySet(t, b)}))
		if err == nil {
			t.Error("two verifiers for one issuer accepted")
		}
	})
}
