//go:build unix && !linux

package lambdahost

import (
	"os"
	"syscall"
)

// processAttributes: there is no parent-death signal here, so a SIGKILLed host
// leaves its children behind; see the package comment.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

func terminateGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGTERM) }
