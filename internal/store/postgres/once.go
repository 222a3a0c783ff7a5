package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/once"
	"holdfast.example/internal/session"
)

// Once satisfies once.Store.
type Once struct{ db *DB }

// Once gives what is used once here.
func (db *DB) Once() Once { return Once{db} }

const (
	// spend waits for whoever spends the same key at the same moment.
	spend  = "INSERT INTO single_use (key, until) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING"
	putOne = "INSERT INTO single_use (key, until, sealed) VALUES ($1, coalesce($2::bigint, " + clock + ") + $3::bigint, $4) ON CONFLICT (key) DO NOTHING"
	// takeFirst waits for whoever takes the same value at the same moment, and then
	// finds it taken; takeAgain sees what that one wrote.
	takeFirst = `UPDATE single_use SET taken_at = n.now FROM (SELECT coalesce($2::bigint, ` + clock + `) AS now) n
 WHERE key = $1 AND sealed IS NOT NULL AND taken_at IS NULL AND until > n.now RETURNING sealed, taken_at`
	takeAgain = "SELECT sealed, taken_at FROM single_use WHERE key = $1 AND sealed IS NOT NULL AND taken_at IS NOT NULL AND until > coalesce($2::bigint, " + clock + ")"
)

// Spend implements once.Store.
func (o Once) Spend(ctx context.Context, key once.Key, until time.Time) (first bool, err error) {
	err = o.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		tag, err := c.Exec(ctx, spend, key[:], session.Millis(until))
		first = tag.RowsAffected() == 1
		return err
	})
	return first && err == nil, err
}

// Put implements once.Store.
func (o Once) Put(ctx context.Context, key once.Key, sealed []byte, life time.Duration) error {
	return o.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		tag, err := c.Exec(ctx, putOne, key[:], o.db.given(), life.Milliseconds(), sealed)
		return changedOne(tag, err)(once.ErrTaken)
	})
}

// Take implements once.Store, in one round trip.
func (o Once) Take(ctx context.Context, key once.Key) (v once.Value, err error) {
	err = o.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		v = once.Value{}
		b := &pgx.Batch{}
		for _, text := range []string{takeFirst, takeAgain} {
			b.Queue(text, key[:], o.db.given()).QueryRow(func(row pgx.Row) error {
				var sealed []byte
				var at int64
				err := row.Scan(&sealed, &at)
				if errors.Is(err, pgx.ErrNoRows) {
					return nil
				}
				if err == nil && v.Sealed == nil { // takeAgain also finds what takeFirst took
					v = once.Value{Sealed: sealed, First: text == takeFirst, At: session.FromMillis(at)}
				}
				return err
			})
		}
		err := c.SendBatch(ctx, b).Close()
		if err == nil && v.Sealed == nil {
			return refuse(once.ErrUnknown)
		}
		return err
	})
	if err != nil {
		return once.Value{}, err
	}
	return v, nil
}

// Forget implements once.Store.
func (o Once) Forget(ctx context.Context, before time.Time, limit int) (forgotten int, err error) {
	return o.db.inBatches(ctx, limit, `DELETE FROM single_use WHERE key IN
 (SELECT key FROM single_use WHERE until < $1 ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)`, session.Millis(before))
}
