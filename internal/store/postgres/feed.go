package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/session"
)

// The order of the record. A follower resumes from a position, so no entry may
// appear below a position that somebody has seen. Numbers drawn while a change is
// written do not keep that: they are drawn in one order and committed in another.
// Making writers commit in order of their numbers would let the slowest stall all.
//
// So a change writes its entry without a position, and the first who looks at the
// record after the commit gives the positions: one short transaction that locks
// the head of the record, numbers what is committed and has none, and moves the
// head. Those transactions take turns at the head's row, so positions become
// visible in their order; no transaction of a change is ever among them, so a
// slow one stalls nobody, and its entry is numbered when it is there. Whoever dies
// in between leaves entries that the next one numbers.
//
// What was committed before a call of Since is in its answer or behind its limit.
// docs/adr/0011-postgres-record-order.md tells what else was considered.
const (
	recordColumns = "SELECT position, kind, key, epoch, except_sid, reason, at, until FROM revocation"
	recordAfter   = recordColumns + " WHERE position > $1 ORDER BY position LIMIT $2"
	recordPending = "SELECT EXISTS (SELECT 1 FROM revocation WHERE position IS NULL)"
	// recordUnnumbered reads what has no position yet as if it had the given one.
	recordUnnumbered = "SELECT $1::bigint, kind, key, epoch, except_sid, reason, at, until FROM revocation WHERE position IS NULL ORDER BY written, id LIMIT $2"

	lockHead = "SELECT head FROM record_head WHERE one = 1 FOR UPDATE"
	number   = `WITH due AS (
  SELECT id, row_number() OVER (ORDER BY written, id) AS n FROM revocation WHERE position IS NULL ORDER BY written, id LIMIT $1
 ), numbered AS (
  UPDATE revocation r SET position = h.head + due.n FROM due, record_head h WHERE r.id = due.id AND h.one = 1
 ) UPDATE record_head SET head = head + (SELECT count(*) FROM due) WHERE one = 1`

	// numberBatch is how many entries get their positions in one transaction.
	numberBatch = 1000
)

// Since implements feed.Store. When nothing awaits its position, it is one round
// trip that writes nothing.
func (f Feed) Since(ctx context.Context, position int64, limit int) (all []feed.Entry, err error) {
	limit = max(limit, 0)
	var pending bool
	err = f.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		b := &pgx.Batch{}
		b.Queue(recordPending).QueryRow(func(r pgx.Row) error { return r.Scan(&pending) })
		all = nil
		queueEntries(b, &all, recordAfter, position, limit)
		return c.SendBatch(ctx, b).Close()
	})
	if err != nil || !pending {
		return all, err
	}
	var numbered []feed.Entry
	err = f.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		b := &pgx.Batch{}
		numbered = nil
		b.Queue(lockHead)
		b.Queue(number, numberBatch) // sees what was committed before it got the lock
		queueEntries(b, &numbered, recordAfter, position, limit)
		return c.SendBatch(ctx, b).Close()
	})
	if errors.Is(err, session.ErrReadOnly) {
		return f.unnumbered(ctx, position, limit, all)
	}
	if err != nil {
		return nil, err
	}
	return numbered, nil
}

// unnumbered adds what cannot get a position now, because the database cannot be
// written. It is told under the last position before it and told again later, as
// followers must expect: a revocation does not wait for a disk.
func (f Feed) unnumbered(ctx context.Context, position int64, limit int, known []feed.Entry) (all []feed.Entry, err error) {
	if len(known) > 0 {
		position = known[len(known)-1].Position
	}
	err = f.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		all = known[:len(known):len(known)]
		b := &pgx.Batch{}
		queueEntries(b, &all, recordUnnumbered, position, limit-len(known))
		return c.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func queueEntries(b *pgx.Batch, all *[]feed.Entry, text string, args ...any) {
	b.Queue(text, args...).Query(func(rows pgx.Rows) error {
		var kind, reason string
		var at, until int64
		var e feed.Entry
		_, err := pgx.ForEachRow(rows, []any{&e.Position, &kind, &e.Key, &e.Epoch, &e.ExceptSID, &reason, &at, &until}, func() error {
			e.Kind, e.Reason, e.At, e.Until = feed.Kind(kind), fault.Reason(reason), session.FromMillis(at), session.FromMillis(until)
			*all = append(*all, e)
			return nil
		})
		return err
	})
}

var recordOne = "WITH change AS (SELECT 1), " + accountFor("change", 1) + " SELECT 1"

// Record implements feed.Store.
func (f Feed) Record(ctx context.Context, e feed.Entry, events []audit.Event) error {
	return f.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, recordOne, accountArgs([]feed.Entry{e}, events)...)
		return err
	})
}

// Head is the last position of the record that was given out, also when its entry
// was forgotten.
func (f Feed) Head(ctx context.Context) (head int64, err error) {
	err = f.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT head FROM record_head").Scan(&head)
	})
	return head, err
}

// TokenRevoked implements feed.Store.
func (f Feed) TokenRevoked(ctx context.Context, jti string) (revoked bool, err error) {
	err = f.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM revocation WHERE key = $1 AND kind = $2)", jti, string(feed.Token)).Scan(&revoked)
	})
	return revoked, err
}

// Forget implements feed.Store. Nodes that forget at the same moment leave each
// other's entries alone.
func (f Feed) Forget(ctx context.Context, now time.Time, limit int) (forgotten int, err error) {
	return f.db.inBatches(ctx, limit, `DELETE FROM revocation WHERE id IN
 (SELECT id FROM revocation WHERE until < $1 ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)`, session.Millis(now))
}
