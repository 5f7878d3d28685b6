package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey/latchkey/shared/agent/approval/approvaltest"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/dynamo/dynamotest"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// tableWire sees every call to the tables. While fail is set, no audit row can be
// written: the condition of its put is turned around.
type tableWire struct {
	next interface {
		Do(*http.Request) (*http.Response, error)
	}
	mu      sync.Mutex
	fail    bool
	refused int      // rows that were made to fail
	bare    []string // writes without an audit row
	rows    []string // "<org>/<action>" of rows that were sent
}

type value struct{ S string }

type write struct {
	TableName string
	Item, Key map[string]value
}

func (w write) pk() string {
	if w.Item != nil {
		return w.Item[table.PK].S
	}
	return w.Key[table.PK].S
}

func (w *tableWire) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	w.mu.Lock()
	body = w.look(operation, body)
	w.mu.Unlock()
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return w.next.Do(r)
}

func (w *tableWire) look(operation string, body []byte) []byte {
	var in struct {
		write
		TransactItems []map[string]write
		RequestItems  map[string][]map[string]write
	}
	_ = json.Unmarshal(body, &in) // numbers and lists of other members do not fit, and are not needed
	switch operation {
	case "PutItem", "UpdateItem", "DeleteItem":
		w.bare = append(w.bare, operation+" "+in.pk())
	case "BatchWriteItem":
		for _, requests := range in.RequestItems {
			for _, kinds := range requests {
				for _, x := range kinds {
					w.bare = append(w.bare, operation+" "+x.pk())
				}
			}
		}
	case "TransactWriteItems":
		row := ""
		for _, kinds := range in.TransactItems {
			if x := kinds["Put"]; strings.HasPrefix(x.pk(), "AUDIT#") {
				row = strings.Split(x.pk(), "#")[1] + "/" + x.Item["action"].S
			}
		}
		if row == "" {
			w.bare = append(w.bare, operation+" "+string(body))
			return body
		}
		w.rows = append(w.rows, row)
		if w.fail {
			w.refused++
			return refuseRows(body)
		}
	}
	return body
}

// refuseRows makes the put of every audit row demand that the row exists.
func refuseRows(body []byte) []byte {
	var in map[string]any
	if err := json.Unmarshal(body, &in); err != nil {
		panic(err)
	}
	for _, x := range in["TransactItems"].([]any) {
		if put, ok := x.(map[string]any)["Put"].(map[string]any); ok {
			if pk := put["Item"].(map[string]any)[table.PK].(map[string]any)["S"].(string); strings.HasPrefix(pk, "AUDIT#") {
				put["ConditionExpression"] = "attribute_exists(#pk)"
			}
		}
	}
	out, err := json.Marshal(in)
	if err != nil {
		panic(err)
	}
	return out
}

// dump is every item of every table as text.
func dump(t *testing.T, fx dynamotest.Fixture) map[string]string {
	t.Helper()
	out := map[string]string{}
	for role, name := range fx.Tables {
		p := dynamodb.NewScanPaginator(fx.Client, &dynamodb.ScanInput{TableName: aws.String(name), ConsistentRead: aws.Bool(true)})
		for p.HasMorePages() {
			page, err := p.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, it := range page.Items {
				b, err := json.Marshal(it)
				if err != nil {
					t.Fatal(err)
				}
				key, err := json.Marshal([]any{it[table.PK], it[table.SK]})
				if err != nil {
					t.Fatal(err)
				}
				out[fmt.Sprint(role, " ", string(key))] = string(b)
			}
		}
	}
	return out
}

// step is one call of a route that changes something.
type step struct {
	route        string // as in the OpenAPI document
	target, body string
	status       int
	rows         []string // that it leaves, sorted
	// apart is what may be written without a row: preparation that is nothing
	// without the write that follows it.
	apart string
	// before makes what the call needs and no route makes.
	before func()
	keep   func(answer map[string]any)
}

// rotationSteps start a change of the vault's key and roll it back after its
// worker has run, past the wire that looks at writes.
func rotationSteps(s *stack, fx dynamotest.Fixture, ids map[string]string) []step {
	const all = "/api/operator/rotations"
	work := func(answer map[string]any) {
		ids["{rotation}"] = answer["id"].(string)
		db, err := dynamo.New(fx.Client, fx.Tables)
		if err != nil {
			s.Fatal(err)
		}
		v, err := vault.New(vault.Options{Store: dynamo.NewVault(db), KEK: s.kek, Fields: vaulttest.Fields(), Now: func() time.Time { return s.now }, App: "latchkey", Stage: "test"})
		if err != nil {
			s.Fatal(err)
		}
		worker, err := rotation.NewRunner(rotation.Options{Store: db.Rotations(), Vault: v, Pages: dynamo.NewVault(db), NewID: boot.NewID,
			Now: func() time.Time { return s.now }, Sleep: func(context.Context, time.Duration) {}})
		if err != nil {
			s.Fatal(err)
		}
		if _, err := worker.Run(s.Context(), ids["{rotation}"]); err != nil {
			s.Fatal(err)
		}
	}
	return []step{
		{route: "POST " + all, target: all, body: `{"kind":"kek","to":"` + s.kek.Keys()[1] + `"}`, status: 201, rows: []string{"operator/rotation.start"}, keep: work},
		{route: "POST " + all + "/{id}/rollback", target: all + "/{rotation}/rollback", body: "{}", status: 200, rows: []string{"operator/rotation.rollback"}},
	}
}

// approvalSteps decide about two calls that wait.
func approvalSteps(s *stack, fx dynamotest.Fixture, ids map[string]string) []step {
	const one = "/api/orgs/{org}/approvals/"
	decide := func(turn, name, decision string) step {
		return step{route: "POST " + one + "{id}", target: one + "{" + name + "}", body: `{"decision":"` + decision + `","reason":"why not"}`, status: 200, rows: []string{"approval." + decision},
			apart: table.ApprovalsDue, before: func() {
				db, err := dynamo.New(fx.Client, fx.Tables)
				if err != nil {
					s.Fatal(err)
				}
				a := approvaltest.Call(ids["{org}"], turn, s.now)
				ids["{"+name+"}"] = a.ID
				if err := db.Approvals().Ask(s.Context(), a, audit.Op{Actor: "function:turn", ID: boot.NewID(s.now), At: s.now}.Row(a.Org, "approval.ask", a.ID), a.Told("test")); err != nil {
					s.Fatal(err)
				}
			}, keep: func(map[string]any) {
				if s.queued == 0 {
					s.Error("nothing was queued")
				}
			}}
	}
	return []step{decide("t-1", "approval", "approve"), decide("t-2", "approval2", "refuse")}
}

// handoffSteps take a conversation over, answer in it and give it back.
func handoffSteps(s *stack, fx dynamotest.Fixture, ids map[string]string) []step {
	on := func(verb, body string, status int, row string) step {
		return step{route: "POST /api/orgs/{org}/sessions/{id}/" + verb, target: "/api/orgs/{org}/sessions/{session}/" + verb, body: body, status: status, rows: []string{row}}
	}
	take := on("handoff", `{"reason":"a refund"}`, 200, "session.handoff")
	take.before = func() {
		db, err := dynamo.New(fx.Client, fx.Tables)
		if err != nil {
			s.Fatal(err)
		}
		job := session.Job{Kind: session.JobMessage, Org: ids["{org}"], Install: "i1", EventID: "e1", AgentID: "ag1", Envelope: channel.Envelope{Provider: taxonomy.Slack, Space: "C1"}}
		way, _ := json.Marshal(job)
		x := session.Session{Org: job.Org, ID: job.Key().Hash(), Install: job.Install, AgentID: job.AgentID, Provider: "x", Space: "C1"}
		ids["{session}"] = x.ID
		_, err = db.Sessions().Open(s.Context(), x, s.now)
		turn, _, _, claiming := db.Sessions().Claim(s.Context(), session.Claim{Turn: session.Turn{Org: x.Org, ID: "t-h", Session: x.ID}, Now: s.now})
		if err = errors.Join(err, claiming, db.Sessions().Append(s.Context(), turn, session.Message{Role: session.User, Text: "hi", At: s.now, Way: way})); err != nil {
			s.Fatal(err)
		}
		s.queued = 0
	}
	say := on("messages", `{"text":"I am on it.","idempotency_key":"k1"}`, 201, "session.say")
	say.keep = func(answer map[string]any) {
		if s.queued != 1 || answer["turn_id"] == "" {
			s.Errorf("%d jobs, %v", s.queued, answer)
		}
	}
	return []step{take, say, on("resume", "", 200, "session.resume")}
}

// TestEveryChangeIsOneTransactionWithItsRow walks through every changing route
// of the document on real tables. First no audit row can be written: then the
// call fails and not one item of any table is another than before. Then it
// succeeds, and every single write it made carried an audit row.
func TestEveryChangeIsOneTransactionWithItsRow(t *testing.T) {
	fx := dynamotest.Open(t)
	w := &tableWire{}
	client := dynamodb.New(fx.Client.Options(), func(o *dynamodb.Options) { w.next, o.HTTPClient = o.HTTPClient, w })
	s := stackOver(t, client, fx.Tables)
	ids := map[string]string{}
	covered := map[string]bool{
		"POST /api/operator/reconcile":               true, // compares, changes nothing
		"POST /api/operator/poison/retry":            true, // brings forward what happens anyway
		"POST /api/operator/poison/dismiss":          true, // there is no poison here; shared/dynamo tests its row
		"POST /api/operator/rebuild-usage":           true, // its row is written when it begins, the copying has none: shared/dynamo tests it
		"POST /api/orgs/{org}/sharing/renew":         true, // PUT has told every client; it makes the same writes
		"POST /api/orgs/{org}/routes/explain":        true, // reads
		"POST /api/orgs/{org}/connections/{id}/test": true, // what it saw is nobody's decision
		// Served by billing; shared/dynamo tests its row.
		"POST /api/orgs/{org}/billing/checkout": true,
		"POST /api/orgs/{org}/billing/portal":   true,
		"PUT /api/orgs/{org}/billing/replenish": true,
		// Needs a copy that was compared a week ago; the suite of integrations has it.
		"POST /api/orgs/{org}/integrations/{id}/purge": true,
	}
	for _, st := range slices.Concat(steps(ids), approvalSteps(s, fx, ids), handoffSteps(s, fx, ids), rotationSteps(s, fx, ids)) {
		covered[st.route] = true
		method, _, _ := strings.Cut(st.route, " ")
		if st.before != nil {
			st.before()
		}
		fill := strings.NewReplacer(slices.Concat([]string{}, pairs(ids))...)
		target, body := fill.Replace(st.target), fill.Replace(st.body)

		before := dump(t, fx)
		w.reset(true)
		if status, out := s.try("operator", method, target, body); status < 500 {
			t.Fatalf("%s without its audit row: %d %v", st.route, status, out)
		}
		if w.refused == 0 {
			t.Fatalf("%s: no audit row was tried", st.route)
		}
		for key, was := range dump(t, fx) {
			if was != before[key] && !counter(key) && (st.apart == "" || !strings.Contains(key, st.apart)) {
				t.Errorf("%s failed, yet it changed %s", st.route, key)
			}
		}
		if after := dump(t, fx); len(after) < len(before) {
			t.Errorf("%s failed, yet it removed items", st.route)
		}

		w.reset(false)
		answer := s.do(st.status, "operator", method, target, body)
		if st.keep != nil {
			st.keep(answer)
		}
		for _, b := range w.bare {
			if !counter(b) && (st.apart == "" || !strings.Contains(b, st.apart)) {
				t.Errorf("%s: a write without an audit row: %.200s", st.route, b)
			}
		}
		slices.Sort(w.rows)
		if got := slices.Compact(slices.Clone(w.rows)); !slices.Equal(unnamed(got, ids), st.rows) {
			t.Errorf("%s: rows %v, want %v", st.route, unnamed(got, ids), st.rows)
		}
		s.now = s.now.Add(time.Minute) // keys may be tried five times a minute
	}
	var document struct{ Paths map[string]map[string]any }
	raw, err := json.Marshal(s.do(200, "operator", "GET", "/api/openapi.json", ""))
	if err == nil {
		err = json.Unmarshal(raw, &document)
	}
	if err != nil || len(document.Paths) < 20 {
		t.Fatal(err, len(document.Paths))
	}
	for path, methods := range document.Paths {
		for m := range methods {
			if name := strings.ToUpper(m) + " " + path; m != "get" && !covered[name] {
				t.Errorf("%s is not in the list of steps", name)
			}
		}
	}
	for _, path := range []string{"/api/orgs/" + ids["{org}"] + "/audit/verify", "/api/operator/audit/verify"} {
		if r := s.do(200, "operator", "GET", path, ""); r["ok"] != true || r["checked"] == 0.0 {
			t.Errorf("%s: %v", path, r)
		}
	}
}

// counter reports whether a write only counts attempts, which is nobody's change.
func counter(key string) bool { return strings.Contains(key, "COUNT#") }

func (w *tableWire) reset(fail bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail, w.refused, w.bare, w.rows = fail, 0, nil, nil
}

func pairs(m map[string]string) (out []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k, m[k])
	}
	return out
}

// unnamed replaces the organisation's id and that of its client.
func unnamed(rows []string, ids map[string]string) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = strings.TrimPrefix(r, ids["{org}"]+"/")
		if rest, ok := strings.CutPrefix(r, ids["{client}"]+"/"); ok && ids["{client}"] != "" {
			out[i] = "client/" + rest
		}
	}
	slices.Sort(out)
	return out
}

func steps(ids map[string]string) []step {
	const base = "/api/orgs/{org}"
	keep := func(name string) func(map[string]any) {
		return func(a map[string]any) { ids["{"+name+"}"] = fmt.Sprint(a["id"]) }
	}
	key := func(n int) string { return fmt.Sprintf(`"api_key":"sk-or-v1-aaaaaaaaaaaaaaaaaaaaaaaa%04d"`, n) }
	price := fmt.Sprintf(`{"rows":[{"provider":%q,"model":"x/y","meter":"input_text","rate_pico":1000000,"source":"s","source_date":"2026-11-01"}],"activate":true}`, taxonomy.OpenRouter)
	// one makes a step whose path parameter {id} is the named thing.
	one := func(method, path, id, body string, status int, rows ...string) step {
		return step{route: method + " " + base + path, target: base + strings.Replace(path, "{id}", "{"+id+"}", 1), body: body, status: status, rows: rows}
	}
	making := func(st step, id string) step { st.keep = keep(id); return st }
	inst := "/installs/{id}"
	const app, app2 = "/api/operator/apps/{id}", "/api/operator/apps/{app}"
	return []step{
		{route: "POST /api/orgs", target: "/api/orgs", body: `{"name":"Acme","tier":"enterprise"}`, status: 201, rows: []string{"org.create"}, apart: "A#", keep: keep("org")},
		one("PATCH", "", "", `{"name":"Renamed","tier":"agency"}`, 200, "org.update"),
		{route: "POST /api/orgs", target: "/api/orgs", body: `{"name":"Client","tier":"free","parent_org_id":"{org}"}`, status: 201, rows: []string{"client/org.create"}, apart: "A#", keep: keep("client")},
		one("PUT", "/sharing", "", `{"mode":"shared_always","client_per_day":5,"total_per_day":50}`, 200, "client/sharing.client", "sharing.update"),
		one("PUT", "/sharing/clients/{id}", "client", `{"mode":"off"}`, 200, "client/sharing.client"),
		making(one("POST", "/keys", "", `{"name":"k","scopes":["invoke"]}`, 201, "key.create"), "key"),
		one("DELETE", "/keys/{id}", "key", "", 204, "key.revoke"),
		one("PUT", "/settings", "", `{"default_model":"openrouter/x/y"}`, 200, "settings.update"),
		making(one("POST", "/agents", "", `{"name":"Bot"}`, 201, "agent.create"), "agent"),
		one("PATCH", "/agents/{id}", "agent", `{"name":"Robot"}`, 200, "agent.update"),
		making(one("POST", "/tools", "", `{"name":"look_up","description":"Looks up","url":"https://shop.example/{id}","parameters":{"type":"object","properties":{"id":{"type":"string"}},"required":["id"]},"headers":{"X-Api-Key":"a header of some length"}}`,
			201, "credential.create", "tool.create"), "tool"),
		one("PATCH", "/tools/{id}", "tool", `{"description":"Finds"}`, 200, "tool.update"),
		one("DELETE", "/tools/{id}", "tool", "", 204, "credential.revoke", "tool.delete"),
		making(one("POST", "/connections", "", fmt.Sprintf(`{"provider":%q,%s}`, taxonomy.OpenRouter, key(1)), 201, "connection.create", "credential.create"), "conn"),
		one("PATCH", "/connections/{id}", "conn", `{"label":"New"}`, 200, "connection.update"),
		one("POST", "/connections/{id}/rotate", "conn", `{`+key(2)+`}`, 200, "connection.rotate", "credential.rotate"),
		one("POST", "/connections/{id}/rotate/rollback", "conn", "", 200, "connection.rollback", "credential.rollback"),
		one("POST", "/connections/{id}/revoke", "conn", "", 200, "connection.revoke", "credential.revoke"),
		making(one("POST", "/connections", "", fmt.Sprintf(`{"provider":%q,%s}`, taxonomy.OpenRouter, key(3)), 201, "connection.create", "credential.create"), "conn"),
		one("DELETE", "/connections/{id}", "conn", "", 204, "connection.delete", "connection.revoke", "credential.revoke"),
		making(one("POST", "/installs", "", fmt.Sprintf(`{"provider":%q,"config":{"app_id":"A1","team_id":"T1"},"secrets":{"signing_secret":"0123456789abcdef0123456789abcdef","bot_token":"xoxb-1-2-abcdefghijkl"}}`,
			taxonomy.Slack), 201, "credential.create", "install.create"), "inst"),
		one("PATCH", inst, "inst", `{"label":"Renamed"}`, 200, "install.update"),
		one("POST", inst+"/activate", "inst", "", 200, "install.activate"),
		one("POST", inst+"/suspend", "inst", "", 200, "install.suspend"),
		one("POST", inst+"/resume", "inst", "", 200, "install.resume"),
		one("POST", inst+"/rotate", "inst", `{"name":"signing_secret","value":"fedcba9876543210fedcba9876543210"}`, 200, "credential.rotate", "install.rotate"),
		one("POST", inst+"/rotate/finish", "inst", `{"name":"signing_secret"}`, 200, "credential.finish", "install.rotate_finish"),
		making(one("POST", "/bindings", "", `{"install_id":"{inst}","agent_id":"{agent}"}`, 201, "binding.create"), "bind"),
		one("PATCH", "/bindings/{id}", "bind", `{"agent_id":"{agent}"}`, 200, "binding.update"),
		one("DELETE", "/bindings/{id}", "bind", "", 204, "binding.delete"),
		one("POST", inst+"/revoke", "inst", "", 200, "credential.revoke", "install.revoke"),
		making(one("POST", "/installs", "", fmt.Sprintf(`{"provider":%q,"config":{"app_id":"A1","team_id":"T1"}}`, taxonomy.Slack), 201, "install.create"), "inst"),
		one("DELETE", inst, "inst", "", 204, "install.revoke"),
		making(step{route: "POST /api/operator/apps", target: "/api/operator/apps", body: fmt.Sprintf(`{"provider":%q,"config":{"app_id":"A9","client_id":"1234.5678"},"secrets":{"signing_secret":"0123456789abcdef0123456789abcdef","client_secret":"fedcba98765432100123456789abcdef"}}`, taxonomy.Slack),
			status: 201, rows: []string{"operator/credential.create", "operator/install.create"}}, "app"),
		{route: "PATCH " + app, target: app2, body: `{"label":"Renamed"}`, status: 200, rows: []string{"operator/install.update"}},
		{route: "POST " + app + "/activate", target: app2 + "/activate", status: 200, rows: []string{"operator/install.activate"}},
		one("POST", "/installs/consent", "", fmt.Sprintf(`{"provider":%q}`, taxonomy.Slack), 201, "oauth.begin"),
		{route: "POST " + app + "/suspend", target: app2 + "/suspend", status: 200, rows: []string{"operator/install.suspend"}},
		{route: "POST " + app + "/resume", target: app2 + "/resume", status: 200, rows: []string{"operator/install.resume"}},
		{route: "POST " + app + "/rotate", target: app2 + "/rotate", body: `{"name":"signing_secret","value":"fedcba9876543210fedcba9876543210"}`, status: 200, rows: []string{"operator/credential.rotate", "operator/install.rotate"}},
		{route: "POST " + app + "/rotate/finish", target: app2 + "/rotate/finish", body: `{"name":"signing_secret"}`, status: 200, rows: []string{"operator/credential.finish", "operator/install.rotate_finish"}},
		{route: "POST " + app + "/revoke", target: app2 + "/revoke", status: 200, rows: []string{"operator/credential.revoke", "operator/install.revoke"}},
		one("DELETE", "/agents/{id}", "agent", "", 204, "agent.delete"),
		making(one("POST", "/integrations", "", `{"provider":"smtp","label":"Mail","payload":"a secret of some length"}`, 201, "integration.create"), "integ"),
		one("POST", "/integrations/import", "", `{"rows":[{"id":"old1","provider":"crm","fields":{"token":{"shape":"legacy_plaintext","value":"an older secret value"}}}]}`, 200, "integration.import"),
		{route: "POST " + base + "/integrations/{id}/mode", target: base + "/integrations/old1/mode", body: `{"mode":"dual_write"}`, status: 200, rows: []string{"integration.mode"}},
		one("POST", "/integrations/migrate", "", `{"to":"dual_read","apply":true}`, 200, "integration.mode"),
		one("DELETE", "/integrations/{id}", "integ", "", 204, "integration.delete"),
		{route: "PUT /api/operator/legacy-key", target: "/api/operator/legacy-key", body: `{"key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}`, status: 204, rows: []string{"operator/legacy_key.put"}},
		one("PUT", "/credits", "", `{"credit_line":7}`, 200, "credit_line.set"),
		one("POST", "/grants", "", `{"kind":"purchased","amount":5000000,"idempotency_key":"first"}`, 201, "grant.create"),
		one("POST", "/adjustments", "", `{"kind":"purchased","amount":-5,"idempotency_key":"second"}`, 201, "adjustment.create"),
		one("PUT", "/billing", "", `{"ledger_mode":"legacy","inherit":true}`, 200, "billing.update", "ledger_mode.set"),
		one("PUT", "/legacy-tokens", "", `{"limit_tokens":1000,"rate_pico":2000000,"rounding":100,"rates":[{"model":"*","input_pico":1,"output_pico":1}]}`, 200, "legacy_tokens.terms"),
		one("POST", "/legacy-tokens/import", "", `{"rows":[{"periodStart":1772323200000,"periodEnd":1772409600000,"requestCount":3,"inputTokens":2,"outputTokens":3,"totalTokens":5,"costInCents":1.25,"requestType":"chat","provider":"openrouter","model":"prov/m","success":true}]}`, 200, "legacy_tokens.import"),
		one("PUT", "/alerts/settings", "", `{"low_balance":7}`, 200, "alerts.update"),
		{route: "PUT /api/operator/payments", target: "/api/operator/payments", body: `{"webhook_secret":"whsec_0123456789abcdef"}`, status: 200, rows: []string{"operator/credential.create"}},
		{route: "PUT /api/operator/payments", target: "/api/operator/payments", body: `{"webhook_secret":"whsec_fedcba9876543210"}`, status: 200, rows: []string{"operator/credential.rotate"}},
		{route: "POST /api/operator/payments/finish", target: "/api/operator/payments/finish", status: 200, rows: []string{"operator/credential.finish"}},
		one("PUT", "/billing", "", `{"model":"optional_surcharge","surcharge_bps":500,"free_requests_per_month":10}`, 200, "billing.update"),
		{route: "PUT /api/operator/billing", target: "/api/operator/billing", body: `{"enterprise":{"model":"optional_surcharge","surcharge_bps":500}}`, status: 200, rows: []string{"operator/tiers.billing"}},
		{route: "PUT /api/operator/tiers", target: "/api/operator/tiers", body: `{"pro":{"byok":true}}`, status: 200, rows: []string{"operator/tiers.update"}},
		{route: "POST /api/operator/prices", target: "/api/operator/prices", body: price, status: 201, rows: []string{"operator/prices.import"}, apart: "PRICES#",
			keep: func(a map[string]any) { ids["{version}"] = fmt.Sprint(a["version"]) }},
		making(one("POST", "/agents", "", `{"name":"Bot"}`, 201, "agent.create"), "agent"),
		one("POST", "/installs/import", "", fmt.Sprintf(`{"rows":[{"id":"old1","provider":%q,"channel":"42","agentId":"{agent}"}],"apply":true}`, taxonomy.Telegram), 200, "binding.create", "install.create"),
		{route: "POST /api/rollout/{subject}/rollback", target: "/api/rollout/credit_ledger/rollback", body: `{"reason":"too early"}`, status: 200, rows: []string{"operator/rollout.rollback"}},
		{route: "POST /api/rollout/{subject}/promote", target: "/api/rollout/credit_ledger/promote", body: `{"stage":"canary","org_ids":["{org}"]}`, status: 200, rows: []string{"operator/rollout.promote"}},
		making(one("POST", "/installs", "", fmt.Sprintf(`{"provider":%q,"config":{"app_id":"A7","team_id":"T7"},"secrets":{"signing_secret":"0123456789abcdef0123456789abcdef","bot_token":"xoxb-7-8-abcdefghijkl"}}`,
			taxonomy.Slack), 201, "credential.create", "install.create"), "inst"),
		one("POST", inst+"/activate", "inst", "", 200, "install.activate"),
		{route: "POST /api/rollout/{subject}/rollback", target: "/api/rollout/" + string(taxonomy.Slack) + "/rollback", body: `{"reason":"it broke"}`, status: 200, rows: []string{"operator/rollout.rollback"}},
		{route: "POST /api/rollout/{subject}/enforce", target: "/api/rollout/" + string(taxonomy.Slack) + "/enforce", body: `{}`, status: 200, rows: []string{"install.suspend"}},
		{route: "POST /api/operator/prices/{version}/activate", target: "/api/operator/prices/{version}/activate", status: 200, rows: []string{"operator/prices.activate"}},
	}
}
