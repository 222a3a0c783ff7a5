package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"holdfast.example/internal/key"
	"holdfast.example/internal/server"
)

// house is an opened server with the database behind it.
type house struct {
	server *server.Server
	db     database
	log    *slog.Logger
}

// openHouse opens the database and makes the server. change, when set, adds to what the server is made of.
func openHouse(ctx context.Context, c server.Config, t terminal, now func() time.Time, change func(*server.Parts)) (*house, error) {
	err := os.MkdirAll(c.Data, 0o700)
	if err != nil {
		return nil, fmt.Errorf("the data directory cannot be made: %w", err)
	}
	root, err := rootSecret(c)
	if err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, c, now)
	if err != nil {
		return nil, err
	}
	err = db.useRedis(ctx, c, now)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	log := logger(c, t.err)
	for _, w := range db.Warnings() {
		log.Warn(w)
	}
	if c.Journal != "" {
		err := db.keepJournal(ctx, c.Journal, now)
		if err != nil {
			return nil, errors.Join(err, db.Close())
		}
		if cut := db.journal.Cut(); cut != "" {
			log.Warn(cut)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	parts := server.Parts{Stores: db.stores, Root: root, Log: log, Now: now, HashCommand: []string{self, hashVerb}, Env: t.lookup}
	if change != nil {
		change(&parts)
	}
	s, err := server.New(ctx, c, parts)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &house{server: s, db: db, log: log}, nil
}

func (h *house) close() error {
	h.server.Close()
	return h.db.Close()
}

// rootSecret finds the one key an operator must keep. Only in dev is one made,
// and only beside a database that does not exist yet: a lost root secret must
// never be replaced silently.
func rootSecret(c server.Config) (key.Root, error) {
	if !c.RootSecret.Empty() {
		return key.ParseRoot(c.RootSecret)
	}
	path := c.RootFile()
	database, beside := c.SQLite()
	if _, err := os.Stat(path); err == nil || !c.Dev() || !beside {
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
