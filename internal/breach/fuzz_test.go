package breach

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"testing"
)

// readPlainly reads a list the plain way: every line, from the first to the last. ok is
// false for what is no list in order.
func readPlainly(text string) (members map[Hash]bool, ok bool) {
	members = map[Hash]bool{}
	lines := strings.Split(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	last := ""
	ok = len(lines) > 0
	for _, line := range lines {
		digits, count, counted := strings.Cut(strings.TrimSuffix(line, "\r"), ":")
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != sha1.Size || counted && (count == "" || len(count) > maxCount || strings.Trim(count, "0123456789") != "") {
			ok = false
			continue
		}
		ok = ok && string(b) >= last
		last = string(b)
		members[Hash(b)] = true
	}
	return members, ok
}

// FuzzSearch asks any file for a hash. What is a list in order answers truly,
// and what is not never claims a hash that no line holds.
func FuzzSearch(f *testing.F) {
	f.Add([]byte("5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:3\r\n"), []byte("password"), uint16(1))
	f.Add([]byte("0000000000000000000000000000000000000000\n5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8"), []byte("password"), uint16(0))
	f.Add([]byte("5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:3\r\n"), []byte("other"), uint16(400))
	f.Add([]byte("no list\n"), []byte(""), uint16(900))
	f.Add([]byte{}, []byte("x"), uint16(3))
	f.Fuzz(func(t *testing.T, piece, password []byte, times uint16) {
		// Repeated, so that files longer than one window are met.
		text := string(bytes.Repeat(piece, 1+int(times)%512))
		if len(text) > 1<<17 {
			t.Skip("longer tells nothing more")
		}
		members, ordered := readPlainly(text)
		r, size := strings.NewReader(text), int64(len(text))
		err := check(r, size)
		if (err == nil) != ordered {
			t.Fatalf("check says %v of a list that is in order: %v", err, ordered)
		}
		ask := []Hash{sha1.Sum(password), {}}
		for h := range members {
			ask = append(ask, h)
			if len(ask) > 8 {
				break
			}
		}
		for _, h := range ask {
			found, err := search(r, size, h)
			switch {
			case found && !members[h]:
				t.Fatalf("%X is found and on no line", h)
			case ordered && (err != nil || found != members[h]):
				t.Fatalf("%X: found %v, %v; want %v", h, found, err, members[h])
			}
		}
	})
}
