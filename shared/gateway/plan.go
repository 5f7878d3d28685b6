package gateway

import (
	"slices"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// asked is what a request asks of a model.
type asked struct {
	model    string
	modality taxonomy.Modality
	needs    []taxonomy.Capability
}

// modalityOf is the column of a request with these needs: an image decides over a
// sound.
func modalityOf(needs []taxonomy.Capability) taxonomy.Modality {
	switch {
	case slices.Contains(needs, taxonomy.CapVision):
		return taxonomy.ModalVision
	case slices.Contains(needs, taxonomy.CapAudioIn):
		return taxonomy.ModalAudioIn
	}
	return taxonomy.ModalText
}

// plan lists the candidates of a request.
func (g *Gateway) plan(c *Caller, q Query, ag Agent, what asked) (route.Result, error) {
	r := route.Request{Model: what.model, Fallback: ag.Fallback, Connection: q.Connection, Needs: what.needs,
		Intent: q.Intent, Modality: what.modality, Pin: q.Pin}
	if (r.Model == "" || r.Model == route.Auto) && ag.Model != "" {
		r.Model, r.Agent = ag.Model, true
	}
	return route.Plan(route.Inputs{Request: r, Settings: c.config.Settings, Connections: c.config.Connections,
		Provider: g.capabilities, Facts: g.facts, Now: c.now()})
}

// facts is what is known of a model: what its adapter would refuse, what the
// registry documents that it does not have, and its tier. Nothing has measured
// quality yet, so every model is unrated: a floor above that excludes it.
func (g *Gateway) facts(p taxonomy.Provider, name string) route.Facts {
	var f route.Facts
	if e := g.entries[p]; e != nil && e.Lacks != nil {
		f.Lacks = e.Lacks(name)
	}
	row, _ := registry.Lookup(p, name)
	f.Tier = org.QualityFloor(row.Tier)
	for _, c := range taxonomy.Capabilities() {
		// A model of embeddings writes no text, and is asked for none.
		if row.Can(c) == registry.No && !(c == taxonomy.CapText && row.Embeds()) {
			f.Lacks = append(f.Lacks, c)
		}
	}
	return f
}

// weigh decides who pays for a candidate and how it is reached, or why it is not
// tried.
func (a *attempts) weigh(cand route.Candidate, has func(*providers.Entry) bool) (billing.Inputs, access, billing.Decision, error) {
	a.current = about(cand, billing.Decision{})
	entry := a.g.entries[cand.Provider]
	if !entry.Served() {
		return billing.Inputs{}, access{}, billing.Decision{}, errNotServed()
	}
	in, acc, err := a.inputs(cand)
	if err != nil {
		return in, acc, billing.Decision{}, err
	}
	d := billing.Decide(in)
	a.current = about(cand, d)
	if err := d.Fault(); err != nil {
		return in, acc, d, err
	}
	return in, acc, d, acc.check(entry, has(entry))
}

// failure is what the client hears when no candidate answered: the last
// vendor's word, else why the first candidate was not called.
func (a *attempts) failure() error {
	switch {
	case a.last != nil:
		return a.last
	case a.denied != nil:
		return a.denied
	}
	return a.g.excluded(a.plan.Excluded)
}

// excluded explains a plan without candidates. What was asked for stands first:
// fallbacks do not explain a refusal, unless the first model's own connections
// say nothing.
func (g *Gateway) excluded(list []route.Excluded) error {
	const op = "gateway.run"
	if len(list) > 0 {
		if entry := g.entries[list[0].Provider]; entry != nil && !entry.Served() {
			return errNotServed()
		}
		switch list[0].Reason {
		case route.QualityBlocked:
			return fault.New(fault.ModelNotEnabled, op, "the model's quality tier is below the organisation's quality_floor; choose another model or lower the floor").WithParam("model")
		case route.PrivacyBlocked:
			if !anyUsablePrivate(list) {
				return fault.New(fault.ModelNotEnabled, op, "privacy_mode local_only admits private connections only, and none serves this model").WithParam("model")
			}
		case route.IntentMissing:
			return fault.New(fault.InvalidRequest, op, "the intent tooling needs a model with tools and JSON output; no model of the plan has both").WithParam("x-latchkey-intent")
		}
	}
	for _, e := range list {
		switch e.Reason {
		case route.OtherProvider, route.ModelNotListed, route.ProviderUnknown, route.ModalityMissing, route.CapabilityMissing, route.PrivacyBlocked:
			continue
		}
		if e.Connection != nil {
			return fault.New(fault.BYOKUnavailable, op,
				"the organisation's connection for this model cannot be used ("+string(e.Reason)+"); test it and replace its key")
		}
	}
	for _, e := range list {
		if e.Reason == route.ModalityMissing || e.Reason == route.CapabilityMissing {
			return fault.New(fault.UnsupportedMedia, op, "no provider of this model can take what the request contains").WithParam("model")
		}
	}
	return fault.New(fault.ModelNotEnabled, op, "no provider for this model is available here; GET /v1/models lists what is").WithParam("model")
}

// anyUsablePrivate reports whether a private connection stands among the
// excluded: then its own reason says more.
func anyUsablePrivate(list []route.Excluded) bool {
	for _, e := range list {
		if e.Connection != nil && e.Source == taxonomy.Private && e.Reason != route.OtherProvider && e.Reason != route.ModelNotListed {
			return true
		}
	}
	return false
}

// withDefaults fills what a chat request leaves open from an older settings
// record, whose values were made for models over OpenRouter. Other requests and
// other organisations keep the vendor's defaults.
func (c *Caller) withDefaults(r *model.Request) *model.Request {
	l := c.config.Settings.Legacy
	if l == nil {
		return r
	}
	if p, _, explicit := taxonomy.SplitModel(r.Model); explicit && p != taxonomy.OpenRouter {
		return r
	}
	out := *r
	if out.Sampling.Temperature == nil {
		out.Sampling.Temperature = l.Temperature
	}
	if out.MaxOutputTokens == 0 {
		out.MaxOutputTokens = l.MaxTokens
	}
	return &out
}
