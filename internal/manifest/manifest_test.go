package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/manifest"
	"holdfast.example/internal/settings"
)

func env(name string) (string, bool) {
	v, ok := map[string]string{"WEB_SECRET": "a-secret-from-the-environment", "EMPTY": ""}[name]
	return v, ok
}

func TestEveryFieldArrives(t *testing.T) {
	m, warnings, err := manifest.Parse("m.toml", []byte(`
[[clients]]
id = "all"
name = "Everything"
type = "confidential"
first_party = true
auth_method = "post"
secret_env = "WEB_SECRET"
redirect_uris = ["https://app.example/cb"]
post_logout_redirect_uris = ["https://app.example/bye"]
backchannel_logout_uri = "https://app.example/out"
cors_origins = ["https://app.example"]
grants = ["authorization_code", "refresh_token", "password", "client_credentials", "token_exchange", "device_code"]
scopes = ["openid", "introspect"]
audiences = ["https://api.example"]
claims = "openedx"
access_format = "opaque"
access_alg = "RS512"
id_token_alg = "RS256"
access_lifetime = "10m"
idle_lifetime = "30d"
absolute_lifetime = "365d"
refresh = "balanced"
overlap = "30s"
late = "2m"
recovery = "idle"
on_reuse = "hold"
pkce = "optional"
consent = "ask"
webview = true
restricted = true
filters = ["content_org:Example"]
upstreams = ["google"]
logo = "https://app.example/logo.png"
accent = "#2563eb"
android_app = "com.example.app"
ios_app = "A1B2C3D4E5.com.example.app"
disabled = true

[[clients]]
id = "keys"
type = "confidential"
auth_method = "private_key_jwt"
jwks = '{"keys":[{"kty":"EC"}]}'
grants = ["client_credentials"]
recovery = "72h"

[[clients]]
id = "keys2"
type = "confidential"
auth_method = "private_key_jwt"
jwks_uri = "https://rp.example/jwks"
grants = ["client_credentials"]

[[users]]
username = "ada"
email = "ada@example.com"
email_verified = true
password = "correct horse"
id = 7
name = "Ada Lovelace"
given_name = "Ada"
family_name = "Lovelace"
staff = true
superuser = true
disabled = false

[[users]]
username = "bob"
password_hash = "pbkdf2_sha256$600000$salt$AAAA"

[[upstreams]]
id = "google"
kind = "google"
client_ids = ["one", "two"]
client_secret = "of google"
issuer = "https://accounts.google.com"
base_url = "http://127.0.0.1:9999"
link = "verified_email"
`), manifest.Options{Env: env})
	if err != nil || warnings != nil {
		t.Fatal(err, warnings)
	}
	c := m.Clients[0]
	span := func(d time.Duration) *time.Duration { return &d }
	want := client.Client{ID: "all", Name: "Everything", Type: client.Confidential, FirstParty: true, AuthMethod: client.AuthPost,
		RedirectURIs: []string{"https://app.example/cb"}, PostLogoutURIs: []string{"https://app.example/bye"}, BackchannelLogoutURI: "https://app.example/out",
		CORSOrigins: []string{"https://app.example"},
		Grants:      []string{"authorization_code", "refresh_token", "password", "client_credentials", "token_exchange", "device_code"},
		Scopes:      []string{"openid", "introspect"}, Audiences: []string{"https://api.example"}, Claims: "openedx", AccessFormat: client.Opaque,
		AccessAlg: "RS512", IDTokenAlg: "RS256", AccessLifetime: span(10 * time.Minute), IdleLifetime: span(30 * 24 * time.Hour), AbsoluteLifetime: span(365 * 24 * time.Hour),
		Refresh: client.Balanced, Overlap: span(30 * time.Second), Late: span(2 * time.Minute), Recovery: span(client.AsIdle), OnReuse: "hold", PKCE: "optional", Consent: "ask",
		WebView: true, Restricted: true, Filters: []string{"content_org:Example"}, Upstreams: []string{"google"}, Logo: "https://app.example/logo.png",
		Accent: "#2563eb", AndroidApp: "com.example.app", IOSApp: "A1B2C3D4E5.com.example.app"}
	if !reflect.DeepEqual(c.Client, want) || c.Secret.Reveal() != "a-secret-from-the-environment" || c.Stopped == nil || !*c.Stopped {
		t.Errorf("got  %+v\nwant %+v", c.Client, want)
	}
	for f := range reflect.TypeFor[client.Client]().Fields() { // every field of a client is reached by the manifest above
		unset := map[string]bool{"SecretHash": true, "Disabled": true, "Version": true, "JWKS": true, "JWKSURI": true}
		if reflect.ValueOf(c.Client).FieldByIndex(f.Index).IsZero() != unset[f.Name] {
			t.Errorf("the field %s does not arrive", f.Name)
		}
	}
	if m.Clients[1].JWKS == "" || *m.Clients[1].Recovery != 72*time.Hour || m.Clients[2].JWKSURI == "" || m.Clients[1].Stopped != nil {
		t.Errorf("%+v", m.Clients[1:])
	}
	ada, bob := m.Users[0], m.Users[1]
	if ada.Username != "ada" || ada.Email != "ada@example.com" || !ada.EmailVerified || ada.Password.Reveal() != "correct horse" || ada.Number != 7 ||
		ada.Name != "Ada Lovelace" || ada.GivenName != "Ada" || ada.FamilyName != "Lovelace" || !ada.Staff || !ada.Superuser || ada.Stopped == nil || *ada.Stopped ||
		ada.At.String() != "m.toml:55" {
		t.Errorf("%+v", ada)
	}
	if bob.PasswordHash.Reveal() != "pbkdf2_sha256$600000$salt$AAAA" || !bob.Password.Empty() || bob.Stopped != nil {
		t.Errorf("%+v", bob)
	}
	u := m.Upstreams[0]
	if u.ID != "google" || u.Kind != "google" || len(u.ClientIDs) != 2 || u.ClientSecret.Reveal() != "of google" || u.Issuer != "https://accounts.google.com" ||
		u.BaseURL != "http://127.0.0.1:9999" || u.Link != "verified_email" {
		t.Errorf("%+v", u)
	}
}

const head = "[[clients]]\nid = \"a\"\ntype = \"public\"\nredirect_uris = [\"https://app.example/cb\"]\n"
const server = "[[clients]]\nid = \"s\"\ntype = \"confidential\"\ngrants = [\"client_credentials\"]\n"

func TestProblemsCarryTheirLines(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"unknown field", head + `refesh = "strict"`, []string{`m:5: refesh: no setting has this name; did you mean refresh? [HF110]`}},
		{"unknown table", "[[client]]\nid = 'a'", []string{`m:1: client: no setting has this name; did you mean clients? [HF110]`}},
		{"both lines of two settings", head + "access_lifetime = \"1h\"\n\nidle_lifetime = \"30m\"", []string{
			`m:5: access_lifetime = 1h: an access token (access_lifetime 1h) would live as long as the sign-in it comes from (idle_lifetime 30m) or longer (idle_lifetime stands at m:7); make access_lifetime shorter`}},
		{"one setting against a default", head + "\nidle_lifetime = \"10m\"", []string{
			`m:6: access_lifetime = 15m: an access token (access_lifetime 15m) would live`, `(access_lifetime is not set here: it is the server's)`}},
		{"a default against one setting", head + "access_lifetime = \"1h\"\nidle_lifetime = \"90d\"\noverlap = \"90s\"\nabsolute_lifetime = \"30m\"", []string{`m:5: access_lifetime = 1h`, `(absolute_lifetime stands at m:8)`}},
		{"the entry of a list", head + "scopes = [\"ok\",\n  \"not ok\"]", []string{`m:6: scopes = "not ok": a scope is`}},
		{"a misread field", "[[clients]]\nid = \"a\"\ntype = 1\nredirect_uris = [\"https://app.example/cb\"]", []string{`m:3: type = 1: wants text in quotes`}},
		{"a misspelt field", "[[clients]]\nid = \"a\"\ntpye = \"public\"\nredirect_uris = [\"https://app.example/cb\"]", []string{`m:3: tpye: no setting has this name; did you mean type?`}},
		{"a misspelt list", "[[clients]]\nid = \"a\"\ntype = \"public\"\nscopes = [\"a\", 1]\nredirect_uris = [\"https://app.example/cb\"]", []string{`m:4: scopes = 1: wants text in quotes`}},
		{"a missing field", "\n[[clients]]\nid = \"a\"\nredirect_uris = [\"https://app.example/cb\"]", []string{`m:2: type: a client is public`}},
		{"a problem of the default grants", "[[clients]]\nid = \"a\"\ntype = \"public\"", []string{`m:1: grants = authorization_code: a code has nowhere to go: redirect_uris is empty`}},
		{"a secret of a public client", head + "secret = \"sesame-sesame-sesame-sesame\"", []string{`m:5: secret: a public client cannot keep a secret`}},
		{"no secret", server, []string{`m:1: secret: a confidential client needs a secret, and none is given; add secret_file`}},
		{"two secrets", server + "secret = \"sesame-sesame-sesame-sesame\"\nsecret_env = \"WEB_SECRET\"", []string{`m:6: secret_env: the secret is given twice: the other one is at m:5; keep one [HF303]`}},
		{"empty secret", server + "secret = \"\"", []string{`m:5: secret: the secret is empty`}},
		{"unset variable", server + "secret_env = \"NOWHERE\"", []string{`m:5: secret_env = "NOWHERE": this environment variable is not set`}},
		{"empty variable", server + "secret_env = \"EMPTY\"", []string{`m:5: secret_env = "EMPTY": this environment variable is not set`}},
		{"missing file", server + "secret_file = \"absent\"", []string{`m:5: secret_file = `, `no such file or directory`}},
		{"a client twice", head + head, []string{`m:6: id = "a": this client is declared already at m:2; keep one [HF302]`}},
		{"a user twice", "[[users]]\nusername = \"Ada\"\n[[users]]\nusername = \"ada\"", []string{`m:4: username = "ada": this user is declared already at m:2`}},
		{"a name that is another's address", "[[users]]\nusername = \"a@example.com\"\n[[users]]\nusername = \"b\"\nemail = \"A@example.com\"", []string{`m:5: email = "A@example.com": this user is declared already at m:2`}},
		{"a number twice", "[[users]]\nusername = \"a\"\nid = 7\n[[users]]\nusername = \"b\"\nid = 7", []string{`m:6: id = "7": this user id is declared already at m:3`}},
		{"no user name", "[[users]]\nemail = \"a@example.com\"", []string{`m:1: username: an account needs a user name`}},
		{"no address", "[[users]]\nusername = \"a\"\nemail = \"nobody\"", []string{`m:3: email = "nobody": this is no e-mail address`}},
		{"two passwords", "[[users]]\nusername = \"a\"\npassword = \"sesame\"\npassword_hash = \"$2b$12$x\"", []string{`m:4: password_hash: password and password_hash both give the password: the other one is at m:3`}},
		{"empty password", "[[users]]\nusername = \"a\"\npassword = \"\"", []string{`m:3: password: a password has 1 to 1024 bytes`}},
		{"a password for a hash", "[[users]]\nusername = \"a\"\npassword_hash = \"sesame\"", []string{`m:3: password_hash: this is no encoded password hash`}},
		{"verified nothing", "[[users]]\nusername = \"a\"\nemail_verified = true", []string{`m:3: email_verified = true: there is no address that could be verified`}},
		{"upstream of nobody", "[[upstreams]]\nid = \"g\"\nkind = \"gogle\"", []string{`m:3: kind = "gogle": this kind is not known here`, `m:1: client_ids: without our apps' ids`}},
		{"oidc without issuer", "[[upstreams]]\nid = \"o\"\nkind = \"oidc\"\nclient_ids = [\"x\"]", []string{`m:1: issuer: an upstream of kind oidc is found by its issuer`}},
		{"upstream over http", "[[upstreams]]\nid = \"o\"\nkind = \"oidc\"\nclient_ids = [\"x\"]\nissuer = \"http://id.example\"", []string{`m:5: issuer = "http://id.example": this is no https address`}},
		{"upstream twice", "[[upstreams]]\nid = \"o\"\nkind = \"apple\"\nclient_ids = [\"x\"]\n[[upstreams]]\nid = \"o\"\nkind = \"apple\"\nclient_ids = [\"x\"]", []string{`m:6: id = "o": this upstream is declared already at m:2`}},
		{"a syntax error stops there", head + "name = unquoted\nrefesh = 1\n", []string{`m:5: not valid TOML: `}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := manifest.Parse("m", []byte(c.text), manifest.Options{Env: env})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("missing %q in\n%v", want, err)
				}
			}
			if len(c.want) == 1 && len(err.(settings.Problems)) != 1 {
				t.Errorf("more than one problem:\n%v", err)
			}
			if strings.Contains(err.Error(), "sesame") {
				t.Errorf("a secret is repeated:\n%v", err)
			}
		})
	}
}

func TestSecretFilesAreFoundBesideTheManifest(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, []byte(text), mode)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("web.secret", "a-secret-of-enough-characters\n", 0o600)
	m, warnings, err := manifest.Read(write("good.toml", server+"secret_file = \"web.secret\"", 0o644), manifest.Options{})
	if err != nil || warnings != nil || m.Clients[0].Secret.Reveal() != "a-secret-of-enough-characters" {
		t.Errorf("%v %v %+v", err, warnings, m)
	}
	write("open.secret", "a-secret-of-enough-characters\n", 0o644)
	_, _, err = manifest.Read(write("bad.toml", server+"secret_file = \"open.secret\"", 0o600), manifest.Options{})
	if err == nil || !strings.Contains(err.Error(), "bad.toml:5: secret_file = ") || !strings.Contains(err.Error(), "(its mode is 0644); run chmod 600") {
		t.Errorf("%v", err)
	}
	open := write("open.toml", server+"secret = \"a-secret-of-enough-characters\"", 0o644)
	_, warnings, err = manifest.Read(open, manifest.Options{})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].String(), "this manifest holds secrets, and every user of this machine may read") {
		t.Errorf("%v %v", err, warnings)
	}
	_, warnings, err = manifest.Read(open, manifest.Options{Server: client.Server{Dev: true}})
	if err != nil || warnings != nil {
		t.Errorf("in dev: %v %v", err, warnings)
	}
	_, _, err = manifest.Read(filepath.Join(dir, "absent.toml"), manifest.Options{})
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

// The demo manifest is design.md section 10.
func TestDemo(t *testing.T) {
	m, err := manifest.Demo(client.Server{Algs: []string{"ES256", "RS256"}})
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]client.Declared{}
	var ids []string
	for _, c := range m.Clients {
		byID[string(c.ID)], ids = c, append(ids, string(c.ID))
	}
	if fmt.Sprint(ids) != "[demo-native demo-strict demo-web demo-spa demo-service demo-edx demo-pair]" {
		t.Errorf("clients %v", ids)
	}
	native, strict := byID["demo-native"].Client, byID["demo-strict"].Client
	strict.ID, strict.Name, strict.Refresh = native.ID, native.Name, native.Refresh
	if !reflect.DeepEqual(native, strict) || byID["demo-strict"].Refresh != client.Strict {
		t.Error("demo-strict is not the strict twin of demo-native")
	}
	for _, g := range []string{"authorization_code", "refresh_token", "password", "token_exchange", "device_code"} {
		if !native.Allows(g) {
			t.Errorf("demo-native may not use %s", g)
		}
	}
	if !native.MatchesRedirect("http://127.0.0.1:5555/callback") || !native.MatchesRedirect("com.example.demo:/callback") {
		t.Error("demo-native's redirect URIs do not match")
	}
	if byID["demo-web"].Secret.Reveal() != "demo-web-secret" || byID["demo-service"].Secret.Reveal() != "demo-service-secret" ||
		!byID["demo-web"].Accepts(client.AuthBasic) || !byID["demo-web"].Accepts(client.AuthPost) {
		t.Error("the secrets of the demo clients are not those of the documentation")
	}
	if !byID["demo-spa"].AllowsOrigin("http://127.0.0.1:8422") || !byID["demo-spa"].MatchesRedirect("http://127.0.0.1:8422/callback") || !byID["demo-spa"].Browser() {
		t.Error("demo-spa is not a browser application")
	}
	edx := byID["demo-edx"]
	if edx.Claims != client.OpenEdX || edx.AccessAlg != "RS256" || edx.Limits(client.Standard()).Access != time.Hour || !edx.Allows("password") || !edx.Allows("token_exchange") {
		t.Errorf("demo-edx %+v", edx.Client)
	}
	if len(m.Users) != 2 || m.Users[0].Username != "demo" || m.Users[0].Password.Reveal() != "demo-password" || !m.Users[0].EmailVerified ||
		m.Users[1].Username != manifest.DemoAdmin || !m.Users[1].Password.Empty() || !m.Users[1].Superuser {
		t.Errorf("users %+v", m.Users)
	}
	if strings.Contains(manifest.DemoText(), "\t") {
		t.Error("the demo manifest is shown to people; use spaces")
	}
}
