package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"holdfast.example/internal/key"
	"holdfast.example/internal/server"
	"holdfast.example/internal/store/sqlite"
)

// house is an opened server with the database behind it.
type house struct {
	server *server.Server
	db     *sqlite.DB
}

// openHouse opens the database and makes the server. change, when set, adds to what the server is made of.
func openHouse(ctx context.Context, c server.Config, t terminal, now func() time.Time, change func(*server.Parts)) (*house, error) {
	err := os.MkdirAll(c.Data, 0o700)
	if err != nil {
		return nil, fmt.Errorf("the data directory cannot be made: %w", err)
	}
	path, err := databasePath(c)
	if err != nil {
		return nil, err
	}
	root, err := rootSecret(c, path)
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(path, sqlite.Options{Now: now})
	if err != nil {
		return nil, err
	}
	log := logger(c, t.err)
	for _, w := range db.Warnings() {
		log.Warn(w)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	parts := server.Parts{Stores: stores(db), Root: root, Log: log, Now: now, HashCommand: []string{self, hashVerb}, Env: t.lookup}
	if change != nil {
		change(&parts)
	}
	s, err := server.New(ctx, c, parts)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &house{server: s, db: db}, nil
}

func (h *house) close() error {
	h.server.Close()
	return h.db.Close()
}

// databasePath is where the embedded database is.
func databasePath(c server.Config) (string, error) {
	path, ok := c.SQLite()
	if !ok {
		return "", errors.New("this build keeps its data in SQLite; set database to a file path, or leave it out")
	}
	return path, nil
}

// stores hands the database to the rooms.
func stores(db *sqlite.DB) server.Stores {
	return server.Stores{Sessions: db.Sessions(), Users: db.Users(), Clients: db.Clients(), Keys: db.Keys(), Feed: db.Feed(), Audit: db.Audit(), Calls: db.Calls(),
		Ready: db.Ping, Writable: db.Writable, Check: func(ctx context.Context) error { return inOrder(db.Check(ctx)) },
		Figures: func() server.StoreFigures {
			f := db.Stats()
			return server.StoreFigures{Batches: f.Batches, Failed: f.Failed, Operations: f.Ops, Queue: f.Queue, CommitTime: f.CommitTime}
		}}
}

// inOrder turns the findings of a check into an error.
func inOrder(r sqlite.Report, err error) error {
	if err == nil && len(r.Problems) > 0 {
		err = errors.New(strings.Join(r.Problems, "; "))
	}
	return err
}

// rootSecret finds the one key an operator must keep. Only in dev is one made,
// and only beside a database that does not exist yet: a lost root secret must
// never be replaced silently.
func rootSecret(c server.Config, database string) (key.Root, error) {
	if !c.RootSecret.Empty() {
		return key.ParseRoot(c.RootSecret)
	}
	path := c.RootFile()
	if _, err := os.Stat(path); err == nil || !c.Dev() {
		return key.ReadRootFile(path)
	}
	if _, statErr := os.Stat(database); statErr == nil {
		return key.Root{}, fmt.Errorf("the root secret %s is missing, but the database %s was made under one; put the file back, or remove the whole directory %s to start anew (everybody is signed out)",
			path, database, filepath.Dir(path))
	}
	root := key.NewRoot()
	return root, key.WriteRootFile(path, root)
}

// logger writes structured lines: JSON in production, text in dev.
func logger(c server.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	err := level.UnmarshalText([]byte(c.LogLevel))
	if err != nil { // the rules of the configuration let no other word through
		level = slog.LevelInfo
	}
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}
