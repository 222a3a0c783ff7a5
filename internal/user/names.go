package user

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// MaxCanonical is the longest canonical name in bytes; a longer one belongs to
// nobody. It leaves room for the longest user name in four-byte letters and
// for the longest e-mail address.
const MaxCanonical = 1024

// canonicalRounds bounds the search for the fixed point in Canonical. One round
// settles most strings, and a second one every string the tests could find.
const canonicalRounds = 4

// Canonical is the one form a user name or an e-mail address is found by,
// stored by and counted by. Both share one name space, so an account's user
// name can never be another account's e-mail address.
//
// It is Unicode's toNFKC_Casefold with white space trimmed: Alice, ALICE,
// "alice ", the full-width twin and a twin with invisible characters all give
// "alice". Canonical(Canonical(s)) is Canonical(s). A name that is too long to
// belong to anybody, or holds a NUL, which PostgreSQL takes in no text, gives "",
// which names nobody. Bytes that are not UTF-8
// become U+FFFD, which CheckUsername and CheckEmail refuse.
//
// The whole e-mail address is folded, its local part too: no mail provider in
// use tells Bob@ from bob@, and an account that differs from another only by
// that is a trap (RFC 5321 section 2.4 warns senders of exactly this).
func Canonical(name string) string {
	if len(name) > MaxCanonical || strings.ContainsRune(name, 0) {
		return ""
	}
	s := strings.ToValidUTF8(name, string(utf8.RuneError))
	for range canonicalRounds {
		next := foldOnce(s)
		if next == s {
			break
		}
		s = next
	}
	if len(s) > MaxCanonical {
		return ""
	}
	return s
}

// foldOnce normalises, folds case, drops what cannot be seen and trims. Folding
// can denormalise and dropping can bring a combining mark to a new neighbour,
// so it normalises on both sides.
func foldOnce(s string) string {
	s = cases.Fold().String(norm.NFKC.String(s))
	s = strings.Map(func(r rune) rune {
		switch {
		case invisible(r):
			return -1
		case unicode.Is(unicode.Cherokee, r): // folds to upper case; cases.Fold swaps its cases instead
			return unicode.ToUpper(r)
		}
		return r
	}, s)
	return strings.TrimSpace(norm.NFKC.String(s))
}

// invisible reports whether r is drawn as nothing: Unicode's
// Default_Ignorable_Code_Point, taken a little wider (all format characters).
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}
