package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"modernc.org/sqlite/lib"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/session"
)

// Snapshot is one state of a database file: an archive.Source. It has a connection
// of its own and one read transaction, so a server goes on writing beside it; the
// write-ahead log cannot be cut back before Close.
type Snapshot struct {
	path string
	now  func() time.Time
	c    *conn
	// sole: nobody else has the file open, and it may be marked as moved.
	sole bool
}

// OpenSnapshot takes the state of the file at a path as it is now. It changes
// nothing: a file of another schema than this program's is refused. sole refuses a
// file that anybody has open (archive.ErrHeld), and keeps everybody out until
// Close.
func OpenSnapshot(path string, now func() time.Time, sole bool) (*Snapshot, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("there is no database at %s", path)
	}
	r := reader
	if sole {
		r = alone
	}
	c, err := dialer{path: path}.open(r)
	if err != nil {
		return nil, held(path, err)
	}
	s := &Snapshot{path: path, now: now, c: c, sole: sole}
	if err := s.begin(); err != nil {
		return nil, errors.Join(held(path, err), c.close())
	}
	return s, nil
}

// held says that somebody has the file open, when that is the reason.
func held(path string, err error) error {
	if primary(err) == sqlite3.SQLITE_BUSY {
		return fmt.Errorf("%w: a server or another command has %s open; stop it first", archive.ErrHeld, path)
	}
	return err
}

func (s *Snapshot) begin() error {
	begin := "BEGIN"
	if s.sole {
		begin = "BEGIN IMMEDIATE"
	}
	if _, err := s.c.run(begin); err != nil {
		return err
	}
	known, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	done, err := pending(s.c, known) // its first read fixes the state
	if err == nil && done != len(known) {
		err = fmt.Errorf("%s is at schema %d and this program works with schema %d; run `holdfast migrate` first", s.path, done, len(known))
	}
	return err
}

// Facts implements archive.Source.
func (s *Snapshot) Facts(context.Context) (archive.Facts, error) {
	f := archive.Facts{Database: "sqlite", Rows: map[string]int64{}}
	var err error
	f.Now = session.FromMillis(s.now().UnixMilli())
	for _, t := range archive.Tables() {
		text := "SELECT count(*) FROM " + t.Name
		switch t.Name {
		case "record_head": // SQLite keeps it for us
			f.Rows[t.Name] = 1
			continue
		case "client":
			text += carriedClients
		}
		if f.Rows[t.Name], err = s.c.number(text); err != nil {
			return f, err
		}
	}
	schema, err := s.c.number("SELECT max(version) FROM schema_migration")
	if err != nil {
		return f, err
	}
	f.Schema = int(schema)
	f.Head, err = s.c.number(recordHead)
	return f, err
}

const (
	recordHead = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'revocation'"
	// carriedClients leaves out clients that are only named by sessions: whoever
	// reads a session makes them again.
	carriedClients = " WHERE version > 0 OR doc = '" + tombstone + "'"
)

// tableReads are the statements that read tables otherwise than column by column.
// Where a row here refers to an account by number, an archive has its id.
var tableReads = map[string]string{
	"login":         "SELECT l.canonical, u.id FROM login l JOIN user u ON u.ref = l.user",
	"user_epoch":    "SELECT u.id, e.epoch, e.reason, e.at FROM user_epoch e JOIN user u ON u.ref = e.user",
	"upstream_link": "SELECT l.upstream, l.subject, u.id, l.linked_at FROM upstream_link l JOIN user u ON u.ref = l.user",
	"client":        "SELECT id, version, stopped, CASE WHEN version = 0 THEN '' ELSE doc END FROM client" + carriedClients + " ORDER BY id",
	"record_head":   recordHead,
	"audit":         "SELECT position, at, name, actor, actor_id, actor_client, address, user, client, sid, object, reason, details FROM audit ORDER BY position",
}

// Each implements archive.Source.
func (s *Snapshot) Each(ctx context.Context, t *archive.Table, f func(archive.Row) error) error {
	if t.Name == "session" {
		return s.sessions(ctx, f)
	}
	text := tableReads[t.Name]
	if text == "" {
		text = "SELECT " + columnList(t.Names()) + " FROM " + t.Name
	}
	return s.c.each(ctx, text, nil, func(r row) error {
		for i, v := range r { // an empty blob is read as nothing
			if b, ok := v.([]byte); ok && b == nil {
				r[i] = []byte{}
			}
		}
		out := make(archive.Row, len(r))
		for i, v := range r {
			out[i] = v
		}
		return f(out)
	})
}

func columnList(names []string) (list string) {
	for i, n := range names {
		if i > 0 {
			list += ", "
		}
		list += n
	}
	return list
}

const snapshotSessions = `SELECT s.key, s.tail, s.version, s.epoch, s.used_at, s.created_at, s.ended_at, s.end_reason, s.facts, s.chain,
 t.scope, t.earned, t.amr, c.id, u.id FROM session s JOIN terms t ON t.ref = s.terms JOIN client c ON c.ref = t.client JOIN user u ON u.ref = s.user ORDER BY s.key`

// sessions unpacks what this database packs.
func (s *Snapshot) sessions(ctx context.Context, f func(archive.Row) error) error {
	return s.c.each(ctx, snapshotSessions, nil, func(r row) error {
		which, err := joined(r.int(0), r.blob(1))
		if err != nil {
			return err
		}
		var se session.Session
		se.CreatedAt = session.FromMillis(r.int(5))
		if err := unpackFacts(r.blob(8), &se); err != nil {
			return fmt.Errorf("session %x: %w", which, err)
		}
		var ended, reason, parent, install any
		if !r.null(6) {
			ended, reason = r.int(6), r.text(7)
		}
		if !se.Parent.IsZero() {
			parent = se.Parent[:]
		}
		if se.Device.HasInstall() {
			install = se.Device.Install[:]
		}
		return f(archive.Row{which[:], r.blob(14), r.int(2), r.int(3), r.int(4), r.int(5), session.Millis(se.AuthTime),
			ended, reason, parent, install, se.Secret[:], se.Attempt[:], r.text(13), r.text(10), r.text(11), r.text(12), se.Key,
			se.Device.Name, se.Device.Model, se.Device.System, se.Device.App, r.blob(9)})
	})
}

// Retire marks a database that was moved, so that no server serves from it any
// more. to is what people are told about where it went.
func (s *Snapshot) Retire(_ context.Context, to string) error {
	if !s.sole {
		return errors.New("sqlite: only who has a database alone may retire it")
	}
	_, err := s.c.run("CREATE TABLE moved (place TEXT NOT NULL, at INTEGER NOT NULL) STRICT")
	if err == nil {
		_, err = s.c.run("INSERT INTO moved (place, at) VALUES (?, ?)", to, s.now().UnixMilli())
	}
	if err == nil {
		err = s.c.script(fmt.Sprintf("PRAGMA application_id = %d", movedID))
	}
	if err == nil {
		_, err = s.c.run("COMMIT")
	}
	return err
}

// Close implements archive.Source.
func (s *Snapshot) Close() error { return s.c.close() }

// movedID marks a file whose contents were moved elsewhere: "Hfmv".
const movedID = 0x48666d76

// moved is the refusal of a file that was moved.
func moved(c *conn) error {
	place, at := "another database", time.Time{}
	_, err := c.one("SELECT place, at FROM moved", nil, func(r row) error {
		place, at = r.text(0), session.FromMillis(r.int(1))
		return nil
	})
	return errors.Join(fmt.Errorf("its contents were moved to %s on %s; serve from there (this file only remains so that you can look at it, and may be deleted)",
		place, at.Format(time.RFC3339)), err)
}
