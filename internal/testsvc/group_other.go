//go:build !unix

package testsvc

import "os/exec"

// ownGroup: only Unix has groups of processes.
func ownGroup(*exec.Cmd) {}

func endGroup(c *exec.Cmd) { _ = c.Process.Kill() }
