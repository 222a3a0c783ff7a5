// Package postgres keeps everything in a PostgreSQL database: the store for more
// than one machine. Nodes keep nothing between two calls, so any node answers any
// request.
//
//	Load     one SELECT on the primary: row, standing, and the database's clock
//	Replace  one statement: compare-and-swap, entries of the record, audit rows
//
// A refresh is these two round trips; rotations that arrive while others are being
// written share one transaction (group.go). Every change is one implicit transaction,
// sent in one piece and committed by the server: no transaction waits for a node,
// so a node that is killed or stopped at any moment holds no lock. The isolation
// level is READ COMMITTED; what must not be raced rests on one row that is
// compared and swapped, or on rows locked in a fixed order: the account, then its
// sessions by id, then whatever is inserted. Nothing needs sequences, advisory
// locks or notifications.
//
// The room owns the schema, the connections and what their failures mean. It does
// not own any rule: those live in the rooms whose Store interfaces it satisfies.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"holdfast.example/internal/secret"
	"holdfast.example/internal/session"
)

// Limits of this store. Every wait has one; a call that cannot be served is
// refused within CallWait.
const (
	// CallWait is how long one call may take, with all its tries.
	CallWait = 5 * time.Second
	// AcquireWait is how long a call waits for a free connection. After it the
	// caller gets fault.Busy and nothing was begun.
	AcquireWait = 2 * time.Second
	// StatementWait is how long this side waits for an answer. After it the
	// connection is given up and the outcome is unknown to the caller.
	StatementWait = 3 * time.Second
	// statementTimeout and lockTimeout are PostgreSQL's own limits. They are
	// shorter, so that a slow statement is ended by the server, which says what
	// became of it, and keeps its connection.
	statementTimeout = 2500 * time.Millisecond
	lockTimeout      = 2 * time.Second
	// LongWait is the limit of what reads whole tables, for operators.
	LongWait = 60 * time.Second
	// ConnectWait is how long opening one connection may take.
	ConnectWait = 2 * time.Second
	// MaxTries is how often a call is sent when the server ended it for reasons of
	// its own: a deadlock, a serialization failure, a connection that had died.
	MaxTries = 5
	// retryPause grows with each try, and half of it is chance, so that two calls
	// that met do not meet again.
	retryPause = 4 * time.Millisecond
	// DefaultConns is how many connections a node opens at most, and WarmConns how
	// many it keeps when there is nothing to do; pool_max_conns and pool_min_conns
	// in the URL say otherwise.
	DefaultConns = 16
	WarmConns    = 4
	// connLife bounds how long a connection is used, so that nodes follow a moved
	// address and a server process cannot grow for ever.
	connLife, connLifeJitter, connIdle = time.Hour, 10 * time.Minute, 30 * time.Minute
	// pingWithin is how long a connection that was idle is asked whether it lives.
	pingWithin = time.Second
)

// Options are what the caller decides.
type Options struct {
	// Now replaces the database's clock, for tests with a virtual one. In
	// production it is nil: the one clock that all nodes share is the database's.
	Now func() time.Time
	// Watch measures how long writes take; nil measures nothing.
	Watch func() time.Time
	// Relaxed answers a change that is marked so (session.Change) before it is on the
	// disk of the server, or of its synchronous replica.
	Relaxed bool
	// KeepSchema refuses a database whose schema is older than this binary instead of
	// migrating it.
	KeepSchema bool
	// LoseAcknowledged accepts a server that loses acknowledged writes in a power
	// failure (fsync or synchronous_commit off), which is acceptable in a test and
	// nowhere else.
	LoseAcknowledged bool
}

// DB is an open database. Its facets satisfy the Store of each room; all of
// them are safe for concurrent use.
type DB struct {
	pool     *pgxpool.Pool
	now      func() time.Time
	warnings []string
	pooled   bool
	relaxed  bool
	stats    counters
	breaker  *breaker
	doubts   doubts
	group    group
	purge    purgeCursor

	closeOnce sync.Once
}

// Open connects to the database at a URL and brings its schema up to date. The
// context bounds the opening alone. Nodes that open at the same moment take turns.
func Open(ctx context.Context, url secret.Text, o Options) (*DB, error) {
	pool, err := configure(url)
	if err != nil {
		return nil, err
	}
	found, err := prepare(ctx, pool.ConnConfig, o)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	tune(pool, found.pooler)
	db, err := serve(ctx, pool, o)
	if err != nil {
		return nil, err
	}
	db.warnings, db.pooled = found.warnings, found.pooler
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("postgres: %w", err), db.Close())
	}
	return db, nil
}

// serve makes the store of a server that has been looked at.
func serve(ctx context.Context, pool *pgxpool.Config, o Options) (*DB, error) {
	p, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), pool)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &DB{pool: p, now: o.Now, relaxed: o.Relaxed, stats: counters{watch: o.Watch}, breaker: newBreaker(probeWith(pool.ConnConfig))}, nil
}

// Warnings are sentences for the operator about how the server was found.
func (db *DB) Warnings() []string { return db.warnings }

// Close waits for the calls under way, then closes all connections. Calls that
// come later are refused.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.breaker.close()
		db.pool.Close()
	})
	return nil
}

// Sessions satisfies session.Store.
type Sessions struct{ db *DB }

// Users satisfies user.Store.
type Users struct{ db *DB }

// Clients satisfies client.Store.
type Clients struct{ db *DB }

// Keys satisfies key.Store.
type Keys struct{ db *DB }

// Feed satisfies feed.Store.
type Feed struct{ db *DB }

// Audit satisfies audit.Store.
type Audit struct{ db *DB }

// Calls satisfies idem.Store.
type Calls struct{ db *DB }

// Sessions gives the sessions kept here.
func (db *DB) Sessions() Sessions { return Sessions{db} }

// Users gives the accounts kept here.
func (db *DB) Users() Users { return Users{db} }

// Clients gives the clients kept here.
func (db *DB) Clients() Clients { return Clients{db} }

// Keys gives the wrapped keys kept here.
func (db *DB) Keys() Keys { return Keys{db} }

// Feed gives the record of revocations kept here.
func (db *DB) Feed() Feed { return Feed{db} }

// Audit gives the account of what happened kept here.
func (db *DB) Audit() Audit { return Audit{db} }

// Calls gives the calls with an idempotency key kept here.
func (db *DB) Calls() Calls { return Calls{db} }

// clock is the database's time in milliseconds: the wall clock of the moment,
// not of the start of the transaction.
const clock = `floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint`

// at is the store's time, of which the database said ms.
func (db *DB) at(ms int64) time.Time {
	if db.now != nil {
		return session.FromMillis(db.now().UnixMilli())
	}
	return session.FromMillis(ms)
}

// given is the parameter that stands for the store's time in a change: NULL lets
// the database take its own.
func (db *DB) given() any {
	if db.now != nil {
		return db.now().UnixMilli()
	}
	return nil
}
