package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/journal"
	"holdfast.example/internal/key"
	"holdfast.example/internal/server"
	"holdfast.example/internal/store/sqlite"
)

// TestEndAllHeedsTheJournal: signing everybody out is no reason to enable accounts
// again and to take old passwords, when a journal knows better.
func TestEndAllHeedsTheJournal(t *testing.T) {
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "a.db"), sqlite.Options{Now: time.Now, Synchronous: sqlite.Off, LoseAcknowledged: true})
	if err != nil {
		t.Fatal(err)
	}
	path, now := filepath.Join(t.TempDir(), "journal"), time.Now()
	j, err := journal.Open(t.Context(), path, db.Feed(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	err = j.Feed(db.Feed()).Record(t.Context(), feed.Entry{Kind: feed.Subject, Key: id.NewUser().String(), Epoch: 2, Reason: fault.Disabled, At: now, Until: now.Add(time.Hour)}, nil)
	if err = errors.Join(err, j.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	for name, made := range map[string]time.Time{"a backup since the journal began": now.Add(time.Minute), "an older backup": now.Add(-time.Hour)} {
		c := restoreCmd{Floor: floorEnd, Journal: []string{path}}
		f, _, err := c.floor(terminal{err: io.Discard}, server.Config{}, key.Root{}, archive.Header{MadeAt: made.UnixMilli()})
		if err != nil || !f.Everybody || len(f.Ends) != 1 {
			t.Errorf("%s: %v, and %+v", name, err, f)
		}
	}
}

// TestTheOwnJournalIsReadWithOthers: naming another node's journal, or an older one,
// is no reason to leave out the configuration's.
func TestTheOwnJournalIsReadWithOthers(t *testing.T) {
	now := time.Now()
	var paths []string
	for i := range 2 {
		db, err := sqlite.Open(filepath.Join(t.TempDir(), "a.db"), sqlite.Options{Now: time.Now, Synchronous: sqlite.Off, LoseAcknowledged: true})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "journal")
		j, err := journal.Open(t.Context(), path, db.Feed(), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		e := feed.Entry{Kind: feed.Session, Key: fmt.Sprint("s", i), Reason: fault.SignedOut, At: now, Until: now.Add(time.Hour)}
		if err = errors.Join(j.Feed(db.Feed()).Record(t.Context(), e, nil), j.Close(), db.Close()); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	missing := filepath.Join(t.TempDir(), "gone")
	for _, tt := range []struct {
		own   string
		named []string
		want  int
	}{
		{paths[0], paths[1:], 2}, {paths[0], nil, 1}, {paths[0], paths[:1], 1}, {missing, paths[:1], 1}, {"", paths, 2},
	} {
		c := restoreCmd{Journal: tt.named}
		f, _, err := c.floor(terminal{err: io.Discard}, server.Config{Journal: tt.own}, key.Root{}, archive.Header{MadeAt: now.Add(time.Minute).UnixMilli()})
		if err != nil || len(f.Ends) != tt.want {
			t.Errorf("own %q, named %q: %v, %+v", tt.own, tt.named, err, f)
		}
	}
}
