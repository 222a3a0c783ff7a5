package breach

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// write puts a list on the disk.
func write(t testing.TB, text string) List {
	t.Helper()
	l := List{Path: filepath.Join(t.TempDir(), "breached.txt")}
	err := os.WriteFile(l.Path, []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// style is one way to write a list.
type style struct {
	counts, crlf, lower, open bool // open: no end of line at the end of the file
}

// text writes hashes as they come.
func (s style) text(hashes []Hash) string {
	var b strings.Builder
	for i, h := range hashes {
		line := hex.EncodeToString(h[:])
		if !s.lower {
			line = strings.ToUpper(line)
		}
		b.WriteString(line)
		if s.counts {
			b.WriteString(":" + strconv.Itoa(i*i*i+1)) // lines of different lengths
		}
		if s.crlf {
			b.WriteByte('\r')
		}
		b.WriteByte('\n')
	}
	if s.open {
		return strings.TrimSuffix(strings.TrimSuffix(b.String(), "\n"), "\r")
	}
	return b.String()
}

func sorted(hashes []Hash) []Hash {
	slices.SortFunc(hashes, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
	return hashes
}

// TestEveryMemberIsFound (LOGIN-11): in lists of every style and length each
// member is found, the first and the last as well, and nothing else: not the
// neighbours of members either.
func TestEveryMemberIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(1, 4), rapid.IntRange(80, 120), rapid.IntRange(200, 400)).Draw(t, "lines")
		seed := rapid.Uint64().Draw(t, "seed")
		s := style{rapid.Bool().Draw(t, "counts"), rapid.Bool().Draw(t, "CRLF"), rapid.Bool().Draw(t, "lower case"), rapid.Bool().Draw(t, "open end")}
		hashes := make([]Hash, n)
		for i := range hashes {
			hashes[i] = sha1.Sum(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, seed), uint64(i)))
		}
		text := s.text(sorted(hashes))
		f, size := strings.NewReader(text), int64(len(text))
		err := check(f, size)
		if err != nil {
			t.Fatalf("a good list of %d bytes: %v", size, err)
		}
		member := map[Hash]bool{}
		for _, h := range hashes {
			member[h] = true
		}
		ask := func(h Hash) {
			found, err := search(f, size, h)
			if err != nil || found != member[h] {
				t.Fatalf("%X of %d lines: found %v, %v", h, n, found, err)
			}
		}
		ask(Hash{})
		ask(Hash(bytes.Repeat([]byte{0xff}, len(Hash{}))))
		for i, h := range hashes {
			ask(h)
			if i%7 == 0 || i == n-1 {
				ask(beside(h, 1))
				ask(beside(h, -1))
			}
		}
	})
}

// beside is the hash so many steps up or down.
func beside(h Hash, step int64) (next Hash) {
	n := new(big.Int).SetBytes(h[:])
	n.Add(n, big.NewInt(step)).Mod(n, new(big.Int).Lsh(big.NewInt(1), 8*sha1.Size))
	n.FillBytes(next[:])
	return next
}

// TestLists: what is a list and what is not, and what a question to it answers.
func TestLists(t *testing.T) {
	password := sha1.Sum([]byte("password"))
	const (
		line  = "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8" // of "password"
		first = "0000000000000000000000000000000000000000"
		last  = "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF"
	)
	for _, c := range []struct {
		name, text string
		check      error
		found      bool
		has        error
	}{
		{"one line", line, nil, true, nil},
		{"a count", line + ":10434004\r\n", nil, true, nil},
		{"lower case", strings.ToLower(line) + "\n", nil, true, nil},
		{"between others", first + "\n" + line + "\n" + last + "\n", nil, true, nil},
		{"not there", first + ":1\n" + last + ":1\n", nil, false, nil},
		{"twice", line + "\n" + line + "\n", nil, true, nil},
		{"empty", "", ErrEmpty, false, ErrEmpty},
		{"descending", last + "\n" + first + "\n", ErrUnsorted, false, ErrUnsorted},
		{"a blank line", first + "\n\n" + last, ErrNoHash, false, ErrNoHash},
		{"a blank line at the end", line + "\n\n", ErrNoHash, true, nil},
		{"passwords", "123456\npassword\n", ErrNoHash, false, ErrNoHash},
		{"one digit less", first[1:] + "\n" + line, ErrNoHash, false, ErrNoHash},
		{"one digit more", first + "0\n", ErrNoHash, false, ErrNoHash},
		{"NTLM", first[:32] + ":3\n", ErrNoHash, false, ErrNoHash},
		{"SHA-256", first + first[:24] + "\n", ErrNoHash, false, ErrNoHash},
		{"no count behind the colon", first + ":\n", ErrNoHash, false, ErrNoHash},
		{"a count in words", first + ":many\n", ErrNoHash, false, ErrNoHash},
		{"a long count", first + ":" + strings.Repeat("9", maxCount) + "\n", nil, false, nil},
		{"an endless count", first + ":" + strings.Repeat("9", maxCount+1) + "\n", ErrNoHash, false, ErrNoHash},
		{"no lines", strings.Repeat("A", 3*window), ErrNoHash, false, ErrNoHash},
		{"a mark of UTF-8", "\ufeff" + line, ErrNoHash, false, ErrNoHash},
	} {
		l := write(t, c.text)
		err := l.Check()
		if !errors.Is(err, c.check) {
			t.Errorf("%s: check says %v, want %v", c.name, err, c.check)
		}
		found, err := l.Has(password)
		if found != c.found || !errors.Is(err, c.has) {
			t.Errorf("%s: found %v, %v; want %v, %v", c.name, found, err, c.found, c.has)
		}
	}
}

// TestNoFile: what is not there, or is no file, is an error.
func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"", dir, filepath.Join(dir, "missing"), os.DevNull} {
		_, err := List{Path: path}.Has(Hash{})
		if err == nil {
			t.Errorf("%q answers", path)
		}
		err = List{Path: path}.Check()
		if err == nil || (path == dir || path == os.DevNull) != errors.Is(err, errNoFile) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// TestReplaced: the list that an operator puts in the place of another one is asked
// from the next question on.
func TestReplaced(t *testing.T) {
	a, b := sha1.Sum([]byte("a")), sha1.Sum([]byte("b"))
	l := write(t, style{}.text([]Hash{a}))
	ask := func(h Hash, want bool) {
		t.Helper()
		found, err := l.Has(h)
		if err != nil || found != want {
			t.Errorf("%v %v, want %v", found, err, want)
		}
	}
	ask(a, true)
	ask(b, false)
	next := write(t, style{counts: true}.text([]Hash{b}))
	err := os.Rename(next.Path, l.Path)
	if err != nil {
		t.Fatal(err)
	}
	ask(a, false)
	ask(b, true)
}

// TestSamples: a large list is checked by samples, which no other order passes.
func TestSamples(t *testing.T) {
	hashes := make([]Hash, 3*samples*window/2/(2*sha1.Size+1)) // half as much again as is read
	for i := range hashes {
		hashes[i] = sha1.Sum(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	shuffled := style{}.text(hashes)
	good := style{}.text(sorted(hashes))
	half := len(good) / 2
	half -= half % (2*sha1.Size + 1)
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"in order", good, nil},
		{"in order, without the last LF", good[:len(good)-1], nil},
		{"by count", shuffled, ErrUnsorted},
		{"two lists", good[half:] + good[:half], ErrUnsorted},
		{"the last line out of place", good + good[:2*sha1.Size+1], ErrUnsorted},
		{"cut off in a line", good[:len(good)-7], ErrNoHash},
		{"something at its head", "# hashes\n" + good, ErrNoHash},
		{"no lines behind the first piece", good[:half] + strings.Repeat("A", half), ErrNoHash},
	} {
		err := check(strings.NewReader(c.text), int64(len(c.text)))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestDamageOnTheWay: a search that comes past a line out of order says so and
// does not answer; the error names no place, because the place tells the hash.
func TestDamageOnTheWay(t *testing.T) {
	hashes := make([]Hash, 1000)
	for i := range hashes {
		hashes[i] = sha1.Sum(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	sorted(hashes)
	wanted := hashes[250]
	slices.Reverse(hashes[:500])
	text := style{}.text(hashes)
	_, err := search(strings.NewReader(text), int64(len(text)), wanted)
	if !errors.Is(err, ErrUnsorted) {
		t.Fatalf("%v", err)
	}
	if err.Error() != ErrUnsorted.Error() {
		t.Errorf("%q says more than what is wrong", err)
	}
	short := strings.NewReader(text[:len(text)/3]) // cut off after its size was asked
	found, err := search(short, int64(len(text)), wanted)
	if found || err == nil {
		t.Errorf("a list that became shorter answers %v, %v", found, err)
	}
}

// vast is a list of any length without a disk: line i holds i times a step. It
// counts the reads.
type vast struct {
	lines int64
	reads int
}

const vastLine = 2*sha1.Size + 3 + 2 // ":17" and CRLF

func (v *vast) hash(i int64) (h Hash) {
	step := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 8*sha1.Size), big.NewInt(v.lines))
	step.Mul(step, big.NewInt(i)).FillBytes(h[:])
	return h
}

func (v *vast) ReadAt(b []byte, at int64) (n int, err error) {
	v.reads++
	for n < len(b) && at+int64(n) < v.lines*vastLine {
		i := at + int64(n)
		n += copy(b[n:], fmt.Sprintf("%X:17\r\n", v.hash(i/vastLine))[i%vastLine:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// TestVastLists: a search in 40 GB takes 25 reads at most, and one in the longest
// file there can be stays under its limit; the check at the start reads a MiB.
func TestVastLists(t *testing.T) {
	for size, most := range map[int64]int{40e9: 25, 1 << 62: maxReads} {
		v := &vast{lines: size / vastLine}
		for _, i := range []int64{0, 1, v.lines / 3, v.lines / 2, v.lines - 2, v.lines - 1} {
			for _, h := range []Hash{v.hash(i), beside(v.hash(i), 1)} {
				v.reads = 0
				found, err := search(v, v.lines*vastLine, h)
				if err != nil || found != (h == v.hash(i)) || v.reads > most {
					t.Errorf("%d bytes, line %d: found %v with %d reads, %v", size, i, found, v.reads, err)
				}
			}
		}
	}
	v := &vast{lines: 40_000_000_000 / vastLine}
	err := check(v, v.lines*vastLine)
	if err != nil || v.reads != samples {
		t.Errorf("checked with %d reads: %v", v.reads, err)
	}
}

// BenchmarkHas is one question to a list of 8 MB on the disk, the opening
// included.
func BenchmarkHas(b *testing.B) {
	hashes := make([]Hash, 180_000)
	for i := range hashes {
		hashes[i] = sha1.Sum(binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	text := style{counts: true, crlf: true}.text(sorted(hashes))
	l := write(b, text)
	b.ReportMetric(float64(len(text))/1e6, "MB")
	i := 0
	for b.Loop() {
		i += 7919
		found, err := l.Has(hashes[i%len(hashes)])
		if err != nil || !found {
			b.Fatal(found, err)
		}
	}
}
