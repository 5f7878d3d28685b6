package org

import (
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Tiers are the operator's overrides of the tiers' features. A tier without an
// override has its shipped features. The zero value overrides nothing.
type Tiers map[taxonomy.Tier]taxonomy.Features

// AllTiers lists the tiers from the smallest up.
func AllTiers() []taxonomy.Tier {
	return []taxonomy.Tier{taxonomy.Free, taxonomy.Pro, taxonomy.Agency, taxonomy.Enterprise}
}

// Of returns the features of a tier.
func (t Tiers) Of(tier taxonomy.Tier) taxonomy.Features {
	if f, ok := t[tier]; ok {
		return f
	}
	return taxonomy.DefaultFeatures(tier)
}

// Feature is one thing a tier may include.
type Feature string

// Features by their wire names.
const (
	FeatureBYOK   Feature = "byok"
	FeatureBYOA   Feature = "byoa"
	FeatureAgency Feature = "agency"
)

var featureWords = map[Feature]string{
	FeatureBYOK:   "your own model keys (byok)",
	FeatureBYOA:   "your own channel apps (byoa)",
	FeatureAgency: "client organisations (agency)",
}

func has(f taxonomy.Features, what Feature) bool {
	switch what {
	case FeatureBYOK:
		return f.BYOK
	case FeatureBYOA:
		return f.BYOA
	case FeatureAgency:
		return f.Agency
	}
	return false
}

// Has reports whether a tier includes a feature.
func (t Tiers) Has(tier taxonomy.Tier, what Feature) bool { return has(t.Of(tier), what) }

// HasClients reports whether organisations of a tier may have clients.
func (t Tiers) HasClients(tier taxonomy.Tier) bool { return t.Has(tier, FeatureAgency) }

// Require fails with billing_denied naming the tiers that have the feature when
// this one has not.
func (t Tiers) Require(tier taxonomy.Tier, what Feature) error {
	if t.Has(tier, what) {
		return nil
	}
	var with []string
	for _, other := range AllTiers() {
		if t.Has(other, what) {
			with = append(with, string(other))
		}
	}
	message := "tier " + string(tier) + " does not include " + featureWords[what] + "; "
	if len(with) == 0 {
		return fault.New(fault.BillingDenied, "org.Require", message+"no tier has it at present, ask the operator")
	}
	return fault.New(fault.BillingDenied, "org.Require", message+"tier "+strings.Join(with, " or ")+" has it")
}

// Clone copies the overrides.
func (t Tiers) Clone() Tiers {
	out := make(Tiers, len(t))
	for tier, f := range t {
		out[tier] = f
	}
	return out
}

// ParseScopes maps scope words, refusing unknown and repeated ones and an empty
// list.
func ParseScopes(words []string) ([]Scope, error) {
	if len(words) == 0 {
		return nil, invalid("scopes", "a key needs at least one scope: invoke, audio, admin, billing or read")
	}
	var out []Scope
	for _, w := range words {
		s := Scope(w)
		if !slices.Contains(Scopes(), s) || slices.Contains(out, s) {
			return nil, invalid("scopes", "scopes are invoke, audio, admin, billing and read, each at most once")
		}
		out = append(out, s)
	}
	return out, nil
}
