//go:build !unix

package user

import "os/exec"

// Elsewhere a worker runs like any other process.
func apart(*exec.Cmd) {}

func humble(int) error { return nil }
