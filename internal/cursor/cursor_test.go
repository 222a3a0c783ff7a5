package cursor_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"holdfast.example/internal/cursor"
	"holdfast.example/internal/fault"
)

// sealer has the shape of key.Ring's sealing, under one key.
type sealer struct{ aead cipher.AEAD }

func keys(t testing.TB, secret byte) sealer {
	t.Helper()
	block, err := aes.NewCipher(slices.Repeat([]byte{secret}, 32))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{aead}
}

func (s sealer) SealOpaque(plain []byte) []byte { return s.aead.Seal(nil, nil, plain, nil) }

func (s sealer) OpenOpaque(sealed []byte) ([]byte, bool) {
	b, err := s.aead.Open(nil, nil, sealed, nil)
	return b, err == nil
}

func TestACursorIsGoodForItsList(t *testing.T) {
	k := keys(t, 1)
	for _, place := range []string{"", "x", "\x00\x01\x02", strings.Repeat("p", 100)} {
		for _, list := range []string{"", "events of usr_a", strings.Repeat("l", 150)} {
			c := cursor.Seal(k, list, []byte(place))
			got, err := cursor.Open(k, list, c)
			if err != nil || string(got) != place || len(c) > cursor.Max {
				t.Errorf("%q of %q: %q %v", place, list, got, err)
			}
		}
	}
}

// TestForgedCursors (ADMIN-08): a cursor that is forged, flipped, cut, spelt in
// another way, of another list or of other keys is refused.
func TestForgedCursors(t *testing.T) {
	k := keys(t, 1)
	good := cursor.Seal(k, "list of a", []byte("place"))
	raw, _ := base64.RawURLEncoding.DecodeString(good)
	other := func(list, place string) string { return cursor.Seal(k, list, []byte(place)) }
	sealed := func(plain string) string { return base64.RawURLEncoding.EncodeToString(k.SealOpaque([]byte(plain))) }
	forged := map[string]string{
		"empty": "", "text": "1", "SQL": "' OR 1=1 --", "padded": good + "=", "a line break": good[:4] + "\n" + good[4:],
		"cut": good[:len(good)-1], "longer": good + "AAAA", "another list": other("list of b", "place"),
		"the border moved": other("list of ap", "lace"), "a shorter list": other("list of ", "aplace"), "other keys": cursor.Seal(keys(t, 2), "list of a", []byte("place")),
		"an access token": sealed(`{"iss":"http://id.test"}`), "only the label": sealed("holdfast cursor 1\x00"), "too long a list": sealed("holdfast cursor 1\x00\xff\xffx"),
		"long": strings.Repeat("A", cursor.Max+1), "standard alphabet": strings.NewReplacer("-", "+", "_", "/").Replace(good) + "+",
	}
	for i := range raw {
		flipped := slices.Clone(raw)
		flipped[i] ^= 1
		forged["flipped "+string(rune('a'+i))] = base64.RawURLEncoding.EncodeToString(flipped)
	}
	for name, c := range forged {
		_, err := cursor.Open(k, "list of a", c)
		if !fault.Is(err, fault.InvalidRequest) {
			t.Errorf("%s (%q): %v", name, c, err)
		}
	}
	if _, err := cursor.Open(k, "list of a", good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// FuzzOpen: nothing that a caller sends crashes it or is taken, but what was sealed.
func FuzzOpen(f *testing.F) {
	k := keys(f, 1)
	good := cursor.Seal(k, "list", []byte("place"))
	f.Add(good)
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		place, err := cursor.Open(k, "list", text)
		if err == nil && (text != good || string(place) != "place") {
			t.Fatalf("%q was taken", text)
		}
	})
}
