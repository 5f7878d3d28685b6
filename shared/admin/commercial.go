package admin

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func commercialRoutes() []route {
	return []route{
		get(base+"/billing", orgBilling, "Who pays (ledger_mode), what requests on own keys and endpoints cost, why, what is left of the month's allowance, and the rules of all tiers", billingJSON{}, getBilling),
		change(http.MethodPut, base+"/billing", orgOperator, "Set the organisation's own terms, or with inherit those of its tier again; or who pays: ledger_mode alone leaves the terms, the mode that is there again counts what calls in flight at a rollback used", billingBody{}, billingJSON{}, with(putBilling)),
		get("/api/operator/billing", operatorRead, "The commercial policy of each tier", rulesJSON{}, getRules),
		change(http.MethodPut, "/api/operator/billing", operatorAdmin, "Set the terms of tiers, or with inherit the shipped ones again; what is not named stays", rulesBody{}, rulesJSON{}, with(putRules)),
	}
}

// policyJSON is a commercial policy. Fees are in micro-credits per request, the
// surcharge in basis points of the model's price.
type policyJSON struct {
	Tier                 taxonomy.Tier    `json:"tier"`
	Display              string           `json:"display"`
	Model                commercial.Model `json:"model"`
	Eligible             bool             `json:"eligible"`
	FlatFee              billing.Micro    `json:"flat_fee"`
	SurchargeBPS         int64            `json:"surcharge_bps"`
	EndpointFee          billing.Micro    `json:"endpoint_fee"`
	FreeRequestsPerMonth int64            `json:"free_requests_per_month"`
	Bundled              bool             `json:"bundled"`
	MigrationDefault     bool             `json:"migration_default"`
	Rule                 commercial.Rule  `json:"rule"`
	Version              string           `json:"version"`
	Summary              string           `json:"summary"`
}

func policyOut(p commercial.Policy) policyJSON {
	return policyJSON{Tier: p.Normalised, Display: commercial.Display(p.Normalised), Model: p.Model, Eligible: p.Eligible, FlatFee: p.FlatFee,
		SurchargeBPS: p.SurchargeBPS, EndpointFee: p.PrivateFee, FreeRequestsPerMonth: p.FreeRequests, Bundled: p.Bundled(),
		MigrationDefault: p.MigrationDefault, Rule: p.Rule, Version: p.Version(), Summary: p.Summary()}
}

// billingJSON is everything about how an organisation is charged, besides prices.
type billingJSON struct {
	// LedgerMode says who pays; below legacy-tokens is what it can become and why not.
	LedgerMode org.LedgerMode `json:"ledger_mode"`
	Policy     policyJSON     `json:"policy"`
	// FreeRequests is what the allowance of the month took so far.
	Month        string       `json:"month"`
	FreeRequests int64        `json:"free_requests_used"`
	Rules        []policyJSON `json:"rules"`
}

// rulesJSON is the table of tiers, from the smallest up.
type rulesJSON struct {
	Rules []policyJSON `json:"rules"`
}

func rulesOut(tiers commercial.Tiers, features org.Tiers) []policyJSON {
	out := []policyJSON{}
	for _, p := range commercial.Table(tiers, func(t taxonomy.Tier) bool { return features.Has(t, org.FeatureBYOK) }) {
		out = append(out, policyOut(p))
	}
	return out
}

func getBilling(c *call) (any, error) {
	features, _, err := c.Orgs.Config.Tiers(c)
	if err != nil {
		return nil, err
	}
	tiers, _, err := c.Commercial.Store.Tiers(c)
	if err != nil {
		return nil, err
	}
	own, _, err := c.Commercial.Store.Organisation(c, c.org.ID)
	if err != nil {
		return nil, err
	}
	used, err := c.Commercial.Allowance.FreeUsed(c, c.org.ID, c.req.Now)
	if err != nil {
		return nil, err
	}
	p := commercial.Resolve(string(c.org.Tier), features.Has(c.org.Tier, org.FeatureBYOK), tiers, own)
	return billingJSON{LedgerMode: c.org.LedgerMode, Policy: policyOut(p), Month: c.req.Now.UTC().Format(monthFormat), FreeRequests: used, Rules: rulesOut(tiers, features)}, nil
}

// monthFormat is how a month is written.
const monthFormat = "2006-01"

// termsBody sets terms as a whole: what is left out is 0.
type termsBody struct {
	// Inherit takes the terms of the tier, or for a tier the shipped ones; nothing
	// else may be set with it.
	Inherit              bool             `json:"inherit"`
	Model                commercial.Model `json:"model"`
	FlatFee              billing.Micro    `json:"flat_fee"`
	SurchargeBPS         int64            `json:"surcharge_bps"`
	EndpointFee          billing.Micro    `json:"endpoint_fee"`
	FreeRequestsPerMonth int64            `json:"free_requests_per_month"`
}

// billingBody is termsBody with who pays. The mode is changed first: where that is
// refused, nothing is.
type billingBody struct {
	LedgerMode           org.LedgerMode   `json:"ledger_mode"`
	Inherit              bool             `json:"inherit"`
	Model                commercial.Model `json:"model"`
	FlatFee              billing.Micro    `json:"flat_fee"`
	SurchargeBPS         int64            `json:"surcharge_bps"`
	EndpointFee          billing.Micro    `json:"endpoint_fee"`
	FreeRequestsPerMonth int64            `json:"free_requests_per_month"`
}

func (b billingBody) own() termsBody {
	return termsBody{Inherit: b.Inherit, Model: b.Model, FlatFee: b.FlatFee, SurchargeBPS: b.SurchargeBPS, EndpointFee: b.EndpointFee,
		FreeRequestsPerMonth: b.FreeRequestsPerMonth}
}

// terms are nil to inherit.
func (b termsBody) terms() (*commercial.Terms, error) {
	t := commercial.Terms{Model: b.Model, FlatFee: b.FlatFee, SurchargeBPS: b.SurchargeBPS, PrivateFee: b.EndpointFee, FreeRequests: b.FreeRequestsPerMonth}
	if !b.Inherit {
		return &t, t.Check()
	}
	if t != (commercial.Terms{}) {
		return nil, malformed("inherit", "terms that are inherited cannot be set at the same time")
	}
	return nil, nil
}

func putBilling(c *call, b billingBody) (any, error) {
	own := b.own()
	if b.LedgerMode != "" && own == (termsBody{}) {
		if err := c.setLedgerMode(b.LedgerMode); err != nil {
			return nil, err
		}
		return getBilling(c)
	}
	t, err := own.terms()
	if err != nil {
		return nil, err
	}
	if b.LedgerMode != "" {
		if err := c.setLedgerMode(b.LedgerMode); err != nil {
			return nil, err
		}
	}
	if err := c.Commercial.SetOrganisation(c, c.op, c.org.ID, t); err != nil {
		return nil, err
	}
	return getBilling(c)
}

func getRules(c *call) (any, error) {
	features, _, err := c.Orgs.Config.Tiers(c)
	if err != nil {
		return nil, err
	}
	tiers, _, err := c.Commercial.Store.Tiers(c)
	return rulesJSON{rulesOut(tiers, features)}, err
}

type rulesBody map[taxonomy.Tier]termsBody

func putRules(c *call, b rulesBody) (any, error) {
	change := map[taxonomy.Tier]*commercial.Terms{}
	for tier, body := range b {
		if _, ok := taxonomy.ParseTier(string(tier)); !ok {
			return nil, malformed("tier", "tiers are free, pro, agency and enterprise")
		}
		t, err := body.terms()
		if err != nil {
			return nil, err
		}
		change[tier] = t
	}
	if _, err := c.Commercial.SetTiers(c, c.op, change); err != nil {
		return nil, err
	}
	return getRules(c)
}
