package sqlite

import (
	"context"
	"errors"
	"strings"
	"time"

	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// ByInstall implements session.Store.
func (s Sessions) ByInstall(ctx context.Context, u id.User, client id.Client, install [16]byte) (session.Loaded, error) {
	if install == [16]byte{} {
		return session.Loaded{}, session.ErrNotFound
	}
	all, err := s.list(ctx, loadMany+` WHERE s.user = (SELECT ref FROM user WHERE id = ?) AND s.ended_at IS NULL AND substr(s.facts, 2, 16) = ? AND c.id = ?
 ORDER BY s.created_at DESC LIMIT 1`, u[:], install[:], string(client))
	switch {
	case err != nil:
		return session.Loaded{}, err
	case len(all) == 0:
		return session.Loaded{}, session.ErrNotFound
	}
	return all[0], nil
}

// OfUser implements session.Store.
func (s Sessions) OfUser(ctx context.Context, u id.User, limit int) ([]session.Loaded, error) {
	return s.list(ctx, loadMany+` WHERE s.user = (SELECT ref FROM user WHERE id = ?) AND s.ended_at IS NULL
 ORDER BY s.created_at DESC, s.key LIMIT ?`, u[:], max(limit, 0))
}

// Find implements session.Store. Without a user it looks at every row: it is for
// operators, not for requests. It finds the keys first, so that only the rows of
// the page are joined and sorted in full.
func (s Sessions) Find(ctx context.Context, q session.Query) ([]session.Loaded, error) {
	var where []string
	var args []any
	if !q.User.IsZero() {
		where, args = append(where, "f.user = (SELECT ref FROM user WHERE id = ?)"), append(args, q.User[:])
	}
	if q.Client != "" {
		where = append(where, "f.terms IN (SELECT ft.ref FROM terms ft JOIN client fc ON fc.ref = ft.client WHERE fc.id = ?)")
		args = append(args, string(q.Client))
	}
	if !q.Ended {
		where = append(where, "f.ended_at IS NULL")
	}
	if !q.After.Session.IsZero() {
		key, _ := halves(q.After.Session)
		used := session.Millis(q.After.UsedAt)
		where, args = append(where, "(f.used_at < ? OR f.used_at = ? AND f.key > ?)"), append(args, used, used, key)
	}
	if q.Device != "" {
		return s.findDevice(ctx, q, where, args)
	}
	keys := "SELECT f.key FROM session f"
	if len(where) > 0 {
		keys += " WHERE " + strings.Join(where, " AND ")
	}
	keys += " ORDER BY f.used_at DESC, f.key LIMIT ?"
	return s.list(ctx, loadMany+" WHERE s.key IN ("+keys+") ORDER BY s.used_at DESC, s.key", append(args, max(q.Limit, 0))...)
}

// errEnough ends a query whose further rows nobody needs.
var errEnough = errors.New("sqlite: enough rows")

// findDevice is Find by a part of the device's name or model. They are packed
// with other facts, some of them secret, so SQL only thins out the rows by a
// look at all of the facts, and what is told apart here decides.
func (s Sessions) findDevice(ctx context.Context, q session.Query, where []string, args []any) (all []session.Loaded, err error) {
	if q.Limit <= 0 {
		return nil, nil
	}
	where, args = append(where, "instr(lower(CAST(f.facts AS TEXT)), lower(?)) > 0"), append(args, q.Device)
	look := "SELECT f.key, f.facts FROM session f WHERE " + strings.Join(where, " AND ") + " ORDER BY f.used_at DESC, f.key"
	now := s.db.time()
	err = s.db.readers.read(ctx, func(c *conn) error {
		all = nil
		var keys []int64
		err := c.each(ctx, look, args, func(r row) error {
			var one session.Session
			if err := unpackFacts(r.blob(1), &one); err != nil {
				return err
			}
			if !one.Device.Matches(q.Device) {
				return nil
			}
			keys = append(keys, r.int(0))
			if len(keys) == q.Limit {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		for _, key := range keys {
			_, err := c.one(loadMany+" WHERE s.key = ?", []any{key}, func(r row) error {
				l, err := scanMany(r, now)
				all = append(all, l)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// scanMany reads the columns of loadMany.
func scanMany(r row, now time.Time) (l session.Loaded, err error) {
	l.Now = now
	if err := scanSession(r, &l); err != nil {
		return l, err
	}
	l.Session.ID, err = joined(r.int(idColumn), r.blob(idColumn+1))
	return l, err
}

func (s Sessions) list(ctx context.Context, text string, args ...any) (all []session.Loaded, err error) {
	now := s.db.time()
	err = s.db.readers.read(ctx, func(c *conn) error {
		return c.each(ctx, text, args, func(r row) error {
			l, err := scanMany(r, now)
			all = append(all, l)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
