package sqlite

import (
	"context"
	"strings"

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

// Find implements session.Store. Without a user it reads every row, which takes
// about a second per million: it is for operators, not for requests.
func (s Sessions) Find(ctx context.Context, q session.Query) ([]session.Loaded, error) {
	var where []string
	var args []any
	if !q.User.IsZero() {
		where, args = append(where, "s.user = (SELECT ref FROM user WHERE id = ?)"), append(args, q.User[:])
	}
	if q.Client != "" {
		where = append(where, "s.terms IN (SELECT t2.ref FROM terms t2 JOIN client c2 ON c2.ref = t2.client WHERE c2.id = ?)")
		args = append(args, string(q.Client))
	}
	if !q.Ended {
		where = append(where, "s.ended_at IS NULL")
	}
	text := loadMany
	if len(where) > 0 {
		text += " WHERE " + strings.Join(where, " AND ")
	}
	return s.list(ctx, text+" ORDER BY s.used_at DESC, s.key LIMIT ?", append(args, max(q.Limit, 0))...)
}

func (s Sessions) list(ctx context.Context, text string, args ...any) (all []session.Loaded, err error) {
	now := s.db.time()
	err = s.db.readers.read(ctx, func(c *conn) error {
		return c.each(ctx, text, args, func(r row) error {
			l := session.Loaded{Now: now}
			if err := scanSession(r, &l); err != nil {
				return err
			}
			l.Session.ID, err = joined(r.int(idColumn), r.blob(idColumn+1))
			all = append(all, l)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}
