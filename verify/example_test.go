package verify_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"holdfast.example/verify"
)

// A service with two routes behind one guard.
func Example() {
	holdfast := startIssuer() // stands for your Holdfast server
	defer holdfast.Close()

	tokens, err := verify.New(verify.Config{
		Issuer:   holdfast.URL,
		Audience: "https://api.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := verify.NewGuard(verify.GuardConfig{Tokens: tokens})
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.Handle("GET /hello", guard.Protect(verify.Need{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := verify.FromContext(r.Context())
		fmt.Fprintf(w, "hello %s", claims.Subject)
	})))
	api := httptest.NewServer(mux)
	defer api.Close()

	fmt.Println(get(api.URL+"/hello", ""))
	fmt.Println(get(api.URL+"/hello", holdfast.token("read", time.Now())))
	// Output:
	// 401 Bearer
	// 200 hello usr_demo
}

// What each route needs is written where the route is.
func ExampleGuard_Protect() {
	holdfast := startIssuer()
	defer holdfast.Close()
	tokens, err := verify.New(verify.Config{Issuer: holdfast.URL, Audience: "https://api.example.com"})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := verify.NewGuard(verify.GuardConfig{Tokens: tokens, Realm: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "done") })

	mux := http.NewServeMux()
	mux.Handle("GET /orders", guard.Protect(verify.Need{Scope: "read"}, done))
	mux.Handle("GET /orders/new", guard.Protect(verify.Need{Scope: "read write"}, done))
	// Paying needs a sign-in of the last five minutes, whatever the token's age.
	mux.Handle("GET /pay", guard.Protect(verify.Need{Scope: "read", MaxAge: 5 * time.Minute}, done))
	api := httptest.NewServer(mux)
	defer api.Close()

	token := holdfast.token("read", time.Now().Add(-time.Hour)) // signed in an hour ago
	fmt.Println(get(api.URL+"/orders", token))
	fmt.Println(get(api.URL+"/orders/new", token))
	fmt.Println(get(api.URL+"/pay", token))
	// Output:
	// 200 done
	// 403 Bearer realm="shop", error="insufficient_scope", error_description="the access token lacks a scope", scope="read write"
	// 401 Bearer realm="shop", error="insufficient_user_authentication", error_description="a newer or stronger sign-in is needed", max_age="300"
}

// Opaque tokens are checked by asking the issuer, JWTs without asking.
func ExampleIntrospector() {
	holdfast := startIssuer()
	defer holdfast.Close()

	opaque, err := verify.NewIntrospector(verify.IntrospectorConfig{
		URL:      holdfast.URL + "/oauth2/introspect",
		ClientID: "my-api",
		Secret:   func() string { return "my-api-secret" }, // read it from a file or the environment
		Cache:    time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := verify.New(verify.Config{Issuer: holdfast.URL, Audience: "https://api.example.com", Opaque: opaque})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := verify.NewGuard(verify.GuardConfig{Tokens: tokens})
	if err != nil {
		log.Fatal(err)
	}
	api := httptest.NewServer(guard.Protect(verify.Need{Scope: "read"}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := verify.FromContext(r.Context())
		fmt.Fprintf(w, "hello %s", claims.Subject)
	})))
	defer api.Close()

	fmt.Println(get(api.URL, "hfa_demo"))
	fmt.Println(get(api.URL, "hfa_ended"))
	fmt.Println(get(api.URL, holdfast.token("read", time.Now())))
	// Output:
	// 200 hello usr_demo
	// 401 Bearer error="invalid_token", error_description="the access token is not active"
	// 200 hello usr_demo
}

// Without HTTP: a message queue, a gRPC interceptor, the authorization server
// itself, which holds its own keys.
func ExampleVerifier_Verify() {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	key, err := verify.NewKey("key-1", "Ed25519", public)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := verify.NewKeySet(key)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := verify.New(verify.Config{
		Issuer:   "https://id.example.com",
		Audience: "https://api.example.com",
		Keys:     verify.LocalKeys(func() *verify.KeySet { return keys }),
	})
	if err != nil {
		log.Fatal(err)
	}
	token := demoToken(private, "https://id.example.com", "read", time.Now())

	claims, err := tokens.Verify(context.Background(), token, time.Now())
	fmt.Println(claims.Subject, claims.HasScope("read"), err)

	_, err = tokens.Verify(context.Background(), token, time.Now().Add(time.Hour))
	fmt.Println(verify.KindOf(err) == verify.Expired, err)
	// Output:
	// usr_demo true <nil>
	// true verify: the access token has expired
}

// Tests of handlers need no token.
func ExampleNewContext() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := verify.FromContext(r.Context())
		fmt.Fprintf(w, "hello %s", claims.Subject)
	})

	r := httptest.NewRequest("GET", "/", nil)
	r = r.WithContext(verify.NewContext(r.Context(), &verify.Claims{Subject: "usr_alice"}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: hello usr_alice
}

// demoIssuer stands for a Holdfast server: it publishes a key, signs tokens
// with it and answers introspection.
type demoIssuer struct {
	*httptest.Server
	private ed25519.PrivateKey
}

func startIssuer() *demoIssuer {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	d := &demoIssuer{private: private}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth2/jwks", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","use":"sig","kid":"key-1","x":%q}]}`, b64(public))
	})
	mux.HandleFunc("POST /oauth2/introspect", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("token") != "hfa_demo" {
			fmt.Fprint(w, `{"active":false}`)
			return
		}
		fmt.Fprintf(w, `{"active":true,"iss":%q,"sub":"usr_demo","aud":"https://api.example.com","client_id":"demo","scope":"read","exp":%d}`,
			d.URL, time.Now().Add(time.Minute).Unix())
	})
	d.Server = httptest.NewServer(mux)
	return d
}

func (d *demoIssuer) token(scope string, signedIn time.Time) string {
	return demoToken(d.private, d.URL, scope, signedIn)
}

func demoToken(private ed25519.PrivateKey, issuer, scope string, signedIn time.Time) string {
	now := time.Now()
	payload := fmt.Sprintf(`{"iss":%q,"sub":"usr_demo","aud":"https://api.example.com","client_id":"demo","jti":"1","iat":%d,"exp":%d,"scope":%q,"auth_time":%d}`,
		issuer, now.Unix(), now.Add(15*time.Minute).Unix(), scope, signedIn.Unix())
	signed := b64([]byte(`{"alg":"Ed25519","kid":"key-1","typ":"at+jwt"}`)) + "." + b64([]byte(payload))
	return signed + "." + b64(ed25519.Sign(private, []byte(signed)))
}

// get asks with a token, or without, and returns what came back in one line.
func get(url, token string) string {
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		log.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("WWW-Authenticate"))
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}
