package user

import (
	"strings"
	"testing"

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
		{"Bob@Example.ORG", "bob@example.org"}, {"bob\uff20example.org", "bob@example.org"},
		{"", ""}, {" ", ""}, {"\u200b", ""},
		{"a\xffb", "a\ufffdb"},
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
	rapid.Check(t, func(t *rapid.T) {
		once := Canonical(rapid.String().Draw(t, "name"))
		if twice := Canonical(once); twice != once {
			t.Fatalf("%+q becomes %+q", once, twice)
		}
	})
}
