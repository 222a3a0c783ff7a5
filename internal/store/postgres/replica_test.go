package postgres

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/session"
	"holdfast.example/internal/testsvc"
)

// Limits of waiting in these tests.
const (
	replicaWait  = 30 * time.Second
	replicaPause = 5 * time.Millisecond
)

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for waited := time.Duration(0); waited < replicaWait; waited += replicaPause {
		if ok() {
			return
		}
		time.Sleep(replicaPause)
	}
	t.Fatalf("waited in vain for %s", what)
}

// pair starts a server and its replica. The address is the primary's, both names
// both.
func pair(t *testing.T, synchronous bool) (primary, replica *testsvc.Postgres, address, both string) {
	t.Helper()
	primary = &testsvc.Postgres{Settings: []string{"synchronous_commit=on"}}
	t.Cleanup(func() {
		if err := primary.Stop(); err != nil {
			t.Error(err)
		}
	})
	address = primary.Home(t)
	replica = primary.Replica(t, synchronous)
	return primary, replica, address, primary.Either(t, address, replica)
}

// phone is one device under load. What it was told is what it holds the store to.
type phone struct {
	s session.Session
	// told is the generation of the token it holds; over: its sign-out was
	// acknowledged.
	told session.Generation
	over bool
}

// tally is what phones met.
type tally struct {
	rotations, ends atomic.Int64
	// ahead counts generations that were acknowledged and lost, refused the phones
	// whose token earned nothing.
	ahead, refused atomic.Int64
}

// step is one refresh or sign-out, as the keeper makes it.
func (p *phone) step(ctx context.Context, db *DB, end bool, n *tally) error {
	l, err := db.Sessions().Load(ctx, p.s.ID)
	if err != nil {
		return err
	}
	now := l.Session.UsedAt.Add(2 * windows.Overlap)
	ch, ahead := ended(l.Session), session.Generation(0)
	if !end {
		next, v := l.Session.Refresh(session.Presented{Client: p.s.Client, Generation: p.told, IssuedAt: l.Session.UsedAt, Genuine: true}, l.Standing, windows, now)
		if !v.Answer.Issues() {
			n.refused.Add(1)
			return nil
		}
		next.Version, next.Attempt = l.Session.Version+1, [8]byte{byte(l.Session.Version + 1), 1}
		ch = session.Change{Next: next, Relaxed: true}
		ahead = v.Ahead
	}
	if err := db.Sessions().Replace(ctx, ch); err != nil {
		return err
	}
	n.ahead.Add(int64(ahead))
	if end {
		p.over = true
		n.ends.Add(1)
		return nil
	}
	p.told = ch.Next.Chain.Newest
	n.rotations.Add(1)
	return nil
}

// failover lets phones refresh and sign out at a primary with a replica, kills the
// primary in the middle of it, promotes the replica, and goes on until the phones
// have. It reports how many acknowledged sign-outs are gone.
func failover(t *testing.T, synchronous bool, o Options) (n *tally, lostEnds int) {
	primary, replica, address, both := pair(t, synchronous)
	db := openAt(t, both, o)
	all := make([]*phone, 16)
	for i := range all {
		_, s := signIn(t, db)
		all[i] = &phone{s: s, told: 1}
	}
	until(t, "the sign-ins to reach the replica", func() bool { return replicated(t, replica.Alone(t, address)) == len(all) })
	if !synchronous { // it lags from here on, as over a bad line
		replica.Run(t, "ALTER SYSTEM SET primary_conninfo = ''")
		replica.Run(t, "SELECT pg_reload_conf()")
		replica.Await(t, "SELECT count(*) WHERE NOT EXISTS (SELECT 1 FROM pg_stat_wal_receiver)")
	}
	n = &tally{}
	var stop atomic.Bool
	var load sync.WaitGroup
	for i, p := range all {
		load.Go(func() {
			for k := 0; !stop.Load() && !p.over; k++ {
				if err := p.step(t.Context(), db, i%4 == 3 && k >= 5, n); err != nil {
					time.Sleep(replicaPause)
				}
			}
		})
	}
	done := func(more int64) func() bool { return func() bool { return n.rotations.Load() >= more } }
	until(t, "load", func() bool { return n.ends.Load() == int64(len(all)/4) && n.rotations.Load() >= int64(20*len(all)) })
	primary.Kill(t)
	replica.Promote(t)
	until(t, "load after the failover", done(n.rotations.Load()+int64(10*len(all))))
	stop.Store(true)
	load.Wait()
	if err := errors.Join(db.Ping(t.Context()), db.Writable(t.Context())); err != nil {
		t.Errorf("not ready after the failover: %v", err)
	}
	for _, p := range all {
		l, err := db.Sessions().Load(t.Context(), p.s.ID)
		if err != nil {
			t.Fatal(err)
		}
		if p.over && l.Session.EndReason == "" {
			lostEnds++
		}
	}
	return n, lostEnds
}

// replicated counts the sessions that a standby shows.
func replicated(t *testing.T, standby string) (sessions int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), standby)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM session").Scan(&sessions); err != nil {
		return 0 // not even the table has arrived
	}
	return sessions
}

// TestFailoverToASynchronousReplica loses nothing that was acknowledged: no
// refresh, no sign-out, nobody is signed out.
func TestFailoverToASynchronousReplica(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills servers; run without -short")
	}
	n, lostEnds := failover(t, true, Options{})
	if lostEnds != 0 || n.ahead.Load() != 0 || n.refused.Load() != 0 {
		t.Errorf("%d sign-outs and %d generations were lost, %d phones refused", lostEnds, n.ahead.Load(), n.refused.Load())
	}
	t.Logf("%d rotations, %d sign-outs: none lost, 0 signed out", n.rotations.Load(), n.ends.Load())
}

// TestFailoverToALaggingReplica loses what the replica had not received. Phones
// whose token is newer than their row go on; sign-outs that are lost stay lost
// until something else remembers them, which docs/guide/operate.md says.
func TestFailoverToALaggingReplica(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills servers; run without -short")
	}
	n, lostEnds := failover(t, false, Options{})
	if n.refused.Load() != 0 {
		t.Errorf("%d phones were refused", n.refused.Load())
	}
	if lostEnds == 0 || n.ahead.Load() == 0 {
		t.Errorf("the lagging replica lost %d sign-outs and %d generations: this test sees no loss", lostEnds, n.ahead.Load())
	}
	t.Logf("%d rotations: %d generations lost and healed, 0 signed out; %d of %d acknowledged sign-outs lost", n.rotations.Load(), n.ahead.Load(), lostEnds, n.ends.Load())
}

// TestASynchronousReplica: what is on one machine only is not called done, and what
// lags is not read.
func TestASynchronousReplica(t *testing.T) {
	primary, replica, address, both := pair(t, true)
	t.Run("a standby", func(t *testing.T) { standbyIsNotServedFrom(t, primary, replica, address, both) })
	t.Run("a cancelled wait", func(t *testing.T) { unreplicatedIsNoSuccess(t, primary, replica, address) }) // kills the replica
}

// standbyIsNotServedFrom: a store opens at no standby, and a connection that
// was led to one is neither ready nor written to.
func standbyIsNotServedFrom(t *testing.T, primary, replica *testsvc.Postgres, address, both string) {
	openAt(t, address, Options{})
	if db, err := Open(t.Context(), secretOf(replica.Alone(t, address)), Options{LoseAcknowledged: true}); err == nil {
		db.Close()
		t.Error("a store was opened at a standby")
	}
	for attrs, good := range map[string]bool{"read-write": true, "primary": true, "any": true, "standby": false, "read-only": false, "prefer-standby": false} {
		if _, err := configure(secretOf(address + "&target_session_attrs=" + attrs)); (err == nil) != good {
			t.Errorf("target_session_attrs=%s: %v", attrs, err)
		}
	}
	for _, url := range []string{"postgres://u@a.example:5432,b.example:5433/db?target_session_attrs=read-write", both} {
		if c, err := configure(secretOf(url)); err != nil || len(c.ConnConfig.Fallbacks) == 0 {
			t.Errorf("a URL of two servers has no second one: %v", err)
		}
	}
	// Both in the other order: the standby is asked first and passed over.
	db := openAt(t, replica.Either(t, replica.Alone(t, address), primary), Options{})
	_, s := signIn(t, db)
	standby := standbyStore(t, replica.Alone(t, address))
	until(t, "the sign-in to reach the replica", func() bool { return replicated(t, replica.Alone(t, address)) == 1 })
	if err := standby.Ping(t.Context()); !errors.Is(err, errStandby) {
		t.Errorf("Ping at a standby: %v", err)
	}
	err := standby.Sessions().Replace(t.Context(), session.Change{Next: rotated(s)})
	if !fault.Is(err, fault.Unavailable) || errors.Is(err, session.ErrReadOnly) {
		t.Errorf("Replace at a standby: %v; who goes on without the write would go on with what lags", err)
	}
}

// unreplicatedIsNoSuccess: somebody cancels the wait for the synchronous
// replica. The server answers as if all were well, and nobody may believe it.
func unreplicatedIsNoSuccess(t *testing.T, primary, replica *testsvc.Postgres, address string) {
	db := openAt(t, address, Options{})
	_, s := signIn(t, db)
	_, other := signIn(t, db)
	replica.Kill(t)
	told := make(chan error, 1)
	go func() { told <- db.Sessions().Replace(t.Context(), ended(s)) }()
	cancelled := false
	var err error
	until(t, "the answer", func() bool {
		select {
		case err = <-told:
			return true
		default:
		}
		if !cancelled && primary.Number(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1 {
			primary.Run(t, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			cancelled = true
		}
		return false
	})
	if !cancelled {
		t.Fatalf("it did not wait for the replica: %v", err)
	}
	if !fault.Is(err, fault.Unavailable) || errors.Is(err, session.ErrReadOnly) || !strings.Contains(err.Error(), "synchronous replica") {
		t.Errorf("a sign-out that is on one machine only: %v, want an unknown outcome", err)
	}
	if st := db.Stats(); st.Unreplicated != 1 {
		t.Errorf("counted %d cancelled waits", st.Unreplicated)
	}
	// Whoever repeats the request must not be told that it is done before it is.
	if l, err := db.Sessions().Load(t.Context(), s.ID); !fault.Is(err, fault.Unavailable) {
		t.Errorf("while the replica is away, the session that may yet come back is read as %q (%v)", l.Session.EndReason, err)
	}
	if _, err := db.Sessions().Load(t.Context(), other.ID); err != nil {
		t.Errorf("another session: %v", err)
	}
	replica.Restart(t)
	until(t, "the session to be read again", func() bool {
		l, err := db.Sessions().Load(t.Context(), s.ID)
		return err == nil && l.Session.EndReason == fault.SignedOut
	})
	if n := db.doubts.any.Load(); n != 0 {
		t.Errorf("%d sessions are still in doubt", n)
	}
}

// standbyStore is a store whose connections lead to a standby, as through a pooler
// that was pointed at another server.
func standbyStore(t *testing.T, address string) *DB {
	t.Helper()
	c, err := configure(secretOf(address))
	if err != nil {
		t.Fatal(err)
	}
	c.ConnConfig.ValidateConnect = nil
	db, err := serve(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
