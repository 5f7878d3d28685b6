package admin

import (
	"fmt"
	"testing"
)

// TestBackfillRoute: each field of a newer binding is a reason to refuse it, and
// nobody else's organisation is written to.
func TestBackfillRoute(t *testing.T) {
	w := newWorld(t)
	agent := w.must("POST", "/api/orgs/acme/agents", adminKey, `{"name":"A"}`, 201)["id"].(string)
	body := func(more, mode string) string {
		return fmt.Sprintf(`{"rows":[{"id":"a","provider":"slack","channel":"C1","agentId":%q%s}]%s}`, agent, more, mode)
	}
	const path = "/api/orgs/acme/installs/import"
	for _, mode := range []string{"", `,"apply":true,"dry_run":true`} {
		w.refused(w.do("POST", path, adminKey, body("", mode)), 400, "invalid_request", "apply")
	}
	w.refused(w.do("POST", path, otherKey, body("", `,"apply":true`)), 404, "not_found", "")
	w.refused(w.do("POST", path, readKey, body("", `,"apply":true`)), 403, "scope_missing", "")
	w.refused(w.do("POST", path, adminKey, body(`,"botToken":"x"`, `,"apply":true`)), 400, "invalid_request", "rows.botToken")
	for _, more := range []string{`,"connectionId":"x"`, `,"accountId":"x"`, `,"installationId":"x"`, `,"profileId":"x"`, `,"profileType":"organization"`, `,"routeKey":"x"`, `,"allowPlatformFallback":true`} {
		got := w.must("POST", path, adminKey, body(more, `,"apply":true`), 200)
		if row := got["rows"].([]any)[0].(map[string]any); got["ok"] != false || row["outcome"] != "refused" || row["reason"] == "" {
			t.Errorf("%s: %v", more, got)
		}
	}
	if items := w.must("GET", "/api/orgs/acme/installs", adminKey, "", 200)["items"].([]any); len(items) != 0 {
		t.Errorf("%v", items)
	}
	for _, c := range []struct{ mode, outcome string }{{`,"dry_run":true`, "made"}, {`,"apply":true`, "made"}, {`,"apply":true`, "there"}} {
		if got := w.must("POST", path, adminKey, body("", c.mode), 200); got["ok"] != true || got["rows"].([]any)[0].(map[string]any)["outcome"] != c.outcome {
			t.Errorf("%s: %v", c.mode, got)
		}
	}
	if items := w.must("GET", "/api/orgs/acme/installs", adminKey, "", 200)["items"].([]any); len(items) != 1 || items[0].(map[string]any)["state"] != "draft" {
		t.Errorf("%v", items)
	}
}
