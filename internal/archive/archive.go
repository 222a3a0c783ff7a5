// Package archive owns what a backup is: the tables in a form that no database
// has a part in, the file they are written to, and the copying between databases
// and files, with its checks.
//
//	Source ──▶ Writer ──▶ file ──▶ Reader ──▶ Floor ──▶ Sink     backup, restore
//	Source ──────────────────────────────────────────▶ Sink      move
//
// A Source is one state of a database, a Sink takes all rows or none. Both are
// implemented by the stores. It does not own the databases (rooms store/sqlite
// and store/postgres), what the rows mean to a running server (rooms user,
// session, client, key, feed, audit), nor the journal that a restore is held
// against (room journal). docs/adr/0014 gives the reasons.
package archive

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Source is one consistent state of a database, for reading.
type Source interface {
	// Facts tells what the state is of.
	Facts(ctx context.Context) (Facts, error)
	// Each calls f with every row of a table. The row is valid until f returns.
	Each(ctx context.Context, t *Table, f func(Row) error) error
	// Close lets go of the state.
	Close() error
}

// Sink is an empty database that is being filled. Nobody sees a row of it before
// Commit; a process that dies before leaves the database as it was.
type Sink interface {
	// Put adds one row. Tables come in the order of Tables, and the sink keeps
	// nothing of the row.
	Put(ctx context.Context, t *Table, row Row) error
	// Written is what was put so far, read back from the database.
	Written(ctx context.Context) (Source, error)
	// Commit makes all of it durable and visible, at once.
	Commit(ctx context.Context) error
	// Abort undoes everything that was not committed. It may follow Commit.
	Abort() error
}

// Facts are what a Source tells about itself.
type Facts struct {
	// Database is "sqlite" or "postgres", Schema the number of its last step.
	Database string
	Schema   int
	// Now is the store's time when the state was taken.
	Now time.Time
	// Head is the last position of the record of revocations that was given out.
	Head int64
	// Rows counts what each table holds.
	Rows map[string]int64
}

// Total is the number of rows in all tables.
func (f Facts) Total() (n int64) {
	for _, rows := range f.Rows {
		n += rows
	}
	return n
}

// Progress hears how many rows were copied so far. It is called often, from the
// goroutine that copies, and must be quick.
type Progress func(rows int64)

// progressEvery is how many rows pass between two calls of a Progress.
const progressEvery = 512

// ErrNotEmpty: the database that should be filled holds something already.
var ErrNotEmpty = errors.New("archive: the database is not empty")

// ErrHeld: a server, or another command, has the database open.
var ErrHeld = errors.New("archive: the database is in use")

// copying counts what passes from a source to wherever it goes.
type copying struct {
	totals   Totals
	rows     int64
	progress Progress
	buf      []byte
}

// pass counts one row.
func (c *copying) pass(t *Table, row Row) error {
	var err error
	c.buf, err = t.appendRow(c.buf[:0], row)
	if err != nil {
		return err
	}
	c.totals.add(t, c.buf)
	c.rows++
	if c.progress != nil && c.rows%progressEvery == 0 {
		c.progress(c.rows)
	}
	return nil
}

// Sum reads a whole source and tells what is in it.
func Sum(ctx context.Context, s Source, p Progress) (Totals, error) {
	c := copying{totals: Totals{}, progress: p}
	err := everything(ctx, s, c.pass)
	return c.totals, err
}

// everything calls f with all rows of all tables.
func everything(ctx context.Context, s Source, f func(*Table, Row) error) error {
	for _, t := range Tables() {
		err := s.Each(ctx, t, func(row Row) error {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			return f(t, row)
		})
		if err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
	}
	return nil
}

// Backup writes a source to an archive, whose end the caller writes by closing
// the writer.
func Backup(ctx context.Context, s Source, w *Writer, p Progress) (Totals, error) {
	c := copying{totals: Totals{}, progress: p}
	err := everything(ctx, s, func(t *Table, row Row) error {
		if err := c.pass(t, row); err != nil {
			return err
		}
		return w.Put(t, row)
	})
	return c.totals, err
}

// Restore fills a sink from an archive, through a floor, and reads back what was
// written before it commits. With nil for a floor every row is taken as it is.
func Restore(ctx context.Context, r *Reader, s Sink, floor *Floor, p Progress) (Totals, error) {
	c := copying{totals: Totals{}, progress: p}
	put := func(t *Table, row Row) error {
		if err := c.pass(t, row); err != nil {
			return err
		}
		return s.Put(ctx, t, row)
	}
	take := put
	if floor != nil {
		take = func(t *Table, row Row) error { return floor.row(ctx, t, row, put) }
	}
	err := r.Each(func(t *Table, row Row) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		return take(t, row)
	})
	if err == nil && floor != nil {
		err = floor.finish(ctx, put)
	}
	if err != nil {
		return nil, err
	}
	return c.totals, settle(ctx, s, c.totals)
}

// Move fills a sink from a source and reads back what was written before it
// commits.
func Move(ctx context.Context, from Source, to Sink, p Progress) (Totals, error) {
	c := copying{totals: Totals{}, progress: p}
	err := everything(ctx, from, func(t *Table, row Row) error {
		if err := c.pass(t, row); err != nil {
			return err
		}
		return to.Put(ctx, t, row)
	})
	if err != nil {
		return nil, err
	}
	return c.totals, settle(ctx, to, c.totals)
}

// settle compares what was put with what the database holds, then commits.
func settle(ctx context.Context, s Sink, put Totals) error {
	written, err := s.Written(ctx)
	if err != nil {
		return err
	}
	held, err := Sum(ctx, written, nil)
	err = errors.Join(err, written.Close())
	if err != nil {
		return err
	}
	if err := put.Same(held); err != nil {
		return fmt.Errorf("what was read back is not what was written, so nothing was kept: %w", err)
	}
	return s.Commit(ctx)
}
