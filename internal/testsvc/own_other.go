//go:build !unix

package testsvc

import "syscall"

// lowly: only Unix has an account that PostgreSQL refuses.
func lowly(string) (*syscall.SysProcAttr, error) { return nil, nil }
