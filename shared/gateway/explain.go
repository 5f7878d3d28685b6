package gateway

import (
	"context"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Question is a chat request of which only the routing matters.
type Question struct {
	Model    string
	Agent    string
	Intent   taxonomy.Intent
	Modality taxonomy.Modality // empty = text, or what Needs says
	Needs    []taxonomy.Capability
}

// Explained is a plan with the decision for every candidate.
type Explained struct {
	Intent     taxonomy.Intent
	Modality   taxonomy.Modality
	Candidates []Weighed
	Excluded   []route.Excluded
	// Sharing is what the organisation may draw from its agency.
	Sharing billing.Sharing
	// Chosen is the index of the candidate that a request would try first, -1 if
	// none would be called; then Refusal is what the client would hear.
	Chosen  int
	Refusal *fault.Error
}

// Weighed is a candidate with the decision who pays for it.
type Weighed struct {
	route.Candidate
	Decision billing.Decision
	// Err says why it would not be called, nil if it would.
	Err *fault.Error
}

// Explain plans a chat request of an organisation and calls nobody: it reads what
// a request reads, and writes nothing. It does not know the length of the
// request, so whether the credits suffice shows only at the call. Errors:
// not_found, scope_missing for a suspended organisation, invalid_request, and
// those of reading.
func (g *Gateway) Explain(ctx context.Context, orgID string, q Question, now time.Time) (Explained, error) {
	c, err := g.Internal(ctx, orgID, func() time.Time { return now })
	if err != nil {
		return Explained{}, err
	}
	if err := c.config.Org.Allow(); err != nil {
		return Explained{}, err
	}
	if id := c.config.Client.Offer.Agency; id != "" {
		if c.config.Client.Offer, err = g.o.Store.Offer(ctx, id); err != nil {
			return Explained{}, err
		}
	}
	ag, err := c.agent(q.Agent)
	if err != nil {
		return Explained{}, err
	}
	what, intent := q.wants()
	out := Explained{Intent: intent, Modality: what.modality, Sharing: c.sharing(), Chosen: -1}
	plan, err := g.plan(c, Query{Agent: q.Agent, Intent: intent}, ag, what)
	if err != nil {
		return Explained{}, err
	}
	a := &attempts{g: g, c: c, agent: ag.ID, plan: plan}
	out.Excluded = plan.Excluded
	for i, cand := range plan.Candidates {
		w := Weighed{Candidate: cand}
		w.Decision, err = a.explain(cand)
		if err == nil && out.Chosen < 0 {
			out.Chosen = i
		}
		if w.Err = fault.As(err); err != nil && a.denied == nil {
			a.denied = err
		}
		out.Candidates = append(out.Candidates, w)
	}
	if out.Chosen < 0 {
		out.Refusal = fault.As(a.failure())
	}
	return out, nil
}

// explain is what a request would meet on its way to a candidate.
func (a *attempts) explain(cand route.Candidate) (billing.Decision, error) {
	_, _, d, err := a.weigh(cand, func(e *providers.Entry) bool { return e.NewChat != nil })
	if err == nil {
		_, err = new(service[struct{}]).estimate(a.c.book, cand, registry.Row{}, d, billing.Expected{InputTokens: 1})
	}
	return d, err
}

// wants is what the question asks of a model, and its intent.
func (q Question) wants() (asked, taxonomy.Intent) {
	what := asked{model: q.Model, modality: q.Modality, needs: []taxonomy.Capability{taxonomy.CapText}}
	need := func(c taxonomy.Capability) {
		if !slices.Contains(what.needs, c) {
			what.needs = append(what.needs, c)
		}
	}
	for _, c := range q.Needs {
		need(c)
	}
	switch q.Modality {
	case taxonomy.ModalVision:
		need(taxonomy.CapVision)
	case taxonomy.ModalAudioIn:
		need(taxonomy.CapAudioIn)
	case "":
		what.modality = modalityOf(what.needs)
	}
	if q.Intent == "" {
		return what, taxonomy.General
	}
	return what, q.Intent
}
