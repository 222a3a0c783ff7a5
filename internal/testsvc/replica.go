package testsvc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// replicaName is what the replica calls itself to its primary.
const replicaName = "replica"

// Replica starts a streaming replica of a server of our own, until the test ends.
// Before somebody else's server the test is skipped. When synchronous is set,
// every commit on p waits from here on until the replica has written it.
func (p *Postgres) Replica(t testing.TB, synchronous bool) *Postgres {
	t.Helper()
	p.Need(t)
	if p.server == nil {
		t.Skip("SKIPPED: a replica needs a PostgreSQL of our own")
	}
	r, err := p.replica()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	p.Await(t, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name = '"+replicaName+"'")
	if synchronous {
		if err := p.run("ALTER SYSTEM SET synchronous_standby_names = '" + replicaName + "'"); err != nil {
			t.Fatal(err)
		}
		if err := p.run("SELECT pg_reload_conf()"); err != nil {
			t.Fatal(err)
		}
		p.Await(t, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
	}
	return r
}

func (p *Postgres) replica() (*Postgres, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(p.server.Dir), "holdfast-pgr-")
	if err != nil {
		return nil, err
	}
	as, err := lowly(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	from := fmt.Sprintf("host=%s user=holdfast application_name=%s", p.server.Dir, replicaName)
	copied := exec.Command(filepath.Join(bin, "pg_basebackup"), "-D", filepath.Join(dir, "data"), "-d", from, "-X", "stream", "-c", "fast", "-R", "--no-sync")
	copied.Dir, copied.SysProcAttr = dir, as
	if out, err := copied.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("pg_basebackup: %w: %s", err, out), os.RemoveAll(dir))
	}
	// It runs with the settings of its primary, but for where it listens and whom it
	// would wait for when it is promoted.
	args := []string{"-c", watch, "watch", dir, filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-k", dir,
		"-c", "listen_addresses=", "-c", "synchronous_standby_names=", "-c", "fsync=off", "-c", "max_connections=200"}
	for _, s := range p.Settings {
		args = append(args, "-c", s)
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir, cmd.SysProcAttr = dir, as
	hold, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	r := &Postgres{Sync: p.Sync, Settings: p.Settings, server: cmd, hold: hold,
		base: &url.URL{Scheme: "postgres", User: url.User("holdfast"), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}}
	r.once.Do(func() {}) // it has started
	return r, r.ready(dir)
}

// Promote makes a replica a primary.
func (p *Postgres) Promote(t testing.TB) {
	t.Helper()
	if err := p.run("SELECT pg_promote(true, 30)"); err != nil {
		t.Fatal(err)
	}
	p.Await(t, "SELECT count(*) WHERE NOT pg_is_in_recovery()")
}

// Run executes one statement in the server's own database.
func (p *Postgres) Run(t testing.TB, text string) {
	t.Helper()
	if err := p.run(text); err != nil {
		t.Fatal(err)
	}
}

// Await repeats a query in the server's own database until its number is not 0.
func (p *Postgres) Await(t testing.TB, text string) {
	t.Helper()
	last := ""
	for waited := time.Duration(0); waited < startWait; waited += startPause {
		err := p.run("SELECT 1 / (" + text + ")") // a division by zero is a no
		if err == nil {
			return
		}
		last = err.Error()
		time.Sleep(startPause)
	}
	t.Fatalf("waited in vain for: %s (%s)", text, last)
}

// Home is the URL of the database that a server of our own comes with, for a test
// that has the server to itself: nothing needs to be dropped when the server is gone.
func (p *Postgres) Home(t testing.TB) string {
	t.Helper()
	p.Need(t)
	if p.server == nil {
		t.Skip("SKIPPED: this test needs a PostgreSQL to itself")
	}
	return p.base.String()
}

// Number is the number a query in the server's own database gives.
func (p *Postgres) Number(t testing.TB, text string) (n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	if err := p.run("SELECT 1"); err != nil { // connects
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.conn.QueryRow(ctx, text).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Either is the URL of a database by both servers, the way a server of Holdfast is
// told of a primary and its replica: whichever is the primary answers.
func (p *Postgres) Either(t testing.TB, database string, other *Postgres) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("host", q.Get("host")+","+other.server.Dir)
	q.Set("port", "5432,5432")
	q.Set("target_session_attrs", "read-write")
	u.RawQuery = q.Encode()
	return u.String()
}

// Alone is the URL of the same database on this server.
func (p *Postgres) Alone(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("host", p.server.Dir)
	q.Del("port")
	q.Del("target_session_attrs")
	u.RawQuery = q.Encode()
	return u.String()
}
