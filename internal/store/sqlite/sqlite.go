// Package sqlite keeps everything in one SQLite file: the default store, for
// one machine and any number of processes on it.
//
//	callers ──▶ queue ──▶ writer: BEGIN IMMEDIATE, all that wait, COMMIT + fsync ──▶ answers
//	callers ──▶ one of N readers: one SELECT on the newest committed state
//
// The file is in WAL mode with synchronous=FULL: an answer leaves only after
// its transaction is on the disk (but see Options.Relaxed). One fsync serves everybody who waited for it,
// so the price of durability falls as the load rises
// (docs/adr/0005-sqlite-default-and-group-commit.md).
//
// It owns the schema, the files' modes and the order of commits. It does not own
// a single rule: those live in the rooms whose Store interfaces it satisfies. No
// other code of the process may open and close the database file by itself:
// POSIX drops all of a process's locks on a file with any close of it.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"holdfast.example/internal/session"
)

// Limits of this store. Every wait and every queue has one.
const (
	// MaxBatch is how many operations share one transaction and one fsync.
	MaxBatch = 64
	// QueueDepth is how many operations may wait for the writer: 16 full batches.
	QueueDepth = 16 * MaxBatch
	// QueueWait is how long a caller waits for its operation to begin. After it
	// the caller gets fault.Busy and the operation never runs.
	QueueWait = 5 * time.Second
	// CommitWait is how long a caller waits for a batch that has begun. After it
	// the outcome is unknown to the caller.
	CommitWait = 10 * time.Second
	// BusyTimeout is how long SQLite waits for another process's transaction.
	BusyTimeout = 4 * time.Second
	// ReadWait is how long a caller waits for a free reader.
	ReadWait = 5 * time.Second
	// DefaultReaders is how many connections read at once.
	DefaultReaders = 4
	// cacheKiB is the page cache of one connection.
	cacheKiB = 2048
	// checkpointPages is how long the WAL grows, in pages of 4 KiB, before the
	// writer moves it into the database file.
	checkpointPages = 1000
	// askAfter is how many operations pass before the writer asks how long the WAL
	// is: asking costs as much as an operation, and one appends a few pages.
	askAfter = MaxBatch
	// walLimitBytes is what a WAL that grew beyond all measure is cut back to.
	walLimitBytes = 64 << 20
)

// Synchronous is SQLite's setting of the same name.
type Synchronous int

// Full syncs the WAL before a commit returns and is the only setting that keeps
// what it acknowledged through a power failure.
const (
	Full Synchronous = iota
	Normal
	Off
)

func (s Synchronous) pragma() string { return [...]string{"FULL", "NORMAL", "OFF"}[s] }

// Options are what the caller decides.
type Options struct {
	// Now is the clock; it must be set.
	Now func() time.Time
	// Readers is how many connections read at once; 0 is DefaultReaders.
	Readers int
	// Relaxed answers a batch that holds nothing but changes that are marked so
	// (session.Change) without syncing it. The next other change syncs them, too.
	Relaxed bool
	// KeepSchema refuses a file whose schema is older than this binary instead of
	// migrating it.
	KeepSchema bool
	// Synchronous below Full loses acknowledged writes in a power failure. Open
	// refuses it unless LoseAcknowledged says that this is acceptable, which it
	// is in a test or a benchmark and nowhere else.
	Synchronous      Synchronous
	LoseAcknowledged bool
}

// DB is an open database. Its facets satisfy the Store of each room; all of
// them are safe for concurrent use.
type DB struct {
	path     string
	now      func() time.Time
	warnings []string
	readers  *readers
	writer   *writer
	relaxed  bool
	purge    purgeCursor

	closeOnce sync.Once
	closeErr  error
}

// Open opens the database file at path, creates it 0600 if there is none, and
// brings its schema up to date. Its directory is created 0700 if missing. A
// schema newer than this binary is refused.
func Open(path string, o Options) (*DB, error) {
	if o.Now == nil {
		return nil, errors.New("sqlite: Options.Now is not set")
	}
	if o.Synchronous != Full && !o.LoseAcknowledged {
		return nil, fmt.Errorf("sqlite: synchronous=%s loses acknowledged sign-outs and refreshes in a power failure; only FULL is allowed", o.Synchronous.pragma())
	}
	path, err := filepath.Abs(path) // connections are opened later, too
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	warnings, err := prepareFiles(path)
	if err != nil {
		return nil, err
	}
	d := dialer{path: path, synchronous: o.Synchronous}
	if o.KeepSchema {
		err = upToDate(d)
	} else {
		err = migrate(d, o.Now)
	}
	if err != nil {
		return nil, fmt.Errorf("sqlite: %s: %w", path, err)
	}
	n := o.Readers
	if n <= 0 {
		n = DefaultReaders
	}
	db := &DB{path: path, now: o.Now, warnings: warnings, readers: newReaders(d, n), writer: newWriter(d, o.Now)}
	db.relaxed = o.Relaxed
	if err := db.Ping(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: %s: %w", path, err), db.Close())
	}
	return db, nil
}

// Warnings are sentences for the operator about how the files were found.
func (db *DB) Warnings() []string { return db.warnings }

// Close answers everybody who waits, then closes all connections. Operations
// that come later are refused.
func (db *DB) Close() error {
	db.closeOnce.Do(func() {
		db.closeErr = errors.Join(db.writer.close(), db.readers.close())
	})
	return db.closeErr
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

// time is the store's time: UTC in whole milliseconds.
func (db *DB) time() time.Time { return session.FromMillis(db.now().UnixMilli()) }
