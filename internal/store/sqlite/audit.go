package sqlite

import (
	"context"
	"net/netip"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// Audit is the audit.Store of the database.
type Audit struct{ db *DB }

// Audit gives the database as an audit.Store.
func (db *DB) Audit() Audit { return Audit{db} }

// account writes what a change tells followers and what it tells people.
func account(c *conn, entries []feed.Entry, events []audit.Event) error {
	if err := record(c, entries); err != nil {
		return err
	}
	return tell(c, events)
}

// tell writes events inside the transaction of their change.
func tell(c *conn, events []audit.Event) error {
	for _, e := range events {
		var user any
		if !e.User.IsZero() {
			user = e.User[:]
		}
		from := ""
		if e.Who.From.IsValid() {
			from = e.Who.From.String()
		}
		_, err := c.run(`INSERT INTO audit (at, name, actor, actor_id, actor_client, address, user, client, sid, object, reason, details)
 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, session.Millis(e.At), string(e.Name), string(e.Who.Actor), e.Who.ID, string(e.Who.Via), from, user,
			string(e.Client), e.SID, e.Object, string(e.Reason), e.EncodeDetails())
		if err != nil {
			return err
		}
	}
	return nil
}

// Add implements audit.Store.
func (a Audit) Add(ctx context.Context, e audit.Event) error {
	return a.db.writer.write(ctx, func(c *conn) error { return tell(c, []audit.Event{e}) })
}

// findAudit matches an empty filter with everything. The index on user serves a
// user's own page; an operator's other filters read backwards until the page is
// full.
const (
	auditColumns = `SELECT position, at, name, actor, actor_id, address, user, client, sid, object, reason, details, actor_client FROM audit`
	auditFilters = `position < ? AND (? = '' OR client = ?) AND (? = '' OR sid = ?) AND (? = '' OR name = ?)
 AND (? = '' OR address = ?) AND (? = 0 OR at < ?) ORDER BY position DESC LIMIT ?`
	findAudit  = ` WHERE ` + auditFilters
	findOfUser = ` WHERE user = ? AND ` + auditFilters
)

// Find implements audit.Store.
func (a Audit) Find(ctx context.Context, q audit.Query) (all []audit.Event, err error) {
	before := q.Before
	if before <= 0 {
		before = 1<<63 - 1
	}
	cl, name, from, until := string(q.Client), string(q.Name), "", session.Millis(q.Until)
	if q.From.IsValid() {
		from = q.From.String()
	}
	text, args := auditColumns+findAudit, []any{before, cl, cl, q.SID, q.SID, name, name, from, from, until, until, max(q.Limit, 0)}
	if !q.User.IsZero() {
		text, args = auditColumns+findOfUser, append([]any{q.User[:]}, args...)
	}
	err = a.db.readers.read(ctx, func(c *conn) error {
		all = nil
		return c.each(ctx, text, args, func(r row) error {
			e, err := scanEvent(r)
			all = append(all, e)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

func scanEvent(r row) (e audit.Event, err error) {
	e = audit.Event{Position: r.int(0), At: session.FromMillis(r.int(1)), Name: audit.Name(r.text(2)),
		Who:    audit.Who{Actor: audit.Actor(r.text(3)), ID: r.text(4), Via: id.Client(r.text(12))},
		Client: id.Client(r.text(7)), SID: r.text(8), Object: r.text(9), Reason: fault.Reason(r.text(10))}
	if from := r.text(5); from != "" {
		if e.Who.From, err = netip.ParseAddr(from); err != nil {
			return e, err
		}
	}
	if !r.null(6) {
		u, err := r.array16(6)
		if err != nil {
			return e, err
		}
		e.User = id.User(u)
	}
	e.Details, err = audit.DecodeDetails(r.text(11))
	return e, err
}

// Forget implements audit.Store. Positions rise with time, so the oldest rows
// are the first ones.
func (a Audit) Forget(ctx context.Context, before time.Time, limit int) (forgotten int, err error) {
	for forgotten < limit {
		batch := min(limit-forgotten, purgeDelete)
		var n int64
		err := a.db.writer.write(ctx, func(c *conn) error {
			var err error
			n, err = c.run("DELETE FROM audit WHERE position IN (SELECT position FROM audit ORDER BY position LIMIT ?) AND at < ?", batch, session.Millis(before))
			return err
		})
		if err != nil {
			return forgotten, err
		}
		forgotten += int(n)
		if n < int64(batch) {
			break
		}
	}
	return forgotten, nil
}
