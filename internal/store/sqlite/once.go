package sqlite

import (
	"context"
	"time"

	"holdfast.example/internal/once"
	"holdfast.example/internal/session"
)

// Once is the once.Store of the database.
type Once struct{ db *DB }

// Once gives what is used once here.
func (db *DB) Once() Once { return Once{db} }

// Spend implements once.Store.
func (o Once) Spend(ctx context.Context, key once.Key, until time.Time) (first bool, err error) {
	err = o.db.writer.write(ctx, func(c *conn) error {
		n, err := c.run("INSERT INTO single_use (key, until) VALUES (?, ?) ON CONFLICT DO NOTHING", key[:], session.Millis(until))
		first = n == 1
		return err
	})
	return first && err == nil, err
}

// Put implements once.Store.
func (o Once) Put(ctx context.Context, key once.Key, sealed []byte, life time.Duration) error {
	return o.db.writer.write(ctx, func(c *conn) error {
		n, err := c.run("INSERT INTO single_use (key, until, sealed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
			key[:], session.Millis(o.db.time().Add(life)), sealed)
		if err == nil && n == 0 {
			return refuse(once.ErrTaken)
		}
		return err
	})
}

// Take implements once.Store.
func (o Once) Take(ctx context.Context, key once.Key) (v once.Value, err error) {
	err = o.db.writer.write(ctx, func(c *conn) error {
		now := o.db.time()
		v = once.Value{}
		found, err := c.one("SELECT sealed, taken_at FROM single_use WHERE key = ? AND sealed IS NOT NULL AND until > ?", []any{key[:], session.Millis(now)}, func(r row) error {
			v = once.Value{Sealed: append([]byte(nil), r.blob(0)...), First: r.null(1), At: session.FromMillis(r.int(1))}
			return nil
		})
		switch {
		case err != nil:
			return err
		case !found:
			return refuse(once.ErrUnknown)
		case !v.First:
			return nil
		}
		v.At = now
		_, err = c.run("UPDATE single_use SET taken_at = ? WHERE key = ?", session.Millis(now), key[:])
		return err
	})
	if err != nil {
		return once.Value{}, err
	}
	return v, nil
}

// Forget implements once.Store.
func (o Once) Forget(ctx context.Context, before time.Time, limit int) (forgotten int, err error) {
	err = o.db.writer.write(ctx, func(c *conn) error {
		n, err := c.run("DELETE FROM single_use WHERE key IN (SELECT key FROM single_use WHERE until < ? ORDER BY until LIMIT ?)",
			session.Millis(before), min(max(limit, 0), purgeDelete))
		forgotten = int(n)
		return err
	})
	return forgotten, err
}
