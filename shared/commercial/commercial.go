// Package commercial says what an organisation pays the platform for requests on
// its own keys (byok) and its own endpoints (private): the commercial policy.
//
// A policy has one of three models: a flat platform fee per request, an optional
// surcharge in basis points of what the call would have cost on platform credits,
// or nothing because the tier includes it. What a tier has without anybody's doing
// is a table, [Defaults], which charges nobody: it is safe to migrate with. An
// operator overrides it per tier, and per organisation. [Resolve] makes the policy
// that holds and names the rule that made it; the same arguments give the same
// policy and the same [Policy.Version]. [Policy.Fees] is what a decision
// (package billing) takes of it.
//
// [Metadata] and [FromMetadata] carry a policy through the payment vendor: what was
// agreed when something was bought can be read back there. Charges never follow
// from metadata, they follow from the stored overrides.
//
// Everything but [Service] is pure. Limits: fees are per request; a fee for a month
// is not charged here, it is part of a subscription's price.
package commercial

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Model is how requests on own keys are charged.
type Model string

// Models.
const (
	// FlatPlatformFee charges the same for each request.
	FlatPlatformFee Model = "flat_platform_fee"
	// OptionalSurcharge charges a part of the price of the call.
	OptionalSurcharge Model = "optional_surcharge"
	// TierBundled charges nothing: the tier includes own keys.
	TierBundled Model = "tier_bundled"
)

// ParseModel accepts exactly the three models.
func ParseModel(s string) (Model, bool) {
	switch m := Model(s); m {
	case FlatPlatformFee, OptionalSurcharge, TierBundled:
		return m, true
	}
	return "", false
}

// Bounds of terms.
const (
	// MaxFee is one credit per request. A larger figure is a fee for a month that
	// was taken for one per request.
	MaxFee billing.Micro = 1_000_000
	// MaxSurcharge is the whole price once more, in basis points.
	MaxSurcharge = 10_000
	// MaxFreeRequests bounds the free allowance of a month.
	MaxFreeRequests = 1_000_000_000
)

// Terms are what an operator sets, for a tier or for one organisation.
type Terms struct {
	Model Model
	// FlatFee is per request on an own key, in micro-credits; only with
	// [FlatPlatformFee].
	FlatFee billing.Micro
	// SurchargeBPS is in basis points (1/10,000) of the price; only with
	// [OptionalSurcharge].
	SurchargeBPS int64
	// PrivateFee is per request on an own endpoint, in micro-credits. A surcharge
	// does not exist there: nobody has a price for somebody else's machine.
	PrivateFee billing.Micro
	// FreeRequests of each calendar month (UTC) are not charged.
	FreeRequests int64
}

// Check refuses terms that contradict themselves or are out of bounds, as
// invalid_request with the field as parameter.
func (t Terms) Check() error {
	if _, ok := ParseModel(string(t.Model)); !ok {
		return invalid("model", "model must be flat_platform_fee, optional_surcharge or tier_bundled")
	}
	switch {
	case t.FlatFee < 0 || t.FlatFee > MaxFee:
		return invalid("flat_fee", "flat_fee must be 0 to 1,000,000 micro-credits per request")
	case t.PrivateFee < 0 || t.PrivateFee > MaxFee:
		return invalid("endpoint_fee", "endpoint_fee must be 0 to 1,000,000 micro-credits per request")
	case t.SurchargeBPS < 0 || t.SurchargeBPS > MaxSurcharge:
		return invalid("surcharge_bps", "surcharge_bps must be 0 to 10,000 basis points")
	case t.FreeRequests < 0 || t.FreeRequests > MaxFreeRequests:
		return invalid("free_requests_per_month", "free_requests_per_month must be 0 to 1,000,000,000")
	case t.FlatFee != 0 && t.Model != FlatPlatformFee:
		return invalid("flat_fee", "only the model flat_platform_fee has a flat_fee")
	case t.SurchargeBPS != 0 && t.Model != OptionalSurcharge:
		return invalid("surcharge_bps", "only the model optional_surcharge has a surcharge_bps")
	case t.PrivateFee != 0 && t.Model == TierBundled:
		return invalid("endpoint_fee", "the model tier_bundled charges nothing")
	}
	return nil
}

// charges reports whether any request can cost anything.
func (t Terms) charges() bool { return t.FlatFee != 0 || t.SurchargeBPS != 0 || t.PrivateFee != 0 }

// Rule names how a policy came about.
type Rule string

// Rules, the strongest first.
const (
	RuleOrganisation Rule = "organisation_override"
	RuleTier         Rule = "tier_override"
	RuleDefault      Rule = "tier_default"
	// RuleUnknownTier is the default of free, for a tier that is none.
	RuleUnknownTier Rule = "unknown_tier_as_free"
	// RuleMetadata is a policy as a payment carried it.
	RuleMetadata Rule = "payment_metadata"
)

// Policy is what holds for an organisation.
type Policy struct {
	// Tier is the tier as it was given, Normalised the one whose row applies.
	Tier       string
	Normalised taxonomy.Tier
	Terms
	// Eligible says that the tier includes own keys at all; which do is a feature
	// of the tier and set there.
	Eligible bool
	// MigrationDefault says that nobody has set these terms.
	MigrationDefault bool
	Rule             Rule
}

// Bundled says that the tier's price includes own keys.
func (p Policy) Bundled() bool { return p.Model == TierBundled }

// Version names the values of the policy; equal policies have equal versions.
func (p Policy) Version() string {
	b := make([]byte, 0, 160)
	for _, s := range [...]string{string(p.Normalised), string(p.Model), string(p.Rule), strconv.FormatBool(p.Eligible)} {
		b = append(append(b, s...), '|')
	}
	for _, n := range [...]int64{int64(p.FlatFee), p.SurchargeBPS, int64(p.PrivateFee), p.FreeRequests} {
		b = append(strconv.AppendInt(b, n, 10), '|')
	}
	sum := sha256.Sum256(b)
	return "c" + hex.EncodeToString(sum[:6])
}

// Tiers are an operator's terms for tiers; a tier without any has those of
// [Defaults]. The zero value overrides nothing.
type Tiers map[taxonomy.Tier]Terms

// row is one line of the table of defaults.
type row struct {
	tier    taxonomy.Tier
	display string
	model   Model
}

// defaults is the table that existing organisations move with.
var defaults = [...]row{
	{taxonomy.Free, "Free", FlatPlatformFee},
	{taxonomy.Pro, "Pro", FlatPlatformFee},
	{taxonomy.Agency, "Scale", TierBundled},
	{taxonomy.Enterprise, "Enterprise", OptionalSurcharge},
}

// Display is the name under which a tier is sold.
func Display(t taxonomy.Tier) string {
	for _, r := range defaults {
		if r.tier == t {
			return r.display
		}
	}
	return string(t)
}

// Normalise maps the names of tiers that stored data knows to the four tiers; an
// unknown one is free, with ok false.
func Normalise(tier string) (t taxonomy.Tier, ok bool) {
	switch name := strings.ToLower(strings.TrimSpace(tier)); name {
	case "starter", "professional", "community":
		return taxonomy.Pro, true
	default:
		if t, ok = taxonomy.ParseTier(name); !ok {
			t = taxonomy.Free
		}
		return t, ok
	}
}

// Resolve makes the policy of an organisation: its own terms, else the operator's
// for its tier, else the default of the tier. eligible says whether the tier
// includes own keys.
func Resolve(tier string, eligible bool, tiers Tiers, own *Terms) Policy {
	t, known := Normalise(tier)
	p := Policy{Tier: tier, Normalised: t, Eligible: eligible, Rule: RuleDefault}
	if !known {
		p.Rule = RuleUnknownTier
	}
	over, overridden := tiers[t]
	switch {
	case own != nil:
		p.Terms, p.Rule = *own, RuleOrganisation
	case overridden && known:
		p.Terms, p.Rule = over, RuleTier
	default:
		for _, r := range defaults {
			if r.tier == t {
				p.Model, p.MigrationDefault = r.model, true
			}
		}
	}
	return p
}

// Table lists the policies of all tiers, from the smallest up. eligible may be nil:
// then it is as shipped.
func Table(tiers Tiers, eligible func(taxonomy.Tier) bool) []Policy {
	out := make([]Policy, len(defaults))
	for i, r := range defaults {
		can := taxonomy.DefaultFeatures(r.tier).BYOK
		if eligible != nil {
			can = eligible(r.tier)
		}
		out[i] = Resolve(string(r.tier), can, tiers, nil)
	}
	return out
}

// Summary says in a sentence what the policy means.
func (p Policy) Summary() string {
	if !p.Eligible {
		return "Own keys are not part of this tier."
	}
	if p.Bundled() {
		return "Own keys are part of the tier's price."
	}
	if !p.charges() {
		return "Own keys are allowed and cost nothing."
	}
	var parts []string
	if p.FlatFee != 0 {
		parts = append(parts, strconv.FormatInt(int64(p.FlatFee), 10)+" micro-credits per request on an own key")
	}
	if p.SurchargeBPS != 0 {
		parts = append(parts, strconv.FormatInt(p.SurchargeBPS, 10)+" basis points of the model's price per request on an own key")
	}
	if p.PrivateFee != 0 {
		parts = append(parts, strconv.FormatInt(int64(p.PrivateFee), 10)+" micro-credits per request on an own endpoint")
	}
	s := strings.Join(parts, " and ")
	if p.FreeRequests != 0 {
		s += ", after " + strconv.FormatInt(p.FreeRequests, 10) + " free requests a month"
	}
	return s + "."
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "commercial", message).WithParam(param)
}

// Fees is what a decision takes of the policy. The model says which number counts.
func (p Policy) Fees() billing.Fees {
	f := billing.Fees{Policy: p.Version(), PrivateFee: p.PrivateFee, FreeRequests: p.FreeRequests}
	switch p.Model {
	case FlatPlatformFee:
		f.FlatFee = p.FlatFee
	case OptionalSurcharge:
		f.SurchargeBPS = p.SurchargeBPS
	default:
		f.PrivateFee = 0
	}
	return f
}
