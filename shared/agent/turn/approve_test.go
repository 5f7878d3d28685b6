package turn_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/approval/approvaltest"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/session"
)

// waiting is calls that wait, beside the turns.
type waiting struct {
	*approvaltest.Memory
	session.Reader
}

// held is a queue of jobs that nobody has received yet.
type held struct{ jobs []session.Job }

func (h *held) Send(_ context.Context, _, _ string, body []byte) error {
	j, err := session.DecodeJob(body)
	h.jobs = append(h.jobs, j)
	return err
}

// newApprovals is an agent whose tool refund needs an approval; look needs none.
func newApprovals(t *testing.T, calls ...[]string) (*env, *scripted, *kit, *approval.Service, *held) {
	e, m, k := newTools(t, calls...)
	k.tools = append(k.tools, tool.Tool{Org: "o1", Name: "refund", Timeout: time.Second, Version: 4, Approval: 24 * time.Hour, Integrity: channel.Signed,
		Parameters: []byte(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`), URL: "https://shop.example/refund", Method: "POST"})
	a := e.agents["o1/ag1"]
	a.Tools = append(slices.Clone(a.Tools), "refund")
	e.agents["o1/ag1"] = a
	calling, queue := &approvaltest.Memory{}, &held{}
	e.deps.Approvals = waiting{calling, e.store}
	e.run = turn.New(e.deps)
	return e, m, k, &approval.Service{Store: calling, Queue: queue}, queue
}

func decide(t *testing.T, s *approval.Service, approve bool) approval.Approval {
	t.Helper()
	all, _, err := s.List(t.Context(), "o1", "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if a.State == approval.Pending {
			a, err = s.Decide(t.Context(), audit.Op{Actor: "key:k", ID: "d-" + a.ID, At: start.Add(time.Hour)}, "o1", a.ID, approve, "")
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
	}
	t.Fatalf("nothing waits: %+v", all)
	return approval.Approval{}
}

// TestApproval: the turn stores the call and says so; the approval makes the call,
// once, with what came before it, and the rest of the round follows.
func TestApproval(t *testing.T) {
	e, m, k, s, q := newApprovals(t, []string{"look", "refund", "look"})
	if r := e.deliver(e.job, 1); r.Retry {
		t.Fatalf("%+v %q", r, e.audit.codes)
	}
	text := fmt.Sprint(e.vendor.posts[0]["text"])
	all, _, _ := s.List(t.Context(), "o1", "", 10)
	if len(e.vendor.posts) != 1 || len(k.called) != 1 || len(m.asked) != 1 || len(all) != 1 {
		t.Fatalf("%d posts, %d calls, asked %d times, %+v", len(e.vendor.posts), len(k.called), len(m.asked), all)
	}
	a := all[0]
	if a.Tool != "refund" || a.Version != 4 || a.Arguments != `{"n":0}` || a.Call != 1 || a.Asker != "U1" || a.Integrity != channel.Signed || !a.ExpiresAt.Equal(start.Add(24*time.Hour)) || a.Continuing.Envelope.Text != "" {
		t.Fatalf("%+v", a)
	}
	for _, want := range []string{"refund", "n: 0", a.ID} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
	got, _ := e.state("Ev1")
	if got.State != session.TurnEnded || got.Code != "approval_pending" || len(got.Steps) != 2 || !slices.Equal(m.posted, []bool{true}) {
		t.Fatalf("%+v %v", got, m.posted)
	}
	e.audited("tool.approval_asked refund")
	if told := s.Store.(*approvaltest.Memory).Told; len(told) != 1 || told[0].Type != outbox.TypeApproval || !strings.Contains(string(told[0].Detail), `"approval_id":"`+a.ID+`","tool":"refund","agent_id":"ag1","install_id":"i1"`) || strings.Contains(string(told[0].Detail), `"n"`) {
		t.Fatalf("%+v", told)
	}
	// A message meanwhile is a turn of its own that knows.
	m.calls = nil
	e.deliver(e.message("Ev2", "how are you?"), 1)
	if seen := m.asked[len(m.asked)-1].Messages; len(e.vendor.posts) != 2 || !strings.Contains(fmt.Sprint(seen), a.ID) {
		t.Fatalf("%+v", seen)
	}
	if len(k.called) != 1 {
		t.Fatal("the call was made without approval")
	}
	m.calls = [][]string{{"look", "refund", "look"}}
	decide(t, s, true)
	if r := e.deliver(q.jobs[0], 1); r.Retry {
		t.Fatalf("%+v %q", r, e.audit.codes)
	}
	if len(k.called) != 3 || k.called[1].Tool.Name != "refund" || k.called[1].Arguments != `{"n":0}` || k.called[2].Tool.Name != "look" || k.called[1].Key == k.called[0].Key {
		t.Fatalf("%+v", k.called)
	}
	last := m.asked[len(m.asked)-1]
	if len(last.Rounds) != 1 || len(last.Rounds[0].Results) != 3 || last.Rounds[0].Results[0].Text() != "result1" || last.Held != nil || !strings.Contains(last.Messages[len(last.Messages)-1].Text, "approved the call of refund") {
		t.Fatalf("%+v", last)
	}
	if p := e.vendor.posts[2]; p["text"] != "said: result1 result2 result3" || p["thread_ts"] != "1.0" || p["channel"] != "C1" {
		t.Fatalf("%v", p)
	}
	if all := e.messages(); len(all) != 6 || all[4].Role != session.Notice || all[5].Role != session.Assistant || all[1].Role != session.Assistant {
		t.Fatalf("%+v", all)
	}
	if got, _ := e.state("approval-" + a.ID); got.State != session.TurnDone || len(got.Steps) != 2 {
		t.Fatalf("%+v", got)
	}
	// The same job again changes nothing.
	e.deliver(q.jobs[0], 2)
	if len(k.called) != 3 || len(e.vendor.posts) != 3 {
		t.Fatal("twice")
	}
}

// TestRefusal: what is refused, expired, or changed since is not called, and the model
// is told.
func TestRefusal(t *testing.T) {
	for name, c := range map[string]struct {
		decide func(*approval.Service, *kit)
		want   string
	}{
		"refused":                  {func(s *approval.Service, _ *kit) { decide(t, s, false) }, "who may approve it refused it"},
		"expired":                  {func(s *approval.Service, _ *kit) { _, _ = s.Finish(t.Context(), start.Add(24*time.Hour)) }, "nobody approved the call in time"},
		"changed":                  {func(s *approval.Service, k *kit) { decide(t, s, true); k.tools[3].Version++ }, "it was changed since"},
		"refused, and free by now": {func(s *approval.Service, k *kit) { decide(t, s, false); k.tools[3].Approval = 0 }, "who may approve it refused it"},
		"expired, and free by now": {func(s *approval.Service, k *kit) {
			_, _ = s.Finish(t.Context(), start.Add(24*time.Hour))
			k.tools[3].Approval = 0
		}, "nobody approved the call in time"},
		"changed, and free by now": {func(s *approval.Service, k *kit) { decide(t, s, true); k.tools[3].Version++; k.tools[3].Approval = 0 }, "it was changed since"},
		"made anew":                {func(s *approval.Service, k *kit) { decide(t, s, true); k.tools[3].CreatedAt = start.Add(time.Minute) }, "it was changed since"},
		"gone":                     {func(s *approval.Service, k *kit) { decide(t, s, true); k.tools = k.tools[:3] }, "There is no such tool"},
	} {
		e, _, k, s, q := newApprovals(t, []string{"refund"})
		e.deliver(e.job, 1)
		c.decide(s, k)
		if len(q.jobs) != 1 {
			t.Fatalf("%s: %d jobs", name, len(q.jobs))
		}
		e.deliver(q.jobs[0], 1)
		if len(k.called) != 0 || len(e.vendor.posts) != 2 || !strings.Contains(fmt.Sprint(e.vendor.posts[1]["text"]), c.want) {
			t.Errorf("%s: %d calls, %v %q", name, len(k.called), e.vendor.posts, e.audit.codes)
		}
	}
}

// TestNobodyIsAsked about a call that would not be made.
func TestNobodyIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		arm  func(*env, *kit)
		want string
	}{
		"not signed":     {func(e *env, _ *kit) { e.job.Envelope.Integrity = channel.ByChannel }, "not signed"},
		"bad arguments":  {func(_ *env, k *kit) { k.tools[3].Parameters = []byte(`{"type":"object","properties":{}}`) }, "not called"},
		"long arguments": {func(_ *env, k *kit) {}, "too long"},
	} {
		e, m, k, s, _ := newApprovals(t, []string{"refund"})
		c.arm(e, k)
		if name == "long arguments" {
			k.tools[3].Parameters = []byte(`{"type":"object","properties":{"n":{"type":"integer"},"s":{"type":"string"}}}`)
			m.args = `{"n":1,"s":"` + strings.Repeat("x", approval.MaxArguments) + `"}`
		}
		e.deliver(e.job, 1)
		all, _, _ := s.List(t.Context(), "o1", "", 10)
		if len(all) != 0 || len(k.called) != 0 || len(e.vendor.posts) != 1 || !strings.Contains(fmt.Sprint(e.vendor.posts[0]["text"]), c.want) {
			t.Errorf("%s: %+v, %d calls, %v", name, all, len(k.called), e.vendor.posts)
		}
	}
}

// TestTooManyWait: a conversation asks for a few approvals at a time, then the model is
// told to wait; those of other conversations do not count.
func TestTooManyWait(t *testing.T) {
	e, _, _, s, _ := newApprovals(t, []string{"refund"})
	ask := func(event, thread string) {
		j := e.message(event, "refund it")
		j.Envelope.Integrity, j.Envelope.Thread = channel.Signed, thread
		e.deliver(j, 1)
	}
	for i := range approval.MaxWaiting + 1 {
		ask(fmt.Sprintf("Ev%d", i+1), "1.0")
	}
	ask("Ev90", "2.0")
	all, _, _ := s.List(t.Context(), "o1", "", 20)
	if last := fmt.Sprint(e.vendor.posts[approval.MaxWaiting]["text"]); len(all) != approval.MaxWaiting+1 || !strings.Contains(last, "too many calls of this conversation wait") {
		t.Fatalf("%d wait: %q", len(all), last)
	}
}

// TestApprovalAfterApproval: a second call that waits is asked about in its turn, and
// the third turn knows the rounds of both before it.
func TestApprovalAfterApproval(t *testing.T) {
	e, m, k, s, q := newApprovals(t, []string{"refund", "refund"}, []string{"refund"})
	e.deliver(e.job, 1)
	for n := range 3 {
		decide(t, s, true)
		if r := e.deliver(q.jobs[n], 1); r.Retry || len(k.called) != n+1 {
			t.Fatalf("%d: %+v, %d calls, %q", n, r, len(k.called), e.audit.codes)
		}
	}
	last := m.asked[len(m.asked)-1]
	if len(last.Rounds) != 2 || len(last.Rounds[0].Results) != 2 || last.Rounds[1].Results[0].Text() != "result3" || e.vendor.posts[3]["text"] != "said: result1 result2 result3" {
		t.Fatalf("%+v %v", last.Rounds, e.vendor.posts)
	}
	keys := map[string]bool{}
	for _, c := range k.called {
		keys[c.Key] = true
	}
	if len(keys) != 3 {
		t.Errorf("%d keys for three calls", len(keys))
	}
}

// TestApprovalCrashes: wherever a run dies, there is one question, one call and one
// answer.
func TestApprovalCrashes(t *testing.T) {
	die := func() { panic(crash{}) }
	for name, c := range map[string]struct {
		arm   func(*env, *kit, *approvaltest.Memory)
		ask   bool // whether it dies asking, else going on
		calls int
	}{
		"before it is asked":       {func(_ *env, _ *kit, m *approvaltest.Memory) { m.Fail = nth("Ask", 1, die) }, true, 1},
		"asked and not said":       {func(e *env, _ *kit, _ *approvaltest.Memory) { e.store.Fail = nth("Plan", 1, die) }, true, 1},
		"before it is looked up":   {func(_ *env, _ *kit, m *approvaltest.Memory) { m.Fail = nth("Approval", 1, die) }, false, 1},
		"before the tool":          {func(e *env, _ *kit, _ *approvaltest.Memory) { e.store.Fail = nth("Append", 1, die) }, false, 1},
		"while the tool runs":      {func(_ *env, k *kit, _ *approvaltest.Memory) { once(&k.onCall, die) }, false, 2},
		"before its result":        {func(e *env, _ *kit, _ *approvaltest.Memory) { e.store.Fail = nth("Step", 1, die) }, false, 2},
		"before the answer":        {func(e *env, _ *kit, _ *approvaltest.Memory) { e.store.Fail = nth("Plan", 1, die) }, false, 1},
		"before the answer's part": {func(e *env, _ *kit, _ *approvaltest.Memory) { e.store.Fail = nth("Move", 1, die) }, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e, _, k, s, q := newApprovals(t, []string{"refund"})
			m := s.Store.(*approvaltest.Memory)
			if c.ask {
				c.arm(e, k, m)
				e.die(e.job, 1)
				e.store.Fail, m.Fail = nil, nil
				e.deliver(e.job, 2)
			} else {
				e.deliver(e.job, 1)
			}
			a := decide(t, s, true)
			if !c.ask {
				c.arm(e, k, m)
				e.die(q.jobs[0], 1)
				e.store.Fail, m.Fail = nil, nil
			}
			if r := e.deliver(q.jobs[0], 2); r.Retry {
				t.Fatalf("%+v %q", r, e.audit.codes)
			}
			got, _ := e.state("approval-" + a.ID)
			all, _, _ := s.List(t.Context(), "o1", "", 10)
			if len(all) != 1 || len(m.Told) != 1 || len(k.called) != c.calls || len(e.vendor.posts) != 2 || got.State != session.TurnDone || len(e.messages()) != 4 {
				t.Fatalf("%d asked, %d calls, %v, %+v", len(all), len(k.called), e.vendor.posts, got)
			}
			for _, call := range k.called {
				if call.Key != k.called[0].Key {
					t.Error("another key for the same call")
				}
			}
		})
	}
}

// TestStrayDecision: a job whose call does not exist, waits still or is of another
// conversation ends without a word.
func TestStrayDecision(t *testing.T) {
	e, m, k, s, _ := newApprovals(t, []string{"refund"})
	e.deliver(e.job, 1)
	all, _, _ := s.List(t.Context(), "o1", "", 10)
	for i, id := range []string{"ap-none", all[0].ID} {
		j := e.message(fmt.Sprintf("approval-%d", i), "[approved]")
		j.Kind, j.Approval = session.JobApproval, id
		e.deliver(j, 1)
		if got, _ := e.state(j.EventID); got.State != session.TurnEnded || got.Code != "approval_missing" {
			t.Errorf("%+v", got)
		}
	}
	a := decide(t, s, true)
	j := e.message("approval-x", "[approved]")
	j.Kind, j.Approval, j.Envelope.Thread = session.JobApproval, a.ID, "9.0"
	e.deliver(j, 1)
	if got, _ := e.state(j.EventID); got.Code != "approval_missing" || len(k.called) != 0 || len(m.asked) != 1 {
		t.Errorf("%+v, %d calls", got, len(k.called))
	}
}

// TestADecisionIsNoWord: a decision neither counts as a bot's message nor ends a pause
// as a person's does.
func TestADecisionIsNoWord(t *testing.T) {
	e, _, k, s, q := newApprovals(t, []string{"refund"})
	e.bots(install.BotsAll)
	bot := func(n int) {
		j := e.bot(n)
		j.Envelope.Integrity = channel.Signed
		e.deliver(j, 1)
	}
	for n := range 3 {
		bot(n)
	}
	decide(t, s, true)
	if r := e.deliver(q.jobs[0], 1); r.Retry || len(k.called) != 1 || len(e.vendor.posts) != 4 {
		t.Fatalf("%+v, %d calls, %d posts, %q", r, len(k.called), len(e.vendor.posts), e.audit.codes)
	}
	bot(3)
	if got, _ := e.state("EvB3"); got.Code != "loop_in_a_row" || len(e.vendor.posts) != 4 {
		t.Errorf("%+v", got)
	}
}
