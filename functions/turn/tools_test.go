package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/trace"
	"github.com/latchkey/latchkey/shared/vault"
)

// TestConversationWithTools: calls and their results follow the messages, in the
// form that adapters take.
func TestConversationWithTools(t *testing.T) {
	call := model.Message{Role: model.RoleAssistant, Parts: []model.Part{{Kind: model.PartToolCall, Call: &model.ToolCall{ID: "c1", Name: "look", Args: "{}"}}}}
	q := turn.AnswerRequest{System: "S", Messages: []turn.Message{{Role: session.User, Text: "hi"}}, NoCalls: true,
		Tools:  []tool.Tool{{Name: "look", Description: "Looks", Parameters: json.RawMessage(`{"type":"object"}`)}},
		Rounds: []turn.Round{{Message: call, Results: []model.ToolResult{{CallID: "c1", Parts: []model.Part{model.Text("r")}, IsError: true}}}}}
	r := conversation(q)
	if len(r.Messages) != 4 || r.Messages[2].Parts[0].Call.ID != "c1" || r.Messages[3].Role != model.RoleTool || r.Messages[3].Parts[0].Result.Text() != "r" || !r.Messages[3].Parts[0].Result.IsError ||
		len(r.Tools) != 1 || string(r.Tools[0].Schema) != `{"type":"object"}` || r.ToolChoice.Mode != model.ChoiceNone {
		t.Fatalf("%+v", r)
	}
	q.NoCalls, q.Rounds = false, nil
	if r := conversation(q); r.ToolChoice.Mode != model.ChoiceDefault || len(r.Messages) != 2 {
		t.Fatalf("%+v", r)
	}
}

// The world of a priced call: an organisation without connections, a price for
// tool_call, and a ledger that keeps what became of each key.
type (
	orgs   struct{ gateway.Store }
	noKeys struct{ gateway.Vault }
	prices struct{ book *billing.Book }
	ledger struct {
		gateway.Ledger
		ended map[string]bool // by key: whether the hold came to an end
		err   error
	}
	idle struct {
		gateway.ReplayStore
		gateway.LimitStore
		connection.CooldownStore
	}
)

func (orgs) OrgConfig(context.Context, string) (gateway.OrgConfig, error) {
	return gateway.OrgConfig{Org: org.Org{ID: "o1", Tier: taxonomy.Enterprise, Status: org.Active}, Settings: org.DefaultSettings()}, nil
}

func (orgs) CallConfig(context.Context, string, string, time.Time, []vault.Ref) (gateway.CallConfig, error) {
	return gateway.CallConfig{}, nil
}

func (noKeys) LoadClass(context.Context, string, taxonomy.CredentialClass) ([]vault.Credential, error) {
	return nil, nil
}

func (p prices) At(context.Context, billing.Index, time.Time) (*billing.Book, error) {
	return p.book, nil
}

func (l *ledger) Authorize(_ context.Context, c credit.ChargeRequest) (credit.Authorized, error) {
	if l.err != nil {
		return credit.Authorized{}, l.err
	}
	ended, met := l.ended[c.IdempotencyKey]
	if !met {
		l.ended[c.IdempotencyKey] = false
	}
	return credit.Authorized{Hold: credit.Hold{Org: c.Org, Request: c.IdempotencyKey, Amount: 5}, Count: 1, Ended: ended}, nil
}

func (l *ledger) Capture(_ context.Context, a credit.Authorized, _ time.Time) error {
	l.ended[a.Hold.Request] = true
	return nil
}

func (l *ledger) Release(_ context.Context, a credit.Authorized, _ time.Time) error {
	l.ended[a.Hold.Request] = true
	return nil
}

// newPriced is the tools of an organisation whose calls cost rate, with a tool that
// answers as handler does.
func newPriced(t *testing.T, rate int64, handler http.HandlerFunc) (pricedTools, *ledger, tool.Tool) {
	t.Helper()
	var rows []billing.Row
	if rate >= 0 {
		rows = []billing.Row{{Provider: credit.ActionProvider, Model: tool.DefaultAction, Meter: billing.Request, RatePico: rate, Source: "test", SourceDate: "2026-11-22"}}
	}
	book, err := billing.NewBook("p1", start, rows)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{ended: map[string]bool{}}
	g, err := gateway.New(gateway.Options{Store: orgs{}, Vault: noKeys{}, Ledger: l, Prices: prices{book}, Replays: idle{}, Limits: idle{}, Cooldown: idle{},
		Providers: []providers.Entry{{}}, Client: func(*providers.Entry) *http.Client { return nil }, Classes: []taxonomy.CredentialClass{taxonomy.AIKey},
		Timeout: time.Minute, NewID: func(time.Time) string { return "id" }, Trace: trace.None()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	out, err := egress.New(egress.Options{Allow: []string{strings.TrimPrefix(server.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	m := metered{gateway: g, actions: l, now: func() time.Time { return start }}
	return pricedTools{metered: m, caller: tool.Caller{HTTP: out.Tenant()}}, l,
		tool.Tool{Org: "o1", Name: "look", Method: "POST", URL: server.URL + "/x", Parameters: json.RawMessage(`{"type":"object","properties":{}}`), Timeout: tool.MaxTimeout, MaxBytes: 300, Action: tool.DefaultAction}
}

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestPricedCall: a call is charged when the tool answered, and each try on its own:
// one whose price was given back does not make the next one free.
func TestPricedCall(t *testing.T) {
	fails, calls := true, 0
	p, l, x := newPriced(t, 5, func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.Header.Get("Idempotency-Key") != "k" {
			t.Errorf("%q", r.Header)
		}
		if fails {
			panic(http.ErrAbortHandler)
		}
	})
	c := turn.ToolCall{Org: "o1", Agent: "ag1", Tool: x, Arguments: "{}", Key: "k", Attempt: 1}
	r, stored, err := p.Call(t.Context(), c)
	if err != nil || r.Status != tool.Unreachable || stored != nil || !l.ended["k/1"] {
		t.Fatalf("%+v %s %v %v", r, stored, err, l.ended)
	}
	// The same try again has nothing to pay with.
	if _, stored, err = p.Call(t.Context(), c); fault.CodeOf(err) != fault.Unavailable || stored != nil || calls != 1 {
		t.Fatalf("%s %v, %d calls", stored, err, calls)
	}
	fails, c.Attempt = false, 2
	r, stored, err = p.Call(t.Context(), c)
	if err != nil || r.Status != tool.OK || calls != 2 || l.ended["k/2"] {
		t.Fatalf("%+v %v, %d calls, %v", r, err, calls, l.ended)
	}
	if err := p.metered.Commit(t.Context(), "o1", stored); err != nil || !l.ended["k/2"] {
		t.Fatal(err, l.ended)
	}
}

// TestUnpaidCalls: what has no price or cannot be paid is not called; what is free is,
// without a receipt.
func TestUnpaidCalls(t *testing.T) {
	for name, row := range map[string]struct {
		rate   int64
		err    error
		status tool.Status
		code   fault.Code
		calls  int
	}{
		"free":       {rate: 0, status: tool.OK, calls: 1},
		"no price":   {rate: -1, status: tool.NoPrice},
		"no credits": {rate: 5, err: fault.New(fault.InsufficientCredits, "", ""), status: tool.NoCredits},
		"denied":     {rate: 5, err: fault.New(fault.BillingDenied, "", ""), status: tool.Denied},
		"no ledger":  {rate: 5, err: fault.New(fault.LedgerUnavailable, "", ""), code: fault.LedgerUnavailable},
	} {
		calls := 0
		p, l, x := newPriced(t, row.rate, func(http.ResponseWriter, *http.Request) { calls++ })
		l.err = row.err
		r, stored, err := p.Call(t.Context(), turn.ToolCall{Org: "o1", Tool: x, Arguments: "{}", Key: "k", Attempt: 1})
		if r.Status != row.status || fault.CodeOf(err) != row.code || calls != row.calls || stored != nil {
			t.Errorf("%s: %+v %v, %d calls", name, r, err, calls)
		}
	}
}

// charging records what becomes of actions.
type charging struct {
	captured, released int
	err                error
}

func (c *charging) Authorize(context.Context, credit.ChargeRequest) (credit.Authorized, error) {
	return credit.Authorized{}, nil
}

func (c *charging) Capture(context.Context, credit.Authorized, time.Time) error {
	c.captured++
	return c.err
}

func (c *charging) Release(context.Context, credit.Authorized, time.Time) error {
	c.released++
	return c.err
}

// TestReceiptOfACall: committing it charges the call, once it is charged or given
// back it is done, and one of another organisation is refused.
func TestReceiptOfACall(t *testing.T) {
	a := &charging{}
	m := metered{actions: a, now: time.Now}
	stored, err := json.Marshal(receipt{Action: &credit.Authorized{Hold: credit.Hold{Org: "o1", Request: "c_1"}, Count: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(t.Context(), "o1", stored); err != nil || a.captured != 1 {
		t.Fatal(err, a)
	}
	if err := m.Commit(t.Context(), "o2", stored); fault.CodeOf(err) != fault.Internal || a.captured != 1 {
		t.Fatal(err, a)
	}
	a.err = fault.New(fault.Conflict, "", "")
	if err := m.Commit(t.Context(), "o1", stored); err != nil {
		t.Fatal(err)
	}
	a.err = fault.New(fault.LedgerUnavailable, "", "")
	if err := m.Commit(t.Context(), "o1", stored); fault.CodeOf(err) != fault.LedgerUnavailable {
		t.Fatal(err)
	}
	if held, carried, err := m.posting(t.Context(), nil, turn.AnswerRequest{Org: "o1", Held: stored}, "id"); held != nil || !carried || err != nil {
		t.Fatal(held, carried, err)
	}
	if held, carried, err := m.posting(t.Context(), nil, turn.AnswerRequest{Org: "o1", Aside: true}, "id"); held != nil || carried || err != nil {
		t.Fatal(held, carried, err)
	}
}

type tooled []tool.Tool

func (s tooled) Tools(context.Context, string) ([]tool.Tool, error) { return s, nil }

func TestOffered(t *testing.T) {
	p := pricedTools{store: tooled{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	got, err := p.Offered(t.Context(), "o1", []string{"c", "gone", "a", "c"})
	if err != nil || len(got) != 2 || got[0].Name != "c" || got[1].Name != "a" {
		t.Fatalf("%+v %v", got, err)
	}
}
