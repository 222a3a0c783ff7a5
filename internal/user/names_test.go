package user

import (
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"alice", "alice"}, {"Alice", "alice"}, {"ALICE", "alice"}, {"alice ", "alice"}, {"\t alice\r\n", "alice"},
		{"\u00a0alice\u2003", "alice"},
		{"\uff41\uff4c\uff49\uff43\uff45", "alice"}, {"\uff21LICE", "alice"}, // full width
		{"\U0001d4d0lice", "alice"},                        // mathematical script A
		{"al\u200bice", "alice"}, {"al\u00adice", "alice"}, // zero-width space, soft hyphen
		{"Jose\u0301", "jos\u00e9"}, {"JOS\u00c9", "jos\u00e9"},
		{"Stra\u00dfe", "strasse"}, {"\ufb01n", "fin"}, {"\u212aelvin", "kelvin"},
		{"\u13a0\uab70\u13f8\u13f0", "\u13a0\u13a0\u13f0\u13f0"}, // Cherokee folds to its upper case
		{"Bob@Example.ORG", "bob@example.org"}, {"bob\uff20example.org", "bob@example.org"},
		{"", ""}, {" ", ""}, {"\u200b", ""},
		{"a\xffb", "a\ufffdb"}, {"al\x00ice", ""}, {"\x00", ""},
		{strings.Repeat("a", MaxCanonical), strings.Repeat("a", MaxCanonical)},
		{strings.Repeat("a", MaxCanonical+1), ""},
		{strings.Repeat("\ufdfa", 100), ""}, // one rune that normalises to 33 bytes
	} {
		if got := Canonical(c.in); got != c.want {
			t.Errorf("Canonical(%+q) = %+q, want %+q", c.in, got, c.want)
		}
	}
	// A Cyrillic twin is another name; CheckUsername refuses to mix scripts.
	if Canonical("\u0430lice") == "alice" {
		t.Error("Canonical must not guess at confusables")
	}
}

func TestCanonicalIsAFixedPoint(t *testing.T) {
	// Letters that fold to others, decompose, combine, vanish or expand.
	tricky := rapid.RuneFrom([]rune("aAsS \t\u00a0\u00a8\u00ad\u00df\u0130\u0131\u017f\u0301\u0307\u0327\u0345\u034f\u0390\u03c2\u03f4\u1e9e" +
		"\u1fb3\u1fbe\u200b\u200d\u2126\u212a\u3000\u3164\ufb01\ufb05\ufdfa\uff21\uff41\uff20\uffa0\U0001d4d0\U0001d15e\U000e0061"))
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.StringOf(tricky), rapid.String()).Draw(t, "name")
		once := Canonical(name)
		if twice := Canonical(once); twice != once {
			t.Fatalf("%+q becomes %+q, then %+q", name, once, twice)
		}
		if CheckUsername(name) == nil && once == "" {
			t.Fatalf("%+q is a good name without a canonical form", name)
		}
	})
}

// TestCaseNeverMakesAnotherName: all cases of every letter are one.
func TestCaseNeverMakesAnotherName(t *testing.T) {
	pairs := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		o := unicode.SimpleFold(r)
		if o == r {
			continue
		}
		pairs++
		if a, b := Canonical("x"+string(r)), Canonical("x"+string(o)); a != b {
			t.Errorf("%U gives %+q, %U gives %+q", r, a, o, b)
		}
	}
	if pairs < 2500 {
		t.Fatalf("only %d letters have cases", pairs)
	}
}
