package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

const (
	loadOfUser    = loadMany + ` WHERE s.account = $1 AND s.ended_at IS NULL ORDER BY s.created_at DESC, s.id LIMIT $2`
	loadByInstall = loadMany + ` WHERE s.account = $1 AND s.ended_at IS NULL AND s.install = $2 AND s.client = $3 ORDER BY s.created_at DESC LIMIT 1`
)

// ByInstall implements session.Store. A user has few sessions, so they are found
// by user.
func (s Sessions) ByInstall(ctx context.Context, u id.User, client id.Client, install [16]byte) (l session.Loaded, err error) {
	if install == [16]byte{} {
		return session.Loaded{}, session.ErrNotFound
	}
	var all []session.Loaded
	err = s.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		all, err = s.db.collect(c.Query(ctx, loadByInstall, [id.Size]byte(u), install, string(client)))
		return err
	})
	switch {
	case err != nil:
		return session.Loaded{}, err
	case len(all) == 0:
		return session.Loaded{}, session.ErrNotFound
	}
	return all[0], nil
}

// OfUser implements session.Store.
func (s Sessions) OfUser(ctx context.Context, u id.User, limit int) (all []session.Loaded, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		all, err = s.db.collect(c.Query(ctx, loadOfUser, [id.Size]byte(u), max(limit, 0)))
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Find implements session.Store. Without a user it looks at every row: it is for
// operators, not for requests. It finds the ids first, so that only the rows of
// the page are joined and sorted in full.
func (s Sessions) Find(ctx context.Context, q session.Query) (all []session.Loaded, err error) {
	w := &where{}
	if !q.User.IsZero() {
		w.and("f.account = ?", [id.Size]byte(q.User))
	}
	if q.Client != "" {
		w.and("f.client = ?", string(q.Client))
	}
	if !q.Ended {
		w.and("f.ended_at IS NULL")
	}
	if q.Device != "" { // in the collation C only ASCII letters have a case
		w.and(`(position(lower(? COLLATE "C") IN lower(f.device_name COLLATE "C")) > 0 OR position(lower(? COLLATE "C") IN lower(f.device_model COLLATE "C")) > 0)`, q.Device, q.Device)
	}
	if !q.After.Session.IsZero() {
		used := session.Millis(q.After.UsedAt)
		w.and("(f.used_at < ? OR f.used_at = ? AND f.id > ?)", used, used, [id.Size]byte(q.After.Session))
	}
	text := loadMany + " JOIN (SELECT f.id FROM session f" + w.text() + " ORDER BY f.used_at DESC, f.id LIMIT " + w.arg(max(q.Limit, 0)) +
		") page ON page.id = s.id ORDER BY s.used_at DESC, s.id"
	err = s.db.longRead(ctx, func(ctx context.Context, tx pgx.Tx) error {
		all, err = s.db.collect(tx.Query(ctx, text, w.args...))
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// collect reads all rows of loadMany.
func (db *DB) collect(rows pgx.Rows, err error) ([]session.Loaded, error) {
	if err != nil {
		return nil, err
	}
	return collect(rows, func(row pgx.CollectableRow) (session.Loaded, error) { return db.scanSession(row) })
}
