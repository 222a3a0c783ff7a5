package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// password reads a password from standard input: never from a flag, which every
// process list shows. At a terminal it asks for it, and what is typed is not shown.
func password(ctx context.Context, t terminal) (string, error) {
	if f, ok := t.in.(*os.File); ok && isTerminal(f) {
		fmt.Fprint(t.err, "password: ")
		defer hide(ctx, t, f)()
	}
	line := make(chan string, 1)
	go func() {
		s := bufio.NewScanner(t.in)
		s.Scan()
		line <- s.Text()
	}()
	select {
	case p := <-line:
		if p == "" {
			return "", errors.New("send the password as one line on standard input")
		}
		return p, nil
	case <-ctx.Done(): // Ctrl-C while it waits
		return "", errors.New("stopped before a password was read; nothing was changed")
	}
}

// isTerminal reports whether somebody may type there.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// showTries is how often a terminal is told to be as it was. A second Ctrl-C reaches
// the command that does it, too.
const showTries = 3

// hide lets a terminal not show what is typed; show puts it back as it was. That
// switching it off failed does not mean that it is on: Ctrl-C stops the command that
// does it before or behind the act.
func hide(ctx context.Context, t terminal, f *os.File) (show func()) {
	was, err := stty(ctx, f, "-g")
	if err != nil || was == "" {
		return func() {} // nothing was changed
	}
	_, _ = stty(ctx, f, "-echo") // it shows what is typed if this fails
	return func() {
		for range showTries {
			_, err := stty(context.WithoutCancel(ctx), f, was)
			if err == nil {
				break
			}
		}
		fmt.Fprintln(t.err)
	}
}

// stty asks or tells a terminal how it behaves (POSIX stty).
func stty(ctx context.Context, f *os.File, how string) (says string, err error) {
	c := exec.CommandContext(ctx, "stty", how)
	c.Stdin = f
	out, err := c.Output()
	return strings.TrimSpace(string(out)), err
}
