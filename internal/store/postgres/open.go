package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"holdfast.example/internal/audit"
	"holdfast.example/internal/feed"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// A sign-in is three statements sent as one, which is one transaction: lock the
// account, lock the sessions that are replaced, in order of their ids, then look
// and write. The third sees what was committed before the locks were given, so
// nothing it looked at can change under it, and it writes all or nothing.
const (
	// lockAccount lets others read the account and refer to it, but neither open
	// a session of it nor change it.
	lockAccount  = "SELECT 1 FROM account WHERE id = $1 FOR NO KEY UPDATE"
	lockSessions = "SELECT 1 FROM session WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"

	// mayOpen refuses when the owner is gone or was signed out everywhere since the
	// credential was verified, when the id is in use, when a row to replace
	// changed, or when another session of the install stands.
	mayOpen = `may AS (SELECT 1 WHERE EXISTS (SELECT 1 FROM account WHERE id = $1 AND NOT gone AND epoch <= $2)
 AND NOT EXISTS (SELECT 1 FROM session WHERE id = $3)
 AND (SELECT count(*) FROM session s JOIN unnest($4::uuid[], $5::bigint[]) AS r (id, version) ON s.id = r.id AND s.version = r.version) = cardinality($4::uuid[])
 AND NOT EXISTS (SELECT 1 FROM session WHERE account = $1 AND ended_at IS NULL AND install = $6 AND client = $7 AND id <> ALL($8::uuid[])))`
	mayOpenParams = 8
)

// openText is the third statement, for a sign-in that replaces so many sessions.
func openText(replaces int) string {
	parts := []string{mayOpen}
	n := mayOpenParams + 1
	for i := range replaces {
		parts = append(parts, fmt.Sprintf("replaced_%d AS (%s AND EXISTS (SELECT 1 FROM may))", i, swap(n)))
		n += 1 + len(sessionColumns)
	}
	parts = append(parts, fmt.Sprintf("opened AS (INSERT INTO session (id, account, client, parent, %s) SELECT $3, $1, $7, %s FROM may RETURNING 1)",
		strings.Join(sessionColumns, ", "), casts(n, "uuid", "bigint", "bigint", "bigint", "bigint", "bigint", "bigint", "text", "uuid", "bytea", "bytea",
			"text", "text", "text", "text", "text", "text", "text", "text", "bytea")))
	n += 1 + len(sessionColumns)
	parts = append(parts, accountFor("may", n))
	return "WITH " + strings.Join(parts, ", ") + " SELECT 1 FROM opened"
}

// casts lists parameters from $n on with their types, which an INSERT that
// selects cannot tell by itself.
func casts(n int, kinds ...string) string {
	all := make([]string, len(kinds))
	for i, kind := range kinds {
		all[i] = fmt.Sprintf("$%d::%s", n+i, kind)
	}
	return strings.Join(all, ", ")
}

// opening is an Opening as the parameters of its statements.
type opening struct {
	user     [id.Size]byte
	replaced [][id.Size]byte
	text     string
	args     []any
}

func newOpening(o session.Opening) opening {
	s := o.Session
	open := opening{user: s.User, text: openText(len(o.Replaces)), replaced: [][id.Size]byte{}}
	versions, ended := []int64{}, [][id.Size]byte{}
	var entries []feed.Entry
	var events []audit.Event
	var swaps []any
	for _, ch := range o.Replaces {
		open.replaced, versions = append(open.replaced, ch.Next.ID), append(versions, int64(ch.Next.Version)-1)
		if ch.Next.EndReason != "" {
			ended = append(ended, ch.Next.ID)
		}
		swaps = append(swaps, swapArgs(ch.Next)...)
		entries, events = append(entries, ch.Entries...), append(events, ch.Audit...)
	}
	var install, parent any
	if s.Device.HasInstall() {
		install = s.Device.Install
	}
	if !s.Parent.IsZero() {
		parent = [id.Size]byte(s.Parent)
	}
	open.args = []any{open.user, int64(s.Epoch), [id.Size]byte(s.ID), open.replaced, versions, install, string(s.Client), ended}
	open.args = append(append(open.args, swaps...), parent)
	open.args = append(append(open.args, sessionValues(s)...), accountArgs(entries, append(events, o.Audit...))...)
	return open
}

// Open implements session.Store, in one round trip.
func (s Sessions) Open(ctx context.Context, o session.Opening) error {
	return s.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		open := newOpening(o) // each try draws its own positions in the audit
		b := &pgx.Batch{}
		b.Queue(lockAccount, open.user)
		if len(open.replaced) > 0 {
			b.Queue(lockSessions, open.replaced)
		}
		var tag pgconn.CommandTag
		b.Queue(open.text, open.args...).Exec(func(t pgconn.CommandTag) error { tag = t; return nil })
		err := c.SendBatch(ctx, b).Close()
		if sessionTaken(err) {
			return refuse(session.ErrChanged)
		}
		return changedOne(tag, err)(session.ErrChanged)
	})
}

// sessionTaken reports whether another session got the same id at the same
// moment. The constraint is the partition's.
func sessionTaken(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == uniqueViolation && e.TableName != "" && strings.HasPrefix(e.TableName, "session_")
}

// epochFor is the part of a statement that writes down what follows from an
// account's new epoch: its reason, the entry for followers, and the epoch of the
// session that stays. A session that was behind already stays behind, whoever
// names it; the version of the one that stays moves too, so that whoever loaded it
// before must look again. It reads id, epoch and at from the part named moved. Its
// parameters begin at $n and are epochArgs.
func epochFor(n int) string {
	return fmt.Sprintf(`reason AS (
 INSERT INTO account_epoch (account, epoch, reason, at) SELECT id, epoch, $%[1]d::text, at FROM moved
), stays AS (
 UPDATE session s SET epoch = m.epoch, version = s.version + 1 FROM moved m WHERE s.id = $%[2]d::uuid AND s.account = m.id AND s.epoch = m.epoch - 1
), entry AS (
 INSERT INTO revocation (written, kind, key, epoch, except_sid, reason, at, until)
 SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint, '`+string(feed.Subject)+`', $%[3]d::text, epoch, $%[4]d::text, $%[1]d::text, at, at + $%[5]d::bigint FROM moved
)`, n, n+1, n+2, n+3, n+4)
}

const epochParams = 5

func epochArgs(e session.Everywhere) []any {
	var except any
	if !e.Except.IsZero() {
		except = [id.Size]byte(e.Except)
	}
	return []any{string(e.Reason), except, e.User.String(), e.ExceptSID, e.EntryLife.Milliseconds()}
}

// endAll takes its time when it has the account's row, so that it is not older
// than what was read before the row was locked.
var endAll = `WITH moved AS (UPDATE account SET epoch = epoch + 1 WHERE id = $1 AND NOT gone RETURNING id, epoch, coalesce($2::bigint, ` + clock + `) AS at), ` +
	epochFor(3) + ", " + accountFor("moved", 3+epochParams) + " SELECT epoch FROM moved"

// EndAll implements session.Store.
func (s Sessions) EndAll(ctx context.Context, e session.Everywhere) (epoch uint32, err error) {
	err = s.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		args := append([]any{[id.Size]byte(e.User), s.db.given()}, epochArgs(e)...)
		args = append(args, accountArgs(nil, e.Audit)...)
		err := c.QueryRow(ctx, endAll, args...).Scan(&epoch)
		if errors.Is(err, pgx.ErrNoRows) {
			return refuse(session.ErrNotFound)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return epoch, nil
}
