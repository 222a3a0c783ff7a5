package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"holdfast.example/internal/server"
)

// operator speaks the admin API: through the admin socket of a running server,
// or, when nobody holds the database, to a house of its own in this process.
// Either way it is the same API.
type operator struct {
	client *http.Client
	close  func() error
}

// callWithin bounds one administrative call.
const callWithin = 60 * time.Second

// place says which server an operator means.
type place struct {
	Data   string `help:"Data directory of the server; ./holdfast-data unless given." default:"./holdfast-data" env:"HOLDFAST_DATA" type:"path" placeholder:"DIR"`
	Config string `help:"Configuration file of the server, in the place of --data." type:"path" placeholder:"FILE"`
}

// asking is a question or an act at a server, and how its answer is printed.
type asking struct {
	place
	JSON bool `name:"json" help:"Print the answer as JSON."`
}

// reach finds the server.
func (p place) reach(ctx context.Context, t terminal) (*operator, error) {
	c, err := p.settings(t)
	if err != nil {
		return nil, err
	}
	socket := c.Socket()
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err == nil {
		conn.Close()
		return &operator{close: func() error { return nil }, client: &http.Client{Timeout: callWithin, Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			}}}}, nil
	}
	if err := present(c); err != nil {
		return nil, fmt.Errorf("no server answers on %s and %w; start one with %s", socket, err, p.starts())
	}
	h, err := openHouse(ctx, c, t, time.Now, func(p *server.Parts) { p.Mending = true })
	if err != nil {
		return nil, err
	}
	return &operator{close: h.close, client: &http.Client{Transport: inProcess{h.server.Admin()}}}, nil
}

// starts says how the server would be started that was not found.
func (p place) starts() string {
	if p.Config != "" {
		return "`holdfast serve --config " + p.Config + "`"
	}
	return "`holdfast dev`, or name another --data directory, or the --config of the server"
}

// settings reads the configuration an operator's command works with.
func (p place) settings(t terminal) (server.Config, error) { return p.settingsWith(t, nil) }

// settingsWith is settings with further flags over them.
func (p place) settingsWith(t terminal, flags map[string]string) (server.Config, error) {
	return p.load(t, flags, true)
}

// load reads the configuration, held to what a server is held to unless mending.
func (p place) load(t terminal, flags map[string]string, mending bool) (server.Config, error) {
	o := server.LoadOptions{File: p.Config, Env: t.env, Flags: map[string]string{}, Mending: mending}
	maps.Copy(o.Flags, flags)
	if p.Config == "" {
		o.Flags["data"] = p.Data
		o.Dev = true
	}
	c, warnings, err := server.Load(o)
	for _, w := range warnings {
		fmt.Fprintln(t.err, w)
	}
	return c, err
}

// inProcess answers HTTP requests by calling a handler.
type inProcess struct{ h http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	t.h.ServeHTTP(rec, r)
	return rec.Result(), nil
}

// call makes one call and decodes the answer into a value. A refusal becomes
// an error with the words of the problem document.
func (o *operator) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	kind := "application/json"
	switch v := in.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(v), "application/toml"
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", kind)
	}
	res, err := o.client.Do(r)
	if err != nil {
		return fmt.Errorf("the server did not answer: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("the answer ended early: %w", err)
	}
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusCreated {
		var p struct{ Title, Detail string }
		if json.Unmarshal(b, &p) == nil && p.Detail != "" {
			return errors.New(p.Detail)
		}
		return fmt.Errorf("the server answered %s", res.Status)
	}
	if raw, ok := out.(*json.RawMessage); ok {
		*raw = b
		return nil
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 64 << 20

// with runs one act against the server.
func (p place) with(ctx context.Context, t terminal, act func(*operator) error) error {
	o, err := p.reach(ctx, t)
	if err != nil {
		return err
	}
	return errors.Join(act(o), o.close())
}

type applyCmd struct {
	asking
	File string `short:"f" required:"" help:"Manifest (TOML)." type:"existingfile" placeholder:"FILE"`
}

// Run implements the verb.
func (c *applyCmd) Run(ctx context.Context, t terminal) error {
	text, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(c.File)
	if err != nil {
		return err
	}
	return c.with(ctx, t, func(o *operator) error {
		var answer json.RawMessage
		err := o.call(ctx, http.MethodPost, "/admin/v1/apply?file="+urlQuery(path), text, &answer)
		if err != nil {
			return err
		}
		if c.JSON {
			return pretty(t, answer)
		}
		var report server.ApplyReport
		err = json.Unmarshal(answer, &report)
		if err != nil {
			return err
		}
		for _, w := range report.Warnings {
			fmt.Fprintln(t.err, "warning:", w)
		}
		fmt.Fprintf(t.out, "clients: %d created, %d updated, %d unchanged\nusers: %d created, %d updated, %d unchanged\n",
			report.Clients.Created, report.Clients.Updated, report.Clients.Unchanged,
			report.Users.Created, report.Users.Updated, report.Users.Unchanged)
		if u := report.Upstreams; u != (server.Count{}) {
			fmt.Fprintf(t.out, "upstreams: %d created, %d updated, %d unchanged\n", u.Created, u.Updated, u.Unchanged)
		}
		return nil
	})
}
