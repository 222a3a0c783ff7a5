package client_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/secret"
)

const day = 24 * time.Hour

func TestLimits(t *testing.T) {
	std := client.Standard()
	fixed, unlimited := std, std
	fixed.Recovery, unlimited.Idle = 72*time.Hour, 0
	minute := func(n time.Duration) *time.Duration { n *= time.Minute; return &n }
	for _, c := range []struct {
		name     string
		client   client.Client
		defaults client.Defaults
		want     client.Limits
	}{
		{"phone", client.Client{Type: client.Public}, std, client.Limits{Access: 15 * time.Minute, Idle: 90 * day, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * day, Rotate: true}},
		{"browser", client.Client{Type: client.Public, CORSOrigins: []string{"https://a.example"}}, std,
			client.Limits{Access: 15 * time.Minute, Idle: 14 * day, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 14 * day, Rotate: true}},
		{"server with an origin", client.Client{Type: client.Confidential, CORSOrigins: []string{"https://a.example"}}, std,
			client.Limits{Access: 15 * time.Minute, Idle: 90 * day, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * day, Rotate: true}},
		{"strict", client.Client{Refresh: client.Strict, Overlap: minute(1)}, std, client.Limits{Access: 15 * time.Minute, Idle: 90 * day, Rotate: true}},
		{"none", client.Client{Refresh: client.Never}, std, client.Limits{Access: 15 * time.Minute, Idle: 90 * day, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * day}},
		{"open edx", client.Client{Claims: client.OpenEdX}, std, client.Limits{Access: time.Hour, Idle: 90 * day, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * day, Rotate: true}},
		{"opaque", client.Client{AccessFormat: client.Opaque, Claims: client.OpenEdX}, std, client.Limits{Access: 10 * time.Hour, Idle: 90 * day, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * day, Rotate: true}},
		{"opaque, standard", client.Client{AccessFormat: client.Opaque}, std, client.Limits{Access: time.Hour, Idle: 90 * day, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * day, Rotate: true}},
		{"own", client.Client{AccessLifetime: minute(5), IdleLifetime: minute(60), AbsoluteLifetime: minute(600), Overlap: minute(0), Late: minute(0), Recovery: minute(30)}, std,
			client.Limits{Access: 5 * time.Minute, Idle: time.Hour, Absolute: 10 * time.Hour, Recovery: 30 * time.Minute, Rotate: true}},
		{"fixed recovery", client.Client{}, fixed, client.Limits{Access: 15 * time.Minute, Idle: 90 * day, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 72 * time.Hour, Rotate: true}},
		{"no idle limit", client.Client{}, unlimited, client.Limits{Access: 15 * time.Minute, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: math.MaxInt64, Rotate: true}},
	} {
		if got := c.client.Limits(c.defaults); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func TestAccepts(t *testing.T) {
	for _, c := range []struct {
		client client.Client
		want   string
	}{
		{client.Client{Type: client.Public}, "none"},
		{client.Client{Type: client.Public, AuthMethod: client.AuthNone}, "none"},
		{client.Client{Type: client.Confidential}, "basic post"},
		{client.Client{Type: client.Confidential, AuthMethod: client.AuthBasic}, "basic"},
		{client.Client{Type: client.Confidential, AuthMethod: client.AuthPost}, "post"},
		{client.Client{Type: client.Confidential, AuthMethod: client.AuthPrivateKey}, "private_key_jwt"},
	} {
		var got []string
		for _, m := range []client.AuthMethod{client.AuthNone, client.AuthBasic, client.AuthPost, client.AuthPrivateKey, ""} {
			if c.client.Accepts(m) {
				got = append(got, string(m))
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%+v accepts %v, want %s", c.client, got, c.want)
		}
	}
}

func TestSecrets(t *testing.T) {
	a, b := client.NewSecret(), client.NewSecret()
	if a.Equal(b) || !strings.HasPrefix(a.Reveal(), "hfs_") || len(a.Reveal()) != 47 {
		t.Errorf("%q and %q", a.Reveal(), b.Reveal())
	}
	stored := client.HashSecret(a)
	if stored == client.HashSecret(a) || strings.Contains(stored, a.Reveal()) {
		t.Error("a digest has no salt, or holds the secret")
	}
	for _, c := range []struct {
		name, stored string
		presented    secret.Text
		want         bool
	}{
		{"right", stored, a, true}, {"other", stored, b, false}, {"empty", stored, secret.Text{}, false},
		{"longer", stored, secret.New(a.Reveal() + "x"), false}, {"shorter", stored, secret.New(a.Reveal()[:46]), false},
		{"nothing stored", "", a, false}, {"nothing at all", "", secret.Text{}, false}, {"garbage stored", "hmac-sha256$x$y", a, false},
		{"empty digest stored", "hmac-sha256$AAAAAAAAAAAAAAAAAAAAAA$", secret.Text{}, false}, {"another scheme", "sha256$" + strings.SplitN(stored, "$", 2)[1], a, false},
		{"the zero digest is nobody's", "hmac-sha256$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", secret.Text{}, false},
	} {
		if got := client.CheckSecret(c.stored, c.presented); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestDefaultsChangeNothingThatWasSaid(t *testing.T) {
	c := client.Client{ID: "x", Type: client.Public, FirstParty: true, Claims: client.OpenEdX}.WithDefaults()
	if c.Name != "x" || c.AuthMethod != client.AuthNone || c.Consent != client.ConsentSkip || c.AccessAlg != "RS256" || c.PKCE != client.PKCERequired ||
		strings.Join(c.Grants, " ") != "authorization_code refresh_token" || strings.Join(c.Scopes, " ") != "read write email profile" {
		t.Errorf("%+v", c)
	}
	said := client.Client{ID: "x", Name: "n", Type: client.Confidential, Claims: client.StandardClaims, Consent: client.ConsentSkip, PKCE: client.PKCEOptional,
		Grants: []string{}, Scopes: []string{}, AccessAlg: "ES256", AccessFormat: client.Opaque, Refresh: client.Never, OnReuse: client.OnReuseHold}
	got := said.WithDefaults()
	if got.AuthMethod != "" || got.Consent != client.ConsentSkip || got.PKCE != client.PKCEOptional || len(got.Grants) != 0 || got.Grants == nil ||
		got.AccessAlg != "ES256" || got.OnReuse != client.OnReuseHold || got.Refresh != client.Never {
		t.Errorf("%+v", got)
	}
	if m := (client.Client{Type: client.Confidential, Grants: []string{client.GrantClientCredentials}}).WithDefaults(); m.Scopes != nil {
		t.Errorf("a machine got a user's scopes: %v", m.Scopes)
	}
}
