package manifest

import (
	"fmt"
	"strings"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/settings"
)

// clientEntry is a [[clients]] table; design.md section 10 lists its fields.
type clientEntry struct {
	ID         id.Client         `toml:"id"`
	Name       string            `toml:"name"`
	Type       client.Type       `toml:"type"`
	FirstParty bool              `toml:"first_party"`
	AuthMethod client.AuthMethod `toml:"auth_method"`

	Secret     secret.Text `toml:"secret"`
	SecretEnv  string      `toml:"secret_env"`
	SecretFile string      `toml:"secret_file"`

	JWKS                 string   `toml:"jwks"`
	JWKSURI              string   `toml:"jwks_uri"`
	RedirectURIs         []string `toml:"redirect_uris"`
	PostLogoutURIs       []string `toml:"post_logout_redirect_uris"`
	BackchannelLogoutURI string   `toml:"backchannel_logout_uri"`
	CORSOrigins          []string `toml:"cors_origins"`
	Grants               []string `toml:"grants"`
	Scopes               []string `toml:"scopes"`
	Audiences            []string `toml:"audiences"`
	Claims               string   `toml:"claims"`

	AccessFormat     client.Format    `toml:"access_format"`
	AccessAlg        string           `toml:"access_alg"`
	IDTokenAlg       string           `toml:"id_token_alg"`
	AccessLifetime   *time.Duration   `toml:"access_lifetime"`
	IdleLifetime     *time.Duration   `toml:"idle_lifetime"`
	AbsoluteLifetime *time.Duration   `toml:"absolute_lifetime"`
	Refresh          client.Refresh   `toml:"refresh"`
	Overlap          *time.Duration   `toml:"overlap"`
	Late             *time.Duration   `toml:"late"`
	Recovery         *settings.Window `toml:"recovery"`
	OnReuse          string           `toml:"on_reuse"`

	PKCE       string   `toml:"pkce"`
	Consent    string   `toml:"consent"`
	WebView    bool     `toml:"webview"`
	Restricted bool     `toml:"restricted"`
	Filters    []string `toml:"filters"`
	Upstreams  []string `toml:"upstreams"`
	Logo       string   `toml:"logo"`
	Accent     string   `toml:"accent"`
	AndroidApp string   `toml:"android_app"`
	IOSApp     string   `toml:"ios_app"`
	Disabled   *bool    `toml:"disabled"`
}

// client declares one entry and holds it to the rules of the room client.
func (r *reader) client(i int, e clientEntry) client.Declared {
	path := fmt.Sprintf("clients[%d].", i)
	d := client.Declared{Stopped: e.Disabled, Client: client.Client{
		ID: e.ID, Name: e.Name, Type: e.Type, FirstParty: e.FirstParty, AuthMethod: e.AuthMethod,
		JWKS: e.JWKS, JWKSURI: e.JWKSURI, RedirectURIs: e.RedirectURIs, PostLogoutURIs: e.PostLogoutURIs,
		BackchannelLogoutURI: e.BackchannelLogoutURI, CORSOrigins: e.CORSOrigins, Grants: e.Grants, Scopes: e.Scopes,
		Audiences: e.Audiences, Claims: e.Claims,
		AccessFormat: e.AccessFormat, AccessAlg: e.AccessAlg, IDTokenAlg: e.IDTokenAlg,
		AccessLifetime: e.AccessLifetime, IdleLifetime: e.IdleLifetime, AbsoluteLifetime: e.AbsoluteLifetime,
		Refresh: e.Refresh, Overlap: e.Overlap, Late: e.Late, Recovery: recovery(e.Recovery), OnReuse: e.OnReuse,
		PKCE: e.PKCE, Consent: e.Consent, WebView: e.WebView, Restricted: e.Restricted, Filters: e.Filters,
		Upstreams: e.Upstreams, Logo: e.Logo, Accent: e.Accent, AndroidApp: e.AndroidApp, IOSApp: e.IOSApp,
	}.WithDefaults()}
	s, named := r.secret(path+"secret", e.Secret, e.SecretEnv, e.SecretFile)
	d.Secret = s
	if !named && d.Type == client.Confidential && (d.Accepts(client.AuthBasic) || d.Accepts(client.AuthPost)) {
		r.refuse(codeSecret, path+"secret", "", "a confidential client needs a secret, and none is given", "add secret_file or secret_env, or secret for trying things out")
	}
	for _, p := range client.Check(d, r.Server) {
		whole, _, _ := strings.Cut(p.Field, "[")
		if !r.doubted[path+p.Field] && !r.doubted[path+whole] && !r.doubted[path+p.Other] {
			r.problems = append(r.problems, r.placed(path, p))
		}
	}
	return d
}

// placed gives a registration's problem its lines.
func (r *reader) placed(path string, p client.Problem) settings.Problem {
	key, _, _ := strings.Cut(p.Field, "[")
	out := settings.Problem{Code: p.Code, Warning: p.Warning, At: r.places.At(path + p.Field), Key: key, Value: p.Value, Reason: p.Reason, Mend: p.Mend}
	if p.Other == "" {
		return out
	}
	other := path + p.Other
	switch {
	case !r.places.Written(other):
		out.Reason += " (" + p.Other + " is not set here: it is the server's)"
	case !r.places.Written(path + p.Field): // the setting that somebody wrote is the one to look at
		out.At = r.places.At(other)
		out.Reason += " (" + key + " is not set here: it is the server's)"
	default:
		out.Reason += " (" + p.Other + " stands at " + r.places.At(other).String() + ")"
	}
	return out
}

// recovery translates the word idle.
func recovery(w *settings.Window) *time.Duration {
	if w == nil {
		return nil
	}
	d := time.Duration(*w)
	if *w == settings.AsIdle {
		d = client.AsIdle
	}
	return &d
}
