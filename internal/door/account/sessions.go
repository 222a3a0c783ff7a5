package account

import (
	"cmp"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/grant"
	"holdfast.example/internal/id"
	"holdfast.example/internal/problem"
	"holdfast.example/internal/secret"
)

// Client is an application as its user sees it.
type Client struct {
	ID   id.Client `json:"id"`
	Name string    `json:"name,omitempty"`
}

func (d *Door) client(which id.Client) Client {
	c, _ := d.Issuer.Clients.Get(which)
	return Client{which, c.Name}
}

// Me is the account and the sign-in behind the token.
type Me struct {
	Sub           string `json:"sub"`
	Username      string `json:"username"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified"`
	Name          string `json:"name,omitempty"`
	HasPassword   bool   `json:"has_password"`
	SID           string `json:"sid"`
	Client        Client `json:"client"`
}

func (d *Door) me(a *ask) (reply, error) {
	_, err := a.query()
	if err != nil {
		return reply{}, err
	}
	u, err := d.Issuer.Users.Get(a.Context(), a.owner.User)
	if err != nil {
		return reply{}, err
	}
	return reply{body: Me{Sub: u.ID.String(), Username: u.Username, Email: u.Email, EmailVerified: u.EmailVerified, Name: u.Name,
		HasPassword: u.PasswordHash != "", SID: d.sid(a.owner.Device), Client: d.client(a.owner.Client.ID)}}, nil
}

func (d *Door) sid(which id.Session) string { return d.Issuer.Sessions.Names.SID(which) }

// Session is one device's sign-in as its user sees it.
type Session struct {
	SID          string `json:"sid"`
	Name         string `json:"name,omitempty"`
	Model        string `json:"model,omitempty"`
	System       string `json:"system,omitempty"`
	App          string `json:"app,omitempty"`
	Client       Client `json:"client"`
	CreatedAt    string `json:"created_at"`
	LastUsedAt   string `json:"last_used_at"`
	SignedInWith string `json:"signed_in_with"`
	ThisDevice   bool   `json:"this_device"`

	Ended         fault.Reason `json:"ended,omitempty"`
	EndedAt       string       `json:"ended_at,omitempty"`
	EndedSentence string       `json:"ended_sentence,omitempty"`
}

// ways says to people how a session was earned.
var ways = map[string]string{
	"password":           "user name and password in the app",
	"visit":              "user name and password in the browser, until it is closed",
	"authorization_code": "the sign-in page",
	"token_exchange":     "another provider's account",
	"device_code":        "a code confirmed on another device",
}

func (d *Door) show(a *ask, s grant.OwnSession) Session {
	v := s.Device
	return Session{SID: d.sid(s.ID), Name: v.Name, Model: v.Model, System: v.System, App: v.App, Client: d.client(s.Client),
		CreatedAt: stamp(s.CreatedAt), LastUsedAt: stamp(s.UsedAt), SignedInWith: cmp.Or(ways[s.Grant], s.Grant),
		ThisDevice: s.ID == a.owner.Device, Ended: s.Ended, EndedAt: stamp(s.EndedAt), EndedSentence: s.Ended.Sentence()}
}

// stamp writes a time for JSON; the zero time is left out by omitempty.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Sessions is one page of devices.
type Sessions struct {
	Sessions   []Session `json:"sessions"`
	NextCursor string    `json:"next_cursor,omitempty"`
}

func (d *Door) sessions(a *ask) (reply, error) {
	q, err := a.query("ended", "limit", "cursor")
	if err != nil {
		return reply{}, err
	}
	ended, err := q.flag("ended")
	if err != nil {
		return reply{}, err
	}
	limit, err := q.limit()
	if err != nil {
		return reply{}, err
	}
	list := sessionList{a.owner.User, ended}
	after, err := list.open(d.Keys, q["cursor"])
	if err != nil {
		return reply{}, err
	}
	page, next, err := d.Issuer.OwnSessions(a.Context(), a.owner, ended, after, limit)
	if err != nil {
		return reply{}, err
	}
	out := Sessions{Sessions: make([]Session, len(page))}
	for i, s := range page {
		out.Sessions[i] = d.show(a, s)
	}
	if next != nil {
		out.NextCursor = list.seal(d.Keys, *next)
	}
	return reply{body: out}, nil
}

func (d *Door) rename(a *ask) (reply, error) {
	var in struct {
		Name string `json:"name"`
	}
	err := a.only(&in)
	if err != nil {
		return reply{}, err
	}
	s, err := d.Issuer.Rename(a.Context(), a.owner, a.PathValue("sid"), in.Name)
	return reply{body: d.show(a, s)}, err
}

// end signs one device out: this one, or another.
func (d *Door) end(a *ask) (reply, error) {
	err := a.only(nil)
	if err != nil {
		return reply{}, err
	}
	why, err := d.Issuer.EndOwn(a.Context(), a.owner, a.PathValue("sid"))
	if why != fault.SignedOut {
		why = "" // another device hears it, not this one
	}
	return reply{ended: why}, err
}

func (d *Door) endOthers(a *ask) (reply, error) {
	err := a.only(nil)
	if err == nil {
		err = d.Issuer.EndOthers(a.Context(), a.owner)
	}
	return reply{}, err
}

func (d *Door) endAll(a *ask) (reply, error) {
	err := a.only(nil)
	if err == nil {
		err = d.Issuer.EndEverywhere(a.Context(), a.owner)
	}
	return reply{ended: fault.Everywhere}, err
}

func (d *Door) password(a *ask) (reply, error) {
	var in struct {
		Current secret.Text `json:"current_password"`
		New     secret.Text `json:"new_password"`
	}
	err := a.only(&in)
	if err == nil {
		err = d.Issuer.ChangePassword(a.Context(), a.owner, a.from, in.Current, in.New)
	}
	return reply{}, err
}

// only reads the body of an endpoint without parameters; nil is for endpoints
// that read none.
func (a *ask) only(into any) error {
	_, err := a.query()
	if err != nil {
		return err
	}
	if into == nil {
		into = &struct{}{}
	}
	return problem.Read(a.w, a.Request, MaxBody, into)
}
