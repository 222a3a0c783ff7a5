package sqlite

import (
	"context"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/session"
)

// record writes entries inside the transaction of their change. There is one
// writing transaction at a time, in all processes together, so the order of
// positions is the order of commits and a follower that has seen a position has
// seen everything before it. An entry that says nothing beyond a recorded one is
// not written again.
func record(c *conn, entries []feed.Entry) error {
	for _, e := range entries {
		until := session.Millis(e.Until)
		known, err := c.number("SELECT 1 FROM revocation WHERE key = ? AND kind = ? AND epoch >= ? AND except_sid = ? AND until >= ? LIMIT 1",
			e.Key, string(e.Kind), e.Epoch, e.ExceptSID, until)
		if err != nil {
			return err
		}
		if known != 0 {
			continue
		}
		_, err = c.run("INSERT INTO revocation (kind, key, epoch, except_sid, reason, at, until) VALUES (?, ?, ?, ?, ?, ?, ?)",
			string(e.Kind), e.Key, e.Epoch, e.ExceptSID, string(e.Reason), session.Millis(e.At), until)
		if err != nil {
			return err
		}
	}
	return nil
}

// Record implements feed.Store.
func (f Feed) Record(ctx context.Context, e feed.Entry, events []audit.Event) error {
	return f.db.writer.write(ctx, func(c *conn) error { return account(c, []feed.Entry{e}, events) })
}

// Head is the last position of the record that was given out, also when its entry
// was forgotten.
func (f Feed) Head(ctx context.Context) (head int64, err error) {
	err = f.db.readers.read(ctx, func(c *conn) error {
		head, err = c.number(recordHead)
		return err
	})
	return head, err
}

// TokenRevoked implements feed.Store.
func (f Feed) TokenRevoked(ctx context.Context, jti string) (revoked bool, err error) {
	err = f.db.readers.read(ctx, func(c *conn) error {
		n, err := c.number("SELECT 1 FROM revocation WHERE key = ? AND kind = ? LIMIT 1", jti, string(feed.Token))
		revoked = n != 0
		return err
	})
	return revoked, err
}

// Since implements feed.Store.
func (f Feed) Since(ctx context.Context, position int64, limit int) (all []feed.Entry, err error) {
	err = f.db.readers.read(ctx, func(c *conn) error {
		return c.each(ctx, "SELECT position, kind, key, epoch, except_sid, reason, at, until FROM revocation WHERE position > ? ORDER BY position LIMIT ?",
			[]any{position, max(limit, 0)}, func(r row) error {
				all = append(all, feed.Entry{
					Position: r.int(0), Kind: feed.Kind(r.text(1)), Key: r.text(2), Epoch: uint32(r.int(3)), ExceptSID: r.text(4),
					Reason: fault.Reason(r.text(5)), At: session.FromMillis(r.int(6)), Until: session.FromMillis(r.int(7)),
				})
				return nil
			})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Forget implements feed.Store.
func (f Feed) Forget(ctx context.Context, now time.Time, limit int) (forgotten int, err error) {
	for forgotten < limit {
		var due []int64
		err := f.db.readers.read(ctx, func(c *conn) error {
			due = nil
			return c.each(ctx, "SELECT position FROM revocation WHERE until < ? ORDER BY position LIMIT ?",
				[]any{session.Millis(now), min(limit-forgotten, purgeDelete)}, func(r row) error {
					due = append(due, r.int(0))
					return nil
				})
		})
		if err != nil || len(due) == 0 {
			return forgotten, err
		}
		err = f.db.writer.write(ctx, func(c *conn) error {
			for _, position := range due {
				if _, err := c.run("DELETE FROM revocation WHERE position = ?", position); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return forgotten, err
		}
		forgotten += len(due)
	}
	return forgotten, nil
}
