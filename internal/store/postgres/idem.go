package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast.example/internal/idem"
	"holdfast.example/internal/session"
)

const (
	// reserveCall waits for whoever reserves the same call at the same moment;
	// standingCall then sees what that one wrote.
	reserveCall = `INSERT INTO idempotent (call, at, answered, sealed) VALUES ($1, $2, $3, $4)
 ON CONFLICT (call) DO UPDATE SET at = excluded.at, answered = excluded.answered, sealed = excluded.sealed WHERE idempotent.at < $5`
	standingCall = "SELECT at, answered, sealed FROM idempotent WHERE call = $1"
)

// errReleased: the reservation that stood in the way was gone at the second look.
var errReleased = errors.New("postgres: a call was released while it was reserved")

// Reserve implements idem.Store, in one round trip.
func (cs Calls) Reserve(ctx context.Context, r idem.Record, notBefore time.Time) (standing idem.Record, reserved bool, err error) {
	for range MaxTries {
		standing, reserved, err = cs.reserve(ctx, r, notBefore)
		if !errors.Is(err, errReleased) {
			break
		}
	}
	if err != nil || reserved {
		return idem.Record{}, reserved, err
	}
	return standing, false, nil
}

func (cs Calls) reserve(ctx context.Context, r idem.Record, notBefore time.Time) (standing idem.Record, reserved bool, err error) {
	err = cs.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		standing, reserved = idem.Record{Call: r.Call}, false
		b := &pgx.Batch{}
		b.Queue(reserveCall, r.Call[:], session.Millis(r.At), r.Answered, r.Sealed, session.Millis(notBefore)).Exec(func(tag pgconn.CommandTag) error {
			reserved = tag.RowsAffected() == 1
			return nil
		})
		b.Queue(standingCall, r.Call[:]).QueryRow(func(row pgx.Row) error {
			var at int64
			err := row.Scan(&at, &standing.Answered, &standing.Sealed)
			standing.At = session.FromMillis(at)
			if errors.Is(err, pgx.ErrNoRows) {
				return refuse(fmt.Errorf("%w: %w", errReleased, err))
			}
			return err
		})
		return c.SendBatch(ctx, b).Close()
	})
	return standing, reserved, err
}

// Complete implements idem.Store.
func (cs Calls) Complete(ctx context.Context, r idem.Record) error {
	return cs.run(ctx, "UPDATE idempotent SET answered = $2, sealed = $3 WHERE call = $1 AND NOT answered", r.Call[:], r.Answered, r.Sealed)
}

// Release implements idem.Store.
func (cs Calls) Release(ctx context.Context, call [sha256.Size]byte) error {
	return cs.run(ctx, "DELETE FROM idempotent WHERE call = $1 AND NOT answered", call[:])
}

func (cs Calls) run(ctx context.Context, text string, args ...any) error {
	return cs.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, text, args...)
		return err
	})
}

// Forget implements idem.Store.
func (cs Calls) Forget(ctx context.Context, before time.Time, limit int) (forgotten int, err error) {
	return cs.db.inBatches(ctx, limit, `DELETE FROM idempotent WHERE call IN
 (SELECT call FROM idempotent WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)`, session.Millis(before))
}
