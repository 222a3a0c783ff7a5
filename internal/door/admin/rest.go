package admin

import (
	"errors"
	"mime"

	"holdfast.example/docs/reference/openapi"
	"holdfast.example/internal/client"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/settings"
)

func (d *Door) status(*call) (reply, error) {
	return shown(map[string]any{"issuer": d.Issuer.Minter.Issuer, "root": d.Keys.Root(), "clients": len(d.Issuer.Clients.All())})
}

// description is the OpenAPI document of this door.
func (d *Door) description(*call) (reply, error) { return reply{text: openapi.Admin}, nil }

// check looks the store and the keys over.
func (d *Door) check(c *call) (reply, error) {
	err := d.Check(c.Context())
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return reply{}, e
	}
	if err != nil {
		return reply{}, fault.Wrap(fault.Internal, err, "the database is not in order: "+err.Error())
	}
	return shown(map[string]any{"database": "in order", "keys": len(d.Keys.Keys()), "root": d.Keys.Root()})
}

// Setting is one setting of the server as it stands.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

// Limits are what one client's sign-ins and tokens may live.
type Limits struct {
	Client   string `json:"client"`
	Access   string `json:"access_lifetime"`
	Idle     string `json:"idle_lifetime"`
	Absolute string `json:"absolute_lifetime"`
	Overlap  string `json:"overlap"`
	Late     string `json:"late"`
	Recovery string `json:"recovery"`
	Rotates  bool   `json:"rotates"`
}

// limits shows the settings and what they mean for each client.
func (d *Door) limits(*call) (reply, error) {
	say := settings.FormatDuration
	all := []Limits{}
	for _, one := range d.Issuer.Clients.All() {
		l := one.Limits(d.Issuer.Limits)
		all = append(all, Limits{Client: string(one.ID), Access: say(l.Access), Idle: say(l.Idle), Absolute: say(l.Absolute),
			Overlap: say(l.Overlap), Late: say(l.Late), Recovery: window(l), Rotates: l.Rotate})
	}
	return shown(map[string]any{"settings": d.Settings(), "clients": all})
}

// window says a recovery that is as long as the idle limit by that word.
func window(l client.Limits) string {
	if l.Recovery > 0 && (l.Recovery == l.Idle || l.Idle == 0) {
		return settings.AsIdle.String()
	}
	return settings.FormatDuration(l.Recovery)
}

// maxFile is the longest name of a manifest, in bytes: it is repeated in errors.
const maxFile = 4096

// manifestType is the media type of a manifest.
const manifestType = "application/toml"

// apply reads a manifest (TOML) from the body; ?file= is its name in errors.
func (d *Door) apply(c *call) (reply, error) {
	if len(c.query.Get("file")) > maxFile {
		return reply{}, fault.Newf(fault.InvalidRequest, "file has at most %d bytes", maxFile)
	}
	kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || kind != manifestType || c.Header.Get("Content-Encoding") != "" {
		return reply{}, fault.New(fault.UnsupportedMediaType, "send the manifest as "+manifestType+", without Content-Encoding")
	}
	report, err := d.Apply(c.Context(), c.query.Get("file"), c.sent, c.local)
	if err != nil {
		return reply{}, err
	}
	return shown(report)
}

// why explains a token: what it is, whose, and why it does or does not work.
func (d *Door) why(c *call) (reply, error) {
	var in struct {
		Token secret.Text `json:"token"`
	}
	err := c.read(&in)
	if err != nil {
		return reply{}, err
	}
	e, err := d.Issuer.Why(c.Context(), in.Token)
	if err != nil {
		return reply{}, err
	}
	return shown(e)
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

// keys lists all keys: there are never more than key.MaxKeys.
func (d *Door) keys(*call) (reply, error) {
	list := d.Keys.Keys()
	all := make([]Key, len(list))
	for i, k := range list {
		all[i] = showKey(k)
	}
	return shown(map[string]any{"keys": all})
}

// rotateKey makes the published next key current; force does not wait until
// caches have seen it.
func (d *Door) rotateKey(c *call) (reply, error) {
	in := struct {
		Purpose string `json:"purpose"`
		Alg     string `json:"alg"`
		Force   bool   `json:"force"`
	}{Purpose: string(key.Sign)}
	err := c.read(&in)
	if err != nil {
		return reply{}, err
	}
	if in.Purpose == string(key.Sign) && in.Alg == "" {
		in.Alg = d.Keys.Algs()[0]
	}
	rotate := d.Keys.Rotate
	if in.Force {
		rotate = d.Keys.RotateNow
	}
	return done(rotate(c.Context(), key.Purpose(in.Purpose), in.Alg, d.Now()))
}

// dropKey takes a compromised key out at once, by kid or id.
func (d *Door) dropKey(c *call) (reply, error) {
	var in struct {
		Key string `json:"key"`
	}
	err := c.read(&in)
	if err != nil {
		return reply{}, err
	}
	info, err := d.Keys.Drop(c.Context(), in.Key)
	err = d.settled(c, err)
	if err != nil {
		return reply{}, err
	}
	return shown(showKey(info))
}
