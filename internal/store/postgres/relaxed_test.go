package postgres

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/testsvc"
)

// rotate is the change of one refresh as the keeper decides it: token g of a
// session becomes g+1.
func rotate(s session.Session) session.Change {
	next, _ := s.Refresh(session.Presented{Client: s.Client, Generation: s.Chain.Newest, Genuine: true}, session.Standing{UserEpoch: s.Epoch}, windows, s.UsedAt.Add(2*windows.Overlap))
	next.Version, next.Attempt = s.Version+1, [8]byte{byte(s.Version + 1), 1}
	return session.Change{Next: next, Relaxed: true}
}

var windows = session.Policy{Rotate: true, Overlap: time.Minute, Late: 5 * time.Minute, Recovery: 90 * 24 * time.Hour, Idle: 90 * 24 * time.Hour}

// ended is the change that ends a session.
func ended(s session.Session) session.Change {
	next := s.End(fault.SignedOut, s.UsedAt)
	next.Version, next.Attempt = s.Version+1, [8]byte{byte(s.Version + 1), 2}
	return session.Change{Next: next, Relaxed: true, // as nobody marks it
		Entries: []feed.Entry{{Kind: feed.Session, Key: fmt.Sprintf("%x", s.ID), Reason: fault.SignedOut, At: day, Until: day.Add(time.Hour)}}}
}

// spy notes the durability of every transaction that changes a session.
var spy = []string{
	"CREATE TABLE spied (session uuid, version bigint, setting text)",
	`CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 INSERT INTO spied VALUES (NEW.id, NEW.version, current_setting('synchronous_commit')); RETURN NEW; END $$`,
	"CREATE TRIGGER spy AFTER UPDATE ON session FOR EACH ROW EXECUTE FUNCTION spy()",
}

// TestRelaxedReachesRotationsAlone: the setting is off in the transaction of a
// marked rotation and in no other, directly and through a pooler that lends one
// connection to one transaction after the other.
func TestRelaxedReachesRotationsAlone(t *testing.T) {
	t.Run("direct", func(t *testing.T) {
		address := newDatabase(t)
		relaxedReaches(t, address, address)
	})
	t.Run("pooler", func(t *testing.T) {
		through := server.Bouncer(t)
		address := newDatabase(t)
		relaxedReaches(t, through(address), address)
	})
}

func relaxedReaches(t *testing.T, address, direct string) {
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	admin(t, direct, append(spy, "ALTER DATABASE "+pgx.Identifier{u.Path[1:]}.Sanitize()+" SET synchronous_commit = on")...)
	relaxed, strict := openAt(t, address, Options{Relaxed: true}), openAt(t, address, Options{})
	_, s := signIn(t, relaxed)
	unmarked := func(s session.Session) session.Change { ch := rotate(s); ch.Relaxed = false; return ch }
	for i, st := range []struct {
		db     *DB
		change func(session.Session) session.Change
		want   string
	}{
		{relaxed, rotate, "off"}, {relaxed, unmarked, "on"}, {strict, rotate, "on"}, {relaxed, rotate, "off"}, {relaxed, ended, "on"},
	} {
		ch := st.change(s)
		if err := st.db.Sessions().Replace(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := strict.pool.QueryRow(t.Context(), "SELECT setting FROM spied WHERE version = $1", int64(ch.Next.Version)).Scan(&got); err != nil || got != st.want {
			t.Errorf("step %d: synchronous_commit was %q (%v), want %q", i, got, err, st.want)
		}
		s = ch.Next
	}
	if err := relaxed.Sessions().Replace(t.Context(), rotate(s)); err != nil {
		t.Fatal(err)
	}
	if err := relaxed.Sessions().Replace(t.Context(), rotate(s)); err != session.ErrChanged {
		t.Errorf("a relaxed rotation over a row that changed: %v, want ErrChanged", err)
	}
}

// TestACrashLosesRotationsAndNothingElse: PostgreSQL is killed with rotations in
// its memory alone. Tokens that are newer than their row are taken (row 4), nobody
// is signed out, and every end that was acknowledged stands.
func TestACrashLosesRotationsAndNothingElse(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills a server; run without -short")
	}
	// A process of the server's own that syncs the log just before the kill syncs
	// everything in it. That is chance (one crash in six), so a crash that lost
	// nothing is repeated; what must hold is checked at each.
	const crashes = 8
	for n := range crashes {
		lost := 0
		t.Run(fmt.Sprintf("crash %d", n+1), func(t *testing.T) { lost = crashRelaxed(t) })
		if lost > 0 || t.Failed() {
			return
		}
	}
	t.Errorf("%d crashes lost nothing, so this test cannot see a loss", crashes)
}

// crashRelaxed kills one server under relaxed rotations and returns how many
// phones lost some.
func crashRelaxed(t *testing.T) int {
	// The server writes by itself as seldom as it can, so that the kill finds
	// something to lose.
	pg := &testsvc.Postgres{Settings: []string{"synchronous_commit=on", "fsync=on", "wal_writer_delay=10s", "wal_writer_flush_after=1GB", "autovacuum=off", "bgwriter_delay=10s"}}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	address := pg.Database(t, nil)
	db := openAt(t, address+"&pool_min_conns=0", Options{Relaxed: true})
	const phones, rounds = 24, 4
	var held [phones]session.Session // what each phone holds the token of
	for i := range held {
		_, held[i] = signIn(t, db)
	}
	change := func(i int, ch session.Change) {
		t.Helper()
		if err := db.Sessions().Replace(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
		held[i] = ch.Next
	}
	for round := range rounds {
		for i := range held {
			if i%6 == 5 && round == 1 {
				change(i, ended(held[i])) // synced, and with it all before it
			} else if held[i].EndReason == "" {
				change(i, rotate(held[i]))
			}
		}
	}
	pg.Kill(t)
	pg.Restart(t)
	lost, ahead, healed := 0, session.Generation(0), 0
	for i, s := range held {
		l := eventually(t, db, s.ID)
		if s.EndReason != "" {
			if l.Session.EndReason != s.EndReason {
				t.Errorf("phone %d was signed out, and after the crash it is not", i)
			}
			continue
		}
		if l.Session.EndReason != "" {
			t.Errorf("phone %d was ended by the crash: %s", i, l.Session.EndReason)
		}
		if l.Session.Chain.Newest < s.Chain.Newest {
			lost++
		}
		_, v := l.Session.Refresh(session.Presented{Client: s.Client, Generation: s.Chain.Newest, IssuedAt: s.Chain.IssuedAt, Genuine: true}, l.Standing, windows, s.UsedAt.Add(time.Hour))
		if v.Answer != session.Rotated {
			t.Errorf("phone %d is answered %s (row %d, %s)", i, v.Answer, v.Row, v.Reason)
			continue
		}
		healed++
		ahead += v.Ahead
	}
	if (lost == 0) != (ahead == 0) {
		t.Errorf("%d phones lost rotations, and %d generations were ahead of their rows", lost, ahead)
	}
	t.Logf("%d of %d phones lost rotations (%d generations), %d go on, 0 signed out", lost, phones, ahead, healed)
	return lost
}

// eventually loads a session from a database that is coming back.
func eventually(t *testing.T, db *DB, which id.Session) session.Loaded {
	t.Helper()
	const tries, wait = 200, 50 * time.Millisecond
	var err error
	for range tries {
		var l session.Loaded
		if l, err = db.Sessions().Load(t.Context(), which); err == nil {
			return l
		}
		time.Sleep(wait)
	}
	t.Fatal(fmt.Errorf("the database does not come back: %w", err))
	return session.Loaded{}
}
