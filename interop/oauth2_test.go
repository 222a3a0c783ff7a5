package interop

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	webApp    = "web app: 100%"
	webSecret = "s3cret +&=%/ é that needs encoding"
)

// app is a client of golang.org/x/oauth2.
func app(id, secret string, style oauth2.AuthStyle, scopes ...string) *oauth2.Config {
	return &oauth2.Config{ClientID: id, ClientSecret: secret, Scopes: scopes,
		Endpoint: oauth2.Endpoint{TokenURL: holdfast.base + "/oauth2/token", AuthStyle: style}}
}

var styles = map[string]oauth2.AuthStyle{"found out": oauth2.AuthStyleAutoDetect, "header": oauth2.AuthStyleInHeader, "parameters": oauth2.AuthStyleInParams}

// signIn is the demo user's sign-in through x/oauth2.
func signIn(t *testing.T, c *oauth2.Config) *oauth2.Token {
	t.Helper()
	token, err := c.PasswordCredentialsToken(t.Context(), "demo", "demo-password")
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// stale is a token whose access token has run out, as far as the client knows.
func stale(token *oauth2.Token) *oauth2.Token {
	old := *token
	old.Expiry = time.Now().Add(-time.Minute)
	return &old
}

// TestPasswordGrant (O15, A17, A19, A32): both ways of x/oauth2 to authenticate a
// client, its way to find out which, and a secret that needs encoding.
func TestPasswordGrant(t *testing.T) {
	for name, style := range styles {
		t.Run("confidential "+name, func(t *testing.T) {
			token := signIn(t, app(webApp, webSecret, style, "openid", "read"))
			if !token.Valid() || token.RefreshToken == "" || token.TokenType != "Bearer" || token.Extra("scope") != "openid read" || token.Extra("id_token") == nil {
				t.Errorf("%+v, scope %v", token, token.Extra("scope"))
			}
			if life := time.Until(token.Expiry); life < 14*time.Minute || life > 16*time.Minute {
				t.Errorf("it lives for %v", life)
			}
		})
	}
	for _, name := range []string{"found out", "parameters"} {
		t.Run("public "+name, func(t *testing.T) {
			if token := signIn(t, app("demo-native", "", styles[name])); !token.Valid() {
				t.Errorf("%+v", token)
			}
		})
	}
}

// TestTokenSource (REFRESH-01, REFRESH-05): an HTTP client with a TokenSource
// refreshes by itself, again and again, and calls an API with what it got; many
// that share a token do not disturb each other.
func TestTokenSource(t *testing.T) {
	for _, c := range []*oauth2.Config{app("demo-native", "", oauth2.AuthStyleAutoDetect), app(webApp, webSecret, oauth2.AuthStyleInHeader)} {
		token := signIn(t, c)
		for range 3 {
			holdfast.advance(t, 2*time.Minute)
			source := c.TokenSource(t.Context(), stale(token))
			res, err := oauth2.NewClient(t.Context(), source).Get(holdfast.base + "/demo/api")
			if err != nil {
				t.Fatal(err)
			}
			var hello map[string]string
			err = json.NewDecoder(res.Body).Decode(&hello)
			res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK || hello["session"] == "" {
				t.Fatalf("%s %v %v", res.Status, hello, err)
			}
			next, err := source.Token()
			if err != nil || next.RefreshToken == token.RefreshToken || next.AccessToken == token.AccessToken {
				t.Fatalf("not refreshed: %v", err)
			}
			token = next
		}
		const many = 16
		tokens, errs := make([]*oauth2.Token, many), make([]error, many)
		holdfast.advance(t, time.Hour)
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() { tokens[i], errs[i] = c.TokenSource(context.Background(), stale(token)).Token() })
		}
		wg.Wait()
		for i := range many {
			if errs[i] != nil || tokens[i].RefreshToken != tokens[0].RefreshToken {
				t.Fatalf("of %d at once: %v", many, errs[i])
			}
		}
	}
}

// TestSignedOut (V01): after a sign-out x/oauth2 reports
// invalid_grant and what to tell the person.
func TestSignedOut(t *testing.T) {
	c := app("demo-native", "", oauth2.AuthStyleInParams)
	token := signIn(t, c)
	res, err := http.PostForm(holdfast.base+"/oauth2/revoke", url.Values{"client_id": {c.ClientID}, "token": {token.RefreshToken}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	_, err = c.TokenSource(t.Context(), stale(token)).Token()
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || refused.ErrorCode != "invalid_grant" || refused.ErrorDescription != "You signed out on this device." || refused.Response.Header.Get("Holdfast-Reason") != "signed_out" {
		t.Errorf("%v", err)
	}
	for name, bad := range map[string]*oauth2.Config{"no such client": app("nobody", "secret", oauth2.AuthStyleInHeader), "wrong secret": app(webApp, "wrong", oauth2.AuthStyleInParams)} {
		_, err := bad.PasswordCredentialsToken(t.Context(), "demo", "demo-password")
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); !ok || refused.ErrorCode != "invalid_client" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClientCredentials (A22): the two-legged flow in every style.
func TestClientCredentials(t *testing.T) {
	for name, style := range styles {
		t.Run(name, func(t *testing.T) {
			for id, secret := range map[string]string{"demo-service": "demo-service-secret", webApp: webSecret} {
				c := clientcredentials.Config{ClientID: id, ClientSecret: secret, TokenURL: holdfast.base + "/oauth2/token", Scopes: []string{"read"}, AuthStyle: style}
				token, err := c.Token(t.Context())
				if err != nil || !token.Valid() || token.RefreshToken != "" || token.Extra("scope") != "read" {
					t.Errorf("%s: %+v %v", id, token, err)
				}
			}
		})
	}
}
