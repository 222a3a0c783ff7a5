package admin

import (
	"net/http"
	"slices"
	"time"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/settings"
)

// Client is a registration as operators see it and send it, under the names of
// the manifest. It is shown without its secret.
type Client struct {
	ID         string            `json:"id,omitempty"`
	Name       string            `json:"name,omitempty"`
	Type       client.Type       `json:"type"`
	FirstParty bool              `json:"first_party"`
	AuthMethod client.AuthMethod `json:"auth_method,omitempty"`
	// Secret is only ever read.
	Secret *secret.Text `json:"secret,omitempty"`

	JWKS                 string   `json:"jwks,omitempty"`
	JWKSURI              string   `json:"jwks_uri,omitempty"`
	RedirectURIs         []string `json:"redirect_uris,omitempty"`
	PostLogoutURIs       []string `json:"post_logout_redirect_uris,omitempty"`
	BackchannelLogoutURI string   `json:"backchannel_logout_uri,omitempty"`
	CORSOrigins          []string `json:"cors_origins,omitempty"`
	Grants               []string `json:"grants"`
	Scopes               []string `json:"scopes"`
	Audiences            []string `json:"audiences,omitempty"`
	Claims               string   `json:"claims,omitempty"`

	AccessFormat     client.Format    `json:"access_format,omitempty"`
	AccessAlg        string           `json:"access_alg,omitempty"`
	IDTokenAlg       string           `json:"id_token_alg,omitempty"`
	AccessLifetime   *length          `json:"access_lifetime,omitempty"`
	IdleLifetime     *length          `json:"idle_lifetime,omitempty"`
	AbsoluteLifetime *length          `json:"absolute_lifetime,omitempty"`
	Refresh          client.Refresh   `json:"refresh,omitempty"`
	Overlap          *length          `json:"overlap,omitempty"`
	Late             *length          `json:"late,omitempty"`
	Recovery         *settings.Window `json:"recovery,omitempty"`
	OnReuse          string           `json:"on_reuse,omitempty"`

	PKCE       string   `json:"pkce,omitempty"`
	Consent    string   `json:"consent,omitempty"`
	WebView    bool     `json:"webview,omitempty"`
	Restricted bool     `json:"restricted,omitempty"`
	Filters    []string `json:"filters,omitempty"`
	Upstreams  []string `json:"upstreams,omitempty"`
	Logo       string   `json:"logo,omitempty"`
	Accent     string   `json:"accent,omitempty"`
	AndroidApp string   `json:"android_app,omitempty"`
	IOSApp     string   `json:"ios_app,omitempty"`
	Disabled   *bool    `json:"disabled,omitempty"`
}

// length is a length of time as the manifest writes it.
type length time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *length) UnmarshalText(b []byte) error {
	d, err := settings.ParseDuration(string(b))
	if err != nil {
		return fault.Wrap(fault.InvalidRequest, err, "a lifetime is "+err.Error())
	}
	*l = length(d)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (l length) MarshalText() ([]byte, error) {
	return []byte(settings.FormatDuration(time.Duration(l))), nil
}

func lengthOf(d *time.Duration) *length { return (*length)(d) }

func showClient(c client.Client) Client {
	return Client{ID: string(c.ID), Name: c.Name, Type: c.Type, FirstParty: c.FirstParty, AuthMethod: c.AuthMethod,
		JWKS: c.JWKS, JWKSURI: c.JWKSURI, RedirectURIs: c.RedirectURIs, PostLogoutURIs: c.PostLogoutURIs,
		BackchannelLogoutURI: c.BackchannelLogoutURI, CORSOrigins: c.CORSOrigins, Grants: listed(c.Grants), Scopes: listed(c.Scopes),
		Audiences: c.Audiences, Claims: c.Claims, AccessFormat: c.AccessFormat, AccessAlg: c.AccessAlg, IDTokenAlg: c.IDTokenAlg,
		AccessLifetime: lengthOf(c.AccessLifetime), IdleLifetime: lengthOf(c.IdleLifetime), AbsoluteLifetime: lengthOf(c.AbsoluteLifetime),
		Refresh: c.Refresh, Overlap: lengthOf(c.Overlap), Late: lengthOf(c.Late), Recovery: recoveryOf(c.Recovery), OnReuse: c.OnReuse,
		PKCE: c.PKCE, Consent: c.Consent, WebView: c.WebView, Restricted: c.Restricted, Filters: c.Filters, Upstreams: c.Upstreams,
		Logo: c.Logo, Accent: c.Accent, AndroidApp: c.AndroidApp, IOSApp: c.IOSApp, Disabled: &c.Disabled}
}

// listed is a list that JSON shows as one when it is empty.
func listed(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

// recoveryOf says "idle" by its word.
func recoveryOf(d *time.Duration) *settings.Window {
	if d == nil {
		return nil
	}
	w := settings.Window(*d)
	if *d == client.AsIdle {
		w = settings.AsIdle
	}
	return &w
}

// declared is the registration that was sent.
func (c Client) declared(which id.Client) client.Declared {
	var s secret.Text
	if c.Secret != nil {
		s = *c.Secret
	}
	d := client.Declared{Secret: s, Stopped: c.Disabled, Client: client.Client{
		ID: which, Name: c.Name, Type: c.Type, FirstParty: c.FirstParty, AuthMethod: c.AuthMethod,
		JWKS: c.JWKS, JWKSURI: c.JWKSURI, RedirectURIs: c.RedirectURIs, PostLogoutURIs: c.PostLogoutURIs,
		BackchannelLogoutURI: c.BackchannelLogoutURI, CORSOrigins: c.CORSOrigins, Grants: c.Grants, Scopes: c.Scopes,
		Audiences: c.Audiences, Claims: c.Claims, AccessFormat: c.AccessFormat, AccessAlg: c.AccessAlg, IDTokenAlg: c.IDTokenAlg,
		AccessLifetime: (*time.Duration)(c.AccessLifetime), IdleLifetime: (*time.Duration)(c.IdleLifetime),
		AbsoluteLifetime: (*time.Duration)(c.AbsoluteLifetime), Refresh: c.Refresh, Overlap: (*time.Duration)(c.Overlap),
		Late: (*time.Duration)(c.Late), OnReuse: c.OnReuse, PKCE: c.PKCE, Consent: c.Consent, WebView: c.WebView,
		Restricted: c.Restricted, Filters: c.Filters, Upstreams: c.Upstreams, Logo: c.Logo, Accent: c.Accent,
		AndroidApp: c.AndroidApp, IOSApp: c.IOSApp}}
	if c.Recovery != nil {
		r := time.Duration(*c.Recovery)
		if *c.Recovery == settings.AsIdle {
			r = client.AsIdle
		}
		d.Recovery = &r
	}
	return d
}

// clients pages through what the registry holds in memory, in order of id.
func (d *Door) clients(c *call) (reply, error) {
	limit, err := c.limit()
	if err != nil {
		return reply{}, err
	}
	after, err := d.place(c)
	if err != nil {
		return reply{}, err
	}
	all := slices.DeleteFunc(d.Issuer.Clients.All(), func(one client.Client) bool { return string(one.ID) <= after && after != "" })
	rows := []Client{}
	for _, one := range all[:min(limit, len(all))] {
		rows = append(rows, showClient(one))
		after = string(one.ID)
	}
	return d.page(c, "clients", rows, len(all) > limit, after)
}

// registered reads {client}.
func (d *Door) registered(c *call) (client.Client, error) {
	one, found := d.Issuer.Clients.Get(id.Client(c.PathValue("client")))
	if !found {
		return one, fault.New(fault.NotFound, "no such client")
	}
	return one, nil
}

func (d *Door) client(c *call) (reply, error) {
	one, err := d.registered(c)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, header: etag(one.Version), body: showClient(one)}, nil
}

// mayChange keeps registrations that make operators to owners: whoever could
// change one, or take its secret, could become one.
func (c *call) mayChange(was, is client.Client) error {
	if (was.Administers() || is.Administers()) && !c.roles.owner() {
		return &insufficient{Owner.Scope()}
	}
	return nil
}

// putClient creates or replaces a registration. A secret that was generated is
// shown this once.
func (d *Door) putClient(c *call) (reply, error) {
	var in Client
	err := c.read(&in)
	if err != nil {
		return reply{}, err
	}
	which := c.PathValue("client")
	if in.ID != "" && in.ID != which {
		return reply{}, fault.New(fault.InvalidRequest, "the id in the body is another than that in the path; a client's id never changes")
	}
	version, err := c.match()
	if err != nil {
		return reply{}, err
	}
	report, err := d.Issuer.Clients.Put(c.Context(), client.Put{Declared: in.declared(id.Client(which)), Version: version, May: c.mayChange})
	if report.Client.Disabled {
		err = d.settled(c, err)
	}
	if err != nil {
		return reply{}, err
	}
	body := struct {
		Client
		Generated string   `json:"client_secret,omitempty"`
		Warnings  []string `json:"warnings,omitempty"`
	}{Client: showClient(report.Client), Generated: report.Secret.Reveal()}
	for _, w := range report.Warnings {
		body.Warnings = append(body.Warnings, w.String())
	}
	status := http.StatusOK
	if report.Created {
		status = http.StatusCreated
	}
	return reply{status: status, header: etag(report.Client.Version), body: body}, nil
}

// actOnClient is one act on a registration that stands.
func (d *Door) actOnClient(c *call, act func(id.Client) error) error {
	err := c.nothing()
	if err != nil {
		return err
	}
	one, err := d.registered(c)
	if err != nil {
		return err
	}
	err = c.mayChange(one, one)
	if err != nil {
		return err
	}
	return act(one.ID)
}

// rotateSecret answers the new secret, which is shown this once.
func (d *Door) rotateSecret(c *call) (reply, error) {
	var fresh secret.Text
	err := d.actOnClient(c, func(which id.Client) (err error) {
		fresh, err = d.Issuer.Clients.RotateSecret(c.Context(), which)
		return err
	})
	return reply{status: http.StatusOK, body: map[string]string{"client_secret": fresh.Reveal()}}, err
}

func (d *Door) disableClient(c *call) (reply, error) {
	return done(d.settled(c, d.actOnClient(c, func(which id.Client) error { return d.Issuer.Clients.Disable(c.Context(), which) })))
}

func (d *Door) enableClient(c *call) (reply, error) {
	return done(d.actOnClient(c, func(which id.Client) error { return d.Issuer.Clients.Enable(c.Context(), which) }))
}

func (d *Door) deleteClient(c *call) (reply, error) {
	return done(d.settled(c, d.actOnClient(c, func(which id.Client) error { return d.Issuer.Clients.Delete(c.Context(), which) })))
}
