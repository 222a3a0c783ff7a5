package postgres

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// Limits of a purge: how many rows one look passes, how many looks a purge takes, so
// that a large table with nothing due in it is not read from end to end each time, and
// how many rows one change deletes, so that no lock is held for long.
const (
	purgeLook   = 4096
	purgeLooks  = 16
	purgeDelete = 128
)

// purgeCursor is the id after which the next look begins. No index knows when
// sessions were used, because it would cost every refresh a second write; a purge
// walks the table instead and goes on where the last one stopped. Every node has a
// walk of its own, and they begin at different places in time; two that meet leave
// each other's rows alone.
type purgeCursor struct {
	mu   sync.Mutex
	next [id.Size]byte
	// used is the oldest time, in milliseconds, that this walk has asked for since the
	// beginning of the table; what was used before is gone when it comes to the end.
	used int64
	// look is purgeLook; tests make it small.
	look int
}

const (
	purgeDue = `WITH look AS (SELECT id, ended_at, used_at FROM session WHERE id > $1 ORDER BY id LIMIT $2),
 due AS (SELECT id FROM look WHERE ended_at < $3 OR used_at < $4 ORDER BY id LIMIT $5)
SELECT ARRAY(SELECT id FROM due ORDER BY id), (SELECT count(*) FROM look), (SELECT id FROM look ORDER BY id DESC LIMIT 1)`

	// purgeSessions looks again: a session may have been used since.
	purgeSessions = `DELETE FROM session WHERE id IN
 (SELECT id FROM session WHERE id = ANY($1::uuid[]) AND (ended_at < $2 OR used_at < $3) ORDER BY id FOR UPDATE SKIP LOCKED)`

	purgeEpochs = `DELETE FROM account_epoch WHERE (account, epoch) IN
 (SELECT account, epoch FROM account_epoch WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)`
)

// Purge implements session.Store.
func (s Sessions) Purge(ctx context.Context, endedBefore, usedBefore time.Time, limit int) (purged int, err error) {
	p := &s.db.purge
	p.mu.Lock()
	defer p.mu.Unlock()
	ended, used := session.Millis(endedBefore), session.Millis(usedBefore)
	start, wrapped := p.next, false
	for looks := 0; purged < limit && looks < purgeLooks; looks++ {
		if p.used = min(p.used, used); p.next == [id.Size]byte{} {
			p.used = used
		}
		l, err := s.look(ctx, p.next, ended, used, min(limit-purged, purgeDelete))
		if err != nil {
			return purged, err
		}
		n, err := s.deleteDue(ctx, l.due, ended, used)
		purged += n
		if err != nil {
			return purged, err
		}
		p.next = l.next
		if l.end {
			if wrapped || start == [id.Size]byte{} {
				return purged, s.forgetEpochs(ctx, used)
			}
			wrapped = true
			if err := s.forgetEpochs(ctx, p.used); err != nil {
				return purged, err
			}
		} else if wrapped && string(p.next[:]) >= string(start[:]) {
			return purged, s.forgetEpochs(ctx, used)
		}
	}
	return purged, nil
}

// stretch is a part of the table: the sessions that are due in it, the id after
// which the next one begins, and whether this one reached the end of the table.
type stretch struct {
	due  [][id.Size]byte
	next [id.Size]byte
	end  bool
}

func (s Sessions) look(ctx context.Context, after [id.Size]byte, ended, used int64, limit int) (l stretch, err error) {
	rows := cmp.Or(s.db.purge.look, purgeLook)
	err = s.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		l = stretch{}
		var passed int
		var last *[id.Size]byte
		if err := c.QueryRow(ctx, purgeDue, after, rows, ended, used, limit).Scan(&l.due, &passed, &last); err != nil {
			return err
		}
		switch n := len(l.due); {
		case n == limit: // there may be more in what was passed
			l.next = l.due[n-1]
		case passed < rows:
			l.end = true
		default:
			l.next = *last
		}
		return nil
	})
	return l, err
}

func (s Sessions) deleteDue(ctx context.Context, due [][id.Size]byte, ended, used int64) (deleted int, err error) {
	if len(due) == 0 {
		return 0, nil
	}
	err = s.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		tag, err := c.Exec(ctx, purgeSessions, due, ended, used)
		deleted = int(tag.RowsAffected())
		return err
	})
	return deleted, err
}

// forgetEpochs forgets why epochs moved before the given time: whoever carries an
// older epoch was last used before it and has just been purged.
func (s Sessions) forgetEpochs(ctx context.Context, before int64) error {
	_, err := s.db.inBatches(ctx, purgeDelete, purgeEpochs, before)
	return err
}
