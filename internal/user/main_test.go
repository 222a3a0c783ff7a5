package user

import (
	"fmt"
	"os"
	"testing"
)

// The test program is its own hash worker: see workerCommand.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "hash-worker" {
		err := ServeHashes(os.Stdin, os.Stdout)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func workerCommand(t testing.TB) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, "hash-worker"}
}
