package admin

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/integrationtest"
)

// What was imported goes its way through the API, as far as it goes without
// opening anything.
func TestIntegrationsMove(t *testing.T) {
	w := newWorld(t)
	one := "/api/orgs/acme/integrations/old1"
	rows := `{"rows":[{"id":"old1","provider":"hubspot","label":"CRM","shape":"legacy_plaintext","value":"` + w.canary() + `"},` +
		`{"id":"old2","provider":"smtp","value_base64":"` + base64.StdEncoding.EncodeToString([]byte(w.canary())) + `"},{"id":"no spaces","provider":"smtp","shape":"legacy_plaintext","value":"x"}]}`
	out := fmt.Sprint(w.must("POST", "/api/orgs/acme/integrations/import", adminKey, rows, 200)["rows"])
	for _, want := range []string{"id:old1 outcome:imported", "id:old2 outcome:quarantined reason:undeclared_shape", "id:no spaces outcome:refused"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s, want %s", out, want)
		}
	}
	head := w.must("GET", one, readKey, "", 200)
	if head["mode"] != "legacy_only" || head["shape"] != "legacy_plaintext" || head["fingerprint"] == "" || head["verified_at"] != nil {
		t.Errorf("%v", head)
	}
	if q := w.must("GET", "/api/orgs/acme/integrations/old2", readKey, "", 200)["quarantine"].(object); q["reason"] != "undeclared_shape" {
		t.Errorf("%v", q)
	}
	w.refused(w.do("POST", one+"/mode", adminKey, `{"mode":"dual_read"}`), 409, fault.Conflict, "")
	w.refused(w.do("POST", one+"/mode", adminKey, `{"mode":"purged"}`), 400, fault.InvalidRequest, "mode")
	if m := w.must("POST", one+"/mode", adminKey, `{"mode":"dual_write"}`, 200)["mode"]; m != "dual_write" {
		t.Errorf("%v", m)
	}
	before := w.changes()
	w.must("POST", one+"/mode", adminKey, `{"mode":"dual_write"}`, 200)
	if w.changes() != before {
		t.Error("a mode that it has already left a row")
	}
	w.refused(w.do("POST", one+"/purge", adminKey, ""), 409, fault.Conflict, "")
	w.must("DELETE", one, adminKey, "", 204)
	w.refused(w.do("GET", one, adminKey, ""), 404, fault.NotFound, "")
}

func TestIntegrationsMigrate(t *testing.T) {
	w := newWorld(t)
	path := "/api/orgs/acme/integrations/migrate"
	w.must("POST", "/api/orgs/acme/integrations/import", adminKey, `{"rows":[{"id":"a","provider":"x","shape":"legacy_plaintext","value":"1"},`+
		`{"id":"b","provider":"x","shape":"other","value":"2"},{"id":"c","provider":"x","shape":"legacy_plaintext","value":"3"}]}`, 200)
	for body, param := range map[string]string{`{}`: "apply", `{"apply":true,"dry_run":true}`: "apply", `{"apply":true,"to":"purged"}`: "to",
		`{"dry_run":true,"cursor":"a b"}`: "cursor"} {
		w.refused(w.do("POST", path, adminKey, body), 400, fault.InvalidRequest, param)
	}
	before := w.changes()
	show := func(body string) string {
		t.Helper()
		var out []string
		for _, m := range w.must("POST", path, adminKey, body, 200)["moves"].([]any) {
			o := m.(object)
			out = append(out, fmt.Sprint(o["id"], " ", o["from"], ">", o["to"], " ", o["blocked"] != nil))
		}
		return strings.Join(out, ", ")
	}
	if got := show(`{"dry_run":true,"to":"new_only"}`); got != "a legacy_only>dual_read true, b legacy_only>legacy_only true, c legacy_only>dual_read true" {
		t.Error(got)
	}
	if w.changes() != before {
		t.Error("a dry run changed something")
	}
	if got := show(`{"apply":true}`); got != "a legacy_only>dual_write false, b legacy_only>legacy_only true, c legacy_only>dual_write false" {
		t.Error(got)
	}
	if got := show(`{"apply":true,"to":"dual_read","cursor":"b"}`); got != "c dual_write>dual_read false" {
		t.Error(got)
	}
	if got := show(`{"apply":true,"to":"legacy_only"}`); got != "a dual_write>legacy_only false, b legacy_only>legacy_only false, c dual_read>legacy_only false" {
		t.Error(got)
	}
	if n := w.changes() - before; n != 6 {
		t.Errorf("%d rows", n)
	}
}

func TestIntegrationBodies(t *testing.T) {
	w := newWorld(t)
	path := "/api/orgs/acme/integrations"
	for body, param := range map[string]string{
		`{"provider":"x"}`: "payload", `{"provider":"x","payload":"1","payload_base64":"MQ=="}`: "payload", `{"provider":"x","payload":"1","fields":{"a":"1"}}`: "payload",
		`{"payload":"1"}`: "provider", `{"provider":"X Y","payload":"1"}`: "provider", `{"provider":"x","fields":{"a b":"1"}}`: "fields",
		`{"provider":"x","payload_base64":"not base64"}`: "", `{"provider":"x","payload":7}`: "", `{"provider":"x","payload":""}`: "fields", `{"provider":"x","payload":"` + strings.Repeat("a", integration.MaxValues) + `"}`: "fields",
		`{"provider":"x","payload":"1","label":"` + strings.Repeat("a", 101) + `"}`: "label",
	} {
		w.refused(w.do("POST", path, adminKey, body), 400, fault.InvalidRequest, param)
	}
	for body, param := range map[string]string{
		`{}`: "rows", `{"rows":[]}`: "rows", `{"rows":[{"id":"a"}]}`: "rows.provider", `{"rows":[{"id":"a","provider":"x"}]}`: "rows.value",
		`{"rows":[{"id":"a","provider":"x","value":"1","value_base64":"MQ=="}]}`:                       "rows.value",
		`{"rows":[{"id":"a","provider":"x","shape":"legacy_plaintext","fields":{"a":{"value":"1"}}}]}`: "rows.fields",
	} {
		w.refused(w.do("POST", path+"/import", adminKey, body), 400, fault.InvalidRequest, param)
	}
	// Some passwords look like the display of one.
	w.must("POST", path, adminKey, `{"provider":"smtp","payload":"pass****..."}`, 201)

	for _, body := range []string{`{"key":"short"}`, `{"key":"` + strings.Repeat("ab", 32) + `"}`, `{"key":""}`} {
		w.refused(w.do("PUT", "/api/operator/legacy-key", operatorKey, body), 400, fault.InvalidRequest, "key")
	}
	key := `{"key":"` + integrationtest.KeyText + `"}`
	for range 2 {
		w.must("PUT", "/api/operator/legacy-key", operatorKey, key, 204)
	}
	w.must("PUT", "/api/operator/legacy-key", operatorKey, strings.Replace(key, "MDEy", "MDIx", 1), 204)
}
