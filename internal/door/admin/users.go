package admin

import (
	"errors"
	"net/http"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// User is an account as operators see it. It carries no password hash.
type User struct {
	ID            string `json:"id"`
	Username      string `json:"username"`
	Email         string `json:"email,omitempty"`
	EmailVerified bool   `json:"email_verified"`
	Name          string `json:"name,omitempty"`
	Disabled      bool   `json:"disabled"`
	HasPassword   bool   `json:"has_password"`
	Number        int64  `json:"number,omitempty"`
	CreatedAt     string `json:"created_at"`
}

func showUser(u user.User) User {
	return User{ID: u.ID.String(), Username: u.Username, Email: u.Email, EmailVerified: u.EmailVerified, Name: u.Name,
		Disabled: u.Disabled, HasPassword: u.PasswordHash != "", Number: u.Number, CreatedAt: stamp(u.CreatedAt)}
}

// find reads {user}: an id, a user name or an e-mail address.
func (d *Door) find(r *http.Request) (user.User, error) {
	name := r.PathValue("user")
	if u, err := id.ParseUser(name); err == nil {
		return d.Issuer.Users.Get(r.Context(), u)
	}
	return d.Issuer.Users.ByLogin(r.Context(), name)
}

func (d *Door) users(r *http.Request) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	if login := q.Get("login"); login != "" {
		u, err := d.Issuer.Users.ByLogin(r.Context(), login)
		if fault.Is(err, fault.NotFound) {
			return map[string]any{"users": []User{}}, nil
		}
		if err != nil {
			return nil, err
		}
		return map[string]any{"users": []User{showUser(u)}}, nil
	}
	var after id.User
	if s := q.Get("after"); s != "" {
		after, err = id.ParseUser(s)
		if err != nil {
			return nil, fault.New(fault.InvalidRequest, "after is the id of the last user of the page before")
		}
	}
	list, err := d.Issuer.Users.List(r.Context(), after, limit)
	if err != nil {
		return nil, err
	}
	shown := make([]User, len(list))
	for i, u := range list {
		shown[i] = showUser(u)
	}
	return map[string]any{"users": shown}, nil
}

func (d *Door) user(r *http.Request) (any, error) {
	u, err := d.find(r)
	if err != nil {
		return nil, err
	}
	return showUser(u), nil
}

func (d *Door) createUser(r *http.Request) (any, error) {
	var in struct {
		Username      string      `json:"username"`
		Email         string      `json:"email"`
		EmailVerified bool        `json:"email_verified"`
		Name          string      `json:"name"`
		Password      secret.Text `json:"password"`
	}
	err := read(r, &in)
	if err != nil {
		return nil, err
	}
	u, err := d.Issuer.Users.Create(r.Context(), user.Declared{Username: in.Username, Email: &in.Email,
		EmailVerified: &in.EmailVerified, Profile: user.Profile{Name: &in.Name}, Password: in.Password})
	if err != nil {
		return nil, err
	}
	return showUser(u), nil
}

func (d *Door) disableUser(r *http.Request) (any, error) {
	u, err := d.find(r)
	if err == nil {
		_, err = d.Issuer.Users.Disable(r.Context(), u.ID)
	}
	return done{err == nil}, err
}

func (d *Door) enableUser(r *http.Request) (any, error) {
	u, err := d.find(r)
	if err == nil {
		_, err = d.Issuer.Users.Enable(r.Context(), u.ID)
	}
	return done{err == nil}, err
}

// except reads the sid of a session that stays.
func (d *Door) except(sid string) (id.Session, error) {
	if sid == "" {
		return id.Session{}, nil
	}
	s, ok := d.Keys.Session(sid)
	if !ok {
		return id.Session{}, fault.New(fault.InvalidRequest, "except is not the sid of a session")
	}
	return s, nil
}

func (d *Door) setPassword(r *http.Request) (any, error) {
	var in struct {
		Password secret.Text `json:"password"`
		Except   string      `json:"except"`
	}
	err := read(r, &in)
	if err != nil {
		return nil, err
	}
	stays, err := d.except(in.Except)
	if err != nil {
		return nil, err
	}
	u, err := d.find(r)
	if err == nil {
		_, err = d.Issuer.Users.SetPassword(r.Context(), u.ID, user.NewPassword{Password: in.Password, Except: stays, ExceptSID: in.Except})
	}
	return done{err == nil}, err
}

// signOutUser ends every session of a user, or all but one.
func (d *Door) signOutUser(r *http.Request) (any, error) {
	var in struct {
		Except string `json:"except"`
	}
	err := read(r, &in)
	if err != nil {
		return nil, err
	}
	stays, err := d.except(in.Except)
	if err != nil {
		return nil, err
	}
	u, err := d.find(r)
	if err != nil {
		return nil, err
	}
	why := fault.Operator
	if !stays.IsZero() {
		why = fault.SignedOutElsewhere
		l, err := d.Issuer.Sessions.Store.Load(r.Context(), stays)
		if err != nil || l.Session.User != u.ID {
			return nil, fault.New(fault.InvalidRequest, "except is not a session of this user")
		}
	}
	err = d.Issuer.Sessions.EndAll(r.Context(), u.ID, why, stays)
	return done{err == nil}, err
}

// Session is a device's sign-in as operators see it.
type Session struct {
	SID       string       `json:"sid"`
	User      string       `json:"user"`
	Client    string       `json:"client"`
	Device    string       `json:"device,omitempty"`
	Model     string       `json:"model,omitempty"`
	System    string       `json:"system,omitempty"`
	App       string       `json:"app,omitempty"`
	Scope     string       `json:"scope,omitempty"`
	SignedIn  string       `json:"signed_in"`
	CreatedAt string       `json:"created_at"`
	UsedAt    string       `json:"used_at"`
	Refreshes uint32       `json:"generation"`
	Ended     fault.Reason `json:"ended,omitempty"`
	EndedAt   string       `json:"ended_at,omitempty"`
}

func (d *Door) showSession(l session.Loaded) Session {
	s := l.Session
	why, at := d.Issuer.Standing(l)
	return Session{SID: d.Keys.SID(s.ID), User: s.User.String(), Client: string(s.Client), Device: s.Device.Name,
		Model: s.Device.Model, System: s.Device.System, App: s.Device.App, Scope: s.Scope, SignedIn: s.Grant,
		CreatedAt: stamp(s.CreatedAt), UsedAt: stamp(s.UsedAt), Refreshes: uint32(s.Chain.Newest),
		Ended: why, EndedAt: stamp(at)}
}

func (d *Door) sessions(r *http.Request) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	query := session.Query{Client: id.Client(q.Get("client")), Ended: q.Get("ended") == "true", Limit: limit}
	if name := q.Get("user"); name != "" {
		r.SetPathValue("user", name)
		u, err := d.find(r)
		if err != nil {
			return nil, err
		}
		query.User = u.ID
	}
	list, err := d.Issuer.Sessions.Store.Find(r.Context(), query)
	if err != nil {
		return nil, fault.Down(err)
	}
	shown := make([]Session, 0, len(list))
	for _, l := range list {
		s := d.showSession(l)
		if s.Ended == "" || query.Ended {
			shown = append(shown, s)
		}
	}
	return map[string]any{"sessions": shown}, nil
}

// loaded reads {sid}.
func (d *Door) loaded(r *http.Request) (session.Loaded, error) {
	which, ok := d.Keys.Session(r.PathValue("sid"))
	if !ok {
		return session.Loaded{}, fault.New(fault.NotFound, "no such session")
	}
	l, err := d.Issuer.Sessions.Store.Load(r.Context(), which)
	if errors.Is(err, session.ErrNotFound) {
		return session.Loaded{}, fault.New(fault.NotFound, "no such session")
	}
	if err != nil {
		return session.Loaded{}, fault.Down(err)
	}
	return l, nil
}

func (d *Door) session(r *http.Request) (any, error) {
	l, err := d.loaded(r)
	if err != nil {
		return nil, err
	}
	return d.showSession(l), nil
}

func (d *Door) endSession(r *http.Request) (any, error) {
	l, err := d.loaded(r)
	if err == nil {
		err = d.Issuer.Sessions.End(r.Context(), l.Session.ID, fault.Operator)
	}
	return done{err == nil}, err
}
