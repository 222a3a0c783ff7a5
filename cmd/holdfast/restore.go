package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/journal"
	"holdfast.example/internal/key"
	"holdfast.example/internal/server"
)

// The policies of a restore without a journal.
const (
	floorKeep = "keep"
	floorEnd  = "end-all"
)

type restoreCmd struct {
	place
	File    string   `arg:"" type:"existingfile" help:"The backup."`
	Journal []string `type:"existingfile" placeholder:"FILE" help:"A revocation journal; what it says has ended since the backup stays ended. The configuration's own is used, too, without being named."`
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
	floor, says, err := c.floor(t, config, root, h)
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

// journals are those that were named, and the configuration's own, once each.
func (c *restoreCmd) journals(own string) (paths []string, err error) {
	var known []os.FileInfo
	for _, path := range append(slices.Clip(c.Journal), own) {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && path == own {
			continue // its disk may be gone, too
		}
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(known, func(other os.FileInfo) bool { return os.SameFile(other, info) }) {
			paths, known = append(paths, path), append(known, info)
		}
	}
	return paths, nil
}

// floor decides what a restore may not fall below.
func (c *restoreCmd) floor(t terminal, config server.Config, root key.Root, h archive.Header) (*archive.Floor, string, error) {
	f := &archive.Floor{Root: root, Options: server.KeyOptions(config), Now: time.Now()}
	paths, err := c.journals(config.Journal)
	if err != nil {
		return nil, "", err
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
		f.Ends, err = said.Later(h.Head), nil
	}
	if said.Torn > 0 {
		fmt.Fprintf(t.err, "the journals end in %d bytes of a write that was cut off; nobody was told that it was done, and it counts for nothing\n", said.Torn)
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
