package gateway_test

import (
	"context"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func (r *rig) chat() model.Chat {
	if r.counting {
		return countRig{r}
	}
	return r
}

// countRig is a vendor that counts: 42, or what the script says.
type countRig struct{ *rig }

func (c countRig) CountTokens(_ context.Context, m model.Call) (int64, error) {
	key := ""
	_ = m.Key.Use(func(b []byte) error { key = string(b); return nil })
	c.note("count %s key=%s", m.Request.Model, key)
	if len(c.script) > 0 {
		s := c.script[0]
		c.script = c.script[1:]
		return 0, s.(error)
	}
	return 42, nil
}

func (r *rig) count(q gateway.Query, m *model.Request) (*gateway.Counted, error) {
	r.t.Helper()
	g := r.gateway()
	return g.CountTokens(r.t.Context(), r.caller(g), q, m)
}

// TestCountByTheVendor: with the key of the first usable candidate, nothing
// reserved and nothing recorded.
func TestCountByTheVendor(t *testing.T) {
	r := newRig(t)
	r.counting = true
	n, err := r.count(gateway.Query{RequestID: "rq"}, ask("openrouter/m"))
	check(t, err)
	if n.Tokens != 42 || n.Estimated || n.Info.Source != taxonomy.Platform || n.Info.Model != "openrouter/m" || n.Info.RequestID != "rq" {
		t.Errorf("%+v", n)
	}
	r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.Enabled = false })
	r.connect("c2", "https://vendor.example", nil)
	n, err = r.count(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	if n.Info.Connection != "c2" || n.Info.Source != taxonomy.BYOK {
		t.Errorf("%+v", n)
	}
	r.wantLog("count m key=platform-key", "count m key=own-key-of-c2-0123456789")
}

func TestCountIsEstimatedWhereNobodyCounts(t *testing.T) {
	r := newRig(t)
	n, err := r.count(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	if !n.Estimated || n.Tokens != 8+3 {
		t.Errorf("%+v", n)
	}
	r.wantLog()
}

// TestCountFailures: a vendor that cannot count now gives way to the estimate and
// is not cooled; what a call would be refused for is refused.
func TestCountFailures(t *testing.T) {
	for code, estimated := range map[fault.Code]bool{fault.ProviderRateLimited: true, fault.ProviderOverloaded: true, fault.ProviderError: true, fault.ProviderTimeout: true,
		fault.ProviderKeyInvalid: false, fault.ProviderQuotaExhausted: false, fault.InvalidRequest: false, fault.ContextLengthExceeded: false, fault.UnsupportedMedia: false, fault.TooLarge: false} {
		r := newRig(t)
		r.counting = true
		r.connect("c1", "https://vendor.example", nil)
		r.script = []any{vendorFault(code)}
		n, err := r.count(gateway.Query{}, ask("openrouter/m"))
		if estimated && (err != nil || !n.Estimated || n.Tokens == 0) || !estimated && fault.CodeOf(err) != code {
			t.Errorf("%s: %+v, %v", code, n, err)
		}
		r.wantLog("count m key=own-key-of-c1-0123456789")
	}
	r := newRig(t)
	r.counting = true
	r.connect("c1", "https://elsewhere.example", nil)
	_, err := r.count(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.VaultUnavailable)
	_, err = r.count(gateway.Query{}, ask("mistral/m"))
	wantCode(t, err, fault.ModelNotEnabled)
	r.store.config.Org.Tier = taxonomy.Free
	_, err = r.count(gateway.Query{Forced: taxonomy.BYOK}, ask("openrouter/m"))
	wantCode(t, err, fault.BillingDenied)
	r.store.config.Org.Status = org.Suspended
	_, err = r.count(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.ScopeMissing)

	// The platform's key is used for models that the platform sells.
	r = newRig(t)
	r.counting = true
	_, err = r.count(gateway.Query{}, ask("openrouter/unpriced"))
	wantCode(t, err, fault.PriceMissing)
	_, err = r.count(gateway.Query{Strict: true}, fields(ask("openrouter/m"), "models"))
	wantCode(t, err, fault.InvalidRequest)
	r.wantLog()
}

// TestCountsAgainstRequests: one request per minute each, whoever counts; no
// tokens, no slot, and a spent budget does not matter.
func TestCountsAgainstRequests(t *testing.T) {
	for _, counting := range []bool{false, true} {
		r := newRig(t)
		r.counting = counting
		r.store.key.Limits = limit.Limits{RequestsPerMinute: 2, TokensPerMinute: 1, Concurrent: 1, Budget: limit.Budget{Amount: 1, Period: limit.Day}}
		for i := range 3 {
			r.store.key.Counted = r.limits.State(limit.Subject{Org: "acme", Key: "k1"})
			n, err := r.count(gateway.Query{}, ask("openrouter/m"))
			if i < 2 && (err != nil || n.Info.RequestsLeft == nil || n.Info.RequestsLeft.Remaining != int64(1-i)) {
				t.Errorf("count %d: %+v, %v", i, n, err)
			}
			if f := fault.As(err); i == 2 && (f == nil || f.Code != fault.RateLimited || f.RetryAfter <= 0 || !strings.Contains(f.Message, "2 requests per minute")) {
				t.Errorf("%v", err)
			}
		}
		st := r.limits.State(limit.Subject{Org: "acme", Key: "k1"})
		if len(st.Slots) != 0 || len(st.Counters) != 1 || counting && len(r.log) != 2 {
			t.Errorf("%+v, %q", st, r.log)
		}
	}
}
