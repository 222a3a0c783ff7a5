package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
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
	ask := func() { // the round of the first is held open until all others wait
		defer all.Done()
		if err := j.Sync(t.Context()); err != nil {
			t.Error(err)
		}
	}
	all.Add(1)
	go ask()
	<-first
	const others = 50
	all.Add(others)
	for range others {
		go ask()
	}
	close(hold)
	all.Wait()
	if looks > others/2 {
		t.Errorf("%d looks at the record for %d who asked", looks, 1+others)
	}
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

// TestASyncThatFailed: the lines of a round whose sync failed are not believed to be
// on the disk by the next one, which has nothing new to write.
func TestASyncThatFailed(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	syncs, fails := 0, true
	j.sync = func(file *os.File) error {
		syncs++
		if fails {
			return errors.New("the disk gave up")
		}
		return file.Sync()
	}
	if err := j.Feed(f).Record(t.Context(), entry("a"), nil); !fault.Is(err, fault.Unavailable) || syncs != 1 {
		t.Fatalf("the end was answered with %v after %d syncs", err, syncs)
	}
	if got := keysOf(t, path); got != "" {
		t.Errorf("lines that were not synced stayed: %q", got)
	}
	if err := j.Sync(t.Context()); err == nil || syncs != 2 {
		t.Errorf("an end that is not on the disk was acknowledged by the next round (%v, %d syncs)", err, syncs)
	}
	fails = false
	if err := j.Sync(t.Context()); err != nil || syncs != 3 {
		t.Errorf("%v after %d syncs", err, syncs)
	}
	if got := keysOf(t, path); got != "a" {
		t.Errorf("the journal has %q", got)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	again := opened(t, path, f)
	syncs, again.sync = 0, j.sync
	_ = again.file.Close()
	if again.file = nil; again.open() != nil || syncs != 1 {
		t.Errorf("what a process left behind that died was synced %d times", syncs)
	}
}

// halfway is a record whose second look fails.
type halfway struct {
	feedOf
	looks *int
}

func (h halfway) Since(ctx context.Context, position int64, limit int) ([]feed.Entry, error) {
	if *h.looks++; *h.looks == 2 {
		return nil, errors.New("no database")
	}
	return h.Feed.Since(ctx, position, limit)
}

// TestARoundThatEndsHalfway: what was written before the record could not be read any
// more is synced, because the next round will not write it again.
func TestARoundThatEndsHalfway(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	for i := range page {
		if err := f.Record(t.Context(), entry(fmt.Sprint("k", i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	synced := int64(0)
	j.sync = func(*os.File) error { synced = j.end; return nil }
	looks := 0
	j.feed = halfway{f, &looks}
	if err := j.Sync(t.Context()); err == nil || looks != 2 {
		t.Fatalf("the round ended with %v after %d looks", err, looks)
	}
	if err := j.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if synced != j.end {
		t.Errorf("%d of %d bytes were synced when the journal said that it has everything", synced, j.end)
	}
}

// numberless is a record that cannot give positions, as a database that cannot be
// written: it tells what has none under the last one.
type numberless struct{ feedOf }

func (n numberless) Since(ctx context.Context, position int64, limit int) ([]feed.Entry, error) {
	all, err := n.Feed.Since(ctx, position, limit)
	for i := range all {
		all[i].Position = position
	}
	return all, err
}

// TestAnEndWithoutAPosition is not written: a restore asks for what came after the
// backup's last position, and would leave it out.
func TestAnEndWithoutAPosition(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	j.feed = numberless{f}
	if err := j.Feed(f).Record(t.Context(), entry("a"), nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the end was answered with %v", err)
	}
	if got := keysOf(t, path); got != "" {
		t.Errorf("the journal has %q", got)
	}
	j.feed = f
	if err := j.Sync(t.Context()); err != nil || keysOf(t, path) != "a" {
		t.Errorf("the journal has %q (%v)", keysOf(t, path), err)
	}
}

// one is a session that ends.
type one struct {
	session.Store
	s   session.Session
	err error
}

func (o *one) Load(context.Context, id.Session) (session.Loaded, error) {
	return session.Loaded{Session: o.s, Now: day}, nil
}

func (o *one) Replace(_ context.Context, c session.Change) error { o.s = c.Next; return o.err }

// TestASignOutThatIsRepeated: the first was committed and not acknowledged, because
// the journal could not be written or the commit's answer was lost. The second finds
// the session ended, and is acknowledged only when the journal has it.
func TestASignOutThatIsRepeated(t *testing.T) {
	f, path := database(t), filepath.Join(t.TempDir(), "journal")
	j := opened(t, path, f)
	for name, lost := range map[string]error{"the journal failed": nil, "the answer was lost": fault.Down(errors.New("no answer"))} {
		s := &one{s: session.Session{ID: id.NewSession()}, err: lost}
		k := j.Sessions(s)
		end := session.Change{Next: s.s, Entries: []feed.Entry{entry("a")}}
		end.Next.EndReason = fault.SignedOut
		j.feed = broken{f}
		if err := k.Replace(t.Context(), end); err == nil {
			t.Fatalf("%s: the end was acknowledged", name)
		}
		if _, err := k.Load(t.Context(), s.s.ID); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: the repeated end found the session ended while the journal cannot say so (%v)", name, err)
		}
		if _, err := k.Load(t.Context(), id.NewSession()); err != nil {
			t.Errorf("%s: an end that was acknowledged before waits, too: %v", name, err)
		}
		j.feed = f
		for range 2 { // the second time nothing is owed
			if l, err := k.Load(t.Context(), s.s.ID); err != nil || l.Session.EndReason == "" {
				t.Errorf("%s: %v", name, err)
			}
			j.feed = broken{f}
		}
		j.feed = f
	}
}

// TestManyEndsThatAreOwed: beyond what is remembered one by one all of them are.
func TestManyEndsThatAreOwed(t *testing.T) {
	var o owed
	for range maxOwed + 1 {
		o.add(id.NewSession())
	}
	upTo := o.moment()
	late := id.NewSession()
	o.add(late)
	if len(o.since) != maxOwed || !o.has(id.NewSession()) {
		t.Errorf("%d are remembered", len(o.since))
	}
	o.settle(upTo)
	if !o.has(late) {
		t.Error("an end that came after the round began was settled by it")
	}
	o.settle(o.moment())
	if o.has(late) || o.has(id.NewSession()) {
		t.Error("something is owed after everything was settled")
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
