package lkcli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/admin"
	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/connection/connectiontest"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/install/installtest"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/org/orgtest"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/rollout/rollouttest"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/rotation/rotationtest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session/sessiontest"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// agents is the smallest agent store.
type agents struct {
	m    map[string]agent.Agent
	rows audit.Store
}

func (f *agents) Agent(_ context.Context, orgID, id string) (agent.Agent, error) {
	if a, ok := f.m[orgID+"/"+id]; ok {
		return a, nil
	}
	return agent.Agent{}, fault.New(fault.NotFound, "t", "there is no such agent")
}

func (f *agents) Agents(_ context.Context, orgID string) (out []agent.Agent, _ error) {
	for _, a := range f.m {
		if a.Org == orgID {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b agent.Agent) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

func (f *agents) CreateAgent(ctx context.Context, a agent.Agent, row audit.Row) error {
	f.m[a.Org+"/"+a.ID] = a
	return f.rows.PutAudit(ctx, row)
}

func (f *agents) UpdateAgent(ctx context.Context, _, next agent.Agent, row audit.Row) error {
	return f.CreateAgent(ctx, next, row)
}

func (f *agents) DeleteAgent(ctx context.Context, old agent.Agent, row audit.Row) error {
	delete(f.m, old.Org+"/"+old.ID)
	return f.rows.PutAudit(ctx, row)
}

// money is the smallest ledger.
type money struct {
	admin.Ledger
	postings map[string]credit.Posting
}

func (m *money) OpenAccount(context.Context, string, time.Time) error { return nil }

func (m *money) Balance(_ context.Context, id string) (v credit.BalanceView, _ error) {
	for _, p := range m.postings {
		if p.Org == id {
			v.Posted += p.Amount
			v.Grants = append(v.Grants, credit.GrantBalance{Posting: p, Remaining: p.Amount})
		}
	}
	return v, nil
}

func (m *money) Grant(_ context.Context, g credit.GrantRequest) (credit.Posting, error) {
	p := credit.Posting{ID: "g_" + g.IdempotencyKey, Org: g.Org, Kind: g.Kind, Amount: g.Amount, At: g.Now}
	m.postings[g.Org+p.ID] = p
	return p, nil
}

func (m *money) Adjust(ctx context.Context, g credit.GrantRequest) (credit.Posting, error) {
	return m.Grant(ctx, g)
}

func (m *money) SetCreditLine(context.Context, string, credit.Micro, audit.Op) error { return nil }

// deployment is the real admin API over stores in memory, behind HTTP.
type deployment struct {
	*testing.T
	url, operator string
	key           string
	// turn lets the worker of the vault's jobs run once.
	turn func()
	kek  *vaulttest.KEK
	v    *vault.Vault
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	rows, installs := orgtest.NewMemory(), installtest.NewMemory()
	conns := connectiontest.NewMemory(rows)
	ledger, people := &money{postings: map[string]credit.Posting{}}, &agents{m: map[string]agent.Agent{}, rows: rows}
	credentials, kek := vaulttest.NewStore(), vaulttest.NewKEK()
	kek.Add()
	v, err := vault.New(vault.Options{Store: credentials, KEK: kek, Fields: vaulttest.Fields(), Now: instant, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	jobs := rotationtest.NewMemory(credentials)
	orgs := &org.Service{Orgs: rows, Keys: rows, Config: rows, Ledger: ledger, Sharing: rows, Random: rand.Reader}
	matrix, err := rollout.Stored()
	if err != nil {
		t.Fatal(err)
	}
	stages := &rollout.Service{Store: rollouttest.New(rows), Matrix: matrix, Channels: []taxonomy.Channel{taxonomy.Slack, taxonomy.Telegram, taxonomy.Email}, Orgs: rows, Proof: rollout.Evidence{Connections: conns}}
	n := 0
	api := admin.New(admin.Services{
		Orgs: orgs,
		Connections: &connection.Service{Store: conns, Vault: v, Drains: v, Limits: conns, Keys: &connectiontest.Vendor{},
			Prober: &connectiontest.Vendor{}, Providers: []connection.Provider{
				{ID: taxonomy.OpenRouter, DefaultBaseURL: "https://openrouter.ai/api/v1", KeyRequired: true, DefaultBilling: taxonomy.BYOK,
					CheckKey: func(secret.Text) error { return nil }, CheckURL: func(string) error { return nil }}}},
		Agents: &agent.Service{Store: people},
		Installs: &install.Service{Store: installs, Bindings: installs, Vault: v, Index: v, Catalog: catalog.New(catalog.Entries()), Agents: people,
			PublicURL: "https://latchkey.example", Stages: stages},
		Rollout:  stages,
		Sessions: sessiontest.NewMemory(), Audit: rows, Credits: ledger, Ledger: ledger,
		Rotations: &rotation.Service{Store: jobs, Keys: v, Wake: func(context.Context) error { return nil }},
		Fields:    vaulttest.Fields(),
		NewID:     func(time.Time) string { n++; return fmt.Sprintf("id%06d", n) },
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		resp := api.Serve(r.Context(), admin.Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(), Header: func(name string) []string { return r.Header.Values(name) },
			Body: body, ID: "req-1", Now: instant()})
		for k, v := range resp.Header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(resp.Status)
		_, _ = w.Write(resp.Body)
	}))
	t.Cleanup(s.Close)
	_, text, err := orgs.IssueKey(t.Context(), audit.Op{Actor: "function:test", ID: "boot", At: instant()}, org.Operator,
		org.KeyDraft{ID: "op1", Name: "operator", Scopes: []org.Scope{org.ScopeAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	d := &deployment{T: t, url: s.URL, kek: kek, v: v}
	worker, err := rotation.NewRunner(rotation.Options{Store: jobs, Vault: v, Pages: credentials, Now: instant,
		Sleep: func(context.Context, time.Duration) {}, NewID: func(time.Time) string { return "worker" }})
	if err != nil {
		t.Fatal(err)
	}
	d.turn = func() {
		if _, err := worker.RunAll(context.Background()); err != nil {
			t.Error(err)
		}
	}
	_ = text.Use(func(b []byte) error { d.operator = string(b); return nil })
	d.key = d.operator
	return d
}

func (d *deployment) run(stdin string, args ...string) result {
	d.Helper()
	return lk(d.T, stdin, map[string]string{"LATCHKEY_URL": d.url, "LATCHKEY_KEY": d.key}, args...)
}

// do runs a command that must succeed and returns its JSON; one that only reads
// runs in the form for people too.
func (d *deployment) do(stdin string, args ...string) map[string]any {
	d.Helper()
	human := result{}
	if slices.Contains([]string{"get", "list", "setup", "settings", "credits", "audit", "deliveries"}, args[min(1, len(args)-1)]) {
		human = d.run(stdin, args...)
	}
	got := d.run(stdin, append(args, "--json")...)
	var out map[string]any
	if err := json.Unmarshal([]byte(got.out), &out); err != nil || got.code != ExitDone || human.code != ExitDone {
		d.Fatalf("lk %v: exit %d %s%s", args, got.code, got.out, got.errOut)
	}
	if strings.Contains(human.out+human.errOut+got.out+got.errOut, vendorSecret) {
		d.Errorf("lk %v: the secret is printed", args)
	}
	return out
}

func (d *deployment) count(args ...string) int {
	d.Helper()
	return len(d.do("", args...)["items"].([]any))
}

// TestAgainstTheRealRouter walks an organisation from its creation to an active
// install, through nothing but the tool.
func TestAgainstTheRealRouter(t *testing.T) {
	d := deploy(t)
	acme := d.do("", "org", "create", "--name", "Acme", "--tier", "enterprise", "--idempotency-key", "a")["id"].(string)
	if again := d.do("", "org", "create", "--name", "Acme", "--tier", "enterprise", "--idempotency-key", "a"); again["id"] != acme {
		t.Errorf("a repeat made %v", again["id"])
	}
	d.do("", "grant", "create", "--org", acme, "--kind", "purchased", "--amount", "25.5cr", "--idempotency-key", "i1")
	key := d.do("", "key", "create", "--org", acme, "--name", "admin", "--scopes", "admin")
	d.key = key["key"].(string)

	if posted := d.do("", "credits")["posted"]; posted != 25.5e6 {
		t.Errorf("posted %v", posted)
	}
	if d.count("grant", "list") != 1 || d.count("key", "list") != 1 || d.count("org", "list") != 1 {
		t.Error("counts")
	}
	conn := d.do(vendorSecret+"\n", "connection", "create", "--provider", "openrouter", "--label", "main", "--api-key", "-")["id"].(string)
	if d.do("", "connection", "update", conn, "--enabled=false", "--models", "a,b")["enabled"] != false {
		t.Error("still enabled")
	}
	d.do(vendorSecret+"2", "connection", "rotate", conn, "--api-key", "-")
	agentID := d.do("Be kind.", "agent", "create", "--name", "Helper", "--instructions", "-", "--personas", `[{"id":"p1","name":"P"}]`)["id"].(string)
	if got := d.do("", "agent", "get", agentID)["instructions"]; got != "Be kind." {
		t.Errorf("instructions %v", got)
	}
	inst := d.do("", "install", "create", "--provider", "slack", "--config", "app_id=A1", "--config", "team_id=T1",
		"--secret", "signing_secret=@"+write(t, "s", vendorSecret))
	id := inst["id"].(string)
	if inst["state"] != "draft" {
		t.Errorf("state %v", inst["state"])
	}
	if got := d.do("xoxb-1", "install", "update", id, "--secret", "bot_token=-")["state"]; got != "verifying" {
		t.Errorf("state %v", got)
	}
	binding := d.do("", "binding", "create", "--install-id", id, "--agent-id", agentID, "--channel", "C1", "--mention")
	if binding["weight"] != 12.0 || d.count("binding", "list", "--install", id) != 1 {
		t.Errorf("%v", binding)
	}
	d.do("", "binding", "update", binding["id"].(string), "--persona-id", "p1")
	for _, step := range [][2]string{{"activate", "active"}, {"suspend", "suspended"}, {"resume", "active"}} {
		if got := d.run("", "install", step[0], id, "--json"); !strings.Contains(got.out, `"state":"`+step[1]+`"`) || got.code != 0 {
			t.Errorf("%s: %+v", step[0], got)
		}
	}
	d.do(vendorSecret+"3", "install", "rotate", id, "--name", "signing_secret", "--value", "-")
	if setup := d.do("", "install", "setup", id); setup["manifest"] == nil {
		t.Error("no manifest")
	}
	if d.count("install", "deliveries", id) != 0 || d.count("session", "list") != 0 || d.count("audit") < 5 {
		t.Error("counts")
	}
	if got := d.do("", "audit", "verify"); got["ok"] != true || got["checked"] == 0.0 {
		t.Errorf("the chain of audit rows: %v", got)
	}
	settings := d.do("", "org", "settings")
	settings["privacy_mode"] = "prefer_local"
	if got := d.run(string(encode(settings)), "org", "settings-put", "-", "--json"); got.code != ExitDone || !strings.Contains(got.out, "prefer_local") {
		t.Errorf("%+v", got)
	}
	d.refusals(id, agentID)
	d.do("", "key", "revoke", key["id"].(string))
	if got := d.run("", "org", "get"); got.code != ExitRefused || !strings.Contains(got.errOut, "gateway_auth") || !strings.Contains(got.errOut, "req-1") {
		t.Errorf("%+v", got)
	}
}

// refusals are the API's, word for word.
func (d *deployment) refusals(installID, agentID string) {
	for _, c := range []struct {
		code string
		args []string
	}{
		{"conflict", []string{"binding", "create", "--install-id", installID, "--agent-id", agentID, "--channel", "C1", "--mention"}},
		{"not_found", []string{"agent", "get", "nope"}},
		{"not_found", []string{"agent", "list", "--org", "other"}},
		{"scope_missing", []string{"grant", "create", "--kind", "daily", "--amount", "1", "--idempotency-key", "x"}},
		{"scope_missing", []string{"tiers", "get"}},
		{"invalid_request", []string{"connection", "create", "--provider", "nobody"}},
	} {
		got := d.run("", append(c.args, "--json")...)
		var e errorDocument
		if json.Unmarshal([]byte(got.out), &e) != nil || e.Error == nil || e.Error.Code != c.code || got.code != ExitRefused || !strings.Contains(got.errOut, c.code) {
			d.Errorf("%v: %+v", c.args, got)
		}
	}
}

// TestLimitFlags: what lk sends for limits is what the API stores and shows.
func TestLimitFlags(t *testing.T) {
	d := deploy(t)
	acme := d.do("", "org", "create", "--name", "Acme", "--tier", "pro")["id"].(string)
	got := d.run("", "key", "create", "--org", acme, "--name", "trial", "--scopes", "invoke", "--requests-per-minute", "10", "--tokens-per-minute", "5000",
		"--concurrent", "2", "--budget", "2.5cr", "--budget-period", "month", "--json")
	if want := `"limits":{"requests_per_minute":10,"tokens_per_minute":5000,"concurrent":2,"budget":{"amount":2500000,"period":"month"}}`; got.code != 0 || !strings.Contains(string(compact([]byte(got.out))), want) {
		d.Errorf("%+v", got)
	}
	if got := d.run("", "key", "create", "--org", acme, "--name", "trial", "--scopes", "invoke", "--budget", "2cr"); got.code == 0 || !strings.Contains(got.errOut, "period") {
		d.Errorf("a budget without a period: %+v", got)
	}
}
