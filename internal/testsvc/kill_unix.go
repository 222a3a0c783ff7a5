//go:build unix

package testsvc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Limits of killing a server.
const (
	killWait  = 20 * time.Second
	killPause = time.Millisecond
)

// Kill ends a server of our own as a power button would: the process that watches
// the others is stopped first, so that it neither starts another one nor tells one
// to end in order, then all of them are killed. It returns when none is left.
// Before somebody else's server the test is skipped.
func (p *Postgres) Kill(t testing.TB) {
	t.Helper()
	p.Need(t)
	if p.server == nil {
		t.Skip("SKIPPED: this PostgreSQL is somebody else's, and nobody kills what he did not start")
	}
	if err := p.kill(); err != nil {
		t.Fatal(err)
	}
}

func (p *Postgres) kill() error {
	pid := p.Pid()
	if pid == 0 {
		return errors.New("the PostgreSQL server does not run")
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("the PostgreSQL server cannot be stopped: %w", err)
	}
	// The signal is on its way when kill returns. Until it has arrived another process
	// may be started, which nobody would find once its parent is gone.
	if err := await("the PostgreSQL server does not stop", func() bool { return state(pid) == stopped }); err != nil {
		return err
	}
	all, err := children(pid)
	if err != nil {
		return err
	}
	all = append(all, pid)
	for _, one := range all {
		if err := syscall.Kill(one, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return await("killed processes of PostgreSQL are still there", func() bool { return !slices.ContainsFunc(all, alive) })
}

// await looks until something is so.
func await(otherwise string, so func() bool) error {
	for waited := time.Duration(0); waited < killWait; waited += killPause {
		if so() {
			return nil
		}
		time.Sleep(killPause)
	}
	return errors.New(otherwise)
}

// Restart starts a server that was killed on the files it left, and returns when
// it has recovered them and answers.
func (p *Postgres) Restart(t testing.TB) {
	t.Helper()
	if _, err := io.WriteString(p.hold, "again\n"); err != nil {
		t.Fatal(err)
	}
	if err := p.ready(p.server.Dir); err != nil {
		t.Fatal(err)
	}
}

// children are the processes whose parent is pid.
func children(pid int) (all []int, err error) {
	found, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(found) == 0 {
		return nil, errors.Join(errors.New("the processes of PostgreSQL cannot be listed: there is no /proc here"), err)
	}
	for _, path := range found {
		if does, parent, ok := stat(path); ok && parent == pid && does != zombie {
			one, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// What /proc says of processes.
const (
	// zombie has ended and was not waited for: it holds no memory and no file any more.
	zombie = "Z"
	// stopped does nothing until it is told to go on.
	stopped = "T"
)

func alive(pid int) bool {
	s := state(pid)
	return s != "" && s != zombie
}

// state is what a process does, "" when it is not there.
func state(pid int) string {
	s, _, ok := stat(fmt.Sprintf("/proc/%d/stat", pid))
	if !ok {
		return ""
	}
	return s
}

// stat reads a process's state and parent (proc(5)).
func stat(path string) (state string, parent int, ok bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", 0, false
	}
	// The name stands in parentheses and may hold anything.
	end := strings.LastIndexByte(string(text), ')')
	if end < 0 {
		return "", 0, false
	}
	_, err = fmt.Sscan(string(text[end+1:]), &state, &parent)
	return state, parent, err == nil
}
