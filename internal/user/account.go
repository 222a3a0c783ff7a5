package user

import (
	"context"
	"errors"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// maxTries is how often a change decides anew when somebody else wrote the same
// account in between.
const maxTries = 3

// errNothing says that an account already is as it should be.
var errNothing = errors.New("user: nothing to change")

// change replaces an account by what decide makes of it, by compare-and-swap,
// and returns what it is now. decide gets the row as it stands and may be called
// maxTries times; errNothing from it ends the change without writing. When the
// change ends sessions, the epoch rises here.
func (d *Directory) change(ctx context.Context, who id.User, decide func(User) (Change, error)) (User, error) {
	for range maxTries {
		was, err := d.Get(ctx, who)
		if err != nil {
			return User{}, err
		}
		c, err := decide(was)
		if errors.Is(err, errNothing) {
			return was, nil
		}
		if err != nil {
			return User{}, err
		}
		c.Next.Version = was.Version + 1
		c.Next.UpdatedAt = d.Now().UTC()
		if c.Ends != "" {
			c.Next.Epoch = was.Epoch + 1
			c.EntryLife = d.EntryLife
		}
		c.Audit = []audit.Event{told(ctx, was, c)}
		err = d.Store.Replace(ctx, c)
		if err == nil && c.Ends != "" && d.Ended != nil {
			d.Ended(ctx, who, c.Ends, c.Next.Epoch)
		}
		if !errors.Is(err, ErrChanged) {
			return c.Next, outside(err)
		}
	}
	return User{}, fault.New(fault.Conflict, "the account is being changed by somebody else; try again")
}

// outside says a Store's error in the words of the house.
func outside(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return fault.New(fault.NotFound, "no such account")
	case errors.Is(err, ErrTaken):
		return fault.New(fault.Conflict, "the user name or e-mail address is taken")
	}
	return fault.Down(err)
}

// Get finds an account by its id. Errors are *fault.Error: NotFound or
// Unavailable.
func (d *Directory) Get(ctx context.Context, who id.User) (User, error) {
	u, err := d.Store.ByID(ctx, who)
	if err != nil {
		return User{}, outside(err)
	}
	return u, nil
}

// NewPassword is a change of password.
type NewPassword struct {
	Password secret.Text
	// Reason is PasswordChanged, also when it is empty, or PasswordReset.
	Reason fault.Reason
	// Except is the session that stays signed in, with its outside name; zero for
	// none.
	Except    id.Session
	ExceptSID string
	// Proved is the account as Prove returned it, where the old password is what
	// allows the change; nil where something else does. When the account's sessions
	// were ended meanwhile (by a reset, above all), the old password allows nothing
	// any more: Conflict.
	Proved *User
}

// SetPassword changes a password and ends every session but the excepted one.
// That the caller may do so (the old password, a reset link, an operator) was
// checked before. Errors are *fault.Error: InvalidRequest for a password that
// will not do, NotFound, Conflict, Busy or Unavailable; after the last, repeat.
func (d *Directory) SetPassword(ctx context.Context, who id.User, n NewPassword) (User, error) {
	if n.Reason == "" {
		n.Reason = fault.PasswordChanged
	}
	err := d.CheckNew(n.Password)
	if err != nil {
		return User{}, err
	}
	hash, err := d.newHash(ctx, n.Password)
	if err != nil {
		return User{}, err
	}
	return d.change(ctx, who, func(u User) (Change, error) {
		if n.Proved != nil && n.Proved.Epoch != u.Epoch {
			return Change{}, fault.New(fault.Conflict, "the account was changed by somebody else meanwhile")
		}
		u.PasswordHash = hash
		return Change{Next: u, Ends: n.Reason, Except: n.Except, ExceptSID: n.ExceptSID}, nil
	})
}

// newHash checks a password that is to be set and hashes it. Whether it is on a
// list of breached passwords was asked before, where that matters.
func (d *Directory) newHash(ctx context.Context, password secret.Text) (string, error) {
	err := CheckPassword(password)
	if err != nil {
		return "", err
	}
	typed, err := prepare(password)
	if err != nil {
		return "", err
	}
	return d.Hasher.hash(ctx, typed)
}

// Disable takes an account out of use and ends all of its sessions. Disabling
// twice is no error and ends nothing more.
func (d *Directory) Disable(ctx context.Context, who id.User) (User, error) {
	return d.change(ctx, who, func(u User) (Change, error) {
		if u.Disabled {
			return Change{}, errNothing
		}
		u.Disabled = true
		return Change{Next: u, Ends: fault.Disabled}, nil
	})
}

// Enable lets an account sign in again. What ended stays ended: the epoch that
// disabling raised is not lowered.
func (d *Directory) Enable(ctx context.Context, who id.User) (User, error) {
	return d.change(ctx, who, func(u User) (Change, error) {
		if !u.Disabled {
			return Change{}, errNothing
		}
		u.Disabled = false
		return Change{Next: u}, nil
	})
}

// SetEmail gives the account another address, which is not verified yet. "" takes
// the address away. A user name that is the address changes with it.
func (d *Directory) SetEmail(ctx context.Context, who id.User, address string) (User, error) {
	return d.change(ctx, who, func(u User) (Change, error) {
		if u.Email == address {
			return Change{}, errNothing
		}
		if Canonical(u.Username) == Canonical(u.Email) {
			u.Username = address
		}
		if Canonical(u.Email) != Canonical(address) {
			u.EmailVerified = false
		}
		u.Email = address
		return Change{Next: u}, checkNames(u.Username, u.Email)
	})
}

// SetEmailVerified records whether the owner of the account was seen to read
// mail at address. It names the address that was verified, because the account
// may have another one by the time somebody follows the link: then it is
// Conflict.
func (d *Directory) SetEmailVerified(ctx context.Context, who id.User, address string, verified bool) (User, error) {
	return d.change(ctx, who, func(u User) (Change, error) {
		if u.Email == "" || Canonical(u.Email) != Canonical(address) {
			return Change{}, fault.New(fault.Conflict, "the account has another e-mail address by now")
		}
		if u.EmailVerified == verified {
			return Change{}, errNothing
		}
		u.EmailVerified = verified
		return Change{Next: u}, nil
	})
}

// Edit is a change of what an account is called and found by. Nil leaves a part
// as it is. It cannot make anybody staff or superuser: only a declaration can.
type Edit struct {
	Username, Email *string
	EmailVerified   *bool
	Profile
	// Version, when it is not 0, is the version of the account that the edit was
	// decided on.
	Version uint64
}

// Edit changes an account. Another address is not verified unless the edit says
// so, and a user name that is the address changes with it. Errors are those of
// Create; when the account is no longer at e.Version it is Conflict, and
// ErrChanged is its cause.
func (d *Directory) Edit(ctx context.Context, who id.User, e Edit) (User, error) {
	return d.change(ctx, who, func(was User) (Change, error) {
		if e.Version != 0 && e.Version != was.Version {
			return Change{}, fault.Wrap(fault.Conflict, ErrChanged, "the account changed meanwhile; read it again and decide anew")
		}
		u := was
		if e.Email != nil && Canonical(*e.Email) != Canonical(u.Email) {
			if Canonical(u.Username) == Canonical(u.Email) {
				u.Username = *e.Email
			}
			u.EmailVerified = false // that was another address
		}
		set(&u.Username, e.Username)
		set(&u.Email, e.Email)
		set(&u.EmailVerified, e.EmailVerified)
		e.Profile.apply(&u)
		if u == was {
			return Change{}, errNothing
		}
		if u.EmailVerified && u.Email == "" {
			return Change{}, fault.New(fault.InvalidRequest, "email_verified is set without an e-mail address")
		}
		err := checkNames(u.Username, u.Email)
		if err != nil {
			return Change{}, err
		}
		return Change{Next: u}, checkProfile(u)
	})
}

// Profile is what people are called. Nil leaves a part as it is.
type Profile struct {
	Name, GivenName, FamilyName *string
}

// SetProfile changes what the account's person is called.
func (d *Directory) SetProfile(ctx context.Context, who id.User, p Profile) (User, error) {
	return d.change(ctx, who, func(u User) (Change, error) {
		next := u
		p.apply(&next)
		if next == u {
			return Change{}, errNothing
		}
		return Change{Next: next}, checkProfile(next)
	})
}

func (p Profile) apply(u *User) {
	set(&u.Name, p.Name)
	set(&u.GivenName, p.GivenName)
	set(&u.FamilyName, p.FamilyName)
}

// set takes over what was said.
func set[T any](field *T, said *T) {
	if said != nil {
		*field = *said
	}
}
