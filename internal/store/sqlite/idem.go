package sqlite

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"holdfast.example/internal/idem"
	"holdfast.example/internal/session"
)

// Calls is the idem.Store of the database.
type Calls struct{ db *DB }

// Calls gives the database as an idem.Store.
func (db *DB) Calls() Calls { return Calls{db} }

// Reserve implements idem.Store.
func (cs Calls) Reserve(ctx context.Context, r idem.Record, notBefore time.Time) (standing idem.Record, reserved bool, err error) {
	err = cs.db.writer.write(ctx, func(c *conn) error {
		reserved = false
		var digest []byte
		found, err := c.one("SELECT call, at, answered, sealed FROM idempotent WHERE call = ? AND at >= ?", []any{r.Call[:], session.Millis(notBefore)}, func(row row) error {
			digest = append(digest[:0], row.blob(0)...)
			standing = idem.Record{At: session.FromMillis(row.int(1)), Answered: row.bool(2), Sealed: append([]byte(nil), row.blob(3)...)}
			return nil
		})
		if err != nil {
			return err
		}
		if found {
			if len(digest) != sha256.Size {
				return fmt.Errorf("sqlite: a call of %d bytes", len(digest))
			}
			standing.Call = [sha256.Size]byte(digest)
			return nil
		}
		_, err = c.run("INSERT OR REPLACE INTO idempotent (call, at, answered, sealed) VALUES (?, ?, ?, ?)", r.Call[:], session.Millis(r.At), r.Answered, r.Sealed)
		reserved = err == nil
		return err
	})
	if err != nil {
		return idem.Record{}, false, err
	}
	return standing, reserved, nil
}

// Complete implements idem.Store.
func (cs Calls) Complete(ctx context.Context, r idem.Record) error {
	return cs.db.writer.write(ctx, func(c *conn) error {
		_, err := c.run("UPDATE idempotent SET answered = ?, sealed = ? WHERE call = ? AND answered = 0", r.Answered, r.Sealed, r.Call[:])
		return err
	})
}

// Release implements idem.Store.
func (cs Calls) Release(ctx context.Context, call [sha256.Size]byte) error {
	return cs.db.writer.write(ctx, func(c *conn) error {
		_, err := c.run("DELETE FROM idempotent WHERE call = ? AND answered = 0", call[:])
		return err
	})
}

// Forget implements idem.Store.
func (cs Calls) Forget(ctx context.Context, before time.Time, limit int) (forgotten int, err error) {
	err = cs.db.writer.write(ctx, func(c *conn) error {
		n, err := c.run("DELETE FROM idempotent WHERE call IN (SELECT call FROM idempotent WHERE at < ? ORDER BY at LIMIT ?)", session.Millis(before), min(max(limit, 0), purgeDelete))
		forgotten = int(n)
		return err
	})
	return forgotten, err
}
