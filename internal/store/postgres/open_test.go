package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// waits reports whether some call of the database waits for a lock.
func waits(t *testing.T, db *DB) bool {
	t.Helper()
	var n int
	err := db.pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.datname = current_database()").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// TestSignInsOfOneUserTakeTurns: a sign-in that meets another one of the same
// install, which has not committed yet, waits for it and sees what it did. The
// suite's race of many asks the same of chance; this asks it of one moment.
func TestSignInsOfOneUserTakeTurns(t *testing.T) {
	db := openTest(t)
	u, s := signIn(t, db)
	first, second := s, s
	first.ID, second.ID = id.NewSession(), id.NewSession()
	first.Device.Install, second.Device.Install = [16]byte{7}, [16]byte{7}
	open := newOpening(session.Opening{Session: first})
	tx, err := db.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	if _, err := tx.Exec(t.Context(), lockAccount, open.user); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), open.text, open.args...); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() { opened <- db.Sessions().Open(t.Context(), session.Opening{Session: second}) }()
	for !waits(t, db) {
		select {
		case err := <-opened:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; !errors.Is(err, session.ErrChanged) {
		t.Errorf("the second sign-in of one install: %v, want ErrChanged", err)
	}
	all, err := db.Sessions().OfUser(t.Context(), u.ID, 10)
	if err != nil || len(all) != 2 {
		t.Errorf("%d sessions stand (%v), want the one there was and the first of the install", len(all), err)
	}
}

// TestASignInMeetsASignOutEverywhere that has not committed yet: it waits, and is
// refused by the epoch it then finds.
func TestASignInMeetsASignOutEverywhere(t *testing.T) {
	db := openTest(t)
	u, s := signIn(t, db)
	late := s
	late.ID = id.NewSession()
	tx, err := db.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	args := append([]any{[id.Size]byte(u.ID), nil}, epochArgs(session.Everywhere{User: u.ID, Reason: fault.Everywhere, Except: s.ID, EntryLife: time.Hour})...)
	if _, err := tx.Exec(t.Context(), endAll, append(args, accountArgs(nil, nil)...)...); err != nil {
		t.Fatal(err)
	}
	opened, replaced := make(chan error, 1), make(chan error, 1)
	go func() { opened <- db.Sessions().Open(t.Context(), session.Opening{Session: late}) }()
	go func() { replaced <- db.Sessions().Replace(t.Context(), session.Change{Next: rotated(s)}) }()
	for !waits(t, db) {
		select {
		case err := <-opened:
			t.Fatalf("the sign-in did not wait: %v", err)
		case err := <-replaced:
			t.Fatalf("the refresh did not wait: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; !errors.Is(err, session.ErrChanged) {
		t.Errorf("a sign-in that was verified before: %v, want ErrChanged", err)
	}
	if err := <-replaced; !errors.Is(err, session.ErrChanged) {
		t.Errorf("a refresh of the session that stays, decided before: %v, want ErrChanged", err)
	}
	l, err := db.Sessions().Load(t.Context(), s.ID)
	if err != nil || l.Session.Epoch != 2 || l.Session.Version != 2 {
		t.Errorf("the session that stays has epoch %d, version %d (%v)", l.Session.Epoch, l.Session.Version, err)
	}
}
