//go:build unix

package user

import (
	"os/exec"
	"syscall"
)

// workerNice is the priority of hash workers: low enough that a refresh gets
// the core it needs at once, high enough that sign-ins keep a tenth of a machine
// that is busy with refreshes.
const workerNice = 10

// apart gives the worker a process group of its own: an interrupt from the
// terminal is for the server, which ends its workers itself.
func apart(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// humble lowers the priority of a worker's group, which on Linux reaches the
// threads it has already; later ones inherit.
func humble(pid int) error { return syscall.Setpriority(syscall.PRIO_PGRP, pid, workerNice) }
