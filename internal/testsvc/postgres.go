// Package testsvc owns the services that tests need beside this machine's Go: it
// finds them, starts them, and ends them with the test process. Only tests import
// it.
//
// It does not own what is tested against them, and it installs nothing: when a
// service is not there, the test that asked for it is skipped with a line that
// says so, or fails when HOLDFAST_TEST_REQUIRE names the service.
package testsvc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The environment decides what is used.
const (
	// envPostgres is the URL of a server to use instead of one of our own. Its role
	// may create databases; the tests drop those they made.
	envPostgres = "HOLDFAST_TEST_PG"
	// envRequire lists services, separated by commas, whose absence is a failure.
	envRequire = "HOLDFAST_TEST_REQUIRE"
)

// Limits of starting a server.
const (
	startWait  = 60 * time.Second
	startPause = 20 * time.Millisecond
	stopWait   = 20 * time.Second
)

// maxSocketPath is how long the path of a Unix socket may be everywhere.
const maxSocketPath = 100

// Postgres is a PostgreSQL server for the tests of one process. The zero value
// starts one when it is first asked for; Stop ends it.
type Postgres struct {
	// Sync makes the server sync its disk before it answers. Without it a commit
	// is fast and lost when the machine stops, which is nobody's loss in a test.
	Sync bool
	// Settings are further settings of a server of our own (name=value).
	Settings []string

	once   sync.Once
	err    error
	base   *url.URL // a database of the server from which others can be made
	server *exec.Cmd
	hold   io.WriteCloser // the server lives as long as this is open

	preparing sync.Mutex
	template  string // the name of the prepared database, "" until it is made

	mu   sync.Mutex
	conn *pgx.Conn
}

// errAbsent: there is no PostgreSQL to start.
var errAbsent = errors.New("no PostgreSQL here: set " + envPostgres + " to the URL of a server, or install the package postgresql (initdb and postgres are looked for on PATH and in /usr/lib/postgresql)")

// Database gives the URL of a new database, which is dropped with the test. It is
// a copy of what prepare made of the first one; a nil prepare leaves it empty.
func (p *Postgres) Database(t testing.TB, prepare func(url string) error) string {
	t.Helper()
	p.Need(t)
	var template string
	var err error
	if prepare != nil {
		template, err = p.prepared(prepare)
	}
	if err != nil {
		t.Fatal(err)
	}
	made, err := p.create(template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.run("DROP DATABASE IF EXISTS " + pgx.Identifier{made}.Sanitize() + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return p.at(made)
}

// Need starts the server, or skips or fails the test when there is none.
func (p *Postgres) Need(t testing.TB) {
	t.Helper()
	p.once.Do(func() { p.err = p.start() })
	switch {
	case p.err == nil:
	case errors.Is(p.err, errAbsent) && !required("postgres"):
		t.Skipf("SKIPPED: %v", p.err)
	default:
		t.Fatal(p.err)
	}
}

// required reports whether the absence of a service is a failure.
func required(service string) bool {
	return slices.Contains(strings.Split(os.Getenv(envRequire), ","), service)
}

// Pid is the process of a server of our own, 0 for another's.
func (p *Postgres) Pid() int {
	if p.server == nil {
		return 0
	}
	line, err := os.ReadFile(filepath.Join(p.server.Dir, "data", "postmaster.pid"))
	if err != nil {
		return 0
	}
	var pid int
	if _, err := fmt.Sscan(string(line), &pid); err != nil {
		return 0
	}
	return pid
}

// Stop ends a server of our own and removes its files. Databases that were made on
// somebody else's are dropped.
func (p *Postgres) Stop() error {
	if p.base == nil {
		return nil
	}
	if p.server == nil {
		var err error
		if p.template != "" {
			err = p.run("DROP DATABASE IF EXISTS " + pgx.Identifier{p.template}.Sanitize() + " WITH (FORCE)")
		}
		return errors.Join(err, p.hangUp())
	}
	p.base = nil
	errs := []error{p.hangUp(), p.hold.Close()}
	done := make(chan error, 1)
	go func() { done <- p.server.Wait() }()
	select {
	case err := <-done:
		return errors.Join(append(errs, err)...)
	case <-time.After(stopWait):
		return errors.Join(append(errs, errors.New("the PostgreSQL server does not stop"), p.server.Process.Kill())...)
	}
}

func (p *Postgres) start() error {
	if given := os.Getenv(envPostgres); given != "" {
		base, err := url.Parse(given)
		if err != nil || !strings.HasPrefix(base.Scheme, "postgres") {
			return fmt.Errorf("%s is not a postgres:// URL", envPostgres)
		}
		p.base = base
		return p.run("SELECT 1")
	}
	bin, err := binaries()
	if err != nil {
		return err
	}
	return p.own(bin)
}

// binaries finds the directory of the newest PostgreSQL here.
func binaries() (string, error) {
	var found []string
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			found = append(found, filepath.Dir(real))
		}
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is a good one
	slices.SortFunc(debian, func(a, b string) int { return len(b) - len(a) + strings.Compare(b, a) })
	for _, dir := range append(found, debian...) {
		if both(dir) {
			return dir, nil
		}
	}
	return "", errAbsent
}

func both(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// watch runs the server until its standard input ends, which it does at the latest
// when the test process is gone, however it went. Then it ends the server, by its
// number, and removes the files. A line before that asks for the server again,
// after it was killed.
const watch = `trap "" INT TERM HUP; dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null & server=$!
while read -r again; do wait $server; "$@" >>"$dir/log" 2>&1 </dev/null & server=$!; done
kill -INT $server 2>/dev/null; wait $server; cd /; rm -rf "$dir"; exit 0`

// own starts a server of our own that only a Unix socket leads to.
func (p *Postgres) own(bin string) error {
	parent := os.TempDir()
	if len(parent) > maxSocketPath/2 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "holdfast-pg-")
	if err != nil {
		return err
	}
	if len(dir) > maxSocketPath-len("/.s.PGSQL.5432") {
		return fmt.Errorf("%s is too long for a socket; set TMPDIR to a shorter path", dir)
	}
	as, err := lowly(dir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "holdfast", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if out, err := initdb.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("initdb: %w: %s", err, out), os.RemoveAll(dir))
	}
	on := "off"
	if p.Sync {
		on = "on"
	}
	args := []string{"-c", watch, "watch", dir, filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-k", dir,
		"-c", "listen_addresses=", "-c", "fsync=" + on, "-c", "synchronous_commit=" + on, "-c", "full_page_writes=" + on, "-c", "max_connections=200"}
	for _, s := range p.Settings {
		args = append(args, "-c", s)
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir, cmd.SysProcAttr = dir, as
	hold, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	p.server, p.hold = cmd, hold
	p.base = &url.URL{Scheme: "postgres", User: url.User("holdfast"), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}
	return p.ready(dir)
}

// ready waits until the server answers.
func (p *Postgres) ready(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	for {
		err := p.run("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return errors.Join(fmt.Errorf("the PostgreSQL server does not answer: %w\n%s", err, log), p.Stop())
		case <-time.After(startPause):
		}
	}
}

// at is the URL of a database of the server.
func (p *Postgres) at(database string) string {
	u := *p.base
	u.Path = "/" + database
	return u.String()
}

// run executes one statement in the server's own database, on a connection that is
// kept for the next one.
func (p *Postgres) run(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.base == nil {
		return errors.New("the PostgreSQL server does not run")
	}
	if p.conn == nil || p.conn.IsClosed() {
		conn, err := pgx.Connect(ctx, p.base.String())
		if err != nil {
			return err
		}
		p.conn = conn
	}
	_, err := p.conn.Exec(ctx, text)
	return err
}

// hangUp closes the connection that run keeps.
func (p *Postgres) hangUp() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopWait)
	defer cancel()
	return p.conn.Close(ctx)
}

// create makes a database, as a copy of another unless that is "".
func (p *Postgres) create(template string) (string, error) {
	name := "holdfast_test_" + strings.ToLower(rand.Text()[:12])
	text := "CREATE DATABASE " + pgx.Identifier{name}.Sanitize() + " ENCODING 'UTF8'"
	if template == "" {
		return name, p.run(text + " TEMPLATE template0")
	}
	// Copying files is the quick way when nothing is synced anyway.
	return name, p.run(text + " STRATEGY FILE_COPY TEMPLATE " + pgx.Identifier{template}.Sanitize())
}

// prepared gives the name of the database that prepare made, and lets it make it
// first.
func (p *Postgres) prepared(prepare func(url string) error) (string, error) {
	p.preparing.Lock()
	defer p.preparing.Unlock()
	if p.template != "" {
		return p.template, nil
	}
	name, err := p.create("")
	if err == nil {
		err = prepare(p.at(name))
	}
	if err != nil {
		return "", err
	}
	p.template = name
	return name, nil
}
