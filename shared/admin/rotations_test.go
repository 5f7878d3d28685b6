package admin

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
)

func TestRotations(t *testing.T) {
	w := newWorld(t)
	w.populate()
	const all = "/api/operator/rotations"
	for body, param := range map[string]string{
		`{"kind":"kek","org_id":"a_b"}`: "org_id", `{"kind":"prune"}`: "kind", `{"kind":"dek","to":"` + w.kek.Keys()[1] + `"}`: "to",
		`{"kind":"kek","to":"arn:aws:kms:us-east-1:111122223333:key/foreign"}`: "to", `{"kind":"kek","rate":5000}`: "rate",
		`{"kind":"kek","org_id":"acme","to":"` + w.kek.Keys()[1] + `"}`: "org_id",
	} {
		w.refused(w.do("POST", all, operatorKey, body), 400, fault.InvalidRequest, param)
	}
	w.refused(w.do("POST", all, operatorKey, `{"kind":"kek","org_id":"ghost"}`), 404, fault.NotFound, "")
	w.refused(w.do("GET", all+"/none", operatorKey, ""), 404, fault.NotFound, "")
	if w.woken != 0 || len(w.jobs.Rows()) != 0 {
		t.Errorf("a refused call woke the worker %d times and wrote %d rows", w.woken, len(w.jobs.Rows()))
	}
	made := w.must("POST", all, operatorKey, `{"kind":"kek","to":"`+w.kek.Keys()[1]+`"}`, 201)
	id := made["id"].(string)
	if made["state"] != "planned" || made["from"] != w.kek.Keys()[0] || w.woken != 1 || !strings.HasPrefix(made["created_by"].(string), "operator:") {
		t.Errorf("%v, woken %d", made, w.woken)
	}
	resp := w.do("POST", all, operatorKey, `{"kind":"dek"}`)
	w.refused(resp, 409, fault.Conflict, "")
	if !strings.Contains(string(resp.Body), id) {
		t.Errorf("the refusal does not name the running job: %s", resp.Body)
	}
	w.refused(w.do("POST", all+"/rot1/rollback", operatorKey, ""), 409, fault.Conflict, "")
	w.refused(w.do("POST", all+"/"+id+"/rollback", operatorKey, ""), 409, fault.Conflict, "")
	// Another sort of job may run beside it, one organisation alone.
	if made := w.must("POST", all, operatorKey, `{"kind":"verify","org_id":"acme"}`, 201); made["org_id"] != "acme" {
		t.Errorf("%v", made)
	}
	rows := w.jobs.Rows()
	if len(rows) != 2 || rows[0].Action != "rotation.start" || rows[0].Target != id || rows[0].Detail["kind"] != "kek" || rows[0].Org != "operator" {
		t.Errorf("audit: %+v", rows)
	}
	list := w.must("GET", all+"?limit=1", operatorKey, "", 200)
	if items := list["items"].([]any); len(items) != 1 || list["next_cursor"] == nil || items[0].(map[string]any)["id"] != "rot1" {
		t.Errorf("%v", list)
	}
}
