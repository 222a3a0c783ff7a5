package testsvc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// envRedis is the URL of a Redis to use instead of one of our own. Tests leave keys
// in it that expire within minutes.
const envRedis = "HOLDFAST_TEST_REDIS"

// redisAnswer is how long a Redis that was just started may take to say so.
const redisAnswer = time.Second

// Redis is a Redis server for one test.
type Redis struct {
	// URL leads to it.
	URL string

	dir  string // "" for somebody else's
	hold io.Writer
}

// StartRedis starts a Redis that only a Unix socket leads to and that writes no
// file, until the test ends. Further settings ("--requirepass", "x") make it one of
// our own in any case. Without redis-server on PATH the test is skipped, or fails
// when HOLDFAST_TEST_REQUIRE names redis.
func StartRedis(t testing.TB, settings ...string) *Redis {
	t.Helper()
	if given := os.Getenv(envRedis); given != "" && settings == nil {
		return &Redis{URL: given}
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		why := "SKIPPED: no Redis of our own here: set " + envRedis + " to the URL of a server, or install the package redis-server"
		if required("redis") && os.Getenv(envRedis) == "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	parent := os.TempDir()
	if len(parent) > maxSocketPath/2 {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "holdfast-redis-")
	if err != nil {
		t.Fatal(err)
	}
	r := &Redis{dir: dir, URL: (&url.URL{Scheme: "unix", Path: filepath.Join(dir, "socket")}).String()}
	args := []string{"-c", watch, "watch", dir, program, "--port", "0", "--unixsocket", filepath.Join(dir, "socket"),
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", dir, "--pidfile", filepath.Join(dir, "pid")}
	cmd := exec.Command("/bin/sh", append(args, settings...)...)
	cmd.Dir = dir
	hold, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(errors.Join(err, os.RemoveAll(dir)))
	}
	r.hold = hold
	t.Cleanup(func() {
		if err := errors.Join(hold.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	r.ready(t)
	return r
}

// Kill ends a server of our own at once. Before somebody else's the test is
// skipped.
func (r *Redis) Kill(t testing.TB) {
	t.Helper()
	if err := r.process(t).Kill(); err != nil {
		t.Fatal(err)
	}
	for waited := time.Duration(0); r.ask() == nil; waited += startPause {
		if waited > startWait {
			t.Fatal("a killed Redis still answers")
		}
		time.Sleep(startPause)
	}
}

// Restart starts a server that was killed again. It remembers nothing.
func (r *Redis) Restart(t testing.TB) {
	t.Helper()
	if _, err := io.WriteString(r.hold, "again\n"); err != nil {
		t.Fatal(err)
	}
	r.ready(t)
}

// process finds a server of our own.
func (r *Redis) process(t testing.TB) *os.Process {
	t.Helper()
	if r.dir == "" {
		t.Skip("SKIPPED: this Redis is somebody else's, and nobody stops what he did not start")
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "pid"))
	var pid int
	if err == nil {
		_, err = fmt.Sscan(string(text), &pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ready waits until the server answers.
func (r *Redis) ready(t testing.TB) {
	t.Helper()
	var err error
	for waited := time.Duration(0); waited < startWait; waited += startPause {
		if err = r.ask(); err == nil {
			return
		}
		time.Sleep(startPause)
	}
	text, _ := os.ReadFile(filepath.Join(r.dir, "log"))
	t.Fatalf("the Redis server does not answer: %v\n%s", err, text)
}

// ask asks whether the server is there.
func (r *Redis) ask() error {
	conn, err := net.DialTimeout("unix", filepath.Join(r.dir, "socket"), redisAnswer)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer time.AfterFunc(redisAnswer, func() { _ = conn.Close() }).Stop()
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "+PONG") && !strings.HasPrefix(line, "-NOAUTH") {
		err = errors.New(strings.TrimSpace(line))
	}
	return err
}
