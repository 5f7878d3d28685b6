package gateway

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/route"
)

// terms are what the organisation may draw from its agency by.
func (c *Caller) terms() agency.Terms {
	return c.config.Client.Terms(c.config.Org.ParentID, c.tiers.HasClients)
}

// stamp is who pays, by what is known of the organisation.
func (c *Caller) stamp() credit.Stamp {
	return credit.StampOf(string(c.config.Org.LedgerMode), c.config.Org.LedgerEpoch)
}

// sharing is what a decision needs of the terms.
func (c *Caller) sharing() billing.Sharing {
	if c.config.Org.ParentID == "" || c.stamp().Legacy() {
		// Most organisations; and one whose legacy counter pays draws nothing.
		return billing.Sharing{}
	}
	t := c.terms()
	if t.Mode == agency.Off {
		return billing.Sharing{}
	}
	return billing.Sharing{Mode: string(t.Mode), Agency: t.Agency, Version: t.Version}
}

// draw is what an attempt draws, nil if the organisation pays itself; shards is
// the hint for whoever pays.
func (c *Caller) draw(d billing.Decision) (draw *credit.Draw, shards int) {
	if !d.Shared {
		return nil, c.config.Shards
	}
	t := c.terms()
	return credit.NewDraw(t, c.now()), min(max(t.Shards, 0), credit.MaxShards)
}

// payerTries bounds the reserves of one candidate: both payers, and each once more
// by an offer that has just changed.
const payerTries = 4

// hold reserves for a candidate, with whoever can pay.
func (a *attempts) hold(ctx context.Context, cand route.Candidate, in billing.Inputs, d billing.Decision, size sized) (*Meter, error) {
	return payWith(a.c, in, d, func(in billing.Inputs, d billing.Decision) (*Meter, error) {
		return a.reserve(ctx, cand, in, d, size)
	},
		func(d billing.Decision) { a.current = about(cand, d) })
}

// payWith reserves as decided. Where the credits of who should pay do not suffice
// it is decided again with that fact: the organisation's agency, or its own
// credits, may be next. A draw that was decided by an offer that does not apply
// any more is decided again by the one that does. decided is told of each decision.
func payWith[T any](c *Caller, in billing.Inputs, d billing.Decision, reserve func(billing.Inputs, billing.Decision) (T, error), decided func(billing.Decision)) (T, error) {
	var none T
	var refusal error
	for range payerTries {
		got, err := reserve(in, d)
		var changed *agency.Changed
		switch {
		case err == nil:
			return got, nil
		case errors.As(err, &changed):
			c.config.Client.Offer = changed.Now
			in.Sharing = c.sharing()
		case fault.CodeOf(err) != fault.InsufficientCredits || overBudget(err):
			return none, err
		case d.Shared:
			// What the agency refuses says more than that there are no own credits.
			in.Sharing.Refused, refusal = true, err
		default:
			in.FundsRefused = true
			if refusal == nil {
				refusal = err
			}
		}
		d = billing.Decide(in)
		decided(d)
		if !d.Allowed && refusal == nil {
			return none, d.Fault()
		}
		if !d.Allowed {
			return none, refusal
		}
	}
	return none, fault.New(fault.LedgerUnavailable, "gateway.hold", "what the agency shares keeps changing, try again")
}
