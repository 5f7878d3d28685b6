package ddblocal

import "syscall"

// childAttributes makes the kernel kill the child when the thread that started
// it ends, and keeps a terminal's Ctrl-C from reaching it before [Server.Stop].
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
