package sqlite

import (
	"context"

	"holdfast.example/internal/key"
	"holdfast.example/internal/session"
)

// Load implements key.Store. Rows and roll come from one statement, so from one
// state.
func (ks Keys) Load(ctx context.Context) (rows key.Rows, err error) {
	err = ks.db.readers.read(ctx, func(c *conn) error {
		rows = key.Rows{}
		return c.each(ctx, `SELECT r.version, r.roll, k.id, k.purpose, k.alg, k.kid, k.state, k.wrapped, k.created_at, k.active_at, k.retired_at
 FROM key_roll r LEFT JOIN wrapped_key k ORDER BY k.id`, nil, func(r row) error {
			rows.Version, rows.Roll = uint64(r.int(0)), r.blob(1)
			if r.null(2) {
				return nil
			}
			rows.Keys = append(rows.Keys, key.Row{
				ID: uint32(r.int(2)), Purpose: key.Purpose(r.text(3)), Alg: r.text(4), KID: r.text(5), State: key.State(r.text(6)), Wrapped: r.blob(7),
				CreatedAt: session.FromMillis(r.int(8)), ActiveAt: session.FromMillis(r.int(9)), RetiredAt: session.FromMillis(r.int(10)),
			})
			return nil
		})
	})
	if err != nil {
		return key.Rows{}, err
	}
	return rows, nil
}

// Replace implements key.Store.
func (ks Keys) Replace(ctx context.Context, next key.Rows) error {
	return ks.db.writer.write(ctx, func(c *conn) error {
		n, err := c.run("UPDATE key_roll SET version = ?, roll = ? WHERE version = ?", next.Version, next.Roll, next.Version-1)
		if err != nil {
			return err
		}
		if n == 0 {
			return refuse(key.ErrChanged)
		}
		if _, err := c.run("DELETE FROM wrapped_key"); err != nil {
			return err
		}
		for _, k := range next.Keys {
			_, err := c.run(`INSERT INTO wrapped_key (id, purpose, alg, kid, state, wrapped, created_at, active_at, retired_at)
 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, k.ID, string(k.Purpose), k.Alg, k.KID, string(k.State), k.Wrapped,
				session.Millis(k.CreatedAt), session.Millis(k.ActiveAt), session.Millis(k.RetiredAt))
			if err != nil {
				return err
			}
		}
		return account(c, next.Entries, next.Audit)
	})
}
