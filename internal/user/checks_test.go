package user

import (
	"strings"
	"testing"

	"holdfast.example/internal/fault"
)

// TestUsernames is the part of LOGIN-10 that a name alone decides.
func TestUsernames(t *testing.T) {
	for name, good := range map[string]bool{
		"alice": true, "Alice": true, "a": true, "a.b_c-d+e": true, "42": true,
		"alice@example.org":              true, // the shape; Create asks whose it is
		"jos\u00e9":                      true,
		"Jose\u0301":                     true,
		"\u0410\u043b\u0438\u0441\u0430": true, // Alisa in Cyrillic
		"\u30a2\u30ea\u30b9alice\u5b50":  true, // Katakana, Latin and Han
		"alice\uc568":                    true, // Latin and Hangul
		"\uff41\uff4c\uff49":             true, // full width: the same canonical name as its twin
		"\u0661\u0662":                   true, // Arabic-Indic digits

		"":                                      false,
		"alice ":                                false,
		" alice":                                false,
		"al ice":                                false,
		"al\u00a0ice":                           false,
		"al\x00ice":                             false,
		"alice\n":                               false,
		"al\x1b[31mice":                         false,
		"al\u200bice":                           false, // zero-width space
		"al\u202eice":                           false, // right-to-left override
		"al\ufe0fice":                           false, // variation selector
		"al\u034fice":                           false, // combining grapheme joiner
		"\u0430lice":                            false, // Cyrillic a in a Latin name
		"\u03b1lice":                            false, // Greek alpha
		"\uff41\u0430":                          false, // full-width Latin and Cyrillic
		"\u3042\ud55c":                          false, // Hiragana and Hangul
		"a\xff":                                 false,
		"a\ufffd":                               false,
		"...":                                   false,
		"\u0301":                                false, // a mark on nothing
		"al/ice":                                false,
		"usr_qij6cxmuypobauvew6v3zdsd3e":        false, // the id of an account, ADMIN-03
		"USR_qij6cxmuypobauvew6v3zdsd3e":        false,
		"usr_alice":                             true,
		"<alice>":                               false,
		"\ufdfa":                                false, // one letter that stands for three words
		"alice@":                                false,
		"alice@host":                            false,
		"alice\uff20x.org":                      false, // full-width @
		"a@b@example.org":                       false,
		strings.Repeat("a", MaxUsername):        true,
		strings.Repeat("a", MaxUsername+1):      false,
		strings.Repeat("\u5b50", MaxUsername):   true,
		strings.Repeat("\u5b50", MaxUsername+1): false,
	} {
		err := CheckUsername(name)
		if (err == nil) != good {
			t.Errorf("CheckUsername(%+q) = %v, want good %v", name, err, good)
		}
		if err != nil && !fault.Is(err, fault.InvalidRequest) {
			t.Errorf("CheckUsername(%+q) is a %T", name, err)
		}
		if good && Canonical(name) == "" {
			t.Errorf("%+q is a good name without a canonical form", name)
		}
	}
}

func TestEmails(t *testing.T) {
	label := strings.Repeat("d", maxLabel)
	for address, good := range map[string]bool{
		"demo@example.com": true, "Demo.User+tag@Example.Com": true, "a@b.co": true, "o'hara@example.org": true,
		"x@xn--bcher-kva.example": true, "1@1.museum": true,
		strings.Repeat("l", maxLocal) + "@example.org": true,
		"a@" + label + ".org":                          true,

		"": false, "@": false, "a@": false, "@b.co": false, "a": false, "a@b": false, "a@b.": false, "a@.co": false,
		"a@b..co": false, "a b@c.de": false, "a@b .co": false, " a@b.co": false, "a@b.co ": false, "a@b.co\n": false,
		"a..b@c.de": false, ".a@c.de": false, "a.@c.de": false, "\"a b\"@c.de": false, "a@b@c.de": false,
		"a@[127.0.0.1]": false, "a@127.0.0.1": false, "a@-b.co": false, "a@b-.co": false, "a@b_c.co": false,
		"a@b\u00fccher.example": false, "\u0430@example.org": false, "a\uff20example.org": false, "a@b.co\x00": false,
		"a@b.co, c@d.ef":        false, // header injection
		"a@b.co\r\nBcc: x@y.zz": false,
		strings.Repeat("l", maxLocal+1) + "@example.org": false,
		"a@" + label + "d.org":                           false,
		"a@" + strings.Repeat(label+".", 4) + "org":      false,
	} {
		err := CheckEmail(address)
		if (err == nil) != good {
			t.Errorf("CheckEmail(%+q) = %v, want good %v", address, err, good)
		}
		if err != nil && !fault.Is(err, fault.InvalidRequest) {
			t.Errorf("CheckEmail(%+q) is a %T", address, err)
		}
	}
}
