package lambdahost

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	terminateGrace = 500 * time.Millisecond // between SIGTERM and SIGKILL
	lastLogsWait   = 10 * time.Second       // for output still in the pipe of a dead process, which ends with its group
	brokenPostWait = 2 * time.Second        // for the death of a process that broke off its response
	reportedLine   = 512                    // bytes of output quoted in an error
)

// environment is one process and its Runtime API.
type environment struct {
	pool     *pool
	work     chan *invocation // holds at most the assigned call
	known    chan struct{}    // closed when pid is set; no event is handed out before
	exited   chan struct{}    // closed when the process has ended
	exitText string           // such as "exit status 2"; set before exited is closed
	logs     *logTail
	posts    sync.WaitGroup // responses being read

	process struct {
		sync.Mutex
		handle *os.Process
		doomed bool // kill as soon as there is a process
		reaped bool
	}

	// guarded by pool.mu
	pid        int
	state      environmentState
	current    *invocation
	delivered  bool      // the event has been written to the process
	claimed    bool      // a response or error for current has begun
	answered   time.Time // its response has ended
	watched    bool      // the pool looks again when the grace is over
	dying      bool      // being ended: gets no further event
	ended      bool      // its process is gone and the pool knows
	extension  bool      // registered one: wants SIGTERM
	initReport string
	timer      *time.Timer        // start or invocation deadline
	dropNext   context.CancelFunc // ends an earlier, still waiting call of next
}

func newEnvironment(p *pool) *environment {
	return &environment{pool: p, work: make(chan *invocation, 1), known: make(chan struct{}), exited: make(chan struct{}), logs: newLogTail()}
}

// run is the life of the environment: start, wait for the end, clean up.
func (e *environment) run() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		server := &http.Server{Handler: e.runtimeAPI(), ErrorLog: log.New(io.Discard, "", 0)}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(ln)
		}()
		defer func() {
			// What a dead process had written is still in the socket: the response
			// is read to its end before the listener goes.
			e.posts.Wait()
			_ = server.Close()
			<-served
		}()
		err = e.start(ln.Addr().String())
	}
	if err != nil {
		e.exitText = err.Error()
		close(e.logs.done)
	} else {
		e.wait()
	}
	close(e.exited)
	e.afterExit()
}

func (e *environment) start(address string) error {
	spec := e.pool.spec
	opts := e.pool.host.opts
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := exec.Command(spec.Binary)
	cmd.Dir = filepath.Dir(spec.Binary)
	cmd.Env = childEnv(spec, opts.Region, address, opts.Clock.Now(), strings.ReplaceAll(NewRequestID(), "-", ""))
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = processAttributes()
	err = e.pool.host.spawner.start(cmd)
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		return err
	}
	go func() {
		e.logs.copy(r, cmd.Process.Pid, e.pool.log)
		_ = r.Close()
	}()
	e.process.Lock()
	e.process.handle = cmd.Process
	doomed := e.process.doomed
	e.process.Unlock()

	e.pool.mu.Lock()
	e.pid = cmd.Process.Pid
	close(e.known)
	if e.state == stateStarting {
		e.timer = time.AfterFunc(initTimeout, e.startTooSlow)
	}
	e.pool.mu.Unlock()
	if doomed {
		e.kill()
	}
	return nil
}

// wait reaps the process.
func (e *environment) wait() {
	state, err := e.process.handle.Wait()
	e.process.Lock()
	// The group outlives its leader when the function started something itself.
	killGroup(e.process.handle)
	e.process.reaped = true
	e.process.Unlock()
	if err != nil {
		e.exitText = err.Error()
		return
	}
	e.exitText = state.String()
}

// afterExit tells the pool, and whoever waits for this process, that it ended.
func (e *environment) afterExit() {
	p := e.pool
	failedStart, victim := p.gone(e)
	p.mu.Lock()
	current, delivered, claimed, answered := e.current, e.delivered, e.claimed, !e.answered.IsZero()
	report, dying := e.initReport, e.dying
	p.mu.Unlock()
	switch {
	case failedStart:
		e.reportFailedStart(report, victim)
	case current != nil && delivered && !answered && !dying:
		p.host.report("function %s (pid %d) crashed during a call: %s; output: %s", p.spec.Name, e.pid, e.exitText, p.log.path)
		// While a response is being read, its reader sees the end itself.
		if !claimed {
			current.fail(e.crashError(current))
		}
	}
}

func (e *environment) reportFailedStart(report string, victim *invocation) {
	select {
	case <-e.logs.done:
	case <-time.After(lastLogsWait):
	}
	cause := e.exitText
	if report != "" {
		cause = report
	}
	lines := e.logs.last()
	message := fmt.Sprintf("function %s (pid %d) failed to start: %s", e.pool.spec.Name, e.pid, cause)
	if len(lines) > 0 {
		message += "; its last output:\n  " + strings.Join(lines, "\n  ")
	}
	e.pool.host.report("%s", message)
	if victim == nil {
		return
	}
	text := "Runtime exited before its first event: " + cause
	if len(lines) > 0 {
		last := lines[len(lines)-1]
		text += "; last output: " + last[:min(len(last), reportedLine)]
	}
	victim.fail(newError(ErrInit, e.pool.spec.Name, victim.id, "Runtime.ExitError", text))
}

func (e *environment) crashError(v *invocation) error {
	return newError(ErrCrashed, e.pool.spec.Name, v.id, "Runtime.ExitError", "Runtime exited with error: "+e.exitText)
}

// deadlineReached ends a call that took too long, and its process with it.
func (e *environment) deadlineReached(v *invocation) {
	p := e.pool
	p.mu.Lock()
	if e.current != v || e.dying {
		p.mu.Unlock()
		return
	}
	e.dying = true
	pid := e.pid
	p.mu.Unlock()
	text := fmt.Sprintf("Task timed out after %.2f seconds", p.spec.Timeout.Seconds())
	p.host.report("function %s (pid %d): %s", p.spec.Name, pid, text)
	v.fail(newError(ErrTimeout, p.spec.Name, v.id, "Sandbox.Timedout", text))
	e.terminate()
}

func (e *environment) startTooSlow() {
	e.pool.mu.Lock()
	late := e.state == stateStarting
	if late && e.initReport == "" {
		e.initReport = fmt.Sprintf("it did not ask for an event within %v", initTimeout)
	}
	e.pool.mu.Unlock()
	if late {
		e.kill()
	}
}

// stopTimer is called with pool.mu held.
func (e *environment) stopTimer() {
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
}

// terminate ends the process as Lambda does: SIGKILL, preceded by SIGTERM only
// for one that registered an extension.
func (e *environment) terminate() {
	e.pool.mu.Lock()
	polite := e.extension
	e.pool.mu.Unlock()
	if !polite {
		e.kill()
		return
	}
	e.process.Lock()
	if e.process.handle != nil && !e.process.reaped {
		terminateGroup(e.process.handle)
	}
	e.process.Unlock()
	e.pool.host.after(terminateGrace, e.kill)
}

func (e *environment) kill() {
	e.process.Lock()
	defer e.process.Unlock()
	e.process.doomed = true
	if e.process.handle != nil && !e.process.reaped {
		killGroup(e.process.handle)
	}
}
