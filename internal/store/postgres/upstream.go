package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/upstream"
)

// Upstreams satisfies upstream.Store.
type Upstreams struct{ db *DB }

// Upstreams gives the providers and links kept here.
func (db *DB) Upstreams() Upstreams { return Upstreams{db} }

const selectLink = "SELECT k.upstream, k.subject, k.account, k.linked_at FROM upstream_link k JOIN account a ON a.id = k.account WHERE NOT a.gone"

var (
	allUpstreams = "SELECT id, version, doc, sealed FROM upstream ORDER BY id"
	newUpstream  = "WITH made AS (INSERT INTO upstream (id, version, doc, sealed) SELECT $1, $2, $3, $4 WHERE $2::bigint = 1 ON CONFLICT (id) DO NOTHING RETURNING id), " +
		accountFor("made", 5) + " SELECT 1 FROM made"
	putUpstream = "WITH made AS (UPDATE upstream SET version = $2, doc = $3, sealed = $4 WHERE id = $1 AND version = $2::bigint - 1 RETURNING id), " +
		accountFor("made", 5) + " SELECT 1 FROM made"
	linkBySubject = selectLink + " AND k.upstream = $1 AND k.subject = $2"
	linksOfUser   = selectLink + " AND k.account = $1 ORDER BY k.upstream"
	// link locks the account, so that it is not removed in between.
	linkSubject = "WITH owner AS (SELECT id FROM account WHERE id = $1 AND NOT gone FOR SHARE), " +
		"made AS (INSERT INTO upstream_link (upstream, subject, account, linked_at) SELECT $2, $3, id, $4 FROM owner RETURNING account), " +
		accountFor("made", 5) + " SELECT 1 FROM made"
	unlinkUser = "WITH made AS (DELETE FROM upstream_link WHERE account = $1 AND upstream = $2 RETURNING account), " +
		accountFor("made", 3) + " SELECT 1 FROM made"
)

// Upstreams implements upstream.Store.
func (us Upstreams) Upstreams(ctx context.Context) (all []upstream.Row, err error) {
	err = us.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, allUpstreams)
		if err != nil {
			return err
		}
		all, err = collect(rows, func(row pgx.CollectableRow) (r upstream.Row, err error) {
			err = row.Scan(&r.ID, &r.Version, &r.Doc, &r.Sealed)
			return r, err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// PutUpstream implements upstream.Store.
func (us Upstreams) PutUpstream(ctx context.Context, r upstream.Row, events []audit.Event) error {
	text := putUpstream
	if r.Version == 1 {
		text = newUpstream
	}
	return us.change(ctx, text, append([]any{r.ID, int64(r.Version), r.Doc, r.Sealed}, accountArgs(nil, events)...), upstream.ErrChanged)
}

// change runs a statement that changes one row.
func (us Upstreams) change(ctx context.Context, text string, args []any, otherwise error) error {
	return us.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		tag, err := c.Exec(ctx, text, args...)
		if violates(err, "upstream_link_pkey", "upstream_link_account") {
			return refuse(upstream.ErrTaken)
		}
		return changedOne(tag, err)(otherwise)
	})
}

func scanLink(row pgx.CollectableRow) (l upstream.Link, err error) {
	var which [id.Size]byte
	var at int64
	err = row.Scan(&l.Upstream, &l.Subject, &which, &at)
	l.User, l.At = which, session.FromMillis(at)
	return l, err
}

// BySubject implements upstream.Store.
func (us Upstreams) BySubject(ctx context.Context, name, subject string) (l upstream.Link, err error) {
	err = us.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, linkBySubject, name, subject)
		if err != nil {
			return err
		}
		l, err = pgx.CollectExactlyOneRow(rows, scanLink)
		if errors.Is(err, pgx.ErrNoRows) {
			return refuse(upstream.ErrNotFound)
		}
		return err
	})
	if err != nil {
		return upstream.Link{}, err
	}
	return l, nil
}

// OfUser implements upstream.Store.
func (us Upstreams) OfUser(ctx context.Context, u id.User) (all []upstream.Link, err error) {
	err = us.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, linksOfUser, [id.Size]byte(u))
		if err != nil {
			return err
		}
		all, err = collect(rows, scanLink)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Link implements upstream.Store.
func (us Upstreams) Link(ctx context.Context, l upstream.Link, events []audit.Event) error {
	args := append([]any{[id.Size]byte(l.User), l.Upstream, l.Subject, session.Millis(l.At)}, accountArgs(nil, events)...)
	return us.change(ctx, linkSubject, args, upstream.ErrNotFound)
}

// Unlink implements upstream.Store.
func (us Upstreams) Unlink(ctx context.Context, u id.User, name string, events []audit.Event) error {
	return us.change(ctx, unlinkUser, append([]any{[id.Size]byte(u), name}, accountArgs(nil, events)...), upstream.ErrNotFound)
}
