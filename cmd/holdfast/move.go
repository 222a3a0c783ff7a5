package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"holdfast.example/internal/archive"
	"holdfast.example/internal/secret"
	"holdfast.example/internal/server"
)

type moveCmd struct {
	From string `required:"" placeholder:"DATABASE" help:"A configuration file (.toml), an embedded database's file, or a postgres:// address."`
	To   string `required:"" placeholder:"DATABASE" help:"The same, of a database that holds nothing."`
}

// Run implements the verb.
func (c *moveCmd) Run(ctx context.Context, t terminal) error {
	from, err := spotNamed(c.From, t)
	if err != nil {
		return err
	}
	to, err := spotNamed(c.To, t)
	if err != nil {
		return err
	}
	src, err := from.read(ctx, true)
	if err != nil {
		return err
	}
	totals, err := moveTo(ctx, t, src, to)
	if err == nil {
		err = src.Retire(ctx, to.String())
	}
	if err = errors.Join(err, src.Close()); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "moved %s to %s: %s, each read back and compared\n", from, to, rowsOf(totals))
	fmt.Fprintf(t.out, "no server serves from %s any more; name the new database in the configuration, with the same root secret, and start\n", from)
	return nil
}

// moveTo copies, or finds that a move that was interrupted had copied everything.
func moveTo(ctx context.Context, t terminal, src source, to spot) (archive.Totals, error) {
	facts, err := src.Facts(ctx)
	if err != nil {
		return nil, err
	}
	sink, err := to.fill(ctx)
	if errors.Is(err, archive.ErrNotEmpty) {
		return already(ctx, src, to, err)
	}
	if err != nil {
		return nil, err
	}
	m := newMeter(t, "move", facts.Total(), nil)
	totals, err := archive.Move(ctx, src, sink, m.show)
	m.end()
	return totals, errors.Join(err, sink.Abort())
}

func already(ctx context.Context, src source, to spot, notEmpty error) (archive.Totals, error) {
	there, err := to.read(ctx, true)
	if err != nil {
		return nil, errors.Join(notEmpty, err)
	}
	is, err := archive.Sum(ctx, there, nil)
	if err = errors.Join(err, there.Close()); err != nil {
		return nil, err
	}
	was, err := archive.Sum(ctx, src, nil)
	if err != nil {
		return nil, err
	}
	if err := was.Same(is); err != nil {
		return nil, fmt.Errorf("%w; and it is no copy of this one: %w", notEmpty, err)
	}
	return was, nil
}

// spotNamed reads where a database is from a flag.
func spotNamed(text string, t terminal) (spot, error) {
	if strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://") {
		u, err := url.Parse(text)
		if err != nil {
			return spot{}, errors.New("the database's address cannot be read")
		}
		if _, has := u.User.Password(); has || u.Query().Has("password") {
			return spot{}, errors.New("a command line is visible to others: put the address with its password into a configuration file and name that, or give the password in PGPASSWORD or ~/.pgpass")
		}
		return spot{url: secret.New(text)}, nil
	}
	if !strings.HasSuffix(text, ".toml") {
		path, err := filepath.Abs(text)
		return spot{file: path}, err
	}
	// The environment's database would be both of them.
	var env []string
	for _, kv := range t.env {
		if !strings.HasPrefix(kv, "HOLDFAST_DATABASE=") {
			env = append(env, kv)
		}
	}
	c, warnings, err := server.Load(server.LoadOptions{File: text, Env: env})
	for _, w := range warnings {
		fmt.Fprintln(t.err, w)
	}
	if err != nil {
		return spot{}, err
	}
	return spotOf(c)
}
