package pair_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"holdfast.example/verify"
	"holdfast.example/verify/pair"
)

const (
	issuer   = "https://id.test"
	audience = "https://api.test"
)

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ours  = sync.OnceValue(makeKey)
	other = sync.OnceValue(makeKey)
)

func makeKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

type claims = map[string]any

func sign(t *testing.T, k *ecdsa.PrivateKey, header string, c claims) string {
	t.Helper()
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(header)) + "." + b64(payload)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return text + "." + b64(sig)
}

// token is an access token as the server writes it for an app of simplejwt.
func token(t *testing.T, change claims) string {
	t.Helper()
	return sign(t, ours(), `{"alg":"ES256","kid":"k1","typ":"at+jwt"}`, with(change))
}

func with(change claims) claims {
	c := claims{"iss": issuer, "aud": audience, "sub": "usr_a", "client_id": "app", "jti": "1", "scope": "read write", "token_type": "access", "user_id": 7,
		"iat": noon.Add(-time.Minute).Unix(), "exp": noon.Add(time.Hour).Unix()}
	maps.Copy(c, change)
	for name, v := range c {
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

type revoked string

func (r revoked) Refuse(c *verify.Claims, _ time.Time) error {
	if c.ID == string(r) {
		return &verify.Error{Kind: verify.Revoked}
	}
	return nil
}

func guard(t *testing.T, change func(*pair.Config)) *pair.Guard {
	t.Helper()
	key, err := verify.NewKey("k1", "ES256", crypto.PublicKey(ours().Public()))
	if err != nil {
		t.Fatal(err)
	}
	set, err := verify.NewKeySet(key)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(verify.Config{Issuer: issuer, Audience: audience, Keys: verify.LocalKeys(func() *verify.KeySet { return set }), Revocations: revoked("stolen")})
	if err != nil {
		t.Fatal(err)
	}
	c := pair.Config{Tokens: v, Now: func() time.Time { return noon }}
	if change != nil {
		change(&c)
	}
	g, err := pair.NewGuard(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// who answers with the user.
var who = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	u, _ := pair.FromContext(r.Context())
	fmt.Fprint(w, u.ID, u.Type, u.Username)
})

func ask(g *pair.Guard, need pair.Need, authorization ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, a := range authorization {
		r.Header.Add("Authorization", a)
	}
	w := httptest.NewRecorder()
	g.Protect(need, who).ServeHTTP(w, r)
	return w
}

// notValid is simplejwt's answer to a token that is none.
func notValid(why string) string {
	return `{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"` + why + `"}]}`
}

// TestAnswers (contract 4.6 rows 1..4): every answer of an API, byte by byte.
func TestAnswers(t *testing.T) {
	good := token(t, nil)
	const absent = `{"detail":"Authentication credentials were not provided."}`
	const words = `{"detail":"Authorization header must contain two space-delimited values","code":"bad_authorization_header"}`
	refresh := sign(t, other(), `{"alg":"HS256","typ":"rt+jwt"}`, claims{"token_type": "refresh"})
	for _, c := range []struct {
		name, authorization string
		status              int
		body                string
	}{
		{"good", "Bearer " + good, 200, "7access"},
		{"good with spaces", " Bearer   " + good + " ", 200, "7access"},
		{"no header", "", 401, absent},
		{"another case", "bearer " + good, 401, absent},
		{"another scheme", "JWT " + good, 401, absent},
		{"Basic", "Basic YTpi", 401, absent},
		{"one word", "Bearer", 401, words},
		{"three words", "Bearer " + good + " x", 401, words},
		{"garbage", "Bearer x", 401, notValid("Token is invalid")},
		{"forged", "Bearer " + sign(t, other(), `{"alg":"ES256","kid":"k1","typ":"at+jwt"}`, with(nil)), 401, notValid("Token is invalid")},
		{"unsigned", "Bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`)) + ".e30.", 401, notValid("Token is invalid")},
		{"another API's", "Bearer " + token(t, claims{"aud": "https://other.test"}), 401, notValid("Token is invalid")},
		{"expired", "Bearer " + token(t, claims{"exp": noon.Add(-time.Hour).Unix()}), 401, notValid("Token is expired")},
		{"ended", "Bearer " + token(t, claims{"jti": "stolen"}), 401, notValid("Token is blacklisted")},
		{"no access token", "Bearer " + sign(t, ours(), `{"alg":"ES256","kid":"k1","typ":"JWT"}`, with(nil)), 401, notValid("Token has wrong type")},
		{"refresh", "Bearer " + refresh, 401, notValid("Token has wrong type")},
		{"sliding", "Bearer " + token(t, claims{"token_type": "sliding"}), 401, notValid("Token has wrong type")},
		{"no type", "Bearer " + token(t, claims{"token_type": nil}), 401, notValid("Token has wrong type")},
		{"no user", "Bearer " + token(t, claims{"user_id": nil}), 401, `{"detail":"Token contained no recognizable user identification","code":"token_not_valid"}`},
		{"a user id of another type", "Bearer " + token(t, claims{"user_id": "7"}), 401, notValid("Token is invalid")},
	} {
		t.Run("contract 4.6 "+c.name, func(t *testing.T) {
			got := ask(guard(t, nil), pair.Need{}, c.authorization)
			if got.Code != c.status || got.Body.String() != c.body {
				t.Errorf("%d %s\nwant %d %s", got.Code, got.Body, c.status, c.body)
			}
			challenge := got.Header().Get("WWW-Authenticate")
			if (c.status == 401) != (challenge == `Bearer realm="api"`) {
				t.Errorf("WWW-Authenticate %q", challenge)
			}
			if c.status != 200 && (got.Header().Get("Content-Type") != "application/json" || got.Header().Get("Cache-Control") != "no-store") {
				t.Errorf("%v", got.Header())
			}
		})
	}
	if got := ask(guard(t, nil), pair.Need{}, "Bearer "+good, "Bearer "+good); got.Code != 401 || got.Body.String() != words {
		t.Errorf("two headers: %d %s", got.Code, got.Body)
	}
	for scope, status := range map[string]int{"read": 200, "admin": 403} {
		if got := ask(guard(t, nil), pair.Need{Scopes: []string{scope}}, "Bearer "+good); got.Code != status {
			t.Errorf("%s: %d %s", scope, got.Code, got.Body)
		}
	}
}

// TestUsers (contract 4.6 row 5): a user who is not there, may do nothing, or cannot
// be looked up.
func TestUsers(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		body   string
	}{
		{nil, 200, "7access"},
		{pair.ErrUserNotFound, 401, `{"detail":"User not found","code":"user_not_found"}`},
		{fmt.Errorf("row 7: %w", pair.ErrUserInactive), 401, `{"detail":"User is inactive","code":"user_inactive"}`},
		{errors.New("no connection"), 503, `{"detail":"Access tokens cannot be checked at the moment."}`},
	} {
		var told error
		g := guard(t, func(config *pair.Config) {
			config.User = func(_ context.Context, id int64) error {
				if id != 7 {
					t.Errorf("asked about %d", id)
				}
				return c.err
			}
			config.OnRefusal = func(_ *http.Request, err error) { told = err }
		})
		got := ask(g, pair.Need{}, "Bearer "+token(t, nil))
		if got.Code != c.status || got.Body.String() != c.body || (got.Code == 503) != (got.Header().Get("Retry-After") == "1") {
			t.Errorf("%v: %d %s %v", c.err, got.Code, got.Body, got.Header())
		}
		if c.err != nil && !errors.Is(told, c.err) {
			t.Errorf("OnRefusal heard %v", told)
		}
	}
}

// TestTypes: sliding tokens and those of django-rest-framework-jwt, for services that
// say so.
func TestTypes(t *testing.T) {
	sliding, drf := token(t, claims{"token_type": "sliding"}), token(t, claims{"token_type": nil, "username": "ada"})
	g := guard(t, func(c *pair.Config) { c.Types = []string{pair.TypeSliding, pair.TypeAccess} })
	if got := ask(g, pair.Need{}, "Bearer "+sliding); got.Code != 200 || got.Body.String() != "7sliding" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	both := `{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[` +
		`{"token_class":"SlidingToken","token_type":"sliding","message":"Token has wrong type"},` +
		`{"token_class":"AccessToken","token_type":"access","message":"Token has wrong type"}]}`
	if got := ask(g, pair.Need{}, "Bearer "+drf); got.Body.String() != both {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	g = guard(t, func(c *pair.Config) { c.Types, c.Schemes = []string{""}, []string{"JWT"} })
	if got := ask(g, pair.Need{}, "JWT "+drf); got.Code != 200 || got.Body.String() != "7ada" {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := ask(g, pair.Need{}); got.Header().Get("WWW-Authenticate") != `JWT realm="api"` {
		t.Errorf("%v", got.Header())
	}
}

// TestConfig: what is not a Guard is said when it is made.
func TestConfig(t *testing.T) {
	tokens, err := verify.New(verify.Config{Issuer: issuer, Audience: audience, Keys: verify.LocalKeys(func() *verify.KeySet { return nil })})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]pair.Config{
		"no tokens": {}, "refresh tokens": {Tokens: tokens, Types: []string{"refresh"}}, "no word": {Tokens: tokens, Schemes: []string{""}},
		"two words": {Tokens: tokens, Schemes: []string{"a b"}}, "a quote": {Tokens: tokens, Realm: `"`},
	} {
		if _, err := pair.NewGuard(c); err == nil {
			t.Errorf("%s is a Guard", name)
		}
	}
	g, err := pair.NewGuard(pair.Config{Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(g, pair.Need{}, "Bearer "+token(t, nil)); got.Code != 503 || got.Header().Get("Retry-After") == "" {
		t.Errorf("without keys: %d %s", got.Code, got.Body)
	}
}
