package gateway_test

import (
	"errors"
	"testing"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// withTerms is a rig whose organisation has an own key and these terms.
func withTerms(t *testing.T, terms commercial.Terms, freeUsed int64) *rig {
	t.Helper()
	check(t, terms.Check())
	r := newRig(t)
	r.connect("c1", "https://vendor.example", nil)
	r.store.config.Terms, r.store.freeUsed = &terms, freeUsed
	return r
}

func surcharge(bps, free int64) commercial.Terms {
	return commercial.Terms{Model: commercial.OptionalSurcharge, SurchargeBPS: bps, FreeRequests: free}
}

// The scripted answer costs 20 micro-credits on platform credits: 10 tokens in at 1,
// 5 out at 2.

// TestFees: what is held before a call on an own key, and what is recorded after it.
func TestFees(t *testing.T) {
	flat := commercial.Terms{Model: commercial.FlatPlatformFee, FlatFee: 700, PrivateFee: 30}
	private := func(c *connection.Connection) { c.BillingSource = taxonomy.Private }
	for _, c := range []struct {
		name     string
		terms    commercial.Terms
		used     int64
		conn     func(*connection.Connection)
		model    string
		hold     func(billing.Micro) bool
		amount   billing.Micro
		free     int64
		estimate bool
	}{
		{"a surcharge is a part of the price, rounded up once", surcharge(500, 0), 0, nil, "m", holds, 1, 0, false},
		{"of all of it", surcharge(10_000, 0), 0, nil, "m", holds, 20, 0, false},
		{"with a fraction", surcharge(7_550, 0), 0, nil, "m", holds, 16, 0, false},
		{"a flat fee needs no price", flat, 0, nil, "unpriced", exactly(700), 700, 0, false},
		{"an own endpoint has a fee of its own", flat, 0, private, "unpriced", exactly(30), 30, 0, false},
		{"a surcharge does not reach own endpoints", surcharge(500, 0), 0, private, "unpriced", exactly(0), 0, 0, false},
		{"far inside the allowance nothing is held", surcharge(10_000, 1000), 899, nil, "m", exactly(0), 20, 1000, false},
		{"its last part is held for", surcharge(10_000, 1000), 900, nil, "m", holds, 20, 1000, false},
		{"beyond it, too", surcharge(10_000, 1000), 1000, nil, "m", holds, 20, 1000, false},
		{"far inside the allowance no price is needed", surcharge(10_000, 1000), 0, nil, "unpriced", exactly(0), 0, 1000, false},
		{"bundled", commercial.Terms{Model: commercial.TierBundled, FreeRequests: 5}, 0, nil, "unpriced", exactly(0), 0, 0, false},
	} {
		r := withTerms(t, c.terms, c.used)
		if c.conn != nil {
			c.conn(&r.store.config.Connections[0])
		}
		_, err := r.complete(gateway.Query{}, ask("openrouter/"+c.model))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		q, o := r.reserved[0], r.used[0]
		if !c.hold(q.Hold) || o.Amount != c.amount || q.Fee.Free != c.free || o.Estimated != c.estimate {
			t.Errorf("%s: held %d with %+v, recorded %+v", c.name, q.Hold, q.Fee, o)
		}
		// What was decided can be decided again.
		again, err := billing.Recompute(q.Decision)
		if err != nil || again.Hash != q.DecisionHash || again.Decision.Fee != q.Fee || string(again.Decision.Source) != string(q.Source) {
			t.Errorf("%s: replayed as %+v, %v", c.name, again, err)
		}
		if again.Record.FeePolicy == "" || again.Record.V != 3 {
			t.Errorf("%s: the record does not name the policy: %+v", c.name, again.Record)
		}
	}
}

func holds(m billing.Micro) bool { return m > 20 } // for far more output than came

func exactly(want billing.Micro) func(billing.Micro) bool {
	return func(m billing.Micro) bool { return m == want }
}

// TestFeeOfTier: the operator's terms for the tier, a tier that has none, and the
// platform's key beside them.
func TestFeeOfTier(t *testing.T) {
	for tier, want := range map[taxonomy.Tier]billing.Micro{taxonomy.Enterprise: 20, taxonomy.Agency: 0} {
		r := newRig(t)
		r.connect("c1", "https://vendor.example", nil)
		r.store.config.Org.Tier = tier
		r.store.terms = commercial.Tiers{taxonomy.Enterprise: surcharge(10_000, 0)}
		_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
		check(t, err)
		if r.used[0].Amount != want {
			t.Errorf("%s: %d", tier, r.used[0].Amount)
		}
	}
	r := newRig(t)
	r.store.terms = commercial.Tiers{taxonomy.Enterprise: surcharge(10_000, 0)}
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	again, err := billing.Recompute(r.reserved[0].Decision)
	check(t, err)
	if r.reserved[0].Fee.Due() || r.used[0].Amount != 20 || again.Record.V != 2 {
		t.Errorf("platform credits: %+v, %+v", r.reserved[0].Fee, r.used[0])
	}
}

// TestFeeRefused: a fee that cannot be held or priced is refused before anybody is
// called, and never paid by another source.
func TestFeeRefused(t *testing.T) {
	r := withTerms(t, surcharge(500, 0), 0)
	r.reserveErr = fault.New(fault.InsufficientCredits, "x", "no")
	_, err := r.complete(gateway.Query{RequestID: "req1"}, ask("openrouter/m"))
	wantCode(t, err, fault.InsufficientCredits)
	var told *gateway.Told
	if !errors.As(err, &told) || told.Info.Source != "" || told.Info.Rule != billing.RuleFundsRefused || len(r.calls) != 0 {
		t.Errorf("told %+v, %d calls", told, len(r.calls))
	}
	r = withTerms(t, surcharge(500, 0), 0)
	_, err = r.complete(gateway.Query{}, ask("openrouter/unpriced"))
	wantCode(t, err, fault.PriceMissing)
	if len(r.calls)+len(r.reserved) != 0 {
		t.Errorf("%d calls, %d reservations", len(r.calls), len(r.reserved))
	}
}

// TestFeeOfBrokenCalls: a refused call costs nothing, a broken one at most its hold.
func TestFeeOfBrokenCalls(t *testing.T) {
	r := withTerms(t, commercial.Terms{Model: commercial.FlatPlatformFee, FlatFee: 700}, 0)
	r.script = []any{vendorFault(fault.ProviderError)}
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	wantCode(t, err, fault.ProviderError)
	if r.used[0].Amount != 0 {
		t.Errorf("a refused call cost %d", r.used[0].Amount)
	}
	for held, used := range map[bool]int64{true: 1000, false: 0} {
		r = withTerms(t, surcharge(10_000, 1000), used)
		uncounted := answered("an answer that nobody counted")
		uncounted.Usage.Source = ""
		r.script = []any{uncounted}
		_, err = r.complete(gateway.Query{}, ask("openrouter/m"))
		check(t, err)
		if o := r.used[0]; !o.Estimated || (o.Amount > 0) != held || o.Amount > r.reserved[0].Hold {
			t.Errorf("held %v: %+v", held, o)
		}
	}
}

// TestFeesCountInBudgets: what is held counts, what the allowance is expected to
// cover does not.
func TestFeesCountInBudgets(t *testing.T) {
	for used, want := range map[int64]fault.Code{0: "", 1000: fault.RateLimited} {
		r := withTerms(t, surcharge(10_000, 1000), used)
		r.store.key.Limits.Budget = limit.Budget{Amount: 20, Period: limit.Day}
		_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
		check(t, err)
		r.store.config.Connections = nil // the next call is the platform's
		_, err = r.read().complete(gateway.Query{}, ask("openrouter/m"))
		wantCode(t, err, want)
	}
}
