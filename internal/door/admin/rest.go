package admin

import (
	"io"
	"net/http"

	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
)

func (d *Door) status(*http.Request) (any, error) {
	return map[string]any{"issuer": d.Issuer.Minter.Issuer, "root": d.Keys.Root(), "clients": len(d.Issuer.Clients.All())}, nil
}

// check looks the store and the keys over.
func (d *Door) check(r *http.Request) (any, error) {
	err := d.Check(r.Context())
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the database is not in order: "+err.Error())
	}
	return map[string]any{"database": "in order", "keys": len(d.Keys.Keys()), "root": d.Keys.Root()}, nil
}

// apply reads a manifest (TOML) from the body; ?file= is its name in errors.
func (d *Door) apply(r *http.Request) (any, error) {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxBody))
	if err != nil {
		return nil, fault.Newf(fault.TooLarge, "the manifest is larger than %d bytes", MaxBody)
	}
	return d.Apply(r.Context(), r.URL.Query().Get("file"), b)
}

// why explains a token: what it is, whose, and why it does or does not work.
func (d *Door) why(r *http.Request) (any, error) {
	var in struct {
		Token secret.Text `json:"token"`
	}
	err := read(r, &in)
	if err != nil {
		return nil, err
	}
	return d.Issuer.Why(r.Context(), in.Token)
}

// Client is a registration as operators see it. It carries no secret.
type Client struct {
	ID           string   `json:"id"`
	Name         string   `json:"name,omitempty"`
	Type         string   `json:"type"`
	FirstParty   bool     `json:"first_party"`
	Grants       []string `json:"grants"`
	Scopes       []string `json:"scopes"`
	RedirectURIs []string `json:"redirect_uris,omitempty"`
	Refresh      string   `json:"refresh,omitempty"`
	AccessFormat string   `json:"access_format,omitempty"`
	Disabled     bool     `json:"disabled"`
}

func showClient(c client.Client) Client {
	return Client{ID: string(c.ID), Name: c.Name, Type: string(c.Type), FirstParty: c.FirstParty, Grants: c.Grants,
		Scopes: c.Scopes, RedirectURIs: c.RedirectURIs, Refresh: string(c.Refresh), AccessFormat: string(c.AccessFormat),
		Disabled: c.Disabled}
}

func (d *Door) clients(*http.Request) (any, error) {
	list := d.Issuer.Clients.All()
	shown := make([]Client, len(list))
	for i, c := range list {
		shown[i] = showClient(c)
	}
	return map[string]any{"clients": shown}, nil
}

func (d *Door) client(r *http.Request) (any, error) {
	c, ok := d.Issuer.Clients.Get(id.Client(r.PathValue("client")))
	if !ok {
		return nil, fault.New(fault.NotFound, "no such client")
	}
	return showClient(c), nil
}

// rotateSecret answers the new secret, which is shown this once.
func (d *Door) rotateSecret(r *http.Request) (any, error) {
	s, err := d.Issuer.Clients.RotateSecret(r.Context(), id.Client(r.PathValue("client")))
	if err != nil {
		return nil, err
	}
	return map[string]any{"client_secret": s.Reveal()}, nil
}

func (d *Door) disableClient(r *http.Request) (any, error) {
	err := d.Issuer.Clients.Disable(r.Context(), id.Client(r.PathValue("client")))
	return done{err == nil}, err
}

func (d *Door) enableClient(r *http.Request) (any, error) {
	err := d.Issuer.Clients.Enable(r.Context(), id.Client(r.PathValue("client")))
	return done{err == nil}, err
}

func (d *Door) deleteClient(r *http.Request) (any, error) {
	err := d.Issuer.Clients.Delete(r.Context(), id.Client(r.PathValue("client")))
	return done{err == nil}, err
}

// Key is what may be told about a key.
type Key struct {
	ID        uint32 `json:"id"`
	Purpose   string `json:"purpose"`
	Alg       string `json:"alg,omitempty"`
	KID       string `json:"kid,omitempty"`
	State     string `json:"state"`
	CreatedAt string `json:"created_at"`
	ActiveAt  string `json:"active_at,omitempty"`
	RetiredAt string `json:"retired_at,omitempty"`
}

func showKey(k key.Info) Key {
	return Key{ID: k.ID, Purpose: string(k.Purpose), Alg: k.Alg, KID: k.KID, State: string(k.State),
		CreatedAt: stamp(k.CreatedAt), ActiveAt: stamp(k.ActiveAt), RetiredAt: stamp(k.RetiredAt)}
}

func (d *Door) keys(*http.Request) (any, error) {
	list := d.Keys.Keys()
	shown := make([]Key, len(list))
	for i, k := range list {
		shown[i] = showKey(k)
	}
	return map[string]any{"keys": shown}, nil
}

// rotateKey makes the published next key current; force does not wait until
// caches have seen it.
func (d *Door) rotateKey(r *http.Request) (any, error) {
	in := struct {
		Purpose string `json:"purpose"`
		Alg     string `json:"alg"`
		Force   bool   `json:"force"`
	}{Purpose: string(key.Sign)}
	err := read(r, &in)
	if err != nil {
		return nil, err
	}
	if in.Purpose == string(key.Sign) && in.Alg == "" {
		in.Alg = d.Keys.Algs()[0]
	}
	rotate := d.Keys.Rotate
	if in.Force {
		rotate = d.Keys.RotateNow
	}
	err = rotate(r.Context(), key.Purpose(in.Purpose), in.Alg, d.Now())
	return done{err == nil}, err
}

// dropKey takes a compromised key out at once, by kid or id.
func (d *Door) dropKey(r *http.Request) (any, error) {
	var in struct {
		Key string `json:"key"`
	}
	err := read(r, &in)
	if err != nil {
		return nil, err
	}
	info, err := d.Keys.Drop(r.Context(), in.Key)
	if err != nil {
		return nil, err
	}
	return showKey(info), nil
}
