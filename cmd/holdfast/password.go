package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// password reads a password from standard input: never from a flag, which every
// process list shows. At a terminal it asks for it, and what is typed is not shown.
func password(ctx context.Context, t terminal) (string, error) {
	if f, ok := t.in.(*os.File); ok && isTerminal(f) {
		fmt.Fprint(t.err, "password: ")
		if echo(ctx, f, "-echo") == nil {
			defer func() {
				_ = echo(context.WithoutCancel(ctx), f, "echo") // the terminal is gone if this fails
				fmt.Fprintln(t.err)
			}()
		}
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

// echo switches whether a terminal shows what is typed.
func echo(ctx context.Context, f *os.File, how string) error {
	c := exec.CommandContext(ctx, "stty", how)
	c.Stdin = f
	return c.Run()
}
