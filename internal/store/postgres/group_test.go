package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// gathered is a database that seems to have as many transactions of rotations under
// way as a node has at once, until release: what comes meanwhile waits.
type gathered struct{ db *DB }

func gather(db *DB) *gathered {
	db.group.running = groupsAtOnce
	return &gathered{db}
}

func (g *gathered) release() {
	for range groupsAtOnce {
		g.db.nextGroup()
	}
}

func (g *gathered) await(t *testing.T, ok func() bool) {
	t.Helper()
	for range 30_000 { // as long as a test that is broken may take
		g.db.group.mu.Lock()
		done := ok()
		g.db.group.mu.Unlock()
		if done {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the rotations do not gather")
}

// wait sends a rotation after those that wait already.
func (g *gathered) wait(t *testing.T, ctx context.Context, next session.Session) chan error {
	t.Helper()
	before := 0
	g.await(t, func() bool { before = len(g.db.group.waiting); return true })
	told := make(chan error, 1)
	go func() { told <- g.db.Sessions().Replace(ctx, session.Change{Next: next}) }()
	g.await(t, func() bool { return len(g.db.group.waiting) == before+1 })
	return told
}

// transaction is the one that wrote a session's row last.
func transaction(t *testing.T, db *DB, which id.Session) (xmin string) {
	t.Helper()
	if err := db.pool.QueryRow(t.Context(), "SELECT xmin::text FROM session WHERE id = $1", [id.Size]byte(which)).Scan(&xmin); err != nil {
		t.Fatal(err)
	}
	return xmin
}

// TestGroup: what waits becomes one transaction, in which everybody keeps an answer
// of their own, and two of one session meet in the order in which they came.
func TestGroup(t *testing.T) {
	db := openTest(t)
	var all []session.Session
	for range 6 {
		_, s := signIn(t, db)
		all = append(all, s)
	}
	g := gather(db)
	var told []chan error
	for i, s := range all {
		next := rotated(s)
		if i == 3 {
			next.Version++ // made from a row that nobody has
		}
		told = append(told, g.wait(t, t.Context(), next))
	}
	second := g.wait(t, t.Context(), rotated(all[0]))
	g.release()
	for i, c := range told {
		if err := <-c; (i == 3) != (err == session.ErrChanged) || i != 3 && err != nil {
			t.Errorf("rotation %d: %v", i, err)
		}
	}
	if err := <-second; err != session.ErrChanged {
		t.Errorf("the second rotation of one session: %v, want ErrChanged", err)
	}
	together := transaction(t, db, all[0].ID)
	for i, s := range all {
		if got := transaction(t, db, s.ID); (i != 3) != (got == together) {
			t.Errorf("session %d was written by transaction %s, the others by %s", i, got, together)
		}
	}
}

// TestGroupFails: one that cannot be written takes nobody with it.
func TestGroupFails(t *testing.T) {
	db := openTest(t)
	var all []session.Session
	for range 4 {
		_, s := signIn(t, db)
		all = append(all, s)
	}
	g := gather(db)
	var told []chan error
	for i, s := range all {
		next := rotated(s)
		if i == 1 {
			next.Device.Name = "a\x00b" // which PostgreSQL does not keep
		}
		told = append(told, g.wait(t, t.Context(), next))
	}
	g.release()
	for i, c := range told {
		if err := <-c; (i == 1) != errors.Is(err, session.ErrReadOnly) || i != 1 && err != nil {
			t.Errorf("rotation %d: %v", i, err)
		}
		l, err := db.Sessions().Load(t.Context(), all[i].ID)
		if err != nil || (i != 1) != (l.Session.Version == all[i].Version+1) {
			t.Errorf("session %d has version %d: %v", i, l.Session.Version, err)
		}
	}
}

// TestGroupWithdraw: who leaves before the transaction begins is not in it.
func TestGroupWithdraw(t *testing.T) {
	db := openTest(t)
	_, left := signIn(t, db)
	_, stays := signIn(t, db)
	g := gather(db)
	ctx, leave := context.WithCancelCause(t.Context())
	leaves, waits := g.wait(t, ctx, rotated(left)), g.wait(t, t.Context(), rotated(stays))
	leave(fmt.Errorf("gone"))
	if f, ok := errors.AsType[*fault.Error](<-leaves); !ok || f.Kind != fault.Unavailable {
		t.Errorf("whoever left is told %v", f)
	}
	g.release()
	if err := <-waits; err != nil {
		t.Error(err)
	}
	l, err := db.Sessions().Load(t.Context(), left.ID)
	if err != nil || l.Session.Version != left.Version {
		t.Errorf("a rotation that was withdrawn was written: version %d, %v", l.Session.Version, err)
	}
	g.await(t, func() bool { return db.group.running == 0 && len(db.group.waiting) == 0 })
}

// TestGroupOutlastsItsCaller: a transaction that takes longer than a caller has time
// keeps nobody, and what became of the rotation is unknown.
func TestGroupOutlastsItsCaller(t *testing.T) {
	db := openTest(t)
	_, s := signIn(t, db)
	g := gather(db)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	told := make(chan error, 1)
	taken := func() bool { // it is under way from now on, and nobody carries it out
		n := len(db.group.waiting)
		db.group.waiting = nil
		return n > 0
	}
	go func() { told <- db.together(ctx, swapArgs(rotated(s))) }()
	for range 2000 {
		db.group.mu.Lock()
		done := taken()
		db.group.mu.Unlock()
		if done || ctx.Err() != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-told:
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, session.ErrReadOnly) || !uncertain(err) {
			t.Errorf("the caller is told %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the caller is kept")
	}
	g.release()
}
