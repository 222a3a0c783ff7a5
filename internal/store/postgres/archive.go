package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
)

// Snapshot is one state of a database: an archive.Source. It is one transaction on
// a connection of its own that only reads, REPEATABLE READ, so that all its
// statements see the same moment while servers go on writing.
type Snapshot struct {
	conn *pgx.Conn
	tx   pgx.Tx
	// ours: closing ends the transaction and the connection.
	ours, sole bool
}

// plainConn opens one connection for work that takes as long as it takes.
func plainConn(ctx context.Context, url secret.Text) (*pgx.Conn, error) {
	config, err := configure(url)
	if err != nil {
		return nil, err
	}
	config.ConnConfig.RuntimeParams["application_name"] = archiveName
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return conn, nil
}

// archiveName is what connections of backups and moves call themselves in
// pg_stat_activity.
const archiveName = "holdfast archive"

// unhurried lifts the limits that are for requests.
const unhurried = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = '5s'"

// carried are our names of the tables that an archive carries.
var carried = map[string]string{"user": "account", "user_epoch": "account_epoch"}

func tableName(t *archive.Table) string {
	if name := carried[t.Name]; name != "" {
		return name
	}
	return t.Name
}

// columnName is our name of a column.
func columnName(c archive.Column) string {
	if c.Name == "user" {
		return "account"
	}
	return c.Name
}

// OpenSnapshot takes the state of a database as it is now. It changes nothing: a
// schema that is not this program's is refused. sole refuses a database that
// servers are connected to (archive.ErrHeld), and lets nobody write until Close.
func OpenSnapshot(ctx context.Context, url secret.Text, sole bool) (*Snapshot, error) {
	conn, err := plainConn(ctx, url)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{conn: conn, ours: true, sole: sole}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Snapshot) begin(ctx context.Context) (err error) {
	if err := refuseMoved(ctx, s.conn); err != nil {
		return err
	}
	known, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	done, err := applied(ctx, s.conn, known)
	if err == nil && done != len(known) {
		err = fmt.Errorf("the database is at schema %d and this program works with schema %d; run `holdfast migrate` first", done, len(known))
	}
	if err != nil {
		return err
	}
	o := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	if s.sole {
		o.AccessMode = pgx.ReadWrite // it is marked in the end
		if err := s.parted(ctx); err != nil {
			return err
		}
	}
	if s.tx, err = s.conn.BeginTx(ctx, o); err != nil {
		return err
	}
	if err = script(ctx, s.tx, unhurried); err != nil || !s.sole {
		return err
	}
	// The locks come before the first look, so that the state has all that was
	// written before them.
	for _, t := range archive.Tables() {
		if _, err := s.tx.Exec(ctx, "LOCK TABLE "+tableName(t)+" IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return heldBy(err)
		}
	}
	servers, err := s.servers(ctx)
	if err == nil && servers > 0 {
		err = fmt.Errorf("%w: servers have %d connections to the database; stop them first", archive.ErrHeld, servers)
	}
	return err
}

// The wait for the connections of a server that has just been stopped: it is gone
// before PostgreSQL has ended their processes.
const (
	partingTime  = 3 * time.Second
	partingPause = 50 * time.Millisecond
)

// parted waits for servers to be gone, without a lock that would stop one which is
// not on its way out.
func (s *Snapshot) parted(ctx context.Context) error {
	for range partingTime / partingPause {
		servers, err := s.servers(ctx)
		if err != nil || servers == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(partingPause):
		}
	}
	return nil
}

// servers counts the connections that servers have.
func (s *Snapshot) servers(ctx context.Context) (n int, err error) {
	err = s.conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1", applicationName).Scan(&n)
	return n, err
}

func heldBy(err error) error {
	if code(err) == lockNotAvailable {
		return fmt.Errorf("%w: somebody else is writing to the database; stop the servers first", archive.ErrHeld)
	}
	return err
}

// script sends several statements at once.
func script(ctx context.Context, tx pgx.Tx, text string) error {
	_, err := tx.Conn().PgConn().Exec(ctx, text).ReadAll()
	return err
}

// snapshotRecord numbers what has no position yet behind everything that has one.
const snapshotRecord = `SELECT coalesce(position, (SELECT head FROM record_head) + row_number() OVER (PARTITION BY position IS NULL ORDER BY written, id)),
 kind, key, epoch, except_sid, reason, at, until FROM revocation`

// tableReads are the statements that read tables otherwise than column by column.
var tableReads = map[string]string{
	"revocation":  snapshotRecord,
	"record_head": "SELECT head + (SELECT count(*) FROM revocation WHERE position IS NULL) FROM record_head",
}

// Facts implements archive.Source.
func (s *Snapshot) Facts(ctx context.Context) (archive.Facts, error) {
	f := archive.Facts{Database: "postgres", Rows: map[string]int64{}}
	var now int64
	err := s.tx.QueryRow(ctx, "SELECT head, (SELECT max(version) FROM schema_migration), "+clock+" FROM record_head").Scan(&f.Head, &f.Schema, &now)
	f.Now = session.FromMillis(now)
	for _, t := range archive.Tables() {
		var n int64
		if err == nil {
			err = s.tx.QueryRow(ctx, "SELECT count(*) FROM "+tableName(t)).Scan(&n)
		}
		f.Rows[t.Name] = n
	}
	return f, err
}

// Each implements archive.Source.
func (s *Snapshot) Each(ctx context.Context, t *archive.Table, f func(archive.Row) error) error {
	text := tableReads[t.Name]
	if text == "" {
		names := make([]string, len(t.Columns))
		for i, c := range t.Columns {
			names[i] = columnName(c)
		}
		text = "SELECT " + strings.Join(names, ", ") + " FROM " + tableName(t)
	}
	rows, err := s.tx.Query(ctx, text)
	if err != nil {
		return err
	}
	defer rows.Close()
	cells, targets := newCells(t)
	row := make(archive.Row, len(cells))
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		for i := range cells {
			row[i] = cells[i].value()
		}
		if err := f(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// cell is where one column of a row is read into.
type cell struct {
	kind  archive.Kind
	n     *int64
	b     *bool
	s     *string
	bytes []byte
	id    *[16]byte
}

func newCells(t *archive.Table) (cells []cell, targets []any) {
	cells = make([]cell, len(t.Columns))
	for i, c := range t.Columns {
		cells[i].kind = c.Kind
		switch c.Kind {
		case archive.Int:
			targets = append(targets, &cells[i].n)
		case archive.Bool:
			targets = append(targets, &cells[i].b)
		case archive.Text:
			targets = append(targets, &cells[i].s)
		case archive.ID:
			targets = append(targets, &cells[i].id)
		default:
			targets = append(targets, &cells[i].bytes)
		}
	}
	return cells, targets
}

// value is the cell as an archive has it.
func (c *cell) value() any {
	switch {
	case c.kind == archive.Int && c.n != nil:
		return *c.n
	case c.kind == archive.Bool && c.b != nil && *c.b:
		return int64(1)
	case c.kind == archive.Bool && c.b != nil:
		return int64(0)
	case c.kind == archive.Text && c.s != nil:
		return *c.s
	case c.kind == archive.ID && c.id != nil:
		return c.id[:]
	case c.kind == archive.Bytes && c.bytes != nil:
		return c.bytes
	}
	return nil
}

// Retire marks a database whose contents were moved, so that no server serves from
// it any more: not even one that was started meanwhile and has looked for the mark
// already, because the sessions have another name. to is what people are told about
// where it went.
func (s *Snapshot) Retire(ctx context.Context, to string) error {
	if !s.sole {
		return errors.New("postgres: only who has a database alone may retire it")
	}
	_, err := s.tx.Exec(ctx, "ALTER TABLE session RENAME TO session_moved")
	if err == nil {
		_, err = s.tx.Exec(ctx, "CREATE TABLE moved (place text NOT NULL, at bigint NOT NULL)")
	}
	if err == nil {
		_, err = s.tx.Exec(ctx, "INSERT INTO moved (place, at) VALUES ($1, "+clock+")", to)
	}
	if err != nil {
		return err
	}
	return s.tx.Commit(ctx)
}

// Close implements archive.Source.
func (s *Snapshot) Close() error {
	if !s.ours {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), CallWait)
	defer stop()
	return s.conn.Close(ctx) // ends the transaction, too
}

// refuseMoved refuses a database whose contents were moved.
func refuseMoved(ctx context.Context, c *pgx.Conn) error {
	var is bool
	if err := c.QueryRow(ctx, "SELECT to_regclass('moved') IS NOT NULL").Scan(&is); err != nil || !is {
		return err
	}
	var place string
	var at int64
	if err := c.QueryRow(ctx, "SELECT place, at FROM moved").Scan(&place, &at); err != nil {
		return err
	}
	return fmt.Errorf("its contents were moved to %s on %s; serve from there (this database only remains so that you can look at it, and may be dropped)",
		place, session.FromMillis(at).Format(time.RFC3339))
}
