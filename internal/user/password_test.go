package user

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdfast.example/internal/fault"
)

// TestPasswordSpelling is LOGIN-09: which spellings are one password.
func TestPasswordSpelling(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"p\u00e4ssword", "pa\u0308ssword", true},                               // NFC and NFD
		{"\u1100\u1161\u11a8", "\uac01", true},                                  // Hangul letters and syllable
		{"two words here", "two\u00a0words\u3000here", true},                    // spaces of other scripts
		{"12345678", "\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18", false}, // full-width digits
		{" password", "password", false},
		{"password ", "password", false},
		{"Password", "password", false},
		{"\ufb01le-name", "file-name", false}, // compatibility forms stay apart
	} {
		a, errA := prepare(pass(c.a))
		b, errB := prepare(pass(c.b))
		if errA != nil || errB != nil || (a.prepared == b.prepared) != c.same {
			t.Errorf("%+q and %+q: %+q and %+q, want same %v", c.a, c.b, a.prepared, b.prepared, c.same)
		}
		if a.raw != c.a {
			t.Errorf("%+q was changed to %+q", c.a, a.raw)
		}
	}
}

func TestPreparingTwiceIsPreparingOnce(t *testing.T) {
	runes := rapid.RuneFrom([]rune("a \u00a0\u3000\u0301\u0308\u00e4\u1100\u1161\u11a8\U0001f512\ufb01"))
	rapid.Check(t, func(t *rapid.T) {
		once, err := prepare(pass(rapid.StringOf(runes).Draw(t, "password")))
		if err != nil {
			t.Skip("too long")
		}
		twice, err := prepare(pass(once.prepared))
		if err == nil && twice.prepared != once.prepared {
			t.Fatalf("%+q becomes %+q", once.prepared, twice.prepared)
		}
	})
}

// TestNewPasswords: which passwords may be set (LOGIN-08, LOGIN-09).
func TestNewPasswords(t *testing.T) {
	for password, good := range map[string]bool{
		"12345678": true,
		"        ": true, // spaces count
		"\U0001f512\U0001f511\U0001fae9\U0001f512\U0001f511\U0001fae9\U0001f512\U0001f511": true,
		strings.Repeat("\u00e9", 8):        true,
		strings.Repeat("x", MaxPassword):   true,
		strings.Repeat("x", MaxPassword+1): false,
		"":                                 false,
		"1234567":                          false,
		strings.Repeat("e\u0301", 7):       false, // seven characters, whatever their spelling
		"pass\x00word":                     false,
		"pass\nword1":                      false,
		"pass\u0085word":                   false,
		"password\xff":                     false,
	} {
		err := CheckPassword(pass(password))
		if (err == nil) != good {
			t.Errorf("CheckPassword(%+q) = %v, want good %v", password, err, good)
		}
		if err != nil {
			kind(t, err, fault.InvalidRequest)
		}
	}
}
