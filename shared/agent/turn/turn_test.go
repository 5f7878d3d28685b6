package turn_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/install/installtest"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/session/sessiontest"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// crash is what a step panics with to end the invocation there.
type crash struct{}

// model counts calls and commits; commits are idempotent by receipt.
type model struct {
	answer    turn.Answer
	err       error
	commitErr error
	asked     []turn.AnswerRequest
	committed []string
	onAnswer  func()
	onCommit  func()
	posted    []bool
	postedErr error
	onPosted  func()
}

func (m *model) Answer(_ context.Context, q turn.AnswerRequest) (turn.Answer, error) {
	m.asked = append(m.asked, q)
	if m.onAnswer != nil {
		m.onAnswer()
	}
	return m.answer, m.err
}

func (m *model) Commit(_ context.Context, _ string, receipt []byte) error {
	if m.commitErr != nil {
		return m.commitErr
	}
	m.committed = append(m.committed, string(receipt))
	if m.onCommit != nil {
		m.onCommit()
	}
	return nil
}

func (m *model) Posted(_ context.Context, _ string, receipt []byte, sent bool) error {
	if string(receipt) != "receipt1" { // of the answer: nothing is posted of a summary
		return fault.New(fault.Internal, "", "another receipt")
	}
	if m.postedErr != nil {
		return m.postedErr
	}
	m.posted = append(m.posted, sent)
	if m.onPosted != nil {
		m.onPosted()
	}
	return nil
}

// wantPosted checks what the model side was told last, and that it was told nothing
// else before.
func (m *model) wantPosted(t *testing.T, want bool) {
	t.Helper()
	if len(m.posted) == 0 || slices.Contains(m.posted, !want) {
		t.Errorf("posted %v, want %v", m.posted, want)
	}
}

type agents map[string]agent.Agent

func (a agents) Agent(_ context.Context, org, id string) (agent.Agent, error) {
	x, ok := a[org+"/"+id]
	if !ok {
		return x, fault.New(fault.NotFound, "", "")
	}
	return x, nil
}

type revoker struct{ *installtest.Memory }

func (r revoker) RevokedByVendor(ctx context.Context, _ audit.Op, i install.Install) error {
	next := i
	next.State, next.Version = install.Revoked, i.Version+1
	return r.UpdateInstall(ctx, i, next, audit.Row{})
}

func (r revoker) TokenRejected(ctx context.Context, _ audit.Op, _, id string) error {
	return r.count(ctx, id, func(n int64) int64 { return n + 1 })
}

func (r revoker) TokenAccepted(ctx context.Context, _ audit.Op, _, id string) error {
	return r.count(ctx, id, func(int64) int64 { return 0 })
}

func (r revoker) count(ctx context.Context, id string, f func(int64) int64) error {
	i, _, err := r.Install(ctx, id)
	if err != nil {
		return err
	}
	next := i
	next.Rejections, next.Version = f(i.Rejections), i.Version+1
	return r.UpdateInstall(ctx, i, next, audit.Row{})
}

type tokens struct {
	err   error
	asked func()
}

func (s *tokens) Sending(_ context.Context, i install.Install, name string) (secret.Text, error) {
	if s.asked != nil {
		s.asked()
	}
	return secret.FromString("xoxb-" + i.ID + "-" + name), s.err
}

type recorder struct {
	codes []string
}

func (r *recorder) Record(_ context.Context, e turn.Event) {
	r.codes = append(r.codes, string(e.Code)+" "+e.Detail)
}

// vendor is a simulated channel API.
type vendor struct {
	mu     sync.Mutex
	posts  []map[string]any
	tokens []string
	// next overrides the answer to the following requests, one each.
	next []func(http.ResponseWriter)
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	var m map[string]any
	_ = json.Unmarshal(b, &m)
	v.posts, v.tokens = append(v.posts, m), append(v.tokens, r.Header.Get("Authorization"))
	if len(v.next) > 0 {
		f := v.next[0]
		if v.next = v.next[1:]; f != nil {
			f(w)
			return
		}
	}
	_, _ = fmt.Fprintf(w, `{"ok":true,"ts":"9.%d"}`, len(v.posts))
}

type env struct {
	waits waits
	*testing.T
	installs *installtest.Memory
	store    *sessiontest.Memory
	model    *model
	agents   agents
	tokens   *tokens
	audit    *recorder
	vendor   *vendor
	run      *turn.Runner
	deps     turn.Deps
	onSend   func() // after a part is claimed, before it is sent
	job      session.Job
}

func newEnv(t *testing.T) *env {
	e := &env{T: t, installs: installtest.NewMemory(), store: sessiontest.NewMemory(), tokens: &tokens{}, audit: &recorder{}, vendor: &vendor{},
		model:  &model{answer: turn.Answer{Text: "the answer", RequestIDs: []string{"req1"}, Receipt: []byte("receipt1")}},
		agents: agents{"o1/ag1": {ID: "ag1", Org: "o1", Instructions: "Be brief.", Personas: []agent.Persona{{ID: "p1", Instructions: "Be kind."}}}}}
	server := httptest.NewServer(e.vendor)
	t.Cleanup(server.Close)
	err := e.installs.CreateInstall(t.Context(), install.Install{ID: "i1", Org: "o1", Provider: taxonomy.Slack, State: install.Active, Version: 1,
		Config: webhook.Config{"app_id": {"A1"}, "team_id": {"T1"}}}, audit.Row{})
	if err != nil {
		t.Fatal(err)
	}
	e.deps = turn.Deps{Installs: e.installs, Revoker: revoker{e.installs}, Agents: e.agents, Turns: e.store, Transcript: e.store, Rooms: e.store, Model: e.model,
		Secrets: e.tokens, Catalog: catalog.New(catalog.Entries()), HTTP: server.Client(), Media: func(taxonomy.Channel) *http.Client { return nil }, DataURL: func(taxonomy.Channel) string { return "" }, BaseURL: func(taxonomy.Channel) string {
			if e.onSend != nil {
				e.onSend()
			}
			return server.URL
		},
		Recorder: e.audit, Now: func() time.Time { return start }, Wait: e.waits.wait}
	e.run = turn.New(e.deps)
	e.job = e.message("Ev1", "hello")
	return e
}

func (e *env) message(event, text string) session.Job {
	return session.Job{Kind: session.JobMessage, Org: "o1", Install: "i1", EventID: event, AgentID: "ag1", PersonaID: "p1", Tenant: "T:T1",
		Identity: channel.Identity{"app_id": "A1", "team_id": "T1"}, ReceivedAt: start,
		Envelope: channel.Envelope{Provider: taxonomy.Slack, EventID: event, Space: "C1", Thread: "1.0", Actor: "U1", Text: text}}
}

func (e *env) deliver(j session.Job, receive int64) turn.Result {
	e.Helper()
	return e.deliverIn(e.Context(), j, receive)
}

func (e *env) deliverIn(ctx context.Context, j session.Job, receive int64) turn.Result {
	e.Helper()
	b, err := j.Encode()
	if err != nil {
		e.Fatal(err)
	}
	return e.run.Run(ctx, turn.Delivery{Body: b, ID: "m-" + j.EventID, Receive: receive, Owner: fmt.Sprintf("w%d", receive)})
}

// die runs a delivery that is expected to crash.
func (e *env) die(j session.Job, receive int64) {
	e.Helper()
	defer func() {
		if _, ok := recover().(crash); !ok {
			e.Fatal("the run did not crash")
		}
	}()
	e.deliver(j, receive)
}

func (e *env) state(event string) (session.Turn, []session.Part) {
	e.Helper()
	t, parts, err := e.store.Turn(e.Context(), "o1", session.TurnID("i1", event))
	if err != nil {
		e.Fatal(err)
	}
	return t, parts
}

func (e *env) audited(want string) {
	e.Helper()
	for _, c := range e.audit.codes {
		if c == want {
			return
		}
	}
	e.Errorf("no audit record %q in %q", want, e.audit.codes)
}

func (e *env) messages() []session.Message {
	all, _, err := e.store.Messages(e.Context(), "o1", e.job.Key().Hash(), "", 100)
	if err != nil {
		e.Fatal(err)
	}
	return all
}

func TestAnswer(t *testing.T) {
	e := newEnv(t)
	if r := e.deliver(e.job, 1); r.Retry {
		t.Fatalf("%+v %q", r, e.audit.codes)
	}
	got, parts := e.state("Ev1")
	if got.State != session.TurnDone || !got.Committed || got.Attempts != 1 || got.RequestIDs[0] != "req1" || len(parts) != 1 || parts[0].State != session.Sent || parts[0].ProviderMessageID != "9.1" {
		t.Fatalf("%+v %+v", got, parts)
	}
	post := e.vendor.posts[0]
	if post["channel"] != "C1" || post["thread_ts"] != "1.0" || post["text"] != "the answer" || e.vendor.tokens[0] != "Bearer xoxb-i1-bot_token" {
		t.Fatalf("%+v %+v", post, e.vendor.tokens)
	}
	q := e.model.asked[0]
	if q.System != "Be brief.\n\nBe kind." || q.Org != "o1" || q.Agent.ID != "ag1" || q.RequestKey != session.RequestKey("i1", "Ev1", "ag1", "answer") || q.Attempt != 1 || len(q.Messages) != 1 || q.Messages[0].Text != "hello" {
		t.Fatalf("%+v", q)
	}
	all := e.messages()
	if len(all) != 2 || all[0].Role != session.User || all[0].Text != "hello" || all[1].Role != session.Assistant || all[1].AgentID != "ag1" || all[1].PersonaID != "p1" || all[1].TurnID != got.ID || all[1].EventID != "Ev1" {
		t.Fatalf("%+v", all)
	}
	if len(e.model.committed) != 1 || e.model.committed[0] != "receipt1" {
		t.Fatal(e.model.committed)
	}
	e.audited("turn.done ")
	// A second turn sees the first.
	e.deliver(e.message("Ev2", "and then?"), 1)
	if q := e.model.asked[1]; len(q.Messages) != 3 || q.Messages[0].Text != "hello" || q.Messages[1].Text != "the answer" || q.Messages[2].Text != "and then?" {
		t.Fatalf("%+v", q.Messages)
	}
	// A repeat of a finished event does nothing.
	if r := e.deliver(e.job, 7); r.Retry || len(e.model.asked) != 2 || len(e.vendor.posts) != 2 {
		t.Fatal("a finished turn ran again")
	}
}

// TestAnswerIsInTheVendorsForm: what is sent is what the adapter made of the answer,
// also by another run than the one that planned it; the transcript keeps the model's.
func TestAnswerIsInTheVendorsForm(t *testing.T) {
	e := newEnv(t)
	e.model.answer.Text = "**b** <!channel>"
	e.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { w.WriteHeader(http.StatusTooManyRequests) }}
	e.deliver(e.job, 1)
	e.deliver(e.job, 2)
	for _, p := range e.vendor.posts {
		if p["text"] != "*b* &lt;!channel&gt;" || p["mrkdwn"] != true {
			t.Errorf("%+v", p)
		}
	}
	if all := e.messages(); len(e.vendor.posts) != 2 || all[1].Text != "**b** <!channel>" {
		t.Errorf("%d posts, %+v", len(e.vendor.posts), all)
	}
}

// TestSessionRemembersWhatServed: the next turn is asked with it; a turn that
// says nothing changes nothing.
func TestSessionRemembersWhatServed(t *testing.T) {
	e := newEnv(t)
	want := session.Pin{Model: "openrouter/m", Connection: "c1"}
	e.model.answer.Pin = want
	e.deliver(e.job, 1)
	e.model.answer.Pin = session.Pin{}
	e.deliver(e.message("Ev2", "and then?"), 1)
	e.deliver(e.message("Ev3", "and now?"), 1)
	if len(e.model.asked) != 3 || e.model.asked[0].Pin != (session.Pin{}) || e.model.asked[1].Pin != want || e.model.asked[2].Pin != want {
		t.Fatalf("%+v", e.model.asked)
	}
}

// TestLateSender: the run that had claimed a part tells what became of it while the
// next one is about to call it unknown. What it says counts, and the turn goes on.
func TestLateSender(t *testing.T) {
	e := newEnv(t)
	once(&e.onSend, func() { panic(crash{}) })
	e.die(e.job, 1)
	e.store.Fail = at("Move", func() {
		e.store.Fail = nil
		_, parts := e.state("Ev1")
		sent := parts[0]
		sent.State, sent.ProviderMessageID = session.Sent, "9"
		earlier := session.Turn{Org: "o1", ID: session.TurnID("i1", "Ev1"), Fence: parts[0].Fence}
		if err := e.store.Move(t.Context(), earlier, parts[0], sent); err != nil {
			t.Error(err)
		}
	})
	r := e.deliver(e.job, 2)
	got, parts := e.state("Ev1")
	if r.Retry || got.State != session.TurnDone || len(parts) != 1 || parts[0].State != session.Sent || parts[0].ProviderMessageID != "9" {
		t.Errorf("%+v %+v %+v %q", r, got, parts, e.audit.codes)
	}
}

// TestCrashes kills the run after each step; the next reception ends with one
// answer, one commit's effect and one post.
func TestCrashes(t *testing.T) {
	die := func() { panic(crash{}) }
	for name, c := range map[string]struct {
		arm    func(*env)
		asked  int
		posts  int
		parts  session.PartState
		state  session.TurnState
		audits string
	}{
		"before the model": {func(e *env) { e.store.Fail = at("Append", die) }, 1, 1, session.Sent, session.TurnDone, "turn.done "},
		"after the model":  {func(e *env) { once(&e.model.onAnswer, die) }, 2, 1, session.Sent, session.TurnDone, "turn.done "},
		"after the plan":   {func(e *env) { e.store.Fail = after("Plan", die) }, 1, 1, session.Sent, session.TurnDone, "turn.done "},
		"after the commit": {func(e *env) { once(&e.model.onCommit, die) }, 1, 1, session.Sent, session.TurnDone, "turn.done "},
		// The part was claimed: it may have been sent, so it never is again.
		"after the claim of a part": {func(e *env) { once(&e.onSend, die) }, 1, 0, session.Unknown, session.TurnDone, "reply.unknown interrupted"},
		"after the send":            {func(e *env) { e.store.Fail = nth("Move", 2, die) }, 1, 1, session.Unknown, session.TurnDone, "reply.unknown interrupted"},
		"before posting is charged": {func(e *env) { e.store.Fail = after("Move", func() {}); once(&e.model.onPosted, die) }, 1, 1, session.Sent, session.TurnDone, "turn.done "},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			c.arm(e)
			e.die(e.job, 1)
			e.store.Fail = nil
			if r := e.deliver(e.job, 2); r.Retry {
				t.Fatalf("%+v %q", r, e.audit.codes)
			}
			got, parts := e.state("Ev1")
			if got.State != c.state || !got.Committed || got.Attempts != 2 || len(parts) != 1 || parts[0].State != c.parts {
				t.Errorf("%+v %+v", got, parts)
			}
			e.audited("turn.retry interrupted")
			if len(e.model.asked) != c.asked || len(e.vendor.posts) != c.posts {
				t.Errorf("asked %d times, posted %d times", len(e.model.asked), len(e.vendor.posts))
			}
			if all := e.messages(); len(all) != 2 {
				t.Errorf("transcript %+v", all)
			}
			for _, r := range e.model.committed {
				if r != "receipt1" {
					t.Errorf("committed %q", r)
				}
			}
			for i, q := range e.model.asked {
				if q.RequestKey != e.model.asked[0].RequestKey || i > 0 && q.Attempt <= e.model.asked[i-1].Attempt {
					t.Errorf("try %d: request key %s attempt %d", i, q.RequestKey, q.Attempt)
				}
			}
			e.audited(c.audits)
			e.model.wantPosted(t, c.parts == session.Sent)
		})
	}
}

// TestEndOutlivesACrash: a run that was stopped at a part and did not come to its
// end is ended by the next one as it would have been; nothing behind the part goes
// out.
func TestEndOutlivesACrash(t *testing.T) {
	die := func() { panic(crash{}) }
	refuse := func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"ok":false,"error":"channel_not_found"}`) }
	suspend := func(e *env, s install.State) {
		i, _, _ := e.installs.Install(e.Context(), "i1")
		next := i
		next.State, next.Version = s, i.Version+1
		if err := e.installs.UpdateInstall(e.Context(), i, next, audit.Row{}); err != nil {
			e.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		arm    func(*env)
		posts  int
		code   string
		audits string
	}{
		"refused, the rest not yet dropped": {func(e *env) {
			e.vendor.next = []func(http.ResponseWriter){refuse}
			e.store.Fail = nth("Move", 3, die)
		}, 1, "channel_not_found", "reply.refused reply.refused"},
		"refused, posting not yet ended": {func(e *env) {
			e.vendor.next = []func(http.ResponseWriter){refuse}
			once(&e.model.onPosted, die)
		}, 1, "channel_not_found", "reply.refused reply.refused"},
		"refused, end not yet stored": {func(e *env) {
			e.vendor.next = []func(http.ResponseWriter){refuse}
			e.store.Fail = nth("Note", 2, die)
		}, 1, "channel_not_found", "reply.refused reply.refused"},
		"install suspended, and active again": {func(e *env) {
			once(&e.model.onCommit, func() { suspend(e, install.Suspended) })
			e.store.Fail = nth("Move", 2, func() { suspend(e, install.Active); die() })
		}, 0, "turn.install_inactive", "turn.install_inactive "},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.model.answer.Text = strings.Repeat("word ", 1200) // two parts
			c.arm(e)
			e.die(e.job, 1)
			e.store.Fail = nil
			if r := e.deliver(e.job, 2); r.Retry {
				t.Fatalf("%+v %q", r, e.audit.codes)
			}
			got, parts := e.state("Ev1")
			if len(e.vendor.posts) != c.posts || got.State != session.TurnEnded || len(parts) != 2 || parts[0].State != session.Dropped ||
				parts[0].Code != c.code || parts[1].State != session.Dropped {
				t.Errorf("%d posts %+v %+v", len(e.vendor.posts), got, parts)
			}
			e.audited(c.audits)
			e.model.wantPosted(t, false)
		})
	}
}

// TestPostingIsEnded: the model side hears once the parts have come to an end, of
// every end, and again if it could not be told.
func TestPostingIsEnded(t *testing.T) {
	e := newEnv(t)
	e.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { w.WriteHeader(429) }}
	e.deliver(e.job, 1)
	if len(e.model.posted) != 0 {
		t.Fatalf("told before the end: %v", e.model.posted)
	}
	e.model.postedErr = fault.New(fault.LedgerUnavailable, "", "")
	if r := e.deliver(e.job, 2); !r.Retry || len(e.vendor.posts) != 2 {
		t.Fatalf("%+v, %d posts", r, len(e.vendor.posts))
	}
	e.model.postedErr = nil
	if r := e.deliver(e.job, 3); r.Retry || len(e.vendor.posts) != 2 {
		t.Fatalf("%+v, %d posts", r, len(e.vendor.posts))
	}
	e.model.wantPosted(t, true)
	got, _ := e.state("Ev1")
	if got.State != session.TurnDone {
		t.Fatalf("%+v", got)
	}
	refused := newEnv(t)
	refused.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"ok":false,"error":"invalid_auth"}`) }}
	refused.deliver(refused.job, 1)
	refused.model.wantPosted(t, false)
}

// at crashes before a method's effect, after before the next call of anything,
// which is after its effect; nth before its nth call.
func at(method string, f func()) func(string) error { return nth(method, 1, f) }

func nth(method string, n int, f func()) func(string) error {
	return func(m string) error {
		if m == method {
			if n--; n == 0 {
				f()
			}
		}
		return nil
	}
}

func after(method string, f func()) func(string) error {
	seen := false
	return func(m string) error {
		if seen {
			f()
		}
		seen = seen || m == method
		return nil
	}
}

func once(hook *func(), f func()) {
	*hook = func() { *hook = nil; f() }
}

func TestModelErrors(t *testing.T) {
	for _, c := range []struct {
		code  fault.Code
		retry bool
		posts int
		state session.TurnState
		note  string
	}{
		{fault.ProviderOverloaded, true, 0, session.TurnWaiting, "provider_overloaded"},
		{fault.LedgerUnavailable, true, 0, session.TurnWaiting, "ledger_unavailable"},
		{fault.IdempotencyInProgress, true, 0, session.TurnWaiting, "idempotency_in_progress"},
		{fault.BYOKUnavailable, false, 1, session.TurnEnded, "byok_unavailable"},
		{fault.BillingDenied, false, 1, session.TurnEnded, "billing_denied"},
		{fault.ContentFiltered, false, 1, session.TurnEnded, "content_filtered"},
		{fault.ContextLengthExceeded, false, 1, session.TurnEnded, "context_length_exceeded"},
		{fault.InsufficientCredits, false, 1, session.TurnEnded, "insufficient_credits"},
		{fault.PriceMissing, false, 1, session.TurnEnded, "price_missing"},
	} {
		t.Run(string(c.code), func(t *testing.T) {
			e := newEnv(t)
			f := fault.New(c.code, "", "x")
			f.RetryAfter, f.RequestID = 42*time.Second, "req9"
			e.model.err = f
			r := e.deliver(e.job, 1)
			got, parts := e.state("Ev1")
			if r.Retry != c.retry || len(e.vendor.posts) != c.posts || got.State != c.state || got.Code != c.note || len(got.RequestIDs) != 1 || got.RequestIDs[0] != "req9" {
				t.Fatalf("%+v %+v %d posts", r, got, len(e.vendor.posts))
			}
			if c.retry && r.After != 42*time.Second {
				t.Fatalf("after %v", r.After)
			}
			notice, ok := map[fault.Code]string{fault.InsufficientCredits: turn.Notice, fault.ContentFiltered: turn.NoticeFiltered, fault.ContextLengthExceeded: turn.NoticeTooMuch}[c.code]
			if !ok {
				notice = turn.NoticeSetup
			}
			if c.posts == 1 && (e.vendor.posts[0]["text"] != strings.ReplaceAll(notice, "&", "&amp;") || len(parts) != 1 || len(e.messages()) != 1 || len(e.model.committed) != 0) {
				t.Fatalf("%+v %+v", e.vendor.posts, e.messages())
			}
			if c.retry {
				e.model.err = nil
				if r := e.deliver(e.job, 2); r.Retry {
					t.Fatalf("%+v", r)
				}
				if got, _ := e.state("Ev1"); got.State != session.TurnDone || got.Code != "" || got.Attempts != 2 || len(e.messages()) != 2 {
					t.Fatalf("%+v", got)
				}
			}
		})
	}
}

// TestLastTryOfAnAnswer: what the queue gives up next is answered with a notice; what
// another claim holds is not.
func TestLastTryOfAnAnswer(t *testing.T) {
	for _, code := range []fault.Code{fault.ProviderOverloaded, fault.LedgerUnavailable, fault.RateLimited, fault.Internal} {
		e := newEnv(t)
		e.model.err = fault.New(code, "", "x")
		for n := range int64(3) {
			if r := e.deliver(e.job, n+1); r.Retry != (n < 2) {
				t.Fatalf("%s, reception %d: %+v", code, n+1, r)
			}
		}
		e.audited("turn.gave_up " + string(code))
		got, parts := e.state("Ev1")
		if got.State != session.TurnEnded || got.Code != string(code) || len(parts) != 1 || parts[0].State != session.Sent || len(e.vendor.posts) != 1 || e.vendor.posts[0]["text"] != turn.NoticeBusy || len(e.messages()) != 1 {
			t.Errorf("%s: %+v %+v %v", code, got, parts, e.vendor.posts)
		}
		// A further reception finds the turn at its end.
		e.model.err = nil
		if r := e.deliver(e.job, 4); r.Retry || len(e.vendor.posts) != 1 {
			t.Errorf("%s: %+v, %d posts", code, r, len(e.vendor.posts))
		}
	}
	// What no later reception changes is told at once, what nobody may be told is not.
	final := fault.New(fault.RateLimited, "", "x")
	final.Final = true
	spent := fault.Wrap(fault.RateLimited, "", "x", &limit.Refusal{Kind: limit.Spending})
	spent.RetryAfter = time.Hour
	for _, c := range []struct {
		err    error
		notice string
	}{{final, turn.NoticeLimit}, {spent, turn.NoticeLimit}, {fault.New(fault.ScopeMissing, "", "x"), ""}} {
		e := newEnv(t)
		e.model.err = c.err
		r := e.deliver(e.job, 1)
		var told []any
		for _, p := range e.vendor.posts {
			told = append(told, p["text"])
		}
		var want []any
		if c.notice != "" {
			want = []any{c.notice}
		}
		if r.Retry || !slices.Equal(told, want) || slices.ContainsFunc(e.audit.codes, func(s string) bool { return strings.HasPrefix(s, "turn.gave_up") }) {
			t.Errorf("%v: %+v %v %q", c.err, r, e.vendor.posts, e.audit.codes)
		}
	}
	fenced := newEnv(t)
	fenced.model.err = fmt.Errorf("asking: %w", session.ErrFenced)
	if r := fenced.deliver(fenced.job, 3); !r.Retry || len(fenced.vendor.posts) != 0 {
		t.Errorf("%+v, %d posts", r, len(fenced.vendor.posts))
	}
}

func TestCommitFailureSendsNothingUntilItPasses(t *testing.T) {
	e := newEnv(t)
	e.model.commitErr = fault.New(fault.LedgerUnavailable, "", "")
	if r := e.deliver(e.job, 1); !r.Retry || len(e.vendor.posts) != 0 {
		t.Fatalf("%+v %d", r, len(e.vendor.posts))
	}
	e.model.commitErr = nil
	if r := e.deliver(e.job, 2); r.Retry || len(e.vendor.posts) != 1 || len(e.model.asked) != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestInstallChangesUnderTheTurn(t *testing.T) {
	set := func(e *env, f func(*install.Install)) {
		i, _, _ := e.installs.Install(e.Context(), "i1")
		next := i
		next.Config = webhook.Config{"app_id": {"A1"}, "team_id": {"T1"}}
		f(&next)
		next.Version++
		if err := e.installs.UpdateInstall(e.Context(), i, next, audit.Row{}); err != nil {
			e.Fatal(err)
		}
	}
	suspend := func(e *env) { set(e, func(i *install.Install) { i.State = install.Suspended }) }
	rename := func(e *env) { set(e, func(i *install.Install) { i.Config["team_id"] = []string{"T2"} }) }
	for name, c := range map[string]struct {
		before, during func(*env)
		asked          int
		code           string
	}{
		"suspended before":          {suspend, nil, 0, "turn.install_inactive "},
		"suspended while asking":    {nil, suspend, 1, "turn.install_inactive "},
		"another tenant before":     {rename, nil, 0, "reply.tenant_guard "},
		"another tenant in between": {nil, rename, 1, "reply.tenant_guard "},
		"token gone":                {func(e *env) { e.tokens.err = fault.New(fault.NotFound, "", "") }, nil, 1, "turn.install_inactive "},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			if c.before != nil {
				c.before(e)
			}
			if c.during != nil {
				once(&e.model.onAnswer, func() { c.during(e) })
			}
			if r := e.deliver(e.job, 1); r.Retry || len(e.vendor.posts) != 0 || len(e.model.asked) != c.asked {
				t.Fatalf("%+v posts %d asked %d", r, len(e.vendor.posts), len(e.model.asked))
			}
			e.audited(c.code)
			got, parts := e.state("Ev1")
			if got.State != session.TurnEnded || c.asked == 1 && (parts[0].State != session.Dropped || !got.Committed) {
				t.Fatalf("%+v %+v", got, parts)
			}
		})
	}
}

func TestForeignJobs(t *testing.T) {
	for name, f := range map[string]func(*session.Job){
		"other organisation": func(j *session.Job) { j.Org = "o2" },
		"other identity":     func(j *session.Job) { j.Identity = channel.Identity{"app_id": "A1", "team_id": "T2"} },
		"no identity":        func(j *session.Job) { j.Identity = nil },
		"other provider":     func(j *session.Job) { j.Envelope.Provider = "telegram" },
	} {
		e := newEnv(t)
		f(&e.job)
		if r := e.deliver(e.job, 1); r.Retry || len(e.model.asked) != 0 || len(e.vendor.posts) != 0 {
			t.Errorf("%s: %+v", name, r)
		}
		e.audited("reply.tenant_guard ")
	}
	e := newEnv(t)
	e.job.AgentID = "gone"
	e.deliver(e.job, 1)
	e.audited("turn.agent_missing ")
}

func TestSendOutcomes(t *testing.T) {
	body := func(status int, b string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status); _, _ = io.WriteString(w, b) }
	}
	long := strings.Repeat("word ", 1200) // two parts
	t.Run("rate limited, then sent", func(t *testing.T) {
		e := newEnv(t)
		e.vendor.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { w.Header().Set("Retry-After", "9"); w.WriteHeader(429) }}
		if r := e.deliver(e.job, 1); !r.Retry || r.After != 9*time.Second {
			t.Fatalf("%+v", r)
		}
		if _, parts := e.state("Ev1"); parts[0].State != session.Planned || parts[0].Code != "ratelimited" {
			t.Fatalf("%+v", parts)
		}
		if r := e.deliver(e.job, 2); r.Retry || len(e.model.asked) != 1 || len(e.vendor.posts) != 2 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("ambiguous is never resent", func(t *testing.T) {
		e := newEnv(t)
		e.vendor.next = []func(http.ResponseWriter){body(502, "")}
		for n := range int64(3) {
			if r := e.deliver(e.job, n+1); r.Retry {
				t.Fatalf("%+v", r)
			}
		}
		got, parts := e.state("Ev1")
		if len(e.vendor.posts) != 1 || parts[0].State != session.Unknown || got.State != session.TurnDone {
			t.Fatalf("%d posts %+v %+v", len(e.vendor.posts), got, parts)
		}
		e.audited("reply.unknown http_502")
	})
	t.Run("refused drops the rest", func(t *testing.T) {
		e := newEnv(t)
		e.model.answer.Text = long
		e.vendor.next = []func(http.ResponseWriter){body(200, `{"ok":false,"error":"invalid_auth"}`)}
		if r := e.deliver(e.job, 1); r.Retry {
			t.Fatalf("%+v", r)
		}
		got, parts := e.state("Ev1")
		if len(e.vendor.posts) != 1 || len(parts) != 2 || parts[0].State != session.Dropped || parts[0].Code != "invalid_auth" || parts[1].State != session.Dropped || got.State != session.TurnEnded {
			t.Fatalf("%d posts %+v %+v", len(e.vendor.posts), got, parts)
		}
		e.audited("install.token_rejected invalid_auth")
		e.audited("reply.refused reply.refused")
		if i, _, _ := e.installs.Install(t.Context(), e.job.Install); i.Rejections != 1 {
			t.Fatalf("%d rejections counted", i.Rejections)
		}
		// The next one that is taken starts the count anew.
		next := e.job
		next.EventID = "EvNext"
		e.vendor.next = nil
		e.deliver(next, 1)
		if i, _, _ := e.installs.Install(t.Context(), e.job.Install); i.Rejections != 0 {
			t.Fatalf("%d rejections after a reply", i.Rejections)
		}
	})
	t.Run("parts in order, continued where it stopped", func(t *testing.T) {
		e := newEnv(t)
		e.model.answer.Text = long
		e.vendor.next = []func(http.ResponseWriter){nil, body(429, "")}
		e.deliver(e.job, 1)
		e.deliver(e.job, 2)
		_, parts := e.state("Ev1")
		if len(e.vendor.posts) != 3 || parts[0].ProviderMessageID != "9.1" || parts[1].ProviderMessageID != "9.3" || e.vendor.posts[1]["text"] != e.vendor.posts[2]["text"] {
			t.Fatalf("%d posts %+v", len(e.vendor.posts), parts)
		}
	})
	t.Run("vault down", func(t *testing.T) {
		e := newEnv(t)
		e.tokens.err = fault.New(fault.VaultUnavailable, "", "")
		if r := e.deliver(e.job, 1); !r.Retry {
			t.Fatalf("%+v", r)
		}
		if _, parts := e.state("Ev1"); parts[0].State != session.Planned {
			t.Fatalf("%+v", parts)
		}
	})
}

func TestEmptyAnswer(t *testing.T) {
	e := newEnv(t)
	e.model.answer.Text = " \n"
	if r := e.deliver(e.job, 1); r.Retry || len(e.vendor.posts) != 0 || len(e.model.committed) != 1 {
		t.Fatalf("%+v", r)
	}
	e.audited("turn.answer_empty ")
}

// TestFencedRunStops: a run that lost its claim changes nothing more.
func TestFencedRunStops(t *testing.T) {
	e := newEnv(t)
	once(&e.model.onAnswer, func() {
		if r := e.deliver(e.job, 2); r.Retry { // the later reception overtakes and finishes
			t.Errorf("%+v", r)
		}
	})
	if r := e.deliver(e.job, 1); !r.Retry {
		t.Fatalf("%+v", r)
	}
	e.audited("turn.lost ")
	if got, _ := e.state("Ev1"); got.State != session.TurnDone || len(e.vendor.posts) != 1 || len(e.messages()) != 2 {
		t.Fatalf("%+v %d posts %+v", got, len(e.vendor.posts), e.messages())
	}
}

func TestHeldByAnotherMessage(t *testing.T) {
	e := newEnv(t)
	b, _ := e.job.Encode()
	once(&e.model.onAnswer, func() {
		r := e.run.Run(e.Context(), turn.Delivery{Body: b, ID: "another", Receive: 1, Owner: "x"})
		if !r.Retry || r.After != 150*time.Second {
			t.Errorf("%+v", r)
		}
	})
	if r := e.deliver(e.job, 1); r.Retry || len(e.model.asked) != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestMalformedJob(t *testing.T) {
	e := newEnv(t)
	for _, b := range []string{"", "{}", `{"v":2}`, `{"v":1,"kind":"message","org":"o1","install":"i1","event_id":"e","x":1}`} {
		if r := e.run.Run(t.Context(), turn.Delivery{Body: []byte(b), ID: "m", Receive: 1, Owner: "w"}); !r.Retry {
			t.Errorf("%q: %+v", b, r)
		}
	}
	e.audited("turn.malformed ")
}

func TestRevokedByVendor(t *testing.T) {
	e := newEnv(t)
	j := e.job
	j.Kind = session.JobRevoked
	for n := range int64(2) {
		if r := e.deliver(j, n+1); r.Retry {
			t.Fatalf("%+v", r)
		}
	}
	if i, _, _ := e.installs.Install(t.Context(), "i1"); i.State != install.Revoked {
		t.Fatalf("%+v", i)
	}
	e.audited("install.revoked_by_provider ")
	e = newEnv(t)
	j.Identity = channel.Identity{"app_id": "A1", "team_id": "T2"}
	e.deliver(j, 1)
	if i, _, _ := e.installs.Install(t.Context(), "i1"); i.State != install.Active {
		t.Fatal("another tenant's event revoked the install")
	}
}

func TestNoTimeLeft(t *testing.T) {
	e := newEnv(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(15*time.Second))
	defer cancel()
	b, _ := e.job.Encode()
	if r := e.run.Run(ctx, turn.Delivery{Body: b, ID: "m", Receive: 1, Owner: "w"}); !r.Retry || len(e.model.asked) != 0 {
		t.Fatalf("asked a model without time to store the answer: %+v", r)
	}
	e.deliver(e.job, 2) // answered now
	e2 := newEnv(t)
	e2.model.commitErr = errors.New("x")
	e2.deliver(e2.job, 1)
	e2.model.commitErr = nil
	short, cancel2 := context.WithDeadline(t.Context(), time.Now().Add(8*time.Second))
	defer cancel2()
	b, _ = e2.job.Encode()
	if r := e2.run.Run(short, turn.Delivery{Body: b, ID: "m-Ev1", Receive: 2, Owner: "w"}); !r.Retry || len(e2.vendor.posts) != 0 {
		t.Fatalf("sent without time to store the outcome: %+v", r)
	}
}
