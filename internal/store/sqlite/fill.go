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
	if err := f.free(); err != nil {
		return nil, err
	}
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

// free refuses when another process fills the file at this moment. What one left that
// was killed may be of any shape.
func (f *Filling) free() error {
	if _, err := os.Stat(f.part); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c, err := dialer{path: f.part, synchronous: Off}.open(alone)
	if err == nil {
		_, err = c.run("BEGIN EXCLUSIVE")
		_ = c.close() // it is removed
	}
	if primary(err) == sqlite3.SQLITE_BUSY {
		return fmt.Errorf("%w: another command is filling %s", archive.ErrHeld, f.path)
	}
	return nil
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
