package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"holdfast.example/internal/journal"
	"holdfast.example/internal/server"
	"holdfast.example/internal/store/postgres"
	"holdfast.example/internal/store/sqlite"
)

// database is an opened store, whichever it is.
type database interface {
	Ping(context.Context) error
	Writable(context.Context) error
	// Warnings are sentences for the operator about how the database was found.
	Warnings() []string
	Close() error
}

// opened is a database with what only its own package can tell.
type opened struct {
	database
	stores server.Stores
	// record is the record of revocations, and journal what follows it, if anything.
	record  journal.Record
	journal *journal.Journal
	// schema is the number of the last migration, problems what a check found.
	schema func(context.Context) (number int, problems []string, err error)
}

// openDatabase opens the store that the configuration names, which brings its
// schema up to date, or refuses one that is behind when auto_migrate is off. now is
// the clock of a store that has none of its own.
func openDatabase(ctx context.Context, c server.Config, now func() time.Time) (*opened, error) {
	relaxed := c.Durability == server.Relaxed
	if path, ok := c.SQLite(); ok {
		db, err := sqlite.Open(path, sqlite.Options{Now: now, Relaxed: relaxed, KeepSchema: !c.AutoMigrate})
		if err != nil {
			return nil, err
		}
		return fromSQLite(db), nil
	}
	if !isPostgres(c) {
		return nil, errors.New("database must be a file path or a postgres:// URL")
	}
	o := postgres.Options{Watch: now, Relaxed: relaxed, KeepSchema: !c.AutoMigrate}
	if c.Dev() { // its clock can be moved
		o.Now = now
	}
	db, err := postgres.Open(ctx, c.Database, o)
	if err != nil {
		return nil, err
	}
	return fromPostgres(db), nil
}

// keepJournal lets changes that end something return only when a journal has them,
// too.
func (o *opened) keepJournal(ctx context.Context, path string, now func() time.Time) error {
	j, err := journal.Open(ctx, path, o.record, now)
	if err != nil {
		return err
	}
	s := &o.stores
	s.Sessions, s.Users, s.Clients, s.Keys, s.Feed = j.Sessions(s.Sessions), j.Users(s.Users), j.Clients(s.Clients), j.Keys(s.Keys), j.Feed(s.Feed)
	s.Settled = j.Sync
	s.Journal = func() server.JournalFigures {
		f := j.Figures()
		return server.JournalFigures{Entries: f.Entries, Failed: f.Failed, Failing: f.Failing, Behind: max(now().Sub(f.Good), 0), Owed: f.Owed}
	}
	o.journal = j
	return nil
}

// Close closes the journal, if there is one, and the database.
func (o *opened) Close() error {
	var err error
	if o.journal != nil {
		err = o.journal.Close()
	}
	return errors.Join(err, o.database.Close())
}

func isPostgres(c server.Config) bool {
	url := c.Database.Reveal()
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

func fromSQLite(db *sqlite.DB) *opened {
	o := &opened{database: db, record: db.Feed(), schema: func(ctx context.Context) (int, []string, error) {
		r, err := db.Check(ctx)
		return r.Schema, r.Problems, err
	}}
	o.stores = server.Stores{Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(), Calls: db.Calls(), Once: db.Once(), Upstreams: db.Upstreams(),
		Ready: db.Ping, Writable: db.Writable, Check: o.inOrder, Figures: func() server.StoreFigures {
			f := db.Stats()
			return server.StoreFigures{Batches: f.Batches, Failed: f.Failed, Operations: f.Ops, Queue: f.Queue, CommitTime: f.CommitTime}
		}}
	return o
}

func fromPostgres(db *postgres.DB) *opened {
	o := &opened{database: db, record: db.Feed(), schema: func(ctx context.Context) (int, []string, error) {
		r, err := db.Check(ctx)
		return r.Schema, r.Problems, err
	}}
	o.stores = server.Stores{Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(), Calls: db.Calls(), Once: db.Once(), Upstreams: db.Upstreams(), Budgets: db.Budgets(),
		Ready: db.Ping, Writable: db.Writable, Check: o.inOrder, Figures: func() server.StoreFigures {
			f := db.Stats() // each change is a transaction of its own
			return server.StoreFigures{Batches: f.Ops, Failed: f.Failed, Operations: f.Ops, Queue: f.Waiting, CommitTime: f.WriteTime,
				Broken: f.Broken, Opened: f.Opened, Refused: f.Refused, Unreplicated: f.Unreplicated}
		}}
	return o
}

// inOrder turns the findings of a check into an error.
func (o *opened) inOrder(ctx context.Context) error {
	_, problems, err := o.schema(ctx)
	if err == nil && len(problems) > 0 {
		err = errors.New(strings.Join(problems, "; "))
	}
	return err
}

// where names the database for people, without its password.
func where(c server.Config) string {
	if path, ok := c.SQLite(); ok {
		return path
	}
	return wherePostgres(c.Database.Reveal())
}

func wherePostgres(url string) string {
	if _, host, ok := strings.Cut(url, "@"); ok {
		url = host
	} else {
		_, url, _ = strings.Cut(url, "://")
	}
	place, _, _ := strings.Cut(url, "?")
	return fmt.Sprintf("the PostgreSQL database %s", place)
}

// present refuses an embedded database that is not there. One on a server is asked
// when it is opened.
func present(c server.Config) error {
	path, ok := c.SQLite()
	if !ok {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("there is no database at %s", path)
	}
	return nil
}
