package commercial

import (
	"strconv"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Keys of a policy in the metadata of a payment. The first eight are those that
// existing payments carry; cents are whole there, so the fee stands beside them in
// micro-credits.
const (
	metaTier       = "byokPolicyTier"
	metaNormalised = "byokPolicyNormalizedTier"
	metaModel      = "byokCommercialModel"
	metaEligible   = "byokEligible"
	metaFeeCents   = "byokFlatPlatformFeeCents"
	metaSurcharge  = "byokOptionalSurchargeBps"
	metaBundled    = "byokBundledInTier"
	metaDefault    = "byokMigrationDefault"

	metaFee     = "byokFlatPlatformFeeMicro"
	metaPrivate = "byokPrivateFeeMicro"
	metaFree    = "byokFreeRequestsPerMonth"
	metaVersion = "byokPolicyVersion"
)

// microPerCent converts the fee of existing payments.
const microPerCent = 10_000

// Metadata writes a policy for the metadata of a payment: twelve keys, all values
// short. The fee in cents is rounded up.
func Metadata(p Policy) map[string]string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	return map[string]string{
		metaTier: p.Tier, metaNormalised: string(p.Normalised), metaModel: string(p.Model),
		metaEligible: strconv.FormatBool(p.Eligible), metaBundled: strconv.FormatBool(p.Bundled()),
		metaDefault:   strconv.FormatBool(p.MigrationDefault),
		metaFeeCents:  number((int64(p.FlatFee) + microPerCent - 1) / microPerCent),
		metaFee:       number(int64(p.FlatFee)),
		metaSurcharge: number(p.SurchargeBPS), metaPrivate: number(int64(p.PrivateFee)), metaFree: number(p.FreeRequests),
		metaVersion: p.Version(),
	}
}

// FromMetadata reads a policy back. What the metadata does not say comes from the
// tier that it names, or from tier if it names none; tiers are the operator's terms.
// Metadata that cannot be right is not used at all: then the policy is that of the
// tier, and problem names the key. The rule is [RuleMetadata] only if the metadata
// said something.
func FromMetadata(metadata map[string]string, tier string, tiers Tiers) (p Policy, problem string) {
	r := metaReader{from: metadata}
	name, named := metadata[metaTier]
	if !named {
		name = tier
	} else if _, known := Normalise(name); !known {
		r.bad(metaTier)
	}
	fallback := Resolve(tier, eligibleByDefault(tier), tiers, nil)
	if r.problem != "" {
		return fallback, r.problem
	}
	p = Resolve(name, eligibleByDefault(name), tiers, nil)
	seed := p.Terms
	r.model(&p.Model)
	if p.Model != seed.Model {
		// The numbers of another model say nothing about this one.
		p.FlatFee, p.SurchargeBPS, p.PrivateFee = 0, 0, 0
	}
	r.bool(metaEligible, &p.Eligible)
	r.bool(metaDefault, &p.MigrationDefault)
	bundled := p.Bundled()
	if r.bool(metaBundled, &bundled); bundled != p.Bundled() {
		r.bad(metaBundled)
	}
	r.fee(&p.FlatFee)
	r.number(metaSurcharge, &p.SurchargeBPS)
	r.number(metaPrivate, (*int64)(&p.PrivateFee))
	r.number(metaFree, &p.FreeRequests)
	if normalised, ok := metadata[metaNormalised]; ok && normalised != string(p.Normalised) {
		r.bad(metaNormalised)
	}
	if r.problem == "" && p.Terms.Check() != nil {
		r.bad(metaModel)
	}
	switch {
	case r.problem != "":
		return fallback, r.problem
	case r.said || named:
		p.Rule = RuleMetadata
	}
	return p, ""
}

func eligibleByDefault(tier string) bool {
	t, _ := Normalise(tier)
	return taxonomy.DefaultFeatures(t).BYOK
}

// metaReader reads values strictly and notes the first key that is wrong.
type metaReader struct {
	from    map[string]string
	said    bool
	problem string
}

func (r *metaReader) bad(key string) {
	if r.problem == "" {
		r.problem = key
	}
}

func (r *metaReader) value(key string) (string, bool) {
	v, ok := r.from[key]
	r.said = r.said || ok
	return v, ok
}

func (r *metaReader) model(to *Model) {
	if v, ok := r.value(metaModel); ok {
		m, known := ParseModel(v)
		if !known {
			r.bad(metaModel)
			return
		}
		*to = m
	}
}

func (r *metaReader) bool(key string, to *bool) {
	switch v, ok := r.value(key); {
	case !ok:
	case v == "true" || v == "false":
		*to = v == "true"
	default:
		r.bad(key)
	}
}

// maxMetaNumber bounds every number before it is multiplied.
const maxMetaNumber = 1_000_000_000

func (r *metaReader) number(key string, to *int64) {
	v, ok := r.value(key)
	if !ok {
		return
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil || n > maxMetaNumber {
		r.bad(key)
		return
	}
	*to = int64(n)
}

// fee takes the exact figure, or the cents of an existing payment.
func (r *metaReader) fee(to *billing.Micro) {
	cents := int64(-1)
	r.number(metaFeeCents, &cents)
	if cents >= 0 {
		*to = billing.Micro(cents * microPerCent)
	}
	r.number(metaFee, (*int64)(to))
}
