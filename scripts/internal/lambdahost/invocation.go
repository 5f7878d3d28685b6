package lambdahost

import (
	"io"
	"sync"
	"time"
)

// invocation is one call, from its arrival until its outcome. The queue
// position belongs to the pool; the outcome is guarded here.
type invocation struct {
	id       string
	trace    string
	function string
	event    []byte
	stream   bool         // the caller wants a prelude and a live body
	outcome  chan outcome // buffered: exactly one is ever sent
	deadline time.Time    // set by the pool when an environment is assigned

	mu      sync.Mutex
	settled bool
	body    *io.PipeWriter // open streamed body
}

type outcome struct {
	result Result
	stream *Stream
	err    error
}

func newInvocation(function, trace string, event []byte, stream bool) *invocation {
	return &invocation{
		id: NewRequestID(), trace: trace, function: function, event: event, stream: stream,
		outcome: make(chan outcome, 1),
	}
}

// settle sends the outcome unless there is one already.
func (v *invocation) settle(o outcome) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.settled {
		return false
	}
	v.settled = true
	v.outcome <- o
	return true
}

// open settles with a stream whose body is fed through the returned writer. It
// reports false when nobody waits for it any more.
func (v *invocation) open(s *Stream) (*io.PipeWriter, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.settled {
		return nil, false
	}
	pr, pw := io.Pipe()
	s.Body = pr
	v.settled, v.body = true, pw
	v.outcome <- outcome{stream: s}
	return pw, true
}

// fail makes err the outcome, or cuts a body that is under way.
func (v *invocation) fail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.settled {
		v.settled = true
		v.outcome <- outcome{err: err}
		return
	}
	if v.body != nil {
		_ = v.body.CloseWithError(err) // no effect on a body that ended before
	}
}

// abandon is called by a caller that stops waiting: whatever comes is drained.
func (v *invocation) abandon() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.settled {
		v.settled = true
		return
	}
	select {
	case o := <-v.outcome:
		if o.stream != nil {
			_ = o.stream.Body.Close()
		}
	default:
	}
}
