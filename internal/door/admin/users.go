package admin

import (
	"context"
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
	GivenName     string `json:"given_name,omitempty"`
	FamilyName    string `json:"family_name,omitempty"`
	Disabled      bool   `json:"disabled"`
	HasPassword   bool   `json:"has_password"`
	Staff         bool   `json:"staff"`
	Superuser     bool   `json:"superuser"`
	Number        int64  `json:"number,omitempty"`
	CreatedAt     string `json:"created_at"`
	UpdatedAt     string `json:"updated_at"`
}

func showUser(u user.User) User {
	return User{ID: u.ID.String(), Username: u.Username, Email: u.Email, EmailVerified: u.EmailVerified, Name: u.Name,
		GivenName: u.GivenName, FamilyName: u.FamilyName, Disabled: u.Disabled, HasPassword: u.PasswordHash != "",
		Staff: u.Staff, Superuser: u.Superuser, Number: u.Number, CreatedAt: stamp(u.CreatedAt), UpdatedAt: stamp(u.UpdatedAt)}
}

func oneUser(status int, u user.User) reply {
	return reply{status: status, header: etag(u.Version), body: showUser(u)}
}

// maxLogin is the longest name that is looked up, in bytes.
const maxLogin = 512

// named finds an account by an id, a user name or an e-mail address.
func (d *Door) named(ctx context.Context, name string) (user.User, error) {
	if len(name) > maxLogin {
		return user.User{}, fault.New(fault.NotFound, "no such account")
	}
	if u, err := id.ParseUser(name); err == nil {
		return d.Issuer.Users.Get(ctx, u)
	}
	return d.Issuer.Users.ByLogin(ctx, name)
}

// subject is named for what outlives accounts: an id is one even when nobody
// has it any more. The zero id is nobody's, and would not restrict a search.
func (d *Door) subject(ctx context.Context, name string) (id.User, error) {
	if u, err := id.ParseUser(name); err == nil && !u.IsZero() {
		return u, nil
	}
	u, err := d.named(ctx, name)
	return u.ID, err
}

// account reads {user}.
func (d *Door) account(c *call) (user.User, error) { return d.named(c.Context(), c.PathValue("user")) }

// changeable is account for a change. Accounts that may be operators are for
// owners: whoever could set such a password, or put his own address on such an
// account, could become one.
func (d *Door) changeable(c *call) (user.User, error) {
	u, err := d.account(c)
	if err == nil && (u.Staff || u.Superuser) && !c.roles.owner() {
		err = &insufficient{Owner.Scope()}
	}
	return u, err
}

func (d *Door) users(c *call) (reply, error) {
	limit, err := c.limit()
	if err != nil {
		return reply{}, err
	}
	place, err := d.place(c)
	if err != nil {
		return reply{}, err
	}
	if login := c.query.Get("login"); login != "" {
		u, err := d.named(c.Context(), login)
		if fault.Is(err, fault.NotFound) {
			return d.page(c, "users", []User{}, false, "")
		}
		if err != nil {
			return reply{}, err
		}
		return d.page(c, "users", []User{showUser(u)}, false, "")
	}
	var after id.User
	if place != "" {
		after, err = id.ParseUser(place)
		if err != nil {
			return reply{}, err
		}
	}
	list, err := d.Issuer.Users.List(c.Context(), after, limit)
	if err != nil {
		return reply{}, err
	}
	rows := make([]User, len(list))
	for i, u := range list {
		rows[i], after = showUser(u), u.ID
	}
	return d.page(c, "users", rows, len(list) == limit, after.String())
}

func (d *Door) user(c *call) (reply, error) {
	u, err := d.account(c)
	return oneUser(http.StatusOK, u), err
}

func (d *Door) createUser(c *call) (reply, error) {
	var in struct {
		Username      string      `json:"username"`
		Email         string      `json:"email"`
		EmailVerified bool        `json:"email_verified"`
		Name          string      `json:"name"`
		GivenName     string      `json:"given_name"`
		FamilyName    string      `json:"family_name"`
		Password      secret.Text `json:"password"`
	}
	err := c.read(&in)
	if err != nil {
		return reply{}, err
	}
	u, err := d.Issuer.Users.Create(c.Context(), user.Declared{Username: in.Username, Email: &in.Email, EmailVerified: &in.EmailVerified,
		Profile: user.Profile{Name: &in.Name, GivenName: &in.GivenName, FamilyName: &in.FamilyName}, Password: in.Password})
	return oneUser(http.StatusCreated, u), err
}

// updateUser changes what an account is called and found by. It can make nobody
// staff: that is what a manifest is for, which only owners apply.
func (d *Door) updateUser(c *call) (reply, error) {
	var in struct {
		Username      *string `json:"username"`
		Email         *string `json:"email"`
		EmailVerified *bool   `json:"email_verified"`
		Name          *string `json:"name"`
		GivenName     *string `json:"given_name"`
		FamilyName    *string `json:"family_name"`
	}
	err := c.read(&in)
	if err != nil {
		return reply{}, err
	}
	e := user.Edit{Username: in.Username, Email: in.Email, EmailVerified: in.EmailVerified,
		Profile: user.Profile{Name: in.Name, GivenName: in.GivenName, FamilyName: in.FamilyName}}
	version, err := c.match()
	if err != nil {
		return reply{}, err
	}
	if version != nil {
		e.Version = *version
		if e.Version == 0 {
			return reply{}, fault.New(fault.InvalidRequest, "an account is created with POST; If-None-Match has no meaning here")
		}
	}
	u, err := d.changeable(c)
	if err != nil {
		return reply{}, err
	}
	u, err = d.Issuer.Users.Edit(c.Context(), u.ID, e)
	return oneUser(http.StatusOK, u), err
}

func (d *Door) disableUser(c *call) (reply, error) { return d.actOnUser(c, d.Issuer.Users.Disable) }

func (d *Door) enableUser(c *call) (reply, error) { return d.actOnUser(c, d.Issuer.Users.Enable) }

func (d *Door) actOnUser(c *call, act func(context.Context, id.User) (user.User, error)) (reply, error) {
	err := c.nothing()
	if err != nil {
		return reply{}, err
	}
	u, err := d.changeable(c)
	if err == nil {
		u, err = act(c.Context(), u.ID)
	}
	if u.Disabled {
		err = d.settled(c, err)
	}
	return done(err)
}

// staying reads the sid of a session of the user that stays.
func (d *Door) staying(c *call, u user.User, sid string) (id.Session, error) {
	if sid == "" {
		return id.Session{}, nil
	}
	refused := fault.New(fault.InvalidRequest, "except is not the sid of a session of this user")
	s, known := d.Keys.Session(sid)
	if !known {
		return id.Session{}, refused
	}
	l, err := d.Issuer.Sessions.Store.Load(c.Context(), s)
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		return id.Session{}, fault.Down(err)
	}
	if err != nil || l.Session.User != u.ID {
		return id.Session{}, refused
	}
	return s, nil
}

// setPassword sets a password and ends every session, or all but one.
func (d *Door) setPassword(c *call) (reply, error) {
	var in struct {
		Password secret.Text `json:"password"`
		Except   string      `json:"except"`
	}
	err := c.read(&in)
	if err != nil {
		return reply{}, err
	}
	u, err := d.changeable(c)
	if err != nil {
		return reply{}, err
	}
	stays, err := d.staying(c, u, in.Except)
	if err != nil {
		return reply{}, err
	}
	_, err = d.Issuer.Users.SetPassword(c.Context(), u.ID, user.NewPassword{Password: in.Password, Except: stays, ExceptSID: in.Except})
	return done(err)
}

// signOutUser ends every session of a user, or all but one.
func (d *Door) signOutUser(c *call) (reply, error) {
	var in struct {
		Except string `json:"except"`
	}
	err := c.read(&in)
	if err != nil {
		return reply{}, err
	}
	u, err := d.account(c)
	if err != nil {
		return reply{}, err
	}
	stays, err := d.staying(c, u, in.Except)
	if err != nil {
		return reply{}, err
	}
	why := fault.Operator
	if !stays.IsZero() {
		why = fault.SignedOutElsewhere
	}
	return done(d.Issuer.Sessions.EndAll(c.Context(), u.ID, why, stays))
}
