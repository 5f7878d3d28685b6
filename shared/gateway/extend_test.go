package gateway_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/model"
)

// bank is a balance that gives what it has, in the way of the ledger.
type bank struct {
	mu      sync.Mutex
	left    billing.Micro
	held    billing.Micro // of the one hold
	asked   []billing.Micro
	running int
	twice   bool
	fail    []error // of the next calls, nil = as usual
}

func (b *bank) extend(_ context.Context, h credit.Hold, delta billing.Micro) (credit.Hold, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, delta)
	if b.running++; b.running > 1 {
		b.twice = true
	}
	defer func() { b.running-- }()
	if len(b.fail) > 0 {
		err := b.fail[0]
		b.fail = b.fail[1:]
		if err != nil {
			return h, err
		}
	}
	if delta > b.left {
		return h, fault.New(fault.InsufficientCredits, "bank", "not enough")
	}
	b.left -= delta
	h.Amount += delta
	b.held = h.Amount
	return h, nil
}

// long is n pieces of a thousand tokens each, at two micro-credits a token.
func long(n int) []any {
	out := []any{model.Event{Kind: model.EventStart, RequestID: "v1"}}
	for range n {
		out = append(out, text(4000))
	}
	return out
}

var ends = []any{model.Event{Kind: model.EventFinish, Finish: model.FinishStop}, model.Event{Kind: model.EventEnd}}

// play reads a stream to its end and returns the kinds of its events, texts of a
// thousand tokens counted.
func play(t *testing.T, s *gateway.ChatStream, each func(model.Event)) (texts int, rest []model.Event, err error) {
	t.Helper()
	for {
		ev, err := s.Next()
		if err != nil {
			return texts, rest, err
		}
		if each != nil {
			each(ev)
		}
		switch ev.Kind {
		case model.EventText:
			texts++
		case model.EventStart:
		default:
			rest = append(rest, ev)
		}
	}
}

func (r *rig) holds() billing.Micro { return r.reserved[len(r.reserved)-1].Hold }

// TestHoldGrowsWithTheAnswer: a stream is reserved for in parts, and what is
// handed on never costs more than what is held.
func TestHoldGrowsWithTheAnswer(t *testing.T) {
	r := newRig(t)
	b := &bank{left: 1_000_000}
	r.extend = b.extend
	s := r.stream(append(long(8), ends...)...)
	first := r.holds()
	if first < 2*2048 || first > 2*2048+100 {
		t.Fatalf("the first hold is %d", first)
	}
	b.held = first
	sent := billing.Micro(0)
	texts, rest, err := play(t, s, func(ev model.Event) {
		if ev.Kind == model.EventText {
			sent += 2000
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if sent > b.held {
			t.Errorf("%d were handed on, %d are held", sent, b.held)
		}
	})
	if err != io.EOF || texts != 8 || len(rest) != 3 || rest[0].Finish != model.FinishStop {
		t.Errorf("%d texts, %v, %v", texts, rest, err)
	}
	// 4,096 tokens more, and then what the output limit of 8,192 leaves.
	if len(b.asked) != 2 || b.asked[0] != 2*4096 || b.held > 2*8192+50 || b.held < 2*8192 || b.twice {
		t.Errorf("extended by %v to %d", b.asked, b.held)
	}
	if u := r.used[0]; u.Kind != credit.Completed || !u.Estimated || u.Usage.OutputTokens != 8000 || u.Amount <= first || u.Amount > b.held {
		t.Errorf("used %+v", u)
	}
}

// TestExtensionDoesNotDelay: while the ledger is asked what is held is handed on;
// only what costs more waits.
func TestExtensionDoesNotDelay(t *testing.T) {
	r := newRig(t)
	asked, release := make(chan struct{}), make(chan struct{})
	r.extend = func(_ context.Context, h credit.Hold, delta billing.Micro) (credit.Hold, error) {
		close(asked)
		<-release
		h.Amount += delta
		return h, nil
	}
	s := r.stream(append([]any{text(6800), text(400), text(400), func() error { <-asked; return nil }, text(400), func() error { close(release); return nil }, text(4000)}, ends...)...)
	for range 4 { // 8,000 of 8,192 bytes: the ledger has not answered
		_, err := s.Next()
		check(t, err)
	}
	if ev, err := s.Next(); err != nil || len(ev.Text) != 4000 {
		t.Errorf("%v, %v", ev, err)
	}
	check(t, s.Close())
}

// TestCreditExhausted: without credits for more the vendor is left, the answer
// ends with its own finish, and what was delivered is charged.
func TestCreditExhausted(t *testing.T) {
	r := newRig(t)
	b := &bank{left: 3000}
	r.extend = b.extend
	s := r.stream(append(long(50), ends...)...)
	texts, rest, err := play(t, s, nil)
	if err != io.EOF || len(rest) != 3 || rest[0].Kind != model.EventFinish || rest[0].Finish != model.FinishCreditExhausted ||
		rest[1].Kind != model.EventUsage || rest[1].Usage.Source != model.UsageEstimated || rest[1].Usage.Output != int64(texts)*1000 || rest[2].Kind != model.EventEnd {
		t.Errorf("%v, %v", rest, err)
	}
	held := r.holds() + 3000 - b.left
	u := r.used[0]
	if u.Kind != credit.Partial || u.Reason != "credit_exhausted" || !u.Estimated || u.Usage.OutputTokens != int64(texts)*1000 || u.Amount > held || u.Amount+2000 <= held {
		t.Errorf("%d texts, held %d, used %+v", texts, held, u)
	}
	// A fourth part was had where the whole step could not.
	if texts != 3 || len(b.asked) < 3 || b.asked[0] != 2*4096 || b.asked[1] != 2*1024 || b.left != 3000-2048 {
		t.Errorf("%d texts, asked for %v, left %d", texts, b.asked, b.left)
	}
	if i := slices.Index(r.log, "closed"); i < 0 || i > slices.Index(r.log, "used 1 partial") || len(r.calls) != 1 {
		t.Errorf("log %v", r.log)
	}
	if ev, err := s.Next(); err != io.EOF {
		t.Errorf("after the end: %v, %v", ev, err)
	}
	check(t, s.Close())
	if len(r.used) != 1 {
		t.Error("recorded twice")
	}
}

// TestCreditExhaustedInsideAToolCall: the call gets its end, or encoders would
// leave it open.
func TestCreditExhaustedInsideAToolCall(t *testing.T) {
	r := newRig(t)
	r.extend = (&bank{}).extend
	s := r.stream(model.Event{Kind: model.EventToolStart, Index: 2, ID: "c", Name: "f"}, model.Event{Kind: model.EventToolArgs, Index: 2, Text: strings.Repeat("x", 9000)})
	var kinds []string
	_, _, err := play(t, s, func(ev model.Event) { kinds = append(kinds, ev.Kind.String()) })
	if err != io.EOF || !slices.Equal(kinds, []string{"tool_start", "tool_end", "finish", "usage", "end"}) {
		t.Errorf("%v, %v", kinds, err)
	}
	if u := r.used[0]; u.Usage.OutputTokens != 0 {
		t.Errorf("what was not delivered is charged: %+v", u)
	}
}

// TestLedgerThatCannotExtend: it is asked again while the hold lasts; without an
// answer the stream ends where the hold does, and not as if credits were missing.
func TestLedgerThatCannotExtend(t *testing.T) {
	down := fault.New(fault.LedgerUnavailable, "bank", "down")
	r := newRig(t)
	b := &bank{left: 1_000_000, fail: []error{down}}
	r.extend = b.extend
	again := until(func() bool { return len(b.seen()) == 2 })
	s := r.stream(append(append([]any{text(7200), again}, long(4)...), ends...)...)
	if _, rest, err := play(t, s, nil); err != io.EOF || rest[0].Finish != model.FinishStop {
		t.Errorf("after one failure: %v, %v", rest, err)
	}

	r = newRig(t)
	b = &bank{left: 1_000_000, fail: []error{down, down, down}}
	r.extend = b.extend
	s = r.stream(append(long(8), ends...)...)
	texts, rest, err := play(t, s, nil)
	if fault.CodeOf(err) != fault.LedgerUnavailable || len(rest) != 0 || texts != 2 || len(b.asked) != 1 {
		t.Errorf("%d texts, %v, %v, asked %v", texts, rest, err, b.asked)
	}
	if u := r.used[0]; u.Kind != credit.Partial || u.Reason != "ledger_unavailable" || u.Usage.OutputTokens != 2000 || u.Amount > r.holds() {
		t.Errorf("used %+v", u)
	}
}

// TestLedgerThatGivesNothing is not asked for ever.
func TestLedgerThatGivesNothing(t *testing.T) {
	r := newRig(t)
	r.extend = func(_ context.Context, h credit.Hold, _ billing.Micro) (credit.Hold, error) { return h, nil }
	s := r.stream(append(long(8), ends...)...)
	texts, _, err := play(t, s, nil)
	if fault.CodeOf(err) != fault.LedgerUnavailable || texts != 2 {
		t.Errorf("%d texts, %v", texts, err)
	}
}

func (b *bank) seen() []billing.Micro {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.asked)
}

// TestWhatIsHeldAsAWhole: answers whose output is not seen as it is made, and
// short ones, are reserved for at once; the organisation's own key for nothing.
func TestWhatIsHeldAsAWhole(t *testing.T) {
	r := newRig(t)
	r.extend = func(_ context.Context, h credit.Hold, _ billing.Micro) (credit.Hold, error) {
		t.Error("extended")
		return h, nil
	}
	r.prices = []billing.Row{price("anthropic/claude-haiku-4.5", billing.InputText, 1_000_000), price("anthropic/claude-haiku-4.5", billing.OutputText, 2_000_000)}
	g := r.gateway()
	for name, c := range map[string]struct {
		model  string
		change func(*model.Request)
		output billing.Micro
	}{
		"thinking is documented": {"openrouter/anthropic/claude-haiku-4.5", nil, 8192},
		"thinking is asked for":  {"openrouter/m", func(m *model.Request) { m.Reasoning.Effort = "low" }, 8192},
		"short":                  {"openrouter/m", func(m *model.Request) { m.MaxOutputTokens = 2048 }, 2048},
	} {
		m := ask(c.model)
		m.Stream = true
		if c.change != nil {
			c.change(m)
		}
		r.script = []any{append(long(20), ends...)}
		s, err := g.Stream(t.Context(), r.caller(g), gateway.Query{}, m)
		check(t, err)
		if hold := r.holds(); hold < 2*c.output || hold > 2*c.output+100 {
			t.Errorf("%s: %d held", name, hold)
		}
		// What outgrows everything the request may cost is its vendor's doing.
		if texts, rest, err := play(t, s, nil); texts != 20 || err != io.EOF || rest[0].Finish != model.FinishStop {
			t.Errorf("%s: %d texts, %v", name, texts, err)
		}
		if u := r.used[len(r.used)-1]; u.Amount != r.holds() {
			t.Errorf("%s: charged %d, held %d", name, u.Amount, r.holds())
		}
	}
	r.script = nil
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	if hold := r.holds(); hold < 2*8192 {
		t.Errorf("a whole answer: %d held", hold)
	}
	r.connect("c1", "https://vendor.example", func(c *connection.Connection) {})
	s := r.stream(append(long(20), ends...)...)
	if texts, _, err := play(t, s, nil); r.holds() != 0 || texts != 20 || err != io.EOF {
		t.Errorf("own key: %d held, %d texts, %v", r.holds(), texts, err)
	}
}

// TestInputAboveTheEstimate: a vendor that counts more input than was thought
// makes the hold grow, also that of a short answer.
func TestInputAboveTheEstimate(t *testing.T) {
	r := newRig(t)
	b := &bank{left: 1_000_000}
	r.extend = b.extend
	r.script = []any{append([]any{model.Event{Kind: model.EventUsage, Usage: &model.Usage{Input: 5000, Output: 1, Source: model.UsageProvider}}, text(400)}, ends...)}
	g := r.gateway()
	m := ask("openrouter/m")
	m.Stream, m.MaxOutputTokens = true, 1000
	s, err := g.Stream(t.Context(), r.caller(g), gateway.Query{}, m)
	check(t, err)
	if _, _, err := play(t, s, nil); err != io.EOF || b.held < 5000+2*1000 || b.held > 5000+2*1000+10 {
		t.Errorf("%d held, %v", b.held, err)
	}
}

// TestBudgetCountsTheWholeAnswer: what a running stream may cost counts, not what
// is held for its beginning.
func TestBudgetCountsTheWholeAnswer(t *testing.T) {
	r := newRig(t)
	r.store.key.Limits = limit.Limits{Budget: limit.Budget{Amount: 1_000_000, Period: limit.Total}}
	s := r.stream(ends...)
	check(t, s.Close())
	if q := r.reserved[0]; len(q.Limits) != 1 || q.Limits[0].Spend < 2*8192 || q.Hold > 2*2048+100 {
		t.Errorf("held %d, counted %+v", q.Hold, q.Limits)
	}
}

// TestNothingOutlivesTheCall: an extension that is under way when the answer ends
// is given up, and over, before the usage is written.
func TestNothingOutlivesTheCall(t *testing.T) {
	r := newRig(t)
	over := false
	r.extend = func(ctx context.Context, h credit.Hold, _ billing.Micro) (credit.Hold, error) {
		<-ctx.Done()
		r.note("extension given up")
		over = true
		return h, fault.New(fault.LedgerUnavailable, "bank", "gone")
	}
	s := r.stream(append([]any{text(7200)}, ends...)...)
	_, _, err := play(t, s, nil)
	if err != io.EOF || !over || r.used[0].Kind != credit.Completed {
		t.Errorf("%v, given up: %v, used %+v", err, over, r.used)
	}
	if a, b := slices.Index(r.log, "extension given up"), slices.Index(r.log, "used 1 completed"); a > b {
		t.Errorf("log %v", r.log)
	}
}

// TestThinkingIsPricedApart: what is shown of it is estimated as what it is.
func TestThinkingIsPricedApart(t *testing.T) {
	r := newRig(t)
	r.prices = []billing.Row{price("m", billing.OutputReasoning, 10_000_000)}
	s := r.stream(model.Event{Kind: model.EventReasoning, Text: strings.Repeat("x", 400)}, text(40), vendorFault(fault.ProviderError))
	_, _, err := play(t, s, nil)
	wantCode(t, err, fault.ProviderError)
	u := r.used[0]
	if u.Usage.OutputTokens != 110 || u.Usage.ReasoningTokens != 100 || u.Amount != billing.Micro(u.Usage.InputTokens+100*10+10*2) {
		t.Errorf("used %+v", u)
	}
}

// TestLastCheckpoint: a usage that takes long to be written goes into a
// checkpoint, too; one that does not, not.
func TestLastCheckpoint(t *testing.T) {
	for _, slow := range []bool{false, true} {
		r := newRig(t)
		var waited []time.Duration
		r.later = func(d time.Duration, f func()) func() bool {
			waited = append(waited, d)
			if slow {
				done := make(chan struct{})
				go func() { defer close(done); f() }()
				<-done
			}
			return func() bool { return !slow }
		}
		s := r.stream(append([]any{text(400)}, ends...)...)
		_, _, err := play(t, s, nil)
		if err != io.EOF || slices.Contains(r.log, "checkpoint 1 out=100") != slow || !slices.Equal(waited, []time.Duration{200 * time.Millisecond}) {
			t.Errorf("slow %v: %v, log %v, waited %v", slow, err, r.log, waited)
		}
	}
}
