package sqlite

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// counters is what the writer tells about itself.
type counters struct {
	mu        sync.Mutex
	stats     Stats
	lastError error
}

// Stats is a look at the writer, for metrics.
type Stats struct {
	// Batches is how many transactions were tried, Failed how many of them
	// failed as a whole, Ops how many operations they carried.
	Batches, Failed, Ops uint64
	// LastBatch is how many operations the last one carried.
	LastBatch int
	// Queue is how many operations wait now.
	Queue int
	// Commits is how many COMMITs were tried, CommitTime what they took in all:
	// nearly all of it is the disk's.
	Commits    uint64
	CommitTime time.Duration
	// CheckpointsFailed is how often the WAL could not be moved into the file.
	CheckpointsFailed uint64
}

func (c *counters) batch(n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Batches++
	c.stats.Ops += uint64(n)
	c.stats.LastBatch = n
	c.lastError = err
	if err != nil {
		c.stats.Failed++
	}
}

func (c *counters) committed(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Commits++
	c.stats.CommitTime += took
}

func (c *counters) checkpointFailed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.CheckpointsFailed++
}

// Stats gives the writer's counters.
func (db *DB) Stats() Stats {
	c := &db.writer.stats
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Queue = len(db.writer.queue)
	return s
}

// Ping reports whether the database can be read: one small read.
func (db *DB) Ping(ctx context.Context) error {
	return db.readers.read(ctx, func(c *conn) error {
		_, err := c.number("SELECT one FROM client_revision")
		return err
	})
}

// Writable reports whether the database can be written. While the last batch
// succeeded that is known without a write; after a failure this call writes and
// syncs a row of its own, so that a healed disk is noticed even when nobody
// else writes.
func (db *DB) Writable(ctx context.Context) error {
	c := &db.writer.stats
	c.mu.Lock()
	failed := c.lastError != nil
	c.mu.Unlock()
	if !failed {
		return nil
	}
	return db.writer.write(ctx, func(c *conn) error {
		_, err := c.run("UPDATE write_probe SET count = count + 1")
		return err
	})
}

// Report is what a check of the whole file found.
type Report struct {
	// Problems are SQLite's own words for what is wrong, at most maxProblems.
	Problems []string
	// Rows counts what each table holds.
	Rows map[string]int64
	// Schema is the number of the last migration.
	Schema int
}

// maxProblems is how many problems a check reports before it stops looking.
const maxProblems = 100

// Check reads the whole file: structure, references, counts. It keeps one reader
// busy, for up to a minute with a million sessions.
func (db *DB) Check(ctx context.Context) (rep Report, err error) {
	err = db.readers.read(ctx, func(c *conn) error {
		rep = Report{Rows: map[string]int64{}}
		err := c.each(ctx, fmt.Sprintf("PRAGMA integrity_check(%d)", maxProblems), nil, func(r row) error {
			if s := r.text(0); s != "ok" {
				rep.Problems = append(rep.Problems, s)
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = c.each(ctx, "PRAGMA foreign_key_check", nil, func(r row) error {
			if len(rep.Problems) < maxProblems {
				rep.Problems = append(rep.Problems, fmt.Sprintf("row %d of %s names a missing row of %s", r.int(1), r.text(0), r.text(2)))
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, table := range []string{"user", "login", "user_epoch", "client", "terms", "session", "revocation", "wrapped_key"} {
			if rep.Rows[table], err = c.number("SELECT count(*) FROM " + table); err != nil {
				return err
			}
		}
		schema, err := c.number("SELECT max(version) FROM schema_migration")
		rep.Schema = int(schema)
		return err
	})
	return rep, err
}
