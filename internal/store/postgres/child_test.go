package postgres

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// queries counts what is sent to the server.
type queries struct{ n atomic.Int64 }

func (q *queries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	q.n.Add(1)
	return ctx
}

func (q *queries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestARefreshIsTwoRoundTrips, of a session that hangs under another one, too.
func TestARefreshIsTwoRoundTrips(t *testing.T) {
	address := newDatabase(t)
	_, phone := signIn(t, openAt(t, address, Options{}))
	c, err := configure(secretOf(address))
	if err != nil {
		t.Fatal(err)
	}
	tune(c, false)
	sent := &queries{}
	c.ConnConfig.Tracer = sent
	db, err := serve(t.Context(), c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	webView := phone
	webView.ID, webView.Parent = id.NewSession(), phone.ID
	if err := db.Sessions().Open(t.Context(), session.Opening{Session: webView}); err != nil {
		t.Fatal(err)
	}
	for name, which := range map[string]id.Session{"phone": phone.ID, "WebView": webView.ID} {
		before := sent.n.Load()
		l, err := db.Sessions().Load(t.Context(), which)
		if err != nil || l.Standing.ParentEnded != "" {
			t.Fatalf("%s: %v, its parent ended: %q", name, err, l.Standing.ParentEnded)
		}
		if err := db.Sessions().Replace(t.Context(), session.Change{Next: rotated(l.Session)}); err != nil {
			t.Fatal(err)
		}
		if n := sent.n.Load() - before; n != 2 {
			t.Errorf("%s: a refresh was %d statements, want 2", name, n)
		}
	}
	l, err := db.Sessions().Load(t.Context(), phone.ID)
	if err == nil {
		err = db.Sessions().Replace(t.Context(), ended(l.Session))
	}
	if err != nil {
		t.Fatal(err)
	}
	if l, err = db.Sessions().Load(t.Context(), webView.ID); err != nil || l.Standing.ParentEnded != fault.SignedOut {
		t.Errorf("the phone signed out, and its WebView has a parent that ended as %q (%v)", l.Standing.ParentEnded, err)
	}
}

// TestAReadTakesNoSharedLock: a PostgreSQL process keeps sixteen locks to itself
// and shares the rest with all others. A read of a session without a parent, which
// is nearly every one, must stay below that.
func TestAReadTakesNoSharedLock(t *testing.T) {
	db := openTest(t)
	_, s := signIn(t, db)
	conn, err := db.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	look := func() {
		t.Helper()
		if _, err := db.scanSession(conn.QueryRow(t.Context(), loadOne, [id.Size]byte(s.ID))); err != nil {
			t.Fatal(err)
		}
	}
	look() // plans, which takes more locks
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	look()
	var own, shared int
	err = tx.QueryRow(t.Context(), "SELECT count(*) FILTER (WHERE fastpath), count(*) FILTER (WHERE NOT fastpath) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation <> 'pg_locks'::regclass").Scan(&own, &shared)
	if err != nil || own == 0 || shared != 0 {
		t.Errorf("%d locks of its own, %d shared (%v)", own, shared, err)
	}

}
