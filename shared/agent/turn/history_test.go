package turn_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/agent/history"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
)

// noting is a model that sums up by keeping every word that begins with "fact".
type noting struct {
	*model
	asides []turn.AnswerRequest
	err    error
	silent bool
	onNote func()
}

func (m *noting) Answer(ctx context.Context, q turn.AnswerRequest) (turn.Answer, error) {
	if !q.Aside {
		return m.model.Answer(ctx, q)
	}
	m.asides = append(m.asides, q)
	if m.onNote != nil {
		m.onNote()
	}
	if m.err != nil {
		return turn.Answer{}, m.err
	}
	var facts []string
	for _, w := range strings.Fields(q.Messages[0].Text) {
		if strings.HasPrefix(w, "fact") {
			facts = append(facts, w)
		}
	}
	a := turn.Answer{Text: strings.Join(facts, " "), RequestIDs: []string{fmt.Sprintf("note%d", len(m.asides))}, Receipt: []byte(fmt.Sprintf("notereceipt%d", len(m.asides)))}
	if m.silent {
		a.Text = " "
	}
	return a, nil
}

func newNoting(t *testing.T, budget int64) (*env, *noting) {
	e := newEnv(t)
	m := &noting{model: e.model}
	e.deps.Model = m
	e.run = turn.New(e.deps)
	a := e.agents["o1/ag1"]
	a.HistoryTokens = budget
	e.agents["o1/ag1"] = a
	e.model.answer.Text = strings.Repeat("word ", 30)
	return e, m
}

func (e *env) session() session.Session {
	e.Helper()
	x, err := e.store.Session(e.Context(), "o1", e.job.Key().Hash())
	if err != nil {
		e.Fatal(err)
	}
	return x
}

// TestHistoryWithSummary: 300 messages; the budget is kept in every request,
// summaries are made once per many messages, what they hold reaches the model, and
// every message is either in the summary's range or shown, never both.
func TestHistoryWithSummary(t *testing.T) {
	const budget, talk = 2_000, 150
	e, m := newNoting(t, budget)
	for i := range talk {
		text := fmt.Sprintf("message %d %s", i, strings.Repeat("y", 100))
		if i%50 == 0 {
			text += fmt.Sprintf(" fact%d", i)
		}
		if r := e.deliver(e.message(fmt.Sprintf("P%d", i), text), 1); r.Retry {
			t.Fatalf("%d: %+v", i, r)
		}
		q, tokens := e.model.asked[len(e.model.asked)-1], int64(0)
		for _, msg := range q.Messages {
			tokens += history.Tokens(msg.Text)
		}
		if tokens > budget || q.Messages[len(q.Messages)-1].Text != text {
			t.Fatalf("message %d: %d tokens of history", i, tokens)
		}
		note := ""
		if strings.HasPrefix(q.Messages[0].Text, "Notes on the earlier part") {
			note, q.Messages = q.Messages[0].Text, q.Messages[1:]
		}
		for k := 0; k <= i; k += 50 {
			fact, shown := fmt.Sprintf("fact%d", k), 0
			for _, msg := range q.Messages {
				shown += strings.Count(msg.Text+" ", fact+" ")
			}
			if shown += strings.Count(note+" ", fact+" "); shown != 1 {
				t.Fatalf("message %d: %s is shown %d times", i, fact, shown)
			}
		}
		// From the summary on the conversation has no gap: two messages a turn.
		if x := e.session(); x.Next != int64(2*(i+1)) || x.Next-1-x.Summary.Before != int64(len(q.Messages)) {
			t.Fatalf("message %d: summary of %d, %d shown, %d stored", i, x.Summary.Before, len(q.Messages), x.Next)
		}
	}
	// A turn is about 90 tokens, half of the budget about 800: one in nine turns.
	if n := len(m.asides); n < 8 || n > talk/8 {
		t.Fatalf("%d summaries for %d turns", n, talk)
	}
	if len(m.committed) != talk+len(m.asides) {
		t.Fatalf("%d of %d requests were committed", len(m.committed), talk+len(m.asides))
	}
	q := m.asides[1]
	if q.RequestKey != session.RequestKey("i1", e.turnOf(q), "ag1", "summary") || !strings.Contains(q.System, "notes of a conversation") ||
		!strings.HasPrefix(q.Messages[0].Text, "Notes so far:\nfact0") || q.Agent.ID != "ag1" {
		t.Fatalf("%+v", q)
	}
	if all, _, _ := e.store.Messages(t.Context(), "o1", e.job.Key().Hash(), "", 1_000); len(all) != 2*talk {
		t.Fatalf("%d messages are left", len(all))
	}
}

// turnOf finds the event whose turn made a request.
func (e *env) turnOf(q turn.AnswerRequest) string {
	for i := range 1_000 {
		if id := fmt.Sprintf("P%d", i); session.RequestKey("i1", id, "ag1", "summary") == q.RequestKey {
			return id
		}
	}
	return ""
}

// full talks until the next message brings about a summary.
func full(t *testing.T, e *env, m *noting) (next session.Job) {
	t.Helper()
	m.onNote = func() { panic(crash{}) }
	for i := range 100 {
		next = e.message(fmt.Sprintf("P%d", i), fmt.Sprintf("message %d fact%d %s", i, i, strings.Repeat("y", 100)))
		if done := func() (due bool) {
			defer func() { due = recover() != nil }()
			e.deliver(next, 1)
			return false
		}(); done {
			m.onNote, m.asides = nil, nil
			return next
		}
	}
	t.Fatal("no summary was asked for")
	return next
}

// TestSummaryCrashes: wherever the run dies, the next one ends with one summary of
// the same messages, each request is committed, and none is asked for twice once
// its summary is stored.
func TestSummaryCrashes(t *testing.T) {
	die := func() { panic(crash{}) }
	for name, c := range map[string]struct {
		arm   func(*env, *noting)
		asked int
	}{
		"before the summary is stored": {func(e *env, _ *noting) { e.store.Fail = at("Fold", die) }, 2},
		"after it is stored":           {func(e *env, _ *noting) { e.store.Fail = after("Fold", die) }, 1},
		"after its commit":             {func(e *env, m *noting) { once(&m.onCommit, die) }, 1},
		"while the model answers":      {func(e *env, m *noting) { once(&m.onAnswer, die) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e, m := newNoting(t, 1_000)
			job := full(t, e, m)
			stored := e.session().Next
			c.arm(e, m)
			e.die(job, 2)
			e.store.Fail = nil
			if r := e.deliver(job, 3); r.Retry {
				t.Fatalf("%+v %q", r, e.audit.codes)
			}
			x := e.session()
			got, _ := e.state(job.EventID)
			if len(m.asides) != c.asked || x.Next != stored+1 || x.Summary.Before == 0 || got.State != session.TurnDone || len(got.Steps) != 1 || !got.Committed {
				t.Fatalf("asked %d times, %+v %+v", len(m.asides), x, got)
			}
			note := fmt.Sprintf("notereceipt%d", c.asked)
			if !contains(m.committed, note) || !contains(got.RequestIDs, fmt.Sprintf("note%d", c.asked)) {
				t.Fatalf("committed %q, requests %q", m.committed, got.RequestIDs)
			}
			last := e.model.asked[len(e.model.asked)-1]
			if shown := len(last.Messages) - 1; int64(shown) != x.Next-1-x.Summary.Before || !strings.Contains(last.Messages[0].Text, "fact0") {
				t.Fatalf("%d messages shown beside a summary of %d of %d", shown, x.Summary.Before, x.Next)
			}
			e.audited("turn.summarised ")
		})
	}
}

func contains(list []string, want string) bool {
	for _, s := range list {
		if s == want {
			return true
		}
	}
	return false
}

// TestSummaryIsCommittedLater: what is stored and not committed is by the next run.
func TestSummaryIsCommittedLater(t *testing.T) {
	e, m := newNoting(t, 1_000)
	job := full(t, e, m)
	asked := len(m.asked)
	m.commitErr = fault.New(fault.LedgerUnavailable, "", "")
	if r := e.deliver(job, 2); !r.Retry || len(m.asked) != asked {
		t.Fatalf("%+v", r)
	}
	m.commitErr = nil
	if r := e.deliver(job, 3); r.Retry || len(m.asides) != 1 || !contains(m.committed, "notereceipt1") {
		t.Fatalf("%+v, %d summaries, committed %q", r, len(m.asides), m.committed)
	}
}

// TestNoSummary: without one the conversation goes on with what fits; a model that
// answers nothing is not asked again with every message.
func TestNoSummary(t *testing.T) {
	e, m := newNoting(t, 1_000)
	job := full(t, e, m)
	m.err = fault.New(fault.ProviderOverloaded, "", "x")
	if r := e.deliver(job, 2); r.Retry {
		t.Fatalf("%+v", r)
	}
	e.audited("turn.summary_failed provider_overloaded")
	if x := e.session(); x.Summary != (session.Summary{}) || len(m.asides) != 1 {
		t.Fatalf("%+v", x)
	}
	last := e.model.asked[len(e.model.asked)-1]
	tokens := int64(0)
	for _, msg := range last.Messages {
		tokens += history.Tokens(msg.Text)
	}
	if tokens > 1_000 || len(last.Messages) < 5 {
		t.Fatalf("%d messages, %d tokens", len(last.Messages), tokens)
	}
	m.err, m.silent = nil, true
	e.deliver(e.message("Q1", "more"), 1)
	if x := e.session(); !strings.Contains(x.Summary.Text, "fact0") || x.Summary.Before == 0 || len(m.asides) != 2 {
		t.Fatalf("%+v", x)
	}
	e.deliver(e.message("Q2", "more"), 1)
	if len(m.asides) != 2 {
		t.Fatal("a model that said nothing was asked again with the next message")
	}
}

// TestNoSummaryWithoutCredits: the people get the notice, whichever call was
// refused.
func TestNoSummaryWithoutCredits(t *testing.T) {
	e, m := newNoting(t, 1_000)
	job := full(t, e, m)
	broke := fault.New(fault.InsufficientCredits, "", "x")
	m.err, m.model.err = broke, broke
	posts := len(e.vendor.posts)
	if r := e.deliver(job, 2); r.Retry || len(e.vendor.posts) != posts+1 || !strings.Contains(fmt.Sprint(e.vendor.posts[posts]["text"]), "out of credits") {
		t.Fatalf("%+v %+v", r, e.vendor.posts[posts:])
	}
}
