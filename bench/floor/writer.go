package main

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"time"

	"modernc.org/sqlite"
)

// maxBatch is how many updates share one transaction and one fsync.
const maxBatch = 64

// facts is about as much as a session row holds besides its counters.
const facts = 120 // bytes

// writer updates one row for each request and returns when that is on the disk:
// one goroutine takes what waits, commits it with synchronous=FULL, and answers
// everybody in the batch. It speaks to the driver without database/sql.
type writer struct {
	conn                  driver.Conn
	begin, update, commit driver.StmtExecContext
	rows                  int64
	queue                 chan change
	closed                chan struct{}
	stopped               chan error
	statements            []driver.Stmt
	args                  []driver.NamedValue // of update
}

type change struct {
	row, at int64
	done    chan error
}

func openWriter(path string, rows int) (*writer, error) {
	if path == "" || rows < 1 {
		return nil, errors.New("row needs -db FILE and at least one row")
	}
	conn, err := new(sqlite.Driver).Open("file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	w := &writer{conn: conn, rows: int64(rows), queue: make(chan change, maxBatch), closed: make(chan struct{}), stopped: make(chan error, 1),
		args: named(nil, make([]byte, facts), nil)}
	for _, text := range []string{
		"CREATE TABLE device (key INTEGER PRIMARY KEY, generation INTEGER NOT NULL, used_at INTEGER NOT NULL, facts BLOB NOT NULL) STRICT",
		"BEGIN",
	} {
		err = w.exec(text)
		if err != nil {
			return nil, err
		}
	}
	for key := range w.rows {
		err = w.exec("INSERT INTO device VALUES (?, 1, 0, ?)", key, make([]byte, facts))
		if err != nil {
			return nil, err
		}
	}
	err = w.exec("COMMIT")
	if err != nil {
		return nil, err
	}
	for _, s := range []struct {
		into *driver.StmtExecContext
		text string
	}{
		{&w.begin, "BEGIN IMMEDIATE"},
		{&w.update, "UPDATE device SET generation = generation + 1, used_at = ?, facts = ? WHERE key = ?"},
		{&w.commit, "COMMIT"},
	} {
		*s.into, err = w.prepare(s.text)
		if err != nil {
			return nil, err
		}
	}
	go w.run()
	return w, nil
}

func (w *writer) prepare(text string) (driver.StmtExecContext, error) {
	s, err := w.conn.Prepare(text)
	if err != nil {
		return nil, err
	}
	w.statements = append(w.statements, s)
	return s.(driver.StmtExecContext), nil
}

// exec runs a statement once, for the preparation.
func (w *writer) exec(text string, args ...driver.Value) error {
	s, err := w.conn.Prepare(text)
	if err != nil {
		return err
	}
	_, err = s.(driver.StmtExecContext).ExecContext(context.Background(), named(args...))
	return errors.Join(err, s.Close())
}

func named(args ...driver.Value) []driver.NamedValue {
	all := make([]driver.NamedValue, len(args))
	for i, a := range args {
		all[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	return all
}

// touch updates the row that a token falls on and returns when it is durable.
func (w *writer) touch(token string, now time.Time) error {
	sum := sha256.Sum256([]byte(token))
	c := change{int64(binary.BigEndian.Uint64(sum[:]) % uint64(w.rows)), now.UnixMilli(), make(chan error, 1)}
	select {
	case w.queue <- c:
	case <-w.closed:
		return errors.New("closed")
	}
	return <-c.done
}

func (w *writer) run() {
	batch := make([]change, 0, maxBatch)
	for {
		batch = batch[:0]
		select {
		case c := <-w.queue:
			batch = append(batch, c)
		case <-w.closed:
			w.stopped <- nil
			return
		}
	gather:
		for len(batch) < maxBatch {
			select {
			case c := <-w.queue:
				batch = append(batch, c)
			default:
				break gather
			}
		}
		err := w.write(batch)
		for _, c := range batch {
			c.done <- err
		}
	}
}

func (w *writer) write(batch []change) error {
	_, err := w.begin.ExecContext(context.Background(), nil)
	if err != nil {
		return err
	}
	for _, c := range batch {
		w.args[0].Value, w.args[2].Value = c.at, c.row
		_, failed := w.update.ExecContext(context.Background(), w.args)
		err = errors.Join(err, failed)
	}
	_, failed := w.commit.ExecContext(context.Background(), nil)
	return errors.Join(err, failed)
}

func (w *writer) close() error {
	close(w.closed)
	err := <-w.stopped
	for _, s := range w.statements {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, w.conn.Close())
}
