package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/approval/approvaltest"
	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/alert"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/commercial/commercialtest"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/connection/connectiontest"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/install/installtest"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/integrationtest"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/payment"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/rotation/rotationtest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/session/sessiontest"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topup"
	"github.com/latchkey/latchkey/shared/usage"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// world is the API over in-memory stores with two organisations, acme and other,
// and one of everything in acme.
type world struct {
	*testing.T
	api    *API
	rows   *orgtest.Memory
	ledger *fakeLedger
	alerts *fakeAlerts
	terms  *commercial.Service
	vault  *vault.Vault
	kek    *vaulttest.KEK
	jobs   *rotationtest.Memory
	stages *rollout.Service
	woken  int
	queued int
	// approvals holds one call that waits.
	approvals *approvaltest.Memory
	sealed    *vaulttest.Store
	installs  *installtest.Memory
	conns     *connectiontest.Memory
	vendor    *connectiontest.Vendor
	// integrations holds the credentials of all kinds too.
	integrations *integrationtest.Memory
	keys         map[string]string // by the names of keyNames
	ids          map[string]string // of what was made, by path parameter
	now          time.Time
	n            int
	secrets      []string // every secret that went in
}

// fakePayments opens pages that do not exist.
type fakePayments struct{}

func (fakePayments) Start(_ context.Context, o topup.Order) (topup.Started, error) {
	return topup.Started{TopUp: topup.TopUp{ID: "top1", Org: o.Org, State: topup.Pending, Cents: int64(o.Amount / topup.PerCent), Created: o.Now}, URL: "https://pay.example/top1"}, nil
}

// fakeConsents leads to a page that does not exist.
type fakeConsents struct{ rows *orgtest.Memory }

func (f fakeConsents) Begin(ctx context.Context, op audit.Op, orgID string, r consent.Request) (consent.Begun, error) {
	err := f.rows.PutAudit(ctx, op.Row(orgID, "oauth.begin", "i9", "provider", r.Provider))
	return consent.Begun{URL: "https://latchkey.example/oauth/begin", Provider: taxonomy.Channel(r.Provider), App: r.App, Install: "i9", Expires: op.At.Add(consent.Lifetime)}, err
}

// fakeOrders keeps nothing.
type fakeOrders struct{}

func (fakeOrders) Get(_ context.Context, org string) (topup.Replenish, error) {
	return topup.Replenish{Org: org}, nil
}

func (fakeOrders) Set(_ context.Context, org string, s topup.Settings, _ audit.Op, now time.Time) (topup.Replenish, error) {
	return topup.Replenish{Org: org, Enabled: s.Enabled, Threshold: s.Threshold, Amount: s.Amount, MonthlyCap: s.MonthlyCap, Rev: 1, Month: topup.MonthOf(now), Spent: 500,
		Failures: 1, Reason: topup.Declined, NotBefore: now.Add(time.Hour)}, nil
}

func (fakePayments) Portal(context.Context, string) (string, error) {
	return "https://pay.example/portal", nil
}

// Names of the keys of a world.
const (
	operatorKey = "operator"
	adminKey    = "acme admin"
	readKey     = "acme read"
	billingKey  = "acme billing"
	invokeKey   = "acme invoke"
	revokedKey  = "acme revoked admin"
	expiredKey  = "acme expired admin"
	otherKey    = "other admin"
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, rows: orgtest.NewMemory(), ledger: &fakeLedger{postings: map[string]credit.Posting{}}, installs: installtest.NewMemory(), integrations: integrationtest.NewMemory(),
		keys: map[string]string{}, ids: map[string]string{}, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	w.ledger.rows = w.rows
	w.approvals = &approvaltest.Memory{Rows: w.rows}
	w.alerts = &fakeAlerts{rows: w.rows}
	terms := commercialtest.New(w.rows)
	w.terms = &commercial.Service{Store: terms, Allowance: terms}
	var err error
	w.kek, w.sealed = vaulttest.NewKEK(), w.integrations.Vault
	w.jobs = rotationtest.NewMemory(w.sealed)
	w.kek.Add()
	seal := func(s vault.Store) (*vault.Vault, error) {
		return vault.New(vault.Options{Store: s, KEK: w.kek, Fields: vaulttest.Fields(), Now: func() time.Time { return w.now }, App: "latchkey", Stage: "test"})
	}
	if w.vault, err = seal(w.sealed); err != nil {
		t.Fatal(err)
	}
	agents := &fakeAgents{m: map[string]agent.Agent{}, rows: w.rows}
	w.conns = connectiontest.NewMemory(w.rows)
	w.stages = w.rolledOut()
	w.vendor = &connectiontest.Vendor{Now: func() time.Time { return w.now }}
	conversations := sessiontest.NewMemory()
	conversations.Rows = w.rows
	w.api = New(Services{
		Orgs: &org.Service{Orgs: w.rows, Keys: w.rows, Config: w.rows, Ledger: w.ledger, Sharing: w.rows, Random: rand.Reader},
		Connections: &connection.Service{Store: w.conns, Vault: w.vault, Drains: w.vault, Limits: w.conns, Keys: w.vendor, Prober: w.vendor, Providers: []connection.Provider{
			{ID: taxonomy.OpenRouter, DefaultBaseURL: "https://openrouter.ai/api/v1", KeyRequired: true, DefaultBilling: taxonomy.BYOK,
				Hosts: []string{"openrouter.ai"}, Prefix: "cnry", Probes: []connection.Probe{connection.TestAuth, connection.ListModels},
				Capabilities: []taxonomy.Capability{taxonomy.CapText}, CheckKey: func(secret.Text) error { return nil }, CheckURL: func(string) error { return nil }},
			{ID: taxonomy.OpenAICompatible, DefaultBilling: taxonomy.Private,
				CheckKey: func(secret.Text) error { return nil }, CheckURL: func(string) error { return nil }}}},
		Agents:    &agent.Service{Store: agents},
		Tools:     &tool.Service{Store: &fakeTools{m: map[string]tool.Tool{}, rows: w.rows}, Vault: w.vault, CheckURL: vault.OriginOf, NewID: w.newID},
		Approvals: &approval.Service{Store: w.approvals, Queue: w},
		Handoffs:  &handoff.Service{Store: conversations, Queue: w, Agents: agents, Stage: "test"},
		Installs: &install.Service{Store: w.installs, Bindings: w.installs, Vault: w.vault, Index: w.vault, Catalog: catalog.New(catalog.Entries()),
			Agents: agents, PublicURL: "https://latchkey.example", Stages: w.stages},
		Rollout:      w.stages,
		Consent:      fakeConsents{w.rows},
		Integrations: &integration.Service{Store: w.integrations, Seal: seal, Hash: w.vault, NewID: w.newID},
		Sessions:     conversations, Audit: w.rows, Credits: w.ledger, Ledger: w.ledger, Books: w.ledger, Alerts: w.alerts, Commercial: w.terms, Rebuild: fakeRebuild{}, LegacyTokens: w.legacyTokens(), Prices: &fakePrices{rows: w.rows},
		Offers: w.conns, Models: ModelSupply{Served: []taxonomy.Provider{taxonomy.OpenRouter, taxonomy.OpenAI, taxonomy.OpenAICompatible}, Platform: []taxonomy.Provider{taxonomy.OpenRouter}},
		Rotations: &rotation.Service{Store: w.jobs, Keys: w.vault, Wake: func(context.Context) error { w.woken++; return nil }},
		Routes:    fakeRoutes{}, Payments: fakePayments{}, Replenish: fakeOrders{},
		PaymentKeys: &payment.Keeper{Vault: w.vault, Ref: payment.RefOf(payment.Reference(stripe.ID), stripe.ID), Label: "payments",
			Names: payment.Names{Call: stripe.APIKey, Message: stripe.WebhookSecret}, Overlap: stripe.RollOverlap},
		Fields: vaulttest.Fields(), NewID: w.newID,
	})
	w.bootstrap()
	return w
}

// Send is the queue of turns.
func (w *world) Send(context.Context, string, string, []byte) error {
	w.queued++
	return nil
}

func (w *world) newID(time.Time) string { w.n++; return fmt.Sprintf("id%06d", w.n) }

func (w *world) issue(name, orgID string, expires time.Time, scopes ...org.Scope) {
	w.Helper()
	w.n++
	k, text, err := w.api.s.Orgs.IssueKey(w.Context(), audit.Op{Actor: "function:test", ID: fmt.Sprint("issue", w.n), At: w.now.Add(-time.Hour)}, orgID,
		org.KeyDraft{ID: fmt.Sprint("kid", w.n), Name: name, Scopes: scopes, ExpiresAt: expires})
	if err != nil {
		w.Fatal(err)
	}
	_ = text.Use(func(b []byte) error { w.keys[name] = string(b); return nil })
	w.secrets = append(w.secrets, w.keys[name])
	if name == revokedKey {
		if err := w.api.s.Orgs.RevokeKey(w.Context(), audit.Op{ID: "rev", At: w.now.Add(-time.Minute)}, orgID, k.ID); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) bootstrap() {
	for _, id := range []string{"acme", "other"} {
		if _, err := w.api.s.Orgs.Create(w.Context(), audit.Op{ID: "boot" + id, At: w.now.Add(-time.Hour)},
			org.Draft{ID: id, Name: id, Tier: taxonomy.Enterprise}); err != nil {
			w.Fatal(err)
		}
	}
	w.issue(operatorKey, org.Operator, time.Time{}, org.ScopeAdmin)
	w.issue(adminKey, "acme", time.Time{}, org.ScopeAdmin)
	w.issue(readKey, "acme", time.Time{}, org.ScopeRead)
	w.issue(billingKey, "acme", time.Time{}, org.ScopeBilling)
	w.issue(invokeKey, "acme", time.Time{}, org.ScopeInvoke, org.ScopeAudio)
	w.issue(revokedKey, "acme", time.Time{}, org.ScopeAdmin)
	w.issue(expiredKey, "acme", w.now, org.ScopeAdmin)
	w.issue(otherKey, "other", time.Time{}, org.ScopeAdmin)
	w.keys["unknown"] = strings.Replace(w.keys[adminKey], "_kid", "_nope", 1)
	w.keys["malformed"] = "lk_acme_short"
	w.keys["none"] = ""
}

// canary makes a secret that can be found again.
func (w *world) canary() string {
	w.n++
	b := make([]byte, 12)
	_, _ = rand.Read(b)
	s := fmt.Sprintf("cnry%x", b)
	w.secrets = append(w.secrets, s)
	return s
}

// populate makes one of everything in acme.
func (w *world) populate() {
	w.Helper()
	make := func(as, path, body string) {
		w.Helper()
		w.ids[as] = w.must("POST", "/api/orgs/acme/"+path, adminKey, body, 201)["id"].(string)
	}
	make("keys", "keys", `{"name":"k","scopes":["invoke"]}`)
	make("connections", "connections", `{"provider":"openrouter","label":"L","api_key":"`+w.canary()+`","models":["m"]}`)
	make("agents", "agents", `{"name":"A","personas":[{"id":"p1","name":"P"}]}`)
	make("tools", "tools", `{"name":"look_up","description":"Looks up an order","url":"https://shop.example/orders/{id}","method":"GET",`+
		`"parameters":{"type":"object","properties":{"id":{"type":"string"}},"required":["id"]},"headers":{"X-Api-Key":"`+w.canary()+`"}}`)
	make("installs", "installs", fmt.Sprintf(`{"provider":%q,"config":{"app_id":"A1","team_id":"T1"},"secrets":{"signing_secret":%q,"bot_token":"xoxb-%s"}}`,
		taxonomy.Slack, w.canary(), w.canary()))
	w.ids["apps"] = w.must("POST", "/api/operator/apps", operatorKey, fmt.Sprintf(`{"provider":%q,"config":{"app_id":"A9"},"secrets":{"signing_secret":%q}}`, taxonomy.Slack, w.canary()), 201)["id"].(string)
	make("bindings", "bindings", `{"install_id":"`+w.ids["installs"]+`","agent_id":"`+w.ids["agents"]+`"}`)
	make("integrations", "integrations", `{"provider":"hubspot","label":"CRM","payload":"`+w.canary()+`"}`)
	w.ids["version"] = w.must("POST", "/api/operator/prices", operatorKey, prices, 201)["version"].(string)
	w.must("POST", "/api/orgs/acme/grants", operatorKey, `{"kind":"gifted","amount":5,"idempotency_key":"g"}`, 201)

	mem := w.api.s.Sessions.(*sessiontest.Memory)
	job := session.Job{Kind: session.JobMessage, Org: "acme", Install: w.ids["installs"], EventID: "e1", AgentID: w.ids["agents"], Envelope: channel.Envelope{Provider: "x", Space: "C1"}}
	way, err := json.Marshal(job)
	if err != nil {
		w.Fatal(err)
	}
	s, err := mem.Open(w.Context(), session.Session{Org: "acme", ID: job.Key().Hash(), Install: w.ids["installs"], AgentID: w.ids["agents"], Provider: "x", Space: "C1"}, w.now)
	if err != nil {
		w.Fatal(err)
	}
	turn, _, _, err := mem.Claim(w.Context(), session.Claim{Turn: session.Turn{Org: "acme", ID: "t1", Install: w.ids["installs"], EventID: "e1",
		Session: s.ID, AgentID: w.ids["agents"]}, Delivery: "d", Receive: 1, Now: w.now, Lease: time.Minute})
	if err == nil {
		err = mem.Append(w.Context(), turn, session.Message{Role: session.User, Text: "hi", AgentID: w.ids["agents"], TurnID: "t1", EventID: "e1", At: w.now, Way: way})
	}
	if err == nil {
		err = mem.Log(w.Context(), session.Delivery{Install: w.ids["apps"], EventID: "e2", Outcome: session.Unbound, Code: "hook.unbound", At: w.now})
	}
	if err == nil {
		err = mem.Log(w.Context(), session.Delivery{Install: w.ids["installs"], EventID: "e1", Outcome: session.Enqueued, Code: "ok", At: w.now, TurnID: "t1"})
	}
	if err != nil {
		w.Fatal(err)
	}
	w.ids["sessions"], w.ids["turns"], w.ids["requests"] = s.ID, "t1", "r1"
	waiting := approvaltest.Call("acme", "t1", w.now)
	if err := w.approvals.Ask(w.Context(), waiting, audit.Op{Actor: "function:turn", ID: "ask1", At: w.now.Add(-time.Minute)}.Row("acme", "approval.ask", waiting.ID), waiting.Told("test")); err != nil {
		w.Fatal(err)
	}
	w.ids["approvals"] = waiting.ID
	keys := w.kek.Keys()
	if err := w.jobs.Write(w.Context(), rotation.Write{Job: rotation.Job{ID: "rot1", Kind: rotation.KEK, From: keys[1], To: keys[0], State: rotation.Failed,
		Pass: 2, Done: 7, FailedCount: 1, Failures: []rotation.Failure{{Org: "acme", Class: taxonomy.AIKey, Credential: "c1", Version: 1, Reason: vault.TagMismatch}},
		CreatedBy: "operator:x", CreatedAt: w.now, UpdatedAt: w.now, EndedAt: w.now, Rev: 1}}); err != nil {
		w.Fatal(err)
	}
	w.ids["rotations"] = "rot1"
}

const prices = `{"rows":[{"provider":"openrouter","model":"m","meter":"input_text","rate_pico":1,"source":"s","source_date":"2026-11-01"}],"activate":true}`

func (w *world) do(method, target, key, body string) Response {
	w.Helper()
	headers := map[string][]string{}
	if token := w.keys[key]; token != "" {
		headers["authorization"] = []string{"Bearer " + token}
	}
	return w.with(headers, method, target, body)
}

func (w *world) with(headers map[string][]string, method, target, body string) Response {
	w.Helper()
	u, err := url.Parse(target)
	if err != nil {
		w.Fatal(err)
	}
	return w.api.Serve(w.Context(), Request{Method: method, Path: u.Path, Query: u.Query(), Body: []byte(body), ID: "req-1", Now: w.now,
		Header: func(name string) []string { return headers[name] }})
}

func (w *world) must(method, target, key, body string, status int) map[string]any {
	w.Helper()
	resp := w.do(method, target, key, body)
	if resp.Status != status {
		w.Fatalf("%s %s: %d %s, want %d", method, target, resp.Status, resp.Body, status)
	}
	var out map[string]any
	if len(resp.Body) > 0 {
		if err := json.Unmarshal(resp.Body, &out); err != nil {
			w.Fatal(err)
		}
	}
	return out
}

// refused checks status, code and param of an error.
func (w *world) refused(resp Response, status int, code fault.Code, param string) {
	w.Helper()
	var e errorBody
	if err := json.Unmarshal(resp.Body, &e); err != nil {
		w.Fatalf("%d %s: %v", resp.Status, resp.Body, err)
	}
	got := ""
	if e.Error.Param != nil {
		got = *e.Error.Param
	}
	if resp.Status != status || e.Error.Code != code || got != param {
		w.Fatalf("%d %s, want %d %s param %q", resp.Status, resp.Body, status, code, param)
	}
}

// changes counts the audit rows of changes that were made.
func (w *world) changes() int {
	n := len(w.installs.Rows) + len(w.integrations.Rows()) + len(w.jobs.Rows())
	for _, r := range w.rows.Rows() {
		if r.Outcome == audit.Done {
			n++
		}
	}
	return n
}

type fakeAgents struct {
	m    map[string]agent.Agent
	rows audit.Store
}

func (f *fakeAgents) Agent(_ context.Context, orgID, id string) (agent.Agent, error) {
	a, ok := f.m[orgID+"/"+id]
	if !ok {
		return agent.Agent{}, fault.New(fault.NotFound, "t", "there is no such agent")
	}
	return a, nil
}

func (f *fakeAgents) Agents(_ context.Context, orgID string) (out []agent.Agent, _ error) {
	for _, a := range f.m {
		if a.Org == orgID {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b agent.Agent) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

func (f *fakeAgents) CreateAgent(ctx context.Context, a agent.Agent, row audit.Row) error {
	f.m[a.Org+"/"+a.ID] = a
	return f.rows.PutAudit(ctx, row)
}

func (f *fakeAgents) UpdateAgent(ctx context.Context, _, next agent.Agent, row audit.Row) error {
	return f.CreateAgent(ctx, next, row)
}

func (f *fakeAgents) DeleteAgent(ctx context.Context, old agent.Agent, row audit.Row) error {
	delete(f.m, old.Org+"/"+old.ID)
	return f.rows.PutAudit(ctx, row)
}

type fakeTools struct {
	m    map[string]tool.Tool
	rows audit.Store
}

func (f *fakeTools) Tool(_ context.Context, orgID, name string) (tool.Tool, error) {
	t, ok := f.m[orgID+"/"+name]
	if !ok {
		return t, fault.New(fault.NotFound, "t", "there is no such tool")
	}
	return t, nil
}

func (f *fakeTools) Tools(_ context.Context, orgID string) (out []tool.Tool, _ error) {
	for _, t := range f.m {
		if t.Org == orgID {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b tool.Tool) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (f *fakeTools) CreateTool(ctx context.Context, t tool.Tool, row audit.Row) error {
	f.m[t.Org+"/"+t.Name] = t
	return f.rows.PutAudit(ctx, row)
}

func (f *fakeTools) UpdateTool(ctx context.Context, _, next tool.Tool, row audit.Row) error {
	return f.CreateTool(ctx, next, row)
}

func (f *fakeTools) DeleteTool(ctx context.Context, old tool.Tool, row audit.Row) error {
	delete(f.m, old.Org+"/"+old.Name)
	return f.rows.PutAudit(ctx, row)
}

// fakeLedger answers with one of everything.
type fakeLedger struct {
	opened   []string
	postings map[string]credit.Posting
	mismatch bool
	attempt  func(*credit.Attempt) // changes what Request answers
	rows     audit.Store
}

func (f *fakeLedger) OpenAccount(_ context.Context, id string, _ time.Time) error {
	f.opened = append(f.opened, id)
	return nil
}

func (f *fakeLedger) Balance(_ context.Context, id string) (credit.BalanceView, error) {
	v := credit.BalanceView{Account: credit.Account{Org: id, CreditLine: 3}, ByKind: map[taxonomy.GrantKind]credit.Micro{taxonomy.Gifted: 5}}
	for _, p := range f.postings {
		if p.Org == id {
			v.Posted += p.Amount
			v.Grants = append(v.Grants, credit.GrantBalance{Posting: p, Remaining: p.Amount})
		}
	}
	return v, nil
}

func (f *fakeLedger) post(ctx context.Context, g credit.GrantRequest, id, action string) (credit.Posting, error) {
	if p, ok := f.postings[g.Org+id]; ok {
		return p, nil
	}
	p := credit.Posting{ID: id, Org: g.Org, Kind: g.Kind, Amount: g.Amount, At: g.Now}
	f.postings[g.Org+p.ID] = p
	return p, f.rows.PutAudit(ctx, g.Op.Row(g.Org, action, id, "kind", string(g.Kind), "amount", fmt.Sprint(int64(g.Amount))))
}

func (f *fakeLedger) Grant(ctx context.Context, g credit.GrantRequest) (credit.Posting, error) {
	return f.post(ctx, g, "g_"+g.IdempotencyKey, "grant.create")
}

func (f *fakeLedger) Adjust(ctx context.Context, g credit.GrantRequest) (credit.Posting, error) {
	return f.post(ctx, g, "a_"+g.IdempotencyKey, "adjustment.create")
}

func (f *fakeLedger) SetCreditLine(ctx context.Context, id string, line credit.Micro, op audit.Op) error {
	return f.rows.PutAudit(ctx, op.Row(id, "credit_line.set", id, "amount", fmt.Sprint(int64(line))))
}

func (f *fakeLedger) Entries(_ context.Context, id, after string, limit int, now time.Time) ([]credit.Entry, string, error) {
	e := credit.Entry{ID: "e1", Org: id, Kind: credit.UsageEntry, At: now, Amount: -4, Legs: []credit.Leg{{Account: credit.AccountOrg, Amount: -4},
		{Account: credit.AccountRevenue, Amount: 4}}, Request: "r1", Attempt: 1, Source: taxonomy.Platform, PriceVersion: "p1", Agent: "a",
		Usage: billing.Usage{InputTokens: 1, AudioMillis: 1500, Source: billing.FromProvider}}
	g := credit.Entry{ID: "e2", Org: id, Kind: credit.GrantEntry, At: now, Amount: 5, Request: "g_1"}
	if after == "" && limit == 1 {
		return []credit.Entry{e}, "next", nil
	}
	return []credit.Entry{e, g}, "", nil
}

func (f *fakeLedger) Holds(_ context.Context, id string) ([]credit.Open, error) {
	return []credit.Open{{Org: id, Request: "r1", Attempt: 1, Hold: 7, State: credit.Dispatched, Expires: time.Date(2026, 11, 21, 12, 1, 0, 0, time.UTC)}}, nil
}

func (f *fakeLedger) Request(_ context.Context, id, request string) (credit.RequestView, error) {
	if request != "r1" || id != "acme" {
		return credit.RequestView{}, fault.New(fault.NotFound, "t", "there is no such request")
	}
	in := billing.Inputs{Org: id, RequestSource: taxonomy.LLM, Candidate: taxonomy.BYOK, OrgActive: true, TierBYOK: true, Provider: "x", Model: "m",
		Connection: billing.Connection{Exists: true, Usable: true}, PolicyVersion: billing.PolicyVersion}
	a := credit.Attempt{N: 1, State: credit.Settled, Provider: "x", Model: "m", Source: taxonomy.BYOK, Rule: billing.RuleBYOKPreferred, Status: 200,
		DecisionHash: billing.Hash(in), Decision: billing.Canonical(in), Created: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
	if f.attempt != nil {
		f.attempt(&a)
	}
	return credit.RequestView{Org: id, ID: request, State: credit.Settled, Cost: 4, Attempts: []credit.Attempt{a}}, nil
}

func (f *fakeLedger) Usage(_ context.Context, id, from, to string, by []string) ([]credit.UsageRow, error) {
	return []credit.UsageRow{{Org: id, Day: from, Model: to, Source: taxonomy.Platform, Requests: 2, Cost: 9,
		Usage: billing.Usage{AudioMillis: 61_250, Source: billing.Estimated}, Agent: strings.Join(by, "+")}}, nil
}

func (f *fakeLedger) Poisoned(context.Context) ([]credit.Poison, error) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	return []credit.Poison{{PK: "J#acme#202611#1", SK: "E#1#r1#1#usage", Reason: "projection_refused", First: at, At: at, Tries: 1},
		{PK: "R#acme#r1", SK: "REQ", Reason: "balance_refused", First: at, At: at.Add(time.Hour), Tries: 2, Next: at.Add(2 * time.Hour)}}, nil
}

func (f *fakeLedger) RetryPoison(ctx context.Context, id string) (n int, err error) {
	all, _ := f.Poisoned(ctx)
	for _, p := range all {
		if id == "" || p.ID() == id {
			n++
		}
	}
	if n == 0 {
		err = fault.New(fault.NotFound, "t", "there is no such poison")
	}
	return n, err
}

func (f *fakeLedger) DismissPoison(ctx context.Context, id, note string, row audit.Row) (credit.Poison, error) {
	all, _ := f.Poisoned(ctx)
	for _, p := range all {
		if p.ID() == id && row.Action == "poison.dismiss" {
			p.Dismissed, p.By, p.Note = row.At, row.Actor, note
			return p, nil
		}
	}
	return credit.Poison{}, fault.New(fault.NotFound, "t", "there is no such poison")
}

func (f *fakeLedger) Unbilled(_ context.Context, month time.Time) (credit.UnbilledReport, error) {
	c := credit.UnbilledCall{Org: "acme", Request: "r1", Attempt: 1, At: month, Hold: 5, Provider: "x", Source: taxonomy.Platform}
	d := c
	d.Request = "r2"
	return credit.UnbilledReport{Calls: []credit.UnbilledCall{c, d}, AtMost: 10, Late: 1}, nil
}

func (f *fakeLedger) ReconcileDeep(ctx context.Context, id string, now time.Time) (credit.ReconcileReport, error) {
	r, err := f.Reconcile(ctx, id, now)
	r.Checked += 10
	return r, err
}

func (f *fakeLedger) Reconcile(_ context.Context, id string, _ time.Time) (credit.ReconcileReport, error) {
	r := credit.ReconcileReport{OK: !f.mismatch, Checked: 2}
	if f.mismatch {
		r.Mismatches = []credit.Mismatch{{Org: id, What: "held", Want: 1, Got: 2}}
	}
	return r, nil
}

// fakeAlerts has one alert and keeps the setting.
type fakeAlerts struct {
	absolute credit.Micro
	rows     audit.Store
}

func (f *fakeAlerts) Level(_ context.Context, id string) (alert.Level, error) {
	return alert.Level{Org: id, Absolute: f.absolute, Amount: 100, At: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)}, nil
}

func (f *fakeAlerts) SetAbsolute(ctx context.Context, _ string, amount credit.Micro, row audit.Row) error {
	f.absolute = amount
	return f.rows.PutAudit(ctx, row)
}

func (f *fakeAlerts) Alerts(_ context.Context, id, after string, limit int) ([]alert.Alert, string, error) {
	if after != "" || limit < 1 {
		return nil, "", nil
	}
	return []alert.Alert{{ID: "al_1", Org: id, Threshold: "20%", Limit: 20, Left: 19, Level: 100, At: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)}}, "P#1", nil
}

type fakeRebuild struct{}

func (fakeRebuild) Run(_ context.Context, id string, op audit.Op, _ time.Time) (usage.Report, error) {
	if !op.Valid() {
		return usage.Report{}, fault.New(fault.Internal, "test", "nobody decided this")
	}
	m := usage.Mismatch{Row: credit.UsageRow{Org: id, Day: "2026-11-01", Provider: "p", Model: "m"}, What: "cost", Want: 2, Got: 1}
	return usage.Report{Complete: true, Checked: 3, Repaired: []usage.Mismatch{m}}, nil
}

// fakePrices keeps versions and activates them at once.
type fakePrices struct {
	index billing.Index
	books map[string]*billing.Book
	rows  audit.Store
}

func (f *fakePrices) Index(context.Context) (billing.Index, error) { return f.index, nil }

func (f *fakePrices) Book(_ context.Context, version string) (*billing.Book, error) {
	if b := f.books[version]; b != nil {
		return b, nil
	}
	return nil, fault.New(fault.NotFound, "t", "there is no such price book")
}

func (f *fakePrices) Import(ctx context.Context, rows []billing.Row, from, now time.Time, activate bool, row func(string) audit.Row) (*billing.Book, error) {
	if from.IsZero() {
		from = now
	}
	b, err := billing.Merge(nil, rows, int64(len(f.books)+1), from)
	if err != nil {
		return nil, err
	}
	if f.books == nil {
		f.books = map[string]*billing.Book{}
	}
	f.books[b.Version] = b
	f.index.Books = append(f.index.Books, billing.Listing{Version: b.Version, EffectiveFrom: from, Rows: len(b.Rows)})
	if activate {
		return b, f.Activate(ctx, b.Version, now, row(b.Version))
	}
	return b, f.rows.PutAudit(ctx, row(b.Version))
}

func (f *fakePrices) Activate(ctx context.Context, version string, now time.Time, row audit.Row) error {
	if _, err := f.Book(ctx, version); err != nil {
		return err
	}
	f.index.Activations = append(f.index.Activations, billing.Activation{Version: version, From: now})
	return f.rows.PutAudit(ctx, row)
}
