package admin

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func (r route) name() string { return r.method + " " + r.path }

// each runs f for every route in a world of its own that has one of everything.
func each(t *testing.T, f func(w *world, r route, e example)) {
	for _, r := range routes() {
		t.Run(r.name(), func(t *testing.T) {
			w := newWorld(t)
			w.populate()
			w.prepare(r.name())
			e, ok := examples(w)[r.name()]
			if !ok {
				t.Fatal("this route has no example")
			}
			f(w, r, e)
		})
	}
}

// TestEveryRoute calls every route and holds the answer against the schema that
// is served for it, and the example's body against the schema of bodies.
func TestEveryRoute(t *testing.T) {
	each(t, func(w *world, r route, e example) {
		doc, err := readServed(w.do("GET", "/api/openapi.json", "none", "").Body)
		if err != nil {
			t.Fatal(err)
		}
		op := doc.operation(r)
		if op == nil {
			w.Fatal("not in the served document")
		}
		if e.body != "" && r.body != nil {
			var body any
			if err := json.Unmarshal([]byte(e.body), &body); err != nil {
				w.Fatal(err)
			}
			if err := doc.check(schemaOf(op["requestBody"]), body, "body"); err != nil {
				w.Error(err)
			}
		}
		resp := w.do(r.method, e.path, operatorKey, e.body)
		if resp.Status != r.status {
			w.Fatalf("%d %s", resp.Status, resp.Body)
		}
		if resp.Header["cache-control"] != "no-store" || resp.Header["x-request-id"] != "req-1" {
			w.Errorf("headers %v", resp.Header)
		}
		answers, _ := op["responses"].(object)
		if r.result == nil {
			if len(resp.Body) != 0 {
				w.Errorf("a body where none belongs: %s", resp.Body)
			}
			return
		}
		var value any
		if err := json.Unmarshal(resp.Body, &value); err != nil || resp.Header["content-type"] != "application/json" {
			w.Fatalf("%v, %v", err, resp.Header)
		}
		if err := doc.check(schemaOf(answers[fmt.Sprint(r.status)]), value, "answer"); err != nil {
			w.Error(err)
		}
		if r.list && len(value.(object)["items"].([]any)) == 0 && r.path != "/api/operator/audit" {
			w.Error("the list is empty, so its items were not checked")
		}
	})
}

func TestDocumentAndRoutesAreTheSameSet(t *testing.T) {
	doc, err := readServed(openAPIDocument)
	if err != nil {
		t.Fatal(err)
	}
	var documented, routed []string
	for path, methods := range doc.doc["paths"].(object) {
		for method := range methods.(object) {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	for _, r := range routes() {
		routed = append(routed, r.name())
	}
	slices.Sort(documented)
	slices.Sort(routed)
	if !slices.Equal(documented, routed) || len(slices.Compact(routed)) != len(documented) {
		t.Errorf("documented %v\nrouted %v", documented, routed)
	}
	w := newWorld(t)
	w.populate()
	if names := slices.Sorted(maps.Keys(examples(w))); !slices.Equal(names, routed) {
		t.Errorf("examples %v\nroutes %v", names, routed)
	}
}

const unauthorized = `{"error":{"message":"no valid API key; send one as Authorization: Bearer lk_... or create a new one",` +
	`"type":"authentication_error","code":"gateway_auth","param":null,"request_id":"","retryable":false}}`

func denied(message string) string {
	return `{"error":{"message":"` + message + `","type":"permission_error","code":"scope_missing","param":null,"request_id":"req-1","retryable":false}}`
}

const foreign = `{"error":{"message":"there is no such organisation","type":"not_found_error","code":"not_found","param":null,"request_id":"req-1","retryable":false}}`

// TestAccessMatrix is every route against every kind of key that may not use it,
// with the exact status and body, and proof that nothing changed.
func TestAccessMatrix(t *testing.T) {
	each(t, func(w *world, r route, e example) {
		concernsOrg := strings.Contains(r.path, "{org}")
		for name := range w.keys {
			var status int
			var body string
			switch {
			case r.access == public:
				status = 200
			case slices.Contains([]string{"none", "unknown", "malformed", revokedKey, expiredKey}, name):
				status, body = 401, unauthorized
			case name == otherKey && concernsOrg:
				status, body = 404, foreign
			case name == operatorKey:
				continue // TestEveryRoute
			case r.access.operatorOnly():
				status, body = 403, denied("this needs an operator key")
			case name == otherKey || name == adminKey:
				continue // allowed
			default:
				allowed := map[string][]access{readKey: {anyReader, orgRead, orgBilling}, billingKey: {orgBilling, orgPay}}
				if slices.Contains(allowed[name], r.access) {
					status = r.status
					break
				}
				need := map[access]string{anyReader: "admin or read", orgRead: "admin or read", orgBilling: "admin or billing or read", orgPay: "admin or billing", orgAdmin: "admin", anyAdmin: "admin"}[r.access]
				status, body = 403, denied("this key lacks the scope; it needs "+need)
			}
			before := w.changes()
			resp := w.do(r.method, e.path, name, e.body)
			if resp.Status != status || body != "" && string(resp.Body) != body {
				w.Errorf("%s: %d %s\nwant %d %s", name, resp.Status, resp.Body, status, body)
			}
			if after := w.changes(); after != before {
				w.Errorf("%s: the refused call made %d changes", name, after-before)
			}
		}
	})
}

// TestForeignIDs uses an organisation's own path with the ids of another one.
func TestForeignIDs(t *testing.T) {
	each(t, func(w *world, r route, e example) {
		if !strings.Contains(r.path, "{org}") || !strings.Contains(r.path, "{id}") && r.path != base+"/deliveries" || r.access == orgOperator {
			w.Skip("no id of a resource")
		}
		before := w.changes()
		resp := w.do(r.method, strings.Replace(e.path, "/orgs/acme", "/orgs/other", 1), otherKey, e.body)
		if resp.Status != 404 || w.changes() != before {
			w.Errorf("%d %s, %d changes", resp.Status, resp.Body, w.changes()-before)
		}
	})
}

func TestForeignIDsInBodies(t *testing.T) {
	w := newWorld(t)
	w.populate()
	w.refused(w.do("POST", "/api/orgs/other/bindings", otherKey, `{"install_id":"`+w.ids["installs"]+`","agent_id":"`+w.ids["agents"]+`"}`),
		404, fault.NotFound, "install_id")
	w.refused(w.do("POST", "/api/orgs/other/keys", otherKey, `{"name":"x","scopes":["invoke"],"agent_id":"`+w.ids["agents"]+`"}`),
		400, fault.InvalidRequest, "agent_id")
	id := w.must("POST", "/api/orgs/other/installs", otherKey, fmt.Sprintf(`{"provider":%q}`, taxonomy.Slack), 201)["id"].(string)
	w.refused(w.do("POST", "/api/orgs/other/bindings", otherKey, `{"install_id":"`+id+`","agent_id":"`+w.ids["agents"]+`"}`),
		400, fault.InvalidRequest, "agent_id")
}

// leaks finds a secret in text: any eight bytes of its random part, plain or
// encoded. Eight hex digits would be four bytes only, which the hashes of audit
// rows contain by chance once in some thousand runs.
func leaks(text, secret string) bool {
	random := []byte(secret)[max(0, len(secret)-24):]
	for _, form := range []struct {
		text  string
		width int // of eight bytes
	}{{string(random), 8}, {hex.EncodeToString(random), 16}, {base64.StdEncoding.EncodeToString(random), 11}} {
		for i := 0; i+form.width <= len(form.text); i++ {
			if strings.Contains(text, form.text[i:i+form.width]) {
				return true
			}
		}
	}
	return false
}

// TestNoAnswerHoldsASecret looks for everything secret that went in, and for
// every key that exists, in every answer and every audit row.
func TestNoAnswerHoldsASecret(t *testing.T) {
	each(t, func(w *world, r route, e example) {
		for _, key := range []string{operatorKey, adminKey, otherKey, "none"} {
			resp := w.do(r.method, e.path, key, e.body)
			text := fmt.Sprint(string(resp.Body), resp.Header)
			for _, s := range w.secrets {
				if leaks(text, s) {
					w.Errorf("the answer to %s holds a secret: %s", key, text)
				}
			}
			if strings.Contains(text, "lk_") != (r.name() == "POST "+base+"/keys" && resp.Status == 201) &&
				!strings.Contains(text, "lk_...") && r.path != "/api/openapi.json" {
				w.Errorf("a key is in the wrong answer: %s", text)
			}
		}
		for _, row := range slices.Concat(w.rows.Rows(), w.installs.Rows, w.integrations.Rows()) {
			text := fmt.Sprint(row)
			for _, s := range w.secrets {
				if leaks(text, s) {
					w.Errorf("an audit row holds a secret: %s", text)
				}
			}
		}
	})
	const planted = "cnry0123456789abcdef01234567"
	if !leaks("x 89abcdef x", planted) || !leaks("x "+hex.EncodeToString([]byte("89abcdef"))+" x", planted) ||
		!leaks("x "+base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))+" x", planted) || leaks("cnry 3839616263646", planted) {
		t.Error("the search finds nothing")
	}
}

func TestKeysWorkOnceAndAreListedWithoutTheKey(t *testing.T) {
	w := newWorld(t)
	made := w.must("POST", "/api/orgs/acme/keys", adminKey, `{"name":"mine","scopes":["read"]}`, 201)
	w.keys["mine"] = made["key"].(string)
	if !strings.HasPrefix(w.keys["mine"], "lk_acme_"+made["id"].(string)+"_") {
		t.Fatal("the shape of the key is wrong")
	}
	w.must("GET", "/api/orgs/acme", "mine", "", 200)
	if resp := w.do("GET", "/api/orgs/acme/keys", adminKey, ""); strings.Contains(string(resp.Body), `"key"`) || bytes.Contains(resp.Body, []byte("hash")) {
		t.Errorf("the list shows %s", resp.Body)
	}
	w.must("DELETE", "/api/orgs/acme/keys/"+made["id"].(string), adminKey, "", 204)
	w.refused(w.do("GET", "/api/orgs/acme", "mine", ""), 401, fault.GatewayAuth, "")
	w.refused(w.do("DELETE", "/api/orgs/acme/keys/nobody", adminKey, ""), 404, fault.NotFound, "")
	two := map[string][]string{"authorization": {"Bearer " + w.keys[adminKey]}, "x-api-key": {w.keys[readKey]}}
	if resp := w.with(two, "GET", "/api/orgs/acme", ""); resp.Status != 401 || string(resp.Body) != unauthorized {
		t.Errorf("two keys: %d %s", resp.Status, resp.Body)
	}
	if resp := w.with(map[string][]string{"x-goog-api-key": {w.keys[adminKey]}}, "GET", "/api/orgs/acme", ""); resp.Status != 200 {
		t.Errorf("another header: %d %s", resp.Status, resp.Body)
	}
}

func TestForeignOrganisationsLeaveARow(t *testing.T) {
	w := newWorld(t)
	w.refused(w.do("GET", "/api/orgs/acme/connections", otherKey, ""), 404, fault.NotFound, "")
	w.refused(w.do("GET", "/api/orgs/ghost/connections", otherKey, ""), 404, fault.NotFound, "")
	var rows []audit.Row
	for _, r := range w.rows.Rows() {
		if r.Outcome == audit.Refused {
			rows = append(rows, r)
		}
	}
	if len(rows) != 2 || rows[0].Org != "other" || rows[0].Target != "acme" || rows[0].Code != "not_found" || rows[1].Target != "ghost" {
		t.Errorf("rows %+v", rows)
	}
}

func TestAgencies(t *testing.T) {
	w := newWorld(t)
	w.must("PATCH", "/api/orgs/other", operatorKey, `{"tier":"agency"}`, 200)
	client := w.must("POST", "/api/orgs", operatorKey, `{"name":"Client","tier":"free","parent_org_id":"other"}`, 201)["id"].(string)
	w.must("GET", "/api/orgs/"+client+"/settings", otherKey, "", 200)
	w.must("PATCH", "/api/orgs/"+client, otherKey, `{"limits":{"concurrent":3,"budget":{"amount":5000000,"period":"month"}}}`, 200)
	if got := fmt.Sprint(w.must("GET", "/api/orgs/"+client, otherKey, "", 200)["limits"]); got != "map[budget:map[amount:5e+06 period:month] concurrent:3]" {
		t.Errorf("limits %s", got)
	}
	if got := w.must("PATCH", "/api/orgs/"+client, otherKey, `{"limits":{}}`, 200)["limits"]; fmt.Sprint(got) != "map[]" {
		t.Errorf("limits %v after they were removed", got)
	}
	w.refused(w.do("PATCH", "/api/orgs/"+client, otherKey, `{"tier":"enterprise"}`), 403, fault.ScopeMissing, "")
	w.refused(w.do("PATCH", "/api/orgs/other", otherKey, `{"limits":{}}`), 403, fault.ScopeMissing, "")
	w.refused(w.do("GET", "/api/orgs/acme", otherKey, ""), 404, fault.NotFound, "")
	w.refused(w.do("GET", "/api/orgs/"+client, adminKey, ""), 404, fault.NotFound, "")
	w.issue("client", client, w.now.AddDate(1, 0, 0), "admin")
	w.refused(w.do("GET", "/api/orgs/other", "client", ""), 404, fault.NotFound, "")
	ids := ""
	for _, item := range w.must("GET", "/api/orgs", otherKey, "", 200)["items"].([]any) {
		ids += item.(object)["id"].(string) + " "
	}
	if ids != "other "+client+" " {
		t.Errorf("the agency sees %q", ids)
	}
	w.must("PUT", "/api/operator/tiers", operatorKey, `{"agency":{"agency":false}}`, 200)
	w.refused(w.do("GET", "/api/orgs/"+client, otherKey, ""), 404, fault.NotFound, "")
}

func TestSuspendedOrganisations(t *testing.T) {
	w := newWorld(t)
	w.must("PATCH", "/api/orgs/acme", operatorKey, `{"status":"suspended"}`, 200)
	w.refused(w.do("GET", "/api/orgs/acme", adminKey, ""), 403, fault.ScopeMissing, "")
	w.refused(w.do("GET", "/api/orgs", adminKey, ""), 403, fault.ScopeMissing, "")
	w.must("GET", "/api/orgs/acme", operatorKey, "", 200)
}

func TestOrgCreationRepeatsWithItsKey(t *testing.T) {
	w := newWorld(t)
	headers := map[string][]string{"authorization": {"Bearer " + w.keys[operatorKey]}, "idempotency-key": {"abc"}}
	first := w.with(headers, "POST", "/api/orgs", `{"name":"N","tier":"free"}`)
	second := w.with(headers, "POST", "/api/orgs", `{"name":"N","tier":"free"}`)
	if first.Status != 201 || !bytes.Equal(first.Body, second.Body) {
		t.Fatalf("%s\n%s", first.Body, second.Body)
	}
	w.refused(w.with(headers, "POST", "/api/orgs", `{"name":"M","tier":"free"}`), 409, fault.Conflict, "")
	other := w.must("POST", "/api/orgs", operatorKey, `{"name":"N","tier":"free"}`, 201)
	if strings.Contains(string(first.Body), other["id"].(string)) || w.ledger.opened[len(w.ledger.opened)-1] != other["id"] {
		t.Error("two organisations share an id, or one has no account")
	}
	for _, m := range []string{"_", "#"} {
		if strings.Contains(other["id"].(string), m) || !table.ValidID(other["id"].(string)) {
			t.Error("the id cannot be part of a key")
		}
	}
}
