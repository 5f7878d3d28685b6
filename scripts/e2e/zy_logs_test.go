package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/repocheck"
	"github.com/latchkey/latchkey/shared/topology"
)

// logKeys are all names that a log line of a function may have. A new one is
// added here when somebody has looked at what its values can be.
var logKeys = []string{
	"timestamp", "level", "message", "requestId", // of the platform's logger
	"request_id", "org", "route", "provider", "model", "billing_source", "outcome", "ms", "op", // request
	"credential", "class", "version", "field", "purpose", "function", "cache", "latency_us", // vault.use
	"code", "at", "install", "event_id", "source", "body_sha256", "retiring_secret", "detail", "turn", // audit
	"secret_versions", "retired_secret", "suppressed", "url_hint", // audit of refusals
	"settled", "late", "released", "done", "undecided", "record", "of", "event", "reason", "amount", // settle
	"expired", "poison", "reshaped", "complete", "closed", "waiting", "reviewed", "caught", "restless", "healed", "unbilled", "unbilled_at_most", // sweep
	"connection", "connections", "probe", "verdict", // probes
	"job", "kind", "state", "pass", "failed", "why", // rotation
	"events", "alerts", // outbox
	"request", "attempt", "cause", "status", "type", "message_id", // failures
}

// TestYEveryLogLineHasTheSchema runs after the other tests and reads what the
// functions wrote: JSON, a message from the source's constants, known names. The
// report of a process that a test aborted is no log line; a panic would be one
// that has not the schema.
func TestYEveryLogLineHasTheSchema(t *testing.T) {
	messages, err := repocheck.LogMessages(os.DirFS("../.."))
	must(t, err)
	seen, uses := 0, 0
	for _, f := range topology.Functions() {
		name := f.Name + ".log"
		raw, err := os.ReadFile(filepath.Join(world.LogDir, name))
		must(t, err)
		aborted := map[string]bool{}
		for line := range bytes.Lines(raw) {
			pid, text, ok := strings.Cut(strings.TrimSuffix(string(line), "\n"), "] ")
			if !ok {
				t.Fatalf("%s: a line without its process: %q", name, line)
			}
			if aborted[pid] = aborted[pid] || text == "SIGQUIT: quit"; aborted[pid] {
				continue
			}
			if problem := wrongWith(text, messages); problem != "" {
				t.Errorf("%s: %s: %.300s", name, problem, text)
			}
			seen++
			if strings.Contains(text, `"message":"vault.use"`) {
				uses++
				checkUse(t, text, f.Name)
			}
		}
	}
	if seen < 20 || uses < 3 {
		t.Errorf("%d lines, %d of them vault.use: the scenarios did not run", seen, uses)
	}
}

// failedInvocation is how the platform's runtime reports an error that a handler
// returned; its text is the fault's own, which holds no cause.
var failedInvocation = regexp.MustCompile(`^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (\{"errorMessage":"[a-z_]+: [A-Za-z_.]+: [^"]*","errorType":"[A-Za-z]+"\})$`)

// wrongWith is empty for a line that has the schema.
func wrongWith(line string, messages []string) string {
	if failedInvocation.MatchString(line) {
		return ""
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		return "not a JSON object"
	}
	if m, _ := fields["message"].(string); !slices.Contains(messages, m) {
		return "the message is none of the source's"
	}
	for k := range fields {
		if !slices.Contains(logKeys, k) {
			return "unknown name " + k
		}
	}
	return ""
}

// checkUse: every use of a credential says whose, where and for what request.
func checkUse(t *testing.T, line, function string) {
	t.Helper()
	var use map[string]any
	must(t, json.Unmarshal([]byte(line), &use))
	for _, k := range []string{"org", "credential", "class", "version", "field", "purpose", "function", "request_id", "cache", "outcome", "latency_us"} {
		if v, ok := use[k]; !ok || v == "" {
			t.Errorf("vault.use without %s: %s", k, line)
		}
	}
	if use["function"] != function || use["request_id"] != use["requestId"] {
		t.Errorf("%s: vault.use names another function or request: %s", function, line)
	}
}

func TestLogSchemaFindsPlantedLines(t *testing.T) {
	messages := []string{"request"}
	for line, want := range map[string]string{
		`{"message":"request","org":"a"}`: "",
		`2026/11/22 02:01:27 {"errorMessage":"invalid_request: sweep.Handle: the event has no time","errorType":"Error"}`: "",
		`2026/11/22 02:01:27 {"errorMessage":"dial tcp: sk-1","errorType":"Error"}`:                                       "not a JSON object",
		`goroutine 1 [running]:`:                    "not a JSON object",
		`{"message":"request failed: sk-1"}`:        "the message is none of the source's",
		`{"message":"request","authorization":"x"}`: "unknown name authorization",
	} {
		if got := wrongWith(line, messages); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}
