package gateway

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// ChannelMessage is the action of posting an agent's answer on a channel, as in the
// price book.
const ChannelMessage = "channel_message"

// Action is the platform's own work for an organisation.
type Action struct {
	Name  string
	Agent string
	// Once makes it unique in its organisation: the same word again is the same action.
	Once string
	// Life is how long it may take until it is captured or released.
	Life time.Duration
}

// Actions reserves what an action costs; [credit.Ledger] implements it.
type Actions interface {
	Authorize(ctx context.Context, c credit.ChargeRequest) (credit.Authorized, error)
}

// Authorize decides who pays for an action, which is always paid with credits, and
// reserves what it costs. An action that is free is not recorded: ok is false then.
// Errors: price_missing for an action without a row in the book,
// insufficient_credits, billing_denied, ledger_unavailable.
func (g *Gateway) Authorize(ctx context.Context, c *Caller, ledger Actions, a Action) (held credit.Authorized, ok bool, err error) {
	price, listed := c.book.Lookup(credit.ActionProvider, a.Name, billing.Request, 0)
	if !listed {
		return held, false, fault.New(fault.PriceMissing, "gateway.Authorize", "this action has no price, ask the operator to add one")
	}
	if price.RatePico == 0 {
		return held, false, nil
	}
	in := billing.Inputs{
		Org: c.Org, RequestSource: taxonomy.PlatformAction, Candidate: taxonomy.Platform,
		OrgActive: c.config.Org.Status == org.Active, Tier: c.config.Org.Tier, TierBYOK: c.tiers.Has(c.config.Org.Tier, org.FeatureBYOK),
		Preference: billing.Preference(c.config.Settings.BillingPreference), OrgAllowPlatformFallback: c.config.Settings.AllowPlatformFallback,
		Provider: credit.ActionProvider, Model: a.Name, Agent: a.Agent, SettingsVersion: c.config.SettingsVersion,
		PriceVersion: c.book.Version, PolicyVersion: billing.PolicyVersion, Sharing: c.sharing(),
	}
	if in.Preference == billing.BYOKRequired {
		in.Forced = taxonomy.BYOK // which is what the organisation asks for, always
	}
	d := billing.Decide(in)
	if err := d.Fault(); err != nil {
		return held, false, err
	}
	held, err = payWith(c, in, d, func(in billing.Inputs, d billing.Decision) (credit.Authorized, error) {
		draw, shards := c.draw(d)
		return ledger.Authorize(ctx, credit.ChargeRequest{Org: c.Org, Action: a.Name, Count: 1, IdempotencyKey: a.Once, Book: c.book, Agent: a.Agent,
			Now: c.now(), Life: a.Life, Rule: d.Rule, DecisionHash: billing.Hash(in), Decision: billing.Canonical(in), Draw: draw, Shards: shards})
	}, func(billing.Decision) {})
	return held, err == nil && !held.Ended, err
}
