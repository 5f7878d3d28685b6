package turn_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// newPage is a runner whose install is the chat of a page: nobody holds a token of it.
func newPage(t *testing.T) *env {
	e := newEnv(t)
	if err := e.installs.CreateInstall(t.Context(), install.Install{ID: "w1", Org: "o1", Provider: taxonomy.Web, State: install.Active, Version: 1}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	e.agents["o1/ag1"] = agent.Agent{ID: "ag1", Org: "o1", Instructions: "Be brief.", Personas: []agent.Persona{{ID: "p1", Name: "Eva", Instructions: "Be kind."}}}
	e.tokens.asked = func() { t.Error("a token was asked for") }
	e.deps.Signs = e.store
	e.run = turn.New(e.deps)
	e.job = e.visit("one")
	return e
}

func (e *env) visit(id string) session.Job {
	j := e.message("ada/"+id, "hello "+id)
	j.Install, j.Tenant, j.Identity = "w1", "", nil
	j.Envelope.Provider, j.Envelope.Space, j.Envelope.Thread, j.Envelope.Actor, j.Envelope.Direct, j.Envelope.Message = taxonomy.Web, "ada", "", "ada", true, id
	return j
}

// page is what the visitor is shown.
func (e *env) page() string {
	e.Helper()
	p, err := e.store.Shown(e.Context(), "o1", e.job.Key().Hash(), 0, 99)
	if err != nil {
		e.Fatal(err)
	}
	var out []string
	for _, x := range p.Items {
		out = append(out, fmt.Sprintf("%s %s [%s%s]", x.Role, x.Text, x.By, x.Message))
	}
	return strings.Join(out, "|")
}

func (e *env) visitTurn(j session.Job) (session.Turn, []session.Part) {
	e.Helper()
	t, parts, err := e.store.Turn(e.Context(), "o1", session.TurnID(j.Install, j.EventID))
	if err != nil {
		e.Fatal(err)
	}
	return t, parts
}

func (e *env) setState(s install.State) {
	e.Helper()
	i, _, err := e.installs.Install(e.Context(), "w1")
	next := i
	next.State, next.Version = s, i.Version+1
	if err == nil {
		err = e.installs.UpdateInstall(e.Context(), i, next, audit.Row{})
	}
	if err != nil {
		e.Fatal(err)
	}
}

func TestPageIsShown(t *testing.T) {
	e := newPage(t)
	e.model.answer.Text = "# An **answer**"
	for n := range 3 {
		if r := e.deliver(e.job, int64(n+1)); r.Retry {
			t.Fatalf("%+v %q", r, e.audit.codes)
		}
	}
	if got := e.page(); got != "user hello one [one]|assistant An answer [Eva]" || len(e.vendor.posts) != 0 {
		t.Errorf("%s, %d posts", got, len(e.vendor.posts))
	}
	x, parts := e.visitTurn(e.job)
	if x.State != session.TurnDone || len(parts) != 1 || parts[0].State != session.Sent || parts[0].ProviderMessageID != x.ID+"-1" {
		t.Errorf("%+v %+v", x, parts)
	}
	e.model.wantPosted(t, true)
	e.model.err = fault.New(fault.InsufficientCredits, "", "x")
	e.deliver(e.visit("two"), 1)
	if got := e.page(); !strings.HasSuffix(got, "|user hello two [two]|notice "+turn.Notice+" [Eva]") {
		t.Error(got)
	}
}

// TestPageIsShownOnce: whatever the store says of a write, and whoever dies around it,
// each part is shown once, and none is unknown.
func TestPageIsShownOnce(t *testing.T) {
	for _, before := range []bool{true, false} {
		for n := 1; n <= 3; n++ {
			e := newPage(t)
			e.model.answer.Text = strings.Repeat("word ", 3000)
			seen := 0
			e.store.Fail = func(method string) error {
				if method != "Move" && method != "Append" {
					return nil
				}
				if seen++; seen == n && before {
					panic(crash{})
				}
				if seen == n+1 && !before {
					return fault.New(fault.Unavailable, "", "")
				}
				return nil
			}
			func() {
				defer func() { _ = recover() }()
				e.deliver(e.job, 1)
			}()
			e.store.Fail = nil
			for k := range 3 {
				e.deliver(e.job, int64(k+2))
			}
			x, parts := e.visitTurn(e.job)
			got := e.page()
			if x.State != session.TurnDone || len(parts) != 2 || slices.ContainsFunc(parts, func(p session.Part) bool { return p.State != session.Sent }) ||
				strings.Count(got, "assistant ") != 2 || strings.Count(got, "user ") != 1 || strings.Count(got, "word") != 3000 {
				t.Errorf("%v %d: %+v, %d words in %d answers", before, n, x.State, strings.Count(got, "word"), strings.Count(got, "assistant "))
			}
		}
	}
}

// TestPageOfAnEndedInstall: what would be shown after the install was suspended is not,
// nor after it is resumed.
func TestPageOfAnEndedInstall(t *testing.T) {
	e := newPage(t)
	e.model.onCommit = func() { e.setState(install.Suspended) }
	e.deliver(e.job, 1)
	e.setState(install.Active)
	e.deliver(e.job, 2)
	if got := e.page(); got != "user hello one [one]" {
		t.Error(got)
	}
	if _, parts := e.visitTurn(e.job); parts[0].State != session.Dropped {
		t.Errorf("%+v", parts)
	}
	e.audited("turn.install_inactive ")
}

// keeping is a catalog whose one channel has no vendor.
type keeping struct{}

func (keeping) Find(id taxonomy.Channel) (channel.Entry, bool) {
	e := slack.Entry()
	e.Kept = true
	return e, id == taxonomy.Slack
}

// TestPageOfADecision: a decision about a call is nobody's message, and what the call
// was answered is not shown.
func TestPageOfADecision(t *testing.T) {
	e, _, k, s, q := newApprovals(t, []string{"refund"})
	e.deps.Catalog, e.deps.Signs = keeping{}, e.store
	e.run = turn.New(e.deps)
	e.deliver(e.job, 1)
	before := e.page()
	decide(t, s, true)
	if r := e.deliver(q.jobs[0], 1); r.Retry || len(k.called) != 1 {
		t.Fatalf("%+v %q", r, e.audit.codes)
	}
	after, more := strings.CutPrefix(e.page(), before+"|")
	if !more || strings.Count(before, "user ") != 1 || strings.Count(after, "|") != 0 || !strings.HasPrefix(after, "assistant ") || len(e.vendor.posts) != 0 {
		t.Errorf("%s, then %s", before, after)
	}
}

// TestPageOfAPerson: what a person says in the agent's place is shown as theirs.
func TestPageOfAPerson(t *testing.T) {
	e := newPage(t)
	e.deliver(e.job, 1)
	said := e.visit("said")
	said.Kind, said.Envelope.Text = session.JobHuman, "a person here"
	e.deliver(said, 1)
	if got := e.page(); !strings.HasSuffix(got, "|human a person here []") {
		t.Error(got)
	}
}

func TestPageShowsThatAnAnswerIsMade(t *testing.T) {
	e := newPage(t)
	typing := make(chan time.Time, 1)
	e.waits.hold = func(ctx context.Context, d time.Duration) bool {
		if d == time.Second {
			return true
		}
		p, _ := e.store.Shown(context.WithoutCancel(ctx), "o1", e.job.Key().Hash(), 0, 9)
		typing <- p.Typing
		<-ctx.Done()
		return false
	}
	e.model.onAnswer = func() {
		if until := <-typing; !until.After(start.Add(5*time.Second)) || until.After(start.Add(time.Minute)) {
			t.Errorf("typing until %s", until)
		}
	}
	e.deliver(e.job, 1)
	if p, _ := e.store.Shown(t.Context(), "o1", e.job.Key().Hash(), 0, 9); !p.Typing.IsZero() || len(p.Items) != 2 {
		t.Errorf("%+v", p)
	}
}
