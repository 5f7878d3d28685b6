package turn_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// sign is an adapter that counts how often it shows that an answer is being made.
type sign struct {
	slack.Adapter
	mu    sync.Mutex
	shown int
	do    func(ctx context.Context, n int) (time.Duration, bool)
}

func (s *sign) Typing(ctx context.Context, c channel.Call, in channel.Envelope) (time.Duration, bool) {
	s.mu.Lock()
	s.shown++
	n := s.shown
	s.mu.Unlock()
	if in.Space != "C1" || c.HTTP == nil || c.Config.Get("team_id") != "T1" {
		panic("not the message's conversation")
	}
	return s.do(ctx, n)
}

type signs struct{ a *sign }

func (c signs) Find(id taxonomy.Channel) (channel.Entry, bool) {
	e := slack.Entry()
	e.Adapter = c.a
	return e, id == taxonomy.Slack
}

// waits are the pauses of a run, over at once. What is no pause of the vendor's does
// not end well by itself, so that no sign is shown unless a test wants it.
type waits struct {
	mu   sync.Mutex
	all  []time.Duration
	hold func(ctx context.Context, d time.Duration) bool
}

func (w *waits) wait(ctx context.Context, d time.Duration) bool {
	w.mu.Lock()
	w.all = append(w.all, d)
	w.mu.Unlock()
	if w.hold != nil {
		return w.hold(ctx, d)
	}
	return d != time.Second && ctx.Err() == nil
}

func (e *env) withSign(do func(ctx context.Context, n int) (time.Duration, bool)) *sign {
	a := &sign{do: do}
	e.waits.hold = func(ctx context.Context, _ time.Duration) bool { return ctx.Err() == nil }
	e.deps.Catalog = signs{a}
	e.run = turn.New(e.deps)
	return a
}

func (e *env) answered() {
	e.Helper()
	if got, parts := e.state("Ev1"); got.State != session.TurnDone || len(parts) != 1 || parts[0].State != session.Sent || len(e.vendor.posts) != 1 {
		e.Errorf("%+v %+v %q", got, parts, e.audit.codes)
	}
}

// TestSignWhileTheModelThinks: shown anew as long as the model takes, and no longer.
func TestSignWhileTheModelThinks(t *testing.T) {
	e := newEnv(t)
	thrice := make(chan struct{})
	a := e.withSign(func(_ context.Context, n int) (time.Duration, bool) {
		if n == 3 {
			close(thrice)
			return 0, true
		}
		return 4 * time.Second, true
	})
	e.model.onAnswer = func() { <-thrice }
	e.deliver(e.job, 1)
	e.answered()
	if want := []time.Duration{time.Second, 4 * time.Second, 4 * time.Second}; a.shown != 3 || !slices.Equal(e.waits.all, want) {
		t.Errorf("%d signs, waits %v", a.shown, e.waits.all)
	}
}

// TestFastAnswersShowNoSign: a model that answers within a second costs no call.
func TestFastAnswersShowNoSign(t *testing.T) {
	e := newEnv(t)
	a := e.withSign(func(context.Context, int) (time.Duration, bool) { return 0, true })
	e.waits.hold = func(ctx context.Context, _ time.Duration) bool { <-ctx.Done(); return false }
	e.deliver(e.job, 1)
	e.answered()
	if a.shown != 0 {
		t.Errorf("%d signs", a.shown)
	}
}

// TestSignsNeverHarm: whatever happens to a sign, the answer goes out, once, and does
// not wait for it.
func TestSignsNeverHarm(t *testing.T) {
	for name, do := range map[string]func(ctx context.Context, n int) (time.Duration, bool){
		"refused": func(context.Context, int) (time.Duration, bool) { return time.Second, false },
		"panics":  func(context.Context, int) (time.Duration, bool) { panic("x") },
		"hangs":   func(ctx context.Context, _ int) (time.Duration, bool) { <-ctx.Done(); return 0, false },
		"endless": func(context.Context, int) (time.Duration, bool) { return time.Nanosecond, true },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			enough := make(chan struct{})
			var once sync.Once
			a := e.withSign(func(ctx context.Context, n int) (time.Duration, bool) {
				if name != "endless" || n == 30 {
					once.Do(func() { close(enough) })
				}
				return do(ctx, n)
			})
			e.model.onAnswer = func() { <-enough }
			e.deliver(e.job, 1)
			e.answered()
			if a.shown != 1 && (name != "endless" || a.shown != 30) {
				t.Errorf("%d signs", a.shown)
			}
		})
	}
	e := newEnv(t)
	a := e.withSign(func(context.Context, int) (time.Duration, bool) { return 0, true })
	opened := make(chan struct{})
	var once sync.Once
	e.tokens.err, e.tokens.asked = errors.New("vault down"), func() { once.Do(func() { close(opened) }) }
	e.model.onAnswer = func() { <-opened }
	if r := e.deliver(e.job, 1); !r.Retry || a.shown != 0 {
		t.Errorf("%+v, %d signs without a token", r, a.shown)
	}
}

// TestPauses: a vendor's pause is waited for where the run has the time for it, else
// it is the queue's.
func TestPauses(t *testing.T) {
	limited := func(seconds string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", seconds)
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}
	const s = time.Second
	for name, c := range map[string]struct {
		left   time.Duration
		pauses []string
		waited []time.Duration
		retry  time.Duration
	}{
		"short":           {100 * s, []string{"3"}, []time.Duration{3 * s}, 0},
		"twice":           {100 * s, []string{"3", "7"}, []time.Duration{3 * s, 7 * s}, 0},
		"longer in sum":   {100 * s, []string{"15", "6"}, []time.Duration{15 * s}, 6 * s},
		"long":            {100 * s, []string{"21"}, nil, 21 * s},
		"no time left":    {17 * s, []string{"3"}, nil, 3 * s},
		"nobody says how": {100 * s, []string{"x"}, nil, 30 * s},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			// The answer is stored already, so that only sending takes of the time; and
			// without a known end nothing is waited for.
			e.vendor.next = append(e.vendor.next, limited("3"))
			if r := e.deliver(e.job, 1); !r.Retry || r.After != 3*s {
				t.Fatalf("without a known end: %+v", r)
			}
			for _, p := range c.pauses {
				e.vendor.next = append(e.vendor.next, limited(p))
			}
			ctx, cancel := context.WithTimeout(t.Context(), c.left)
			defer cancel()
			r := e.deliverIn(ctx, e.job, 2)
			e.waits.mu.Lock()
			got := slices.DeleteFunc(slices.Clone(e.waits.all), func(d time.Duration) bool { return d == s }) // the sign's
			e.waits.mu.Unlock()
			if r.Retry != (c.retry > 0) || c.retry > 0 && r.After != c.retry || !slices.Equal(got, c.waited) {
				t.Fatalf("%+v after %v, want %v after %v", r, got, c.retry, c.waited)
			}
			if _, parts := e.state("Ev1"); (parts[0].State == session.Sent) != (c.retry == 0) || len(e.vendor.posts) != len(c.waited)+2 {
				t.Errorf("%+v, %d posts", parts, len(e.vendor.posts))
			}
		})
	}
}
