package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"modernc.org/sqlite/lib"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/fault"
	"holdfast.example/internal/id"
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

// Filling is a new database file: an archive.Sink. It grows beside its place under
// another name, without a log, and gets its name when all is in it and synced: a
// process that is killed leaves a file that the next Fill begins anew.
type Filling struct {
	path, part string
	c          *conn
}

// partSuffix is what the file is called while it grows.
const partSuffix = ".filling"

// Fill begins a new database for a path where there is none.
func Fill(path string, now func() time.Time) (*Filling, error) {
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if _, err := os.Stat(path + suffix); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: there is a file %s already; move it away first", archive.ErrNotEmpty, path+suffix)
		}
	}
	f := &Filling{path: path, part: path + partSuffix}
	if err := f.remove(); err != nil {
		return nil, err
	}
	o := Options{Now: now, Readers: 1, Synchronous: Off, LoseAcknowledged: true} // Commit syncs the whole file
	db, err := Open(f.part, o)                                                   // makes the schema
	if err == nil {
		err = db.Close()
	}
	var c *conn
	if err == nil {
		c, err = dialer{path: f.part, synchronous: Off}.open(filling)
	}
	if err != nil {
		return nil, errors.Join(err, f.remove())
	}
	f.c = c
	// New pages need no copy of what they were before.
	if _, err = c.one("PRAGMA journal_mode = MEMORY", nil, func(row) error { return nil }); err == nil {
		_, err = c.run("BEGIN EXCLUSIVE")
	}
	for _, one := range []string{"DELETE FROM client_revision", "DELETE FROM key_roll"} {
		if err == nil {
			_, err = c.run(one)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Abort())
	}
	return f, nil
}

func (f *Filling) remove() error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(f.part + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// tableWrites are the statements that write tables otherwise than column by
// column.
var tableWrites = map[string]string{
	"login":         "INSERT INTO login (canonical, user) VALUES (?1, (SELECT ref FROM user WHERE id = ?2))",
	"user_epoch":    "INSERT INTO user_epoch (user, epoch, reason, at) VALUES ((SELECT ref FROM user WHERE id = ?1), ?2, ?3, ?4)",
	"upstream_link": "INSERT INTO upstream_link (upstream, subject, user, linked_at) VALUES (?1, ?2, (SELECT ref FROM user WHERE id = ?3), ?4)",
	"client":        "INSERT INTO client (id, version, stopped, doc) VALUES (?1, ?2, ?3, CASE WHEN ?2 = 0 THEN '" + tombstone + "' ELSE ?4 END)",
	"key_roll":      "INSERT INTO key_roll (one, version, roll) VALUES (1, ?, ?)",
	"record_head":   "INSERT INTO sqlite_sequence (name, seq) VALUES ('revocation', ?)",
	"audit":         "INSERT INTO audit (position, at, name, actor, actor_id, actor_client, address, user, client, sid, object, reason, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",

	"client_revision": "INSERT INTO client_revision (one, revision) VALUES (1, ?)",
}

// Put implements archive.Sink.
func (f *Filling) Put(_ context.Context, t *archive.Table, row archive.Row) error {
	switch t.Name {
	case "session":
		return f.session(row)
	case "record_head":
		if _, err := f.c.run("DELETE FROM sqlite_sequence WHERE name = 'revocation'"); err != nil {
			return err
		}
	}
	text := tableWrites[t.Name]
	if text == "" {
		names := t.Names()
		marks := make([]string, len(names))
		for i := range marks {
			marks[i] = "?"
		}
		text = "INSERT INTO " + t.Name + " (" + columnList(names) + ") VALUES (" + columnList(marks) + ")"
	}
	_, err := f.c.run(text, row...)
	return err
}

func (f *Filling) session(row archive.Row) error {
	var s session.Session
	s.ID, s.User = id.Session(row[0].([]byte)), id.User(row[1].([]byte))
	s.Version, s.Epoch = uint64(row[2].(int64)), uint32(row[3].(int64))
	s.UsedAt, s.CreatedAt, s.AuthTime = session.FromMillis(row[4].(int64)), session.FromMillis(row[5].(int64)), session.FromMillis(row[6].(int64))
	if reason, ended := row[8].(string); ended {
		at, _ := row[7].(int64)
		s.EndedAt, s.EndReason = session.FromMillis(at), fault.Reason(reason)
	}
	if b, ok := row[9].([]byte); ok {
		s.Parent = id.Session(b)
	}
	if b, ok := row[10].([]byte); ok {
		s.Device.Install = [16]byte(b)
	}
	secret, attempt := row[11].([]byte), row[12].([]byte)
	if len(secret) != len(s.Secret) || len(attempt) != len(s.Attempt) {
		return fmt.Errorf("sqlite: session %x has a malformed row", s.ID)
	}
	s.Secret, s.Attempt = [16]byte(secret), [8]byte(attempt)
	s.Client, s.Scope, s.Grant, s.AMR = id.Client(row[13].(string)), row[14].(string), row[15].(string), row[16].(string)
	s.Key = row[17].(string)
	s.Device.Name, s.Device.Model, s.Device.System, s.Device.App = row[18].(string), row[19].(string), row[20].(string), row[21].(string)
	var err error
	if s.Chain, err = session.DecodeChain(row[22].([]byte), s.UsedAt); err != nil {
		return fmt.Errorf("sqlite: session %x: %w", s.ID, err)
	}
	user, err := f.c.number("SELECT ref FROM user WHERE id = ?", s.User[:])
	if err == nil && user == 0 {
		err = fmt.Errorf("sqlite: session %x is of an account that is not there", s.ID)
	}
	if err != nil {
		return err
	}
	return insertSession(f.c, user, s)
}

// Written implements archive.Sink.
func (f *Filling) Written(context.Context) (archive.Source, error) {
	return unclosed{&Snapshot{path: f.part, c: f.c, now: func() time.Time { return time.Time{} }}}, nil
}

// unclosed is a Snapshot on a connection that belongs to somebody else.
type unclosed struct{ *Snapshot }

func (unclosed) Close() error { return nil }

// Commit implements archive.Sink.
func (f *Filling) Commit(context.Context) error {
	_, err := f.c.run("COMMIT")
	if err == nil {
		_, err = f.c.run("PRAGMA optimize = 0x10002") // what the planner should know about tables of this size
	}
	if err != nil {
		return err
	}
	err = f.c.close()
	f.c = nil
	if err == nil {
		err = syncFile(f.part)
	}
	if err == nil { // unlike a rename, a link takes nobody's place
		err = os.Link(f.part, f.path)
	}
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%w: somebody made %s meanwhile", archive.ErrNotEmpty, f.path)
	}
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(f.part), syncFolder(f.path))
}

// Abort implements archive.Sink.
func (f *Filling) Abort() error {
	var err error
	if f.c != nil {
		err = f.c.close()
		f.c = nil
	}
	return errors.Join(err, f.remove())
}
