package testsvc

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// envPgBouncer is the program to use instead of the one on PATH.
const envPgBouncer = "HOLDFAST_TEST_PGBOUNCER"

// bouncerConns is how many server connections the pooler lends: few, so that a
// test with more callers than that is given another one for every transaction.
const bouncerConns = 3

// Bouncer starts a PgBouncer in transaction mode before a server of our own, until
// the test ends, and gives the function that leads the URL of a database through
// it. Without the program, or before somebody else's server, the test is skipped,
// or fails when HOLDFAST_TEST_REQUIRE names pgbouncer.
func (p *Postgres) Bouncer(t testing.TB) (through func(database string) string) {
	t.Helper()
	p.Need(t)
	program := os.Getenv(envPgBouncer)
	if program == "" {
		for _, name := range []string{"pgbouncer", "/usr/sbin/pgbouncer"} {
			if found, err := exec.LookPath(name); err == nil {
				program = found
			}
		}
	}
	if program == "" || p.server == nil {
		why := "SKIPPED: no PgBouncer before a PostgreSQL of our own: install the package pgbouncer, or set " + envPgBouncer
		if required("pgbouncer") {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	dir, err := os.MkdirTemp(filepath.Dir(p.server.Dir), "holdfast-pgb-")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`[databases]
* = host=%s user=holdfast
[pgbouncer]
listen_addr =
unix_socket_dir = %s
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = %d
max_client_conn = 500
`, p.server.Dir, dir, bouncerConns)
	as, err := lowly(dir)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o644)
	}
	if err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(dir)))
	}
	cmd := exec.Command("/bin/sh", "-c", watch, "watch", dir, program, filepath.Join(dir, "config"))
	cmd.Dir, cmd.SysProcAttr = dir, as
	hold, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(dir)))
	}
	t.Cleanup(func() {
		if err := errors.Join(hold.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	listening(t, filepath.Join(dir, ".s.PGSQL.6432"), filepath.Join(dir, "log"))
	return func(database string) string {
		u, err := url.Parse(database)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("host", dir)
		q.Set("port", "6432")
		u.RawQuery = q.Encode()
		return u.String()
	}
}

// listening waits until a socket is there.
func listening(t testing.TB, socket, log string) {
	t.Helper()
	for waited := time.Duration(0); waited < startWait; waited += startPause {
		if _, err := os.Stat(socket); err == nil {
			return
		}
		time.Sleep(startPause)
	}
	text, _ := os.ReadFile(log)
	t.Fatalf("%s did not start:\n%s", filepath.Base(socket), text)
}
