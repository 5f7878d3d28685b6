//go:build !linux

package ddblocal

import "syscall"

// childAttributes keeps a terminal's Ctrl-C from reaching the child before
// [Server.Stop]; the closing of its standard input ends it with its parent.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
