package gateway

import (
	"context"
	"slices"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Embedded are vectors that are not recorded before Commit or Defer.
type Embedded struct {
	Result  *model.EmbedResult
	meter   *Meter
	outcome Outcome
}

// Info describes how the request was served.
func (e *Embedded) Info() Info { return e.meter.Info() }

// Commit records the usage; see [Meter.Finish].
func (e *Embedded) Commit(ctx context.Context) error { return e.meter.Finish(ctx, e.outcome) }

// Embed turns texts into vectors. A failed candidate is followed by others of the
// same model only: vectors of two models cannot be compared, so that the model of
// a fallback, of an agent or of the organisation's defaults would silently spoil
// what the client stores. Errors as [Gateway.Complete].
func (g *Gateway) Embed(ctx context.Context, c *Caller, q Query, r *model.EmbedRequest) (*Embedded, error) {
	name, err := embeddingModel(c, r.Model)
	if err != nil {
		return nil, err
	}
	result, meter, err := run(ctx, g, c.alone(), q, service[*model.EmbedResult]{
		name: "embed", model: name, needs: []taxonomy.Capability{taxonomy.CapText}, modality: taxonomy.ModalText, whole: true,
		has:     func(e *providers.Entry) bool { return e.NewEmbedder != nil },
		expect:  billing.Expected{InputTokens: embedTokens(r, holdBytesPerToken), NoOutput: true},
		dropped: func(cl *call) []string { return embedDropped(r, cl) },
		do: func(ctx context.Context, cl call) (*model.EmbedResult, error) {
			return cl.entry.NewEmbedder().Embed(ctx, model.EmbedCall{Target: cl.target, Request: embedOutgoing(r, &cl)})
		},
	})
	if err != nil {
		return nil, err
	}
	if result.Usage.Source == model.UsageNone || result.Usage.Source == "" {
		result.Usage = model.Usage{Input: embedTokens(r, bytesPerToken), Source: model.UsageEstimated}
	}
	return &Embedded{Result: result, meter: meter,
		outcome: Outcome{Usage: billable(result.Usage), ProviderRequestID: result.ProviderRequestID}}, nil
}

// embeddingModel resolves the one model that may answer.
func embeddingModel(c *Caller, asked string) (string, error) {
	if alias, ok := c.config.Settings.Aliases[asked]; ok {
		asked = alias
	}
	if _, _, ok := taxonomy.SplitModel(asked); !ok {
		return "", fault.New(fault.InvalidRequest, "gateway.Embed",
			"the model must be written provider/model, or be an alias of this organisation; embeddings are never made by another model than the one named").WithParam("model")
	}
	return asked, nil
}

// alone is the caller without anything that adds models to the one that is named.
func (c *Caller) alone() *Caller {
	out := *c
	out.config.Settings.Fallback = nil
	out.config.Agents = slices.Clone(c.config.Agents)
	for i := range out.config.Agents {
		out.config.Agents[i].Model, out.config.Agents[i].Fallback = "", nil
	}
	return &out
}

// embedOutgoing is the request as this candidate gets it.
func embedOutgoing(r *model.EmbedRequest, c *call) *model.EmbedRequest {
	out := *r
	out.Model = c.model
	out.Strip(c.dropped)
	if c.platform && out.User != "" {
		out.User = tenantName(c.org, "user\x00"+out.User)
	}
	return &out
}

// embedTokens estimates the input tokens; token arrays are counted.
func embedTokens(r *model.EmbedRequest, perToken int64) int64 {
	var n int64
	for _, s := range r.Inputs {
		n += (int64(len(s)) + perToken - 1) / perToken
	}
	for _, list := range r.Tokens {
		n += int64(len(list))
	}
	return n
}
