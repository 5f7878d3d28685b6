package admin

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/rollout/rollouttest"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// redChannel is a channel of a world whose column is not green.
const redChannel = taxonomy.LINE

// rolledOut has a green column for Slack and a red one for another channel; a third
// one was not played.
func (w *world) rolledOut() *rollout.Service {
	matrix, err := rollout.Stored()
	if err != nil {
		w.Fatal(err)
	}
	var columns []rollout.Column
	for _, c := range matrix.Columns {
		switch c.Provider {
		case redChannel:
			rows := map[string]rollout.Seen{}
			for n, seen := range c.Rows {
				if n == "9" {
					seen.Result = rollout.Fail
				}
				rows[n] = seen
			}
			c.Rows = rows
			columns = append(columns, c.Judge())
		case taxonomy.Slack:
			columns = append(columns, c)
		}
	}
	matrix.Columns = columns
	return &rollout.Service{Store: rollouttest.New(w.rows), Matrix: matrix, Channels: []taxonomy.Channel{taxonomy.Slack, redChannel, taxonomy.Telegram},
		Orgs: w.rows, Proof: rollout.Evidence{Connections: w.conns, Counters: counters{}}}
}

// counters have cut over acme.
type counters struct{}

func (counters) Counter(_ context.Context, id string) (legacytokens.Counter, error) {
	c := legacytokens.Counter{Org: id, Mode: org.LedgerCredit}
	if id == "acme" {
		c.Cutover = c.Cutover.AddDate(2025, 0, 0)
	}
	return c, nil
}

func subject(t *testing.T, answer map[string]any, name string) map[string]any {
	t.Helper()
	for _, item := range answer["items"].([]any) {
		if item := item.(map[string]any); item["subject"] == name {
			return item
		}
	}
	t.Fatalf("no subject %s in %v", name, answer)
	return nil
}

func fields(answer map[string]any, names ...string) string {
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprint(answer[n]))
	}
	return strings.Join(out, "|")
}

// TestRolloutIsTheOperators: no key of an organisation sees or changes a stage.
func TestRolloutIsTheOperators(t *testing.T) {
	w := newWorld(t)
	for _, key := range []string{adminKey, readKey, billingKey, invokeKey, otherKey} {
		w.refused(w.do("GET", "/api/rollout", key, ""), 403, "scope_missing", "")
		for verb, body := range map[string]string{"promote": `{"stage":"canary","org_ids":["acme"]}`, "rollback": `{"reason":"x"}`, "enforce": `{}`} {
			w.refused(w.do("POST", "/api/rollout/slack/"+verb, key, body), 403, "scope_missing", "")
		}
	}
	if got := subject(t, w.must("GET", "/api/rollout", operatorKey, "", 200), "slack"); got["stage"] != "on" || got["version"] != 0.0 {
		t.Errorf("%v", got)
	}
}

// TestRolloutDefaults: what worked before there were stages is on, a channel only with
// a green column.
func TestRolloutDefaults(t *testing.T) {
	w := newWorld(t)
	all := w.must("GET", "/api/rollout", operatorKey, "", 200)
	for name, want := range map[string]string{"slack": "on true true [] <nil>", string(redChannel): "off false true [9] the security matrix of this channel is not green; open rows: 9",
		"telegram": "off false false [] the security matrix was not played for this channel"} {
		got := subject(t, all, name)
		matrix := got["matrix"].(map[string]any)
		if text := fmt.Sprint(got["stage"], " ", matrix["green"], " ", matrix["played"], " ", matrix["open_rows"], " ", matrix["missing"]); text != want || got["default"] != true || got["changed_at"] != nil {
			t.Errorf("%s: %s, want %s (%v)", name, text, want, got)
		}
	}
	for _, name := range []string{"ai_connections", "credit_ledger"} {
		if got := subject(t, all, name); got["stage"] != "on" || got["matrix"] != nil {
			t.Errorf("%v", got)
		}
	}
	if items := all["items"].([]any); len(items) != 5 {
		t.Errorf("%d subjects", len(items))
	}
	page := w.must("GET", "/api/rollout?limit=2", operatorKey, "", 200)
	if next := w.must("GET", "/api/rollout?limit=200&cursor="+page["next_cursor"].(string), operatorKey, "", 200); len(next["items"].([]any)) != 3 || next["next_cursor"] != nil {
		t.Errorf("%v", next)
	}
}

// TestRolloutWalk: off, canary, on and back, with the open rows in the refusal, the
// commands that take each step back, and one audit row for each change.
func TestRolloutWalk(t *testing.T) {
	w := newWorld(t)
	post := func(status int, path, body string) map[string]any {
		t.Helper()
		return w.must("POST", "/api/rollout/"+path, operatorKey, body, status)
	}
	refused := func(status int, code fault.Code, param, path, body, message string) {
		t.Helper()
		resp := w.do("POST", "/api/rollout/"+path, operatorKey, body)
		w.refused(resp, status, code, param)
		if !strings.Contains(string(resp.Body), message) {
			t.Errorf("%s: %s does not say %q", path, resp.Body, message)
		}
	}
	red := string(redChannel)
	refused(404, "not_found", "", "nobody/promote", `{"stage":"canary","org_ids":["acme"]}`, "no such subject")
	refused(400, "invalid_request", "stage", red+"/promote", `{"stage":"off"}`, "rollback")
	refused(400, "invalid_request", "stage", red+"/promote", `{"stage":"open"}`, "canary or on")
	refused(409, "conflict", "", red+"/promote", `{"stage":"on"}`, "on comes after canary")
	for _, ids := range []string{`[]`, `["acme","acme"]`, `["nobody"]`, `["a#b"]`, `["acme","` + strings.Repeat(`x","`, rollout.MaxCanary) + `y"]`} {
		refused(400, "invalid_request", "org_ids", red+"/promote", `{"stage":"canary","org_ids":`+ids+`}`, "")
	}
	refused(409, "conflict", "version", red+"/promote", `{"stage":"canary","org_ids":["acme"],"version":1}`, "changed meanwhile")

	got := post(200, red+"/promote", `{"stage":"canary","org_ids":["other","acme"],"version":0}`)
	if fields(got, "stage", "from", "org_ids", "changed", "version", "reverse") !=
		"canary|off|[acme other]|true|1|[lk rollout rollback "+red+" --reason WHY --to off]" {
		t.Errorf("%v", got)
	}
	if again := post(200, red+"/promote", `{"stage":"canary","org_ids":["acme","other"]}`); again["changed"] != false || again["version"] != 1.0 || len(again["reverse"].([]any)) != 0 {
		t.Errorf("%v", again)
	}
	if fewer := post(200, red+"/promote", `{"stage":"canary","org_ids":["acme"]}`); fmt.Sprint(fewer["reverse"]) != "[lk rollout promote "+red+" --stage canary --org-ids acme,other]" {
		t.Errorf("%v", fewer)
	}
	refused(400, "invalid_request", "org_ids", red+"/promote", `{"stage":"on","org_ids":["acme"]}`, "every organisation")
	refused(409, "conflict", "", red+"/promote", `{"stage":"on"}`, "open rows: 9")
	post(200, "telegram/promote", `{"stage":"canary","org_ids":["acme"]}`)
	refused(409, "conflict", "", "telegram/promote", `{"stage":"on"}`, "not played")

	for _, reason := range []string{`""`, `"  "`, `"a\nb"`, `"` + strings.Repeat("x", 201) + `"`} {
		refused(400, "invalid_request", "reason", "slack/rollback", `{"reason":`+reason+`}`, "")
	}
	refused(400, "invalid_request", "to", "slack/rollback", `{"reason":"x","to":"on"}`, "")
	refused(409, "conflict", "", "slack/rollback", `{"reason":"x","to":"canary"}`, "no canary")
	refused(409, "conflict", "", "slack/promote", `{"stage":"canary","org_ids":["acme"]}`, "roll it back")
	// It was on without a canary, so one step back is off.
	if got := post(200, "slack/rollback", `{"reason":"it spoke twice"}`); fields(got, "stage", "from", "reason", "reverse") !=
		"off|on|it spoke twice|[lk rollout promote slack --stage canary --org-ids ORG lk rollout promote slack --stage on]" {
		t.Errorf("%v", got)
	}
	post(200, "slack/promote", `{"stage":"canary","org_ids":["acme"]}`)
	if got := post(200, "slack/promote", `{"stage":"on"}`); fields(got, "stage", "org_ids", "reason", "reverse") != "on|[acme]|<nil>|[lk rollout rollback slack --reason WHY --to canary]" {
		t.Errorf("%v", got)
	}
	if got := post(200, "slack/rollback", `{"reason":"again"}`); fields(got, "stage", "org_ids", "reverse") != "canary|[acme]|[lk rollout promote slack --stage on]" {
		t.Errorf("%v", got)
	}
	for _, want := range []bool{true, false} {
		if got := post(200, "slack/rollback", `{"reason":"again","to":"off"}`); got["stage"] != "off" || got["changed"] != want || len(got["org_ids"].([]any)) != 0 {
			t.Errorf("%v", got)
		}
	}
	refused(409, "conflict", "", "slack/rollback", `{"reason":"x","to":"canary"}`, "promote it")
	if got := subject(t, w.must("GET", "/api/rollout", operatorKey, "", 200), "slack"); got["stage"] != "off" || got["default"] != false ||
		!strings.HasPrefix(got["changed_by"].(string), "operator:") || got["changed_at"] == nil || got["version"] != 5.0 {
		t.Errorf("%v", got)
	}
	rows := 0
	for _, row := range w.rows.Rows() {
		if strings.HasPrefix(row.Action, "rollout.") && row.Target == "slack" {
			rows++
			if row.Org != org.Operator || row.Detail["state"] == "" || row.Action == "rollout.rollback" && row.Detail["reason"] == "" {
				t.Errorf("%+v", row)
			}
		}
	}
	if rows != 5 {
		t.Errorf("%d audit rows of 5 changes", rows)
	}
}

// TestStageOfInstalls: who may activate and resume, and what becomes of what is
// active.
func TestStageOfInstalls(t *testing.T) {
	w := newWorld(t)
	w.populate()
	inst := "/api/orgs/acme/installs/" + w.ids["installs"]
	roll := func(verb, body string) map[string]any {
		t.Helper()
		return w.must("POST", "/api/rollout/slack/"+verb, operatorKey, body, 200)
	}
	state := func(want string) {
		t.Helper()
		if got := w.must("GET", inst, adminKey, "", 200)["state"]; got != want {
			t.Fatalf("state %v, want %s", got, want)
		}
	}
	for _, to := range []string{"suspend", "resume"} {
		w.do("POST", inst+"/"+to, adminKey, "")
	}
	roll("rollback", `{"reason":"x"}`)
	state("verifying")
	w.refused(w.do("POST", inst+"/activate", adminKey, ""), 409, "conflict", "")
	w.refused(w.do("POST", inst+"/activate", operatorKey, ""), 409, "conflict", "") // the install is the organisation's
	state("verifying")
	roll("promote", `{"stage":"canary","org_ids":["other"]}`)
	w.refused(w.do("POST", inst+"/activate", adminKey, ""), 409, "conflict", "")
	roll("promote", `{"stage":"canary","org_ids":["acme"]}`)
	w.must("POST", inst+"/activate", adminKey, "", 200)
	if got := roll("enforce", `{}`); got["checked"] != 2.0 || got["next"] != "" || len(got["suspended"].([]any)) != 0 {
		t.Errorf("%v", got)
	}
	w.must("POST", "/api/rollout/telegram/promote", operatorKey, `{"stage":"canary","org_ids":["acme"]}`, 200)
	second := w.must("POST", "/api/orgs/acme/installs", adminKey, fmt.Sprintf(`{"provider":%q,"config":{"bot_username":"Helper_bot"},"secrets":{"secret_token":%q,"bot_token":"7012345678:%s"}}`,
		taxonomy.Telegram, w.canary(), w.canary()), 201)["id"].(string)
	w.must("POST", "/api/orgs/acme/installs/"+second+"/activate", adminKey, "", 200)
	roll("rollback", `{"reason":"x"}`)
	state("active") // it goes on
	w.must("POST", inst+"/activate", adminKey, "", 200)
	got := roll("enforce", `{}`)
	if s := got["suspended"].([]any); len(s) != 1 || s[0].(map[string]any)["install_id"] != w.ids["installs"] || s[0].(map[string]any)["org_id"] != "acme" {
		t.Errorf("%v", got)
	}
	state("suspended")
	if got := w.must("GET", "/api/orgs/acme/installs/"+second, adminKey, "", 200)["state"]; got != "active" {
		t.Errorf("an install of another channel is %v", got)
	}
	w.refused(w.do("POST", inst+"/resume", adminKey, ""), 409, "conflict", "")
	state("suspended")
	roll("promote", `{"stage":"canary","org_ids":["acme"]}`)
	w.must("POST", inst+"/resume", adminKey, "", 200)
	state("active")
	w.refused(w.do("POST", "/api/rollout/credit_ledger/enforce", operatorKey, "{}"), 400, "invalid_request", "subject")
	w.refused(w.do("POST", "/api/rollout/slack/enforce", operatorKey, `{"cursor":"a/b"}`), 400, "invalid_request", "cursor")
}

// TestStageOfConnections: only organisations of the stage add keys, and only a canary
// whose keys work leads to on.
func TestStageOfConnections(t *testing.T) {
	w := newWorld(t)
	add := func(n int) string {
		return fmt.Sprintf(`{"provider":%q,"label":"own","base_url":"https://llm.example/%d","api_key":%q}`, taxonomy.OpenAICompatible, n, w.canary())
	}
	post := func(status int, verb, body string) map[string]any {
		t.Helper()
		return w.must("POST", "/api/rollout/ai_connections/"+verb, operatorKey, body, status)
	}
	first := w.must("POST", base2("acme")+"/connections", adminKey, add(1), 201)["id"].(string)
	post(200, "rollback", `{"reason":"x"}`)
	w.refused(w.do("POST", base2("acme")+"/connections", adminKey, add(2)), 409, "conflict", "")
	w.must("POST", base2("acme")+"/connections/"+first+"/rotate", adminKey, `{"api_key":"`+w.canary()+`"}`, 200)
	post(200, "promote", `{"stage":"canary","org_ids":["acme","other"]}`)
	w.must("POST", base2("acme")+"/connections", adminKey, add(3), 201)
	resp := w.do("POST", "/api/rollout/ai_connections/promote", operatorKey, `{"stage":"on"}`)
	w.refused(resp, 409, "conflict", "")
	if text := string(resp.Body); !strings.Contains(text, "other has no enabled connection") {
		t.Errorf("%s", text)
	}
}

// TestStageOfTheLedger: a drain begins only where the stage is for the organisation,
// and a canary that was never cut over shows nothing.
func TestStageOfTheLedger(t *testing.T) {
	w := newWorld(t)
	post := func(status int, verb, body string) map[string]any {
		t.Helper()
		return w.must("POST", "/api/rollout/credit_ledger/"+verb, operatorKey, body, status)
	}
	set := func(status int, mode string) string {
		t.Helper()
		resp := w.do("PUT", base2("acme")+"/billing", operatorKey, `{"ledger_mode":"`+mode+`"}`)
		if resp.Status != status {
			t.Fatalf("%s: %d %s", mode, resp.Status, resp.Body)
		}
		return string(resp.Body)
	}
	set(200, "legacy")
	w.must("PUT", base2("acme")+"/legacy-tokens", operatorKey, `{"limit_tokens":1000,"rate_pico":2000000,"rounding":100,"rates":[{"model":"*","input_pico":1,"output_pico":2}]}`, 200)
	post(200, "rollback", `{"reason":"x"}`)
	set(200, "shadow") // no money moves
	if text := set(409, "draining"); !strings.Contains(text, "credit_ledger is off") {
		t.Error(text)
	}
	next := func() string { return string(w.do("GET", base2("acme")+"/legacy-tokens", operatorKey, "").Body) }
	if text := next(); !strings.Contains(text, "credit_ledger is off") {
		t.Error(text)
	}
	post(200, "promote", `{"stage":"canary","org_ids":["acme","other"]}`)
	if text := set(409, "draining"); !strings.Contains(text, "seven whole days") {
		t.Error(text)
	}
	if text := next(); strings.Contains(text, "credit_ledger") {
		t.Error(text)
	}
	set(200, "legacy")
	resp := w.do("POST", "/api/rollout/credit_ledger/promote", operatorKey, `{"stage":"on"}`)
	w.refused(resp, 409, "conflict", "")
	if text := string(resp.Body); !strings.Contains(text, "other has not been cut over") || strings.Contains(text, "acme") {
		t.Error(text)
	}
	post(200, "promote", `{"stage":"canary","org_ids":["acme"]}`)
	post(200, "promote", `{"stage":"on"}`)
}

func base2(id string) string { return "/api/orgs/" + id }
