package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
	"holdfast.example/internal/user"
)

// The columns that a replacement writes, in the order of userValues.
var userColumns = []string{"epoch", "version", "created_at", "updated_at", "number", "disabled", "email_verified", "staff", "superuser",
	"username", "email", "name", "given_name", "family_name", "password_hash"}

func userValues(u user.User) []any {
	return []any{u.Epoch, u.Version, session.Millis(u.CreatedAt), session.Millis(u.UpdatedAt), u.Number, u.Disabled, u.EmailVerified, u.Staff, u.Superuser,
		u.Username, u.Email, u.Name, u.GivenName, u.FamilyName, u.PasswordHash}
}

var (
	selectUser  = "SELECT a.id, a." + strings.Join(userColumns, ", a.") + " FROM account a"
	userByLogin = selectUser + " JOIN login l ON l.account = a.id WHERE l.canonical = $1 AND NOT a.gone"
	userByID    = selectUser + " WHERE a.id = $1 AND NOT a.gone"
	usersAfter  = selectUser + " WHERE a.id > $1 AND NOT a.gone ORDER BY a.id LIMIT $2"
)

func scanUser(row pgx.CollectableRow) (u user.User, err error) {
	var which [id.Size]byte
	var created, updated int64
	err = row.Scan(&which, &u.Epoch, &u.Version, &created, &updated, &u.Number, &u.Disabled, &u.EmailVerified, &u.Staff, &u.Superuser,
		&u.Username, &u.Email, &u.Name, &u.GivenName, &u.FamilyName, &u.PasswordHash)
	u.ID, u.CreatedAt, u.UpdatedAt = which, session.FromMillis(created), session.FromMillis(updated)
	return u, err
}

// ByLogin implements user.Store.
func (us Users) ByLogin(ctx context.Context, canonical string) (user.User, error) {
	if canonical == "" {
		return user.User{}, user.ErrNotFound
	}
	return us.one(ctx, userByLogin, canonical)
}

// ByID implements user.Store.
func (us Users) ByID(ctx context.Context, u id.User) (user.User, error) {
	if err := us.db.settled(ctx, u); err != nil {
		return user.User{}, err
	}
	return us.one(ctx, userByID, [id.Size]byte(u))
}

func (us Users) one(ctx context.Context, text string, arg any) (u user.User, err error) {
	err = us.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, text, arg)
		if err != nil {
			return err
		}
		u, err = pgx.CollectExactlyOneRow(rows, scanUser)
		if errors.Is(err, pgx.ErrNoRows) {
			return refuse(user.ErrNotFound)
		}
		return err
	})
	if err != nil {
		return user.User{}, err
	}
	return u, nil
}

// List implements user.Store.
func (us Users) List(ctx context.Context, after id.User, limit int) (all []user.User, err error) {
	err = us.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, usersAfter, [id.Size]byte(after), max(limit, 0))
		if err != nil {
			return err
		}
		all, err = collect(rows, scanUser)
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// claim is the part of a statement that gives the account in the part named from
// its names. Those it has it keeps. They are written in order, so that two
// accounts that want the same two names do not wait for each other; a name that
// belongs to somebody else fails the statement.
func claim(from string, n int) string {
	return fmt.Sprintf(`claimed AS (
 INSERT INTO login (canonical, account) SELECT n, m.id FROM %[1]s m, unnest($%[2]d::text[]) AS n
 WHERE NOT EXISTS (SELECT 1 FROM login l WHERE l.canonical = n COLLATE "C" AND l.account = m.id) ORDER BY n
)`, from, n)
}

// userChange is the statement of a replacement: it swaps the row, frees and claims
// names, and does what follows from a new epoch. The epoch is part of the
// comparison: a sign-out everywhere that came between moved it, and must not be
// undone. Parameters: the id, userValues, the names, the store's time, the epoch
// before; then those of epochFor, if it ends anything, and of accountFor.
func userChange(ends bool) string {
	n := 2 + len(userColumns)
	var values []string
	for i, column := range userColumns {
		values = append(values, fmt.Sprintf("%s = $%d", column, 2+i))
	}
	parts := []string{
		fmt.Sprintf("moved AS (UPDATE account SET %s WHERE id = $1 AND NOT gone AND version = $3::bigint - 1 AND epoch = $%d RETURNING id, epoch, coalesce($%d::bigint, %s) AS at)",
			strings.Join(values, ", "), n+2, n+1, clock),
		fmt.Sprintf("freed AS (DELETE FROM login l USING moved m WHERE l.account = m.id AND l.canonical <> ALL($%d::text[]))", n),
		claim("moved", n),
	}
	n += 3
	if ends {
		parts = append(parts, epochFor(n))
		n += epochParams
	}
	parts = append(parts, accountFor("moved", n))
	return "WITH " + strings.Join(parts, ", ") + " SELECT 1 FROM moved"
}

var (
	replaceUser = userChange(false)
	endUser     = userChange(true)
	createUser  = "WITH made AS (INSERT INTO account (id, " + strings.Join(userColumns, ", ") + ") VALUES ($1" + more(2, len(userColumns)) + ") RETURNING id), " +
		claim("made", 2+len(userColumns)) + ", " + accountFor("made", 3+len(userColumns)) + " SELECT 1 FROM made"
	removeUser = `WITH moved AS (UPDATE account SET gone = true, disabled = true, epoch = epoch + 1, version = 0, created_at = 0, updated_at = 0, number = 0,
 email_verified = false, staff = false, superuser = false, username = '', email = '', name = '', given_name = '', family_name = '', password_hash = ''
 WHERE id = $1 AND NOT gone RETURNING id, epoch, coalesce($2::bigint, ` + clock + `) AS at),
freed AS (DELETE FROM login l USING moved m WHERE l.account = m.id),
unlinked AS (DELETE FROM upstream_link k USING moved m WHERE k.account = m.id), ` + epochFor(3) + ", " + accountFor("moved", 3+epochParams) + " SELECT 1 FROM moved"
)

// more lists count further parameters from $n on.
func more(n, count int) string {
	var b strings.Builder
	for i := range count {
		fmt.Fprintf(&b, ", $%d", n+i)
	}
	return b.String()
}

// Create implements user.Store. An id is never given twice, not even after its
// account is gone.
func (us Users) Create(ctx context.Context, u user.User, events []audit.Event) error {
	args := append([]any{[id.Size]byte(u.ID)}, userValues(u)...)
	args = append(append(args, names(u)), accountArgs(nil, events)...)
	return us.change(ctx, createUser, args)
}

// Replace implements user.Store.
func (us Users) Replace(ctx context.Context, ch user.Change) error {
	u := ch.Next
	if u.Version == 0 || ch.Ends != "" && u.Epoch == 0 {
		return user.ErrChanged
	}
	text, was := replaceUser, int64(u.Epoch)
	var ends []any
	if ch.Ends != "" {
		text, was = endUser, was-1
		ends = epochArgs(session.Everywhere{User: u.ID, Reason: ch.Ends, Except: ch.Except, ExceptSID: ch.ExceptSID, EntryLife: ch.EntryLife})
	}
	args := append([]any{[id.Size]byte(u.ID)}, userValues(u)...)
	args = append(append(args, names(u), us.db.given(), was), ends...)
	err := us.change(ctx, text, append(args, accountArgs(nil, ch.Audit)...))
	if ch.Ends == "" {
		return err
	}
	return us.db.doubt(u.ID, err)
}

// change runs a statement that changes one account.
func (us Users) change(ctx context.Context, text string, args []any) error {
	return us.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		tag, err := c.Exec(ctx, text, args...)
		if violates(err, "login_pkey", "account_pkey") {
			return refuse(user.ErrTaken)
		}
		return changedOne(tag, err)(user.ErrChanged)
	})
}

// Remove erases an account: its names are free, its sessions are over, and its
// row keeps nothing but the id that they name. ErrNotFound when there is none.
// entryLife is how long followers must remember the end.
func (us Users) Remove(ctx context.Context, u id.User, entryLife time.Duration) error {
	args := append([]any{[id.Size]byte(u), us.db.given()}, epochArgs(session.Everywhere{User: u, Reason: fault.Deleted, EntryLife: entryLife})...)
	err := us.change(ctx, removeUser, append(args, accountArgs(nil, nil)...))
	if errors.Is(err, user.ErrChanged) {
		return user.ErrNotFound
	}
	return err
}

// names are the canonical forms an account is found by, each once.
func names(u user.User) []string {
	all := []string{}
	for _, name := range []string{user.Canonical(u.Username), user.Canonical(u.Email)} {
		if name != "" && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}
