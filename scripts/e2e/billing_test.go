package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/billing"
)

// connectionState is what an organisation has for the model in question.
type connectionState struct {
	name     string
	source   string // empty = no connection
	usable   bool
	fallback bool // allowed by the connection and the organisation
	spoil    func(x *tenant, id string)
}

func disable(x *tenant, id string) {
	x.call(http.MethodPatch, "/connections/"+id, map[string]any{"enabled": false}, nil)
}

func revoke(x *tenant, id string) {
	x.call(http.MethodPost, "/connections/"+id+"/revoke", map[string]any{}, nil)
}

var connectionStates = []connectionState{
	{name: "none"},
	{name: "byok", source: "byok", usable: true},
	{name: "byok with fallback", source: "byok", usable: true, fallback: true},
	{name: "private", source: "private", usable: true},
	{name: "disabled", source: "byok", spoil: disable},
	{name: "disabled with fallback", source: "byok", fallback: true, spoil: disable},
	{name: "revoked", source: "byok", spoil: revoke},
}

// verdict is what a call is to be answered with; code is empty for 200.
type verdict struct{ code, source, rule string }

// payer is who has to pay, written from the contract: it shares nothing with the
// policy table.
func payer(tierBYOK bool, preference string, s connectionState, forced string) verdict {
	denied := func(rule string) verdict { return verdict{"billing_denied", "", rule} }
	unavailable := verdict{"byok_unavailable", "", "P4"}
	own := verdict{"", s.source, map[string]string{"byok": "P5", "private": "P2"}[s.source]}
	demanded := own
	if s.source == "byok" {
		demanded.rule = "P3"
	}
	switch forced {
	case "platform":
		if preference == "byok_required" {
			return denied("P1")
		}
		return verdict{"", "platform", "P7"}
	case "byok", "private":
		switch {
		case !tierBYOK || preference == "platform_only":
			return denied("P1")
		case !s.usable:
			return unavailable
		case s.source != forced:
			return denied("P1")
		}
		return demanded
	}
	switch preference {
	case "platform_only":
		return verdict{"", "platform", "P7"}
	case "byok_required":
		switch {
		case !tierBYOK:
			return denied("P9")
		case !s.usable:
			return unavailable
		}
		return demanded
	}
	switch {
	case s.source == "":
		return verdict{"", "platform", "P7"}
	case tierBYOK && s.usable:
		return own
	case s.fallback:
		return verdict{"", "platform", "P6"}
	case s.usable:
		return denied("P9") // the tier lost its keys
	}
	return unavailable
}

// TestWhoPays plays tier x preference x connection x forced source against the
// whole system, with the money of each.
func TestWhoPays(t *testing.T) {
	cells := 0
	for _, tier := range []string{"enterprise", "free"} {
		for i, s := range connectionStates {
			key := fmt.Sprintf("%sPAY%s%d", byokKey, tier, i)
			x := newTenant(t, "enterprise", 10_000_000)
			if s.source != "" {
				c := x.connect(key, map[string]any{"provider": "openrouter", "billing_source": s.source, "allow_platform_fallback": s.fallback})
				if s.spoil != nil {
					s.spoil(x, c.ID)
				}
			}
			// The connection stays when the tier loses its keys.
			x.operatorCall(http.MethodPatch, "", map[string]any{"tier": tier}, nil)
			var spent int64
			served := map[string]int{}
			for _, preference := range []string{"byok_preferred", "byok_required", "platform_only"} {
				x.call(http.MethodPut, "/settings", map[string]any{"billing_preference": preference, "allow_platform_fallback": s.fallback}, nil)
				for _, forced := range []string{"", "platform", "byok", "private"} {
					name := fmt.Sprintf("%s, %s, connection %s, forced %q", tier, preference, s.name, forced)
					want := payer(tier == "enterprise", preference, s, forced)
					spent += x.pays(name, key, forced, want)
					if want.code == "" {
						served[want.source]++
					}
					cells++
				}
			}
			x.consistent()
			x.billed(tier+", connection "+s.name, served, spent)
		}
	}
	t.Logf("%d cells", cells)
}

// pays makes one call and compares answer, vendor and stored request with what is
// wanted. It returns what the call cost.
func (x *tenant) pays(name, key, forced string, want verdict) int64 {
	x.t.Helper()
	var headers []string
	if forced != "" {
		headers = []string{"x-latchkey-billing", forced}
	}
	vendor.Reset()
	got := post(x.t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "who pays", false), headers...)
	if got.code() != want.code || (got.Status == http.StatusOK) != (want.code == "") || got.Header.Get("x-latchkey-billing-source") != want.source ||
		got.Header.Get("x-latchkey-billing-rule") != want.rule {
		x.t.Errorf("%s: want %+v, got %d %s source %q rule %q", name, want, got.Status, got.Body, got.Header.Get("x-latchkey-billing-source"), got.Header.Get("x-latchkey-billing-rule"))
	}
	for _, header := range []string{"X-Latchkey-Billing-Source", "X-Latchkey-Billing-Rule"} {
		if len(got.Header[header]) != 1 {
			x.t.Errorf("%s: %s is %q", name, header, got.Header[header])
		}
	}
	calls, path := vendor.Calls(), "/requests/"+got.Header.Get("x-request-id")
	if want.code != "" {
		// What is denied has no call, no hold, no record.
		if err := x.admin.Call(x.t.Context(), http.MethodGet, "/api/orgs/"+x.ID+path, nil, nil); len(calls) != 0 || statusOf(err) != http.StatusNotFound {
			x.t.Errorf("%s: denied, but %d calls, request: %v", name, len(calls), err)
		}
		return 0
	}
	if want.source == "platform" {
		key = platformKey
	}
	if len(calls) != 1 || calls[0].KeyHash != mockvendor.Hash(key) {
		x.t.Errorf("%s: the vendor saw %+v", name, calls)
	}
	var r struct {
		Cost     int64
		State    string
		Replays  bool
		Attempts []struct {
			BillingSource string `json:"billing_source"`
			Rule          string
			DecisionHash  string `json:"decision_hash"`
			Hold          int64
			Decision      struct {
				Replay string
				Inputs billing.Record
			}
		}
	}
	eventually(x.t, name+": settled", func() bool { x.call(http.MethodGet, path, nil, &r); return r.State == "SETTLED" })
	if len(r.Attempts) != 1 || !r.Replays {
		x.t.Errorf("%s: %+v", name, r)
		return r.Cost
	}
	a := r.Attempts[0]
	if platform := want.source == "platform"; a.BillingSource != want.source || a.Rule != want.rule || (a.Hold > 0) != platform || (r.Cost > 0) != platform {
		x.t.Errorf("%s: stored %+v, cost %d", name, a, r.Cost)
	}
	// The inputs as they are shown hash to the stored hash, and decide the same.
	shown, err := json.Marshal(a.Decision.Inputs)
	must(x.t, err)
	sum := sha256.Sum256(shown)
	again, err := billing.Recompute(shown)
	if err != nil || hex.EncodeToString(sum[:]) != a.DecisionHash || again.Hash != a.DecisionHash || string(again.Decision.Source) != want.source ||
		again.Decision.Rule != want.rule || a.Decision.Replay != "equal" {
		x.t.Errorf("%s: %s gives %+v %v, stored %+v", name, shown, again, err, a)
	}
	return r.Cost
}

// billed compares the journal with what was served.
func (x *tenant) billed(name string, served map[string]int, spent int64) {
	x.t.Helper()
	total := 0
	for _, n := range served {
		total += n
	}
	var usage []entry
	eventually(x.t, name+": an entry for each answer", func() bool {
		usage = nil
		for _, e := range x.entries() {
			if e.Kind == "usage" {
				usage = append(usage, e)
			}
		}
		return len(usage) >= total
	})
	seen := map[string]int{}
	for _, e := range usage {
		seen[e.BillingSource]++
		if (e.Amount < 0) != (e.BillingSource == "platform") {
			x.t.Errorf("%s: %+v", name, e)
		}
	}
	if fmt.Sprint(seen) != fmt.Sprint(served) {
		x.t.Errorf("%s: entries %v, served %v", name, seen, served)
	}
	if c := x.settled(); c.Posted != 10_000_000-spent {
		x.t.Errorf("%s: posted %d, spent %d", name, c.Posted, spent)
	}
}

// TestRefusedFundsAreNamed: without credits the rule says so, and nobody pays.
func TestRefusedFundsAreNamed(t *testing.T) {
	x := newTenant(t, "free", 0)
	vendor.Reset()
	got := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "no funds", false))
	if got.code() != "insufficient_credits" || got.Header.Get("x-latchkey-billing-rule") != "P8" || got.Header.Get("x-latchkey-billing-source") != "" ||
		got.Header.Get("x-latchkey-fallback") != simChat+":insufficient_credits" || len(vendor.Calls()) != 0 {
		t.Errorf("%d %s %v", got.Status, got.Body, got.Header)
	}
	// A vendor that fails is not the one who decides: the decision stands.
	y := newTenant(t, "free", 1_000_000)
	vendor.Fail(&mockvendor.Failure{Status: 500, Body: `oops`})
	failed := post(t, world.BaseURL+"/v1/chat/completions", y.Key, chatBody(simChat, "fails", false))
	vendor.Fail(nil)
	if failed.code() != "provider_error" || failed.Header.Get("x-latchkey-billing-rule") != "P7" || failed.Header.Get("x-latchkey-billing-source") != "platform" {
		t.Errorf("%d %s %v", failed.Status, failed.Body, failed.Header)
	}
	if c := y.settled(); c.Posted != 1_000_000 {
		t.Errorf("a failed call was charged: %+v", c)
	}
	// Where nothing was decided the headers are there, and empty.
	stranger := post(t, world.BaseURL+"/v1/chat/completions", "lk_nobody_k1_x", chatBody(simChat, "x", false))
	for _, header := range []string{"X-Latchkey-Billing-Source", "X-Latchkey-Billing-Rule"} {
		if v := stranger.Header[header]; stranger.Status != http.StatusUnauthorized || len(v) != 1 || v[0] != "" {
			t.Errorf("%d %s %q", stranger.Status, header, v)
		}
	}
}
