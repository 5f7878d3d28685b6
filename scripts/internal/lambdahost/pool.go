package lambdahost

import (
	"slices"
	"sync"
	"time"
)

const (
	// answeredGrace: an environment that has sent its response but not yet asked
	// for the next event is about to be free; waiting callers count on it for
	// this long before a further process is started.
	answeredGrace = time.Second
	minBackoff    = 100 * time.Millisecond
	maxBackoff    = 2 * time.Second
)

type environmentState int

const (
	stateStarting environmentState = iota
	stateIdle
	stateBusy
)

func (s environmentState) String() string {
	return [...]string{"starting", "idle", "busy"}[s]
}

// pool is the queue and the environments of one function. All fields below mu,
// and the fields so marked in environment, are guarded by it.
type pool struct {
	host *Host
	spec Spec
	log  *functionLog
	life sync.WaitGroup // one per environment, until its process is gone

	mu       sync.Mutex
	queue    []*invocation
	envs     []*environment // in order of start
	idle     []*environment // most recently used last
	starting int
	closed   bool

	startFailures int // in a row
	notBefore     time.Time
	lastFailure   string
}

func newPool(h *Host, spec Spec, log *functionLog) *pool {
	return &pool{host: h, spec: spec, log: log}
}

func (p *pool) closedError() error {
	return &Error{Reason: ErrClosed, Function: p.spec.Name, Type: "Local.Closed", Message: "the local stack is shutting down"}
}

func (p *pool) enqueue(v *invocation) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return p.closedError()
	}
	p.queue = append(p.queue, v)
	p.pump()
	return nil
}

// withdraw takes a call out of the queue; false means that it has been
// assigned or decided.
func (p *pool) withdraw(v *invocation) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.queue, v)
	if i < 0 {
		return false
	}
	p.queue = slices.Delete(p.queue, i, i+1)
	return true
}

// throttled is the error of a call that waited too long: for a function that
// cannot even start, the reason is its start failure.
func (p *pool) throttled() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.startFailures > 0 && len(p.envs) == p.starting {
		return &Error{Reason: ErrInit, Function: p.spec.Name, Type: "Runtime.ExitError", Message: p.lastFailure}
	}
	return &Error{Reason: ErrThrottled, Function: p.spec.Name, Type: "TooManyRequestsException", Message: "Rate Exceeded."}
}

// pump assigns idle environments and starts what the rest of the queue needs.
// The caller holds mu.
func (p *pool) pump() {
	if p.closed {
		return
	}
	for len(p.queue) > 0 && len(p.idle) > 0 {
		e := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		v := p.queue[0]
		p.queue = slices.Delete(p.queue, 0, 1)
		p.assign(e, v)
	}
	need := len(p.queue) - p.starting
	if need <= 0 || len(p.envs) >= p.spec.MaxEnvironments {
		return
	}
	now := time.Now()
	if wait := p.notBefore.Sub(now); wait > 0 {
		p.pumpAfter(wait)
		return
	}
	need -= p.almostFree(now)
	for ; need > 0 && len(p.envs) < p.spec.MaxEnvironments; need-- {
		p.startOne()
	}
}

// almostFree counts the environments that will be free in a moment and sees to
// it that the queue is looked at again when one of them is not.
func (p *pool) almostFree(now time.Time) int {
	n := 0
	for _, e := range p.envs {
		if e.state == stateBusy && !e.answered.IsZero() && !e.dying && now.Sub(e.answered) < answeredGrace {
			n++
			if !e.watched {
				e.watched = true
				p.pumpAfter(answeredGrace - now.Sub(e.answered))
			}
		}
	}
	return n
}

func (p *pool) pumpAfter(d time.Duration) {
	time.AfterFunc(d+time.Millisecond, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pump()
	})
}

func (p *pool) startOne() {
	e := newEnvironment(p)
	p.envs = append(p.envs, e)
	p.starting++
	p.life.Add(1)
	go func() {
		defer p.life.Done()
		e.run()
	}()
}

// assign gives a call to an idle environment. Its time runs from here: delivery
// is a matter of microseconds, and a process that never takes it must not hold
// the caller for ever.
func (p *pool) assign(e *environment, v *invocation) {
	e.state, e.current = stateBusy, v
	e.delivered, e.claimed, e.watched, e.answered = false, false, false, time.Time{}
	v.deadline = time.Now().Add(p.spec.Timeout)
	e.timer = time.AfterFunc(p.spec.Timeout, func() { e.deadlineReached(v) })
	e.work <- v
}

// gone removes an environment whose process has ended. It returns the call that
// must be told about a failed start, if there is one.
func (p *pool) gone(e *environment) (failedStart bool, victim *invocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.envs, e); i >= 0 {
		p.envs = slices.Delete(p.envs, i, i+1)
	}
	if i := slices.Index(p.idle, e); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	e.ended = true
	e.stopTimer()
	switch {
	case e.state == stateStarting:
		p.starting--
		if p.closed {
			break
		}
		failedStart = true
		p.startFailures++
		p.notBefore = time.Now().Add(min(minBackoff<<min(p.startFailures-1, 10), maxBackoff))
		p.lastFailure = "Runtime exited before its first event: " + e.exitText
		if len(p.queue) > 0 {
			victim = p.queue[0]
			p.queue = slices.Delete(p.queue, 0, 1)
		}
	case e.state == stateBusy && !e.delivered && !e.dying && !p.closed:
		select {
		case v := <-e.work: // it never reached the process: somebody else can have it
			e.current = nil
			p.queue = slices.Insert(p.queue, 0, v)
		default:
		}
	}
	p.pump()
	return failedStart, victim
}

// takeBack is for an event that could not be written to the process: it waits for
// the process to ask again, or goes to another one if this one is gone.
func (p *pool) takeBack(e *environment, v *invocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !e.ended {
		e.work <- v
		return
	}
	e.current = nil
	switch {
	case p.closed:
		v.fail(p.closedError())
	case !e.dying: // a dying one has failed it already
		p.queue = slices.Insert(p.queue, 0, v)
		p.pump()
	}
}

func (p *pool) status() FunctionStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := FunctionStatus{Name: p.spec.Name, Environments: []Environment{}}
	for _, e := range p.envs {
		if e.pid == 0 {
			continue
		}
		s := Environment{PID: e.pid, State: e.state.String()}
		if e.current != nil {
			s.RequestID = e.current.id
		}
		out.Environments = append(out.Environments, s)
	}
	return out
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	queue, envs := p.queue, slices.Clone(p.envs)
	p.queue, p.idle = nil, nil
	var running []*invocation
	for _, e := range envs {
		e.dying = true
		if e.current != nil {
			running = append(running, e.current)
		}
	}
	p.mu.Unlock()
	for _, v := range append(queue, running...) {
		v.fail(p.closedError())
	}
	for _, e := range envs {
		e.terminate()
	}
	p.life.Wait()
	p.log.close()
}
