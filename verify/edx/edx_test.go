package edx_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/verify"
	"holdfast.example/verify/edx"
)

const (
	issuer   = "https://id.test"
	audience = "openedx"
	realm    = `JWT realm="api"`
)

var (
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	// Made once: an RSA key takes longer than all the rest.
	ours  = sync.OnceValue(makeKey)
	other = sync.OnceValue(makeKey)
)

func makeKey() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}

type claims = map[string]any

// learner is the token of a phone of an Open edX, as the server writes it.
func learner(change claims) claims {
	c := claims{"iss": issuer, "aud": audience, "sub": "0123456789abcdef0123456789abcdef", "client_id": "mobile", "jti": "1",
		"iat": noon.Add(-time.Minute).Unix(), "exp": noon.Add(time.Hour).Unix(), "scope": "read write email profile user_id",
		"preferred_username": "ada", "grant_type": "password", "scopes": []string{"read", "write", "email", "profile", "user_id"},
		"version": "1.2.0", "filters": []string{"user:me"}, "is_restricted": false, "email_verified": true, "email": "ada@example.com",
		"name": "Ada", "family_name": nil, "given_name": nil, "administrator": false, "superuser": true, "user_id": 7}
	maps.Copy(c, change)
	for name, v := range c {
		if v == nil && name != "family_name" && name != "given_name" {
			delete(c, name)
		}
	}
	return c
}

func sign(t *testing.T, k *rsa.PrivateKey, kid string, c claims) string {
	t.Helper()
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"RS512","kid":"`+kid+`","typ":"at+jwt"}`)) + "." + b64(payload)
	sum := sha512.Sum512([]byte(text))
	s, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA512, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(s)
}

func token(t *testing.T, change claims) string { return sign(t, ours(), "k1", learner(change)) }

// revoked refuses one jti.
type revoked string

func (r revoked) Refuse(c *verify.Claims, _ time.Time) error {
	if c.ID == string(r) {
		return &verify.Error{Kind: verify.Revoked}
	}
	return nil
}

// asked answers for opaque tokens.
type asked map[string]claims

func (a asked) Introspect(_ context.Context, token string, _ time.Time) (*verify.Claims, error) {
	if token == "hfa_away" {
		return nil, &verify.Error{Kind: verify.Unready, RetryAfter: 2500 * time.Millisecond}
	}
	return nil, &verify.Error{Kind: verify.Inactive}
}

func guard(t *testing.T, change func(*edx.Config)) *edx.Guard {
	t.Helper()
	key, err := verify.NewKey("k1", "RS512", ours().Public())
	if err != nil {
		t.Fatal(err)
	}
	set, err := verify.NewKeySet(key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(verify.Config{Issuer: issuer, Audience: audience, Keys: verify.LocalKeys(func() *verify.KeySet { return set }),
		Revocations: revoked("stolen"), Opaque: asked{}})
	if err != nil {
		t.Fatal(err)
	}
	c := edx.Config{Tokens: v, Now: func() time.Time { return noon }}
	if change != nil {
		change(&c)
	}
	g, err := edx.NewGuard(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// got is one answer: what the handler saw, or the refusal.
type got struct {
	status          int
	body, challenge string
	user            *edx.User
}

func call(t *testing.T, g *edx.Guard, need edx.Need, r *http.Request) got {
	t.Helper()
	var seen *edx.User
	w := httptest.NewRecorder()
	g.Protect(need, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen, _ = edx.FromContext(r.Context()) })).ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusOK && (seen != nil || body[0] != '{' || body[len(body)-1] != '}') {
		t.Errorf("status %d with body %q and user %v", w.Code, body, seen)
	}
	return got{w.Code, string(body), w.Header().Get("WWW-Authenticate"), seen}
}

func request(method, authorization string) *http.Request {
	r := httptest.NewRequest(method, "http://api.test/x", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

// TestHeader (contract 1.12 rows 1, 2, 8, R29): each token and what the apps read.
func TestHeader(t *testing.T) {
	expired, bad := `{"detail":"Token has expired."}`, `{"detail":"Invalid token."}`
	absent := `{"detail":"Authentication credentials were not provided."}`
	past, future := noon.Add(-time.Hour).Unix(), noon.Add(time.Hour).Unix()
	good := token(t, nil)
	for name, c := range map[string]struct {
		header, body, challenge string
		status                  int
	}{
		"good":                         {"JWT " + good, "", "", 200},
		"scheme without case":          {"jwt " + good, "", "", 200},
		"Bearer":                       {"Bearer " + good, "", "", 200},
		"expired":                      {"JWT " + token(t, claims{"exp": past}), expired, realm, 401},
		"clock ahead":                  {"JWT " + token(t, claims{"iat": future}), expired, realm, 401},
		"key not seen yet":             {"JWT " + sign(t, other(), "k2", learner(nil)), expired, realm, 401},
		"revoked":                      {"JWT " + token(t, claims{"jti": "stolen"}), bad, realm, 401},
		"revoked and expired (R29)":    {"JWT " + token(t, claims{"jti": "stolen", "exp": past}), bad, realm, 401},
		"forged":                       {"JWT " + sign(t, other(), "k1", learner(nil)), bad, realm, 401},
		"wrong audience":               {"JWT " + token(t, claims{"aud": "other"}), bad, realm, 401},
		"wrong issuer":                 {"JWT " + token(t, claims{"iss": "https://evil.test"}), bad, realm, 401},
		"no exp":                       {"JWT " + token(t, claims{"exp": nil}), bad, realm, 401},
		"no iat":                       {"JWT " + token(t, claims{"iat": nil}), bad, realm, 401},
		"version 2":                    {"JWT " + token(t, claims{"version": "2.0.0"}), bad, realm, 401},
		"no version":                   {"JWT " + token(t, claims{"version": nil}), "", "", 200},
		"garbage":                      {"JWT garbage", bad, realm, 401},
		"user name under its old name": {"JWT " + token(t, claims{"preferred_username": nil, "username": "ada"}), "", "", 200},
		"nobody's": {"JWT " + token(t, claims{"preferred_username": nil}),
			`{"detail":"JWT must include a preferred_username or username claim!"}`, realm, 401},
		"nothing":        {"", absent, realm, 401},
		"another scheme": {"Basic YTpi", absent, realm, 401},
		"three words":    {"JWT a b", absent, realm, 401},
		"one word":       {"JWT", absent, realm, 401},
		"opaque that is over": {"JWT hfa_old", `{"developer_message":"The provided access token has expired and is no longer valid.","error_code":"token_expired"}`,
			`Bearer realm="api"`, 401},
		"nobody to ask": {"Bearer hfa_away", `{"detail":"Access tokens cannot be checked at the moment."}`, "", 503},
	} {
		t.Run(name, func(t *testing.T) {
			a := call(t, guard(t, nil), edx.Need{}, request("GET", c.header))
			if a.status != c.status || a.body != c.body || a.challenge != c.challenge {
				t.Errorf("got %d %s %q", a.status, a.body, a.challenge)
			}
			if c.status == 200 && (a.user == nil || a.user.Username != "ada" || a.user.Via != edx.ViaHeader) {
				t.Errorf("user %+v", a.user)
			}
		})
	}
}

func TestUser(t *testing.T) {
	u := call(t, guard(t, nil), edx.Need{}, request("GET", "JWT "+token(t, claims{"roles": []string{"staff:*"}}))).user
	if u == nil || u.ID != 7 || u.Email != "ada@example.com" || !u.EmailVerified || u.Name != "Ada" || u.GivenName != "" || u.Administrator ||
		!u.Superuser || u.GrantType != "password" || len(u.Roles) != 1 || !u.HasScope("user_id") || u.Claims.ClientID != "mobile" {
		t.Errorf("user %+v", u)
	}
}

// TestCookies (contract 1.12 rows 3, 4, R32): the cookie pair, its CSRF check and its
// forgiveness.
func TestCookies(t *testing.T) {
	good, old := token(t, nil), token(t, claims{"exp": noon.Add(-time.Hour).Unix()})
	pair := func(method, token string, headers ...string) *http.Request {
		r := request(method, "")
		i := strings.LastIndex(token, ".")
		r.AddCookie(&http.Cookie{Name: "edx-jwt-cookie-header-payload", Value: token[:i]})
		r.AddCookie(&http.Cookie{Name: "edx-jwt-cookie-signature", Value: token[i+1:]})
		r.AddCookie(&http.Cookie{Name: "csrftoken", Value: "secret"})
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return r
	}
	absent := `{"detail":"Authentication credentials were not provided."}`
	as := func(name string) func(*edx.Config) {
		return func(c *edx.Config) { c.Session = func(*http.Request) (string, bool) { return name, name != "" } }
	}
	tls := func(c *edx.Config) { c.BehindTLS, c.TrustedOrigins = true, []string{"https://apps.test"} }
	half := request("GET", "")
	half.AddCookie(&http.Cookie{Name: "edx-jwt-cookie-header-payload", Value: "a.b"})
	withHeader := pair("GET", good)
	withHeader.Header.Set("Authorization", "JWT garbage")
	for name, c := range map[string]struct {
		r      *http.Request
		config func(*edx.Config)
		status int
		body   string
		via    edx.Via
	}{
		"read":                         {pair("GET", good), nil, 200, "", edx.ViaCookie},
		"one half":                     {half, nil, 401, absent, 0},
		"write":                        {pair("POST", good, "X-CSRFToken", "secret"), nil, 200, "", edx.ViaCookie},
		"write without the header":     {pair("POST", good), nil, 401, absent, 0},
		"write with another":           {pair("POST", good, "X-CSRFToken", "guess"), nil, 401, absent, 0},
		"from its own page":            {pair("POST", good, "X-CSRFToken", "secret", "Origin", "http://api.test"), nil, 200, "", edx.ViaCookie},
		"from another page":            {pair("POST", good, "X-CSRFToken", "secret", "Origin", "http://evil.test"), nil, 401, absent, 0},
		"from a sandbox":               {pair("POST", good, "X-CSRFToken", "secret", "Origin", "null"), nil, 401, absent, 0},
		"https without a page":         {pair("POST", good, "X-CSRFToken", "secret"), tls, 401, absent, 0},
		"https with a referer":         {pair("POST", good, "X-CSRFToken", "secret", "Referer", "https://api.test/page"), tls, 200, "", edx.ViaCookie},
		"https from a trusted page":    {pair("POST", good, "X-CSRFToken", "secret", "Origin", "https://apps.test"), tls, 200, "", edx.ViaCookie},
		"http page of an https host":   {pair("POST", good, "X-CSRFToken", "secret", "Origin", "http://api.test"), tls, 401, absent, 0},
		"expired alone":                {pair("GET", old), nil, 401, absent, 0},
		"expired, session":             {pair("GET", old), as("Ada"), 200, "", edx.ViaSession},
		"expired, another's session":   {pair("GET", old), as("eve"), 401, `{"detail":"Failing JWT authentication due to session user mismatch with JWT cookie user."}`, 0},
		"good, another's session":      {pair("GET", good), as("eve"), 401, `{"detail":"Failing JWT authentication due to session user mismatch with JWT cookie user."}`, 0},
		"session writes without token": {pair("POST", old), as("ada"), 403, `{"detail":"CSRF Failed: CSRF token missing."}`, 0},
		"header beats cookie":          {withHeader, nil, 401, `{"detail":"Invalid token."}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := call(t, guard(t, c.config), edx.Need{}, c.r)
			if a.status != c.status || a.body != c.body || a.status == 200 && a.user.Via != c.via {
				t.Errorf("got %d %s %+v", a.status, a.body, a.user)
			}
		})
	}
}

// TestNeed (contract 1.12 rows 6, 7): what restricted applications may use.
func TestNeed(t *testing.T) {
	restricted := func(scopes []string, filters ...string) string {
		return token(t, claims{"is_restricted": true, "scopes": scopes, "filters": filters})
	}
	grades := edx.Need{Scopes: []string{"grades:read"}}
	org := edx.Need{Scopes: grades.Scopes, Org: func(*http.Request) string { return "edX" }}
	about := func(name string) edx.Need {
		return edx.Need{Scopes: grades.Scopes, User: func(*http.Request) string { return name }}
	}
	has := []string{"grades:read"}
	for name, c := range map[string]struct {
		need   edx.Need
		token  string
		detail string // "": let in
	}{
		"closed route":                {edx.Need{}, restricted(has), "You do not have permission to perform this action."},
		"with the scope":              {grades, restricted(has), ""},
		"without the scope":           {grades, restricted([]string{"read"}), "JWT missing required scopes."},
		"organisation":                {org, restricted(has, "content_org:edX"), ""},
		"another organisation":        {org, restricted(has, "content_org:MITx"), "JWT missing required content_org filter."},
		"no organisation":             {org, restricted(has), "JWT missing required content_org filter."},
		"himself":                     {about("ADA"), restricted(has, "user:me"), ""},
		"somebody else":               {about("eve"), restricted(has, "user:me"), "JWT missing required user filter."},
		"no user filter":              {about("eve"), restricted(has), ""},
		"unrestricted, without":       {grades, token(t, nil), ""},
		"unrestricted, asked as well": {edx.Need{Scopes: has, Everyone: true}, token(t, nil), "JWT missing required scopes."},
	} {
		t.Run(name, func(t *testing.T) {
			a := call(t, guard(t, nil), c.need, request("GET", "JWT "+c.token))
			want, body := 200, ""
			if c.detail != "" {
				want, body = 403, `{"detail":"`+c.detail+`"}`
			}
			if a.status != want || a.body != body {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
}

func TestEveryKindHasItsWords(t *testing.T) {
	g := guard(t, nil)
	for k := verify.NoToken; k <= verify.Forged; k++ {
		w := httptest.NewRecorder()
		g.Refuse(w, request("GET", ""), &verify.Error{Kind: k})
		var body struct{ Detail string }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Detail == "" {
			t.Errorf("%v: %d %s", k, w.Code, w.Body)
		}
	}
}

func TestNewGuardSaysWhatIsMissing(t *testing.T) {
	for _, c := range []edx.Config{{}, {Tokens: &verify.Verifier{}, Realm: `a"b`}} {
		_, err := edx.NewGuard(c)
		if err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestRefusalsAreHeard(t *testing.T) {
	var heard []verify.Kind
	g := guard(t, func(c *edx.Config) {
		c.OnRefusal = func(_ *http.Request, err error) { heard = append(heard, verify.KindOf(err)) }
	})
	call(t, g, edx.Need{}, request("GET", ""))
	call(t, g, edx.Need{}, request("GET", "JWT "+token(t, claims{"jti": "stolen"})))
	if len(heard) != 2 || heard[0] != verify.NoToken || heard[1] != verify.Revoked {
		t.Errorf("heard %v", heard)
	}
	if _, err := g.Check(request("GET", "JWT garbage"), edx.Need{}); err == nil || errors.Unwrap(err) == nil {
		t.Errorf("an error without its cause: %v", err)
	}
}
