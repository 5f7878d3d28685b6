package gateway_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// payers is a ledger of which only matters who can pay.
type payers struct {
	own, agency error
	// offer is the one that applies.
	offer agency.Offer
	seen  []string
}

func (p *payers) admit(q credit.ReserveRequest) error {
	if q.Draw == nil {
		p.seen = append(p.seen, "own "+q.Rule)
		return p.own
	}
	p.seen = append(p.seen, fmt.Sprintf("%s %s v%d %d/%d of %d", q.Draw.Agency, q.Rule, q.Draw.Version, q.Draw.ClientCap, q.Draw.TotalCap, q.Shards))
	if q.Draw.Version != p.offer.Version || !p.offer.Active {
		return credit.ErrOfferChanged(p.offer)
	}
	return p.agency
}

// TestWhoIsAskedToPay: who pays first, who after that, what takes an organisation
// out of sharing, and that a decision by an old copy is made again.
func TestWhoIsAskedToPay(t *testing.T) {
	empty := fault.New(fault.InsufficientCredits, "x", "own credits do not suffice")
	short := fault.New(fault.InsufficientCredits, "x", "the agency's cap")
	down := fault.New(fault.LedgerUnavailable, "x", "down")
	const draws = "boss P7a v3 70/100 of 2"
	with := func(mode agency.Mode, change func(*rig, *payers)) func(*rig, *payers) {
		return func(r *rig, p *payers) {
			p.offer = agency.Offer{Agency: "boss", Version: 3, Active: true, Tier: taxonomy.Agency, Policy: agency.Policy{Mode: mode, ClientPerDay: 70, TotalPerDay: 100}, Shards: 2}
			r.store.config.Org.ParentID, r.store.config.Client.Offer = "boss", p.offer
			if change != nil {
				change(r, p)
			}
		}
	}
	newer := func(change func(*agency.Offer)) func(*rig, *payers) {
		return func(_ *rig, p *payers) { p.offer.Version = 4; change(&p.offer) }
	}
	for name, row := range map[string]struct {
		set  func(*rig, *payers)
		want []string
		rule string
		code fault.Code
		text string
	}{
		"nothing is shared":           {with(agency.Off, nil), []string{"own P7"}, "P7", "", ""},
		"own credits first":           {with(agency.WhenEmpty, nil), []string{"own P7"}, "P7", "", ""},
		"own credits are empty":       {with(agency.WhenEmpty, func(_ *rig, p *payers) { p.own = empty }), []string{"own P7", draws}, "P7a", "", ""},
		"both are":                    {with(agency.WhenEmpty, func(_ *rig, p *payers) { p.own, p.agency = empty, short }), []string{"own P7", draws}, "P8", fault.InsufficientCredits, "the agency's cap"},
		"the agency first":            {with(agency.Always, nil), []string{draws}, "P7a", "", ""},
		"the agency first, cap":       {with(agency.Always, func(_ *rig, p *payers) { p.agency = short }), []string{draws, "own P7"}, "P7", "", ""},
		"the agency first, both":      {with(agency.Always, func(_ *rig, p *payers) { p.own, p.agency = empty, short }), []string{draws, "own P7"}, "P8", fault.InsufficientCredits, "the agency's cap"},
		"an outage is not a refusal":  {with(agency.Always, func(_ *rig, p *payers) { p.agency = down }), []string{draws}, "P7a", fault.LedgerUnavailable, "down"},
		"own outage neither":          {with(agency.WhenEmpty, func(_ *rig, p *payers) { p.own = down }), []string{"own P7"}, "P7", fault.LedgerUnavailable, "down"},
		"another parent":              {with(agency.Always, func(r *rig, _ *payers) { r.store.config.Org.ParentID = "other" }), []string{"own P7"}, "P7", "", ""},
		"suspended, known":            {with(agency.Always, func(r *rig, _ *payers) { r.store.config.Client.Offer.Active = false }), []string{"own P7"}, "P7", "", ""},
		"tier without clients, known": {with(agency.Always, func(r *rig, _ *payers) { r.store.config.Client.Offer.Tier = taxonomy.Pro }), []string{"own P7"}, "P7", "", ""},
		"switched off for this one":   {with(agency.Always, func(r *rig, _ *payers) { r.store.config.Client.Override.Mode = agency.Off }), []string{"own P7"}, "P7", "", ""},
		"its own cap":                 {with(agency.Always, func(r *rig, _ *payers) { r.store.config.Client.Override.PerDay = 5 }), []string{"boss P7a v3 5/100 of 2"}, "P7a", "", ""},
		"suspended meanwhile":         {with(agency.Always, newer(func(o *agency.Offer) { o.Active = false })), []string{draws, "own P7"}, "P7", "", ""},
		"off meanwhile, own empty": {with(agency.WhenEmpty, func(_ *rig, p *payers) {
			p.own, p.offer.Version, p.offer.Policy.Mode = empty, 4, agency.Off
		}), []string{"own P7", draws}, "P8", fault.InsufficientCredits, "own credits do not suffice"},
		"tier lost meanwhile": {with(agency.Always, newer(func(o *agency.Offer) { o.Tier = taxonomy.Free })), []string{draws, "own P7"}, "P7", "", ""},
		"caps changed meanwhile": {with(agency.Always, newer(func(o *agency.Offer) { o.Policy.ClientPerDay, o.Shards = 9, 1000 })),
			[]string{draws, "boss P7a v4 9/100 of 128"}, "P7a", "", ""},
		"own first meanwhile":     {with(agency.Always, newer(func(o *agency.Offer) { o.Policy.Mode = agency.WhenEmpty })), []string{draws, "own P7"}, "P7", "", ""},
		"a connection of its own": {with(agency.Always, func(r *rig, _ *payers) { r.connect("c1", "https://vendor.example", nil) }), []string{"own P5"}, "P5", "", ""},
		"a dead connection with fallback": {with(agency.Always, func(r *rig, p *payers) {
			r.store.config.Settings.AllowPlatformFallback = true
			r.connect("c1", "https://vendor.example", func(c *connection.Connection) {
				c.AllowPlatformFallback, c.Status = true, connection.Revoked
			})
			p.own = empty
		}), []string{"own P6"}, "P8", fault.InsufficientCredits, "own credits do not suffice"},
	} {
		t.Run(name, func(t *testing.T) {
			r, p := newRig(t), &payers{}
			row.set(r, p)
			r.admit = p.admit
			a, err := r.complete(gateway.Query{RequestID: "req1"}, ask("openrouter/m"))
			rule := ""
			if err == nil {
				rule = a.Info().Rule
			} else if told, ok := err.(*gateway.Told); ok {
				rule = told.Info.Rule
			}
			if !slices.Equal(p.seen, row.want) || rule != row.rule || fault.CodeOf(err) != row.code || row.text != "" && !strings.Contains(err.Error(), row.text) {
				t.Errorf("asked %q, rule %s, %v", p.seen, rule, err)
			}
		})
	}
}

// TestDrawsAreOnRecord: the stored decision says which agency's offer it was made
// by, and comes out equal.
func TestDrawsAreOnRecord(t *testing.T) {
	r := newRig(t)
	r.store.config.Org.ParentID = "boss"
	r.store.config.Client = agency.Client{Offer: agency.Offer{Agency: "boss", Version: 7, Active: true, Tier: taxonomy.Agency,
		Policy: agency.Policy{Mode: agency.Always, ClientPerDay: 70, TotalPerDay: 100}}}
	var stored []credit.ReserveRequest
	r.admit = func(q credit.ReserveRequest) error { stored = append(stored, q); return nil }
	_, err := r.complete(gateway.Query{}, ask("openrouter/m"))
	check(t, err)
	again, err := billing.Recompute(stored[0].Decision)
	check(t, err)
	if again.Record.Agency != "boss" || again.Record.SharingVersion != 7 || !again.Decision.Shared || again.Decision.Rule != stored[0].Rule || again.Hash != stored[0].DecisionHash ||
		stored[0].Org != "acme" || stored[0].Payer() != "boss" || stored[0].Draw.Day != agency.Day(r.now) {
		t.Errorf("%+v\n%+v", again, stored[0])
	}
	// To explain, the offer that applies is asked for, not the copy.
	r.store.offer = r.store.config.Client.Offer
	r.store.offer.Version, r.store.offer.Policy.Mode = 8, agency.Off
	for want, mode := range map[string]agency.Mode{billing.RulePlatform: agency.Off, billing.RuleSharedPlatform: agency.Always} {
		r.store.offer.Policy.Mode = mode
		x, err := r.gateway().Explain(t.Context(), "acme", gateway.Question{Model: "openrouter/m"}, r.now)
		check(t, err)
		if got := x.Candidates[x.Chosen].Decision; got.Rule != want || (x.Sharing.Agency == "boss") != (mode == agency.Always) {
			t.Errorf("%s: %+v %+v", mode, got, x.Sharing)
		}
	}
}
