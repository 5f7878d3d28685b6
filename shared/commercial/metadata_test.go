package commercial

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestMetadataForm holds the form that existing payments carry.
func TestMetadataForm(t *testing.T) {
	p := Resolve("starter", false, nil, &Terms{Model: FlatPlatformFee, FlatFee: 25_001, PrivateFee: 5, FreeRequests: 1000})
	want := map[string]string{
		"byokPolicyTier": "starter", "byokPolicyNormalizedTier": "pro", "byokCommercialModel": "flat_platform_fee", "byokEligible": "false",
		"byokFlatPlatformFeeCents": "3", "byokOptionalSurchargeBps": "0", "byokBundledInTier": "false", "byokMigrationDefault": "false",
		"byokFlatPlatformFeeMicro": "25001", "byokPrivateFeeMicro": "5", "byokFreeRequestsPerMonth": "1000", "byokPolicyVersion": p.Version(),
	}
	got := Metadata(p)
	if !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	for k, v := range got {
		// docs.stripe.com/api/metadata, read 2026-11: 50 keys, 40 and 500 characters.
		if len(k) > 40 || len(v) > 500 {
			t.Errorf("%s is too long", k)
		}
	}
}

// TestMetadataRoundTrip: every policy that can be set comes back as it was.
func TestMetadataRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	names := []string{"free", "pro", "starter", "professional", "community", "agency", "enterprise"}
	for i := range 3000 {
		terms := randomTerms(r)
		name := names[r.IntN(len(names))]
		p := Resolve(name, r.IntN(2) == 0, nil, &terms)
		if r.IntN(4) == 0 {
			p = Resolve(name, p.Eligible, nil, nil)
		}
		got, problem := FromMetadata(Metadata(p), "enterprise", Tiers{taxonomy.Enterprise: {Model: TierBundled}})
		want := p
		want.Rule = RuleMetadata
		if got != want || problem != "" {
			t.Fatalf("case %d: got %+v (%s)\nwant %+v", i, got, problem, want)
		}
	}
}

func randomTerms(r *rand.Rand) Terms {
	terms := Terms{FreeRequests: r.Int64N(3) * 1000}
	switch r.IntN(3) {
	case 0:
		terms.Model, terms.FlatFee, terms.PrivateFee = FlatPlatformFee, billing.Micro(r.Int64N(int64(MaxFee)+1)), billing.Micro(r.Int64N(50))
	case 1:
		terms.Model, terms.SurchargeBPS, terms.PrivateFee = OptionalSurcharge, r.Int64N(MaxSurcharge+1), billing.Micro(r.Int64N(50))
	default:
		terms.Model = TierBundled
	}
	return terms
}

// TestFromMetadata: the tier is what the rest falls back to, and what cannot be
// right is not used at all.
func TestFromMetadata(t *testing.T) {
	tiers := Tiers{taxonomy.Enterprise: {Model: OptionalSurcharge, SurchargeBPS: 300, FreeRequests: 10}}
	enterprise := "enterprise optional_surcharge eligible=true fee=0 bps=300 private=0 free=10 bundled=false migration=false tier_override"
	for _, c := range []struct {
		name    string
		md      map[string]string
		want    string
		problem string
	}{
		{"nothing", nil, enterprise, ""},
		{"keys of others", map[string]string{"order": "1"}, enterprise, ""},
		{"the tier alone", map[string]string{metaTier: "agency"}, "agency tier_bundled eligible=true fee=0 bps=0 private=0 free=0 bundled=true migration=true payment_metadata", ""},
		{"an existing payment", map[string]string{metaTier: "professional", metaNormalised: "pro", metaModel: "flat_platform_fee", metaEligible: "false", metaFeeCents: "2", metaSurcharge: "0", metaBundled: "false", metaDefault: "true"},
			"pro flat_platform_fee eligible=false fee=20000 bps=0 private=0 free=0 bundled=false migration=true payment_metadata", ""},
		{"one number over the tier's terms", map[string]string{metaSurcharge: "225"}, "enterprise optional_surcharge eligible=true fee=0 bps=225 private=0 free=10 bundled=false migration=false payment_metadata", ""},
		{"another model drops the numbers of the tier's", map[string]string{metaModel: "flat_platform_fee"}, "enterprise flat_platform_fee eligible=true fee=0 bps=0 private=0 free=10 bundled=false migration=false payment_metadata", ""},
		{"an unknown tier", map[string]string{metaTier: "platinum", metaSurcharge: "1"}, enterprise, metaTier},
		{"a normalised tier that is not the tier's", map[string]string{metaTier: "starter", metaNormalised: "enterprise"}, enterprise, metaNormalised},
		{"an unknown model", map[string]string{metaModel: "free_for_all"}, enterprise, metaModel},
		{"a word that is no truth", map[string]string{metaEligible: "yes"}, enterprise, metaEligible},
		{"bundled against the model", map[string]string{metaBundled: "true"}, enterprise, metaBundled},
		{"a negative number", map[string]string{metaSurcharge: "-5"}, enterprise, metaSurcharge},
		{"a number with a sign", map[string]string{metaSurcharge: "+5"}, enterprise, metaSurcharge},
		{"a fraction", map[string]string{metaSurcharge: "2.5"}, enterprise, metaSurcharge},
		{"a number that overflows", map[string]string{metaFree: "9223372036854775808"}, enterprise, metaFree},
		{"a fee for a month, in cents", map[string]string{metaTier: "pro", metaFeeCents: "2900"}, enterprise, metaModel},
		{"a fee against the model", map[string]string{metaFee: "5"}, enterprise, metaModel},
	} {
		p, problem := FromMetadata(c.md, "enterprise", tiers)
		if got := line(p); got != c.want || problem != c.problem {
			t.Errorf("%s\n got %s (%q)\nwant %s (%q)", c.name, got, problem, c.want, c.problem)
		}
	}
}

// FuzzFromMetadata: no metadata makes a policy that could not be set.
func FuzzFromMetadata(f *testing.F) {
	f.Add("enterprise", "byokPolicyTier=starter\nbyokFlatPlatformFeeCents=2\nbyokPolicyNormalizedTier=pro")
	f.Add("free", "byokOptionalSurchargeBps=225\nbyokCommercialModel=optional_surcharge")
	f.Add("agency", "byokBundledInTier=true\nbyokMigrationDefault=false\nbyokFreeRequestsPerMonth=10")
	f.Add("", "byokFlatPlatformFeeMicro=99999999999999999999")
	f.Fuzz(func(t *testing.T, tier, lines string) {
		md := map[string]string{}
		for _, l := range strings.Split(lines, "\n") {
			if k, v, ok := strings.Cut(l, "="); ok {
				md[k] = v
			}
		}
		p, problem := FromMetadata(md, tier, nil)
		if err := p.Terms.Check(); err != nil {
			t.Errorf("%v gives %+v: %v", md, p, err)
		}
		if problem != "" && p.Rule == RuleMetadata {
			t.Errorf("%v is wrong at %s and was used", md, problem)
		}
		if again, _ := FromMetadata(Metadata(p), tier, nil); again.Terms != p.Terms || again.Normalised != p.Normalised {
			if _, known := Normalise(p.Tier); known {
				t.Errorf("%+v comes back as %+v", p, again)
			}
		}
	})
}
