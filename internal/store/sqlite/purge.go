package sqlite

import (
	"cmp"
	"context"
	"math"
	"sync"
	"time"

	"holdfast.example/internal/session"
)

// Limits of a purge: how many rows one look passes, so that no snapshot is held
// for long, how many looks a purge takes, so that a large table with nothing due in
// it is not read from end to end each time, and how many rows one operation deletes, so that refreshes get
// their turn in between.
const (
	purgeLook   = 4096
	purgeLooks  = 16
	purgeDelete = 128
)

// purgeCursor is the key at which the next look begins. No index knows when
// sessions were used, because it would cost every refresh a second write; a
// purge walks the table instead and goes on where the last one stopped.
type purgeCursor struct {
	mu   sync.Mutex
	next int64
	// used is the oldest time, in milliseconds, that this walk has asked for since the
	// beginning of the table; what was used before is gone when it comes to the end.
	used int64
	// look is purgeLook; tests make it small.
	look int
}

// Purge implements session.Store.
func (s Sessions) Purge(ctx context.Context, endedBefore, usedBefore time.Time, limit int) (purged int, err error) {
	p := &s.db.purge
	p.mu.Lock()
	defer p.mu.Unlock()
	ended, used := session.Millis(endedBefore), session.Millis(usedBefore)
	start, wrapped := p.next, false
	for looks := 0; purged < limit && looks < purgeLooks; looks++ {
		if p.used = min(p.used, used); p.next == math.MinInt64 {
			p.used = used
		}
		look, err := s.due(ctx, p.next, ended, used, min(limit-purged, purgeDelete))
		if err != nil {
			return purged, err
		}
		n, err := s.deleteDue(ctx, look.keys, ended, used)
		purged += n
		if err != nil {
			return purged, err
		}
		p.next = look.next
		if look.end {
			if wrapped || start == math.MinInt64 {
				return purged, s.db.purgeEpochs(ctx, used)
			}
			wrapped = true
			if err := s.db.purgeEpochs(ctx, p.used); err != nil {
				return purged, err
			}
		} else if wrapped && p.next > start {
			return purged, s.db.purgeEpochs(ctx, used)
		}
	}
	return purged, nil
}

// look is one stretch of the table: the keys that are due in it, where the next
// stretch begins, and whether this one reached the end of the table.
type look struct {
	keys []int64
	next int64
	end  bool
}

func (s Sessions) due(ctx context.Context, from, ended, used int64, limit int) (l look, err error) {
	rows := cmp.Or(s.db.purge.look, purgeLook)
	err = s.db.readers.read(ctx, func(c *conn) error {
		l = look{next: math.MinInt64, end: true}
		until := int64(math.MaxInt64)
		found, err := c.one("SELECT key FROM session WHERE key >= ? ORDER BY key LIMIT 1 OFFSET ?", []any{from, rows}, func(r row) error {
			until = r.int(0) - 1
			return nil
		})
		if err != nil {
			return err
		}
		if found {
			l.next, l.end = until+1, false
		}
		err = c.each(ctx, "SELECT key FROM session WHERE key BETWEEN ? AND ? AND (ended_at < ? OR used_at < ?) ORDER BY key LIMIT ?",
			[]any{from, until, ended, used, limit}, func(r row) error {
				l.keys = append(l.keys, r.int(0))
				return nil
			})
		if n := len(l.keys); n == limit && l.keys[n-1] != math.MaxInt64 {
			l.next, l.end = l.keys[n-1]+1, false // there may be more before until
		}
		return err
	})
	return l, err
}

// deleteDue looks again before it deletes: a session may have been used since.
func (s Sessions) deleteDue(ctx context.Context, keys []int64, ended, used int64) (deleted int, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	err = s.db.writer.write(ctx, func(c *conn) error {
		deleted = 0
		for _, key := range keys {
			n, err := c.run("DELETE FROM session WHERE key = ? AND (ended_at < ? OR used_at < ?)", key, ended, used)
			if err != nil {
				return err
			}
			deleted += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return deleted, nil
}

// purgeEpochs forgets why epochs moved before the given time: whoever carries
// an older epoch was last used before it and has just been purged.
func (db *DB) purgeEpochs(ctx context.Context, before int64) error {
	type epoch struct{ user, epoch int64 }
	var due []epoch
	err := db.readers.read(ctx, func(c *conn) error {
		due = nil
		return c.each(ctx, "SELECT user, epoch FROM user_epoch WHERE at < ? LIMIT ?", []any{before, purgeDelete}, func(r row) error {
			due = append(due, epoch{r.int(0), r.int(1)})
			return nil
		})
	})
	if err != nil || len(due) == 0 {
		return err
	}
	return db.writer.write(ctx, func(c *conn) error {
		for _, e := range due {
			if _, err := c.run("DELETE FROM user_epoch WHERE user = ? AND epoch = ?", e.user, e.epoch); err != nil {
				return err
			}
		}
		return nil
	})
}
