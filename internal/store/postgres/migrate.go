package postgres

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one numbered step. Steps go forward only and are never changed
// once released: every database remembers the digest of what it ran.
//
// Nodes are upgraded one after the other, so a step must leave a schema that the
// version before can work with: it may add what old statements do not name, and
// may remove only what the version before no longer names. Its first line says
// how far that reaches.
type migration struct {
	version int
	name    string
	text    string
	digest  string
	// compatible is the lowest schema whose binaries can work with this one.
	compatible int
}

// compatibleWith is the first line of every step.
const compatibleWith = "-- compatible-with: "

// insufficientPrivilege is the SQLSTATE of a role without the right.
const insufficientPrivilege = "42501"

// A step waits for locks no longer than migrateLockWait, because everybody else
// waits behind it, and is tried migrateTries times, with a pause in between.
const (
	migrateLockWait = 2 * time.Second
	migrateTries    = 10
	migratePause    = 200 * time.Millisecond
)

// migrations reads the embedded steps; they are named 0001_what.sql and leave
// no number out.
func migrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, path := range names { // Glob sorts
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(strings.TrimPrefix(path, "migrations/"), ".sql")
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s should have number %04d", name, i+1)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		compatible, err := strconv.Atoi(strings.TrimPrefix(first, compatibleWith))
		if err != nil || compatible < 1 || compatible > version || !strings.HasPrefix(first, compatibleWith) {
			return nil, fmt.Errorf("migration %s must begin with %q and the lowest schema whose binaries can work with it", name, compatibleWith)
		}
		sum := sha256.Sum256(text)
		all = append(all, migration{version, name, string(text), hex.EncodeToString(sum[:]), compatible})
	}
	return all, nil
}

// migrate brings the schema up to date. Each step is one transaction, so a
// process killed at any moment leaves a database that the next start continues
// with; nodes that start together take turns at the lock of the table of steps.
func migrate(ctx context.Context, c *pgx.Conn) error {
	known, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	return migrateTo(ctx, c, known)
}

// upToDate refuses a schema that lacks a step this binary knows. One that a newer
// binary has moved on is good as long as that left room for this one.
func upToDate(ctx context.Context, c *pgx.Conn) error {
	known, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	done, err := applied(ctx, c, known)
	if err == nil && done < len(known) {
		err = fmt.Errorf("the database has schema %d and this binary needs schema %d, and auto_migrate is off: run `holdfast migrate` with this binary and a role that may change the schema, then start again",
			done, len(known))
	}
	return err
}

func migrateTo(ctx context.Context, c *pgx.Conn, known []migration) error {
	for try := 1; ; {
		done, err := applied(ctx, c, known)
		if err != nil || done >= len(known) {
			return err
		}
		err = step(ctx, c, known)
		if err == nil {
			continue
		}
		try++
		if code(err) == insufficientPrivilege {
			return fmt.Errorf("the database has schema %d, this binary needs schema %d, and this role may not change it (%w): run `holdfast migrate` with a role that may, then start again", done, len(known), err)
		}
		if try > migrateTries || !metAnother(err) {
			return err
		}
		t := time.NewTimer(migratePause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		}
	}
}

// metAnother reports whether a step failed because another node or a long
// statement was in its way.
func metAnother(err error) bool {
	switch code(err) {
	case lockNotAvailable, deadlockDetected, serializationFailure, uniqueViolation, "42P07", "42710": // already exists
		return true
	}
	return false
}

// applied checks what the database ran against what this binary knows and
// reports how many steps it has run.
func applied(ctx context.Context, q querier, known []migration) (done int, err error) {
	var exists, empty bool
	err = q.QueryRow(ctx, `SELECT to_regclass('schema_migration') IS NOT NULL,
 NOT EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p'))`).Scan(&exists, &empty)
	if err != nil {
		return 0, err
	}
	if !exists && !empty {
		return 0, errors.New("this schema holds tables that are not Holdfast's; nothing in it was changed; give Holdfast a database of its own")
	}
	if !exists {
		return 0, nil
	}
	rows, err := q.Query(ctx, "SELECT version, name, digest, compatible FROM schema_migration ORDER BY version")
	if err != nil {
		return 0, err
	}
	var version, compatible int
	var name, digest string
	_, err = pgx.ForEachRow(rows, []any{&version, &name, &digest, &compatible}, func() error {
		done++
		switch {
		case version > len(known) && compatible > len(known):
			return fmt.Errorf("the database has schema %d (%s), which needs a binary that knows schema %d; this one knows schemas up to %d; run a newer version",
				version, name, compatible, len(known))
		case version > len(known): // a newer node was here, and left room for us
		case version != done || digest != known[version-1].digest:
			return fmt.Errorf("schema step %s in the database is not the one this binary carries; it was made by another build", name)
		}
		return nil
	})
	return done, err
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, text string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, text string, args ...any) pgx.Row
}

// step runs the next step, after looking again behind the lock: another node may
// have run it meanwhile.
func step(ctx context.Context, c *pgx.Conn, known []migration) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SET LOCAL lock_timeout = "+milliseconds(migrateLockWait))
		if err == nil {
			_, err = tx.Exec(ctx, "SET LOCAL statement_timeout = 0")
		}
		if err != nil {
			return err
		}
		done, err := applied(ctx, tx, known)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_migration (
 version integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL, compatible integer NOT NULL, applied_at bigint NOT NULL)`)
		if err == nil {
			_, err = tx.Exec(ctx, "LOCK TABLE schema_migration IN SHARE ROW EXCLUSIVE MODE")
		}
		if err == nil {
			done, err = applied(ctx, tx, known)
		}
		if err != nil || done >= len(known) {
			return err
		}
		m := known[done]
		if _, err := tx.Conn().PgConn().Exec(ctx, m.text).ReadAll(); err != nil { // several statements
			return fmt.Errorf("schema step %s: %w", m.name, err)
		}
		_, err = tx.Exec(ctx, "INSERT INTO schema_migration (version, name, digest, compatible, applied_at) VALUES ($1, $2, $3, $4, "+clock+")",
			m.version, m.name, m.digest, m.compatible)
		return err
	})
}
