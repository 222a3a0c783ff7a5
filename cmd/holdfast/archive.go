package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/key"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/server"
	"holdfast.example/internal/store/postgres"
	"holdfast.example/internal/store/sqlite"
)

// spot is where a database is: a file, or a server.
type spot struct {
	file string
	url  secret.Text
}

func spotOf(c server.Config) (spot, error) {
	if path, ok := c.SQLite(); ok {
		return spot{file: path}, nil
	}
	if !isPostgres(c) {
		return spot{}, errors.New("database must be a file path or a postgres:// URL")
	}
	return spot{url: c.Database}, nil
}

// String names the database for people, without its password.
func (s spot) String() string {
	if s.file != "" {
		return s.file
	}
	return wherePostgres(s.url.Reveal())
}

// source is a database that is read, and perhaps retired.
type source interface {
	archive.Source
	Retire(ctx context.Context, to string) error
}

func (s spot) read(ctx context.Context, sole bool) (source, error) {
	if s.file != "" {
		return sqlite.OpenSnapshot(s.file, time.Now, sole)
	}
	return postgres.OpenSnapshot(ctx, s.url, sole)
}

func (s spot) fill(ctx context.Context) (archive.Sink, error) {
	if s.file != "" {
		return sqlite.Fill(s.file, time.Now)
	}
	return postgres.Fill(ctx, s.url, postgres.Options{})
}

// sealedBy is what archives of a house are sealed with.
func sealedBy(root key.Root) archive.Sealed {
	return archive.Sealed{Key: root.ArchiveKey(), Root: root.Fingerprint()}
}

// standing is the configuration with what a backup needs of it. The root secret
// must be there: nothing here makes one.
func (p place) standing(t terminal) (server.Config, spot, key.Root, error) {
	c, err := p.settings(t)
	if err != nil {
		return c, spot{}, key.Root{}, err
	}
	s, err := spotOf(c)
	if err != nil {
		return c, spot{}, key.Root{}, err
	}
	var root key.Root
	if c.RootSecret.Empty() {
		root, err = key.ReadRootFile(c.RootFile())
	} else {
		root, err = key.ParseRoot(c.RootSecret)
	}
	return c, s, root, err
}

type backupCmd struct {
	place
	Output string `short:"o" required:"" type:"path" placeholder:"FILE" help:"Where to write the backup; there must be no such file yet."`
}

// Run implements the verb. It reads the database beside the server that uses it, in
// a transaction of its own: a server that has stopped can be backed up, too.
func (c *backupCmd) Run(ctx context.Context, t terminal) error {
	_, from, root, err := c.standing(t)
	if err != nil {
		return err
	}
	src, err := from.read(ctx, false)
	if err != nil {
		return err
	}
	n, totals, err := writeArchive(ctx, t, src, c.Output, sealedBy(root))
	if err = errors.Join(err, src.Close()); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "backed up %s to %s: %s, %s\n", from, c.Output, rowsOf(totals), bytesOf(n))
	fmt.Fprintf(t.out, "it opens under root secret %s alone; keep that apart from it\n", root.Fingerprint())
	return nil
}

// partSuffix is what an archive is called until it is whole.
const partSuffix = ".part"

// writeArchive writes an archive under another name, syncs it and then gives it its
// own, which nobody else may have.
func writeArchive(ctx context.Context, t terminal, src archive.Source, path string, sealed archive.Sealed) (n int64, totals archive.Totals, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return 0, nil, fmt.Errorf("there is a file %s already; name another one", path)
	}
	part := path + partSuffix
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, nil, err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, nil, err
	}
	n, totals, err = writeTo(ctx, t, src, f, sealed)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = stillNamed(f)
	}
	if err = errors.Join(err, f.Close()); errors.Is(err, errOvertaken) {
		return n, totals, err // what is there belongs to the other one
	}
	if err == nil { // unlike a rename, a link takes nobody's place
		err = os.Link(part, path)
	}
	err = errors.Join(err, os.Remove(part))
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return n, totals, err
}

// errOvertaken: two backups were made to one file at the same time.
var errOvertaken = errors.New("another backup to the same file began meanwhile")

// stillNamed refuses when another file has the name of an open one.
func stillNamed(f *os.File) error {
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(f.Name())
	if err != nil || !os.SameFile(mine, there) {
		return errors.Join(errOvertaken, err)
	}
	return nil
}

func writeTo(ctx context.Context, t terminal, src archive.Source, f io.Writer, sealed archive.Sealed) (int64, archive.Totals, error) {
	facts, err := src.Facts(ctx)
	if err != nil {
		return 0, nil, err
	}
	w, err := archive.NewWriter(f, sealed, facts)
	if err != nil {
		return 0, nil, err
	}
	m := newMeter(t, "backup", facts.Total(), w.Bytes)
	totals, err := archive.Backup(ctx, src, w, m.show)
	m.end()
	if err == nil {
		err = w.Close()
	}
	return w.Bytes(), totals, err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
