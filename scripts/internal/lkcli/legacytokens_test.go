package lkcli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestMigrateLegacyTokens: a dry run changes nothing; a run makes the next step of
// each organisation of a page that has a counter, and says what it could not do.
func TestMigrateLegacyTokens(t *testing.T) {
	modes := map[string]string{"a": "legacy", "b": "shadow", "c": "credit", "d": "legacy", "f": "legacy"}
	var posted []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		id := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/orgs/"), "/")[0]
		switch {
		case r.URL.Path == "/api/orgs" && r.URL.Query().Get("cursor") == "Mg":
			_, _ = w.Write([]byte(`{"items":[{"id":"d"},{"id":"e"},{"id":"f"}],"next_cursor":"Mw"}`))
		case r.URL.Path == "/api/orgs" && r.URL.Query().Get("cursor") == "Mw":
			_, _ = w.Write([]byte(`{"items":[{"id":"g"},{"id":"a"}],"next_cursor":null}`))
		case id == "g":
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"error":{"message":"the key may not","type":"scope_missing","code":"scope_missing"}}`))
		case r.URL.Path == "/api/orgs" && r.URL.Query().Has("cursor"):
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":{"message":"no such cursor","type":"invalid_request","code":"invalid_request"}}`))
		case r.URL.Path == "/api/orgs":
			_, _ = w.Write([]byte(`{"items":[{"id":"a"},{"id":"b"},{"id":"c"}],"next_cursor":"Mg"}`))
		case id == "e":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"error":{"message":"the ledger cannot be read","type":"ledger_unavailable","code":"ledger_unavailable"}}`))
		case r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/billing"):
			var b struct {
				Mode string `json:"ledger_mode"`
			}
			_ = json.NewDecoder(r.Body).Decode(&b)
			posted = append(posted, id+"="+b.Mode)
			modes[id] = b.Mode
			_, _ = w.Write([]byte(`{"ledger_mode":"` + b.Mode + `"}`))
		default:
			epoch, next := "1", `{"to":"shadow","allowed":true,"reasons":[],"grant":0,"count_tokens":0}`
			switch id {
			case "b":
				next = `{"to":"draining","allowed":false,"reasons":["seven whole days in shadow are needed"],"grant":5,"count_tokens":0}`
			case "c":
				epoch = "0"
			}
			_, _ = w.Write([]byte(`{"ledger_mode":"` + modes[id] + `","epoch":` + epoch + `,"open":0,"next":[` + next + `]}`))
		}
	}))
	defer s.Close()
	run := func(args ...string) (int, map[string]any) {
		t.Helper()
		var out, errOut strings.Builder
		code := Run(t.Context(), Env{Args: append(args, "--json"), Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut, Now: instant,
			Getenv: func(name string) string {
				return map[string]string{"LATCHKEY_URL": s.URL, "LATCHKEY_KEY": "lk_operator_k_0123456789abcdef0123456789abcdef"}[name]
			}})
		// What was done stands before what failed.
		var v map[string]any
		if err := json.NewDecoder(strings.NewReader(out.String())).Decode(&v); err != nil {
			t.Fatalf("%d %q %q", code, out.String(), errOut.String())
		}
		return code, v
	}
	code, v := run("migrate", "legacy-tokens", "--dry-run")
	items, _ := v["items"].([]any)
	if code != ExitDone || len(items) != 2 || v["next"] != "Mg" || len(posted) != 0 {
		t.Fatalf("dry run: %d %v, posted %v", code, v, posted)
	}
	if b := items[1].(map[string]any); b["to"] != "draining" || b["allowed"] != false || b["reasons"].([]any)[0] != "seven whole days in shadow are needed" {
		t.Errorf("%v", b)
	}
	if code, v = run("migrate", "legacy-tokens", "--apply"); code != ExitRefused || strings.Join(posted, ",") != "a=shadow" {
		t.Errorf("apply: %d %v, posted %v", code, v, posted)
	}
	// What cannot be read stands before nobody, in the page and behind it.
	for _, mode := range []string{"--apply", "--dry-run"} {
		posted, modes["d"] = nil, "legacy"
		code, v = run("migrate", "legacy-tokens", mode, "--cursor", "Mg")
		items, _ = v["items"].([]any)
		if code != ExitRefused || len(items) != 3 || v["next"] != "Mw" || strings.Join(posted, ",") != map[string]string{"--apply": "d=shadow,f=shadow"}[mode] {
			t.Fatalf("second page: %d %v, posted %v", code, v, posted)
		}
		if e := items[1].(map[string]any); e["org_id"] != "e" || e["allowed"] != false || e["done"] != false || !strings.Contains(e["reasons"].([]any)[0].(string), "the ledger cannot be read") {
			t.Errorf("%v", e)
		}
		modes["f"] = "legacy"
	}
	// A key that is refused would be refused for the next one, too.
	posted = nil
	code, v = run("migrate", "legacy-tokens", "--apply", "--cursor", "Mw")
	if items, _ = v["items"].([]any); code != ExitRefused || len(items) != 0 || v["next"] != "Mw" || len(posted) != 0 {
		t.Errorf("third page: %d %v, posted %v", code, v, posted)
	}
	posted = nil
	modes["c"] = "credit"
	if code, v = run("migrate", "rollback", "--org", "c"); code != ExitRefused || len(posted) != 0 {
		t.Errorf("rollback of what never was: %d %v", code, v)
	}
	modes["c"] = "rolled_back"
	if code, v = run("migrate", "rollback", "--org", "c"); code != ExitDone || strings.Join(posted, ",") != "c=rolled_back" {
		t.Errorf("again: %d %v, posted %v", code, v, posted)
	}
	if code, _ := run("migrate", "legacy-tokens"); code != ExitUsage {
		t.Errorf("without saying what: %d", code)
	}
}
