package sqlite

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

	"modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one numbered step. Steps go forward only and are never changed
// once released: every database remembers the digest of what it ran.
type migration struct {
	version int
	name    string
	text    string
	digest  string
}

// applicationID marks the file as ours in SQLite's own header: "Hfst".
const applicationID = 0x48667374

// A file whose journal mode is being changed by another process is asked again
// that often, with this pause.
const (
	journalTries = 50
	journalPause = 40 * time.Millisecond
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
		sum := sha256.Sum256(text)
		all = append(all, migration{version, name, string(text), hex.EncodeToString(sum[:])})
	}
	return all, nil
}

// migrate brings the schema up to date. Each step is one transaction, so a
// process killed at any moment leaves a database that the next start continues
// with; two processes that start together take turns.
func migrate(d dialer, now func() time.Time) (err error) {
	known, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	c, err := d.open(writing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := walMode(c); err != nil {
		return err
	}
	for {
		done, err := pending(c, known)
		if err != nil || done == len(known) {
			return err
		}
		if err := migrateOne(c, known, now); err != nil {
			return err
		}
	}
}

// upToDate changes nothing and refuses a schema that lacks a step.
func upToDate(d dialer) (err error) {
	known, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	c, err := d.open(writing)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	done, err := pending(c, known)
	if err == nil && done < len(known) {
		err = fmt.Errorf("the database has schema %d and this binary needs schema %d, and auto_migrate is off: run `holdfast migrate` with this binary, then start again", done, len(known))
	}
	return err
}

// walMode switches a new file to the write-ahead log; an old one has it.
func walMode(c *conn) error {
	var mode string
	var err error
	for range journalTries {
		_, err = c.one("PRAGMA journal_mode=WAL", nil, func(r row) error { mode = r.text(0); return nil })
		if err == nil || primary(err) != sqlite3.SQLITE_BUSY {
			break
		}
		time.Sleep(journalPause)
	}
	if err == nil && mode != "wal" {
		return fmt.Errorf("the file system does not support a write-ahead log (journal mode %s); keep the database on a local disk", mode)
	}
	return err
}

// pending checks what the database ran against what this binary knows and
// reports how many steps it has run.
func pending(c *conn, known []migration) (done int, err error) {
	id, err := c.number("PRAGMA application_id")
	if err != nil {
		return 0, err
	}
	tables, err := c.number("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return 0, err
	}
	switch {
	case id == 0 && tables == 0:
		return 0, nil
	case id == movedID:
		return 0, moved(c)
	case id != applicationID:
		return 0, errors.New("this file is not a Holdfast database; nothing in it was changed")
	}
	err = c.each(context.Background(), "SELECT version, name, digest FROM schema_migration ORDER BY version", nil, func(r row) error {
		version, name, digest := int(r.int(0)), r.text(1), r.text(2)
		done++
		switch {
		case version > len(known):
			return fmt.Errorf("the database has schema %d (%s), this binary knows schemas up to %d; run the version that wrote it, or a newer one", version, name, len(known))
		case version != done || digest != known[version-1].digest:
			return fmt.Errorf("schema step %s in the database is not the one this binary carries; it was made by another build", name)
		}
		return nil
	})
	return done, err
}

// migrateOne runs the next step under the write lock, after looking again:
// another process may have run it meanwhile.
func migrateOne(c *conn, known []migration, now func() time.Time) (err error) {
	if _, err := c.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, rollback := c.run("ROLLBACK")
			err = errors.Join(err, rollback)
		}
	}()
	done, err := pending(c, known)
	if err != nil {
		return err
	}
	if done < len(known) {
		m := known[done]
		if err := c.script(m.text); err != nil {
			return fmt.Errorf("schema step %s: %w", m.name, err)
		}
		_, err = c.run("INSERT INTO schema_migration (version, name, digest, applied_at) VALUES (?, ?, ?, ?)",
			m.version, m.name, m.digest, now().UnixMilli())
		if err != nil {
			return err
		}
	}
	_, err = c.run("COMMIT")
	return err
}
