package ledgersim

import (
	"container/heap"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/latchkey/latchkey/shared/dynamo"
)

// epoch is when virtual time begins. Any fixed time would do; entries of one run
// must lie in one month.
func epoch() time.Time { return time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC) }

// clock runs processes in virtual time: one at a time, in the order of their
// times, those of one time in the order in which they were put there. So a run
// depends on nothing but its seed.
type clock struct {
	now   time.Duration
	seq   int64
	queue waiting
	live  map[*process]bool
}

// process is one line of action; it runs on a coroutine of its own.
type process struct {
	c     *clock
	next  func() (time.Duration, bool)
	stop  func()
	yield func(time.Duration) bool
	// Of the call that the process is making.
	refusals, units int
}

type wake struct {
	at  time.Duration
	seq int64
	p   *process
}

type waiting []wake

func (w waiting) Len() int { return len(w) }
func (w waiting) Less(i, j int) bool {
	return w[i].at < w[j].at || w[i].at == w[j].at && w[i].seq < w[j].seq
}
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)   { *w = append(*w, x.(wake)) }
func (w *waiting) Pop() any {
	old := *w
	last := old[len(old)-1]
	*w = old[:len(old)-1]
	return last
}

func newClock() *clock { return &clock{live: map[*process]bool{}} }

// errEnded stops what still waits when a run is over.
var errEnded = errors.New("ledgersim: the simulation has ended")

type processKey struct{}

// start puts a process at a time from now.
func (c *clock) start(in time.Duration, run func(ctx context.Context, p *process)) {
	p := &process{c: c}
	p.next, p.stop = iter.Pull(func(yield func(time.Duration) bool) {
		p.yield = yield
		run(context.WithValue(context.Background(), processKey{}, p), p)
	})
	c.live[p] = true
	c.put(in, p)
}

func (c *clock) put(in time.Duration, p *process) {
	c.seq++
	heap.Push(&c.queue, wake{c.now + max(in, 0), c.seq, p})
}

// run goes on until a time or until nothing waits.
func (c *clock) run(until time.Duration) {
	for len(c.queue) > 0 && c.queue[0].at <= until {
		w := heap.Pop(&c.queue).(wake)
		c.now = w.at
		switch in, more := w.p.next(); {
		case !more:
			delete(c.live, w.p)
		case in != parked:
			c.put(in, w.p)
		}
	}
	c.now = until
}

// end stops what is left.
func (c *clock) end() {
	for p := range c.live {
		p.stop()
	}
	c.queue, c.live = nil, nil
}

// parked makes a process wait until somebody puts it back.
const parked = time.Duration(-1)

// each does n things, a few at once, and returns when all are done.
func each(ctx context.Context, n int, do func(ctx context.Context, i int)) {
	p := processOf(ctx)
	if p == nil {
		for i := range n {
			do(ctx, i)
		}
		return
	}
	next, running := 0, min(n, dynamo.AtOnce)
	for range running {
		p.c.start(0, func(ctx context.Context, child *process) {
			for next < n {
				i := next
				next++
				do(ctx, i)
			}
			p.refusals += child.refusals
			if running--; running == 0 {
				p.c.put(0, p)
			}
		})
	}
	if running > 0 {
		p.yield(parked)
	}
}

// sleep returns false when the run is over.
func (p *process) sleep(d time.Duration) bool { return p.yield(max(d, 0)) }

func (c *clock) time() time.Time { return epoch().Add(c.now) }

// processOf is nil outside of the simulation: then everything happens at once.
func processOf(ctx context.Context) *process {
	p, _ := ctx.Value(processKey{}).(*process)
	return p
}

// wait is the pause of the code under test.
func wait(ctx context.Context, d time.Duration) error {
	p := processOf(ctx)
	if p != nil && !p.sleep(d) {
		return errEnded
	}
	return nil
}
