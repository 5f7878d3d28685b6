package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/secret"
)

// Counted are the input tokens of a request.
type Counted struct {
	Tokens int64
	// Estimated says that no vendor counted.
	Estimated bool
	Info      Info
}

// countTimeout bounds the wait for a vendor's count: an estimate is at hand.
const countTimeout = 10 * time.Second

// CountTokens counts the input tokens of a request as the first usable candidate
// would be sent it: by its vendor where that counts, else by an estimate. Vendors
// count for free (Anthropic, token counting; Gemini, understand and count tokens;
// read 2026-11-22), so that nothing is reserved, recorded or charged. It counts as
// one request per minute, and neither tokens nor a slot.
//
// A vendor that is busy, broken or silent gives way to the estimate, and neither
// cools nor changes the candidate: counting has limits of its own there. Whatever
// a call would be refused for is refused here as well: a key that cannot be used
// or that the vendor refuses, an account without money, a request that the vendor
// does not take, a model without a price. Errors as [Gateway.Complete], and
// rate_limited.
func (g *Gateway) CountTokens(ctx context.Context, c *Caller, q Query, r *model.Request) (*Counted, error) {
	if err := c.suspended(); err != nil {
		return nil, err
	}
	ag, err := c.agent(q.Agent)
	if err != nil {
		return nil, err
	}
	r = c.withDefaults(r)
	s := chatService[int64](r, nil)
	plan, err := g.plan(c, q, ag, wants(r))
	if err != nil {
		return nil, err
	}
	a := &attempts{g: g, c: c, q: q.strict(r), agent: ag.ID, request: q.RequestID, plan: plan, owner: g.o.NewID(c.now())}
	for _, cand := range plan.Candidates {
		out, err := a.count(ctx, cand, &s, r)
		if err == nil {
			return out, nil
		}
		if a.final {
			return nil, a.told(err)
		}
	}
	return nil, a.told(a.failure())
}

// count lets one candidate count. An error that is not final leaves it to the
// next.
func (a *attempts) count(ctx context.Context, cand route.Candidate, s *service[int64], r *model.Request) (*Counted, error) {
	entry := a.g.entries[cand.Provider]
	_, how, decision, err := a.weigh(cand, s.has)
	if err == nil && decision.Metered() && !a.c.book.Priced(string(cand.Provider), cand.Model) {
		err = fault.New(fault.PriceMissing, "gateway.CountTokens", "this model has no price, ask the operator to add one")
	}
	cl := call{entry: entry, model: cand.Model, platform: cand.Connection == nil, org: a.c.Org, strict: a.q.Strict}
	if err == nil {
		err = s.admit(&cl)
	}
	if err != nil {
		return nil, a.deny(cand, err)
	}
	a.final = true
	claims, err := a.countClaims(ctx)
	if err != nil {
		return nil, err
	}
	m := Meter{a: a, cand: cand, decision: decision, dropped: cl.dropped}
	out := &Counted{Tokens: inputTokens(r, bytesPerToken), Estimated: true}
	if counter, ok := cl.chat.(model.TokenCounter); ok {
		began := a.c.now()
		n, err := a.askVendor(ctx, counter, how, cand, &cl, r)
		m.upstream = a.c.now().Sub(began)
		switch {
		case err == nil:
			out.Tokens, out.Estimated = n, false
		case ctx.Err() != nil || !gives(fault.CodeOf(err)):
			return nil, err
		}
	}
	out.Info = m.Info()
	out.Info.RequestsLeft, _ = limit.Standings(claims)
	return out, nil
}

func (a *attempts) askVendor(ctx context.Context, counter model.TokenCounter, how access, cand route.Candidate, cl *call, r *model.Request) (n int64, err error) {
	callCtx, cancel := a.callContext(ctx, false)
	defer cancel()
	spanCtx, span := a.g.o.Trace.Start(callCtx, string(cand.Provider)+".count")
	defer span.End()
	cl.target = model.Target{BaseURL: how.baseURL, HTTP: a.g.o.Client(cl.entry), RequestID: a.request, Now: a.c.now(), HeaderTimeout: countTimeout}
	err = a.withKey(spanCtx, how, cand, "count", func(key secret.Text) (err error) {
		cl.target.Key = key
		n, err = counter.CountTokens(spanCtx, model.Call{Target: cl.target, Request: outgoing(r, cl)})
		return err
	})
	if err != nil {
		span.Fail(fault.CodeOf(err))
	}
	return n, err
}

// gives reports whether the estimate takes the place of a vendor's failure.
func gives(code fault.Code) bool {
	switch code {
	case fault.ProviderRateLimited, fault.ProviderOverloaded, fault.ProviderError, fault.ProviderTimeout:
		return true
	}
	return false
}

// countClaims counts one request against the limits per minute.
func (a *attempts) countClaims(ctx context.Context) ([]limit.Claim, error) {
	t := a.newTicket(ctx, billing.Expected{NoOutput: true})
	if t == nil {
		return nil, nil
	}
	claims := slices.Clone(t.free)
	for i := range claims {
		// A budget does not stop what costs nothing.
		claims[i].Limits.Concurrent, claims[i].Slot = 0, ""
		claims[i].Now = a.c.now()
		if err := claims[i].Check(); err != nil {
			return nil, err
		}
	}
	return claims, a.g.o.Limits.CountLimits(ctx, a.owner, claims)
}
