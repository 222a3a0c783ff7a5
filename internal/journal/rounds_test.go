package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
)

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

// TestAHole: a server that ran without the journal, or another node, may have let
// the record forget what the journal never had. A restore must not take it for whole.
func TestAHole(t *testing.T) {
	for name, last := range map[string]bool{"before what is left of the record": true, "at the end of the record": false} {
		f, path := database(t), filepath.Join(t.TempDir(), "journal")
		began := day
		if err := opened(t, path, f).Close(); err != nil {
			t.Fatal(err)
		}
		forgotten, left := entry("forgotten"), entry("left")
		left.Until = day.Add(48 * time.Hour)
		err := f.Record(t.Context(), forgotten, nil)
		if err == nil && last {
			err = f.Record(t.Context(), left, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := f.Forget(t.Context(), day.Add(24*time.Hour), 10); err != nil || n != 1 {
			t.Fatalf("forgot %d, %v", n, err)
		}
		later := func() time.Time { return day.Add(24 * time.Hour) }
		for range 2 { // the second process finds no other hole
			j, err := Open(t.Context(), path, f, later)
			if err != nil {
				t.Fatal(err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Since(0, began.Add(time.Hour)); err == nil {
			t.Errorf("%s: a journal with a hole was taken for whole", name)
		}
		if _, err := c.Since(1, later()); err != nil {
			t.Errorf("%s: a backup since the hole was refused: %v", name, err)
		}
		if want := map[bool]string{true: "left", false: ""}[last]; keysOf(t, path) != want {
			t.Errorf("%s: the journal has %q", name, keysOf(t, path))
		}
		// The journal of another node fills it.
		other := path + ".other"
		text := string(headLine(Contents{Began: began}))
		one := forgotten
		one.Position = 1
		if err := os.WriteFile(other, []byte(text+string(entryLine(one))), 0o600); err != nil {
			t.Fatal(err)
		}
		both, err := Read(path, other)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := both.Since(0, began.Add(time.Hour)); err != nil || len(all) == 0 {
			t.Errorf("%s: with the other node's journal: %v, %v", name, all, err)
		}
	}
}

// leapt is a record after a restore, which gave it positions far behind all others.
type leapt struct{ feedOf }

func (l leapt) Since(ctx context.Context, position int64, limit int) ([]feed.Entry, error) {
	all, err := l.Feed.Since(ctx, max(position-1<<32, 0), limit)
	for i := range all {
		all[i].Position += 1 << 32
	}
	return all, err
}

func (l leapt) Head(ctx context.Context) (int64, error) {
	head, err := l.Feed.Head(ctx)
	return head + 1<<32, err
}

// TestARestoreIsNoHole: what its leap leaves out was never given to an entry.
func TestARestoreIsNoHole(t *testing.T) {
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
	restored := leapt{database(t)}
	j, err := Open(t.Context(), path, restored, func() time.Time { return day.Add(time.Hour) })
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Feed(restored).Record(t.Context(), entry("d"), nil), j.Close()); err != nil {
		t.Fatal(err)
	}
	c, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := c.Since(1, day.Add(time.Minute)); err != nil || len(all) != 3 {
		t.Errorf("since the first: %v, %v", all, err)
	}
}

// TestARoundThatPanics leaves nobody waiting: what asked for the same round is told
// that it failed, and the next round is one like any other.
func TestARoundThatPanics(t *testing.T) {
	f := database(t)
	j := opened(t, filepath.Join(t.TempDir(), "journal"), f)
	works := j.sync
	j.sync = func(*os.File) error { panic("no such thing as a disk") }
	if err := f.Record(t.Context(), entry("a"), nil); err != nil {
		t.Fatal(err)
	}
	shared := &round{done: make(chan struct{})}
	j.next = shared
	func() {
		defer func() { _ = recover() }()
		_ = j.Sync(t.Context())
	}()
	select {
	case <-shared.done:
		if !fault.Is(shared.err, fault.Unavailable) {
			t.Errorf("the round ended with %v", shared.err)
		}
	default:
		t.Error("the round never ends")
	}
	j.sync = works
	if err := j.Sync(t.Context()); err != nil {
		t.Error(err)
	}
}
