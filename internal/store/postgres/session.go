package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
	"holdfast.example/internal/session"
)

// Every read of sessions asks for the same columns. What a session's parent came
// to is the last but one: a session without a parent, which is nearly every one,
// is read without looking for any.
const (
	loadColumns = `SELECT s.version, s.epoch, s.account, s.client, s.scope, s.earned, s.amr, s.used_at, s.created_at, s.auth_time,
 coalesce(s.ended_at, 0), coalesce(s.end_reason, ''), s.parent, s.install, s.secret, s.attempt, s.bound_to,
 s.device_name, s.device_model, s.device_system, s.device_app, s.chain,
 coalesce(c.stopped, true), a.disabled, a.gone, a.epoch, coalesce(e.reason, ''), coalesce(e.at, 0), ` + clock
	loadTables = ` FROM session s
 JOIN account a ON a.id = s.account
 LEFT JOIN client c ON c.id = s.client
 LEFT JOIN account_epoch e ON e.account = s.account AND e.epoch = s.epoch + 1 AND a.epoch > s.epoch`

	// loadOne calls the function for a session with a parent only. It looks at the
	// same state of the database as the statement around it.
	loadOne = loadColumns + `, CASE WHEN s.parent IS NULL THEN '' ELSE coalesce(session_came_to(s.parent), '` + parentGone + `') END, s.id` +
		loadTables + ` WHERE s.id = $1`
	loadMany = loadColumns + `, CASE WHEN s.parent IS NULL THEN ''
 ELSE coalesce((SELECT coalesce(p.end_reason, '') FROM session p WHERE p.id = s.parent), '` + parentGone + `') END, s.id` + loadTables

	// parentGone is what ended the parent of a session when its row was purged:
	// the child cannot outlive it, and all that is left to say is that it was
	// not used for long.
	parentGone = string(fault.Idle)
)

// Now implements session.Store.
func (s Sessions) Now(ctx context.Context) (time.Time, error) {
	if s.db.now != nil {
		return s.db.at(0), nil
	}
	var ms int64
	err := s.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT "+clock).Scan(&ms)
	})
	if err != nil {
		return time.Time{}, err
	}
	return s.db.at(ms), nil
}

// Load implements session.Store: one round trip, also for a session that hangs
// under another.
func (s Sessions) Load(ctx context.Context, which id.Session) (l session.Loaded, err error) {
	if err := s.db.settled(ctx, which); err != nil {
		return session.Loaded{}, err
	}
	err = s.db.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		l, err = s.db.scanSession(c.QueryRow(ctx, loadOne, [id.Size]byte(which)))
		if errors.Is(err, pgx.ErrNoRows) {
			return refuse(session.ErrNotFound)
		}
		return err
	})
	if err != nil {
		return session.Loaded{}, err
	}
	return l, nil
}

// scanSession reads the columns of loadColumns and the two after them.
func (db *DB) scanSession(row pgx.Row) (l session.Loaded, err error) {
	s, st := &l.Session, &l.Standing
	var account, which [id.Size]byte
	var parent, install *[id.Size]byte
	var client, reason, epochReason, parentEnded string
	var used, created, proved, ended, epochAt, now int64
	var secret, attempt, chain []byte
	err = row.Scan(&s.Version, &s.Epoch, &account, &client, &s.Scope, &s.Grant, &s.AMR, &used, &created, &proved,
		&ended, &reason, &parent, &install, &secret, &attempt, &s.Key,
		&s.Device.Name, &s.Device.Model, &s.Device.System, &s.Device.App, &chain,
		&st.ClientStopped, &st.UserDisabled, &st.UserDeleted, &st.UserEpoch, &epochReason, &epochAt, &now, &parentEnded, &which)
	if err != nil {
		return session.Loaded{}, err
	}
	if len(secret) != len(s.Secret) || len(attempt) != len(s.Attempt) {
		return session.Loaded{}, fmt.Errorf("postgres: session %x has a malformed row", which)
	}
	s.ID, s.User, s.Client = which, account, id.Client(client)
	if parent != nil {
		s.Parent = *parent
	}
	if install != nil {
		s.Device.Install = *install
	}
	s.Secret, s.Attempt = [16]byte(secret), [8]byte(attempt)
	s.UsedAt, s.CreatedAt, s.AuthTime = session.FromMillis(used), session.FromMillis(created), session.FromMillis(proved)
	s.EndedAt, s.EndReason = session.FromMillis(ended), fault.Reason(reason)
	st.EpochReason, st.EpochAt, st.ParentEnded = fault.Reason(epochReason), session.FromMillis(epochAt), fault.Reason(parentEnded)
	l.Now = db.at(now)
	s.Chain, err = session.DecodeChain(chain, s.UsedAt)
	return l, err
}

// The columns that a replacement writes, in the order of sessionValues. Whose
// session it is, at which client and under which parent never changes; everything
// else may.
var sessionColumns = []string{"version", "epoch", "used_at", "created_at", "auth_time", "ended_at", "end_reason", "install", "secret", "attempt",
	"scope", "earned", "amr", "bound_to", "device_name", "device_model", "device_system", "device_app", "chain"}

func sessionValues(s session.Session) []any {
	var ended, reason, install any // NULL while a session stands, or has no install
	if s.EndReason != "" {
		ended, reason = session.Millis(s.EndedAt), string(s.EndReason)
	}
	if s.Device.HasInstall() {
		install = s.Device.Install
	}
	return []any{s.Version, s.Epoch, session.Millis(s.UsedAt), session.Millis(s.CreatedAt), session.Millis(s.AuthTime), ended, reason, install,
		s.Secret[:], s.Attempt[:], s.Scope, s.Grant, s.AMR, s.Key, s.Device.Name, s.Device.Model, s.Device.System, s.Device.App,
		session.EncodeChain(s.Chain, s.UsedAt)}
}

// swap is the compare-and-swap of one session. Its parameters begin at $n: the
// id, then sessionValues.
func swap(n int) string {
	var set []string
	for i, column := range sessionColumns {
		set = append(set, fmt.Sprintf("%s = $%d", column, n+1+i))
	}
	return fmt.Sprintf("UPDATE session SET %s WHERE id = $%d AND version = $%d::bigint - 1", strings.Join(set, ", "), n, n+1)
}

// swapArgs are the parameters of swap.
func swapArgs(s session.Session) []any {
	return append([]any{[id.Size]byte(s.ID)}, sessionValues(s)...)
}

var (
	replaceAlone = swap(1)
	// replaceRelaxed sets its own transaction free of waiting for the disk: it is part
	// of the one statement, so it needs no round trip, and nothing of it outlives the
	// transaction, not even on a connection that a pooler lends to the next one.
	// PostgreSQL calls the function for the row it found, before it changes it.
	replaceRelaxed = swap(1) + " AND set_config('synchronous_commit', 'off', true) = 'off'"
	replaceTold    = "WITH changed AS (" + swap(1) + " RETURNING 1), " + accountFor("changed", 2+len(sessionColumns)) + " SELECT 1 FROM changed"
)

// Replace implements session.Store: one statement, so one round trip and one
// commit.
func (s Sessions) Replace(ctx context.Context, ch session.Change) error {
	if ch.Next.Version == 0 {
		return session.ErrChanged
	}
	return s.db.doubt(ch.Next.ID, s.replace(ctx, ch))
}

func (s Sessions) replace(ctx context.Context, ch session.Change) error {
	text, args := replaceTold, swapArgs(ch.Next)
	told := len(ch.Entries)+len(ch.Audit) > 0
	switch {
	case told:
	case s.db.relaxed && ch.Relaxed && ch.Next.EndReason == "":
		text = replaceRelaxed
	default:
		return s.db.together(ctx, args)
	}
	return s.db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		all := args
		if told { // each try draws its own positions in the audit
			all = append(slices.Clip(args), accountArgs(ch.Entries, ch.Audit)...)
		}
		return changedOne(c.Exec(ctx, text, all...))(session.ErrChanged)
	})
}
