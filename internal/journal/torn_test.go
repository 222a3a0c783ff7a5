package journal

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// tails are what may stand behind the last whole line, and whether that is what a
// write leaves that was cut off.
func tails() map[string]struct {
	tail string
	torn bool
} {
	line := func(key string) string { return string(entryLine(entry(key))) }
	half := line("half")[:40]
	page := strings.Repeat("\x00", 4096)
	noise := make([]byte, 64<<10)
	_, _ = rand.Read(noise)
	return map[string]struct {
		tail string
		torn bool
	}{
		"half a line":                              {half, true},
		"a line that was never written":            {page[:300], true},
		"many pages that were never written":       {strings.Repeat(page, 300), true},
		"half a line and many such pages":          {half + strings.Repeat(page, 300), true},
		"what the disk had there before":           {half + string(noise), true},
		"the longest write":                        {strings.Repeat("x", maxWrite), true},
		"longer than any write":                    {strings.Repeat("x", maxWrite+1), false},
		"two lines of another write, in halves":    {half + "\n" + half + "\n", true},
		"a whole line behind half a one":           {half + "\n" + line("whole"), false},
		"a whole line that the half one runs into": {half + line("whole"), false},
		"a whole line behind pages":                {strings.Repeat(page, 3) + line("whole"), false},
		"a whole line before and behind":           {line("a") + half + "\n" + line("whole") + half, false},
		"a hole behind half a line":                {half + "\n" + string(headLine(Contents{Began: day})), false},
	}
}

// TestATornTail of any length is cut off; anything else is refused, and left as it is.
func TestATornTail(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	for _, k := range []string{"a", "b"} {
		if err := j.Feed(f).Record(t.Context(), entry(k), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tails() {
		t.Run(name, func(t *testing.T) {
			found := append(bytes.Clone(whole), tt.tail...)
			if err := os.WriteFile(path, found, 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := Read(path)
			if (err == nil) != tt.torn {
				t.Fatalf("reading: %v", err)
			}
			if !tt.torn {
				if _, err := Open(t.Context(), path, f, now); err == nil || !strings.Contains(err.Error(), "damaged in line") || !strings.Contains(err.Error(), "move it away") {
					t.Errorf("it was opened, or refused without a place and a mend: %v", err)
				}
				if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, found) {
					t.Errorf("what was refused was changed (%v)", err)
				}
				return
			}
			if c.Torn != int64(len(tt.tail)) || len(c.Entries) != 2 {
				t.Errorf("%d bytes of %d are torn, behind %d entries", c.Torn, len(tt.tail), len(c.Entries))
			}
			j := opened(t, path, f)
			if !strings.Contains(j.Cut(), path) {
				t.Errorf("the operator is told %q", j.Cut())
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, whole) {
				t.Errorf("%d bytes are left of %d (%v)", len(left), len(whole), err)
			}
			again := opened(t, path, f)
			if cut := again.Cut(); cut != "" {
				t.Errorf("the second start cut, too: %s", cut)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestDamageAnywhere: whatever becomes of one byte or one run of bytes, no line that
// stands behind it is cut away, and none before it is lost.
func TestDamageAnywhere(t *testing.T) {
	const lines = 6
	text := headLine(Contents{Began: day})
	begins := []int{0}
	for i := range lines {
		begins = append(begins, len(text))
		e := entry(strings.Repeat("k", 10+i))
		e.Position = int64(i + 1)
		text = append(text, entryLine(e)...)
	}
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.IntRange(begins[1], len(text)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(text)).Draw(t, "to")
		what := rapid.SampledFrom([]byte{0, 'x', '\n', '\t', 0xff}).Draw(t, "with")
		spoiled := bytes.Clone(text)
		for i := from; i < to; i++ {
			spoiled[i] = what
		}
		if bytes.Equal(spoiled, text) {
			return
		}
		for spoiled[from] == text[from] { // what became what it was is no damage
			from++
		}
		for spoiled[to-1] == text[to-1] {
			to--
		}
		before := 0
		for i := 1; i <= lines; i++ {
			if begins[i] <= from {
				before = i - 1
			}
		}
		path := filepath.Join(dir, "journal")
		if err := os.WriteFile(path, spoiled, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Read(path)
		behind := to <= begins[lines] // the last line is whole
		if (err != nil) != behind {
			t.Fatalf("bytes %d to %d: %v", from, to, err)
		}
		if err == nil && len(c.Entries) != before {
			t.Fatalf("bytes %d to %d: %d entries of %d before it", from, to, len(c.Entries), before)
		}
	})
}

// TestAFileOfSomebodyElse is not taken for a journal that died while it was begun: it
// would be emptied.
func TestAFileOfSomebodyElse(t *testing.T) {
	f := database(t)
	for name, tt := range map[string]struct {
		text  string
		begun bool
	}{
		"empty":                             {"", true},
		"half a first line":                 {`{"holdfast_journal":1,"beg`, true},
		"the very first bytes":              {`{"hold`, true},
		"a first line that was not written": {strings.Repeat("\x00", 70), true},
		"a secret":                          {"aGVsbG8gd29ybGQ", false},
		"another JSON":                      {`{"host":"db"}`, false},
		"a line":                            {"hello\n", false},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(t.Context(), path, f, now)
		if (err == nil) != tt.begun {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = j.Close()
		}
		if left, err := os.ReadFile(path); err != nil || !tt.begun && string(left) != tt.text {
			t.Errorf("%s became %q (%v)", name, left, err)
		}
	}
}

// TestAnEndOfAnotherNode: a session that ended a moment ago may have been ended by a node
// whose journal failed. Who repeats the sign-out here waits for this node's journal.
func TestAnEndOfAnotherNode(t *testing.T) {
	f := database(t)
	clock := day
	j, err := Open(t.Context(), filepath.Join(t.TempDir(), "journal"), f, func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	s := &one{s: session.Session{ID: id.NewSession(), EndReason: fault.SignedOut, EndedAt: day}}
	k := j.Sessions(s)
	for _, step := range []struct {
		name  string
		later time.Duration
		works bool
		want  bool
	}{
		{"the journal fails", 2 * time.Second, false, false},
		{"it works", 2 * time.Second, true, true},
		{"it fails again, and the end is young", 2 * time.Second, false, false},
		{"it works for a minute", 2 * doubt, true, true},
		{"it fails again", 0, false, true}, // since then it was up to date
		{"the clock goes back", -2 * doubt, false, true},
	} {
		clock = clock.Add(step.later)
		j.feed = f
		if !step.works {
			j.feed = broken{f}
		}
		if step.works {
			if err := j.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_, err := k.Load(t.Context(), s.s.ID)
		if (err == nil) != step.want || err != nil && !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", step.name, err)
		}
	}
}
