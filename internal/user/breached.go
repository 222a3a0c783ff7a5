package user

import (
	"crypto/sha1"
	"slices"

	"golang.org/x/text/unicode/norm"

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

// IsBreached reports whether a password is on the list. Lists are made of what
// people typed, in the spelling of their keyboards, and here all of these spellings
// are one password (see prepare). So it is looked for as it was typed, composed (NFC)
// and decomposed (NFD). Without a list no password is breached. What no account can
// have is on no list. The error is the list's.
func (d *Directory) IsBreached(password secret.Text) (bool, error) {
	if d.Breached == nil {
		return false, nil
	}
	t, err := prepare(password)
	if err != nil {
		return false, nil
	}
	spellings := []string{t.prepared, t.raw, norm.NFD.String(t.prepared)}
	slices.Sort(spellings)
	for _, s := range slices.Compact(spellings) {
		listed, err := d.Breached.Has(sha1.Sum([]byte(s)))
		if err != nil || listed {
			return listed, err
		}
	}
	return false, nil
}
