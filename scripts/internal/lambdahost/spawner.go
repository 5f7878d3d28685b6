package lambdahost

import (
	"os"
	"os/exec"
	"runtime"
)

// spawner starts every child from one goroutine that stays locked to its OS
// thread: on Linux the parent-death signal follows the thread that created the
// child, so a child of a passing thread would be killed when that thread ends.
type spawner struct {
	requests chan spawnRequest
	quit     chan struct{}
}

type spawnRequest struct {
	cmd  *exec.Cmd
	done chan error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawnRequest), quit: make(chan struct{})}
	go s.run()
	return s
}

func (s *spawner) run() {
	runtime.LockOSThread() // never unlocked: see the type's comment
	for {
		select {
		case r := <-s.requests:
			r.done <- r.cmd.Start()
		case <-s.quit:
			return
		}
	}
}

func (s *spawner) start(cmd *exec.Cmd) error {
	r := spawnRequest{cmd: cmd, done: make(chan error, 1)}
	select {
	case s.requests <- r:
		return <-r.done
	case <-s.quit:
		return os.ErrClosed
	}
}

// stop ends the thread, and with it (on Linux) any child still alive.
func (s *spawner) stop() { close(s.quit) }
