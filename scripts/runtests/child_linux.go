package main

import "syscall"

// childAttributes end a server with this process, however it ends. The signal
// follows the thread that started the child; the main goroutine keeps its own.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
