package user

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// MaxProfile is the longest name of a person, in bytes.
const MaxProfile = 512

// Declared is an account as somebody wants it to be: a manifest, an operator or
// a sign-up. What is nil or empty was not said, and stays as it is.
type Declared struct {
	Username      string
	Email         *string
	EmailVerified *bool
	Profile
	// Number is the account's integer id in an Open edX it came from.
	Number           *int64
	Staff, Superuser *bool
	Disabled         *bool
	// Password in the clear, or PasswordHash in one of the forms of CheckHash, or
	// neither.
	Password     secret.Text
	PasswordHash string
}

// Check says, without looking at any account, what cannot be about a declaration: its
// names, its hash, its password. The error is a *fault.Error of kind InvalidRequest.
func (want Declared) Check() error {
	err := CheckUsername(want.Username)
	if err == nil {
		_, err = want.onto(User{})
	}
	if err == nil && !want.Password.Empty() {
		err = CheckPassword(want.Password)
	}
	return err
}

// Create writes a new account. Errors are *fault.Error: InvalidRequest for what
// cannot be, a password that CheckNew refuses among it, Conflict when a name is
// taken, Busy or Unavailable; after the last, it may or may not have been created.
// A name that is taken costs what a free one costs.
func (d *Directory) Create(ctx context.Context, want Declared) (User, error) {
	if !want.Password.Empty() {
		err := d.CheckNew(want.Password)
		if err != nil {
			return User{}, err
		}
	}
	return d.create(ctx, want)
}

// create is Create with any password that can be one.
func (d *Directory) create(ctx context.Context, want Declared) (User, error) {
	u, err := want.onto(User{ID: id.NewUser()})
	if err != nil {
		return User{}, err
	}
	u.PasswordHash = want.PasswordHash
	if !want.Password.Empty() {
		u.PasswordHash, err = d.newHash(ctx, want.Password)
		if err != nil {
			return User{}, err
		}
	}
	u.CreatedAt = d.Now().UTC()
	u.UpdatedAt, u.Version = u.CreatedAt, 1
	created := told(ctx, User{}, Change{Next: u})
	created.Name = audit.UserCreated
	err = outside(d.Store.Create(ctx, u, []audit.Event{created}))
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// Apply creates or updates the account that is declared and reports whether
// anything changed. Applying the same again changes nothing: a declared password
// that verifies against the stored hash is no change, and neither is a declared
// hash that a sign-in has replaced by a better one of the same password. A
// password that does change ends the account's sessions with password_changed,
// disabling ends them with disabled. A password that its owner changed since is
// set back to the declared one. An account that is found by the declared
// user name as its e-mail address is another account: Conflict. Other errors are
// those of Create, but a declared password may be on a list of breached ones: the
// same declaration must do tomorrow, under a longer list, what it did today. Who
// applies it can ask IsBreached, and say so.
func (d *Directory) Apply(ctx context.Context, want Declared) (changed bool, err error) {
	err = CheckUsername(want.Username)
	if err != nil {
		return false, err
	}
	name := Canonical(want.Username)
	found, err := d.Store.ByLogin(ctx, name)
	if errors.Is(err, ErrNotFound) {
		_, err = d.create(ctx, want)
		return err == nil, err
	}
	if err != nil {
		return false, fault.Down(err)
	}
	if Canonical(found.Username) != name {
		return false, fault.New(fault.Conflict, "the declared user name is another account's e-mail address")
	}
	_, err = d.change(ctx, found.ID, func(was User) (Change, error) {
		changed = false
		next, err := want.onto(was)
		if err != nil {
			return Change{}, err
		}
		next.PasswordHash, err = d.declaredHash(ctx, was.PasswordHash, want)
		switch {
		case err != nil:
			return Change{}, err
		case next == was:
			return Change{}, errNothing
		}
		c := Change{Next: next}
		if next.PasswordHash != was.PasswordHash {
			c.Ends = fault.PasswordChanged
		}
		if next.Disabled && !was.Disabled {
			c.Ends = fault.Disabled
		}
		changed = true
		return c, nil
	})
	return changed && err == nil, err
}

// declaredHash is the hash the account should have: the one it has when that
// fulfils what is declared.
func (d *Directory) declaredHash(ctx context.Context, has string, want Declared) (string, error) {
	if want.PasswordHash != "" {
		if replaced(want.PasswordHash, has) {
			return has, nil
		}
		return want.PasswordHash, nil
	}
	if want.Password.Empty() {
		return has, nil
	}
	if CheckHash(has) == nil {
		typed, err := prepare(want.Password)
		if err != nil {
			return "", err
		}
		ok, _, err := d.Hasher.verify(ctx, has, typed)
		if err != nil || ok {
			return has, err
		}
	}
	return d.newHash(ctx, want.Password)
}

// onto is the account u with what was declared, but for the password, which
// takes a Hasher.
func (want Declared) onto(u User) (User, error) {
	if want.Email != nil && Canonical(*want.Email) != Canonical(u.Email) {
		u.EmailVerified = false // that was another address
	}
	u.Username = want.Username
	set(&u.Email, want.Email)
	set(&u.EmailVerified, want.EmailVerified)
	set(&u.Number, want.Number)
	set(&u.Staff, want.Staff)
	set(&u.Superuser, want.Superuser)
	set(&u.Disabled, want.Disabled)
	want.Profile.apply(&u)
	switch {
	case !want.Password.Empty() && want.PasswordHash != "":
		return u, fault.New(fault.InvalidRequest, "password and password_hash are both declared; one of them is meant")
	case u.EmailVerified && u.Email == "":
		return u, fault.New(fault.InvalidRequest, "email_verified is declared without an e-mail address")
	case u.Number < 0:
		return u, fault.New(fault.InvalidRequest, "the account's number is negative")
	}
	if want.PasswordHash != "" {
		err := CheckHash(want.PasswordHash)
		if err != nil {
			return u, err
		}
	}
	if !want.Password.Empty() {
		err := CheckPassword(want.Password)
		if err != nil {
			return u, err
		}
	}
	err := checkNames(u.Username, u.Email)
	if err != nil {
		return u, err
	}
	return u, checkProfile(u)
}

// checkNames checks the two names of one account. A user name that looks like an
// e-mail address must be the account's own, or it would lie in wait for the
// owner of that address (LOGIN-10). Whether other accounts have the names only
// the store can tell.
func checkNames(username, email string) error {
	err := CheckUsername(username)
	if err != nil {
		return err
	}
	if email != "" {
		err := CheckEmail(email)
		if err != nil {
			return err
		}
	}
	if strings.Contains(username, "@") && Canonical(username) != Canonical(email) {
		return fault.New(fault.InvalidRequest, "a user name with an @ must be the account's own e-mail address")
	}
	return nil
}

// checkProfile bounds what people are called. Control characters have no place
// in a name that is shown on pages and written to logs.
func checkProfile(u User) error {
	for _, s := range []string{u.Name, u.GivenName, u.FamilyName} {
		if len(s) > MaxProfile || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return fault.Newf(fault.InvalidRequest, "the name of a person is text of at most %d bytes without control characters", MaxProfile)
		}
	}
	return nil
}
