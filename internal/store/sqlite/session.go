package sqlite

import (
	"context"
	"time"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// Every read of sessions asks for the same columns. The joins find each other
// by integer keys; the reason of a moved epoch and the parent are looked for
// only when there is one.
const (
	loadColumns = `SELECT s.version, s.epoch, s.used_at, s.created_at, s.ended_at, s.end_reason, s.facts, s.chain,
 t.scope, t.earned, t.amr, c.id, c.stopped, u.id, u.disabled, u.gone, u.epoch, e.reason, e.at,
 CASE WHEN s.parent IS NULL THEN NULL WHEN p.key IS NULL THEN '` + parentGone + `' ELSE p.end_reason END`
	loadTables = ` FROM session s
 JOIN user u ON u.ref = s.user
 JOIN terms t ON t.ref = s.terms
 JOIN client c ON c.ref = t.client
 LEFT JOIN user_epoch e ON e.user = CASE WHEN u.epoch > s.epoch THEN s.user END AND e.epoch = s.epoch + 1
 LEFT JOIN session p ON p.key = s.parent`

	loadOne  = loadColumns + loadTables + ` WHERE s.key = ? AND s.tail = ?`
	loadMany = loadColumns + `, s.key, s.tail` + loadTables

	// parentGone is what ended the parent of a session when its row was purged:
	// the child cannot outlive it, and all that is left to say is that it was
	// not used for long.
	parentGone = string(fault.Idle)
	// idColumn is where loadMany has the id.
	idColumn = 20
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
	user, err := r.array16(13)
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
	l.Standing = session.Standing{
		ClientStopped: r.bool(12),
		UserDisabled:  r.bool(14),
		UserDeleted:   r.bool(15),
		UserEpoch:     uint32(r.int(16)),
		EpochReason:   fault.Reason(r.text(17)),
		EpochAt:       session.FromMillis(r.int(18)),
		ParentEnded:   fault.Reason(r.text(19)),
	}
	return nil
}

// Replace implements session.Store.
func (s Sessions) Replace(ctx context.Context, ch session.Change) error {
	return s.db.writer.write(ctx, func(c *conn) error {
		n, err := replaceSession(c, ch.Next)
		if err != nil {
			return err
		}
		if n == 0 {
			return refuse(session.ErrChanged)
		}
		return account(c, ch.Entries, ch.Audit)
	})
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
