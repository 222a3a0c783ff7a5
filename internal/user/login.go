package user

import (
	"context"
	"errors"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/secret"
)

// Directory is what the house asks about accounts. Its fields are set once,
// before use; its methods are safe for concurrent use.
type Directory struct {
	Store  Store
	Hasher *Hasher
	// Now is the time that rows are stamped with.
	Now func() time.Time
	// EntryLife is how long followers of revocations must remember that an
	// account's tokens ended (feed.Life).
	EntryLife time.Duration
	// Breached, if set, is asked about every password that somebody wants to set,
	// and about none that somebody signs in with; see CheckNew.
	Breached Breached
	// RehashFailed, if set, is told when a proved password could not be stored
	// under a better hash. The sign-in goes on; the next one tries again.
	RehashFailed func(u id.User, err error)
	// Ended, if set, is told when a change ended the account's sessions, after it was
	// durable: for which reason, and the epoch that did it.
	Ended func(ctx context.Context, u id.User, why fault.Reason, epoch uint32)
}

// Why a sign-in was refused. They are the private cause of the one answer that
// everybody gets, for the audit; no door may tell them apart.
var (
	ErrUnknown       = errors.New("user: no such account")
	ErrDisabled      = errors.New("user: the account is disabled")
	ErrNoPassword    = errors.New("user: the account has no usable password")
	ErrWrongPassword = errors.New("user: wrong password")
)

// Candidate is who a sign-in says it is, before any proof.
type Candidate struct {
	user  User
	found bool
	key   string
}

// Key is what failed attempts are counted by: one for all names of an account
// (LOGIN-06), and the canonical name where there is no account, so that a name
// nobody has is slowed down like any other. It is never shown to anybody.
func (c Candidate) Key() string { return c.key }

// ID is whose account it would be, zero when there is none. Look at it only in
// ways that cost the same for the zero id, and answer the same.
func (c Candidate) ID() id.User { return c.user.ID }

// Find looks up who goes by a user name or e-mail address, in any spelling. It
// is no error that nobody does. Errors are *fault.Error of kind Unavailable.
func (d *Directory) Find(ctx context.Context, login string) (Candidate, error) {
	name := Canonical(login)
	c := Candidate{key: "name:" + name}
	if name == "" {
		return c, nil
	}
	u, err := d.Store.ByLogin(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return c, fault.Down(err)
	}
	return candidate(u), nil
}

// Known is the candidate for an account that somebody already is signed in to,
// to prove its password again. Errors are *fault.Error: NotFound or Unavailable.
func (d *Directory) Known(ctx context.Context, who id.User) (Candidate, error) {
	u, err := d.Get(ctx, who)
	if err != nil {
		return Candidate{}, err
	}
	return candidate(u), nil
}

func candidate(u User) Candidate {
	return Candidate{user: u, found: true, key: "user:" + u.ID.String()}
}

// Authenticate is Find and Prove in one.
func (d *Directory) Authenticate(ctx context.Context, login string, password secret.Text) (User, error) {
	c, err := d.Find(ctx, login)
	if err != nil {
		return User{}, err
	}
	return d.Prove(ctx, c, password)
}

// Prove checks the candidate's password. An account that does not exist, is
// disabled or has no usable password, an empty password and a wrong one all cost
// one hash and get the same answer: InvalidGrant, with the difference in its
// private cause. (An account whose hash came from another system costs what that
// hash costs, until its first sign-in here replaces it.) A password that cannot
// be one is InvalidRequest, whoever the candidate is and before any hash; a full
// line before the hash is Busy.
//
// The User is the row that was read before the password was checked. Its Epoch
// is what the sign-in must be opened with: if the password is changed or the
// account disabled meanwhile, that epoch is behind and the session does not open.
func (d *Directory) Prove(ctx context.Context, c Candidate, password secret.Text) (User, error) {
	typed, err := prepare(password)
	if err != nil {
		return User{}, err
	}
	usable := c.found && CheckHash(c.user.PasswordHash) == nil
	var ok, replace bool
	if usable {
		ok, replace, err = d.Hasher.verify(ctx, c.user.PasswordHash, typed)
	} else {
		err = d.Hasher.pretend(ctx, typed)
	}
	switch {
	case err != nil:
		return User{}, err
	case !c.found:
		return User{}, refused(ErrUnknown)
	case !usable:
		return User{}, refused(ErrNoPassword)
	case !ok || password.Empty():
		return User{}, refused(ErrWrongPassword)
	case c.user.Disabled:
		return User{}, refused(ErrDisabled)
	}
	if replace {
		d.rehash(ctx, c.user, typed)
	}
	return c.user, nil
}

// refused is the one answer to every sign-in that does not hold.
func refused(cause error) error {
	return fault.Wrap(fault.InvalidGrant, cause, "the user name or the password is wrong")
}

// rehash stores a proved password under today's hash. It is a by-product: when
// it fails the sign-in goes on. Of several at once one wins by compare-and-swap,
// and the others find that the hash they verified is gone and leave it at that,
// so a password that was changed meanwhile stays changed.
func (d *Directory) rehash(ctx context.Context, proved User, password typed) {
	hash, err := d.Hasher.hashSalted(ctx, password, heirSalt(proved.PasswordHash))
	if err == nil {
		_, err = d.change(ctx, proved.ID, func(u User) (Change, error) {
			if u.PasswordHash != proved.PasswordHash {
				return Change{}, errNothing
			}
			u.PasswordHash = hash
			return Change{Next: u, Rehash: true}, nil
		})
	}
	if err != nil && d.RehashFailed != nil {
		d.RehashFailed(proved.ID, err)
	}
}
