//go:build unix

package testsvc

import (
	"syscall"
	"testing"
)

// Hang stops a server of our own without ending it, until Wake: connections stay
// and nobody answers.
func (r *Redis) Hang(t testing.TB) {
	t.Helper()
	if err := r.process(t).Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Wake(t) }) // one that is stopped cannot be ended
}

// Wake lets it go on.
func (r *Redis) Wake(t testing.TB) {
	t.Helper()
	if err := r.process(t).Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
