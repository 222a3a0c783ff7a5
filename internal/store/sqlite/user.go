package sqlite

import (
	"context"
	"slices"
	"time"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

const userColumns = `SELECT u.id, u.epoch, u.disabled, u.version, u.created_at, u.updated_at, u.number, u.email_verified, u.staff, u.superuser,
 u.username, u.email, u.name, u.given_name, u.family_name, u.password_hash FROM user u`

func scanUser(r row, u *user.User) error {
	id16, err := r.array16(0)
	if err != nil {
		return err
	}
	*u = user.User{
		ID: id.User(id16), Epoch: uint32(r.int(1)), Disabled: r.bool(2), Version: uint64(r.int(3)),
		CreatedAt: session.FromMillis(r.int(4)), UpdatedAt: session.FromMillis(r.int(5)), Number: r.int(6),
		EmailVerified: r.bool(7), Staff: r.bool(8), Superuser: r.bool(9),
		Username: r.text(10), Email: r.text(11), Name: r.text(12), GivenName: r.text(13), FamilyName: r.text(14), PasswordHash: r.text(15),
	}
	return nil
}

// ByLogin implements user.Store.
func (us Users) ByLogin(ctx context.Context, canonical string) (user.User, error) {
	if canonical == "" {
		return user.User{}, user.ErrNotFound
	}
	return us.read(ctx, userColumns+" JOIN login l ON l.user = u.ref WHERE l.canonical = ? AND u.gone = 0", canonical)
}

// ByID implements user.Store.
func (us Users) ByID(ctx context.Context, u id.User) (user.User, error) {
	return us.read(ctx, userColumns+" WHERE u.id = ? AND u.gone = 0", u[:])
}

func (us Users) read(ctx context.Context, text string, arg any) (u user.User, err error) {
	var found bool
	err = us.db.readers.read(ctx, func(c *conn) error {
		found, err = c.one(text, []any{arg}, func(r row) error { return scanUser(r, &u) })
		return err
	})
	switch {
	case err != nil:
		return user.User{}, err
	case !found:
		return user.User{}, user.ErrNotFound
	}
	return u, nil
}

// List implements user.Store.
func (us Users) List(ctx context.Context, after id.User, limit int) (all []user.User, err error) {
	err = us.db.readers.read(ctx, func(c *conn) error {
		return c.each(ctx, userColumns+" WHERE u.id > ? AND u.gone = 0 ORDER BY u.id LIMIT ?", []any{after[:], max(limit, 0)}, func(r row) error {
			var u user.User
			err := scanUser(r, &u)
			all = append(all, u)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Create implements user.Store.
func (us Users) Create(ctx context.Context, u user.User, events []audit.Event) error {
	return us.db.writer.write(ctx, func(c *conn) error {
		if err := namesFree(c, u, 0); err != nil {
			return err
		}
		used, err := c.number("SELECT 1 FROM user WHERE id = ?", u.ID[:])
		if err != nil {
			return err
		}
		if used != 0 { // an id is never given twice, not even after its account is gone
			return refuse(user.ErrTaken)
		}
		ref, err := c.number(`INSERT INTO user (id, epoch, disabled, version, created_at, updated_at, number, email_verified, staff, superuser,
 username, email, name, given_name, family_name, password_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING ref`,
			append([]any{u.ID[:]}, userValues(u)...)...)
		if err != nil {
			return err
		}
		if err := claimNames(c, u, ref); err != nil {
			return err
		}
		return tell(c, events)
	})
}

// userValues are the columns that a replacement writes.
func userValues(u user.User) []any {
	return []any{u.Epoch, u.Disabled, u.Version, session.Millis(u.CreatedAt), session.Millis(u.UpdatedAt), u.Number, u.EmailVerified,
		u.Staff, u.Superuser, u.Username, u.Email, u.Name, u.GivenName, u.FamilyName, u.PasswordHash}
}

// Replace implements user.Store. The epoch is part of the comparison: a sign-out
// everywhere that came between moved it, and must not be undone.
func (us Users) Replace(ctx context.Context, ch user.Change) error {
	return us.db.writer.write(ctx, func(c *conn) error {
		u := ch.Next
		epoch := int64(u.Epoch)
		if ch.Ends != "" {
			epoch--
		}
		ref, err := c.number("SELECT ref FROM user WHERE id = ? AND version = ? AND epoch = ? AND gone = 0", u.ID[:], u.Version-1, epoch)
		if err != nil {
			return err
		}
		if ref == 0 {
			return refuse(user.ErrChanged)
		}
		if err := namesFree(c, u, ref); err != nil {
			return err
		}
		_, err = c.run(`UPDATE user SET epoch = ?, disabled = ?, version = ?, created_at = ?, updated_at = ?, number = ?, email_verified = ?,
 staff = ?, superuser = ?, username = ?, email = ?, name = ?, given_name = ?, family_name = ?, password_hash = ? WHERE ref = ?`,
			append(userValues(u), ref)...)
		if err != nil {
			return err
		}
		if _, err := c.run("DELETE FROM login WHERE user = ?", ref); err != nil {
			return err
		}
		if err := claimNames(c, u, ref); err != nil {
			return err
		}
		if ch.Ends == "" {
			return tell(c, ch.Audit)
		}
		return us.db.epochMoved(c, ref, u.Epoch, session.Everywhere{User: u.ID, Reason: ch.Ends, Except: ch.Except, ExceptSID: ch.ExceptSID,
			EntryLife: ch.EntryLife, Audit: ch.Audit})
	})
}

// Remove erases an account: its names are free, its sessions are over, and its
// row keeps nothing but the id that they name. ErrNotFound when there is none.
// entryLife is how long followers must remember the end.
func (us Users) Remove(ctx context.Context, u id.User, entryLife time.Duration) error {
	return us.db.writer.write(ctx, func(c *conn) error {
		ref, epoch, err := standingUser(c, u)
		if err != nil {
			return err
		}
		if ref == 0 {
			return refuse(user.ErrNotFound)
		}
		epoch++
		blank := user.User{ID: u, Epoch: epoch, Disabled: true}
		_, err = c.run(`UPDATE user SET gone = 1, epoch = ?, disabled = ?, version = ?, created_at = ?, updated_at = ?, number = ?, email_verified = ?,
 staff = ?, superuser = ?, username = ?, email = ?, name = ?, given_name = ?, family_name = ?, password_hash = ? WHERE ref = ?`,
			append(userValues(blank), ref)...)
		if err != nil {
			return err
		}
		if _, err := c.run("DELETE FROM login WHERE user = ?", ref); err != nil {
			return err
		}
		if _, err := c.run("DELETE FROM upstream_link WHERE user = ?", ref); err != nil {
			return err
		}
		return us.db.epochMoved(c, ref, epoch, session.Everywhere{User: u, Reason: fault.Deleted, EntryLife: entryLife})
	})
}

// names are the canonical forms an account is found by, each once.
func names(u user.User) []string {
	var all []string
	for _, name := range []string{user.Canonical(u.Username), user.Canonical(u.Email)} {
		if name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// namesFree refuses when a name of u belongs to another account than ref.
func namesFree(c *conn, u user.User, ref int64) error {
	for _, name := range names(u) {
		owner, err := c.number("SELECT user FROM login WHERE canonical = ?", name)
		if err != nil {
			return err
		}
		if owner != 0 && owner != ref {
			return refuse(user.ErrTaken)
		}
	}
	return nil
}

func claimNames(c *conn, u user.User, ref int64) error {
	for _, name := range names(u) {
		if _, err := c.run("INSERT INTO login (canonical, user) VALUES (?, ?)", name, ref); err != nil {
			return err
		}
	}
	return nil
}
