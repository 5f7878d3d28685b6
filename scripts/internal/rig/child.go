package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	readyWait = 5 * time.Minute // a stack may have to be compiled first
	stopWait  = 30 * time.Second
)

// Child is another process of this program in a role of its own. It ends when
// its standard input does, which happens at the latest when this process dies.
type Child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{}
}

// Spawn starts this program with other arguments, waits for the one line of JSON
// that [Announce] prints when it is ready, and decodes it into ready.
func Spawn(ctx context.Context, stderr io.Writer, ready any, args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &Child{cmd: exec.Command(self, args...), exited: make(chan struct{})}
	c.cmd.Stderr = stderr
	// An interrupt of the terminal goes to this process alone; it stops the others
	// in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		first, _ := r.ReadString('\n')
		line <- first
		_, _ = io.Copy(io.Discard, r)
		_ = c.cmd.Wait()
		close(c.exited)
	}()
	select {
	case first := <-line:
		if err = json.Unmarshal([]byte(first), ready); err == nil {
			return c, nil
		}
		err = fmt.Errorf("rig: %s did not start", strings.Join(args, " "))
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(readyWait):
		err = fmt.Errorf("rig: %s is not ready in time", strings.Join(args, " "))
	}
	return nil, errors.Join(err, c.Stop())
}

// PID of the process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Stop asks the process to end and waits until it has; one that does not end is
// killed, which is an error.
func (c *Child) Stop() error {
	_ = c.stdin.Close()
	select {
	case <-c.exited:
		return nil
	case <-time.After(stopWait):
	}
	_ = c.cmd.Process.Kill()
	<-c.exited
	return fmt.Errorf("rig: %s had to be killed", strings.Join(c.cmd.Args[1:], " "))
}

// Announce is the child's side: it prints what [Spawn] waits for and returns
// when the parent wants the process to end.
func Announce(ready any) error {
	b, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	if _, err := fmt.Printf("%s\n", b); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
