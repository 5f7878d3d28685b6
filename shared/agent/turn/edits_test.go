package turn_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// board is an adapter that keeps messages as a vendor does.
type board struct {
	slack.Adapter
	mu    sync.Mutex
	texts []string // by message: m1, m2 …
	calls []string
	ended chan struct{}
	// do is asked before the n-th call counts: what it returns is the call's end, and
	// applied says whether the vendor did it all the same.
	do func(n int) (f *channel.Failure, applied bool)
}

func (b *board) call(id, text string) (string, *channel.Failure) {
	defer func() { b.ended <- struct{}{} }()
	b.mu.Lock()
	b.calls = append(b.calls, strings.TrimSpace(id+" "+text))
	n := len(b.calls)
	b.mu.Unlock()
	var f *channel.Failure
	applied := true
	if b.do != nil {
		f, applied = b.do(n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if applied || f == nil {
		if id == "" {
			b.texts = append(b.texts, text)
			id = fmt.Sprintf("m%d", len(b.texts))
		} else {
			var k int
			_, _ = fmt.Sscanf(id, "m%d", &k)
			b.texts[k-1] = text
		}
	}
	return id, f
}

func (b *board) Send(_ context.Context, _ channel.Call, out channel.Outgoing) (string, *channel.Failure) {
	return b.call("", out.Text)
}

func (b *board) Edit(_ context.Context, _ channel.Call, out channel.Outgoing, id string) *channel.Failure {
	_, f := b.call(id, out.Text)
	return f
}

type boards struct{ b *board }

func (c boards) Find(id taxonomy.Channel) (channel.Entry, bool) {
	e := slack.Entry()
	e.Adapter = c.b
	return e, id == taxonomy.Slack
}

// edits makes the install show growing answers; the model says the states one after
// another, each when the one before was shown.
func (e *env) edits(states ...string) *board {
	e.Helper()
	b := &board{ended: make(chan struct{}, 64)}
	e.deps.Catalog = boards{b}
	e.run = turn.New(e.deps)
	i, _, err := e.installs.Install(e.Context(), "i1")
	if err != nil {
		e.Fatal(err)
	}
	next := i
	next.Policy.Streaming, next.Version = install.StreamEdits, i.Version+1
	if err := e.installs.UpdateInstall(e.Context(), i, next, audit.Row{}); err != nil {
		e.Fatal(err)
	}
	e.model.onAnswer = func() { e.grow(b, states...) }
	return b
}

func (e *env) grow(b *board, states ...string) {
	q := e.model.asked[len(e.model.asked)-1]
	if q.Grown == nil {
		return
	}
	for _, s := range states {
		q.Grown(s)
		select {
		case <-b.ended:
		case <-time.After(10 * time.Second):
			e.Errorf("%q was never shown: %q", s, b.calls)
			return
		}
	}
}

func (e *env) said(b *board, calls, texts []string) {
	e.Helper()
	if !slices.Equal(b.calls, calls) || !slices.Equal(b.texts, texts) {
		e.Errorf("calls %q, want %q; messages %q, want %q; %q", b.calls, calls, b.texts, texts, e.audit.codes)
	}
}

// TestAnswerGrowsInOneMessage: the states and the answer are one message, what does not
// fit follows as its own.
func TestAnswerGrowsInOneMessage(t *testing.T) {
	e := newEnv(t)
	b := e.edits("the", "the an", "the ans")
	e.deliver(e.job, 1)
	e.said(b, []string{"the", "m1 the an", "m1 the ans", "m1 the answer"}, []string{"the answer"})
	got, parts := e.state("Ev1")
	if got.State != session.TurnDone || len(parts) != 1 || parts[0].State != session.Sent || parts[0].ProviderMessageID != "m1" {
		t.Errorf("%+v %+v", got, parts)
	}
	e.model.wantPosted(t, true)
	for _, d := range e.waits.all {
		if d != time.Second && d < 1200*time.Millisecond { // a second is the sign's
			t.Errorf("a pause of %v between two states", d)
		}
	}
	e = newEnv(t)
	b = e.edits("a")
	long := strings.Repeat("a", 3000)
	e.model.answer.Text = long + "\n\n" + strings.Repeat("b", 3000)
	e.deliver(e.job, 1)
	if len(b.texts) != 2 || b.texts[0] != long || !strings.HasPrefix(b.texts[1], "bbb") || !strings.HasPrefix(b.calls[1], "m1 ") {
		t.Errorf("%.20q", b.texts)
	}
}

// TestNothingGrowsUnlessAsked: neither by default nor beside speech.
func TestNothingGrowsUnlessAsked(t *testing.T) {
	e := newEnv(t)
	e.deliver(e.job, 1)
	if e.model.asked[0].Grown != nil {
		t.Error("the default streams")
	}
	e = newEnv(t)
	b := e.edits("the")
	e.waits.hold = func(ctx context.Context, _ time.Duration) bool { <-ctx.Done(); return false }
	e.model.onAnswer = func() { e.model.asked[0].Grown("the") }
	e.deliver(e.job, 1)
	e.said(b, []string{"the answer"}, []string{"the answer"}) // it was faster than the pause
}

// TestDraftOfUnknownFate: a first state that may have been posted is never posted again,
// by this run or by another.
func TestDraftOfUnknownFate(t *testing.T) {
	for name, died := range map[string]bool{"no answer": false, "killed": true} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			b, more := e.edits("the"), strings.Repeat("b", 3000)
			b.do = func(n int) (*channel.Failure, bool) {
				if n == 1 {
					return &channel.Failure{Certainty: channel.Ambiguous, Code: "transport"}, true
				}
				return nil, true
			}
			e.model.answer.Text = strings.Repeat("a", 3000) + "\n\n" + more
			if died {
				grow := e.model.onAnswer
				e.model.onAnswer = func() { grow(); panic(crash{}) }
				e.die(e.job, 1)
				e.model.onAnswer = grow
			}
			e.deliver(e.job, 2)
			e.said(b, []string{"the", more}, []string{"the", more})
			if _, parts := e.state("Ev1"); parts[0].State != session.Unknown || parts[0].Code != "interrupted" || parts[1].State != session.Sent {
				t.Errorf("%+v", parts)
			}
			e.audited("reply.unknown interrupted")
		})
	}
}

// TestDraftThatWasNotPosted: the answer is posted as ever.
func TestDraftThatWasNotPosted(t *testing.T) {
	for _, c := range []channel.Certainty{channel.Refused, channel.RateLimited, channel.NotSent} {
		e := newEnv(t)
		b := e.edits("the")
		b.do = func(n int) (*channel.Failure, bool) {
			if n == 1 {
				return &channel.Failure{Certainty: c, Code: "x", RetryAfter: time.Second}, false
			}
			return nil, true
		}
		e.deliver(e.job, 1)
		e.said(b, []string{"the", "the answer"}, []string{"the answer"})
	}
}

// TestDraftThatWasNotStored: a store that fails before the first post keeps nothing
// from being answered.
func TestDraftThatWasNotStored(t *testing.T) {
	e := newEnv(t)
	b := e.edits("the")
	tried := make(chan struct{})
	e.model.onAnswer = func() {
		e.model.asked[0].Grown("the")
		select {
		case <-tried:
		case <-time.After(10 * time.Second):
			t.Error("nothing was shown")
		}
	}
	once := false
	e.store.Fail = func(m string) error {
		if m == "Step" && !once {
			once = true
			defer close(tried)
			return fault.New(fault.Unavailable, "", "throttled")
		}
		return nil
	}
	e.deliver(e.job, 1)
	e.said(b, []string{"the answer"}, []string{"the answer"})
}

// TestShownButNoAnswer: a draft of an earlier call does not stand for an answer that
// the model did not give.
func TestShownButNoAnswer(t *testing.T) {
	e := newEnv(t)
	b := e.edits("Let me look")
	e.model.answer.Text = " \n"
	e.deliver(e.job, 1)
	e.said(b, []string{"Let me look", "m1 " + turn.NoticeBroken}, []string{turn.NoticeBroken})
	if got, _ := e.state("Ev1"); got.State != session.TurnEnded || got.Code != string(turn.AnswerEmpty) {
		t.Errorf("%+v", got)
	}
}

// TestEditsThatFail: the turn does not suffer, and the vendor's pause is kept.
func TestEditsThatFail(t *testing.T) {
	for name, f := range map[string]channel.Failure{
		"limited":   {Certainty: channel.RateLimited, Code: "ratelimited", RetryAfter: 7 * time.Second},
		"ambiguous": {Certainty: channel.Ambiguous, Code: "transport"},
		"refused":   {Certainty: channel.Refused, Code: "cant_update_message"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			b := e.edits("the", "the an")
			b.do = func(n int) (*channel.Failure, bool) {
				if n == 2 {
					return &f, false
				}
				return nil, true
			}
			shown := []string{"the", "m1 the an", "m1 the answer"}
			if name != "refused" {
				states := e.model.onAnswer
				e.model.onAnswer = func() { states(); e.grow(b, "the an") } // the same state again
				shown = slices.Insert(shown, 2, "m1 the an")
			}
			e.deliver(e.job, 1)
			e.said(b, shown, []string{"the answer"})
			if waited := slices.Contains(e.waits.all, 7*time.Second); waited != (name == "limited") {
				t.Errorf("waits %v", e.waits.all)
			}
			e.audited("reply.edit_failed " + f.Code)
		})
	}
}

// TestKilledWhileItGrows: the next run edits the message that is there, wherever the
// first one died.
func TestKilledWhileItGrows(t *testing.T) {
	t.Run("in the model call", func(t *testing.T) {
		e := newEnv(t)
		b := e.edits("the", "the an")
		grow := e.model.onAnswer
		e.model.onAnswer = func() { grow(); panic(crash{}) }
		e.die(e.job, 1)
		e.model.onAnswer = grow
		e.deliver(e.job, 2)
		e.said(b, []string{"the", "m1 the an", "m1 the", "m1 the an", "m1 the answer"}, []string{"the answer"})
	})
	t.Run("in the last edit", func(t *testing.T) {
		e := newEnv(t)
		b := e.edits("the")
		b.do = func(n int) (*channel.Failure, bool) {
			if n == 2 {
				panic(crash{})
			}
			return nil, true
		}
		e.die(e.job, 1)
		if _, parts := e.state("Ev1"); parts[0].State != session.Claimed {
			t.Fatalf("%+v", parts)
		}
		e.deliver(e.job, 2)
		e.said(b, []string{"the", "m1 the answer", "m1 the answer"}, []string{"the answer"})
		if _, parts := e.state("Ev1"); parts[0].State != session.Sent || len(e.model.asked) != 1 {
			t.Errorf("%+v, asked %d", parts, len(e.model.asked))
		}
	})
	t.Run("before it was stored", func(t *testing.T) {
		e := newEnv(t)
		b := e.edits("the")
		steps := 0
		e.store.Fail = func(op string) error {
			if op == "Step" {
				if steps++; steps == 2 {
					return errors.New("down")
				}
			}
			return nil
		}
		grow := e.model.onAnswer
		e.model.onAnswer = func() { grow(); panic(crash{}) }
		e.die(e.job, 1)
		e.model.onAnswer = grow
		e.deliver(e.job, 2)
		e.said(b, []string{"the"}, []string{"the"})
		e.audited("reply.unknown interrupted")
	})
}

// TestLastEditIsRepeated: replacing is no posting, so an unknown fate is no end.
func TestLastEditIsRepeated(t *testing.T) {
	e := newEnv(t)
	b := e.edits("the")
	b.do = func(n int) (*channel.Failure, bool) {
		if n == 2 {
			return &channel.Failure{Certainty: channel.Ambiguous, Code: "transport"}, true
		}
		return nil, true
	}
	if r := e.deliver(e.job, 1); !r.Retry {
		t.Errorf("%+v", r)
	}
	e.deliver(e.job, 2)
	e.said(b, []string{"the", "m1 the answer", "m1 the answer"}, []string{"the answer"})
	if _, parts := e.state("Ev1"); parts[0].State != session.Sent {
		t.Errorf("%+v", parts)
	}
}

// TestGrowingAnswerWithoutEnd: who saw half an answer is told that there is no more, in
// the same message; who deleted it does not get it again.
func TestGrowingAnswerWithoutEnd(t *testing.T) {
	e := newEnv(t)
	b := e.edits("the")
	e.model.err = fault.New(fault.ContentFiltered, "", "filtered")
	e.deliver(e.job, 1)
	e.said(b, []string{"the", "m1 " + turn.NoticeBroken}, []string{turn.NoticeBroken})

	// Also of an organisation that was suspended meanwhile, for which nothing new is posted.
	e = newEnv(t)
	b = e.edits("the")
	e.model.err = fault.New(fault.ScopeMissing, "", "suspended")
	e.deliver(e.job, 1)
	e.said(b, []string{"the", "m1 " + turn.NoticeBroken}, []string{turn.NoticeBroken})

	e = newEnv(t)
	b = e.edits("the")
	b.do = func(n int) (*channel.Failure, bool) {
		if n == 2 {
			return &channel.Failure{Certainty: channel.Refused, Code: channel.MessageGone}, false
		}
		return nil, true
	}
	e.deliver(e.job, 1)
	e.said(b, []string{"the", "m1 the answer"}, []string{"the"})
	if _, parts := e.state("Ev1"); parts[0].State != session.Dropped {
		t.Errorf("%+v", parts)
	}
}

// TestInstallIsAskedBeforeItGrows: what was revoked since shows nothing.
func TestInstallIsAskedBeforeItGrows(t *testing.T) {
	e := newEnv(t)
	b := e.edits()
	e.model.onAnswer = func() {
		i, _, _ := e.installs.Install(e.Context(), "i1")
		_ = revoker{e.installs}.RevokedByVendor(e.Context(), audit.Op{}, i)
		e.model.asked[0].Grown("the")
		select {
		case <-b.ended:
			t.Error("it was shown")
		case <-time.After(200 * time.Millisecond):
		}
	}
	e.deliver(e.job, 1)
	e.said(b, nil, nil)
}

// TestLastStateWins: the answer waits for the edit that is under way.
func TestLastStateWins(t *testing.T) {
	e := newEnv(t)
	b := e.edits()
	second, third := make(chan struct{}), make(chan struct{})
	b.do = func(n int) (*channel.Failure, bool) {
		switch n {
		case 2:
			close(second)
			select {
			case <-third:
				t.Error("the answer overtook an edit")
			case <-time.After(100 * time.Millisecond):
			}
		case 3:
			close(third)
		}
		return nil, true
	}
	e.model.onAnswer = func() {
		e.grow(b, "the")
		e.model.asked[0].Grown("the an")
		<-second
	}
	e.deliver(e.job, 1)
	e.said(b, []string{"the", "m1 the an", "m1 the answer"}, []string{"the answer"})
}
