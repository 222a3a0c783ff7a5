package sqlite

import (
	"context"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// Every read of sessions asks for the same columns. The joins find each other
// by integer keys. The reason of a moved epoch and the parent are looked for
// only when there is one, in subqueries: a joined table costs time in every read,
// also when it has nothing to say.
const (
	loadColumns = `SELECT s.version, s.epoch, s.used_at, s.created_at, s.ended_at, s.end_reason, s.facts, s.chain,
 t.scope, t.earned, t.amr, c.id, u.id, u.epoch, (c.stopped <> 0) + 2 * (u.disabled <> 0) + 4 * (u.gone <> 0),
 CASE WHEN u.epoch > s.epoch THEN (SELECT e.reason FROM user_epoch e WHERE e.user = s.user AND e.epoch = s.epoch + 1) END,
 CASE WHEN u.epoch > s.epoch THEN (SELECT e.at FROM user_epoch e WHERE e.user = s.user AND e.epoch = s.epoch + 1) END,
 CASE WHEN s.parent IS NOT NULL THEN ifnull((SELECT ifnull(p.end_reason, '') FROM session p WHERE p.key = s.parent), '` + parentGone + `') END`
	loadTables = ` FROM session s
 JOIN user u ON u.ref = s.user
 JOIN terms t ON t.ref = s.terms
 JOIN client c ON c.ref = t.client`

	loadOne  = loadColumns + loadTables + ` WHERE s.key = ? AND s.tail = ?`
	loadMany = loadColumns + `, s.key, s.tail` + loadTables

	// parentGone is what ended the parent of a session when its row was purged:
	// the child cannot outlive it, and all that is left to say is that it was
	// not used for long.
	parentGone = string(fault.Idle)
	// idColumn is where loadMany has the id.
	idColumn = 18
)

// Now implements session.Store.
func (s Sessions) Now(context.Context) (time.Time, error) { return s.db.time(), nil }

// Load implements session.Store.
func (s Sessions) Load(ctx context.Context, which id.Session) (l session.Loaded, err error) {
	var found bool
	key, tail := halves(which)
	err = s.db.readers.read(ctx, func(c *conn) error {
		l.Now = s.db.time()
		found, err = c.one(loadOne, []any{key, tail}, func(r row) error { return scanSession(r, &l) })
		return err
	})
	switch {
	case err != nil:
		return session.Loaded{}, err
	case !found:
		return session.Loaded{}, session.ErrNotFound
	}
	l.Session.ID = which
	return l, nil
}

// scanSession reads the columns of loadColumns.
func scanSession(r row, l *session.Loaded) (err error) {
	user, err := r.array16(12)
	if err != nil {
		return err
	}
	s := &l.Session
	s.User, s.Client = id.User(user), id.Client(r.text(11))
	s.Version, s.Epoch = uint64(r.int(0)), uint32(r.int(1))
	s.UsedAt, s.CreatedAt = session.FromMillis(r.int(2)), session.FromMillis(r.int(3))
	s.EndedAt, s.EndReason = session.FromMillis(r.int(4)), fault.Reason(r.text(5))
	s.Scope, s.Grant, s.AMR = r.text(8), r.text(9), r.text(10)
	if err := unpackFacts(r.blob(6), s); err != nil {
		return err
	}
	if s.Chain, err = session.DecodeChain(r.blob(7), s.UsedAt); err != nil {
		return err
	}
	stops := r.int(14)
	l.Standing = session.Standing{
		ClientStopped: stops&1 != 0,
		UserDisabled:  stops&2 != 0,
		UserDeleted:   stops&4 != 0,
		UserEpoch:     uint32(r.int(13)),
		EpochReason:   fault.Reason(r.text(15)),
		EpochAt:       session.FromMillis(r.int(16)),
		ParentEnded:   fault.Reason(r.text(17)),
	}
	return nil
}

// Replace implements session.Store.
func (s Sessions) Replace(ctx context.Context, ch session.Change) error {
	relaxed := s.db.relaxed && ch.Relaxed && ch.Next.EndReason == "" && len(ch.Entries)+len(ch.Audit) == 0
	return s.db.writer.put(ctx, func(c *conn) error {
		n, err := replaceSession(c, ch.Next)
		if err != nil {
			return err
		}
		if n == 0 {
			return refuse(session.ErrChanged)
		}
		return account(c, ch.Entries, ch.Audit)
	}, relaxed)
}

// replaceSession is the compare-and-swap. Whose session it is, at which client
// and under which parent never changes; everything else may.
func replaceSession(c *conn, next session.Session) (changed int64, err error) {
	terms, err := termsOf(c, next)
	if err != nil {
		return 0, err
	}
	ended, reason := endColumns(next)
	key, tail := halves(next.ID)
	return c.run(`UPDATE session SET version = ?, epoch = ?, terms = ?, used_at = ?, created_at = ?, ended_at = ?, end_reason = ?, facts = ?, chain = ?
 WHERE key = ? AND tail = ? AND version = ?`,
		next.Version, next.Epoch, terms, session.Millis(next.UsedAt), session.Millis(next.CreatedAt), ended, reason,
		packFacts(next), session.EncodeChain(next.Chain, next.UsedAt), key, tail, next.Version-1)
}

// endColumns are NULL while a session stands.
func endColumns(s session.Session) (at, reason any) {
	if s.EndReason == "" {
		return nil, nil
	}
	return session.Millis(s.EndedAt), string(s.EndReason)
}
