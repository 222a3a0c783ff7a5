package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// envPostgres is the directory of a PostgreSQL's programs or, as postgres://, a
// server that runs; then the CPU of its processes is not seen.
const envPostgres = "HOLDFAST_TEST_PG"

// pgSettings are those that the peers were measured with: synced before it is
// answered, and a quarter of a gigabyte of shared buffers. WAL is large enough
// that no checkpoint falls into a short run for want of room.
var pgSettings = []string{"fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=256MB",
	"max_connections=200", "max_wal_size=8GB", "checkpoint_timeout=15min", "track_io_timing=on", "track_wal_io_timing=on"}

// pgServer is a PostgreSQL server, reached through a socket.
type pgServer struct {
	base *url.URL
	dir  string // "" for somebody else's
	cmd  *exec.Cmd
	hold io.WriteCloser // it lives as long as this is open
}

// keep runs the server until standard input ends, which it does at the latest when
// this process is gone, and then ends the server by its number.
const keep = `trap "" INT TERM HUP; dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null & server=$!
read -r _; kill -INT $server 2>/dev/null; wait $server; exit 0`

// startPostgres makes a cluster in a directory of its own and starts it, as a user
// without rights when we are root.
func startPostgres(parent string, settings ...string) (*pgServer, error) {
	given := os.Getenv(envPostgres)
	if strings.HasPrefix(given, "postgres://") || strings.HasPrefix(given, "postgresql://") {
		base, err := url.Parse(given)
		return &pgServer{base: base}, err
	}
	bin, err := pgPrograms(given)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(parent, "pg")
	err = os.Mkdir(dir, 0o700)
	if err != nil {
		return nil, err
	}
	as, err := unprivileged(parent, dir)
	if err != nil {
		return nil, err
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "holdfast", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	args := []string{"-c", keep, "keep", dir, filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-k", dir, "-c", "listen_addresses="}
	for _, s := range slices.Concat(pgSettings, settings) {
		args = append(args, "-c", s)
	}
	s := &pgServer{dir: dir, cmd: exec.Command("/bin/sh", args...),
		base: &url.URL{Scheme: "postgres", User: url.User("holdfast"), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}}
	s.cmd.Dir, s.cmd.SysProcAttr = dir, as
	s.hold, err = s.cmd.StdinPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	return s, s.answers()
}

// answers waits until the server does.
func (s *pgServer) answers() error {
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := s.exec("SELECT 1")
		if err == nil {
			return nil
		}
		if time.Since(began) > startWithin {
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return errors.Join(fmt.Errorf("PostgreSQL does not answer: %w: %s", err, text), s.stop())
		}
	}
}

// pgPrograms finds the directory of the newest PostgreSQL.
func pgPrograms(given string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is a good one
	slices.SortFunc(found, func(a, b string) int { return len(b) - len(a) + strings.Compare(b, a) })
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			found = slices.Insert(found, 0, filepath.Dir(real))
		}
	}
	if given != "" {
		found = []string{given}
	}
	for _, dir := range found {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no PostgreSQL here: install the package postgresql, or set " + envPostgres + " to the directory of its programs")
}

// unprivileged says how to run a command as a user without rights, who is given
// the directory and let through its parent, when we are root: PostgreSQL refuses
// to run as root.
func unprivileged(parent, dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		err = errors.Join(uidErr, gidErr, os.Chown(dir, int(uid), int(gid)), os.Chmod(parent, 0o711))
		return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, err
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
}

// pid is the process all others of the server descend from, 0 for somebody else's.
func (s *pgServer) pid() int {
	var pid int
	text, _ := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid")) // then it is none
	_, _ = fmt.Sscan(string(text), &pid)
	return pid
}

// stop ends the server at once; its connections are cut.
func (s *pgServer) stop() error {
	if s.cmd == nil {
		return nil
	}
	err := s.hold.Close()
	kill := time.AfterFunc(stopWithin, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	return errors.Join(err, s.cmd.Wait())
}

// database makes an empty database and gives its URL.
func (s *pgServer) database(name string) (string, error) {
	err := s.exec("CREATE DATABASE " + pgx.Identifier{name}.Sanitize() + " ENCODING 'UTF8' TEMPLATE template0")
	return s.at(name), err
}

func (s *pgServer) at(name string) string {
	u := *s.base
	u.Path = "/" + name
	return u.String()
}

func (s *pgServer) exec(text string) error {
	return ask(s.base.String(), func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, text)
		return err
	})
}

// askWait bounds a question to a database, maintenance of large tables included.
const askWait = 30 * time.Minute

// ask lends f a connection of its own.
func ask(url string, f func(context.Context, *pgx.Conn) error) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), askWait)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	return f(ctx, c)
}
