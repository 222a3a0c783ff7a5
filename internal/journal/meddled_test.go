package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
)

// TestAFileThatSomebodyMeddledWith while the server runs: after the next end the journal
// has everything again that the record has, and is whole.
func TestAFileThatSomebodyMeddledWith(t *testing.T) {
	for name, meddle := range map[string]func(path string) error{
		"emptied, as by a rotation that copies": func(path string) error { return os.Truncate(path, 0) },
		"cut in the middle of a line":           func(path string) error { return cutTo(path, -10) },
		"cut behind a line": func(path string) error {
			b, err := os.ReadFile(path)
			return errors.Join(err, os.Truncate(path, int64(strings.LastIndex(strings.TrimSuffix(string(b), "\n"), "\n")+1)))
		},
		"deleted":  os.Remove,
		"appended": func(path string) error { return appendTo(path, "half a li") },
		"put back as it was before": func(path string) error {
			b, err := os.ReadFile(path)
			lines := strings.SplitAfter(string(b), "\n")
			return errors.Join(err, os.Remove(path), os.WriteFile(path, []byte(lines[0]+lines[1]), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, path := database(t), filepath.Join(t.TempDir(), "journal")
			j := opened(t, path, f)
			for _, k := range []string{"a", "b", "c"} {
				if err := j.Feed(f).Record(t.Context(), entry(k), nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := meddle(path); err != nil {
				t.Fatal(err)
			}
			if err := j.Feed(f).Record(t.Context(), entry("d"), nil); err != nil {
				t.Fatal(err)
			}
			c, err := Read(path)
			if err != nil {
				t.Fatal(err)
			}
			// A new file goes on where the old one ended and says so; an old one has all.
			want := map[bool]string{true: "d", false: "a b c d"}[c.After == 3]
			if got := keysOf(t, path); got != want || c.Torn > 0 {
				t.Errorf("the journal has %q and begins behind %d, want %q; %d bytes are torn", got, c.After, want, c.Torn)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if again := opened(t, path, f); again.Cut() != "" {
				t.Error(again.Cut())
			}
		})
	}
}

// TestACutThatTheRecordForgot: what was cut off is not in the record any more, so the
// journal says that something is missing.
func TestACutThatTheRecordForgot(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	for _, k := range []string{"a", "b"} {
		if err := j.Feed(f).Record(t.Context(), entry(k), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.Forget(t.Context(), day.Add(24*time.Hour), 10); err != nil {
		t.Fatal(err)
	}
	if err := cutTo(path, -10); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := Read(path)
	if err != nil || c.After != 2 {
		t.Fatalf("nothing is missing behind %d, %v", c.After, err)
	}
	if _, err := c.Since(0, day.Add(time.Hour)); err == nil {
		t.Error("a journal that lost an end was taken for whole")
	}
}

// TestAClockThatGoesBack: positions tell which file comes first, and whether a backup is
// older than what they know.
func TestAClockThatGoesBack(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	clock := day
	j, err := Open(t.Context(), path, f, func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	ends := j.Feed(f)
	if err := ends.Record(t.Context(), entry("a"), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	clock = day.Add(-1000 * time.Hour)
	if err := ends.Record(t.Context(), entry("b"), nil); err != nil {
		t.Fatal(err)
	}
	both, err := Read(path, path+".1")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := both.Since(0, day.Add(time.Hour)); err != nil || !has(all, "a") || !has(all, "b") {
		t.Errorf("both files: %v, %v", all, err)
	}
	second, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Since(0, day); err == nil {
		t.Error("a file that began behind the backup was taken for whole, because its clock was early")
	}
	if all, err := second.Since(1, day); err != nil || !has(all, "b") {
		t.Errorf("a backup that is as new as the second file: %v, %v", all, err)
	}
}

func has(all []feed.Entry, key string) bool {
	for _, e := range all {
		if e.Key == key {
			return true
		}
	}
	return false
}

func cutTo(path string, by int64) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, info.Size()+by)
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// TestARecordThatLostItsLastEntries while the server runs: a replica was promoted that
// lacked them, and their positions go to other ends. Such an end is not acknowledged,
// however many were lost; a new journal begins with all that the record has.
func TestARecordThatLostItsLastEntries(t *testing.T) {
	for lost, left := range map[int][]string{1: {"a", "b"}, 2: {"a"}, 3: nil} {
		f, promoted, path := database(t), database(t), filepath.Join(t.TempDir(), "journal")
		j := opened(t, path, f)
		for _, k := range []string{"a", "b", "c"} {
			if err := j.Feed(f).Record(t.Context(), entry(k), nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range left {
			if err := promoted.Record(t.Context(), entry(k), nil); err != nil {
				t.Fatal(err)
			}
		}
		j.feed = promoted
		for _, k := range []string{"d", "e", "f", "g"} {
			if err := j.Feed(promoted).Record(t.Context(), entry(k), nil); !fault.Is(err, fault.Unavailable) {
				t.Errorf("%d were lost: the end of %s was acknowledged (%v)", lost, k, err)
			}
		}
		if got := keysOf(t, path); got != "a b c" {
			t.Errorf("%d were lost: the journal has %q", lost, got)
		}
		j.feed = f // it was a replica that lags behind, and nobody promoted it
		if err := j.Sync(t.Context()); err != nil || j.strange {
			t.Errorf("%d were lost, and are there again: %v, strange %v", lost, err, j.strange)
		}
		j.feed = promoted
		if err := j.Sync(t.Context()); err == nil {
			t.Errorf("%d were lost for the second time, and nobody noticed", lost)
		}
		if err := os.Rename(path, path+".kept"); err != nil {
			t.Fatal(err)
		}
		if err := j.Sync(t.Context()); err != nil {
			t.Error(err)
		}
		if got, want := keysOf(t, path), strings.Join(append(left, "d", "e", "f", "g"), " "); got != want {
			t.Errorf("%d were lost: the new journal has %q, want %q", lost, got, want)
		}
	}
}

// TestARecordThatForgot what the journal ends with is no other record.
func TestARecordThatForgot(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	for _, k := range []string{"a", "b"} {
		if err := j.Feed(f).Record(t.Context(), entry(k), nil); err != nil {
			t.Fatal(err)
		}
		if n, err := f.Forget(t.Context(), day.Add(24*time.Hour), 10); err != nil || n != 1 {
			t.Fatalf("forgot %d, %v", n, err)
		}
		if err := j.Sync(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := keysOf(t, path); got != "a b" {
		t.Errorf("the journal has %q", got)
	}
}
