package interop

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
)

func provider(t *testing.T) *oidc.Provider {
	t.Helper()
	p, err := oidc.NewProvider(t.Context(), holdfast.base)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// clientTime is the time as the server's moved clock has it: libraries check
// tokens against it.
func clientTime(t *testing.T) func() time.Time {
	t.Helper()
	token := signIn(t, app("demo-native", "", oauth2.AuthStyleInParams))
	parsed, _, err := jwt.NewParser().ParseUnverified(token.AccessToken, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := parsed.Claims.GetIssuedAt()
	if err != nil {
		t.Fatal(err)
	}
	ahead := time.Until(issued.Time)
	return func() time.Time { return time.Now().Add(ahead) }
}

// TestDiscovery (D01, D05): go-oidc finds everything from the issuer alone.
func TestDiscovery(t *testing.T) {
	p := provider(t)
	var doc struct {
		Grants []string `json:"grant_types_supported"`
		Revoke string   `json:"revocation_endpoint"`
	}
	if err := p.Claims(&doc); err != nil || !slices.Contains(doc.Grants, "refresh_token") || doc.Revoke != holdfast.base+"/oauth2/revoke" {
		t.Errorf("%+v %v", doc, err)
	}
	if e := p.Endpoint(); e.TokenURL != holdfast.base+"/oauth2/token" || p.UserInfoEndpoint() != holdfast.base+"/oauth2/userinfo" {
		t.Errorf("%+v", e)
	}
}

// TestIDToken (O01, O03, O04, O08): the ID token of a sign-in passes go-oidc's
// verifier, in either algorithm, its at_hash fits, and userinfo agrees with it.
func TestIDToken(t *testing.T) {
	p, now := provider(t), clientTime(t)
	for _, client := range []string{"demo-native", "rsa-app"} {
		t.Run(client, func(t *testing.T) {
			c := app(client, "", oauth2.AuthStyleInParams, "openid", "profile", "email")
			c.Endpoint.TokenURL = p.Endpoint().TokenURL
			token := signIn(t, c)
			raw, _ := token.Extra("id_token").(string)
			algs := []string{"ES256"}
			if client == "rsa-app" {
				algs = []string{"RS256"}
			}
			id, err := p.Verifier(&oidc.Config{ClientID: client, SupportedSigningAlgs: algs, Now: now}).Verify(t.Context(), raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := id.VerifyAccessToken(token.AccessToken); err != nil {
				t.Errorf("at_hash: %v", err)
			}
			var said struct {
				Email    string `json:"email"`
				Verified bool   `json:"email_verified"`
				Name     string `json:"name"`
				ACR      string `json:"acr"`
			}
			if err := id.Claims(&said); err != nil || said.Email != "demo@example.com" || !said.Verified || said.Name != "Demo User" || said.ACR == "" {
				t.Errorf("%+v %v", said, err)
			}
			info, err := p.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
			if err != nil || info.Subject != id.Subject || info.Email != said.Email || !info.EmailVerified {
				t.Errorf("%+v %v", info, err)
			}
			if _, err := p.Verifier(&oidc.Config{ClientID: "another-app", SupportedSigningAlgs: algs, Now: now}).Verify(t.Context(), raw); err == nil {
				t.Error("another client takes the ID token for its own")
			}
			if _, err := p.Verifier(&oidc.Config{ClientID: client, SupportedSigningAlgs: algs, Now: now}).Verify(t.Context(), token.AccessToken); err == nil {
				t.Error("an access token passes as an ID token")
			}
		})
	}
}

// TestRemoteKeySet (REFRESH-13, O18): go-oidc's key set follows a rotation, and
// tokens of the old key go on.
func TestRemoteKeySet(t *testing.T) {
	keys := oidc.NewRemoteKeySet(t.Context(), holdfast.base+"/oauth2/jwks")
	c := app("demo-native", "", oauth2.AuthStyleInParams)
	before := signIn(t, c)
	for _, round := range []string{"before", "after a rotation", "after two"} {
		token := signIn(t, c)
		for what, raw := range map[string]string{"new": token.AccessToken, "first": before.AccessToken} {
			if _, err := keys.VerifySignature(t.Context(), raw); err != nil {
				t.Errorf("%s, the %s token: %v", round, what, err)
			}
		}
		holdfast.operate(t, "/admin/v1/keys/rotate", `{"purpose":"sign","alg":"ES256","force":true}`)
	}
}

// TestAccessTokenElsewhere (J01, J02, P6): golang-jwt and go-jose check our access
// tokens with the published keys, as an API of any team would.
func TestAccessTokenElsewhere(t *testing.T) {
	now := clientTime(t)
	res, err := http.Get(holdfast.base + "/oauth2/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(res.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	for client, want := range map[string]struct{ alg, audience string }{
		"demo-native": {"ES256", holdfast.base}, "rsa-app": {"RS256", holdfast.base}, "api-app": {"ES256", "https://api.example"},
	} {
		t.Run(client, func(t *testing.T) {
			raw := signIn(t, app(client, "", oauth2.AuthStyleInParams, "openid", "read")).AccessToken
			parser := jwt.NewParser(jwt.WithValidMethods([]string{want.alg}), jwt.WithIssuer(holdfast.base), jwt.WithAudience(want.audience),
				jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithTimeFunc(now), jwt.WithLeeway(time.Minute), jwt.WithStrictDecoding())
			token, err := parser.Parse(raw, func(token *jwt.Token) (any, error) {
				kid, _ := token.Header["kid"].(string)
				found := set.Key(kid)
				if len(found) != 1 || found[0].Algorithm != token.Method.Alg() || found[0].Use != "sig" || !found[0].IsPublic() {
					t.Errorf("kid %s names %v", kid, found)
				}
				return found[0].Key, nil
			})
			if err != nil || token.Header["typ"] != "at+jwt" {
				t.Fatalf("golang-jwt: %v %v", token.Header, err)
			}
			if _, err := jwt.NewParser(jwt.WithAudience("https://other.example"), jwt.WithTimeFunc(now)).Parse(raw, func(token *jwt.Token) (any, error) {
				return set.Key(token.Header["kid"].(string))[0].Key, nil
			}); err == nil {
				t.Error("golang-jwt takes it for another audience")
			}

			signed, err := josejwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(want.alg)})
			if err != nil {
				t.Fatal(err)
			}
			var c josejwt.Claims
			var more struct {
				Client string `json:"client_id"`
				Scope  string `json:"scope"`
				SID    string `json:"sid"`
			}
			if err := signed.Claims(&set, &c, &more); err != nil {
				t.Fatalf("go-jose: %v", err)
			}
			if err := c.Validate(josejwt.Expected{Issuer: holdfast.base, AnyAudience: josejwt.Audience{want.audience}, Time: now()}); err != nil {
				t.Errorf("go-jose: %v", err)
			}
			if more.Client != client || more.Scope != "openid read" || more.SID == "" || c.ID == "" || c.Subject == "" {
				t.Errorf("%+v %+v", c, more)
			}
		})
	}
}
