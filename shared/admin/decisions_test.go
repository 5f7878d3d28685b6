package admin

import (
	"bytes"
	"testing"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestStoredDecisionIsMadeAgain: a record that was altered, or does not belong to
// what is stored beside it, is seen.
func TestStoredDecisionIsMadeAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*credit.Attempt)
		replay string
		reason string
		inputs bool
	}{
		{"as it was", nil, "equal", "llm_byok_unmetered", true},
		{"another source", func(a *credit.Attempt) { a.Source = taxonomy.Platform }, "differs", "llm_byok_unmetered", true},
		{"another rule", func(a *credit.Attempt) { a.Rule = billing.RulePlatform }, "differs", "llm_byok_unmetered", true},
		{"another hash", func(a *credit.Attempt) { a.DecisionHash = billing.Hash(billing.Inputs{}) }, "differs", "llm_byok_unmetered", true},
		{"altered inputs", func(a *credit.Attempt) {
			a.Decision = bytes.Replace(a.Decision, []byte(`"org_active":true`), []byte(`"org_active":false`), 1)
		}, "differs", "org_not_active", true},
		{"no record", func(a *credit.Attempt) { a.Decision = nil }, "unreadable", "", false},
		{"another policy", func(a *credit.Attempt) {
			a.Decision = bytes.Replace(a.Decision, []byte(billing.PolicyVersion), []byte("2026-01"), 1)
		}, "other_policy", "", true},
	} {
		w := newWorld(t)
		w.ledger.attempt = c.change
		r := w.must("GET", "/api/orgs/acme/requests/r1", billingKey, "", 200)
		d := r["attempts"].([]any)[0].(object)["decision"].(object)
		if d["replay"] != c.replay || d["reason"] != c.reason || (d["inputs"] != nil) != c.inputs || r["replays"] != (c.replay == "equal") {
			t.Errorf("%s: %v %v", c.name, r["replays"], d)
		}
		if c.inputs && d["inputs"].(object)["candidate"] != "byok" {
			t.Errorf("%s: %v", c.name, d["inputs"])
		}
	}
}
