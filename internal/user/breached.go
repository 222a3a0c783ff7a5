package user

import (
	"crypto/sha1"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
)

// Breached tells whether the SHA-1 of a password is on a list of those that
// became known. An error is no answer. It must be safe for concurrent use.
type Breached interface {
	Has(sum [sha1.Size]byte) (bool, error)
}

// CheckNew reports what is wrong with a password that a person wants to have, as
// a *fault.Error: InvalidRequest for what CheckPassword refuses and for a password
// that is on the list of breached ones (NIST SP 800-63B-4 section 3.1.1.2), and
// Unavailable when there is a list and it cannot be asked. It costs no hash.
//
// A list that fails refuses, because whoever configured one wants no password
// past it; only new passwords wait for it, never a sign-in.
func (d *Directory) CheckNew(password secret.Text) error {
	err := CheckPassword(password)
	if err != nil {
		return err
	}
	listed, err := d.IsBreached(password)
	if err != nil {
		return &fault.Error{Kind: fault.Unavailable, RetryAfter: fault.RetrySoon, Cause: err,
			Words: "the server cannot compare new passwords with its list of breached ones right now, and changed nothing; repeat the same request later"}
	}
	if listed {
		return fault.New(fault.InvalidRequest, "this password became known in a breach of some service, so that guessers try it; "+
			"choose another one, and change it wherever else it is used")
	}
	return nil
}

// IsBreached reports whether a password is on the list, in the one spelling it is
// hashed in here (see prepare) or as it was typed, because others hashed and lost
// it as it was typed. Without a list no password is. What no account can have is
// on no list. The error is the list's.
func (d *Directory) IsBreached(password secret.Text) (bool, error) {
	if d.Breached == nil {
		return false, nil
	}
	t, err := prepare(password)
	if err != nil {
		return false, nil
	}
	listed, err := d.Breached.Has(sha1.Sum([]byte(t.prepared)))
	if err != nil || listed || t.raw == t.prepared {
		return listed, err
	}
	return d.Breached.Has(sha1.Sum([]byte(t.raw)))
}
