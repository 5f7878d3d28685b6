package handoff_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/session/sessiontest"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

var at = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type queue struct {
	err  error
	sent []string // group, id and body
}

func (q *queue) Send(_ context.Context, group, id string, body []byte) error {
	q.sent = append(q.sent, group+" "+id+" "+string(body))
	return q.err
}

type agents struct{ err error }

func (a agents) Agent(context.Context, string, string) (agent.Agent, error) {
	if a.err != nil {
		return agent.Agent{}, a.err
	}
	return agent.Agent{Handoff: agent.Handoff{ResumeAfter: time.Hour}}, nil
}

// kit is a session in which somebody has written.
type kit struct {
	*testing.T
	store   *sessiontest.Memory
	queue   *queue
	service *handoff.Service
	job     session.Job
	id      string
}

func newKit(t *testing.T) *kit {
	k := &kit{T: t, store: sessiontest.NewMemory(), queue: &queue{}}
	k.service = &handoff.Service{Store: k.store, Queue: k.queue, Agents: agents{}, Stage: "test"}
	k.job = session.Job{Kind: session.JobMessage, Org: "o1", Install: "i1", EventID: "e1", AgentID: "ag1", PersonaID: "p1", Tenant: "T:T1", Identity: channel.Identity{"team_id": "T1"}, ReceivedAt: at,
		Envelope: channel.Envelope{Provider: taxonomy.Slack, EventID: "e1", Space: "C1", Thread: "1.0", ReplyTo: "R1", Actor: "U1", Text: "secret words", Addressed: []string{"secret"}, IsBot: true}}
	k.id = k.job.Key().Hash()
	if _, err := k.store.Open(t.Context(), session.Session{Org: "o1", ID: k.id, Install: "i1", AgentID: "ag1", PersonaID: "p1"}, at); err != nil {
		t.Fatal(err)
	}
	way, err := json.Marshal(k.job.Continuing())
	if err != nil || strings.Contains(string(way), "secret") {
		t.Fatal(err, string(way))
	}
	k.write(way)
	return k
}

func (k *kit) write(way []byte) {
	k.Helper()
	t, _, _, err := k.store.Claim(k.Context(), session.Claim{Turn: session.Turn{Org: "o1", ID: "t-" + string(rune('a'+len(way)%20)), Session: k.id}, Now: at})
	if err == nil {
		err = k.store.Append(k.Context(), t, session.Message{Role: session.User, Text: "hi", Way: way, At: at})
	}
	if err != nil {
		k.Fatal(err)
	}
}

func op(id string) audit.Op { return audit.Op{Actor: "key:k", ID: id, At: at} }

func (k *kit) want(err error, code fault.Code, param string) {
	k.Helper()
	if fault.CodeOf(err) != code || code != "" && fault.As(err).Param != param {
		k.Errorf("%v, want %s %s", err, code, param)
	}
}

func TestTakeAndResume(t *testing.T) {
	k := newKit(t)
	_, err := k.service.Resume(t.Context(), op("r0"), "o1", k.id)
	k.want(err, fault.Conflict, "")
	for _, reason := range []string{"two\nlines", strings.Repeat("x", handoff.MaxReason+1), " x", "\xff"} {
		_, err := k.service.Take(t.Context(), op("t0"), "o1", k.id, reason)
		k.want(err, fault.InvalidRequest, "reason")
	}
	for _, org := range []string{"o2", ""} {
		_, err = k.service.Take(t.Context(), op("t1"), org, k.id, "")
		k.want(err, fault.NotFound, "")
	}
	x, err := k.service.Take(t.Context(), op("t2"), "o1", k.id, "a refund")
	if err != nil || x.Handoff.By != "key:k" || x.Handoff.Resume != time.Hour || x.Handoff.Reason != "a refund" || x.Next != 2 {
		t.Fatalf("%+v %v", x, err)
	}
	if ev := k.store.Events; len(ev) != 1 || !strings.Contains(string(ev[0].Detail), `"by":"person"`) || ev[0].Type != "latchkey.session.handoff" || strings.Contains(string(ev[0].Detail), "key:k") {
		t.Fatalf("%+v", ev)
	}
	_, err = k.service.Take(t.Context(), op("t3"), "o1", k.id, "")
	k.want(err, fault.Conflict, "")
	if page, _, err := k.service.List(t.Context(), "o1", "", 5); err != nil || len(page) != 1 {
		t.Fatalf("%+v %v", page, err)
	}
	x, err = k.service.Resume(t.Context(), op("r1"), "o1", k.id)
	if err != nil || x.Handoff != nil || len(k.store.Events) != 1 {
		t.Fatalf("%+v %v", x, err)
	}
	k.service.Agents = agents{fault.New(fault.NotFound, "", "")}
	if x, err = k.service.Take(t.Context(), op("t4"), "o1", k.id, ""); err != nil || x.Handoff.Resume != 0 {
		t.Fatalf("%+v %v", x, err)
	}
}

// TestTakeAmongMessages: a message that comes between is read, and the change made over
// it.
func TestTakeAmongMessages(t *testing.T) {
	k := newKit(t)
	n := 0
	k.store.Fail = func(method string) error {
		if n++; method == "Hand" && n < 3 {
			k.store.Fail = nil
			k.write([]byte("another"))
		}
		return nil
	}
	if x, err := k.service.Take(t.Context(), op("t1"), "o1", k.id, ""); err != nil || x.Next != 3 {
		t.Fatalf("%+v %v", x, err)
	}
	k.store.Fail = func(method string) error {
		if method == "Hand" {
			return session.ErrChanged
		}
		return nil
	}
	_, err := k.service.Resume(t.Context(), op("r1"), "o1", k.id)
	k.want(err, fault.Unavailable, "")
}

func TestSay(t *testing.T) {
	k := newKit(t)
	say := func(text, key string) (string, error) {
		return k.service.Say(t.Context(), op("s1"), "o1", k.id, text, key)
	}
	_, err := say("hello", "k")
	k.want(err, fault.Conflict, "")
	if _, err := k.service.Take(t.Context(), op("t1"), "o1", k.id, ""); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", " \n", strings.Repeat("x", handoff.MaxText+1), "a\x00b", "\xff"} {
		_, err := say(text, "k")
		k.want(err, fault.InvalidRequest, "text")
	}
	for _, key := range []string{"a b", strings.Repeat("x", handoff.MaxKey+1), "é"} {
		_, err := say("hello", key)
		k.want(err, fault.InvalidRequest, "idempotency_key")
	}
	_, err = k.service.Say(t.Context(), op("s1"), "o2", k.id, "hello", "k")
	k.want(err, fault.NotFound, "")
	if len(k.queue.sent) != 0 {
		t.Fatalf("%q", k.queue.sent)
	}
	first, err := say("hello\n\tyou", "k")
	if err != nil {
		t.Fatal(err)
	}
	group, rest, _ := strings.Cut(k.queue.sent[0], " ")
	id, body, _ := strings.Cut(rest, " ")
	job, err := session.DecodeJob([]byte(body))
	if err != nil || group != k.id || id != session.QueueID("i1", job.EventID) || first != session.TurnID("i1", job.EventID) || job.Kind != session.JobHuman || job.Envelope.Text != "hello\n\tyou" ||
		job.Envelope.ReplyTo != "R1" || job.Envelope.IsBot || job.Identity["team_id"] != "T1" || job.Key().Hash() != k.id {
		t.Fatalf("%s %+v %v", group, job, err)
	}
	// Again is the same message, another text under the key is refused.
	if again, err := say("hello\n\tyou", "k"); err != nil || again != first || k.queue.sent[1][:len(group)+len(id)+1] != k.queue.sent[0][:len(group)+len(id)+1] {
		t.Fatalf("%s %v", again, err)
	}
	_, err = say("hello", "k")
	k.want(err, fault.Conflict, "idempotency_key")
	if other, err := say("hello", ""); err != nil || other == first || len(k.queue.sent) != 3 {
		t.Fatalf("%s %v", other, err)
	}
	// What the queue does not take is said again under its key.
	k.queue.err = fault.New(fault.Unavailable, "", "")
	_, err = say("lost", "k2")
	k.want(err, fault.Unavailable, "")
	k.queue.err = nil
	if _, err = say("lost", "k2"); err != nil || len(k.queue.sent) != 5 {
		t.Fatal(err)
	}
	// Also where the agent went on meanwhile, and only what was said before.
	k.queue.err = fault.New(fault.Unavailable, "", "")
	_, err = say("late", "k3")
	k.want(err, fault.Unavailable, "")
	k.queue.err = nil
	if _, err := k.service.Resume(t.Context(), op("r1"), "o1", k.id); err != nil {
		t.Fatal(err)
	}
	turn, err := say("late", "k3")
	if err != nil || len(k.queue.sent) != 7 || !strings.Contains(k.queue.sent[6], "late") || turn == first {
		t.Fatalf("%s %v", turn, err)
	}
	_, err = say("other", "k3")
	k.want(err, fault.Conflict, "idempotency_key")
	_, err = say("late", "k4")
	k.want(err, fault.Conflict, "")
	k.store.Fail = func(method string) error {
		if method == "Said" {
			return fault.New(fault.Unavailable, "", "")
		}
		return nil
	}
	_, err = say("late", "k3")
	if k.want(err, fault.Unavailable, ""); len(k.queue.sent) != 7 {
		t.Errorf("%q", k.queue.sent)
	}
}

// TestSayNeedsAWay: without a message since ways are kept, or with one of another
// conversation, nothing is posted.
func TestSayNeedsAWay(t *testing.T) {
	for _, c := range []struct {
		way  func(session.Job) []byte
		code fault.Code
	}{
		{func(session.Job) []byte { return nil }, fault.Conflict},
		{func(session.Job) []byte { return []byte("{") }, fault.Internal},
		{func(j session.Job) []byte { j.Envelope.Space = "C2"; b, _ := json.Marshal(j); return b }, fault.Internal},
		{func(j session.Job) []byte { j.Org = "o2"; b, _ := json.Marshal(j); return b }, fault.Internal},
	} {
		k := newKit(t)
		x, err := k.store.Session(t.Context(), "o1", k.id)
		if err != nil {
			t.Fatal(err)
		}
		x.Handoff, x.Way = &session.Handoff{At: at}, c.way(k.job)
		k.service.Store = fixed{k.store, x}
		_, err = k.service.Say(t.Context(), op("s1"), "o1", k.id, "hello", "k")
		k.want(err, c.code, "")
		if len(k.queue.sent) != 0 {
			t.Error("queued")
		}
	}
}

type fixed struct {
	handoff.Store
	x session.Session
}

func (f fixed) Session(context.Context, string, string) (session.Session, error) { return f.x, nil }

func TestTool(t *testing.T) {
	h := handoff.Tool()
	if _, err := tool.ParseSchema(h.Parameters); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("é", handoff.MaxReason)
	for args, want := range map[string]string{`{"reason":" a\n\tb "}`: "a  b", `{"reason":"` + long + `"}`: long[:handoff.MaxReason]} {
		if r, ok := h.Accepts(args); !ok || handoff.Reason(args) != want {
			t.Errorf("%q %q %v", args, handoff.Reason(args), r)
		}
	}
	for _, args := range []string{`{}`, `{"reason":5}`, `{"reason":"x","more":1}`, `[]`, ``} {
		if _, ok := h.Accepts(args); ok {
			t.Errorf("%q", args)
		}
	}
	if handoff.Reason("no JSON") != "" || errors.Is(session.ErrTakenOver, session.ErrFenced) {
		t.Error("no reason")
	}
}
