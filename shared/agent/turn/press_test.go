package turn_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/approval/approvaltest"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// presses is a conversation whose agent asks U7 and U8 with buttons.
type presses struct {
	*env
	k       *kit
	m       *scripted
	service *approval.Service
	store   *approvaltest.Memory
	queue   *held
	rows    *orgtest.Memory
}

func newPresses(t *testing.T, approvers ...string) *presses {
	e, m, k, s, q := newApprovals(t, []string{"refund"})
	p := &presses{env: e, k: k, m: m, service: s, queue: q, rows: orgtest.NewMemory()}
	p.store, _ = s.Store.(*approvaltest.Memory)
	p.store.Rows = p.rows
	e.deps.Decider, e.deps.Audit, e.deps.Random = s, p.rows, strings.NewReader("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_")
	e.run = turn.New(e.deps)
	p.name(approvers...)
	return p
}

func (p *presses) name(approvers ...string) {
	p.Helper()
	i, _, err := p.installs.Install(p.Context(), "i1")
	if err != nil {
		p.Fatal(err)
	}
	next := i
	next.Policy, next.Version = install.Policy{Approvers: approvers}, i.Version+1
	if err := p.installs.UpdateInstall(p.Context(), i, next, audit.Row{}); err != nil {
		p.Fatal(err)
	}
}

// ask lets the agent ask and returns the call.
func (p *presses) ask() approval.Approval {
	p.Helper()
	if r := p.deliver(p.job, 1); r.Retry {
		p.Fatalf("%+v %q", r, p.audit.codes)
	}
	return p.only()
}

func (p *presses) only() approval.Approval {
	p.Helper()
	all, _, err := p.service.List(p.Context(), "o1", "", 10)
	if err != nil || len(all) != 1 {
		p.Fatalf("%+v %v", all, err)
	}
	return all[0]
}

// refs are what the buttons of a post carry.
func refs(post map[string]any) (out []string) {
	for _, a := range post["attachments"].([]any) {
		for _, b := range a.(map[string]any)["blocks"].([]any) {
			for _, e := range b.(map[string]any)["elements"].([]any) {
				out = append(out, fmt.Sprint(e.(map[string]any)["value"]))
			}
		}
	}
	return out
}

// press is the job of a press.
func (p *presses) press(event, who, ref string) session.Job {
	j := p.message(event, "")
	j.Kind, j.AgentID, j.PersonaID = session.JobPress, "", ""
	j.Envelope.Actor, j.Envelope.Pressed, j.Envelope.Message, j.Envelope.Integrity = who, ref, "9.1", channel.Signed
	return j
}

// TestPressDecides: the question has buttons, the press of a named person makes the
// call, once, and the buttons give way to what was decided and by whom.
func TestPressDecides(t *testing.T) {
	for _, approve := range []bool{true, false} {
		p := newPresses(t, "U7", "U8")
		p.job.Envelope.Integrity = channel.Signed
		a := p.ask()
		choices := refs(p.vendor.posts[0])
		if len(choices) != 2 || a.Nonce == "" || !strings.Contains(fmt.Sprint(p.vendor.posts[0]["text"]), "The buttons are for") || strings.Contains(choices[0], "{") {
			t.Fatalf("%q %+v", choices, a)
		}
		ref, done := choices[0], "Approved by <@U7>: refund"
		if !approve {
			ref, done = choices[1], "Refused by <@U7>: refund"
		}
		if r := p.deliver(p.press("Pr1", "U7", ref), 1); r.Retry {
			t.Fatalf("%+v %q", r, p.audit.codes)
		}
		got := p.only()
		if want := map[bool]approval.State{true: approval.Approved, false: approval.Refused}[approve]; got.State != want || got.DecidedBy != "slack:U7" || len(p.queue.jobs) != 1 || len(p.k.called) != 0 {
			t.Fatalf("%+v, %d jobs", got, len(p.queue.jobs))
		}
		// Another named person, and the same press again: too late.
		for n, who := range []string{"U8", "U7"} {
			p.deliver(p.press(fmt.Sprintf("Pr%d", n+2), who, choices[1]), 1)
		}
		if p.only().State != got.State || len(p.queue.jobs) != 1 {
			t.Fatalf("decided again: %+v", p.only())
		}
		p.audited("approval.decided " + string(got.State))
		p.audited("approval.press_late ")
		if r := p.deliver(p.queue.jobs[0], 1); r.Retry {
			t.Fatalf("%+v %q", r, p.audit.codes)
		}
		edit := p.vendor.posts[1]
		if edit["ts"] != "9.1" || len(edit["attachments"].([]any)) != 0 || !strings.Contains(fmt.Sprint(edit["text"]), "Before I go on") || !strings.Contains(fmt.Sprint(edit["text"]), done) {
			t.Errorf("%v", edit)
		}
		if called := len(p.k.called) == 1; called != approve || len(p.vendor.posts) != 3 {
			t.Errorf("called %v, %d posts", called, len(p.vendor.posts))
		}
		if rows := actions(p.rows); !slices.Equal(rows, []string{"approval.ask function:turn", "approval." + map[bool]string{true: "approve", false: "refuse"}[approve] + " slack:U7"}) {
			t.Errorf("%q", rows)
		}
	}
}

func actions(m *orgtest.Memory) (out []string) {
	for _, r := range m.Rows() {
		out = append(out, r.Action+" "+r.Actor)
	}
	return out
}

// TestPressOfNobody: whoever was not named, a button of another question, conversation
// or install, and one that was made up change nothing; who pressed is on record.
func TestPressOfNobody(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *presses, j *session.Job)
		why    string
		row    bool
	}{
		"not named":       {func(_ *presses, j *session.Job) { j.Envelope.Actor = "U1" }, "not_an_approver", true},
		"no longer named": {func(p *presses, _ *session.Job) { p.name("U8") }, "not_an_approver", true},
		"nobody named":    {func(p *presses, _ *session.Job) { p.name() }, "not_an_approver", true},
		"another room":    {func(_ *presses, j *session.Job) { j.Envelope.Space = "C2" }, "another_conversation", true},
		"another thread":  {func(_ *presses, j *session.Job) { j.Envelope.Thread = "2.0" }, "another_conversation", true},
		"another nonce":   {func(_ *presses, j *session.Job) { j.Envelope.Pressed += "x" }, "reference", true},
		"not signed":      {func(_ *presses, j *session.Job) { j.Envelope.Integrity = channel.ByChannel }, "not_signed", true},
		"another call":    {func(_ *presses, j *session.Job) { j.Envelope.Pressed = "a:ap-9:n" }, "unknown", false},
		"made up":         {func(_ *presses, j *session.Job) { j.Envelope.Pressed = "approve" }, "malformed", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPresses(t, "U7", "U8")
			p.job.Envelope.Integrity = channel.Signed
			p.ask()
			j := p.press("Pr1", "U7", refs(p.vendor.posts[0])[0])
			c.change(p, &j)
			for n := range 3 { // more than one press is one row
				j.EventID = fmt.Sprintf("Pr%d", n)
				if r := p.deliver(j, 1); r.Retry {
					t.Fatalf("%+v", r)
				}
			}
			if a := p.only(); a.State != approval.Pending || len(p.queue.jobs) != 0 || len(p.vendor.posts) != 1 {
				t.Errorf("%+v", a)
			}
			p.audited("approval.press_refused " + c.why)
			var rows []audit.Row
			for _, r := range p.rows.Rows() {
				if r.Action == "approval.press" {
					rows = append(rows, r)
				}
			}
			want := 0
			if c.row {
				want = 1
			}
			if len(rows) != want || want == 1 && (rows[0].Actor != "slack:"+j.Envelope.Actor || rows[0].Outcome != audit.Refused || rows[0].Detail["reason"] != c.why) {
				t.Errorf("%+v", rows)
			}
		})
	}
}

// TestPressForAnotherInstall: an install that is suspended, or another tenant's, decides
// nothing.
func TestPressForAnotherInstall(t *testing.T) {
	p := newPresses(t, "U7")
	p.job.Envelope.Integrity = channel.Signed
	p.ask()
	ref := refs(p.vendor.posts[0])[0]
	foreign := p.press("Pr1", "U7", ref)
	foreign.Identity = channel.Identity{"app_id": "A1", "team_id": "T2"}
	p.deliver(foreign, 1)
	p.audited("reply.tenant_guard ")
	i, _, _ := p.installs.Install(t.Context(), "i1")
	next := i
	next.State, next.Version = install.Suspended, i.Version+1
	if err := p.installs.UpdateInstall(t.Context(), i, next, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	p.deliver(p.press("Pr2", "U7", ref), 1)
	p.audited("turn.install_inactive ")
	if a := p.only(); a.State != approval.Pending {
		t.Errorf("%+v", a)
	}
}

// TestAStoppedAppTakesNoPress: who presses in a tenant of an app that was stopped decides
// nothing.
func TestAStoppedAppTakesNoPress(t *testing.T) {
	p := newPresses(t, "U7")
	if err := p.installs.CreateInstall(t.Context(), install.Install{ID: "app_1", Org: "operator", Mode: install.App, Provider: taxonomy.Slack, State: install.Active, Version: 1}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	p.change("i1", func(i *install.Install) { i.Mode, i.App = install.Platform, "app_1" })
	p.job.Envelope.Integrity = channel.Signed
	p.ask()
	ref := refs(p.vendor.posts[0])[0]
	p.change("app_1", func(i *install.Install) { i.State = install.Suspended })
	p.deliver(p.press("Pr1", "U7", ref), 1)
	p.audited("turn.install_inactive ")
	if a := p.only(); a.State != approval.Pending {
		t.Errorf("%+v", a)
	}
	p.change("app_1", func(i *install.Install) { i.State = install.Active })
	p.deliver(p.press("Pr2", "U7", ref), 1)
	if a := p.only(); a.State != approval.Approved {
		t.Errorf("%+v", a)
	}
}

// TestNobodyIsNamed: without approvers, and with the policy that an earlier run of the
// turn found, nothing changes.
func TestNobodyIsNamed(t *testing.T) {
	p := newPresses(t)
	if a := p.ask(); a.Nonce != "" || p.vendor.posts[0]["attachments"] != nil || strings.Contains(fmt.Sprint(p.vendor.posts[0]["text"]), "buttons") {
		t.Errorf("%+v %v", a, p.vendor.posts[0])
	}
}

// TestNothingIsCutOff: a question that does not show all of a call has no buttons. Who
// presses sees nothing else of it.
func TestNothingIsCutOff(t *testing.T) {
	many := func(n int) string {
		out := `{"n":1`
		for k := range n - 1 {
			out += fmt.Sprintf(`,"x%d":0`, k)
		}
		return out + "}"
	}
	value := func(n int) string { return `{"n":1,"to":"` + strings.Repeat("a", n-2) + `"}` }
	for args, buttons := range map[string]bool{value(200): true, value(201): false, many(20): true, many(21): false, `{"n":1,"` + strings.Repeat("a", 201) + `":0}`: false} {
		p := newPresses(t, "U7")
		p.job.Envelope.Integrity = channel.Signed
		p.m.args, p.k.tools[len(p.k.tools)-1].Parameters = args, []byte(`{"type":"object","additionalProperties":true}`)
		a := p.ask()
		if (a.Nonce != "") != buttons || (p.vendor.posts[0]["attachments"] != nil) != buttons {
			t.Errorf("%.40s, %d bytes: buttons %v", args, len(args), a.Nonce != "")
		}
	}
}

// TestAskingTwice: a run that dies behind the question asks the same one again, with the
// nonce that is stored.
func TestAskingTwice(t *testing.T) {
	p := newPresses(t, "U7")
	p.job.Envelope.Integrity = channel.Signed
	failed := false
	p.store.Fail = func(method string) error {
		if method == "Approval" && !failed {
			failed = true
			return fault.New(fault.Unavailable, "test", "down")
		}
		return nil
	}
	if r := p.deliver(p.job, 1); !r.Retry || !failed {
		t.Fatalf("%+v", r)
	}
	a := p.only()
	if r := p.deliver(p.job, 2); r.Retry {
		t.Fatalf("%+v %q", r, p.audit.codes)
	}
	if p.only().Nonce != a.Nonce || !strings.HasSuffix(refs(p.vendor.posts[0])[0], a.Nonce) {
		t.Errorf("%q, stored %q, then %q", refs(p.vendor.posts[0]), a.Nonce, p.only().Nonce)
	}
}

// TestPressWhileDown: a store that does not answer loses no press.
func TestPressWhileDown(t *testing.T) {
	p := newPresses(t, "U7")
	p.job.Envelope.Integrity = channel.Signed
	p.ask()
	j := p.press("Pr1", "U7", refs(p.vendor.posts[0])[0])
	for _, method := range []string{"Approval", "Decide"} {
		p.store.Fail = func(m string) error {
			if m == method {
				return fault.New(fault.Unavailable, "test", "down")
			}
			return nil
		}
		if r := p.deliver(j, 1); !r.Retry {
			t.Errorf("%s: %+v", method, r)
		}
	}
	p.store.Fail = nil
	if r := p.deliver(j, 2); r.Retry || p.only().State != approval.Approved {
		t.Errorf("%+v %+v", r, p.only())
	}
}

// TestButtonsOfOtherEnds: what an admin's key decided, or nobody in time, is shown, too;
// a vendor that does not take the edit holds nothing up.
func TestButtonsOfOtherEnds(t *testing.T) {
	for want, decide := range map[string]func(p *presses){
		"Approved by an administrator: refund": func(p *presses) { decide(t, p.service, true) },
		"Nobody decided in time: refund":       func(p *presses) { _, _ = p.service.Finish(t.Context(), start.Add(24*time.Hour)) },
	} {
		p := newPresses(t, "U7")
		p.job.Envelope.Integrity = channel.Signed
		p.ask()
		decide(p)
		if r := p.deliver(p.queue.jobs[0], 1); r.Retry || len(p.vendor.posts) != 3 || !strings.Contains(fmt.Sprint(p.vendor.posts[1]["text"]), want) {
			t.Errorf("%+v %v", r, p.vendor.posts)
		}
	}
	p := newPresses(t, "U7")
	p.job.Envelope.Integrity = channel.Signed
	p.ask()
	decide(t, p.service, true)
	p.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { w.WriteHeader(500) }}
	if r := p.deliver(p.queue.jobs[0], 1); r.Retry || len(p.k.called) != 1 || len(p.vendor.posts) != 3 {
		t.Errorf("%+v %q", r, p.audit.codes)
	}
	p.audited("reply.edit_failed http_500")
}

// grower shows something before it answers.
type grower struct {
	turn.Model
	shown chan struct{}
}

func (g grower) Answer(ctx context.Context, q turn.AnswerRequest) (turn.Answer, error) {
	if q.Grown != nil {
		q.Grown("Let me see")
		<-g.shown
	}
	return g.Model.Answer(ctx, q)
}

// TestButtonsUnderADraft: where the answer grew in a message, the question takes its
// place, with the buttons.
func TestButtonsUnderADraft(t *testing.T) {
	p := newPresses(t, "U7")
	p.job.Envelope.Integrity = channel.Signed
	i, _, err := p.installs.Install(t.Context(), "i1")
	if err != nil {
		t.Fatal(err)
	}
	next := i
	next.Policy.Streaming, next.Version = install.StreamEdits, i.Version+1
	if err := p.installs.UpdateInstall(t.Context(), i, next, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	g := grower{p.deps.Model, make(chan struct{}, 1)}
	p.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) {
		_, _ = w.Write([]byte(`{"ok":true,"ts":"9.1"}`))
		g.shown <- struct{}{}
	}}
	p.deps.Model = g
	p.run = turn.New(p.deps)
	a := p.ask()
	if len(p.vendor.posts) != 2 || p.vendor.posts[1]["ts"] != "9.1" || !strings.HasSuffix(refs(p.vendor.posts[1])[0], a.Ref()) {
		t.Fatalf("%v", p.vendor.posts)
	}
	_, parts := p.state("Ev1")
	if len(parts) != 1 || parts[0].ProviderMessageID != "9.1" || parts[0].Ask != a.Ref() {
		t.Errorf("%+v", parts)
	}
}
