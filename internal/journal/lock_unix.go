//go:build unix

package journal

import (
	"os"
	"syscall"
)

// hold keeps other processes from opening the same journal, for as long as the file
// is open.
func hold(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
