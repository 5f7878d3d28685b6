package gateway_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/speech"
)

// clock keeps what is to be done later, for the test to do.
type clock struct {
	after []time.Duration
	do    []func()
}

func (c *clock) later(d time.Duration, f func()) func() bool {
	c.after, c.do = append(c.after, d), append(c.do, f)
	return func() bool { return true }
}

func counted(in, out int64) model.Event {
	return model.Event{Kind: model.EventUsage, Usage: &model.Usage{Input: in, Output: out, Source: model.UsageProvider}}
}

// left reads one event of a stream whose client leaves then.
func (r *rig) left(steps ...any) *gateway.ChatStream {
	r.t.Helper()
	s := r.stream(steps...)
	_, err := s.Next()
	check(r.t, err)
	s.Abandon()
	return s
}

// TestClientThatLeaves: what a vendor bills anyway is read to its end, within
// bounds; what is not produced any more is not charged.
func TestClientThatLeaves(t *testing.T) {
	finish := model.Event{Kind: model.EventFinish, Finish: model.FinishStop}
	end := model.Event{Kind: model.EventEnd}
	for name, c := range map[string]struct {
		cancels   bool
		steps     []any
		kind      credit.OutcomeKind
		output    int64
		estimated bool
	}{
		"counted at the end":        {false, []any{text(400), text(400), finish, counted(10, 150), end}, credit.Completed, 150, false},
		"not counted":               {false, []any{text(400), text(400), finish, end}, credit.Completed, 200, true},
		"breaks off":                {false, []any{text(400), text(400), vendorFault(fault.ProviderError)}, credit.Partial, 200, true},
		"beyond what is held":       {false, append([]any{text(400), counted(10, 1)}, long(9)[1:]...), credit.Partial, 2100, true},
		"the vendor stops working":  {true, []any{text(400), text(400), finish, counted(10, 150), end}, credit.Partial, 100, true},
		"ends without a word of it": {false, []any{text(400), text(400)}, credit.Completed, 200, true},
	} {
		r := newRig(t)
		r.cancels = c.cancels
		var clock clock
		r.later = clock.later
		s := r.left(c.steps...)
		if len(r.used) != 1 || len(r.calls) != 1 {
			t.Fatalf("%s: %d recorded, %d calls", name, len(r.used), len(r.calls))
		}
		u := r.used[0]
		if u.Kind != c.kind || u.Reason != "client_closed" || u.Usage.OutputTokens != c.output || u.Estimated != c.estimated || u.Amount > r.holds() {
			t.Errorf("%s: %+v", name, u)
		}
		if !slices.Contains(r.log, "closed") {
			t.Errorf("%s: the vendor's stream stayed open", name)
		}
		check(t, s.Close())
		s.Abandon()
		if len(r.used) != 1 {
			t.Errorf("%s: recorded twice", name)
		}
	}
}

// TestDrainIsBounded: an answer without end, on a hold that covers it, is read for
// 4,000 tokens, and one that stands still for 30 seconds.
func TestDrainIsBounded(t *testing.T) {
	whole := func(r *rig, steps ...any) *gateway.ChatStream {
		r.script = []any{steps}
		g := r.gateway()
		m := ask("openrouter/m")
		m.Stream, m.Reasoning.Effort = true, "low"
		s, err := g.Stream(t.Context(), r.caller(g), gateway.Query{}, m)
		check(t, err)
		_, err = s.Next()
		check(t, err)
		return s
	}
	r := newRig(t)
	r.cancels = true // what is thought is not seen, so that it is read on
	whole(r, append([]any{text(400)}, long(9)[1:]...)...).Abandon()
	if u := r.used[0]; u.Kind != credit.Partial || u.Usage.OutputTokens != 100+5000 || u.Reason != "client_closed" {
		t.Errorf("without end: %+v", u)
	}

	r = newRig(t)
	var clock clock
	r.later = clock.later
	s := whole(r, text(400), text(400), func() error {
		if i := slices.Index(clock.after, 30*time.Second); i >= 0 {
			clock.do[i]() // closes the stream
			return vendorFault(fault.ProviderTimeout)
		}
		return errors.New("no timer")
	})
	s.Abandon()
	if u := r.used[0]; u.Kind != credit.Partial || u.Usage.OutputTokens != 200 || u.Reason != "client_closed" {
		t.Errorf("standing still: %+v", u)
	}
	if slices.Index(r.log, "closed") > slices.Index(r.log, "used 1 partial") {
		t.Errorf("log %v", r.log)
	}
}

// TestDrainKeepsACheckpoint: the process may end with its client.
func TestDrainKeepsACheckpoint(t *testing.T) {
	r := newRig(t)
	r.left(text(400), text(400), model.Event{Kind: model.EventEnd})
	if !slices.Equal(r.log[2:4], []string{"checkpoint 1 out=100", "used 1 completed"}) {
		t.Errorf("log %v", r.log)
	}
}

// TestCallOutlivesItsClient: the vendor's call goes on without the client, for 30
// seconds, where the answer is billed anyway; its end lies before the function's.
func TestCallOutlivesItsClient(t *testing.T) {
	for _, c := range []struct {
		name              string
		cancels, streamed bool
		goesOn            bool
	}{
		{"whole", false, false, true}, {"whole, cancelling helps streams only", true, false, true},
		{"streamed", false, true, true}, {"streamed, cancelling helps", true, true, false},
	} {
		r := newRig(t)
		r.cancels = c.cancels
		timer := make(chan func(), 1)
		r.later = func(d time.Duration, f func()) func() bool {
			if d == 30*time.Second {
				timer <- f
			}
			return func() bool { return true }
		}
		g := r.gateway()
		deadline := time.Now().Add(time.Hour)
		ctx, leave := context.WithDeadline(t.Context(), deadline)
		m := ask("openrouter/m")
		m.Stream = c.streamed
		var end func() error
		if c.streamed {
			r.script = []any{[]any{text(4), model.Event{Kind: model.EventEnd}}}
			s, err := g.Stream(ctx, r.caller(g), gateway.Query{}, m)
			check(t, err)
			end = s.Close
		} else {
			a, err := g.Complete(ctx, r.caller(g), gateway.Query{}, m)
			check(t, err)
			end = func() error { return a.Commit(ctx) }
		}
		if d, ok := r.callCtx.Deadline(); !ok || !d.Equal(deadline.Add(-5*time.Second)) {
			t.Errorf("%s: the call ends %v before the function", c.name, deadline.Sub(d))
		}
		leave()
		if c.goesOn {
			expire := <-timer
			if r.callCtx.Err() != nil {
				t.Errorf("%s: the call ended with its client", c.name)
			}
			expire()
		}
		<-r.callCtx.Done()
		check(t, end())
	}
}

// TestTranscriptionWhoseClientLeaves is read to its end, where its usage is.
func TestTranscriptionWhoseClientLeaves(t *testing.T) {
	for _, abandoned := range []bool{true, false} {
		r := newRig(t)
		r.connect("c1", "https://vendor.example", nil)
		g := r.gateway()
		s, err := g.TranscribeStream(t.Context(), r.caller(g), gateway.Query{}, &speech.TranscribeRequest{Model: "openrouter/m", Audio: []byte("a"), Stream: true})
		check(t, err)
		_, err = s.Next()
		check(t, err)
		kind := credit.Partial
		if abandoned {
			kind = credit.Completed
			s.Abandon()
		}
		check(t, s.Close())
		if len(r.used) != 1 || r.used[0].Kind != kind || r.used[0].Reason != "client_closed" {
			t.Errorf("abandoned %v: %+v", abandoned, r.used)
		}
	}
}
