package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// TestFiles (REST-05): whatever the program keeps in its data directory belongs
// to its own account alone.
func TestFiles(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir(holdfast.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		if i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, i.Mode())
		}
		found[d.Name()] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"holdfast.db", "holdfast.db-wal", "root.secret", "admin.sock"} {
		if !found[name] {
			t.Errorf("no %s: the test looks at nothing", name)
		}
	}
}

// TestOutput (LOGS-01): the program's own output, at its most talkative, holds no
// token of anybody.
func TestOutput(t *testing.T) {
	c := app(webApp, webSecret, oauth2.AuthStyleInParams, "openid")
	token := signIn(t, c)
	next, err := c.TokenSource(t.Context(), stale(token)).Token()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = app(webApp, "a-wrong-secret-of-the-web-app", oauth2.AuthStyleInParams).PasswordCredentialsToken(t.Context(), "demo", "a-wrong-password-of-demo")
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(holdfast.log.String(), "route=/oauth2/token"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log tells of no request: %s", holdfast.log.String())
		}
	}
	log := holdfast.log.String()
	for what, secret := range map[string]string{"access token": token.AccessToken, "refresh token": token.RefreshToken, "ID token": token.Extra("id_token").(string),
		"next refresh token": next.RefreshToken, "client secret": webSecret, "wrong secret": "a-wrong-secret-of-the-web-app", "wrong password": "a-wrong-password-of-demo"} {
		if strings.Contains(log, secret) || strings.Contains(log, secret[len(secret)-min(len(secret), 24):]) {
			t.Errorf("the %s is in the program's output", what)
		}
	}
}
