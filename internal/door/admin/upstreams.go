package admin

import (
	"holdfast.example/internal/fault"
	"holdfast.example/internal/upstream"
)

// Upstream is a provider as operators see it. Its client secret is never shown.
type Upstream struct {
	ID        string   `json:"id"`
	Kind      string   `json:"kind"`
	ClientIDs []string `json:"client_ids"`
	HasSecret bool     `json:"has_secret"`
	Issuer    string   `json:"issuer,omitempty"`
	BaseURL   string   `json:"base_url,omitempty"`
	Link      string   `json:"link"`
	Disabled  bool     `json:"disabled"`
}

// Link is one of a user's links.
type Link struct {
	Upstream string `json:"upstream"`
	Subject  string `json:"subject"`
	LinkedAt string `json:"linked_at"`
}

// registry is where upstreams and links are; a house may have none.
func (d *Door) registry() (*upstream.Registry, error) {
	if d.Issuer.Upstreams == nil {
		return nil, fault.New(fault.NotFound, "this server has no upstreams")
	}
	return d.Issuer.Upstreams, nil
}

func (d *Door) upstreams(*call) (reply, error) {
	r, err := d.registry()
	if err != nil {
		return reply{}, err
	}
	rows := []Upstream{}
	for _, u := range r.All() {
		rows = append(rows, Upstream{ID: u.ID, Kind: string(u.Kind), ClientIDs: u.ClientIDs, HasSecret: !u.Secret.Empty(),
			Issuer: u.Issuer, BaseURL: u.BaseURL, Link: string(u.Link), Disabled: u.Disabled})
	}
	return shown(map[string]any{"upstreams": rows})
}

func (d *Door) disableUpstream(c *call) (reply, error) { return d.stopUpstream(c, true) }

func (d *Door) enableUpstream(c *call) (reply, error) { return d.stopUpstream(c, false) }

func (d *Door) stopUpstream(c *call, stop bool) (reply, error) {
	err := c.nothing()
	if err != nil {
		return reply{}, err
	}
	r, err := d.registry()
	if err != nil {
		return reply{}, err
	}
	return done(r.SetDisabled(c.Context(), c.PathValue("upstream"), stop))
}

func (d *Door) userLinks(c *call) (reply, error) {
	r, err := d.registry()
	if err != nil {
		return reply{}, err
	}
	u, err := d.account(c)
	if err != nil {
		return reply{}, err
	}
	links, err := r.Links(c.Context(), u.ID)
	if err != nil {
		return reply{}, err
	}
	rows := []Link{}
	for _, l := range links {
		rows = append(rows, Link{l.Upstream, l.Subject, stamp(l.At)})
	}
	return shown(map[string]any{"links": rows})
}

// linkUser lets a provider's subject sign in as the user: whoever may set a
// password may do this.
func (d *Door) linkUser(c *call) (reply, error) {
	var in struct {
		Upstream string `json:"upstream"`
		Subject  string `json:"subject"`
	}
	err := c.read(&in)
	if err != nil {
		return reply{}, err
	}
	r, err := d.registry()
	if err != nil {
		return reply{}, err
	}
	u, err := d.changeable(c)
	if err != nil {
		return reply{}, err
	}
	return done(r.Link(c.Context(), upstream.Link{Upstream: in.Upstream, Subject: in.Subject, User: u.ID}, upstream.ByOperator))
}

// unlinkUser takes a link away. What was begun through it goes on.
func (d *Door) unlinkUser(c *call) (reply, error) {
	err := c.nothing()
	if err != nil {
		return reply{}, err
	}
	r, err := d.registry()
	if err != nil {
		return reply{}, err
	}
	u, err := d.changeable(c)
	if err != nil {
		return reply{}, err
	}
	return done(r.Unlink(c.Context(), u.ID, c.PathValue("upstream")))
}
