package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/shared/admin"
	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/connection/connectiontest"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/payment"
	vendors "github.com/latchkey/latchkey/shared/providers/catalog"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/usage"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// stack is the handler over real tables; only the key service is in memory.
type stack struct {
	*testing.T
	h    *Handler
	keys map[string]string
	now  time.Time
	kek  *vaulttest.KEK
	// queued counts jobs of turns.
	queued int
}

func openStack(t *testing.T) *stack {
	fx := dynamotest.Open(t)
	return stackOver(t, fx.Client, fx.Tables)
}

func stackOver(t *testing.T, client *dynamodb.Client, tables dynamo.Tables) *stack {
	t.Helper()
	db, err := dynamo.New(client, tables)
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{T: t, keys: map[string]string{}, now: time.UnixMilli(1795262400000).UTC()}
	s.kek = vaulttest.NewKEK()
	s.kek.Add()
	seal := func(store vault.Store) (*vault.Vault, error) {
		return vault.New(vault.Options{Store: store, KEK: s.kek, Fields: vaulttest.Fields(), Now: func() time.Time { return s.now }, App: "latchkey", Stage: "test"})
	}
	keys, err := seal(dynamo.NewVault(db))
	if err != nil {
		t.Fatal(err)
	}
	out, err := egress.New(egress.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ledger := credit.New(db.Ledger(), credit.Options{})
	orgs := &org.Service{Orgs: db.Orgs(), Keys: db.Keys(), Config: db.Orgs(), Ledger: ledger, Sharing: db.Orgs(), Random: boot.Rand()}
	installs := &install.Service{Store: db.Installs(), Bindings: db.Installs(), Vault: keys, Index: keys, Catalog: catalog.New(catalog.Entries()),
		Agents: db.Agents(), PublicURL: "https://latchkey.example"}
	stages := rolledOut(db, slog.New(slog.DiscardHandler))
	installs.Stages = stages
	pages := &consent.Service{Store: db.Consents(), Installs: installs, Orgs: db.Orgs(), Rows: db.Audit(), Hasher: keys, Catalog: installs.Catalog,
		PublicURL: "https://latchkey.example", Random: boot.Rand(), NewID: boot.NewID}
	s.h = &Handler{Consent: pages, Clock: &clock{}, Log: slog.New(slog.DiscardHandler), API: admin.New(admin.Services{
		Orgs: orgs,
		Connections: &connection.Service{Store: db.Connections(), Vault: keys, Drains: keys, Limits: db.Connections(), Keys: &connectiontest.Vendor{},
			Prober: &connectiontest.Vendor{}, Providers: connectable(vendors.Entries(), out, nil)},
		Agents:    &agent.Service{Store: db.Agents()},
		Tools:     &tool.Service{Store: db.Tools(), Vault: keys, CheckURL: vault.OriginOf, NewID: boot.NewID},
		Approvals: &approval.Service{Store: db.Approvals(), Queue: s},
		Handoffs:  &handoff.Service{Store: db.Sessions(), Queue: s, Agents: db.Agents(), Stage: "test"},
		Installs:  installs, Consent: pages,
		Sessions: db.Sessions(), Audit: db.Audit(), Credits: ledger, Ledger: ledger, Books: ledger, Alerts: db.Alerts(), Commercial: &commercial.Service{Store: db.Commercial(), Allowance: ledger}, Rebuild: &usage.Rebuilder{Store: db.Ledger(), Journal: db.Ledger()}, LegacyTokens: &legacytokens.Service{Store: db.Legacy(), Balances: ledger, Usage: db.Ledger()}, Prices: db.Prices(), Fields: vaulttest.Fields(), NewID: boot.NewID,
		Integrations: &integration.Service{Store: db.Integrations(), Seal: seal, Hash: keys, NewID: boot.NewID},
		Rollout:      stages,
		Rotations:    &rotation.Service{Store: db.Rotations(), Keys: keys, Wake: func(context.Context) error { return nil }},
		PaymentKeys: &payment.Keeper{Vault: keys, Ref: payment.RefOf(payment.Reference(stripe.ID), stripe.ID), Label: "payments",
			Names: payment.Names{Call: stripe.APIKey, Message: stripe.WebhookSecret}, Overlap: stripe.RollOverlap},
	})}
	_, text, err := orgs.IssueKey(t.Context(), audit.Op{Actor: "function:test", ID: boot.NewID(s.now), At: s.now}, org.Operator,
		org.KeyDraft{ID: boot.NewID(s.now), Name: "op", Scopes: []org.Scope{org.ScopeAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	_ = text.Use(func(b []byte) error { s.keys["operator"] = string(b); return nil })
	return s
}

// Send is the queue of turns.
func (s *stack) Send(context.Context, string, string, []byte) error {
	s.queued++
	return nil
}

func (s *stack) do(status int, who, method, target, body string) map[string]any {
	s.Helper()
	got, out := s.try(who, method, target, body)
	if got != status {
		s.Fatalf("%s %s: %d %v, want %d", method, target, got, out, status)
	}
	return out
}

func (s *stack) try(who, method, target, body string) (status int, out map[string]any) {
	s.Helper()
	path, query, _ := strings.Cut(target, "?")
	var e events.APIGatewayV2HTTPRequest
	e.RawPath, e.RawQueryString, e.Body = path, query, body
	e.Headers = map[string]string{"x-api-key": s.keys[who]}
	e.RequestContext.RequestID, e.RequestContext.TimeEpoch, e.RequestContext.HTTP.Method = "r", s.now.UnixMilli(), method
	resp, err := s.h.Handle(s.Context(), e)
	if err != nil {
		s.Fatalf("%s %s: %v", method, target, err)
	}
	if resp.Body != "" {
		if err := json.Unmarshal([]byte(resp.Body), &out); err != nil {
			s.Fatal(err)
		}
	}
	return resp.StatusCode, out
}

func items(answer map[string]any) []any { return answer["items"].([]any) }

// TestAdminAPIOnRealTables plays an organisation's set-up from its creation to
// its first grant on DynamoDB Local.
func TestAdminAPIOnRealTables(t *testing.T) {
	s := openStack(t)
	acme := s.do(201, "operator", "POST", "/api/orgs", `{"name":"Acme","tier":"enterprise"}`)["id"].(string)
	base := "/api/orgs/" + acme
	s.keys["admin"] = s.do(201, "operator", "POST", base+"/keys", `{"name":"admin","scopes":["admin"]}`)["key"].(string)
	if got := items(s.do(200, "admin", "GET", "/api/orgs", "")); len(got) != 1 || got[0].(map[string]any)["id"] != acme {
		t.Fatalf("orgs %v", got)
	}
	conn := s.do(201, "admin", "POST", base+"/connections", fmt.Sprintf(`{"provider":%q,"api_key":"sk-or-v1-aaaaaaaaaaaaaaaaaaaaaaaa1111"}`, taxonomy.OpenRouter))
	s.do(409, "admin", "POST", base+"/connections", fmt.Sprintf(`{"provider":%q,"api_key":"sk-or-v1-aaaaaaaaaaaaaaaaaaaaaaaa1111"}`, taxonomy.OpenRouter))
	one := base + "/connections/" + conn["id"].(string)
	if r := s.do(200, "admin", "POST", one+"/rotate", `{"api_key":"sk-or-v1-bbbbbbbbbbbbbbbbbbbbbbbb2222"}`); r["hint"] != "2222" || r["version"] != 2.0 {
		t.Fatalf("rotated %v", r)
	}
	s.do(200, "admin", "PUT", base+"/settings", `{"default_model":"openrouter/x/y","aliases":{"Fast":"openrouter/z"}}`)
	if got := s.do(200, "admin", "GET", base+"/settings", ""); got["version"] != 1.0 || got["aliases"].(map[string]any)["Fast"] != "openrouter/z" {
		t.Fatalf("settings %v", got)
	}
	bot := s.do(201, "admin", "POST", base+"/agents", `{"name":"Bot","personas":[{"id":"p","name":"P"}]}`)["id"].(string)
	inst := s.do(201, "admin", "POST", base+"/installs", fmt.Sprintf(`{"provider":%q,"config":{"app_id":"A1","team_id":"T1"},"secrets":{"signing_secret":"0123456789abcdef0123456789abcdef","bot_token":"xoxb-1-2-abcdefghijkl"}}`, taxonomy.Slack))
	if inst["state"] != "verifying" {
		t.Fatalf("install %v", inst)
	}
	id := inst["id"].(string)
	s.do(200, "admin", "POST", base+"/installs/"+id+"/activate", "")
	bind := s.do(201, "admin", "POST", base+"/bindings", `{"install_id":"`+id+`","agent_id":"`+bot+`","persona_id":"p"}`)["id"].(string)
	s.do(409, "admin", "POST", base+"/bindings", `{"install_id":"`+id+`","agent_id":"`+bot+`"}`)
	s.do(200, "admin", "GET", base+"/installs/"+id+"/setup", "")
	s.do(201, "operator", "POST", base+"/grants", `{"kind":"purchased","amount":5000000,"idempotency_key":"first"}`)
	s.do(201, "operator", "POST", base+"/grants", `{"kind":"purchased","amount":5000000,"idempotency_key":"first"}`)
	if c := s.do(200, "admin", "GET", base+"/credits", ""); c["posted"] != 5e6 || c["available"] != 5e6 || len(c["grants"].([]any)) != 1 {
		t.Fatalf("credits %v", c)
	}
	if e := items(s.do(200, "admin", "GET", base+"/entries?limit=1", "")); len(e) != 1 || e[0].(map[string]any)["amount"] != 5e6 {
		t.Fatalf("entries %v", e)
	}
	book := s.do(201, "operator", "POST", "/api/operator/prices", fmt.Sprintf(`{"rows":[{"provider":%q,"model":"x/y","meter":"input_text","rate_pico":1000000,"source":"s","source_date":"2026-11-01"}],"activate":true}`, taxonomy.OpenRouter))
	if got := s.do(200, "operator", "GET", "/api/operator/prices/"+book["version"].(string), ""); got["active"] != true || len(got["rows"].([]any)) != 1 {
		t.Fatalf("book %v", got)
	}
	if r := s.do(200, "operator", "POST", "/api/operator/reconcile", ""); r["ok"] != true {
		t.Fatalf("reconcile %v", r)
	}
	for _, list := range []string{"/keys", "/connections", "/agents", "/installs", "/bindings", "/audit"} {
		if len(items(s.do(200, "admin", "GET", base+list, ""))) == 0 {
			t.Errorf("%s is empty", list)
		}
	}
	for _, list := range []string{"/sessions", "/holds", "/usage", "/deliveries?install=" + id} {
		s.do(200, "admin", "GET", base+list, "")
	}
	s.do(404, "admin", "GET", base+"/sessions/none", "")
	s.do(404, "admin", "GET", base+"/turns/none", "")
	s.do(404, "admin", "GET", base+"/requests/none", "")
	s.do(204, "admin", "DELETE", base+"/bindings/"+bind, "")
	s.do(204, "admin", "DELETE", one, "")
	s.do(404, "admin", "GET", one, "")
	s.do(204, "admin", "DELETE", base+"/installs/"+id, "")
	s.do(204, "admin", "DELETE", base+"/agents/"+bot, "")
}
