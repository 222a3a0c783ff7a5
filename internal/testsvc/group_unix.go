//go:build unix

package testsvc

import (
	"os/exec"
	"syscall"
)

// ownGroup makes a command and everything it starts a group that can be ended.
func ownGroup(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// endGroup ends such a group at once.
func endGroup(c *exec.Cmd) { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
