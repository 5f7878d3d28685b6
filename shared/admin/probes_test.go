package admin

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func (w *world) connect(key string, status int) map[string]any {
	w.Helper()
	return w.must("POST", "/api/orgs/acme/connections", adminKey, fmt.Sprintf(`{"provider":%q,"label":"Main","api_key":%q}`, taxonomy.OpenRouter, key), status)
}

func TestARefusedKeyIsNotStored(t *testing.T) {
	w := newWorld(t)
	w.vendor.Says = func(connection.Connection, string) connection.Seen {
		return connection.Seen{Verdict: connection.Refused, Reason: string(fault.ProviderKeyInvalid), HTTPStatus: 401}
	}
	body := fmt.Sprintf(`{"provider":%q,"api_key":%q}`, taxonomy.OpenRouter, w.canary())
	w.refused(w.do("POST", "/api/orgs/acme/connections", adminKey, body), 400, fault.InvalidRequest, "api_key")
	if got := w.must("GET", "/api/orgs/acme/connections", adminKey, "", 200)["items"].([]any); len(got) != 0 {
		t.Errorf("stored: %v", got)
	}
	if heads, _ := w.vault.Heads(t.Context(), "acme"); len(heads) != 0 {
		t.Errorf("sealed: %v", heads)
	}
}

func TestSavedKeysComeWithWarnings(t *testing.T) {
	w := newWorld(t)
	w.vendor.Says = func(connection.Connection, string) connection.Seen {
		return connection.Seen{Verdict: connection.Undecided, Reason: string(fault.ProviderOverloaded), HTTPStatus: 503}
	}
	c := w.connect("other-vendors-key-"+w.canary(), 201)
	warnings, _ := c["warnings"].([]any)
	if len(warnings) != 2 || !strings.Contains(fmt.Sprint(warnings[0]), "cnry") || !strings.Contains(fmt.Sprint(warnings[1]), "provider_overloaded") ||
		c["usable"] != false || c["unusable_reason"] != "unverified" || c["health"].(object)["status"] != "unverified" ||
		c["health"].(object)["http_status"] != 503.0 {
		t.Errorf("%v", c)
	}
	// They are for whoever saved the key, not part of the connection.
	if got := w.must("GET", "/api/orgs/acme/connections/"+c["id"].(string), adminKey, "", 200); got["warnings"] != nil || got["usable"] != false {
		t.Errorf("%v", got)
	}
}

func TestProbesOfAConnection(t *testing.T) {
	w := newWorld(t)
	id := "/api/orgs/acme/connections/" + w.connect(w.canary(), 201)["id"].(string)
	got := w.must("POST", id+"/test", adminKey, `{"probe":"list_models"}`, 200)
	if got["status"] != "ok" || got["probe"] != "list_models" || got["model_count"] != 2.0 || got["latency_ms"] != 7.0 || got["http_status"] != 200.0 ||
		got["checked_at"] != "2026-11-21T12:00:00Z" || got["reason"] != "" {
		t.Errorf("%v", got)
	}
	resp := w.do("POST", id+"/test", adminKey, `{"probe":"test_voice"}`)
	w.refused(resp, 400, fault.InvalidRequest, "probe")
	if !strings.Contains(string(resp.Body), "test_auth, list_models") {
		t.Errorf("does not say which probes there are: %s", resp.Body)
	}
	w.refused(w.do("POST", id+"/test", adminKey, `{"probe":"everything"}`), 400, fault.InvalidRequest, "probe")
	w.refused(w.do("POST", id+"/test", adminKey, `{}`), 400, fault.InvalidRequest, "probe")
	w.refused(w.do("POST", id+"/test", adminKey, `{"probe":"test_auth","model":"a b"}`), 400, fault.InvalidRequest, "model")
	w.refused(w.do("POST", "/api/orgs/acme/connections/nope/test", adminKey, `{"probe":"test_auth"}`), 404, fault.NotFound, "")
	w.refused(w.do("POST", strings.Replace(id, "acme", "other", 1)+"/test", otherKey, `{"probe":"test_auth"}`), 404, fault.NotFound, "")
	w.refused(w.do("POST", id+"/test", readKey, `{"probe":"test_auth"}`), 403, fault.ScopeMissing, "")
	w.must("POST", id+"/revoke", adminKey, "", 200)
	w.refused(w.do("POST", id+"/test", adminKey, `{"probe":"test_auth"}`), 409, fault.Conflict, "")
	if len(w.vendor.Probed) != 1 {
		t.Errorf("probed %v", w.vendor.Probed)
	}
}

func TestProbesAndValidationsAreLimited(t *testing.T) {
	w := newWorld(t)
	first := w.connect(w.canary(), 201)
	one := "/api/orgs/acme/connections/" + first["id"].(string)
	for range 10 {
		w.must("POST", one+"/test", adminKey, `{"probe":"test_auth"}`, 200)
	}
	resp := w.do("POST", one+"/test", adminKey, `{"probe":"test_auth"}`)
	w.refused(resp, http.StatusTooManyRequests, fault.RateLimited, "")
	if resp.Header["retry-after"] != "60" {
		t.Errorf("retry-after %q", resp.Header["retry-after"])
	}
	for range 4 {
		w.connect(w.canary(), 201)
	}
	body := fmt.Sprintf(`{"provider":%q,"api_key":%q}`, taxonomy.OpenRouter, w.canary())
	w.refused(w.do("POST", "/api/orgs/acme/connections", adminKey, body), http.StatusTooManyRequests, fault.RateLimited, "")
	w.refused(w.do("POST", one+"/rotate", adminKey, `{"api_key":"`+w.canary()+`"}`), http.StatusTooManyRequests, fault.RateLimited, "")
	w.refused(w.do("PATCH", one, adminKey, `{"api_key":"`+w.canary()+`"}`), http.StatusTooManyRequests, fault.RateLimited, "")
	if len(w.vendor.Asked) != 5 {
		t.Errorf("the vendor was shown %d keys", len(w.vendor.Asked))
	}
	// Endpoints of the organisation's own do not count, nor do other organisations.
	for i := range 6 {
		w.must("POST", "/api/orgs/acme/connections", adminKey, fmt.Sprintf(`{"provider":%q,"base_url":"https://own%d.example/v1","api_key":%q}`,
			taxonomy.OpenAICompatible, i, w.canary()), 201)
	}
	w.now = w.now.Add(time.Minute)
	w.connect(w.canary(), 201)
}

func TestRotationWithOverlapAndRollback(t *testing.T) {
	w := newWorld(t)
	c := w.connect(w.canary(), 201)
	id := "/api/orgs/acme/connections/" + c["id"].(string)
	w.refused(w.do("POST", id+"/rotate/rollback", adminKey, ""), 409, fault.Conflict, "")
	for _, bad := range []string{"-1", "604801", "9223372036854775807"} {
		w.refused(w.do("POST", id+"/rotate", adminKey, `{"api_key":"`+w.canary()+`","overlap_seconds":`+bad+`}`), 400, fault.InvalidRequest, "overlap_seconds")
	}
	r := w.must("POST", id+"/rotate", adminKey, `{"api_key":"`+w.canary()+`"}`, 200)
	if r["previous_key_until"] != "2026-11-21T13:00:00Z" || r["hint"] == c["hint"] {
		t.Errorf("default overlap: %v", r)
	}
	back := w.must("POST", id+"/rotate/rollback", adminKey, "", 200)
	if back["hint"] != c["hint"] || back["fingerprint"] != c["fingerprint"] || back["previous_key_until"] != nil || back["usable"] != true {
		t.Errorf("rolled back: %v", back)
	}
	if r = w.must("POST", id+"/rotate", adminKey, `{"api_key":"`+w.canary()+`","overlap_seconds":0}`, 200); r["previous_key_until"] != nil {
		t.Errorf("no overlap: %v", r)
	}
	w.refused(w.do("POST", id+"/rotate/rollback", adminKey, ""), 409, fault.Conflict, "")
	actions := 0
	for _, row := range w.rows.Rows() {
		if row.Action == "connection.rollback" && row.Target == c["id"] && row.Actor != "" {
			actions++
		}
	}
	if actions != 1 {
		t.Errorf("%d audit rows of the rollback", actions)
	}
}
