//go:build unix

package breach

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// TestAPipeThatTookThePlace of the list behind the first look at it: nobody writes
// into it, and nobody waits until somebody does.
func TestAPipeThatTookThePlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "breached.txt")
	err := syscall.Mkfifo(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f, _, err := openRegular(path)
	if !errors.Is(err, errNoFile) {
		t.Errorf("opened %v, %v", f, err)
	}
	if f, _, err := openRegular(t.TempDir()); !errors.Is(err, errNoFile) {
		t.Errorf("opened %v, %v, a directory", f, err)
	}
}
