package turn_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	neutral "github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/session"
)

// scripted is a model that calls tools as its plan says: calls[n] are the names it
// calls in its answer after n rounds; then it answers with what the tools said.
type scripted struct {
	*model
	calls [][]string
	// insists makes it call tools although it may not any more.
	insists bool
	// args are those of its calls, if set.
	args string
}

func (m *scripted) Answer(_ context.Context, q turn.AnswerRequest) (turn.Answer, error) {
	m.asked = append(m.asked, q)
	if m.onAnswer != nil {
		m.onAnswer()
	}
	if m.err != nil {
		return turn.Answer{}, m.err
	}
	n := len(q.Rounds)
	a := turn.Answer{RequestIDs: []string{fmt.Sprintf("req%d", n+1)}, Receipt: []byte(fmt.Sprintf("receipt%d", n+1)), Pin: session.Pin{Model: fmt.Sprintf("p/m%d", n)}}
	args := cmp.Or(m.args, fmt.Sprintf(`{"n":%d}`, n))
	if n < len(m.calls) && (!q.NoCalls || m.insists) {
		a.Message.Role = neutral.RoleAssistant
		for i, name := range m.calls[n] {
			a.Message.Parts = append(a.Message.Parts, neutral.Part{Kind: neutral.PartToolCall, Call: &neutral.ToolCall{ID: fmt.Sprintf("call%d", i), Name: name, Args: args, Signature: "sig"}})
		}
		a.Text = "let me see"
		return a, nil
	}
	a.Text = "said:"
	for _, r := range q.Rounds {
		for _, res := range r.Results {
			a.Text += " " + res.Text()
		}
	}
	return a, nil
}

func (m *scripted) Posted(_ context.Context, _ string, receipt []byte, sent bool) error {
	m.posted = append(m.posted, sent)
	m.committed = append(m.committed, "posted "+string(receipt))
	return nil
}

// kit is an organisation's tools.
type kit struct {
	tools   []tool.Tool
	called  []turn.ToolCall
	status  tool.Status
	err     error
	onCall  func()
	offered int
}

func (k *kit) Offered(_ context.Context, org string, names []string) (out []tool.Tool, _ error) {
	k.offered++
	for _, t := range k.tools {
		if t.Org == org && slices.Contains(names, t.Name) {
			out = append(out, t)
		}
	}
	return out, nil
}

func (k *kit) Call(_ context.Context, c turn.ToolCall) (tool.Result, []byte, error) {
	if k.err != nil {
		return tool.Result{}, nil, k.err
	}
	k.called = append(k.called, c)
	if k.onCall != nil {
		k.onCall()
	}
	n := len(k.called)
	r := tool.Result{Status: tool.OK, Text: fmt.Sprintf("result%d", n)}
	if k.status != "" {
		r.Status = k.status
	}
	return r, []byte(fmt.Sprintf("toolreceipt%d", n)), nil
}

func newTools(t *testing.T, calls ...[]string) (*env, *scripted, *kit) {
	e := newEnv(t)
	m := &scripted{model: e.model, calls: calls}
	k := &kit{tools: []tool.Tool{{Org: "o1", Name: "look", Timeout: time.Second}, {Org: "o1", Name: "pay", Timeout: time.Second, Integrity: channel.Signed}, {Org: "o2", Name: "foreign", Timeout: time.Second}}}
	e.deps.Model, e.deps.Tools = m, k
	e.run = turn.New(e.deps)
	a := e.agents["o1/ag1"]
	a.Tools = []string{"look", "pay", "gone", "foreign"}
	e.agents["o1/ag1"] = a
	e.job.Envelope.Integrity = channel.Signed
	return e, m, k
}

func TestTools(t *testing.T) {
	e, m, k := newTools(t, []string{"look", "pay"}, []string{"look", "nothing", "foreign"})
	if r := e.deliver(e.job, 1); r.Retry {
		t.Fatalf("%+v %q", r, e.audit.codes)
	}
	if len(m.asked) != 3 || len(k.called) != 3 || k.offered != 1 || e.vendor.posts[0]["text"] != "said: result1 result2 result3 There is no such tool. There is no such tool." {
		t.Fatalf("asked %d times, %d calls, posts %v", len(m.asked), len(k.called), e.vendor.posts)
	}
	first, last := m.asked[0], m.asked[2]
	if len(first.Tools) != 2 || first.Tools[1].Name != "pay" || first.Held != nil || first.NoCalls || string(last.Held) != "receipt1" || last.Pin.Model != "p/m1" {
		t.Fatalf("%+v\n%+v", first, last)
	}
	if keys := []string{m.asked[0].RequestKey, m.asked[1].RequestKey, m.asked[2].RequestKey}; keys[0] != session.RequestKey("i1", "Ev1", "ag1", "answer") || keys[1] == keys[0] || keys[2] == keys[1] {
		t.Fatal(keys)
	}
	if r := last.Rounds[0]; len(last.Rounds) != 2 || r.Message.Parts[1].Call.Signature != "sig" || len(r.Results) != 2 || r.Results[1].CallID != "call1" || r.Results[1].IsError || !last.Rounds[1].Results[1].IsError {
		t.Fatalf("%+v", last.Rounds)
	}
	if c := k.called[1]; c.Org != "o1" || c.Agent != "ag1" || c.Tool.Name != "pay" || c.Arguments != `{"n":0}` || c.Key != session.RequestKey("i1", "Ev1", "ag1", "tool-2") {
		t.Fatalf("%+v", c)
	}
	want := []string{"receipt1", "toolreceipt1", "toolreceipt2", "receipt2", "toolreceipt3", "receipt3", "posted receipt3"}
	if !slices.Equal(m.committed, want) {
		t.Fatalf("%q", m.committed)
	}
	got, _ := e.state("Ev1")
	if view := session.View(got, nil); len(view.ToolCalls) != 5 || view.ToolCalls[3].Status != "unknown_tool" || view.ToolCalls[0].Tool != "look" || !slices.Equal(got.RequestIDs, []string{"req1", "req2", "req3"}) {
		t.Fatalf("%+v", view)
	}
	if b, _ := json.Marshal(session.View(got, nil)); strings.Contains(string(b), "result1") || strings.Contains(string(b), `\"n\"`) {
		t.Fatalf("arguments or answers are shown: %s", b)
	}
	if all := e.messages(); len(all) != 2 || !strings.HasPrefix(all[1].Text, "said:") || e.session().Pin.Model != "p/m2" {
		t.Fatalf("%+v", all)
	}
	e.audited("tool.called ok")
	e.audited("tool.called unknown_tool")
}

// TestToolCrashes: wherever the run dies, the next one goes on behind what is
// stored; only a call whose run died before its result was stored is repeated, with
// its key; every receipt is committed.
func TestToolCrashes(t *testing.T) {
	die := func() { panic(crash{}) }
	for name, c := range map[string]struct {
		arm          func(*env, *scripted, *kit)
		asked, calls int
	}{
		"before the calls are stored": {func(e *env, _ *scripted, _ *kit) { e.store.Fail = nth("Step", 1, die) }, 3, 2},
		"after the calls are stored":  {func(e *env, m *scripted, _ *kit) { once(&m.onCommit, die) }, 2, 2},
		"while a tool runs":           {func(_ *env, _ *scripted, k *kit) { once(&k.onCall, die) }, 2, 3},
		"before a result is stored":   {func(e *env, _ *scripted, _ *kit) { e.store.Fail = nth("Step", 2, die) }, 2, 3},
		"after a result is stored":    {func(e *env, _ *scripted, _ *kit) { e.store.Fail = nth("Step", 3, die) }, 2, 3},
		"before the answer is stored": {func(e *env, _ *scripted, _ *kit) { e.store.Fail = nth("Plan", 1, die) }, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			e, m, k := newTools(t, []string{"look", "look"})
			c.arm(e, m, k)
			e.die(e.job, 1)
			e.store.Fail = nil
			if r := e.deliver(e.job, 2); r.Retry {
				t.Fatalf("%+v %q", r, e.audit.codes)
			}
			got, _ := e.state("Ev1")
			if len(m.asked) != c.asked || len(k.called) != c.calls || len(got.Steps) != 3 || got.State != session.TurnDone || len(e.vendor.posts) != 1 {
				t.Fatalf("asked %d times, %d calls, %+v", len(m.asked), len(k.called), got)
			}
			keys := map[string]bool{}
			for _, call := range k.called {
				keys[call.Key] = true
			}
			if len(keys) != 2 {
				t.Fatalf("%d keys for two calls", len(keys))
			}
			for _, s := range got.Steps {
				if !contains(m.committed, string(s.Receipt)) {
					t.Errorf("%s was not committed: %q", s.Receipt, m.committed)
				}
			}
		})
	}
}

// TestToolLimits: after eight rounds or sixteen calls the model has to answer.
func TestToolLimits(t *testing.T) {
	var endless [][]string
	for range 20 {
		endless = append(endless, []string{"look"})
	}
	e, m, k := newTools(t, endless...)
	e.deliver(e.job, 1)
	if len(k.called) != 8 || len(m.asked) != 9 || !m.asked[8].NoCalls || m.asked[7].NoCalls || len(e.vendor.posts) != 1 {
		t.Fatalf("%d calls, asked %d times", len(k.called), len(m.asked))
	}
	many := slices.Repeat([]string{"look"}, 20)
	e, m, k = newTools(t, many, many)
	m.insists = true
	e.deliver(e.job, 1)
	got, _ := e.state("Ev1")
	if len(k.called) != 16 || len(m.asked) != 2 || !m.asked[1].NoCalls || len(m.asked[1].Rounds[0].Results) != 20 || got.State != session.TurnDone || e.vendor.posts[0]["text"] != "let me see" {
		t.Fatalf("%d calls, asked %d times, %+v %v", len(k.called), len(m.asked), got, e.vendor.posts)
	}
	e.audited("tool.called too_many_calls")
}

// TestIntegrity: a tool that demands signed messages is not called for others.
func TestIntegrity(t *testing.T) {
	for integrity, want := range map[channel.Integrity]int{channel.Signed: 2, channel.ByChannel: 1, "": 1} {
		e, _, k := newTools(t, []string{"look", "pay"})
		e.job.Envelope.Integrity = integrity
		e.deliver(e.job, 1)
		if len(k.called) != want || k.called[0].Tool.Name != "look" {
			t.Errorf("%q: %+v", integrity, k.called)
		}
		if want == 1 {
			e.audited("tool.integrity_refused pay")
			e.audited("tool.called integrity_refused")
			if text := fmt.Sprint(e.vendor.posts[0]["text"]); !strings.Contains(text, "not signed") {
				t.Error(text)
			}
		}
	}
}

// TestToolFailures: a tool that cannot be charged for now is tried again; when the
// model fails for good, what its first answer holds is given back.
func TestToolFailures(t *testing.T) {
	e, m, k := newTools(t, []string{"look"})
	k.err = fault.New(fault.LedgerUnavailable, "", "")
	if r := e.deliver(e.job, 1); !r.Retry || len(m.asked) != 1 {
		t.Fatalf("%+v", r)
	}
	k.err = nil
	once(&k.onCall, func() { m.err = fault.New(fault.ContentFiltered, "", "x") })
	if r := e.deliver(e.job, 2); r.Retry || len(m.asked) != 2 || len(k.called) != 1 {
		t.Fatalf("%+v, asked %d times", r, len(m.asked))
	}
	if c := k.called[0]; c.Attempt != 2 || c.Key != session.RequestKey("i1", "Ev1", "ag1", "tool-1") {
		t.Fatalf("%+v", c)
	}
	if got, _ := e.state("Ev1"); got.State != session.TurnEnded || got.Code != "content_filtered" || !slices.Equal(m.posted, []bool{false}) || m.committed[len(m.committed)-1] != "posted receipt1" {
		t.Fatalf("%+v %q", got, m.committed)
	}
	for _, code := range []fault.Code{fault.InsufficientCredits, fault.PriceMissing} {
		e, m, k = newTools(t, []string{"look"})
		k.onCall = func() { m.err = fault.New(code, "", "x") }
		e.deliver(e.job, 1)
		if got, _ := e.state("Ev1"); got.Notice == "" || len(e.vendor.posts) != 1 || !slices.Equal(m.posted, []bool{false}) {
			t.Fatalf("%s: %+v %v", code, got, m.posted)
		}
	}
}

// TestNoticeBehindTools: what was done is not asked for again. What may pass goes on
// behind the stored result, out of the dead letter queue if need be.
func TestNoticeBehindTools(t *testing.T) {
	e, m, k := newTools(t, []string{"look"})
	k.onCall = func() { m.err = fault.New(fault.ProviderOverloaded, "", "x") }
	for n := range int64(4) {
		if r := e.deliver(e.job, n+1); !r.Retry || len(e.vendor.posts) != 0 {
			t.Fatalf("reception %d: %+v, %d posts", n+1, r, len(e.vendor.posts))
		}
	}
	m.err = nil
	if r := e.deliver(e.job, 5); r.Retry || len(k.called) != 1 || len(e.vendor.posts) != 1 {
		t.Fatalf("%+v, %d calls, %d posts", r, len(k.called), len(e.vendor.posts))
	}
	e, m, k = newTools(t, []string{"look"})
	k.onCall = func() { m.err = fault.New(fault.ContextLengthExceeded, "", "x") }
	if r := e.deliver(e.job, 1); r.Retry || len(e.vendor.posts) != 1 || e.vendor.posts[0]["text"] != turn.NoticeActed {
		t.Fatalf("%+v %v", r, e.vendor.posts)
	}
}

// TestCommitThatLost: where another outcome was recorded first, the turn goes on.
func TestCommitThatLost(t *testing.T) {
	e, m, k := newTools(t, []string{"look"})
	m.commitErr = fault.New(fault.Conflict, "", "x")
	if r := e.deliver(e.job, 1); r.Retry || len(k.called) != 1 || len(m.asked) != 2 || len(e.vendor.posts) != 1 {
		t.Fatalf("%+v, %d calls, asked %d times, %d posts", r, len(k.called), len(m.asked), len(e.vendor.posts))
	}
	if got, _ := e.state("Ev1"); got.State != session.TurnDone {
		t.Fatalf("%+v", got)
	}
}

// inTime is a store that refuses a write whose time is up.
type inTime struct{ session.Turns }

func (s inTime) Step(ctx context.Context, t session.Turn, step session.Step) error {
	if ctx.Err() != nil {
		return fault.New(fault.Unavailable, "", "")
	}
	return s.Turns.Step(ctx, t, step)
}

// TestResultsAreStoredLate: calls that the model made and a tool's result are stored
// although the time to ask and to call is up, so that no tool is called twice.
func TestResultsAreStoredLate(t *testing.T) {
	for name, arm := range map[string]func(*scripted, *kit, func()){
		"after a tool":   func(_ *scripted, k *kit, end func()) { k.onCall, k.status = end, tool.TimedOut },
		"after a model":  func(m *scripted, _ *kit, end func()) { m.onAnswer = end },
		"nothing is cut": func(*scripted, *kit, func()) {},
	} {
		e, m, k := newTools(t, []string{"look"})
		e.deps.Turns = inTime{e.store}
		e.run = turn.New(e.deps)
		ctx, cancel := context.WithCancel(t.Context())
		arm(m, k, cancel)
		e.deliverIn(ctx, e.job, 1)
		cancel()
		m.onAnswer, k.onCall = nil, nil
		e.deliver(e.job, 2)
		if got, _ := e.state("Ev1"); len(k.called) != 1 || len(m.asked) != 2 || len(got.Steps) != 2 || got.State != session.TurnDone {
			t.Errorf("%s: %d calls, asked %d times, %+v", name, len(k.called), len(m.asked), got)
		}
	}
}
