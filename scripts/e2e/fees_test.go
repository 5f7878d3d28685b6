package e2e

import (
	"fmt"
	"net/http"
	"testing"
)

// policyView is what GET …/billing says.
type policyView struct {
	Policy struct {
		Model, Rule, Version, Summary string
		Eligible, Bundled             bool
		SurchargeBPS                  int64 `json:"surcharge_bps"`
		MigrationDefault              bool  `json:"migration_default"`
	}
	Month string
	Used  int64 `json:"free_requests_used"`
	Rules []struct{ Tier, Model, Rule string }
}

func (x *tenant) billing() (v policyView) {
	x.t.Helper()
	x.call(http.MethodGet, "/billing", nil, &v)
	return v
}

// own is a fresh organisation with terms, nil = its tier's, and an own key for the
// simulated vendor, unless the source is platform.
func own(t *testing.T, source string, credits int64, terms map[string]any) *tenant {
	t.Helper()
	x := newTenant(t, "enterprise", credits)
	if source != "platform" {
		x.connect(fmt.Sprintf("%sFEE%d", byokKey, serial.Add(1)), map[string]any{"provider": "openrouter", "billing_source": source})
	}
	if terms != nil {
		x.operatorCall(http.MethodPut, "/billing", terms, nil)
	}
	return x
}

func surcharge(bps, free int64) map[string]any {
	return map[string]any{"model": "optional_surcharge", "surcharge_bps": bps, "free_requests_per_month": free}
}

// bpsOf is a surcharge on the seeded prices of the simulated model, 1 and 2
// micro-credits a token, rounded up once.
func bpsOf(b bill, bps int64) int64 { return ((b.Usage.Input+2*b.Usage.Output)*bps + 9999) / 10_000 }

// fees are the fee entries by request; usage entries of own keys must be 0.
func (x *tenant) fees() map[string]int64 {
	x.t.Helper()
	out := map[string]int64{}
	for _, e := range x.entries() {
		switch {
		case e.Kind == "usage" && e.BillingSource != "platform" && e.Amount != 0:
			x.t.Errorf("usage on an own key cost %+v", e)
		case e.Kind == "fee":
			if _, again := out[e.RequestID]; again || len(e.Legs) != 2 || e.Legs[0].Account != "org:credits" || e.Legs[1].Account != "revenue:fee" || e.Legs[1].Amount != -e.Amount {
				x.t.Errorf("fee entry %+v", e)
			}
			out[e.RequestID] = -e.Amount
		}
	}
	return out
}

// TestFeesOnOwnKeys: a surcharge of 5 % on own keys is exactly that, rounded up once
// per request, in an entry of its own; what cannot be priced or paid is not sent.
func TestFeesOnOwnKeys(t *testing.T) {
	x := own(t, "byok", 1_000_000, surcharge(500, 0))
	want := map[string]int64{}
	for i, text := range []string{"one", "a longer question about nothing in particular, to be sure", "three"} {
		got := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, text, i == 1))
		if got.Header.Get("x-latchkey-billing-source") != "byok" {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		b := x.bill(got)
		id := got.Header.Get("x-request-id")
		if want[id] = bpsOf(b, 500); b.Cost != want[id] || b.Cost == 0 {
			t.Errorf("%s cost %d, want %d", id, b.Cost, want[id])
		}
	}
	x.consistent()
	if got := x.fees(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("fees %v, want %v", got, want)
	}
	x.projected(3)
	if v := x.billing(); v.Policy.Rule != "organisation_override" || v.Policy.SurchargeBPS != 500 || len(v.Rules) != 4 || v.Rules[3].Rule != "tier_default" || v.Used != 0 {
		t.Errorf("%+v", v)
	}
	vendor.Reset()
	if got := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openrouter/nobody-priced-this", "x", false)); got.code() != "price_missing" || len(vendor.Calls()) != 0 {
		t.Errorf("%d %s, %d calls", got.Status, got.Body, len(vendor.Calls()))
	}
	poor := own(t, "byok", 0, surcharge(500, 0))
	if got := post(t, world.BaseURL+"/v1/chat/completions", poor.Key, chatBody(simChat, "x", false)); got.code() != "insufficient_credits" ||
		got.Header.Get("x-latchkey-billing-rule") != "P8" || got.Header.Get("x-latchkey-billing-source") != "" || len(vendor.Calls()) != 0 {
		t.Errorf("%d %s, %d calls", got.Status, got.Body, len(vendor.Calls()))
	}
	// The organisation reads its terms and cannot set them.
	if err := x.admin.Call(t.Context(), http.MethodPut, "/api/orgs/"+x.ID+"/billing", map[string]any{"inherit": true}, nil); statusOf(err) != http.StatusForbidden {
		t.Errorf("an organisation set its own terms: %v", err)
	}
	var shown policyView
	runLK(t, &shown, "billing", "set", "--org", x.ID, "--inherit")
	if shown.Policy.Rule != "tier_default" || !shown.Policy.MigrationDefault {
		t.Errorf("%+v", shown)
	}
	if b := x.bill(post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "free again", false))); b.Cost != 0 {
		t.Errorf("cost %d", b.Cost)
	}
}

// TestFreeAllowance: within the allowance nothing is charged and no credit is needed;
// of calls that run at once at its end exactly those beyond it are charged.
func TestFreeAllowance(t *testing.T) {
	poor := own(t, "byok", 0, surcharge(10_000, 1000))
	for range 3 {
		if b := poor.bill(post(t, world.BaseURL+"/v1/chat/completions", poor.Key, chatBody(simChat, "free", false))); b.Cost != 0 {
			t.Errorf("cost %d inside the allowance", b.Cost)
		}
	}
	if v := poor.billing(); v.Used != 3 || len(poor.fees()) != 0 {
		t.Errorf("%+v, fees %v", v, poor.fees())
	}
	const calls, free = 20, 8
	x := own(t, "byok", 1_000_000, surcharge(10_000, free))
	ids := make([]answer, calls)
	parallel(calls, calls, func(i int) {
		ids[i] = post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "at the edge", false))
	})
	var cost int64
	charged := 0
	for _, a := range ids {
		b := x.bill(a)
		if cost += b.Cost; b.Cost != 0 {
			charged++
			if b.Cost != bpsOf(b, 10_000) {
				t.Errorf("cost %d, want %d", b.Cost, bpsOf(b, 10_000))
			}
		}
	}
	if got := x.fees(); charged != calls-free || len(got) != charged {
		t.Errorf("%d of %d charged, %d entries, want %d", charged, calls, len(got), calls-free)
	}
	if c := x.settled(); c.Posted != 1_000_000-cost || x.billing().Used != free {
		t.Errorf("posted %d after %d, %d counted", c.Posted, cost, x.billing().Used)
	}
	x.consistent()
	x.projected(calls)
}

// TestWhoPaysFees plays commercial policies x sources against the whole system: who
// pays is what it was without them, and a call on own means moves exactly its fee.
func TestWhoPaysFees(t *testing.T) {
	const flat, private = 700, 30
	price := func(b bill) int64 { return b.Usage.Input + 2*b.Usage.Output }
	for _, p := range []struct {
		name  string
		terms map[string]any
		byok  func(b bill) int64
		own   int64 // on own endpoints
	}{
		{"the tier's default", nil, nil, 0},
		{"flat", map[string]any{"model": "flat_platform_fee", "flat_fee": flat}, func(bill) int64 { return flat }, 0},
		{"flat, endpoints too", map[string]any{"model": "flat_platform_fee", "flat_fee": flat, "endpoint_fee": private}, func(bill) int64 { return flat }, private},
		{"surcharge", surcharge(333, 0), func(b bill) int64 { return bpsOf(b, 333) }, 0},
		{"surcharge, endpoints too", map[string]any{"model": "optional_surcharge", "surcharge_bps": 10_000, "endpoint_fee": private}, price, private},
		{"inside the allowance", surcharge(10_000, 5), nil, 0},
		{"bundled", map[string]any{"model": "tier_bundled"}, nil, 0},
	} {
		for source, rule := range map[string]string{"byok": "P5", "private": "P2", "platform": "P7"} {
			name := p.name + ", " + source
			x := own(t, source, 1_000_000, p.terms)
			got := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "who pays a fee", false))
			if got.Header.Get("x-latchkey-billing-source") != source || got.Header.Get("x-latchkey-billing-rule") != rule {
				t.Errorf("%s: %d %s %q", name, got.Status, got.Body, got.Header.Get("x-latchkey-billing-rule"))
				continue
			}
			b := x.bill(got)
			want, fee := int64(0), int64(0)
			switch source {
			case "platform":
				want = price(b)
			case "private":
				want, fee = p.own, p.own
			default:
				if p.byok != nil {
					want, fee = p.byok(b), p.byok(b)
				}
			}
			if b.Cost != want || x.fees()[got.Header.Get("x-request-id")] != fee {
				t.Errorf("%s: cost %d, fees %v, want %d", name, b.Cost, x.fees(), want)
			}
			if c := x.settled(); c.Posted != 1_000_000-want {
				t.Errorf("%s: posted %d, want %d less", name, c.Posted, want)
			}
			x.consistent()
			x.replays(name, got)
		}
	}
}

// replays checks that the stored decision comes out equal.
func (x *tenant) replays(name string, a answer) {
	x.t.Helper()
	var r struct{ Replays bool }
	if x.call(http.MethodGet, "/requests/"+a.Header.Get("x-request-id"), nil, &r); !r.Replays {
		x.t.Errorf("%s: the decision does not replay", name)
	}
}
