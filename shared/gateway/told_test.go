package gateway_test

import (
	"errors"
	"testing"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestErrorsSayWhatWasDecided: the candidate that an error speaks of, and its
// decision, go with the error.
func TestErrorsSayWhatWasDecided(t *testing.T) {
	own := func(r *rig, ids ...string) {
		for i, id := range ids {
			r.connect(id, "https://vendor.example", func(c *connection.Connection) { c.Priority = int64(i) })
		}
	}
	for _, c := range []struct {
		name   string
		set    func(r *rig)
		query  gateway.Query
		model  string
		code   fault.Code
		source taxonomy.BillingSource
		rule   string
		conn   string
		passed string
	}{
		{"suspended", func(r *rig) { r.store.config.Org.Status = org.Suspended }, gateway.Query{}, "openrouter/m", fault.ScopeMissing, "", billing.RuleOrgInactive, "", ""},
		{"tier without byok", func(r *rig) { r.store.config.Org.Tier = taxonomy.Free }, gateway.Query{Forced: taxonomy.BYOK}, "openrouter/m",
			fault.BillingDenied, "", billing.RuleForcedDisallowed, "", "openrouter/m:billing_denied"},
		{"no connection", nil, gateway.Query{Forced: taxonomy.BYOK}, "openrouter/m", fault.BYOKUnavailable, "", billing.RuleBYOKUnavailable, "", "openrouter/m:byok_unavailable"},
		{"credits", func(r *rig) { r.reserveErr = fault.New(fault.InsufficientCredits, "x", "no") }, gateway.Query{}, "openrouter/m",
			fault.InsufficientCredits, "", billing.RuleFundsRefused, "", "openrouter/m:insufficient_credits"},
		{"ledger", func(r *rig) { r.reserveErr = fault.New(fault.LedgerUnavailable, "x", "no") }, gateway.Query{}, "openrouter/m",
			fault.LedgerUnavailable, taxonomy.Platform, billing.RulePlatform, "", "openrouter/m:ledger_unavailable"},
		{"no price", nil, gateway.Query{}, "openrouter/unpriced", fault.PriceMissing, taxonomy.Platform, billing.RulePlatform, "", "openrouter/unpriced:price_missing"},
		{"vendor, final", func(r *rig) { own(r, "c1", "c2"); r.script = []any{vendorFault(fault.ContentFiltered)} }, gateway.Query{}, "openrouter/m",
			fault.ContentFiltered, taxonomy.BYOK, billing.RuleBYOKPreferred, "c1", "openrouter/m:content_filtered"},
		// The platform is denied last, but the answer is the second key's.
		{"vendor, all keys", func(r *rig) {
			own(r, "c1", "c2")
			r.script = []any{vendorFault(fault.ProviderError), vendorFault(fault.ProviderTimeout)}
		}, gateway.Query{}, "openrouter/m", fault.ProviderTimeout, taxonomy.BYOK, billing.RuleBYOKPreferred, "c2",
			"openrouter/m:provider_error, openrouter/m:provider_timeout, openrouter/m:billing_denied"},
		// The first denial is the answer.
		{"denials", func(r *rig) { r.store.config.Settings.Fallback = []string{"openrouter/unpriced"} }, gateway.Query{Forced: taxonomy.Private}, "openrouter/m",
			fault.BYOKUnavailable, "", billing.RuleBYOKUnavailable, "", "openrouter/m:byok_unavailable, openrouter/unpriced:byok_unavailable"},
	} {
		r := newRig(t)
		if c.set != nil {
			c.set(r)
		}
		c.query.RequestID = "req1"
		_, err := r.complete(c.query, ask(c.model))
		wantCode(t, err, c.code)
		var told *gateway.Told
		if !errors.As(err, &told) {
			t.Errorf("%s: %v says nothing", c.name, err)
			continue
		}
		i := told.Info
		if i.Source != c.source || i.Rule != c.rule || i.Connection != c.conn || i.FallbackHeader() != c.passed {
			t.Errorf("%s: %+v", c.name, i)
		}
		if c.rule != billing.RuleOrgInactive && (i.Model != c.model || i.Provider != taxonomy.OpenRouter || i.RequestID != "req1") {
			t.Errorf("%s: %+v", c.name, i)
		}
	}
}
