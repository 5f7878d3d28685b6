package gateway_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// authorizing is a ledger of actions.
type authorizing struct {
	asked []credit.ChargeRequest
	admit func(credit.ChargeRequest) error
	ended bool
}

func (l *authorizing) Authorize(_ context.Context, c credit.ChargeRequest) (credit.Authorized, error) {
	l.asked = append(l.asked, c)
	if l.admit != nil {
		if err := l.admit(c); err != nil {
			return credit.Authorized{}, err
		}
	}
	return credit.Authorized{Hold: credit.Hold{Org: c.Org, Request: "c_1", Amount: 5, Draw: c.Draw}, Count: c.Count, Ended: l.ended}, nil
}

// TestActions: the platform's own work is paid with credits whatever the
// organisation prefers, its record says so, and what is free is not recorded.
func TestActions(t *testing.T) {
	empty := func(c credit.ChargeRequest) error {
		if c.Draw == nil {
			return fault.New(fault.InsufficientCredits, "x", "own")
		}
		return nil
	}
	for name, row := range map[string]struct {
		rate   int64 // -1 = no row
		set    func(*rig)
		admit  func(credit.ChargeRequest) error
		ended  bool
		ok     bool
		code   fault.Code
		rule   string
		reason string
		tries  int
	}{
		"priced":              {rate: 5, ok: true, rule: "PA", reason: "platform_action_metered", tries: 1},
		"free":                {rate: 0},
		"no row":              {rate: -1, code: fault.PriceMissing},
		"own keys demanded":   {rate: 5, set: func(r *rig) { r.store.config.Settings.BillingPreference = org.BYOKRequired }, ok: true, rule: "PA", reason: "platform_action_forced_platform", tries: 1},
		"own connection":      {rate: 5, set: func(r *rig) { r.connect("c1", "https://vendor.example", nil) }, ok: true, rule: "PA", reason: "platform_action_metered", tries: 1},
		"no credits":          {rate: 5, admit: empty, code: fault.InsufficientCredits, tries: 1},
		"suspended":           {rate: 5, set: func(r *rig) { r.store.config.Org.Status = org.Suspended }, code: fault.BillingDenied},
		"ended by somebody":   {rate: 5, ended: true, rule: "PA", reason: "platform_action_metered", tries: 1},
		"agency, own empty":   {rate: 5, set: sharedBy(agency.WhenEmpty), admit: empty, ok: true, rule: "PAa", reason: "platform_action_metered", tries: 2},
		"agency, beside keys": {rate: 5, set: func(r *rig) { sharedBy(agency.Always)(r); r.connect("c1", "https://vendor.example", nil) }, ok: true, rule: "PAa", reason: "platform_action_metered", tries: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, l := newRig(t), &authorizing{admit: row.admit, ended: row.ended}
			if row.set != nil {
				row.set(r)
			}
			if row.rate >= 0 {
				r.prices = []billing.Row{{Provider: credit.ActionProvider, Model: gateway.ChannelMessage, Meter: billing.Request, RatePico: row.rate, Source: "test", SourceDate: "2026-11-22"}}
			}
			g := r.gateway()
			c, err := g.Internal(t.Context(), "acme", func() time.Time { return r.now })
			check(t, err)
			held, ok, err := g.Authorize(t.Context(), c, l, gateway.Action{Name: gateway.ChannelMessage, Agent: "helper", Once: "turn1"})
			if fault.CodeOf(err) != row.code || ok != row.ok || len(l.asked) != row.tries {
				t.Fatalf("%+v %v %v, asked %d times", held, ok, err, len(l.asked))
			}
			if row.rule == "" {
				return
			}
			last := l.asked[len(l.asked)-1]
			again, err := billing.Recompute(last.Decision)
			check(t, err)
			if last.Rule != row.rule || again.Decision.Rule != row.rule || again.Decision.Reason != row.reason || again.Hash != last.DecisionHash ||
				again.Decision.Source != taxonomy.Platform || (last.Draw != nil) != strings.HasSuffix(row.rule, "a") || again.Record.RequestSource != string(taxonomy.PlatformAction) {
				t.Errorf("%+v\n%+v", last, again)
			}
		})
	}
}

func sharedBy(mode agency.Mode) func(*rig) {
	return func(r *rig) {
		r.store.config.Org.ParentID = "boss"
		r.store.config.Client.Offer = agency.Offer{Agency: "boss", Version: 1, Active: true, Tier: taxonomy.Agency, Policy: agency.Policy{Mode: mode, ClientPerDay: 70, TotalPerDay: 100}}
	}
}
