package admin

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	routing "github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Routes explains how a request would be routed; [gateway.Gateway] implements it.
type Routes interface {
	Explain(ctx context.Context, org string, q gateway.Question, now time.Time) (gateway.Explained, error)
}

type explainBody struct {
	Model        string   `json:"model"`
	Agent        string   `json:"agent"`
	Intent       string   `json:"intent"`
	Modality     string   `json:"modality"`
	Capabilities []string `json:"capabilities"`
}

// explainJSON answers with the candidates in the order a request would try them.
type explainJSON struct {
	Intent     taxonomy.Intent   `json:"intent"`
	Modality   taxonomy.Modality `json:"modality"`
	Candidates []candidateJSON   `json:"candidates"`
	Exclusions []exclusionJSON   `json:"exclusions"`
	// Billing is the decision for the chosen candidate; without one, for the first.
	Billing *decisionJSON `json:"billing,omitempty"`
	// Refusal is what the client would hear if none would be called.
	Refusal *refusalJSON `json:"refusal,omitempty"`
	// Sharing is what the organisation may draw from its agency, first or after its
	// own credits.
	Sharing *drawableJSON `json:"sharing,omitempty"`
}

type candidateJSON struct {
	// Chosen marks the one that would be called first.
	Chosen     bool                   `json:"chosen"`
	Model      string                 `json:"model"`
	Connection string                 `json:"connection_id,omitempty"`
	Source     taxonomy.BillingSource `json:"billing_source"`
	Reason     routing.Reason         `json:"reason"`
	Origin     routing.Origin         `json:"origin"`
	Billing    decisionJSON           `json:"billing"`
	// Refused is the code with which the candidate would be passed over.
	Refused fault.Code `json:"refused,omitempty"`
}

type exclusionJSON struct {
	// Model is empty where the connection serves none of the models in question.
	Model      string                 `json:"model,omitempty"`
	Connection string                 `json:"connection_id,omitempty"`
	Source     taxonomy.BillingSource `json:"billing_source"`
	Reason     routing.Reason         `json:"reason"`
}

type drawableJSON struct {
	AgencyID string `json:"agency_id"`
	Mode     string `json:"mode"`
}

type decisionJSON struct {
	Allowed bool                   `json:"allowed"`
	Source  taxonomy.BillingSource `json:"source,omitempty"`
	Rule    string                 `json:"rule"`
	Reason  string                 `json:"reason"`
	// PayerID is whose credits would pay; empty for own keys.
	PayerID string `json:"payer_org_id,omitempty"`
}

type refusalJSON struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
}

func decisionOut(d billing.Decision, orgID, agencyID string) decisionJSON {
	out := decisionJSON{Allowed: d.Allowed, Source: d.Source, Rule: d.Rule, Reason: d.Reason}
	switch {
	case d.Shared:
		out.PayerID = agencyID
	case d.Metered():
		out.PayerID = orgID
	}
	return out
}

func (b explainBody) question() (gateway.Question, error) {
	q := gateway.Question{Model: b.Model, Agent: b.Agent}
	var ok bool
	if q.Intent, ok = taxonomy.ParseIntent(b.Intent); !ok && b.Intent != "" {
		return q, malformed("intent", "intent is general, tooling, billing, support or content")
	}
	if q.Modality, ok = taxonomy.ParseModality(b.Modality); !ok && b.Modality != "" {
		return q, malformed("modality", "modality is text, vision or audio_in")
	}
	for _, s := range b.Capabilities {
		c, ok := taxonomy.ParseCapability(s)
		if !ok {
			return q, malformed("capabilities", "capabilities are text, vision, audio_in, audio_out, tools and json")
		}
		q.Needs = append(q.Needs, c)
	}
	return q, nil
}

func explainRoute(c *call, b explainBody) (any, error) {
	q, err := b.question()
	if err != nil {
		return nil, err
	}
	x, err := c.Routes.Explain(c, c.org.ID, q, c.req.Now)
	if err != nil {
		return nil, err
	}
	out := explainJSON{Intent: x.Intent, Modality: x.Modality, Candidates: []candidateJSON{}, Exclusions: []exclusionJSON{}}
	if x.Sharing.Mode != "" {
		out.Sharing = &drawableJSON{x.Sharing.Agency, x.Sharing.Mode}
	}
	for i, w := range x.Candidates {
		line := candidateJSON{Chosen: i == x.Chosen, Model: w.Name(), Source: w.Source, Reason: w.Reason, Origin: w.Origin, Billing: decisionOut(w.Decision, c.org.ID, x.Sharing.Agency)}
		if w.Connection != nil {
			line.Connection = w.Connection.ID
		}
		if w.Err != nil {
			line.Refused = w.Err.Code
		}
		if i == max(x.Chosen, 0) {
			out.Billing = &line.Billing
		}
		out.Candidates = append(out.Candidates, line)
	}
	for _, e := range x.Excluded {
		line := exclusionJSON{Source: e.Source, Reason: e.Reason}
		if e.Candidate.Model != "" {
			line.Model = e.Name()
		}
		if e.Connection != nil {
			line.Connection = e.Connection.ID
		}
		out.Exclusions = append(out.Exclusions, line)
	}
	if x.Refusal != nil {
		out.Refusal = &refusalJSON{x.Refusal.Code, x.Refusal.Message}
	}
	return out, nil
}
