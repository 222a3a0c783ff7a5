package user

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/secret"
)

// Limits of passwords.
const (
	// MaxPassword is in bytes as typed; a longer one is refused before any work
	// is done on it. All of the bytes count: nothing is cut off.
	MaxPassword = 1024
	// MinPassword is in characters and holds for newly set passwords only
	// (NIST SP 800-63B-4 section 3.1.1.2 asks for it where another factor exists;
	// an attempt limit stands in front of every guess here).
	MinPassword = 8
)

// typed is a password as a hash takes it.
type typed struct {
	// prepared is the one spelling of what was meant; see prepare.
	prepared string
	// raw is what was typed. Systems that did not prepare hashed this.
	raw string
}

// prepare brings a password to one spelling, so that one typed on another
// keyboard is the same password: the mapping of OpaqueString (RFC 8265 section
// 4.2.2). Spaces of other scripts become U+0020 and the text is normalised to
// NFC. Case, width and spaces at the ends are kept: full-width digits are
// another password.
//
// Unlike OpaqueString it takes code points that this server's Unicode tables do
// not know yet, because a phone's newest emoji is a fine password. NUL is
// refused, since some of the hashes stop reading there.
//
// Errors are *fault.Error of kind InvalidRequest and do not depend on any
// account.
func prepare(password secret.Text) (typed, error) {
	raw := password.Reveal()
	if len(raw) > MaxPassword {
		return typed{}, fault.Newf(fault.InvalidRequest, "the password is longer than %d bytes", MaxPassword)
	}
	if strings.ContainsRune(raw, 0) {
		return typed{}, fault.New(fault.InvalidRequest, "the password contains a NUL character")
	}
	spaced := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}, raw)
	return typed{norm.NFC.String(spaced), raw}, nil
}

// CheckPassword reports what is wrong with a password somebody wants to set, as
// a *fault.Error of kind InvalidRequest: too short, too long, not UTF-8, or
// holding control characters, which nobody can type again (RFC 8264 section
// 4.3). It asks for no mix of letters and digits (NIST SP 800-63B-4).
func CheckPassword(password secret.Text) error {
	t, err := prepare(password)
	if err != nil {
		return err
	}
	if !utf8.ValidString(t.raw) {
		return fault.New(fault.InvalidRequest, "the password is not valid UTF-8")
	}
	if strings.ContainsFunc(t.raw, unicode.IsControl) {
		return fault.New(fault.InvalidRequest, "the password contains a control character")
	}
	if utf8.RuneCountInString(t.prepared) < MinPassword {
		return fault.Newf(fault.InvalidRequest, "the password is too short; it needs at least %d characters", MinPassword)
	}
	return nil
}
