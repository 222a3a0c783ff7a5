package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
)

var day = time.Date(2026, 11, 22, 8, 30, 0, 0, time.UTC)

func revoked(jti string) feed.Entry {
	return feed.Entry{Kind: feed.Token, Key: jti, Reason: fault.SignedOut, At: day, Until: day.Add(time.Hour)}
}

// follower applies what it is told and resumes from the last position.
type follower struct {
	*testing.T
	db       *DB
	position int64
	seen     map[string]bool
}

func (f *follower) look() {
	f.Helper()
	all, err := f.db.Feed().Since(f.Context(), f.position, 100)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range all {
		if e.Position < f.position {
			f.Errorf("position %d was told after %d", e.Position, f.position)
		}
		f.position, f.seen[e.Key] = e.Position, true
	}
}

// TestASlowWriterIsNeitherWaitedForNorSkipped: a change that wrote its entry first
// and commits last stalls no other entry, and is told when it is there.
func TestASlowWriterIsNeitherWaitedForNorSkipped(t *testing.T) {
	db := openTest(t)
	slow, err := db.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Rollback(context.WithoutCancel(t.Context()))
	if _, err := slow.Exec(t.Context(), recordOne, accountArgs([]feed.Entry{revoked("slow")}, nil)...); err != nil {
		t.Fatal(err)
	}
	f := &follower{t, db, 0, map[string]bool{}}
	for i := range 5 {
		name := fmt.Sprint("quick-", i)
		if err := db.Feed().Record(t.Context(), revoked(name), nil); err != nil {
			t.Fatal(err)
		}
		f.look()
		if !f.seen[name] {
			t.Fatalf("%s was not told while another change is open", name)
		}
	}
	if f.seen["slow"] {
		t.Fatal("an entry was told that is not committed")
	}
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.look()
	if !f.seen["slow"] {
		t.Error("the slow change's entry was skipped")
	}
}

// TestARevocationIsToldWithoutAWrite: when the database cannot be written, what
// has no position yet is told all the same, and told again with one later.
func TestARevocationIsToldWithoutAWrite(t *testing.T) {
	url := newDatabase(t)
	db := openAt(t, url, Options{})
	f := &follower{t, db, 0, map[string]bool{}}
	for _, name := range []string{"one", "two"} {
		if err := db.Feed().Record(t.Context(), revoked(name), nil); err != nil {
			t.Fatal(err)
		}
		if name == "one" {
			f.look()
		}
	}
	guarded := openAt(t, url+"&default_transaction_read_only=on", Options{})
	f.db = guarded
	before := f.position
	f.look()
	if !f.seen["two"] || f.position != before {
		t.Errorf("seen %v at position %d, want two, at position %d", f.seen, f.position, before)
	}
	delete(f.seen, "two")
	f.db = db
	f.look()
	if !f.seen["two"] || f.position == before {
		t.Errorf("it was not told again with a position: %v at %d", f.seen, f.position)
	}
}

// TestTheRecordOverSeveralNodes: nodes that look at the same moment give every
// position once.
func TestTheRecordOverSeveralNodes(t *testing.T) {
	url := newDatabase(t)
	const nodes, entries = 4, 60
	var all [nodes]*follower
	for i := range all {
		all[i] = &follower{t, openAt(t, url, Options{}), 0, map[string]bool{}}
	}
	done := make(chan error, nodes)
	for i, f := range all {
		go func() {
			var err error
			for k := range entries {
				err = errors.Join(err, f.db.Feed().Record(t.Context(), revoked(fmt.Sprint(i, "-", k)), nil))
				f.look()
			}
			done <- err
		}()
	}
	for range nodes {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range all {
		f.look()
		f.look() // a page holds 100
		f.look()
		if len(f.seen) != nodes*entries {
			t.Errorf("the follower at node %d saw %d entries of %d", i, len(f.seen), nodes*entries)
		}
	}
	var last, count int64
	err := all[0].db.pool.QueryRow(t.Context(), "SELECT max(position), count(*) FROM revocation").Scan(&last, &count)
	if err != nil || last != nodes*entries || count != last {
		t.Errorf("%d entries up to position %d (%v)", count, last, err)
	}
}

// TestAVirtualClock: with a clock of its own the store never asks the database's.
func TestAVirtualClock(t *testing.T) {
	url := newDatabase(t)
	now := day
	db := openAt(t, url, Options{Now: func() time.Time { return now }})
	u, s := signIn(t, db)
	now = day.Add(24 * time.Hour)
	l, err := db.Sessions().Load(t.Context(), s.ID)
	if err != nil || !l.Now.Equal(now) {
		t.Errorf("Load says %v (%v), want %v", l.Now, err, now)
	}
	if at, err := db.Sessions().Now(t.Context()); err != nil || !at.Equal(now) {
		t.Errorf("Now says %v (%v)", at, err)
	}
	if _, err := db.Sessions().EndAll(t.Context(), session.Everywhere{User: u.ID, Reason: fault.Everywhere, EntryLife: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if l, err = db.Sessions().Load(t.Context(), s.ID); err != nil || !l.Standing.EpochAt.Equal(now) {
		t.Errorf("the epoch moved at %v (%v), want %v", l.Standing.EpochAt, err, now)
	}
	own := openAt(t, url, Options{})
	l, err = own.Sessions().Load(t.Context(), s.ID)
	var database time.Time
	if err == nil {
		err = own.pool.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&database)
	}
	if off := database.Sub(l.Now); err != nil || off < 0 || off > time.Hour {
		t.Errorf("without one it says %v, and the database %v (%v)", l.Now, database, err)
	}
}

// admin runs statements on a connection of its own.
func admin(t testing.TB, url string, texts ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), secret.New(url).Reveal())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, text := range texts {
		if _, err := conn.Exec(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
}
