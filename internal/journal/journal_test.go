package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/store/sqlite"
)

var day = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func now() time.Time { return day }

// database opens a record in a file.
func database(t *testing.T) feedOf {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "a.db"), sqlite.Options{Now: now, Synchronous: sqlite.Off, LoseAcknowledged: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return feedOf{db.Feed(), nil}
}

// feedOf counts looks at a record.
type feedOf struct {
	sqlite.Feed
	looks func()
}

func (f feedOf) Since(ctx context.Context, position int64, limit int) ([]feed.Entry, error) {
	if f.looks != nil {
		f.looks()
	}
	return f.Feed.Since(ctx, position, limit)
}

func entry(key string) feed.Entry {
	return feed.Entry{Kind: feed.Session, Key: key, Reason: fault.SignedOut, At: day, Until: day.Add(time.Hour)}
}

func opened(t *testing.T, path string, f Record) *Journal {
	t.Helper()
	j, err := Open(t.Context(), path, f, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func keysOf(t *testing.T, paths ...string) string {
	t.Helper()
	c, err := Read(paths...)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range c.Entries {
		keys = append(keys, e.Key)
	}
	return strings.Join(keys, " ")
}

func TestAnEndIsInTheFileBeforeItIsAnswered(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "disk", "journal")
	if err := f.Record(t.Context(), entry("before"), nil); err != nil {
		t.Fatal(err)
	}
	j := opened(t, path, f)
	ends := j.Feed(f)
	for i := range 3 {
		if err := ends.Record(t.Context(), entry(fmt.Sprint("k", i)), nil); err != nil {
			t.Fatal(err)
		}
		if got := keysOf(t, path); !strings.HasSuffix(got, fmt.Sprint("k", i)) {
			t.Fatalf("after k%d the journal has %q", i, got)
		}
	}
	if got := keysOf(t, path); got != "before k0 k1 k2" {
		t.Errorf("the journal has %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestManyShareARound: whoever waits is served by one look at the record.
func TestManyShareARound(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	var mu sync.Mutex
	looks, hold := 0, make(chan struct{})
	first := make(chan struct{})
	j := opened(t, path, f)
	f.looks = func() {
		mu.Lock()
		looks++
		n := looks
		mu.Unlock()
		if n == 1 {
			close(first)
			<-hold
		}
	}
	j.feed = f
	var all sync.WaitGroup
	ask := func() {
		all.Go(func() {
			if err := j.Sync(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	ask() // its round is held open until all others wait
	<-first
	const others = 50
	var waiting atomic.Int64
	for range others {
		all.Go(func() {
			// Sync looks at its context only when the round that it waits for is not over.
			if err := j.Sync(asks{t.Context(), &waiting}); err != nil {
				t.Error(err)
			}
		})
	}
	for waiting.Load() < others {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	all.Wait()
	if looks > 3 {
		t.Errorf("%d looks at the record for %d who asked", looks, 1+others)
	}
}

// asks is a context that counts who has come to wait.
type asks struct {
	context.Context
	waiting *atomic.Int64
}

func (a asks) Done() <-chan struct{} {
	a.waiting.Add(1)
	return a.Context.Done()
}

func TestALineThatIsNotWhole(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	if err := j.Feed(f).Record(t.Context(), entry("whole"), nil); err != nil {
		t.Fatal(err)
	}
	if err := j.Feed(f).Record(t.Context(), entry("torn"), nil); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for cut := 1; cut <= len(lines[2]); cut++ {
		if err := os.WriteFile(path, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if got := keysOf(t, path); got != "whole" {
			t.Fatalf("without its last %d bytes the journal has %q", cut, got)
		}
	}
	// The next process goes on where the last whole line ends.
	if err := opened(t, path, f).Close(); err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, path); got != "whole torn" {
		t.Errorf("the journal has %q", got)
	}
}

func TestDamageIsRefused(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	for _, k := range []string{"a", "b", "c"} {
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
	bad := strings.Replace(string(whole), `"key":"b"`, `"key":"x"`, 1)
	if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("a damaged line was read: %v", err)
	}
	if _, err := Open(t.Context(), path, f, now); err == nil {
		t.Error("a damaged journal was opened")
	}
}

func TestOneProcessEach(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	opened(t, path, f)
	if _, err := Open(t.Context(), path, f, now); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a journal was opened twice: %v", err)
	}
}

func TestAFileThatWasMovedAway(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	if err := j.Feed(f).Record(t.Context(), entry("a"), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	j.now = func() time.Time { return day.Add(time.Hour) }
	if err := j.Feed(f).Record(t.Context(), entry("b"), nil); err != nil {
		t.Fatal(err)
	}
	if got := keysOf(t, path, path+".1"); got != "a b" {
		t.Errorf("the journals have %q", got)
	}
	both, err := Read(path, path+".1")
	if err != nil {
		t.Fatal(err)
	}
	if later, err := both.Since(1, day.Add(time.Minute)); err != nil || len(later) != 1 || later[0].Key != "b" {
		t.Errorf("since the first: %v, %v", later, err)
	}
	alone, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alone.Since(0, day.Add(time.Minute)); err == nil {
		t.Error("a journal that began after the backup was believed")
	}
}

// TestAnOlderDatabase: a copy of the database that was put back by hand is noticed.
func TestAnOlderDatabase(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	if err := j.Feed(f).Record(t.Context(), entry("a"), nil); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, database(t), now); err == nil || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("the journal of another state was taken up: %v", err)
	}
}

// broken is a record that cannot be read.
type broken struct{ feedOf }

func (broken) Since(context.Context, int64, int) ([]feed.Entry, error) {
	return nil, errors.New("no disk")
}

func TestAnEndThatIsNotInTheFileIsNotAcknowledged(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	j.feed = broken{f}
	err := j.Feed(f).Record(t.Context(), entry("a"), nil)
	fe, ok := errors.AsType[*fault.Error](err)
	if !ok || fe.Kind != fault.Unavailable {
		t.Fatalf("the answer was %v", err)
	}
	if n, err := j.Feed(f).Forget(t.Context(), day.Add(24*time.Hour), 10); err == nil || n != 0 {
		t.Errorf("%d entries were forgotten that the journal does not have (%v)", n, err)
	}
	j.feed = f
	if n, err := j.Feed(f).Forget(t.Context(), day.Add(24*time.Hour), 10); err != nil || n != 1 {
		t.Errorf("forgot %d, %v", n, err)
	}
	if got := keysOf(t, path); got != "a" {
		t.Errorf("the journal has %q", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(string(headLine(Contents{Began: day})) + string(entryLine(entry("a"))))
	f.Add("x\t00000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, end, err := read(strings.NewReader(text), "x", true)
		if err != nil {
			return
		}
		if end > int64(len(text)) {
			t.Fatalf("%d of %d bytes are whole", end, len(text))
		}
		again, sameEnd, err := read(strings.NewReader(text[:end]), "x", true)
		if err != nil || sameEnd != end || len(again.Entries) != len(c.Entries) {
			t.Fatalf("what was kept reads otherwise: %v", err)
		}
	})
}
