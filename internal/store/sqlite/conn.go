package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	moderncsqlite "modernc.org/sqlite"
)

// dialer opens connections to one file, all alike.
type dialer struct {
	path        string
	synchronous Synchronous
}

// conn is one connection with its prepared statements. It speaks to the driver
// without database/sql in between: the pool, the watchers of contexts and the
// reflection there cost a point read twice its time (bench_test.go). It is used
// by one goroutine at a time.
type conn struct {
	raw   driver.Conn
	stmts map[string]*stmt
	// terms remembers numbers of terms, for the writer (terms.go).
	terms map[terms]int64
}

// stmt is one prepared statement with room for its arguments and one row.
type stmt struct {
	handle driver.Stmt
	exec   driver.StmtExecContext
	query  driver.StmtQueryContext
	args   []driver.NamedValue
	row    row
}

// role says what a connection is for.
type role int

const (
	reader role = iota
	writing
	// alone keeps every other connection out, for as long as it is open.
	alone
	// filling writes a file that nobody else knows of yet.
	filling
)

// fillingCacheKiB is the page cache of a connection that fills a file: what it
// writes is looked up again by ids that are in no order.
const fillingCacheKiB = 64 << 10

// aloneWait is how long somebody who wants a file alone waits for the others:
// servers do not leave by themselves, but one that is just closing does.
const aloneWait = 500 * time.Millisecond

// open connects. A reader can never write, whatever it is asked.
func (d dialer) open(r role) (*conn, error) {
	set := url.Values{}
	set.Set("_error_rc", "1")  // no stale words beside an error code
	set.Set("_dqs", "0")       // "name" is never a string
	set.Set("_defensive", "1") // no statement can damage the file on purpose
	set.Set("_busy_timeout", strconv.FormatInt(BusyTimeout.Milliseconds(), 10))
	set.Set("_synchronous", d.synchronous.pragma())
	set.Set("_foreign_keys", "1")
	cache := cacheKiB
	switch r {
	case alone: // before the first statement that looks into the file
		set.Set("_busy_timeout", strconv.FormatInt(aloneWait.Milliseconds(), 10))
		set.Add("_pragma", "locking_mode(EXCLUSIVE)")
	case filling:
		cache = fillingCacheKiB
	}
	set.Add("_pragma", "cache_size(-"+strconv.Itoa(cache)+")")
	set.Add("_pragma", "temp_store(2)") // sorting needs no file
	if r == reader {
		set.Set("_query_only", "1")
	} else {
		set.Add("_pragma", "wal_autocheckpoint(0)") // the writer does it after its answers
		set.Add("_pragma", "journal_size_limit("+strconv.Itoa(walLimitBytes)+")")
	}
	// A file: URI, escaped, so that no character of a path can be an option.
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: d.path, RawQuery: set.Encode()}).String()
	raw, err := new(moderncsqlite.Driver).Open(name)
	if err != nil {
		return nil, err
	}
	return &conn{raw: raw, stmts: map[string]*stmt{}, terms: map[terms]int64{}}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.handle.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

// prepared finds or prepares a statement. The texts are constants of this
// package, so there are as many as the source has.
func (c *conn) prepared(text string, args []any) (*stmt, error) {
	s := c.stmts[text]
	if s == nil {
		handle, err := c.raw.Prepare(text)
		if err != nil {
			return nil, err
		}
		s = &stmt{handle: handle}
		var canExec, canQuery bool
		s.exec, canExec = handle.(driver.StmtExecContext)
		s.query, canQuery = handle.(driver.StmtQueryContext)
		if !canExec || !canQuery {
			return nil, errors.Join(errors.New("sqlite: the driver's statements take no context"), handle.Close())
		}
		c.stmts[text] = s
	}
	s.args = s.args[:0]
	for i, a := range args {
		v, err := value(a)
		if err != nil {
			return nil, err
		}
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return s, nil
}

// value turns an argument into one of the driver's types.
func value(a any) (driver.Value, error) {
	switch v := a.(type) {
	case nil, int64, string, []byte, bool:
		return v, nil
	case int:
		return int64(v), nil
	case uint32:
		return int64(v), nil
	case uint64:
		return int64(v), nil
	}
	return nil, fmt.Errorf("sqlite: no way to bind a %T", a)
}

// run executes a statement to its end and reports how many rows it changed.
func (c *conn) run(text string, args ...any) (int64, error) {
	s, err := c.prepared(text, args)
	if err != nil {
		return 0, err
	}
	res, err := s.exec.ExecContext(context.Background(), s.args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// each calls f with every row of a query. The row is valid until f returns.
func (c *conn) each(ctx context.Context, text string, args []any, f func(row) error) (err error) {
	s, err := c.prepared(text, args)
	if err != nil {
		return err
	}
	rows, err := s.query.QueryContext(ctx, s.args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if s.row == nil {
		s.row = make(row, len(rows.Columns()))
	}
	for {
		err := rows.Next(s.row)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(s.row); err != nil {
			return err
		}
	}
}

// one calls f with the first row of a query and reports whether there was one.
// A point read takes microseconds and is not interrupted.
func (c *conn) one(text string, args []any, f func(row) error) (found bool, err error) {
	s, err := c.prepared(text, args)
	if err != nil {
		return false, err
	}
	rows, err := s.query.QueryContext(context.Background(), s.args)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if s.row == nil {
		s.row = make(row, len(rows.Columns()))
	}
	err = rows.Next(s.row)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f(s.row)
}

// script executes a text of several statements, once.
func (c *conn) script(text string) error {
	e, ok := c.raw.(driver.ExecerContext)
	if !ok {
		return errors.New("sqlite: the driver's connections run no scripts")
	}
	_, err := e.ExecContext(context.Background(), text, nil)
	return err
}

// number reads the first column of the first row, 0 for none.
func (c *conn) number(text string, args ...any) (n int64, err error) {
	_, err = c.one(text, args, func(r row) error { n = r.int(0); return nil })
	return n, err
}

// row is one row of a result. Tables are STRICT, so a column has the declared
// type or is NULL, which reads as the zero value.
type row []driver.Value

func (r row) int(i int) int64   { n, _ := r[i].(int64); return n }
func (r row) bool(i int) bool   { return r.int(i) != 0 }
func (r row) null(i int) bool   { return r[i] == nil }
func (r row) text(i int) string { s, _ := r[i].(string); return s }
func (r row) blob(i int) []byte { b, _ := r[i].([]byte); return b }

// array16 reads a column of exactly 16 bytes.
func (r row) array16(i int) (a [16]byte, err error) {
	b := r.blob(i)
	if len(b) != len(a) {
		return a, fmt.Errorf("sqlite: an id of %d bytes", len(b))
	}
	return [16]byte(b), nil
}
