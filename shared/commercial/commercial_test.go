package commercial

import (
	"fmt"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestDefaults is the table that existing organisations move with, line by line.
func TestDefaults(t *testing.T) {
	want := []string{
		"free flat_platform_fee eligible=false fee=0 bps=0 private=0 free=0 bundled=false migration=true tier_default",
		"pro flat_platform_fee eligible=false fee=0 bps=0 private=0 free=0 bundled=false migration=true tier_default",
		"agency tier_bundled eligible=true fee=0 bps=0 private=0 free=0 bundled=true migration=true tier_default",
		"enterprise optional_surcharge eligible=true fee=0 bps=0 private=0 free=0 bundled=false migration=true tier_default",
	}
	for i, p := range Table(nil, nil) {
		if got := line(p); got != want[i] {
			t.Errorf("row %d\n got %s\nwant %s", i, got, want[i])
		}
		if f := p.Fees(); f.Any() {
			t.Errorf("the default of %s charges: %+v", p.Tier, f)
		}
	}
}

func line(p Policy) string {
	return fmt.Sprintf("%s %s eligible=%t fee=%d bps=%d private=%d free=%d bundled=%t migration=%t %s", p.Normalised, p.Model, p.Eligible,
		p.FlatFee, p.SurchargeBPS, p.PrivateFee, p.FreeRequests, p.Bundled(), p.MigrationDefault, p.Rule)
}

// TestResolve names the rule of each outcome.
func TestResolve(t *testing.T) {
	tiers := Tiers{
		taxonomy.Enterprise: {Model: OptionalSurcharge, SurchargeBPS: 500, FreeRequests: 1_000_000},
		taxonomy.Free:       {Model: FlatPlatformFee, FlatFee: 7},
		taxonomy.Pro:        {Model: FlatPlatformFee, FlatFee: 9},
	}
	own := &Terms{Model: FlatPlatformFee, FlatFee: 20_000, PrivateFee: 5}
	for _, c := range []struct {
		name, tier string
		own        *Terms
		want       string
	}{
		{"the operator's terms of the tier", "enterprise", nil, "enterprise optional_surcharge eligible=true fee=0 bps=500 private=0 free=1000000 bundled=false migration=false tier_override"},
		{"the organisation's terms are stronger", "enterprise", own, "enterprise flat_platform_fee eligible=true fee=20000 bps=0 private=5 free=0 bundled=false migration=false organisation_override"},
		{"a tier without terms", "agency", nil, "agency tier_bundled eligible=true fee=0 bps=0 private=0 free=0 bundled=true migration=true tier_default"},
		{"an older name", "Professional ", nil, "pro flat_platform_fee eligible=true fee=9 bps=0 private=0 free=0 bundled=false migration=false tier_override"},
		{"an unknown tier is free, and nobody set terms for it", "platinum", nil, "free flat_platform_fee eligible=true fee=0 bps=0 private=0 free=0 bundled=false migration=true unknown_tier_as_free"},
		{"no tier", "", nil, "free flat_platform_fee eligible=true fee=0 bps=0 private=0 free=0 bundled=false migration=true unknown_tier_as_free"},
	} {
		if got := line(Resolve(c.tier, true, tiers, c.own)); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	for alias, want := range map[string]taxonomy.Tier{"starter": taxonomy.Pro, "community": taxonomy.Pro, "ENTERPRISE": taxonomy.Enterprise, "agency": taxonomy.Agency, "free": taxonomy.Free} {
		if got, ok := Normalise(alias); got != want || !ok {
			t.Errorf("%s is %s, %t", alias, got, ok)
		}
	}
}

// TestTermsCheck refuses what contradicts itself, by field.
func TestTermsCheck(t *testing.T) {
	for _, c := range []struct {
		terms Terms
		field string
	}{
		{Terms{Model: FlatPlatformFee, FlatFee: MaxFee, PrivateFee: MaxFee, FreeRequests: MaxFreeRequests}, ""},
		{Terms{Model: OptionalSurcharge, SurchargeBPS: MaxSurcharge, PrivateFee: 1}, ""},
		{Terms{Model: TierBundled, FreeRequests: 5}, ""},
		{Terms{}, "model"},
		{Terms{Model: "bundled"}, "model"},
		{Terms{Model: FlatPlatformFee, FlatFee: MaxFee + 1}, "flat_fee"},
		{Terms{Model: FlatPlatformFee, FlatFee: -1}, "flat_fee"},
		{Terms{Model: OptionalSurcharge, FlatFee: 1}, "flat_fee"},
		{Terms{Model: TierBundled, FlatFee: 1}, "flat_fee"},
		{Terms{Model: OptionalSurcharge, SurchargeBPS: MaxSurcharge + 1}, "surcharge_bps"},
		{Terms{Model: OptionalSurcharge, SurchargeBPS: -1}, "surcharge_bps"},
		{Terms{Model: FlatPlatformFee, SurchargeBPS: 1}, "surcharge_bps"},
		{Terms{Model: TierBundled, SurchargeBPS: 1}, "surcharge_bps"},
		{Terms{Model: FlatPlatformFee, PrivateFee: -1}, "endpoint_fee"},
		{Terms{Model: FlatPlatformFee, PrivateFee: MaxFee + 1}, "endpoint_fee"},
		{Terms{Model: TierBundled, PrivateFee: 1}, "endpoint_fee"},
		{Terms{Model: TierBundled, FreeRequests: -1}, "free_requests_per_month"},
		{Terms{Model: FlatPlatformFee, FreeRequests: MaxFreeRequests + 1}, "free_requests_per_month"},
	} {
		err := c.terms.Check()
		if c.field == "" {
			if err != nil {
				t.Errorf("%+v: %v", c.terms, err)
			}
			continue
		}
		if f := fault.As(err); err == nil || f.Code != fault.InvalidRequest || f.Param != c.field {
			t.Errorf("%+v: %v, want invalid_request of %s", c.terms, err, c.field)
		}
	}
}

// TestVersion changes with every value that a decision depends on, and with
// nothing else.
func TestVersion(t *testing.T) {
	base := Policy{Tier: "enterprise", Normalised: taxonomy.Enterprise, Terms: Terms{Model: OptionalSurcharge, SurchargeBPS: 500}, Eligible: true, Rule: RuleTier}
	if again := base; again.Version() != base.Version() {
		t.Error("the same policy has two versions")
	}
	named := base
	named.Tier = "Enterprise"
	if named.Version() != base.Version() {
		t.Error("the spelling of the tier is part of the version")
	}
	seen := map[string]string{base.Version(): "base"}
	for name, change := range map[string]func(*Policy){
		"tier":     func(p *Policy) { p.Normalised = taxonomy.Agency },
		"model":    func(p *Policy) { p.Model = FlatPlatformFee },
		"rule":     func(p *Policy) { p.Rule = RuleOrganisation },
		"eligible": func(p *Policy) { p.Eligible = false },
		"flat":     func(p *Policy) { p.FlatFee = 500 },
		"bps":      func(p *Policy) { p.SurchargeBPS = 501 },
		"private":  func(p *Policy) { p.PrivateFee = 500 },
		"free":     func(p *Policy) { p.FreeRequests = 500 },
	} {
		p := base
		change(&p)
		if was := seen[p.Version()]; was != "" {
			t.Errorf("%s has the version of %s", name, was)
		}
		seen[p.Version()] = name
	}
}

// TestFees: the model says which number counts.
func TestFees(t *testing.T) {
	p := Resolve("enterprise", true, nil, &Terms{Model: OptionalSurcharge, SurchargeBPS: 500, PrivateFee: 3, FreeRequests: 9})
	if f := p.Fees(); f.SurchargeBPS != 500 || f.FlatFee != 0 || f.PrivateFee != 3 || f.FreeRequests != 9 || f.Policy != p.Version() {
		t.Errorf("%+v", f)
	}
	// What stored terms say beyond their model charges nobody.
	p.Model = TierBundled
	if f := p.Fees(); f.Any() {
		t.Errorf("a bundled policy charges: %+v", f)
	}
	p.Terms = Terms{Model: FlatPlatformFee, FlatFee: 4, SurchargeBPS: 500}
	if f := p.Fees(); f.FlatFee != 4 || f.SurchargeBPS != 0 {
		t.Errorf("%+v", f)
	}
}

func TestSummary(t *testing.T) {
	for want, p := range map[string]Policy{
		"Own keys are not part of this tier.":    Resolve("pro", false, nil, nil),
		"Own keys are part of the tier's price.": Resolve("agency", true, nil, nil),
		"Own keys are allowed and cost nothing.": Resolve("enterprise", true, nil, nil),
		"20000 micro-credits per request on an own key and 5 micro-credits per request on an own endpoint.": Resolve("pro", true, nil,
			&Terms{Model: FlatPlatformFee, FlatFee: 20_000, PrivateFee: 5}),
		"500 basis points of the model's price per request on an own key, after 1000 free requests a month.": Resolve("enterprise", true, nil,
			&Terms{Model: OptionalSurcharge, SurchargeBPS: 500, FreeRequests: 1000}),
	} {
		if got := p.Summary(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
