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
	"holdfast.example/internal/journal"
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

// The policies of a restore without a journal.
const (
	floorKeep = "keep"
	floorEnd  = "end-all"
)

type restoreCmd struct {
	place
	File    string   `arg:"" type:"existingfile" help:"The backup."`
	Journal []string `type:"existingfile" placeholder:"FILE" help:"A revocation journal; what it says has ended since the backup stays ended. The configuration's own is used without being named."`
	Floor   string   `enum:",keep,end-all" default:"" help:"Without a journal, say what becomes of what ended after the backup: keep lets it live again, end-all signs everybody out."`
}

// Run implements the verb.
func (c *restoreCmd) Run(ctx context.Context, t terminal) error {
	config, to, root, err := c.standing(t)
	if err != nil {
		return err
	}
	sealed := sealedBy(root)
	h, totals, err := readThrough(ctx, t, c.File, sealed)
	if err != nil {
		return err
	}
	floor, says, err := c.floor(config, root, h)
	if err != nil {
		return err
	}
	sink, err := to.fill(ctx)
	if err != nil {
		return err
	}
	err = withArchive(c.File, sealed, func(r *archive.Reader, _ *os.File) error {
		m := newMeter(t, "restore", totals.Rows(), nil)
		defer m.end()
		totals, err = archive.Restore(ctx, r, sink, floor, m.show)
		return err
	})
	if err = errors.Join(err, sink.Abort()); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "restored %s from a backup of %s: %s\n", to, h.At().Format(time.RFC3339), rowsOf(totals))
	fmt.Fprintln(t.out, says)
	d := floor.Did
	fmt.Fprintf(t.out, "ended again: %d sessions, %d accounts' earlier sign-ins, %d clients, %d keys; %d passwords that were given up need a reset\n",
		d.Sessions, d.Accounts, d.Clients, d.Keys, d.Passwords)
	fmt.Fprintln(t.out, "devices that signed in after the backup must sign in again; all others go on with the token they have")
	return nil
}

// readThrough reads an archive to its end before anything is written.
func readThrough(ctx context.Context, t terminal, path string, sealed archive.Sealed) (h archive.Header, totals archive.Totals, err error) {
	err = withArchive(path, sealed, func(r *archive.Reader, f *os.File) error {
		h, totals = r.Header(), archive.Totals{}
		m := newMeter(t, "check", h.Rows, nil)
		defer m.end()
		var n int64
		return r.Each(func(table *archive.Table, _ archive.Row) error {
			n++
			m.show(n)
			one := totals[table.Name]
			one.Rows++
			totals[table.Name] = one
			return ctx.Err()
		})
	})
	return h, totals, err
}

func withArchive(path string, sealed archive.Sealed, f func(*archive.Reader, *os.File) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	r, err := archive.NewReader(file, sealed)
	if err == nil {
		err = f(r, file)
	}
	return errors.Join(err, file.Close())
}

// floor decides what a restore may not fall below.
func (c *restoreCmd) floor(config server.Config, root key.Root, h archive.Header) (*archive.Floor, string, error) {
	f := &archive.Floor{Root: root, Options: server.KeyOptions(config), Now: time.Now()}
	paths := c.Journal
	if len(paths) == 0 && config.Journal != "" {
		if _, err := os.Stat(config.Journal); err == nil {
			paths = []string{config.Journal}
		}
	}
	f.Everybody = c.Floor == floorEnd
	switch {
	case len(paths) == 0 && c.Floor == floorEnd:
		return f, "everybody must sign in again, as --floor end-all asked; WARNING: without a journal, accounts and clients that were disabled after the backup are not, and old passwords are good again", nil
	case len(paths) == 0 && c.Floor == floorKeep:
		return f, "WARNING: what was signed out, disabled or changed after the backup lives again, old passwords included, as --floor keep asked", nil
	case len(paths) == 0:
		return nil, "", errors.New("nobody knows what ended after this backup: name the revocation journal with --journal; " +
			"without one, say --floor keep (nobody is signed out, and stolen devices that were signed out after the backup work again) or --floor end-all (everybody signs in again)")
	}
	said, err := journal.Read(paths...)
	if err != nil {
		return nil, "", err
	}
	f.Ends, err = said.Since(h.Head, h.At())
	whole := err == nil
	if !whole && c.Floor != "" { // as much as is known
		f.Ends, err = said.Since(h.Head, said.Began)
	}
	switch {
	case err != nil:
		return nil, "", err
	case f.Everybody:
		return f, fmt.Sprintf("everybody must sign in again, as --floor end-all asked; the journal has %d entries since the backup, and what they say has ended stays ended", len(f.Ends)), nil
	case !whole:
		return f, "WARNING: the journal began after the backup was made; what ended in between lives again, as --floor keep asked", nil
	}
	return f, fmt.Sprintf("what ended after the backup stays ended: the journal has %d entries since", len(f.Ends)), nil
}
