package sqlite

import (
	"context"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/upstream"
)

// Upstreams is the upstream.Store of the database.
type Upstreams struct{ db *DB }

// Upstreams gives the providers and links kept here.
func (db *DB) Upstreams() Upstreams { return Upstreams{db} }

// Upstreams implements upstream.Store.
func (us Upstreams) Upstreams(ctx context.Context) (all []upstream.Row, err error) {
	err = us.db.readers.read(ctx, func(c *conn) error {
		return c.each(ctx, "SELECT id, version, doc, sealed FROM upstream ORDER BY id", nil, func(r row) error {
			all = append(all, upstream.Row{ID: r.text(0), Version: uint64(r.int(1)), Doc: r.text(2), Sealed: append([]byte(nil), r.blob(3)...)})
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// PutUpstream implements upstream.Store.
func (us Upstreams) PutUpstream(ctx context.Context, r upstream.Row, events []audit.Event) error {
	return us.db.writer.write(ctx, func(c *conn) error {
		stored, err := c.number("SELECT version FROM upstream WHERE id = ?", r.ID)
		if err != nil {
			return err
		}
		if uint64(stored) != r.Version-1 {
			return refuse(upstream.ErrChanged)
		}
		_, err = c.run("INSERT OR REPLACE INTO upstream (id, version, doc, sealed) VALUES (?, ?, ?, ?)", r.ID, r.Version, r.Doc, r.Sealed)
		if err != nil {
			return err
		}
		return tell(c, events)
	})
}

const linkColumns = "SELECT k.upstream, k.subject, u.id, k.linked_at FROM upstream_link k JOIN user u ON u.ref = k.user WHERE u.gone = 0"

func scanLink(r row) (l upstream.Link, err error) {
	which, err := r.array16(2)
	return upstream.Link{Upstream: r.text(0), Subject: r.text(1), User: id.User(which), At: session.FromMillis(r.int(3))}, err
}

// BySubject implements upstream.Store.
func (us Upstreams) BySubject(ctx context.Context, name, subject string) (l upstream.Link, err error) {
	found := false
	err = us.db.readers.read(ctx, func(c *conn) error {
		found, err = c.one(linkColumns+" AND k.upstream = ? AND k.subject = ?", []any{name, subject}, func(r row) (err error) {
			l, err = scanLink(r)
			return err
		})
		return err
	})
	if err == nil && !found {
		err = upstream.ErrNotFound
	}
	return l, err
}

// OfUser implements upstream.Store.
func (us Upstreams) OfUser(ctx context.Context, u id.User) (all []upstream.Link, err error) {
	err = us.db.readers.read(ctx, func(c *conn) error {
		return c.each(ctx, linkColumns+" AND u.id = ? ORDER BY k.upstream", []any{u[:]}, func(r row) error {
			l, err := scanLink(r)
			all = append(all, l)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Link implements upstream.Store.
func (us Upstreams) Link(ctx context.Context, l upstream.Link, events []audit.Event) error {
	return us.db.writer.write(ctx, func(c *conn) error {
		ref, _, err := standingUser(c, l.User)
		if err != nil {
			return err
		}
		if ref == 0 {
			return refuse(upstream.ErrNotFound)
		}
		n, err := c.run("INSERT INTO upstream_link (upstream, subject, user, linked_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
			l.Upstream, l.Subject, ref, session.Millis(l.At))
		if err != nil {
			return err
		}
		if n == 0 {
			return refuse(upstream.ErrTaken)
		}
		return tell(c, events)
	})
}

// Unlink implements upstream.Store.
func (us Upstreams) Unlink(ctx context.Context, u id.User, name string, events []audit.Event) error {
	return us.db.writer.write(ctx, func(c *conn) error {
		n, err := c.run("DELETE FROM upstream_link WHERE upstream = ? AND user = (SELECT ref FROM user WHERE id = ? AND gone = 0)", name, u[:])
		if err != nil {
			return err
		}
		if n == 0 {
			return refuse(upstream.ErrNotFound)
		}
		return tell(c, events)
	})
}
