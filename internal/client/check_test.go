package client_test

import (
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// phone and service are registrations without a fault.
func phone() client.Declared {
	return client.Declared{Client: client.Client{ID: "phone", Type: client.Public, FirstParty: true,
		RedirectURIs: []string{"com.example.app:/callback"}, Grants: []string{client.GrantCode, client.GrantRefresh}}}
}

func service() client.Declared {
	return client.Declared{Client: client.Client{ID: "service", Type: client.Confidential, Grants: []string{client.GrantClientCredentials},
		Scopes: []string{"read"}}, Secret: secret.New("a-secret-of-enough-characters")}
}

func check(d client.Declared, s client.Server) []client.Problem {
	d.Client = d.WithDefaults()
	return client.Check(d, s)
}

func span(d time.Duration) *time.Duration { return &d }

func TestFaultlessRegistrations(t *testing.T) {
	web := service()
	web.ID, web.Grants, web.RedirectURIs = "web", nil, []string{"https://app.example/cb"}
	spa := phone()
	spa.CORSOrigins, spa.RedirectURIs = []string{"https://app.example", "http://localhost:3000"}, []string{"https://app.example/cb"}
	fapi := service()
	fapi.Secret, fapi.AuthMethod, fapi.JWKSURI, fapi.Refresh = secret.Text{}, client.AuthPrivateKey, "https://rp.example/jwks", client.Never
	opaque := service()
	opaque.AccessFormat, opaque.AccessLifetime = client.Opaque, span(10*time.Hour)
	strict := phone()
	strict.Refresh = client.Strict
	edx := phone()
	edx.Claims, edx.WebView, edx.RedirectURIs = client.OpenEdX, true, []string{"org.openedx.app://oauth2Callback"}
	for _, d := range []client.Declared{phone(), service(), web, spa, fapi, opaque, strict, edx} {
		if found := check(d, client.Server{}); found != nil {
			t.Errorf("%s: %v", d.ID, found)
		}
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		base   func() client.Declared
		change func(*client.Declared)
		want   []string // code and field of each problem, a warning with !
	}{
		{"access as long as idle", phone, func(d *client.Declared) { d.AccessLifetime, d.IdleLifetime = span(time.Hour), span(time.Hour) }, []string{"HF101 access_lifetime"}},
		{"access one second under idle", phone, func(d *client.Declared) {
			d.AccessLifetime, d.IdleLifetime = span(time.Hour-time.Second), span(time.Hour)
		}, nil},
		{"the mistake of the seed: 14 days over 7", phone, func(d *client.Declared) {
			d.AccessLifetime, d.IdleLifetime = span(14*24*time.Hour), span(7*24*time.Hour)
		}, []string{"HF101 access_lifetime", "HF102 access_lifetime"}},
		{"default access over a short idle", phone, func(d *client.Declared) { d.IdleLifetime = span(15 * time.Minute) }, []string{"HF101 access_lifetime"}},
		{"access over absolute", phone, func(d *client.Declared) { d.AbsoluteLifetime = span(10 * time.Minute) }, []string{"HF101 access_lifetime", "!HF210 absolute_lifetime"}},
		{"no idle limit, absolute instead", phone, func(d *client.Declared) { d.IdleLifetime, d.AbsoluteLifetime = span(0), span(time.Hour) }, nil},
		{"no limit at all", phone, func(d *client.Declared) { d.IdleLifetime = span(0) }, []string{"HF210 idle_lifetime"}},
		{"no limit at a server", service, func(d *client.Declared) { d.IdleLifetime = span(0) }, nil},
		{"access above the cap", phone, func(d *client.Declared) { d.AccessLifetime = span(time.Hour + time.Second) }, []string{"HF102 access_lifetime"}},
		{"access at the cap", phone, func(d *client.Declared) { d.AccessLifetime = span(time.Hour) }, nil},
		{"opaque above the cap", phone, func(d *client.Declared) {
			d.AccessFormat, d.AccessLifetime = client.Opaque, span(10*time.Hour+time.Second)
		}, []string{"HF102 access_lifetime"}},
		{"access of no time", phone, func(d *client.Declared) { d.AccessLifetime = span(0) }, []string{"HF102 access_lifetime", "!HF103 overlap"}},
		{"access of half seconds", phone, func(d *client.Declared) { d.AccessLifetime = span(90500 * time.Millisecond) }, []string{"HF102 access_lifetime"}},
		{"overlap above access", phone, func(d *client.Declared) { d.AccessLifetime, d.Overlap = span(30*time.Second), span(31*time.Second) }, []string{"HF103 overlap"}},
		{"default overlap above access", phone, func(d *client.Declared) { d.AccessLifetime = span(30 * time.Second) }, []string{"!HF103 overlap"}},
		{"long overlap", phone, func(d *client.Declared) { d.Overlap = span(2 * time.Minute) }, []string{"!HF103 overlap"}},
		{"too long an overlap", phone, func(d *client.Declared) { d.Overlap = span(11 * time.Minute) }, []string{"HF103 overlap"}},
		{"microseconds", phone, func(d *client.Declared) { d.Late = span(time.Microsecond) }, []string{"HF210 late"}},
		{"recovery as idle", phone, func(d *client.Declared) { d.Recovery = span(client.AsIdle) }, nil},
		{"symmetric algorithm", phone, func(d *client.Declared) { d.AccessAlg = "HS256" }, []string{"HF104 access_alg"}},
		{"no algorithm", phone, func(d *client.Declared) { d.IDTokenAlg = "none" }, []string{"HF104 id_token_alg"}},
		{"algorithm the server lacks", phone, func(d *client.Declared) { d.AccessAlg = "RS512" }, []string{"HF104 access_alg"}},
		{"public with secret", phone, func(d *client.Declared) { d.Secret = secret.New("swordfish-swordfish-swordfish") }, []string{"HF106 secret"}},
		{"public with a method", phone, func(d *client.Declared) { d.AuthMethod = client.AuthBasic }, []string{"HF106 auth_method"}},
		{"confidential without a method", service, func(d *client.Declared) { d.AuthMethod = client.AuthNone }, []string{"HF106 auth_method", "HF205 secret"}},
		{"password at a third party", phone, func(d *client.Declared) {
			d.FirstParty, d.Grants = false, append(d.Grants, client.GrantPassword)
		}, []string{"HF107 grants"}},
		{"unknown grant", phone, func(d *client.Declared) { d.Grants = append(d.Grants, "implicit") }, []string{"HF203 grants[2]"}},
		{"client credentials of a public client", phone, func(d *client.Declared) { d.Grants = append(d.Grants, client.GrantClientCredentials) }, []string{"HF203 grants[2]"}},
		{"code without a redirect", phone, func(d *client.Declared) { d.RedirectURIs = nil }, []string{"HF203 grants[0]"}},
		{"refresh alone", service, func(d *client.Declared) { d.Grants = []string{client.GrantRefresh} }, []string{"!HF203 grants[0]"}},
		{"no grants, meant", service, func(d *client.Declared) { d.Grants = []string{} }, nil},
		{"a grant twice", phone, func(d *client.Declared) { d.Grants = append(d.Grants, client.GrantCode) }, []string{"HF203 grants[2]"}},
		{"scope with a space", phone, func(d *client.Declared) { d.Scopes = []string{"read write"} }, []string{"HF204 scopes[0]"}},
		{"scope with a quote", phone, func(d *client.Declared) { d.Scopes = []string{"ok", `re"ad`} }, []string{"HF204 scopes[1]"}},
		{"empty scope", phone, func(d *client.Declared) { d.Scopes = []string{""} }, []string{"HF204 scopes[0]"}},
		{"scope of the server at a phone", phone, func(d *client.Declared) { d.Scopes = []string{"introspect"} }, []string{"HF204 scopes[0]"}},
		{"guessable secret", service, func(d *client.Declared) { d.Secret = secret.New("hunter2") }, []string{"HF205 secret"}},
		{"short secret", service, func(d *client.Declared) { d.Secret = secret.New("demo-web-secret") }, []string{"!HF205 secret"}},
		{"secret with a line end", service, func(d *client.Declared) { d.Secret = secret.New("a-secret-of-enough-characters\n") }, []string{"HF205 secret"}},
		{"secret of another script", service, func(d *client.Declared) { d.Secret = secret.New("пароль-из-достаточных-букв") }, nil},
		{"keys without their method", service, func(d *client.Declared) { d.JWKSURI = "https://rp.example/jwks" }, []string{"HF206 jwks_uri"}},
		{"method without keys", service, func(d *client.Declared) { d.AuthMethod, d.Secret = client.AuthPrivateKey, secret.Text{} }, []string{"HF206 auth_method"}},
		{"private key", service, func(d *client.Declared) {
			d.AuthMethod, d.Secret, d.JWKS = client.AuthPrivateKey, secret.Text{}, `{"keys":[{"kty":"EC","d":"x"}]}`
		}, []string{"HF206 jwks"}},
		{"symmetric key", service, func(d *client.Declared) {
			d.AuthMethod, d.Secret, d.JWKS = client.AuthPrivateKey, secret.Text{}, `{"keys":[{"kty":"oct"}]}`
		}, []string{"HF206 jwks"}},
		{"keys over http", service, func(d *client.Declared) {
			d.AuthMethod, d.Secret, d.JWKSURI = client.AuthPrivateKey, secret.Text{}, "http://rp.example/jwks"
		}, []string{"HF206 jwks_uri"}},
		{"keys twice", service, func(d *client.Declared) {
			d.AuthMethod, d.Secret, d.JWKSURI, d.JWKS = client.AuthPrivateKey, secret.Text{}, "https://rp.example/jwks", `{"keys":[{"kty":"EC"}]}`
		}, []string{"HF206 jwks"}},
		{"log-out over http", phone, func(d *client.Declared) { d.BackchannelLogoutURI = "http://rp.example/out" }, []string{"HF207 backchannel_logout_uri"}},
		{"strict with a window", phone, func(d *client.Declared) { d.Refresh, d.Late = client.Strict, span(time.Minute) }, []string{"HF208 late"}},
		{"strict with recovery as idle", phone, func(d *client.Declared) { d.Refresh, d.Recovery = client.Strict, span(client.AsIdle) }, []string{"HF208 recovery"}},
		{"a phone that never rotates", phone, func(d *client.Declared) { d.Refresh = client.Never }, []string{"HF208 refresh"}},
		{"consent skipped for a third party", phone, func(d *client.Declared) { d.FirstParty, d.Consent = false, client.ConsentSkip }, []string{"HF209 consent"}},
		{"WebView of a third party", phone, func(d *client.Declared) { d.FirstParty, d.WebView = false, true }, []string{"HF209 webview"}},
		{"no type", phone, func(d *client.Declared) { d.Type = "" }, []string{"HF202 type"}},
		{"unknown words", phone, func(d *client.Declared) { d.Claims, d.PKCE, d.OnReuse = "edx", "plain", "ignore" }, []string{"HF202 claims", "HF202 on_reuse", "HF202 pkce"}},
		{"accent out of its place", phone, func(d *client.Declared) { d.Accent = "red;}body{" }, []string{"HF211 accent"}},
		{"logo over http", phone, func(d *client.Declared) { d.Logo = "http://app.example/logo.png" }, []string{"HF211 logo"}},
		{"logo that is a page", phone, func(d *client.Declared) { d.Logo = "data:text/html;base64,AAAA" }, []string{"HF211 logo"}},
		{"name that turns the text around", phone, func(d *client.Declared) { d.Name = "App\u202egnp" }, []string{"HF211 name"}},
		{"app names", phone, func(d *client.Declared) { d.AndroidApp, d.IOSApp = "app", "com.example.app" }, []string{"HF211 android_app", "HF211 ios_app"}},
		{"good app names", phone, func(d *client.Declared) {
			d.AndroidApp, d.IOSApp = "com.example.app "+strings.Repeat("AB:", 31)+"AB", "A1B2C3D4E5.com.example.app"
		}, nil},
		{"filter without a type", phone, func(d *client.Declared) { d.Filters = []string{"Example"} }, []string{"HF211 filters[0]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.base()
			c.change(&d)
			var got []string
			for _, p := range check(d, client.Server{Algs: []string{"ES256", "RS256"}}) {
				s := p.Code + " " + p.Field
				if p.Warning {
					s = "!" + s
				}
				got = append(got, s)
				if p.Reason == "" || p.Mend == "" || p.Client != d.ID || (!d.Secret.Empty() && strings.Contains(p.String(), d.Secret.Reveal())) {
					t.Errorf("incomplete or telling: %+v", p)
				}
			}
			if strings.Join(got, ", ") != strings.Join(c.want, ", ") {
				t.Errorf("got  %v\nwant %v", got, c.want)
			}
		})
	}
}

func TestIDs(t *testing.T) {
	for name, good := range map[string]bool{
		"demo-native": true, "a": true, "with space": true, "0": true, strings.Repeat("x", 200): true,
		"": false, strings.Repeat("x", 201): false, "usr_x": false, "https://app.example": false, "HTTPS://app": false, "http:x": false,
		"é": false, "a\tb": false, " a": false, "a\x00": false, "a\x7f": false,
	} {
		d := phone()
		d.ID = id.Client(name)
		if found := check(d, client.Server{}); (found == nil) != good {
			t.Errorf("%q: %v", name, found)
		}
	}
}

func TestTheSentenceNamesBothSettings(t *testing.T) {
	d := phone()
	d.AccessLifetime, d.IdleLifetime = span(time.Hour), span(20*time.Minute)
	p := check(d, client.Server{})[0]
	want := "client phone: access_lifetime: an access token (access_lifetime 1h) would live as long as the sign-in it comes from (idle_lifetime 20m) or longer; make access_lifetime shorter than idle_lifetime; 15m is usual [HF101]"
	if p.String() != want || p.Other != "idle_lifetime" || p.Value != "1h" {
		t.Errorf("got  %s (other %q)\nwant %s", p, p.Other, want)
	}
}

func TestDevAllowsShortSecrets(t *testing.T) {
	d := service()
	d.Secret = secret.New("x")
	if found := check(d, client.Server{Dev: true}); found != nil {
		t.Error(found)
	}
}

func TestEveryRuleCanFail(t *testing.T) {
	// The table above must reach every code, or a rule could be dead.
	reached := map[string]bool{}
	broken := phone()
	broken.ID, broken.RedirectURIs = "usr_", []string{"javascript:alert(1)"}
	for _, p := range check(broken, client.Server{}) {
		reached[p.Code] = true
	}
	if !reached["HF201"] || !reached["HF112"] {
		t.Errorf("reached %v", reached)
	}
	if len(client.Rules()) != 18 {
		t.Errorf("%d rules; add the new one to the table of this test", len(client.Rules()))
	}
}
