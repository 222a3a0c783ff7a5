package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheTerminalShowsAgain what is typed, as it did before, although Ctrl-C met the
// command that switches it off, and another Ctrl-C the one that switches it on.
func TestTheTerminalShowsAgain(t *testing.T) {
	dir := t.TempDir()
	script := `#!/bin/sh
echo "$1" >> "` + dir + `/said"
case "$1" in
-g) echo as:it:was ;;
-echo) exit 130 ;;
*) [ "$(grep -c as:it:was "` + dir + `/said")" -gt 1 ] || exit 130 ;;
esac
`
	err := os.WriteFile(filepath.Join(dir, "stty"), []byte(script), 0o755)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	nobody, err := os.Open(os.DevNull) // a device like a terminal, at which nothing is typed
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	if _, err := password(t.Context(), terminal{in: nobody, out: io.Discard, err: io.Discard}); err == nil {
		t.Error("a password was read where nothing was typed")
	}
	said, err := os.ReadFile(filepath.Join(dir, "said"))
	if got := strings.Fields(string(said)); err != nil || strings.Join(got, " ") != "-g -echo as:it:was as:it:was" {
		t.Errorf("stty was told %q, %v", got, err)
	}
}

// TestCtrlCBeforeAPassword ends the command, and changes no terminal.
func TestCtrlCBeforeAPassword(t *testing.T) {
	in, typing := io.Pipe()
	defer typing.Close()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := password(ctx, terminal{in: in, out: io.Discard, err: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("answered %v", err)
	}
}
