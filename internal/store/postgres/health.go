package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"holdfast.example/internal/fault"
	"holdfast.example/internal/session"
)

// counters is what the store tells about itself.
type counters struct {
	watch   func() time.Time
	waiting atomic.Int64
	// unreplicated counts changes that did not wait for their replica to the end.
	unreplicated atomic.Uint64

	mu    sync.Mutex
	stats Stats
	// failing is set while the last change that was tried could not be written.
	failing bool
}

// Stats is a look at the store, for metrics.
type Stats struct {
	// Ops is how many changes were tried, Failed how many of them failed for
	// another reason than their own (a row that had changed is no failure), and
	// Retried how often one was sent again.
	Ops, Failed, Retried uint64
	// Waiting is how many calls wait for a connection now.
	Waiting int
	// WriteTime is how long all changes took, with their round trips.
	WriteTime time.Duration
	// Conns is how many connections are open, Idle how many of them are free.
	Conns, Idle int
	// Broken: calls are refused at once, because the last ones found no answer.
	// Opened is how often that began, Refused how many calls it refused.
	Broken          bool
	Opened, Refused uint64
	// Unreplicated is how many changes were committed although their wait for the
	// synchronous replica was cancelled.
	Unreplicated uint64
}

// write begins to count a change; the result is called with its error.
func (c *counters) write() (done func(error)) {
	var start time.Time
	if c.watch != nil {
		start = c.watch()
	}
	return func(err error) {
		failed := fault.As(err) != nil && fault.As(err).Kind != fault.Internal // a sentinel is not a *fault.Error
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stats.Ops++
		c.failing = failed
		if failed {
			c.stats.Failed++
		}
		if c.watch != nil {
			c.stats.WriteTime += c.watch().Sub(start)
		}
	}
}

func (c *counters) retried() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Retried++
}

// Stats gives the store's counters.
func (db *DB) Stats() Stats {
	c := &db.stats
	c.mu.Lock()
	s := c.stats
	c.mu.Unlock()
	s.Waiting = int(c.waiting.Load())
	pool := db.pool.Stat()
	s.Conns, s.Idle = int(pool.TotalConns()), int(pool.IdleConns())
	s.Unreplicated = c.unreplicated.Load()
	b := db.breaker
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Broken, s.Opened, s.Refused = b.open, b.opened, b.refused
	return s
}

// Ping reports whether the primary can be read: one small read. It goes around the
// breaker, so that what it says is true now, and its answer closes the breaker.
func (db *DB) Ping(ctx context.Context) error {
	return db.work(ctx, StatementWait, alive, readSays, readAgain)
}

// Writable reports whether the database can be written. While the last change
// succeeded that is known without a write; after a failure this call writes a row
// of its own, so that a healed database is noticed even when nobody else writes.
func (db *DB) Writable(ctx context.Context) error {
	db.stats.mu.Lock()
	failing := db.stats.failing
	db.stats.mu.Unlock()
	if !failing {
		return nil
	}
	return db.write(ctx, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "UPDATE write_probe SET count = count + 1")
		return err
	})
}

// Report is what a check of the database found.
type Report struct {
	// Problems are sentences about what is wrong, at most maxProblems.
	Problems []string
	// Rows counts what each table holds.
	Rows map[string]int64
	// Schema is the number of the last migration.
	Schema int
}

// maxProblems is how many problems a check reports before it stops looking.
const maxProblems = 100

// Check reads every table and holds the rows against each other and against what
// this binary can decode. It looks at one state of the database and disturbs
// nobody; PostgreSQL's own pg_amcheck looks deeper into its files.
func (db *DB) Check(ctx context.Context) (rep Report, err error) {
	err = db.longRead(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rep = Report{Rows: map[string]int64{}}
		for _, look := range contradictions {
			found, err := tx.Query(ctx, look.text+" LIMIT $1", maxProblems-len(rep.Problems))
			if err != nil {
				return err
			}
			var what string
			_, err = pgx.ForEachRow(found, []any{&what}, func() error {
				rep.Problems = append(rep.Problems, fmt.Sprintf(look.words, what))
				return nil
			})
			if err != nil {
				return err
			}
		}
		if err := checkChains(ctx, tx, &rep); err != nil {
			return err
		}
		for _, table := range tables {
			var n int64
			if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&n); err != nil {
				return err
			}
			rep.Rows[table] = n
		}
		return tx.QueryRow(ctx, "SELECT max(version) FROM schema_migration").Scan(&rep.Schema)
	})
	return rep, err
}

var tables = []string{"account", "login", "account_epoch", "client", "session", "revocation", "audit", "wrapped_key"}

// contradictions are what must never be found.
var contradictions = []struct{ text, words string }{
	{"SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace",
		"the index %s was left unfinished; run REINDEX INDEX on it"},
	{"SELECT l.canonical FROM login l JOIN account a ON a.id = l.account WHERE a.gone", "the name %q belongs to an account that was removed"},
	{"SELECT s.id::text FROM session s LEFT JOIN account a ON a.id = s.account WHERE a.id IS NULL", "the session %s has no account"},
	{"SELECT s.id::text FROM session s JOIN account a ON a.id = s.account WHERE s.epoch > a.epoch AND NOT a.gone", "the session %s is ahead of its account's epoch: the database may have been restored from an old copy in part"},
	{"SELECT r.position::text FROM revocation r, record_head h WHERE r.position > h.head", "the record has position %s, which was never given"},
	{"SELECT name || ' is ' || setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'",
		"%s on the server: a power failure loses or damages what was acknowledged"},
}

// checkChains decodes every refresh chain.
func checkChains(ctx context.Context, tx pgx.Tx, rep *Report) error {
	rows, err := tx.Query(ctx, "SELECT id::text, used_at, chain FROM session")
	if err != nil {
		return err
	}
	var which string
	var used int64
	var chain []byte
	_, err = pgx.ForEachRow(rows, []any{&which, &used, &chain}, func() error {
		if _, err := session.DecodeChain(chain, session.FromMillis(used)); err != nil && len(rep.Problems) < maxProblems {
			rep.Problems = append(rep.Problems, fmt.Sprintf("the session %s has a refresh chain that cannot be read", which))
		}
		return nil
	})
	return err
}
