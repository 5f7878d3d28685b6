//go:build !unix

package lambdahost

import (
	"os"
	"syscall"
)

func processAttributes() *syscall.SysProcAttr { return nil }

func killGroup(p *os.Process) { _ = p.Kill() }

func terminateGroup(p *os.Process) { _ = p.Kill() }
