package user

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
)

// Limits of names.
const (
	// MaxUsername is in characters; Django and Open edX keep as many.
	MaxUsername = 150
	// MaxEmail is in bytes (RFC 5321 section 4.5.3.1.3, less the brackets), and
	// maxLocal what may stand before the @ (section 4.5.3.1.1).
	MaxEmail = 254
	maxLocal = 64
	// maxLabel is one label of a domain name, in bytes (RFC 1035 section 2.3.4).
	maxLabel = 63
)

// usernameMarks may stand in a user name beside letters, marks and digits. They
// are what Django allows.
const usernameMarks = "._-+@"

// scriptMixes are the scripts that people really write together: the "highly
// restrictive" level of Unicode TS 39 section 5.2.
var scriptMixes = [][]string{
	{"Latin", "Han", "Hiragana", "Katakana"},
	{"Latin", "Han", "Bopomofo"},
	{"Latin", "Han", "Hangul"},
}

// CheckUsername reports what is wrong with a user name somebody wants to have,
// as a *fault.Error of kind InvalidRequest.
//
// A user name has 1 to MaxUsername characters: letters, marks and digits of any
// language, and . _ - + @. White space, control and invisible characters are
// refused, also at the ends. Letters are of one script, or of a mix people
// really write (Latin with Japanese, Chinese or Korean), so that no Cyrillic
// letter hides in a Latin name. A name written wholly in letters of another
// script that look Latin is a name of that script and is allowed: only the
// canonical form decides who is who, and pages show the e-mail address beside
// the name. A name with an @ has the shape of an e-mail address and must be the
// account's own (see Directory.Create).
func CheckUsername(name string) error {
	if !utf8.ValidString(name) {
		return fault.New(fault.InvalidRequest, "the user name is not valid UTF-8")
	}
	if n := utf8.RuneCountInString(name); n == 0 || n > MaxUsername {
		return fault.Newf(fault.InvalidRequest, "a user name has 1 to %d characters", MaxUsername)
	}
	plain := norm.NFKC.String(name) // a ligature or a styled letter stands for plain ones
	solid := false
	for _, r := range name + plain {
		letter := unicode.In(r, unicode.L, unicode.Nd)
		solid = solid || letter
		if invisible(r) || !letter && !unicode.Is(unicode.M, r) && !strings.ContainsRune(usernameMarks, r) {
			return fault.Newf(fault.InvalidRequest, "a user name has letters, digits and any of %s, no spaces; %U is none of them", usernameMarks, r)
		}
	}
	if !solid {
		return fault.New(fault.InvalidRequest, "a user name has at least one letter or digit")
	}
	if Canonical(name) == "" {
		return fault.New(fault.InvalidRequest, "the user name is too long")
	}
	if scripts := scriptsOf(plain); !oneHand(scripts) {
		return fault.Newf(fault.InvalidRequest, "a user name is written in one script; this one mixes %s", strings.Join(scripts, " and "))
	}
	if _, err := id.ParseUser(Canonical(name)); err == nil { // an operator may name an account by either
		return fault.New(fault.InvalidRequest, "a user name cannot have the form of an account's id")
	}
	if strings.Contains(name, "@") && CheckEmail(name) != nil {
		return fault.New(fault.InvalidRequest, "a user name with an @ must be the account's own e-mail address")
	}
	return nil
}

// scriptsOf lists the scripts of the letters in s, in order of appearance.
// Characters that every script uses count for none.
func scriptsOf(s string) (names []string) {
	for _, r := range s {
		seen := func(name string) bool { return unicode.Is(unicode.Scripts[name], r) }
		if unicode.In(r, unicode.Common, unicode.Inherited) || slices.ContainsFunc(names, seen) {
			continue
		}
		for name := range unicode.Scripts {
			if seen(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// oneHand reports whether one person writes these scripts in one word.
func oneHand(scripts []string) bool {
	within := func(mix []string) bool {
		return !slices.ContainsFunc(scripts, func(s string) bool { return !slices.Contains(mix, s) })
	}
	return len(scripts) <= 1 || slices.ContainsFunc(scriptMixes, within)
}

// CheckEmail reports what is wrong with an e-mail address, as a *fault.Error of
// kind InvalidRequest. Whether anybody reads mail there only a mail can tell.
//
// The shape is the plain one of RFC 5321 section 4.1.2: a dot-string in ASCII, one
// @, a domain name with at least two labels. Quoted local parts, comments and
// addresses of bare IP numbers are refused; a domain in another script is
// written in its xn-- form, so that it cannot look like another one.
func CheckEmail(address string) error {
	wrong := fault.New(fault.InvalidRequest, "this is not an e-mail address like name@example.org")
	if len(address) > MaxEmail {
		return fault.Newf(fault.InvalidRequest, "an e-mail address has at most %d characters", MaxEmail)
	}
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" || len(local) > maxLocal {
		return wrong
	}
	for part := range strings.SplitSeq(local, ".") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return !atom(r) }) {
			return wrong
		}
	}
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return wrong
	}
	for _, l := range labels {
		if l == "" || len(l) > maxLabel || l[0] == '-' || l[len(l)-1] == '-' || strings.ContainsFunc(l, func(r rune) bool { return !alphanumeric(r) && r != '-' }) {
			return wrong
		}
	}
	if top := labels[len(labels)-1]; !strings.ContainsFunc(top, func(r rune) bool { return r > '9' }) {
		return wrong // all digits: an IP number
	}
	return nil
}

func alphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// atom reports whether r is atext (RFC 5322 section 3.2.3).
func atom(r rune) bool { return alphanumeric(r) || strings.ContainsRune("!#$%&'*+/=?^_`{|}~-", r) }
