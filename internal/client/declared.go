package client

import (
	"reflect"

	"holdfast.example/internal/secret"
)

// The words of the closed lists that are plain text in a Client.
const (
	StandardClaims = "standard"
	OpenEdX        = "openedx"
	SimpleJWT      = "simplejwt"

	OnReuseEnd    = "end"
	OnReuseHold   = "hold"
	OnReuseNotify = "notify"

	PKCERequired = "required"
	PKCEOptional = "optional"

	ConsentAsk  = "ask"
	ConsentSkip = "skip"
)

// Declared is a client as somebody wants it to be: a manifest or an operator.
type Declared struct {
	// Client is the registration; SecretHash, Disabled and Version are not read.
	Client
	// Secret is the client's secret in the clear. Empty keeps the stored one.
	Secret secret.Text
	// Stopped, when set, disables or enables the client. A declaration that says
	// nothing leaves the matter to the operator, so that applying a manifest again
	// does not bring back a client that was stopped in an incident.
	Stopped *bool
}

// userScopes and edxScopes are what a client that names no scopes may ask for
// when users sign in at it.
var (
	userScopes = []string{"openid", "profile", "email", "offline_access"}
	edxScopes  = EdXDefaults()
)

// WithDefaults fills in what was left out. It changes nothing that was said, so
// filling in twice is filling in once. A nil list was left out; an empty one was
// meant.
func (c Client) WithDefaults() Client {
	if c.Name == "" {
		c.Name = string(c.ID)
	}
	if c.Type == Public && c.AuthMethod == "" {
		c.AuthMethod = AuthNone
	}
	if c.Grants == nil {
		c.Grants = []string{GrantCode, GrantRefresh}
	}
	fill(&c.Claims, StandardClaims)
	fill(&c.AccessFormat, JWT)
	fill(&c.Refresh, Balanced)
	fill(&c.OnReuse, OnReuseEnd)
	fill(&c.PKCE, PKCERequired)
	if c.FirstParty {
		fill(&c.Consent, ConsentSkip)
	}
	fill(&c.Consent, ConsentAsk)
	if c.Claims == OpenEdX { // its verifiers know RSA only
		fill(&c.AccessAlg, "RS256")
	}
	if c.Scopes == nil && c.signsUsersIn() {
		c.Scopes = userScopes
		if c.Claims == OpenEdX {
			c.Scopes = edxScopes
		}
	}
	return c
}

// fill sets a text that was left out.
func fill[T ~string](field *T, value T) {
	if *field == "" {
		*field = value
	}
}

// signsUsersIn reports whether any of the client's grants begins a session.
func (c Client) signsUsersIn() bool {
	for _, g := range []string{GrantCode, GrantPassword, GrantTokenExchange, GrantDeviceCode} {
		if c.Allows(g) {
			return true
		}
	}
	return false
}

// usesSecret reports whether the client authenticates by a secret.
func (c Client) usesSecret() bool { return c.Accepts(AuthBasic) || c.Accepts(AuthPost) }

// same reports whether two registrations say the same, whatever their secret,
// standing and version are. An empty list and none are the same once stored.
func (c Client) same(o Client) bool {
	return reflect.DeepEqual(c.plain(), o.plain())
}

func (c Client) plain() Client {
	c.SecretHash, c.Disabled, c.Version = "", false, 0
	for _, l := range []*[]string{&c.RedirectURIs, &c.PostLogoutURIs, &c.CORSOrigins, &c.Grants, &c.Scopes, &c.Audiences, &c.Filters, &c.Upstreams} {
		if len(*l) == 0 {
			*l = nil
		}
	}
	return c
}
