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

// sharing is what a decision needs of the terms.
func (c *Caller) sharing() billing.Sharing {
	if c.config.Org.ParentID == "" {
		return billing.Sharing{} // most organisations
	}
	t := c.terms()
	if t.Mode == agency.Off {
		return billing.Sharing{}
	}
	return billing.Sharing{Mode: string(t.Mode), Agency: t.Agency, Version: t.Version}
}

// draw is what an attempt draws, nil if the organisation pays itself; shards is
// the hint for whoever pays.
func (a *attempts) draw(d billing.Decision) (draw *credit.Draw, shards int) {
	if !d.Shared {
		return nil, a.c.config.Shards
	}
	t := a.c.terms()
	return credit.NewDraw(t, a.c.now()), min(max(t.Shards, 0), credit.MaxShards)
}

// payerTries bounds the reserves of one candidate: both payers, and each once more
// by an offer that has just changed.
const payerTries = 4

// hold reserves for a candidate. Where the credits of who should pay do not
// suffice, it is decided again with that fact: the organisation's agency, or its
// own credits, may be next. A draw that was decided by an offer that does not apply
// any more is decided again by the one that does.
func (a *attempts) hold(ctx context.Context, cand route.Candidate, in billing.Inputs, d billing.Decision, size sized) (*Meter, error) {
	var refusal error
	for range payerTries {
		m, err := a.reserve(ctx, cand, in, d, size)
		var changed *agency.Changed
		switch {
		case err == nil:
			return m, nil
		case errors.As(err, &changed):
			a.c.config.Client.Offer = changed.Now
			in.Sharing = a.c.sharing()
		case fault.CodeOf(err) != fault.InsufficientCredits || overBudget(err):
			return nil, err
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
		a.current = about(cand, d)
		if !d.Allowed && refusal == nil {
			return nil, d.Fault()
		}
		if !d.Allowed {
			return nil, refusal
		}
	}
	return nil, fault.New(fault.LedgerUnavailable, "gateway.hold", "what the agency shares keeps changing, try again")
}
