package deliveries

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// beyondVisibility is longer than a message stays invisible after its function
// died.
const beyondVisibility = 250 * time.Second

// beyondMemory is longer than the queue remembers a message's id, too. A request
// that is signed before and judged after such a step is too old.
const beyondMemory = 310 * time.Second

// counts are what a run did, for its report.
type counts struct {
	requests, retries, refused        atomic.Int64
	turnKills, webhookKills, frozen   atomic.Int64
	asleep                            atomic.Int64 // webhook processes that slept through the queue's memory
	enqueueFaults                     atomic.Int64
	givenUp                           atomic.Int64 // messages of vendors that do not ask again
	repeats                           atomic.Int64 // requests of a message that had been accepted
	overtaken                         atomic.Int64 // a later message of its conversation was accepted before it
	accepted, sent, unknown, failed   int
	taken                             int
	visible, visibleUnknown, repeated int
}

// run is a plan being played.
type run struct {
	w      *world
	p      *plan
	c      counts
	tick   atomic.Int64
	slots  chan struct{}
	mu     sync.Mutex
	broken []string
	// killing is on in the waves that may kill turns.
	killing atomic.Bool
	at      atomic.Int64 // the wave that is played, from 1
	shifts  atomic.Int64
	shifted time.Duration
}

func (r *run) wrong(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = append(r.broken, fmt.Sprintf(format, args...))
}

// play sends everything, wave by wave, and brings the stack to rest.
func (r *run) play(ctx context.Context) error {
	r.slots = make(chan struct{}, 16)
	r.w.vendor.mu.Lock()
	r.w.vendor.kill = r.killTurns
	r.w.vendor.mu.Unlock()
	waves := 3 * r.p.size.cycles
	for wave := range waves {
		r.at.Store(int64(wave + 1))
		var err error
		if wave%3 != 2 {
			err = r.refuseEnqueues(ctx)
		}
		switch {
		case err != nil:
		case wave%3 == 0:
			err = r.killed(ctx, wave)
		case wave%3 == 1:
			err = r.frozen(ctx, wave)
		default:
			err = r.wave(ctx, wave)
		}
		if err != nil {
			return err
		}
	}
	return r.rest(ctx)
}

// refuseEnqueues makes the queue refuse or forget to answer some messages; the
// AWS client repeats a call, so single refusals are not seen by a vendor.
func (r *run) refuseEnqueues(ctx context.Context) error {
	n := r.p.size.enqueueFaults
	r.c.enqueueFaults.Add(int64(n))
	for _, f := range []map[string]any{
		{"service": "sqs", "operation": "SendMessage", "function": "webhook", "error": "unavailable", "count": n - n/3},
		{"service": "dynamodb", "operation": "PutItem", "function": "webhook", "error": "unavailable", "count": n / 6},
		{"service": "sqs", "operation": "SendMessage", "function": "webhook", "error": "timeout_after_commit", "count": n / 6},
	} {
		if err := r.w.local(ctx, "/faults", f); err != nil {
			return err
		}
	}
	return nil
}

// wave sends the messages of a wave, each conversation for itself, with the
// repeats that are due. Kills come with the deliveries of the queue.
func (r *run) wave(ctx context.Context, wave int) error {
	done := make(chan struct{})
	var killer sync.WaitGroup
	if r.killing.Load() {
		killer.Go(func() { r.killSome(ctx, done, wave) })
	}
	var group sync.WaitGroup
	for _, t := range r.p.talks {
		dice := rand.New(rand.NewPCG(uint64(wave), uint64(t.n)))
		group.Go(func() { r.converse(ctx, t, wave, dice) })
	}
	group.Wait()
	err := r.w.until(ctx, fmt.Sprintf("the queue comes to rest in wave %d", wave+1), r.quiet(ctx, !r.killing.Load()))
	close(done)
	killer.Wait()
	return err
}

// quiet reports, when it was true for a while, that nothing runs: what is left
// waits behind messages whose processes were killed. With empty nothing may be
// left.
func (r *run) quiet(ctx context.Context, empty bool) func() bool {
	idle := r.settled(ctx, nil)
	return func() bool {
		visible, inFlight := r.w.backlog()
		return visible+inFlight == 0 || !empty && idle()
	}
}

// killSome ends processes as work proceeds: turns by what the queue delivers,
// webhooks by what is sent.
func (r *run) killSome(ctx context.Context, done <-chan struct{}, wave int) {
	dice := rand.New(rand.NewPCG(uint64(wave), 5))
	every := int64(r.p.size.every)
	turns, hooks := r.w.received.Load()+every, r.c.requests.Load()+every
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(1+dice.IntN(4)) * time.Millisecond):
		}
		if r.w.received.Load() >= turns {
			if pids := r.busy(ctx, "turn"); len(pids) > 0 {
				r.c.turnKills.Add(int64(signal(pids[dice.IntN(len(pids)):][:1], syscall.SIGKILL)))
				turns = r.w.received.Load() + every/2 + dice.Int64N(every)
			}
		}
		if r.c.requests.Load() >= hooks {
			if pids := r.busy(ctx, "webhook"); len(pids) > 0 {
				r.c.webhookKills.Add(int64(signal(pids[dice.IntN(len(pids)):][:1], syscall.SIGKILL)))
				hooks = r.c.requests.Load() + every/2 + dice.Int64N(every)
			}
		}
	}
}

// busy lists the processes of a function that run a call. That the stack does not
// tell them is a fault of the run: nobody would be killed.
func (r *run) busy(ctx context.Context, function string) []int {
	return r.processes(ctx, function, "busy")
}

func (r *run) processes(ctx context.Context, function, state string) []int {
	pids, err := stack.Client{Base: r.w.BaseURL}.Processes(ctx, function, state)
	if err != nil && ctx.Err() == nil {
		r.wrong("which processes are %s: %v", state, err)
	}
	return pids
}

// killTurns ends every turn process that runs, if this wave kills.
func (r *run) killTurns() bool {
	if !r.killing.Load() {
		return false
	}
	r.c.turnKills.Add(int64(signal(r.busy(context.Background(), "turn"), syscall.SIGKILL)))
	return true
}

// converse sends a conversation's messages of a wave in order. A message that was
// not accepted is tried again a few messages later, as vendors do.
func (r *run) converse(ctx context.Context, t *talk, wave int, dice *rand.Rand) {
	type due struct {
		e     *event
		after int
	}
	var later []due
	again := func(now int, all bool) {
		kept := later[:0]
		for _, d := range later {
			switch {
			case d.after > now && !all:
				kept = append(kept, d)
			case !r.request(ctx, d.e) && !r.lost(d.e) && ctx.Err() == nil:
				r.c.retries.Add(1)
				kept = append(kept, due{d.e, now + 1 + dice.IntN(3)})
			}
		}
		later = kept
	}
	i := 0
	for _, e := range t.events {
		if e.wave == wave-1 {
			for range e.late {
				later = append(later, due{e, dice.IntN(4)})
			}
		}
		if e.wave != wave {
			continue
		}
		again(i, false)
		if e.behind && e.atOnce == 0 {
			later = append(later, due{e, i + 2})
		} else if !r.first(ctx, e) && !r.lost(e) {
			r.c.retries.Add(1)
			later = append(later, due{e, i + 1 + dice.IntN(3)})
		}
		for range e.soon {
			later = append(later, due{e, i + 1 + dice.IntN(10)})
		}
		i++
	}
	for tries := 0; len(later) > 0 && tries < 50 && ctx.Err() == nil; tries++ {
		again(i, true)
	}
	for _, d := range later {
		r.wrong("%s was never accepted", d.e.word)
	}
}

// lost reports, once, that the vendor gave a message up.
func (r *run) lost(e *event) bool {
	if !e.givenUp() {
		return false
	}
	r.c.givenUp.Add(1)
	return true
}

// first makes the first request of a message, with its repeats at once.
func (r *run) first(ctx context.Context, e *event) (ok bool) {
	var group sync.WaitGroup
	var any atomic.Bool
	for range 1 + e.atOnce {
		group.Go(func() {
			if r.request(ctx, e) {
				any.Store(true)
			}
		})
	}
	group.Wait()
	return any.Load()
}

// request makes one request of a message and notes when it was accepted.
func (r *run) request(ctx context.Context, e *event) bool {
	r.slots <- struct{}{}
	defer func() { <-r.slots }()
	e.mu.Lock()
	if e.began == 0 {
		e.began = r.tick.Add(1)
	}
	if e.accepted > 0 {
		r.c.repeats.Add(1)
	}
	e.requests++
	e.mu.Unlock()
	r.c.requests.Add(1)
	before := r.shifts.Load() // odd while the clock is being moved
	status := e.talk.app.deliver(ctx, e.body)
	if status != 200 {
		r.c.refused.Add(1)
		if status > 399 && status < 500 && (status != 401 || before%2 == 0 && before == r.shifts.Load()) {
			r.wrong("%s was answered %d", e.word, status)
		}
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.accepted == 0 {
		e.accepted = r.tick.Add(1)
	}
	return true
}

// killed is a wave in which processes die. What they had comes back when its
// visibility ends.
func (r *run) killed(ctx context.Context, wave int) error {
	r.killing.Store(true)
	err := r.wave(ctx, wave)
	r.killing.Store(false)
	if err == nil {
		err = r.shift(ctx, beyondVisibility)
	}
	if err != nil {
		return err
	}
	return r.drain(ctx)
}

// frozen is a wave in which turns stop at some moment, their messages become
// visible to others and are handled, and then the frozen go on: they must find
// that they were replaced. Webhook processes sleep meanwhile until the queue has
// forgotten what their repeats sent.
func (r *run) frozen(ctx context.Context, wave int) error {
	ended := make(chan error, 1)
	go func() { ended <- r.wave(ctx, wave) }()
	frozen := r.freeze(ctx, wave)
	r.c.frozen.Add(int64(len(frozen)))
	hooks := r.busy(ctx, "webhook")
	r.c.asleep.Add(int64(signal(hooks, syscall.SIGSTOP)))
	err := r.shift(ctx, beyondMemory)
	signal(hooks, syscall.SIGCONT)
	if err == nil {
		// One that had just become idle when it was frozen may be given a new message,
		// which waits for it.
		err = r.w.until(ctx, "the messages of frozen processes are handled by others", r.settled(ctx, frozen))
	}
	signal(frozen, syscall.SIGCONT)
	if err == nil {
		err = r.w.until(ctx, "frozen processes end", r.settled(ctx, nil))
	}
	if visible, inFlight := r.w.backlog(); err == nil && visible+inFlight > 0 {
		// What the host gave up meanwhile left its message invisible.
		err = r.shift(ctx, beyondVisibility)
	}
	return errors.Join(err, <-ended)
}

// freeze stops up to sixteen processes that run a turn, each at some moment after
// a model's answer: what follows is what must happen once.
func (r *run) freeze(ctx context.Context, wave int) []int {
	const most = 16
	dice := rand.New(rand.NewPCG(r.p.dice.Uint64(), uint64(wave)))
	var frozen []int
	for began := time.Now(); len(frozen) < most && time.Since(began) < freezing && ctx.Err() == nil; {
		select {
		case <-r.w.vendor.answers:
		case <-time.After(100 * time.Millisecond):
		}
		// Asked before the pause: asking takes longer than a step of a turn.
		running := r.busy(ctx, "turn")
		time.Sleep(time.Duration(dice.IntN(12)) * time.Millisecond)
		for _, pid := range running {
			if len(frozen) < most && !slices.Contains(frozen, pid) && dice.IntN(2) == 0 && signal([]int{pid}, syscall.SIGSTOP) == 1 {
				frozen = append(frozen, pid)
			}
		}
	}
	return frozen
}

// freezing bounds how long processes are looked for: the frozen must go on before
// the host gives them up.
const freezing = 10 * time.Second

// settled reports that the queue is empty, or that for a while nothing but frozen
// processes ran.
func (r *run) settled(ctx context.Context, frozen []int) func() bool {
	var since time.Time
	var before int64
	return func() bool {
		if visible, inFlight := r.w.backlog(); visible+inFlight == 0 {
			return true
		}
		// One that starts was started for a message.
		running := slices.Concat(r.busy(ctx, "turn"), r.processes(ctx, "turn", "starting"))
		others := slices.ContainsFunc(running, func(pid int) bool { return !slices.Contains(frozen, pid) })
		if n := r.w.received.Load(); others || n != before {
			since, before = time.Now(), n
		}
		return time.Since(since) > 700*time.Millisecond
	}
}

func (r *run) shift(ctx context.Context, by time.Duration) error {
	r.shifted += by
	r.shifts.Add(1)
	defer r.shifts.Add(1)
	return r.w.shift(ctx, by)
}

// drain waits until the queue is empty.
func (r *run) drain(ctx context.Context) error {
	return r.w.until(ctx, "the queue is empty after a wave without kills", r.quiet(ctx, true))
}

// rest ends everything that was left, as production would.
func (r *run) rest(ctx context.Context) error {
	if err := r.shift(ctx, beyondVisibility); err != nil {
		return err
	}
	if err := r.drain(ctx); err != nil {
		return err
	}
	return r.w.until(ctx, "nothing is held", func() bool {
		at := r.w.Clock.Now().Add(time.Hour)
		err := r.w.local(ctx, "/invoke/sweep", map[string]any{"time": at.Format(time.RFC3339), "source": "aws.events", "detail-type": "Scheduled Event", "detail": map[string]any{}})
		if err != nil {
			return false
		}
		for _, o := range r.p.orgs {
			var c struct{ Held int64 }
			if err := o.call(ctx, "GET", "/credits", nil, &c); err != nil || c.Held != 0 {
				return false
			}
		}
		return true
	})
}
