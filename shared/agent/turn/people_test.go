package turn_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
)

// desk is an agent whose model hands over with its first answer, the people who answer,
// and a clock.
type desk struct {
	*env
	m      *scripted
	k      *kit
	people *handoff.Service
	queue  *held
	now    time.Time
}

func newDesk(t *testing.T, calls ...[]string) *desk {
	e, m, k := newTools(t, calls...)
	m.args = `{"reason":" wants a refund\nover 500 "}`
	a := e.agents["o1/ag1"]
	a.Handoff = agent.Handoff{Enabled: true, ResumeAfter: time.Hour}
	e.agents["o1/ag1"] = a
	d := &desk{env: e, m: m, k: k, queue: &held{}, now: start}
	d.people = &handoff.Service{Store: e.store, Queue: d.queue, Agents: e.agents, Stage: "test"}
	e.deps.People, e.deps.Stage, e.deps.Now = e.store, "test", func() time.Time { return d.now }
	e.run = turn.New(e.deps)
	return d
}

func (d *desk) op(id string) audit.Op { return audit.Op{Actor: "key:k", ID: id, At: d.now} }

func (d *desk) session() session.Session {
	d.Helper()
	x, err := d.store.Session(d.Context(), "o1", d.job.Key().Hash())
	if err != nil {
		d.Fatal(err)
	}
	return x
}

// says queues what a person says and delivers its job.
func (d *desk) says(text, key string) string {
	d.Helper()
	id, err := d.people.Say(d.Context(), d.op("say-"+key), "o1", d.session().ID, text, key)
	if err != nil {
		d.Fatal(err)
	}
	if r := d.deliver(d.queue.jobs[len(d.queue.jobs)-1], 1); r.Retry {
		d.Fatalf("%+v %q", r, d.audit.codes)
	}
	return id
}

func (d *desk) take() {
	d.Helper()
	if _, err := d.people.Take(d.Context(), d.op("take"), "o1", d.job.Key().Hash(), "by hand"); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) roles() (out []string) {
	for _, m := range d.messages() {
		out = append(out, string(m.Role))
	}
	return out
}

// TestHandOver: the model hands over, people are told, the organisation is told once;
// then messages are stored and nothing else happens, a person's answer is posted, and
// what the agent is shown afterwards has it on its side.
func TestHandOver(t *testing.T) {
	d := newDesk(t, []string{"look", "handoff", "look"})
	if r := d.deliver(d.job, 1); r.Retry {
		t.Fatalf("%+v %q", r, d.audit.codes)
	}
	got, parts := d.state("Ev1")
	if got.State != session.TurnEnded || got.Code != turn.HandedOver || len(parts) != 1 || parts[0].State != session.Sent || len(d.k.called) != 1 || !slices.Equal(d.m.posted, []bool{true}) {
		t.Fatalf("%+v %+v, %d calls, %v", got, parts, len(d.k.called), d.m.posted)
	}
	if len(d.vendor.posts) != 1 || d.vendor.posts[0]["text"] != handoff.DefaultNote {
		t.Fatalf("%v", d.vendor.posts)
	}
	if offered := d.m.asked[0].Tools; offered[len(offered)-1].Name != agent.HandoffTool {
		t.Fatalf("%+v", offered)
	}
	x := d.session()
	if h := x.Handoff; h == nil || h.By != session.ByAgent || h.Reason != "wants a refund over 500" || h.Turn != got.ID || h.Resume != time.Hour || !h.At.Equal(start) {
		t.Fatalf("%+v", x.Handoff)
	}
	if ev := d.store.Events; len(ev) != 1 || !strings.Contains(string(ev[0].Detail), `"reason":"wants a refund over 500"`) || !strings.Contains(string(ev[0].Detail), `"session_id":"`+x.ID+`"`) ||
		!strings.Contains(string(ev[0].Detail), `"by":"agent"`) || strings.Contains(string(ev[0].Detail), "hello") {
		t.Fatalf("%+v", ev)
	}
	d.audited("turn.handed_over ")
	// Meanwhile.
	asked, held := len(d.m.asked), d.k.offered
	for n := range 30 {
		d.deliver(d.message(fmt.Sprintf("EvM%d", n), "are you there?"), 1)
	}
	if len(d.m.asked) != asked || d.k.offered != held || len(d.vendor.posts) != 1 || len(d.messages()) != 32 {
		t.Fatalf("asked %d, %d posts, %d messages", len(d.m.asked), len(d.vendor.posts), len(d.messages()))
	}
	if got, _ := d.state("EvM7"); got.State != session.TurnEnded || got.Code != turn.WithPerson || !got.Appended {
		t.Fatalf("%+v", got)
	}
	id := d.says("I'm **here**.", "k1")
	said, parts, err := d.store.Turn(t.Context(), "o1", id)
	if err != nil || said.State != session.TurnDone || len(parts) != 1 || parts[0].State != session.Sent || d.vendor.posts[1]["text"] != "I'm *here*." || d.vendor.posts[1]["thread_ts"] != "1.0" {
		t.Fatalf("%+v %+v %v %v", said, parts, d.vendor.posts, err)
	}
	if last := d.messages()[32]; last.Role != session.Human || last.Text != "I'm **here**." || len(d.m.committed) != 4 {
		t.Fatalf("%+v, %q", last, d.m.committed)
	}
	if _, err := d.people.Resume(t.Context(), d.op("resume"), "o1", x.ID); err != nil {
		t.Fatal(err)
	}
	d.m.calls = nil
	d.deliver(d.message("EvB", "thanks"), 1)
	shown := d.m.asked[len(d.m.asked)-1].Messages
	k := slices.IndexFunc(shown, func(m turn.Message) bool { return m.Text == handoff.Spoken("I'm **here**.") })
	if k < 0 || shown[k].Role != session.Assistant || !strings.Contains(shown[k+1].Text, "gave this conversation back") || shown[len(shown)-1].Text != "thanks" || len(d.vendor.posts) != 3 {
		t.Fatalf("%+v", shown)
	}
}

// TestHandOverCrashes: wherever a run dies, one note is posted, one event told, and the
// conversation is a person's.
func TestHandOverCrashes(t *testing.T) {
	die := func() { panic(crash{}) }
	for name, arm := range map[string]func(*desk){
		"before the call is stored":  func(d *desk) { d.store.Fail = nth("Step", 1, die) },
		"before it is handed over":   func(d *desk) { d.store.Fail = nth("HandOver", 1, die) },
		"handed over, not committed": func(d *desk) { d.onCommitted(2, die) },
		"before the note's part":     func(d *desk) { d.store.Fail = nth("Move", 1, die) },
		"before its end":             func(d *desk) { d.store.Fail = nth("Note", 2, die) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, []string{"handoff"})
			arm(d)
			d.die(d.job, 1)
			d.store.Fail, d.m.onCommit = nil, nil
			if r := d.deliver(d.job, 2); r.Retry {
				t.Fatalf("%+v %q", r, d.audit.codes)
			}
			got, _ := d.state("Ev1")
			if len(d.vendor.posts) != 1 || len(d.store.Events) != 1 || got.Code != turn.HandedOver || d.session().Handoff == nil || !slices.Equal(d.roles(), []string{"user", "assistant"}) {
				t.Fatalf("%v, %d events, %+v, %q", d.vendor.posts, len(d.store.Events), got, d.roles())
			}
		})
	}
}

// onCommitted ends the run when a receipt is committed for the n-th time.
func (d *desk) onCommitted(n int, f func()) {
	d.m.onCommit = func() {
		if n--; n == 0 {
			f()
		}
	}
}

// TestTakenOverMeanwhile: what the model says is paid and not posted where a person took
// the conversation over while it was asked.
func TestTakenOverMeanwhile(t *testing.T) {
	for name, calls := range map[string][][]string{"an answer": nil, "a handoff": {{"handoff"}}} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, calls...)
			once(&d.m.onAnswer, d.take)
			if r := d.deliver(d.job, 1); r.Retry {
				t.Fatalf("%+v %q", r, d.audit.codes)
			}
			got, parts := d.state("Ev1")
			if got.State != session.TurnEnded || got.Code != turn.WithPerson || len(parts) != 0 || len(d.vendor.posts) != 0 || !slices.Contains(d.m.committed, "receipt1") || !slices.Equal(d.m.posted, []bool{false}) {
				t.Fatalf("%+v %+v, %d posts, %q %v", got, parts, len(d.vendor.posts), d.m.committed, d.m.posted)
			}
			if !slices.Equal(d.roles(), []string{"user", "notice"}) || d.session().Handoff.By != "key:k" || len(d.store.Events) != 1 {
				t.Fatalf("%q %+v", d.roles(), d.session().Handoff)
			}
		})
	}
}

// TestTakenOverBetweenRuns: what an earlier run of the turn held for its answer is given
// back, and what it did stays done.
func TestTakenOverBetweenRuns(t *testing.T) {
	d := newDesk(t, []string{"look"})
	once(&d.k.onCall, func() { panic(crash{}) })
	d.die(d.job, 1)
	d.take()
	if r := d.deliver(d.job, 2); r.Retry {
		t.Fatalf("%+v %q", r, d.audit.codes)
	}
	if got, parts := d.state("Ev1"); got.Code != turn.WithPerson || len(parts) != 0 || len(d.k.called) != 1 || len(d.m.asked) != 1 || !slices.Equal(d.m.posted, []bool{false}) || len(d.messages()) != 2 {
		t.Fatalf("%+v %+v, %v, %q", got, parts, d.m.posted, d.roles())
	}
}

// TestResumeByTime: the first message that comes an hour after the last answer of a
// person is the agent's again; one before is not.
func TestResumeByTime(t *testing.T) {
	d := newDesk(t, []string{"handoff"})
	d.deliver(d.job, 1)
	d.m.calls = nil
	d.now = start.Add(50 * time.Minute)
	d.says("one moment", "k1")
	d.now = d.now.Add(time.Hour - time.Millisecond)
	d.deliver(d.message("Ev2", "still there?"), 1)
	if len(d.m.asked) != 1 || d.session().Handoff == nil {
		t.Fatalf("asked %d times", len(d.m.asked))
	}
	d.now = d.now.Add(time.Millisecond)
	d.store.Fail = nth("Open", 2, func() { panic(crash{}) }) // behind the change
	d.die(d.message("Ev3", "hello?"), 1)
	d.store.Fail = nil
	if r := d.deliver(d.message("Ev3", "hello?"), 2); r.Retry || len(d.m.asked) != 2 || d.session().Handoff != nil || len(d.vendor.posts) != 3 {
		t.Fatalf("%+v, asked %d times, %+v, %d posts", r, len(d.m.asked), d.session().Handoff, len(d.vendor.posts))
	}
	if want := []string{"user", "assistant", "human", "user", "notice", "user", "assistant"}; !slices.Equal(d.roles(), want) {
		t.Fatalf("%q", d.roles())
	}
	// Without a limit it stays the person's.
	d.take()
	x := d.session()
	x.Handoff.Resume = 0
	if x.Handoff.Over(start.Add(10_000 * time.Hour)) {
		t.Error("over without a limit")
	}
}

// TestApprovalWithAPerson: a decision in a conversation that a person answers in makes
// the call; what came of it is stored, and nobody is asked or told.
func TestApprovalWithAPerson(t *testing.T) {
	for name, c := range map[string]struct {
		approve bool
		arm     func(*env)
		calls   int
		want    string
	}{
		"approved": {true, nil, 1, "ended with ok: result1"},
		"refused":  {false, nil, 0, ""},
		"dies":     {true, func(e *env) { e.store.Fail = nth("Plan", 1, func() { panic(crash{}) }) }, 1, "ended with ok: result1"},
		"no tool":  {true, func(e *env) { e.agents["o1/ag1"] = agent.Agent{ID: "ag1", Org: "o1"} }, 0, "ended with unknown_tool"},
	} {
		t.Run(name, func(t *testing.T) {
			e, m, k, s, q := newApprovals(t, []string{"refund", "look"})
			e.deps.People = e.store
			e.run = turn.New(e.deps)
			e.deliver(e.job, 1)
			people := handoff.Service{Store: e.store, Queue: q, Agents: e.agents}
			if _, err := people.Take(t.Context(), audit.Op{Actor: "key:k", ID: "take", At: start}, "o1", e.job.Key().Hash(), ""); err != nil {
				t.Fatal(err)
			}
			a := decide(t, s, c.approve)
			if c.arm != nil {
				c.arm(e)
			}
			if name == "dies" {
				e.die(q.jobs[0], 1)
				e.store.Fail = nil
			}
			if r := e.deliver(q.jobs[0], 2); r.Retry {
				t.Fatalf("%+v %q", r, e.audit.codes)
			}
			all := e.messages()
			last := all[len(all)-1]
			if len(k.called) != c.calls || len(m.asked) != 1 || len(e.vendor.posts) != 1 || last.Role != session.Notice || c.want != "" && !strings.Contains(last.Text, c.want) || c.want == "" && !strings.Contains(last.Text, "refused") {
				t.Fatalf("%d calls, asked %d times, %d posts, %+v", len(k.called), len(m.asked), len(e.vendor.posts), last)
			}
			if got, _ := e.state(approval.EventID(a.ID)); got.Code != turn.WithPerson || got.State != session.TurnEnded {
				t.Fatalf("%+v", got)
			}
			if c.calls == 1 && k.called[0].Tool.Name != "refund" {
				t.Fatalf("%+v", k.called)
			}
		})
	}
}

// TestWhatAPersonGetsToSee: recordings are not transcribed, other bots' messages come in
// only where the install wants them, and a missing agent loses nothing.
func TestWhatAPersonGetsToSee(t *testing.T) {
	d := newDesk(t)
	d.deliver(d.job, 1)
	d.take()
	delete(d.agents, "o1/ag1")
	spoken := d.message("Ev2", "")
	spoken.Envelope.Media = []channel.Attachment{{ID: "f1", MIME: "audio/ogg"}}
	d.deliver(spoken, 1)
	bot := d.message("Ev3", "beep")
	bot.Envelope.IsBot, bot.Envelope.Actor = true, "B1"
	d.deliver(bot, 1)
	if got, _ := d.state("Ev3"); got.Code != "turn.bot_ignored" {
		t.Fatalf("%+v", got)
	}
	d.bots(install.BotsAll)
	for n := range 8 {
		d.deliver(d.bot(n), 1)
	}
	all := d.messages()
	if len(all) != 12 || all[3].Text != turn.Unplayed || len(d.m.asked) != 1 || len(d.vendor.posts) != 1 || strings.Contains(fmt.Sprint(d.audit.codes), "loop") {
		t.Fatalf("%d messages, %+v, %q", len(all), all[3], d.audit.codes)
	}
}

// TestBadHandoffs: arguments that do not fit are a result for the model; without the
// setting there is no such tool.
func TestBadHandoffs(t *testing.T) {
	for name, c := range map[string]struct {
		args string
		on   bool
		want string
	}{
		"no reason": {`{}`, true, "arguments"}, "not enabled": {`{"reason":"x"}`, false, "There is no such tool"},
	} {
		d := newDesk(t, []string{"handoff"})
		d.m.args = c.args
		a := d.agents["o1/ag1"]
		a.Handoff.Enabled = c.on
		d.agents["o1/ag1"] = a
		d.deliver(d.job, 1)
		if d.session().Handoff != nil || len(d.vendor.posts) != 1 || !strings.Contains(fmt.Sprint(d.vendor.posts[0]["text"]), c.want) {
			t.Errorf("%s: %v %+v", name, d.vendor.posts, d.session().Handoff)
		}
	}
}

// TestAPersonIsGuarded: what a person says goes out over an install that is active and
// still the tenant's, once, whatever happens to its send.
func TestAPersonIsGuarded(t *testing.T) {
	d := newDesk(t)
	d.deliver(d.job, 1)
	d.take()
	say := func(key string) session.Job {
		t.Helper()
		if _, err := d.people.Say(t.Context(), d.op("say-"+key), "o1", d.job.Key().Hash(), "hello", key); err != nil {
			t.Fatal(err)
		}
		return d.queue.jobs[len(d.queue.jobs)-1]
	}
	die := func() { panic(crash{}) }
	lost := say("lost")
	once(&d.onSend, die)
	d.die(lost, 1)
	d.deliver(lost, 2)
	if _, parts := d.state(lost.EventID); len(parts) != 1 || parts[0].State != session.Unknown || len(d.vendor.posts) != 1 {
		t.Fatalf("%+v, %d posts", parts, len(d.vendor.posts))
	}
	foreign := say("foreign")
	foreign.Identity = channel.Identity{"app_id": "A1", "team_id": "T2"}
	d.deliver(foreign, 1)
	if got, parts := d.state(foreign.EventID); got.State != session.TurnEnded || got.Code != string(turn.TenantGuard) || len(parts) != 0 || len(d.vendor.posts) != 1 {
		t.Fatalf("%+v %+v", got, parts)
	}
	gone := say("gone")
	i, _, _ := d.installs.Install(context.Background(), "i1")
	next := i
	next.State, next.Version = install.Suspended, i.Version+1
	if err := d.installs.UpdateInstall(t.Context(), i, next, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	d.deliver(gone, 1)
	if got, _ := d.state(gone.EventID); got.Code != string(turn.InstallInactive) || len(d.vendor.posts) != 1 {
		t.Fatalf("%+v", got)
	}
}

// TestTakenOverWhileItFails: a conversation that a person has taken over gets no notice.
func TestTakenOverWhileItFails(t *testing.T) {
	d := newDesk(t)
	d.model.err = fault.New(fault.ContentFiltered, "", "x")
	d.model.onAnswer = func() { d.take() }
	if r := d.deliver(d.job, 1); r.Retry || len(d.vendor.posts) != 0 {
		t.Fatalf("%+v %v", r, d.vendor.posts)
	}
	if got, _ := d.state("Ev1"); got.Code != turn.WithPerson {
		t.Errorf("%+v", got)
	}
}

// TestTakenOverWhileItGrows: half an answer that people have seen gets its end; one that
// becomes a handoff becomes its note.
func TestTakenOverWhileItGrows(t *testing.T) {
	for name, c := range map[string]struct {
		calls [][]string
		code  string
		ends  string
	}{"by hand": {nil, turn.WithPerson, turn.NoticeBroken}, "by the model": {[][]string{{"handoff"}}, turn.HandedOver, handoff.DefaultNote}} {
		d := newDesk(t, c.calls...)
		b := d.edits("let me", "let me see")
		grow := d.model.onAnswer
		d.model.onAnswer = func() {
			grow()
			if c.calls == nil {
				d.take()
			}
		}
		if r := d.deliver(d.job, 1); r.Retry {
			t.Fatalf("%s: %+v %q", name, r, d.audit.codes)
		}
		d.said(b, []string{"let me", "m1 let me see", "m1 " + c.ends}, []string{c.ends})
		if got, parts := d.state("Ev1"); got.Code != c.code || len(parts) != 1 || parts[0].State != session.Sent || d.session().Handoff == nil {
			t.Errorf("%s: %+v %+v", name, got, parts)
		}
	}
}
