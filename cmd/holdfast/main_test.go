package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"holdfast.example/internal/user"
)

// beHoldfast makes the test binary the program itself, so that tests start, kill
// and script the real thing, race detector included.
const beHoldfast = "HOLDFAST_TEST_BE_PROGRAM"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == hashVerb {
		if user.ServeHashes(os.Stdin, os.Stdout) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(beHoldfast) != "" {
		os.Unsetenv(beHoldfast)
		os.Exit(program())
	}
	testscript.Main(tidy{m}, map[string]func(){"holdfast": func() { os.Exit(program()) }})
}

// tidy removes the program that the tests built.
type tidy struct{ *testing.M }

// Run implements testscript.TestingM.
func (m tidy) Run() int {
	code := m.M.Run()
	_ = os.RemoveAll(built.dir)
	return code
}

// built is the program as users have it, which a test that starts hundreds of
// servers wants: the race detector is for the test binary.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// builtProgram builds the program once.
func builtProgram(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		built.dir, built.err = os.MkdirTemp("", "holdfast-built-")
		if built.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", built.dir, ".")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("the program does not build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "holdfast")
}

// program is main for the test binary.
func program() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr, os.Environ()})
}

// running is one server process.
type running struct {
	cmd  *exec.Cmd
	base string
	took time.Duration // from exec to the first 200
	log  *os.File
}

// startWithin is how long a start may take: design.md promises 2 s; a process
// with the race detector on a busy machine gets more before a test gives up.
const startWithin = time.Minute

// start runs `holdfast ARGS` on a port and waits until it answers.
func start(t testing.TB, dir, listen string, args ...string) *running {
	t.Helper()
	return startProgram(t, os.Args[0], dir, listen, args...)
}

// startProgram is start of one build.
func startProgram(t testing.TB, program, dir, listen string, args ...string) *running {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{base: "http://" + listen, log: log}
	r.cmd = exec.Command(program, args...)
	r.cmd.Dir = dir
	r.cmd.Env = environment(program)
	r.cmd.Stdout, r.cmd.Stderr = log, log
	began := time.Now()
	err = r.cmd.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill) // does nothing to one that has ended
	for {
		res, err := http.Get(r.base + "/healthz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(began) > startWithin {
			r.kill()
			t.Fatalf("the server did not answer within %s:\n%s", startWithin, tail(log.Name()))
		}
		time.Sleep(2 * time.Millisecond)
	}
	r.took = time.Since(began)
	return r
}

// environment is that of the tests, without what is meant for the tests alone.
func environment(program string) []string {
	env := slices.DeleteFunc(os.Environ(), func(one string) bool { return strings.HasPrefix(one, "HOLDFAST_") })
	if program == os.Args[0] {
		env = append(env, beHoldfast+"=1")
	}
	return env
}

// kill ends the process as a power button would.
func (r *running) kill() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.log.Close()
}

// stop ends it as an operator would, and returns the exit error.
func (r *running) stop() error {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	err := r.cmd.Wait()
	r.log.Close()
	return err
}

func tail(path string) string {
	b, _ := os.ReadFile(path)
	return string(b[max(0, len(b)-4000):])
}

// ports are those that were given out, so that no two servers get one.
var ports sync.Map

// freePort finds a port nobody listens on. Where all of 127.0.0.0/8 is this machine
// it is at an address that belongs to this process, so that nobody else's listener
// comes in between, not even while a server is killed and started again.
func freePort(t testing.TB) string {
	t.Helper()
	pid := os.Getpid()
	own := fmt.Sprintf("127.%d.%d.%d:0", 64|pid>>16&63, pid>>8&255, pid&255)
	for {
		l, err := net.Listen("tcp", own)
		if err != nil {
			l, err = net.Listen("tcp", "127.0.0.1:0")
		}
		if err != nil {
			t.Fatal(err)
		}
		free := l.Addr().String()
		l.Close()
		if _, taken := ports.LoadOrStore(free, true); !taken {
			return free
		}
	}
}

// TestCommandLine runs the stories of testdata: each is what a user types and
// sees, the README's own commands among them.
func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			defer l.Close()
			env.Setenv("LISTEN", l.Addr().String())
			env.Setenv("BASE", "http://"+l.Addr().String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// await URL: until it answers 200
			"await": func(ts *testscript.TestScript, _ bool, args []string) {
				deadline := time.Now().Add(startWithin)
				for {
					res, err := http.Get(args[0])
					if err == nil {
						res.Body.Close()
						if res.StatusCode == http.StatusOK {
							return
						}
					}
					if time.Now().After(deadline) {
						ts.Fatalf("%s did not answer within %s", args[0], startWithin)
					}
					time.Sleep(5 * time.Millisecond)
				}
			},
			// field NAME FILE MEMBER: $NAME becomes a member of a JSON file
			"field": func(ts *testscript.TestScript, _ bool, args []string) {
				text := ts.ReadFile(args[1])
				_, after, ok := strings.Cut(text, fmt.Sprintf("%q:", args[2]))
				if !ok {
					ts.Fatalf("no member %s in %s", args[2], text)
				}
				value, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(after), `"`), `"`)
				ts.Setenv(args[0], value)
			},
		},
	})
}
