package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/secret"
)

// Filling is an empty database that is being filled: an archive.Sink. It is one
// transaction, so that a process that is killed leaves the database empty.
type Filling struct {
	conn  *pgx.Conn
	tx    pgx.Tx
	table *archive.Table
	rows  [][]any
	bytes int
}

// What is sent at once: whichever comes first.
const (
	sendRows  = 4096
	sendBytes = 1 << 20
)

// Fill begins to fill a database that holds nothing. It brings the schema up to
// date first. Nobody else can use the database until Commit or Abort.
func Fill(ctx context.Context, url secret.Text, o Options) (*Filling, error) {
	db, err := Open(ctx, url, o)
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		return nil, err
	}
	f := &Filling{}
	if f.conn, err = plainConn(ctx, url); err != nil {
		return nil, err
	}
	if err := f.begin(ctx); err != nil {
		return nil, errors.Join(err, f.Abort())
	}
	return f, nil
}

func (f *Filling) begin(ctx context.Context) (err error) {
	if f.tx, err = f.conn.Begin(ctx); err != nil {
		return err
	}
	if err := script(ctx, f.tx, unhurried); err != nil {
		return err
	}
	for _, t := range archive.Tables() {
		if _, err := f.tx.Exec(ctx, "LOCK TABLE "+tableName(t)+" IN ACCESS EXCLUSIVE MODE"); err != nil {
			return heldBy(err)
		}
	}
	for _, t := range archive.Tables() {
		text := "SELECT EXISTS (SELECT 1 FROM " + tableName(t) + ")"
		switch t.Name {
		case "key_roll":
			text = "SELECT EXISTS (SELECT 1 FROM key_roll WHERE version > 0)"
		case "record_head", "client_revision":
			continue
		}
		var there bool
		if err := f.tx.QueryRow(ctx, text).Scan(&there); err != nil {
			return err
		}
		if there {
			return fmt.Errorf("%w: its table %s has rows; give an empty database", archive.ErrNotEmpty, tableName(t))
		}
	}
	return script(ctx, f.tx, "DELETE FROM key_roll; DELETE FROM record_head; DELETE FROM client_revision")
}

// single are the tables of one row, which have a column that says so.
var single = map[string]bool{"key_roll": true, "record_head": true, "client_revision": true}

// Put implements archive.Sink.
func (f *Filling) Put(ctx context.Context, t *archive.Table, row archive.Row) error {
	if f.table != t {
		if err := f.send(ctx); err != nil {
			return err
		}
		f.table = t
	}
	values := make([]any, 0, len(row)+1)
	for i, c := range t.Columns {
		v := row[i]
		switch v := v.(type) {
		case []byte:
			f.bytes += len(v)
			if c.Kind == archive.ID {
				values = append(values, [16]byte(v))
				continue
			}
			values = append(values, append([]byte{}, v...)) // it waits
			continue
		case string:
			f.bytes += len(v)
		case int64:
			if c.Kind == archive.Bool {
				values = append(values, v == 1)
				continue
			}
		}
		values = append(values, v)
	}
	if single[t.Name] {
		values = append(values, int64(1))
	}
	if t.Name == "revocation" {
		values = append(values, row[6].(int64)*1000) // written is in microseconds
	}
	f.rows = append(f.rows, values)
	if len(f.rows) >= sendRows || f.bytes >= sendBytes {
		return f.send(ctx)
	}
	return nil
}

// send copies what waits into its table.
func (f *Filling) send(ctx context.Context) error {
	if len(f.rows) == 0 {
		return nil
	}
	names := make([]string, 0, len(f.table.Columns)+1)
	for _, c := range f.table.Columns {
		names = append(names, columnName(c))
	}
	if single[f.table.Name] {
		names = append(names, "one")
	}
	if f.table.Name == "revocation" {
		names = append(names, "written")
	}
	_, err := f.tx.CopyFrom(ctx, pgx.Identifier{tableName(f.table)}, names, pgx.CopyFromRows(f.rows))
	clear(f.rows)
	f.rows, f.bytes = f.rows[:0], 0
	return err
}

// Written implements archive.Sink.
func (f *Filling) Written(ctx context.Context) (archive.Source, error) {
	return &Snapshot{conn: f.conn, tx: f.tx}, f.send(ctx)
}

// Commit implements archive.Sink.
func (f *Filling) Commit(ctx context.Context) error {
	err := f.send(ctx)
	if err == nil {
		err = f.tx.Commit(ctx)
	}
	if err != nil {
		return err
	}
	// The planner should know the tables before the first server asks.
	if _, err := f.conn.Exec(ctx, "SET statement_timeout = 0"); err != nil {
		return nil
	}
	_, _ = f.conn.Exec(ctx, "ANALYZE") // autovacuum will do it, too
	return nil
}

// Abort implements archive.Sink.
func (f *Filling) Abort() error {
	if f.conn == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), CallWait)
	defer stop()
	return f.conn.Close(ctx) // ends the transaction, too
}
