package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/server"
	"holdfast.example/internal/session"
)

// TestRevoke (REVOKE-01, 02, V01..V07, V09): what may be revoked, by whom, and
// what the answer gives away.
func TestRevoke(t *testing.T) {
	a := attacks(t)
	revoke := func(a attack, fields ...string) answer {
		a.Helper()
		return a.post("/oauth2/revoke", append([]string{"client_id", "demo-native"}, fields...)...)
	}
	for _, hint := range []string{"", "refresh_token", "access_token", "nonsense"} {
		a.in("REVOKE-01 V01 V06 hint "+hint, func(a attack) {
			h := a.signIn("demo-native")
			for range 2 {
				got := revoke(a, "token", h.Refresh, "token_type_hint", hint)
				if got.status != 200 || len(got.body) != 0 {
					a.Errorf("%d %s", got.status, got.body)
				}
			}
			a.want(a.refresh(h), 400, "invalid_grant", "signed_out")
			a.dead(h.Access, "signed_out")
		})
		a.in("V02 V06 access token, hint "+hint, func(a attack) {
			h := a.signIn("demo-native")
			same := a.refreshed(h) // another access token of the same session
			a.want(revoke(a, "token", h.Access, "token_type_hint", hint), 200, "", "")
			a.dead(h.Access, "signed_out")
			a.alive(same.Access)
			a.clock.advance(time.Hour)
			a.refreshed(same)
		})
	}
	a.in("REVOKE-01 V03 garbage", func(a attack) {
		h := a.signIn("demo-native")
		for _, token := range []string{"x", h.Refresh + "A", h.Refresh[:len(h.Refresh)-1], h.Access + "A", h.ID, "..", "a.b.c", "\x7f", "ü"} {
			if got := revoke(a, "token", token); got.status != 200 || len(got.body) != 0 {
				a.Errorf("%q was answered %d %s", token, got.status, got.body)
			}
		}
		a.alive(h.Access)
		a.refreshed(h)
	})
	a.in("V09 any generation", func(a attack) {
		first := a.signIn("demo-native")
		h := first
		for range 12 { // long after the first one is forgotten
			a.clock.advance(time.Hour)
			h = a.refreshed(h)
		}
		a.want(revoke(a, "token", first.Refresh), 200, "", "")
		a.want(a.refresh(h), 400, "invalid_grant", "signed_out")
		a.dead(h.Access, "signed_out")
	})
	a.in("V05", func(a attack) {
		for _, header := range []http.Header{nil, basic("demo-service", "wrong"), basic("nobody", "x")} {
			a.want(a.request("POST", "/oauth2/revoke", urlEncoded, "token=x", header), 401, "invalid_client", "")
		}
		a.want(a.post("/oauth2/revoke", "token", "x", "client_id", "demo-service"), 401, "invalid_client", "")
	})
	a.in("V07", func(a attack) {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			got := a.request(method, "/oauth2/revoke?token=x&client_id=demo-native", "", "", nil)
			a.want(got, 405, "invalid_request", "")
			if got.header.Get("Allow") != "POST" {
				a.Errorf("Allow is %q", got.header.Get("Allow"))
			}
		}
		a.want(revoke(a), 400, "invalid_request", "")
		a.want(revoke(a, "token", ""), 400, "invalid_request", "")
		a.want(a.request("POST", "/oauth2/revoke", "application/json", `{"token":"x"}`, nil), 415, "invalid_request", "")
		a.want(a.request("POST", "/oauth2/revoke?client_id=demo-native", urlEncoded, "token=x", nil), 400, "invalid_request", "")
	})
	a.in("V02 a service's own token", func(a attack) {
		s := a.service()
		a.want(a.request("POST", "/oauth2/revoke", urlEncoded, encode([]string{"token", s.Access}), basic("demo-service", "demo-service-secret")), 200, "", "")
		if got := a.introspect(s.Access); string(got.body) != inactive {
			a.Errorf("%s", got.body)
		}
	})
}

// stuck is a store that cannot be written, or not even be read.
type stuck struct {
	session.Store
	feed  feed.Store
	write atomic.Pointer[error]
	read  atomic.Pointer[error]
	// slow lets a session be answered only when the request has no time left.
	slow atomic.Bool
}

func (s *stuck) breaks(write, read error) {
	set := func(p *atomic.Pointer[error], err error) {
		if err == nil {
			p.Store(nil)
		} else {
			p.Store(&err)
		}
	}
	set(&s.write, write)
	set(&s.read, read)
}

func failing(p *atomic.Pointer[error]) error {
	if err := p.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *stuck) Load(ctx context.Context, id idSession) (session.Loaded, error) {
	if s.slow.Load() {
		defer func() { <-ctx.Done() }()
	}
	if err := failing(&s.read); err != nil {
		return session.Loaded{}, err
	}
	return s.Store.Load(ctx, id)
}

func (s *stuck) Replace(ctx context.Context, c session.Change) error {
	if err := failing(&s.write); err != nil {
		return err
	}
	return s.Store.Replace(ctx, c)
}

func (s *stuck) Open(ctx context.Context, o session.Opening) error {
	if err := failing(&s.write); err != nil {
		return err
	}
	return s.Store.Open(ctx, o)
}

func (s *stuck) EndAll(ctx context.Context, e session.Everywhere) (uint32, error) {
	if err := failing(&s.write); err != nil {
		return 0, err
	}
	return s.Store.EndAll(ctx, e)
}

// stuckFeed is the record of the same store.
type stuckFeed struct {
	feed.Store
	of *stuck
}

func (s stuckFeed) Record(ctx context.Context, e feed.Entry, events []audit.Event) error {
	if err := failing(&s.of.write); err != nil {
		return err
	}
	return s.Store.Record(ctx, e, events)
}

func (s stuckFeed) TokenRevoked(ctx context.Context, jti string) (bool, error) {
	if err := failing(&s.of.read); err != nil {
		return false, err
	}
	return s.Store.TokenRevoked(ctx, jti)
}

// breakable is a house whose store breaks on demand.
func breakable(t *testing.T) (attack, *stuck) {
	t.Helper()
	a, s := attacks(t), &stuck{}
	a.rewire = func(p *server.Parts) {
		s.Store, s.feed = p.Stores.Sessions, p.Stores.Feed
		p.Stores.Sessions, p.Stores.Feed = s, stuckFeed{p.Stores.Feed, s}
	}
	err := a.reopen()
	if err != nil {
		t.Fatal(err)
	}
	return a, s
}

// TestStoreFails (REVOKE-03, V08, FAULT-04, INV-04, INV-10): a store that cannot be
// written signs nobody out and lies to nobody: refreshes answer with the token
// they were shown, everything that must be durable answers 503 and how long to
// wait, and when the store is back everything goes on.
func TestStoreFails(t *testing.T) {
	readOnly := fault.Down(errors.Join(session.ErrReadOnly, errors.New("disk full")))
	unknown := fault.Down(errors.New("the disk is on fire"))
	for name, broken := range map[string]struct {
		write, read error
		refresh     int
	}{
		"read-only":     {readOnly, nil, 200},
		"queue full":    {&fault.Error{Kind: fault.Busy}, nil, 200},
		"write fails":   {unknown, nil, 503},
		"nothing works": {unknown, unknown, 503},
	} {
		t.Run(name, func(t *testing.T) {
			a, s := breakable(t)
			h, tablet, out := a.signIn("demo-native"), a.signIn("demo-strict"), a.signIn("demo-native")
			a.clock.advance(time.Hour)
			h = a.refreshed(h)
			a.clock.advance(time.Hour)

			s.breaks(broken.write, broken.read)
			for _, one := range []held{h, tablet} {
				got := a.refresh(one)
				if got.status != broken.refresh {
					a.Fatalf("a refresh was answered %d %s", got.status, got.body)
				}
				if again := a.holds(got, one.client); got.status == 200 && (again.Refresh != one.Refresh || again.Access == one.Access || a.call(again.Access).status != 200) {
					a.Error("not the same refresh token and a fresh access token")
				}
			}
			for _, token := range []string{out.Refresh, a.mintFor(out)} {
				a.want(a.post("/oauth2/revoke", "client_id", "demo-native", "token", token), 503, "temporarily_unavailable", "")
			}
			for range 5 { // who repeats is answered alike, and the log is not filled
				if got := a.refresh(h); got.status != broken.refresh {
					a.Errorf("repeated, a refresh was answered %d", got.status)
				}
			}
			if n := strings.Count(a.log.String(), "store cannot be written: ref"); n > 1 {
				a.Errorf("the log says %d times that the store cannot be written", n)
			}
			a.want(a.post("/oauth2/token", "grant_type", "password", "client_id", "demo-native", "username", "demo", "password", "demo-password"), 503, "temporarily_unavailable", "")
			for _, path := range []string{"/admin/v1/users/demo/sign-out", "/admin/v1/sessions/" + sidOf(out.Access) + "/end"} {
				got, err := a.operate("POST", path, nil)
				if err != nil || got.status != 503 || got.header.Get("Retry-After") == "" {
					a.Errorf("%s was answered %d %s %v", path, got.status, got.body, err)
				}
			}
			if broken.read != nil {
				a.want(a.call(a.mintFor(h)), 503, "temporarily_unavailable", "")
				a.want(a.introspect(a.mintFor(h)), 503, "temporarily_unavailable", "")
				a.want(a.introspect(h.Refresh), 503, "temporarily_unavailable", "")
			}

			s.breaks(nil, nil)
			a.clock.advance(time.Minute)
			a.refreshed(a.refreshed(h))
			a.refreshed(a.refreshed(tablet))
			a.refreshed(out)
			a.want(a.post("/oauth2/revoke", "client_id", "demo-native", "token", out.Refresh), 200, "", "")
			a.want(a.refresh(out), 400, "invalid_grant", "signed_out")
		})
	}
}

// mintFor signs a fresh access token of a session without asking the store.
func (a attack) mintFor(h held) string {
	a.Helper()
	c := claims(h.Access)
	now := a.clock.Now()
	c["iat"], c["exp"], c["jti"] = now.Unix(), now.Add(10*time.Minute).Unix(), "minted-"+c["jti"].(string)
	return a.forge("at+jwt", c)
}

// forge signs whatever claims with the server's own key.
func (a attack) forge(typ string, c map[string]any) string {
	a.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		a.Fatal(err)
	}
	return a.sign(typ, b)
}

// TestSlowAnswer: an answer that took longer than the record of revocations
// allows for is not sent, and is no fault of ours to a client: 503, repeat.
func TestSlowAnswer(t *testing.T) {
	s := &stuck{}
	a := attacks(t)
	h := a.signIn("demo-native")              // passwords take seconds on a busy machine
	a.config.RequestTimeout = 3 * time.Second // from here on
	a.rewire = func(p *server.Parts) { s.Store = p.Stores.Sessions; p.Stores.Sessions = s }
	if err := a.reopen(); err != nil {
		t.Fatal(err)
	}
	s.slow.Store(true)
	a.want(a.refresh(h), 503, "temporarily_unavailable", "")
	s.slow.Store(false)
	a.refreshed(h)
}

// TestIntrospection (REVOKE-04..07, I01..I07, I10, JOSE-12): who may ask, and
// that everything else is one and the same answer.
func TestIntrospection(t *testing.T) {
	a := attacks(t)
	a.apply("[[clients]]\nid = \"own-app\"\ntype = \"confidential\"\nsecret = \"the-secret-of-own-app\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nscopes = [\"openid\", \"read\"]\n" +
		"[[clients]]\nid = \"api\"\ntype = \"confidential\"\nsecret = \"the-secret-of-api\"\ngrants = [\"client_credentials\"]\nscopes = [\"read\"]\n" +
		"[[clients]]\nid = \"for-api\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\", \"refresh_token\"]\nscopes = [\"openid\", \"read\"]\naudiences = [\"api\", \"https://api.example\"]\n")
	ask := func(a attack, id, secret, token string) answer {
		a.Helper()
		return a.request("POST", "/oauth2/introspect", urlEncoded, encode([]string{"token", token}), basic(id, secret))
	}
	h := a.signIn("demo-native")
	a.in("REVOKE-05 I01", func(a attack) {
		a.want(a.post("/oauth2/introspect", "token", h.Access), 401, "invalid_client", "")
		a.want(a.post("/oauth2/introspect", "token", h.Access, "client_id", "demo-native"), 401, "invalid_client", "")
		a.want(a.post("/oauth2/introspect", "token", h.Access, "client_id", "demo-service"), 401, "invalid_client", "")
		a.want(ask(a, "demo-service", "wrong", h.Access), 401, "invalid_client", "")
		a.want(a.request("POST", "/oauth2/introspect", urlEncoded, encode([]string{"token", h.Access}), bearer(h.Access)), 401, "invalid_client", "")
		a.want(a.post("/oauth2/introspect"), 401, "invalid_client", "") // the credential comes first
		a.want(a.request("POST", "/oauth2/introspect", urlEncoded, "", basic("demo-service", "demo-service-secret")), 400, "invalid_request", "")
	})
	a.in("I05", func(a attack) {
		got := a.request("GET", "/oauth2/introspect?token=x", "", "", basic("demo-service", "demo-service-secret"))
		a.want(got, 405, "invalid_request", "")
	})
	a.in("I02", func(a attack) {
		var v map[string]any
		if err := json.Unmarshal(a.introspect(h.Access).body, &v); err != nil {
			a.Fatal(err)
		}
		c := claims(h.Access)
		for _, name := range []string{"iss", "sub", "exp", "iat", "jti", "client_id", "scope", "sid", "epoch", "grant", "auth_time", "acr"} {
			if v[name] != c[name] || v[name] == nil {
				a.Errorf("%s is %v, the token says %v", name, v[name], c[name])
			}
		}
		if v["token_type"] != "Bearer" || v["username"] != "demo" {
			a.Errorf("%v", v)
		}
	})
	a.in("REVOKE-05 I07 not the caller's", func(a attack) {
		mine := a.signIn("for-api")
		for _, c := range []struct{ id, secret, token, want string }{
			{"api", "the-secret-of-api", mine.Access, `{"active":true`},
			{"api", "the-secret-of-api", h.Access, inactive},
			{"own-app", "the-secret-of-own-app", mine.Access, inactive},
			{"demo-web", "demo-web-secret", h.Access, inactive},
			{"demo-service", "demo-service-secret", mine.Access, `{"active":true`},
		} {
			got := ask(a, c.id, c.secret, c.token)
			if got.status != 200 || len(got.body) < len(c.want) || string(got.body[:len(c.want)]) != c.want || c.want == inactive && string(got.body) != inactive {
				a.Errorf("%s is told %d %s", c.id, got.status, got.body)
			}
		}
	})
	a.in("REVOKE-06 I04", func(a attack) {
		got := a.post("/oauth2/token", "grant_type", "password", "client_id", "own-app", "client_secret", "the-secret-of-own-app", "username", "demo", "password", "demo-password")
		own := a.holds(got, "own-app")
		for _, token := range []string{own.Refresh, own.ID, h.Refresh, h.ID} {
			if got := a.introspect(token); string(got.body) != inactive {
				a.Errorf("a resource server is told %s", got.body)
			}
		}
		var v map[string]any
		_ = json.Unmarshal(ask(a, "own-app", "the-secret-of-own-app", own.Refresh).body, &v)
		if v["active"] != true || v["token_type"] != "refresh_token" || v["client_id"] != "own-app" {
			a.Errorf("its own client is told %v", v)
		}
		a.clock.advance(time.Hour)
		next := a.refreshed(held{Refresh: own.Refresh, client: "own-app"}, "client_secret", "the-secret-of-own-app") // asking spent nothing
		a.clock.advance(time.Hour)
		a.refreshed(next, "client_secret", "the-secret-of-own-app")
		for range 2 { // nor does asking about a spent one end anything
			if got := ask(a, "own-app", "the-secret-of-own-app", own.Refresh); string(got.body) != inactive {
				a.Errorf("about a spent token it is told %s", got.body)
			}
		}
		a.refreshed(next, "client_secret", "the-secret-of-own-app")
	})
	a.in("REVOKE-07 I03 one answer", func(a attack) {
		ended, expired := a.signIn("demo-native"), a.signIn("demo-native")
		a.want(a.post("/oauth2/revoke", "client_id", "demo-native", "token", ended.Refresh), 200, "", "")
		a.clock.advance(16 * time.Minute)
		for what, token := range map[string]string{"unknown": "x", "ended": ended.Access, "expired": expired.Access, "spent": ended.Refresh,
			"tampered": expired.Access[:len(expired.Access)-4] + "AAAA", "empty JWT": "..", "opaque": "hfa_AAAA"} {
			if got := a.introspect(token); got.status != 200 || string(got.body) != inactive || got.header.Get("Cache-Control") != "no-store" {
				a.Errorf("%s: %d %s", what, got.status, got.body)
			}
		}
	})
	a.in("REVOKE-04 I06", func(a attack) {
		h := a.signIn("demo-native")
		a.alive(h.Access)
		a.want(a.post("/oauth2/revoke", "client_id", "demo-native", "token", h.Refresh), 200, "", "")
		a.dead(h.Access, "signed_out")
	})
}

// TestUserinfo (REVOKE-08, O08, O09, Y07, RS01..RS06): how a bearer token may be
// sent, and what it must be.
func TestUserinfo(t *testing.T) {
	a := attacks(t)
	a.apply("[[clients]]\nid = \"elsewhere\"\ntype = \"public\"\nfirst_party = true\ngrants = [\"password\"]\nscopes = [\"openid\", \"read\"]\naudiences = [\"https://api.example\"]\n")
	h := a.signIn("demo-native")
	form := encode([]string{"access_token", h.Access})
	const path = "/oauth2/userinfo"
	for name, got := range map[string]answer{
		"header":     a.call(h.Access),
		"any case":   a.request("GET", path, "", "", http.Header{"Authorization": {"bEARER " + h.Access}}),
		"POST":       a.request("POST", path, "", "", bearer(h.Access)),
		"form":       a.request("POST", path, urlEncoded, form, nil),
		"other form": a.request("POST", path, urlEncoded, "x=y", bearer(h.Access)),
	} {
		var v map[string]any
		_ = json.Unmarshal(got.body, &v)
		if got.status != 200 || v["sub"] != claims(h.ID)["sub"] || v["email"] != "demo@example.com" || v["name"] != "Demo User" {
			a.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	refusals := map[string]struct {
		got    answer
		status int
		code   string
	}{
		"query":            {a.request("GET", path+"?access_token="+h.Access, "", "", nil), 400, "invalid_request"},
		"query and header": {a.request("GET", path+"?access_token="+h.Access, "", "", bearer(h.Access)), 400, "invalid_request"},
		"header and form":  {a.request("POST", path, urlEncoded, form, bearer(h.Access)), 400, "invalid_request"},
		"form twice":       {a.request("POST", path, urlEncoded, form+"&"+form, nil), 400, "invalid_request"},
		"two headers":      {a.request("GET", path, "", "", http.Header{"Authorization": {"Bearer " + h.Access, "Bearer " + h.Access}}), 400, "invalid_request"},
		"two tokens":       {a.request("GET", path, "", "", bearer(h.Access+" "+h.Access)), 400, "invalid_request"},
		"a list":           {a.request("GET", path, "", "", bearer(h.Access+", Basic x")), 400, "invalid_request"},
		"refresh token":    {a.call(h.Refresh), 401, "invalid_token"},
		"ID token":         {a.call(h.ID), 401, "invalid_token"},
		"garbage":          {a.call("x"), 401, "invalid_token"},
		"no openid":        {a.call(a.signIn("demo-native", "scope", "read").Access), 403, "insufficient_scope"},
		"a service":        {a.call(a.service().Access), 403, "insufficient_scope"},
		"another audience": {a.call(a.signIn("elsewhere", "scope", "read").Access), 401, "invalid_token"},
		"JSON":             {a.request("POST", path, "application/json", `{"access_token":"x"}`, nil), 415, "invalid_request"},
	}
	for name, c := range refusals {
		a.in("REVOKE-08 "+name, func(a attack) {
			a.want(c.got, c.status, c.code, "")
			challenge := c.got.header.Get("WWW-Authenticate")
			if want := `Bearer realm="` + testIssuer + `", error="` + c.code + `"`; c.status < 415 && (len(challenge) < len(want) || challenge[:len(want)] != want) {
				a.Errorf("WWW-Authenticate %q", challenge)
			}
		})
	}
	for name, header := range map[string]http.Header{"nothing": nil, "Basic": basic("demo", "demo-password"), "empty": {"Authorization": {""}}} {
		a.in("RS01 "+name, func(a attack) {
			got := a.request("GET", path, "", "", header)
			if got.status != 401 || got.header.Get("WWW-Authenticate") != `Bearer realm="`+testIssuer+`"` || len(got.body) > 0 {
				a.Errorf("%d %v %s", got.status, got.header, got.body)
			}
		})
	}
	a.in("O09 scopes", func(a attack) {
		var v map[string]any
		_ = json.Unmarshal(a.call(a.signIn("demo-native", "scope", "openid").Access).body, &v)
		if len(v) != 1 || v["sub"] == nil {
			a.Errorf("openid alone tells %v", v)
		}
	})
	a.in("REVOKE-08 disabled", func(a attack) {
		a.operator("POST", "/admin/v1/users/demo/disable", "")
		a.want(a.call(h.Access), 401, "invalid_token", "disabled")
	})
}
