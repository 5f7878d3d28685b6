package route

import (
	"cmp"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// wanted is a model of the plan, before anybody asks over which credential.
type wanted struct {
	provider taxonomy.Provider
	model    string
	reason   Reason
	origin   Origin
}

// wanted lists the models in the order to try, without repeating one. A fallback
// that is no model and no alias is excluded.
func (r *Result) wanted(in Inputs) ([]wanted, error) {
	var out []wanted
	add := func(why Reason, from Origin, names ...string) {
		for _, m := range names {
			p, name, ok := taxonomy.SplitModel(m)
			if ok && !slices.ContainsFunc(out, func(w wanted) bool { return w.provider == p && w.model == name }) {
				out = append(out, wanted{p, name, why, from})
			}
		}
	}
	asked, origin := in.Request.Model, FromRequest
	target, aliased := in.Settings.Aliases[asked]
	switch {
	case in.Request.Agent:
		origin = FromAgent
	case aliased:
		origin = FromAlias
	}
	asked = cmp.Or(target, asked)
	named := asked != "" && asked != Auto
	if named {
		if _, _, ok := taxonomy.SplitModel(asked); !ok {
			return nil, invalid("model", "the model must be written provider/model, or be an alias of this organisation; GET /v1/models lists what is available")
		}
		add(Preferred, origin, asked)
	}
	chain := r.chain(in)
	if named {
		add(Fallback, FromAgent, chain...)
	}
	if origin != FromRequest || !named {
		add(Preferred, FromMatrix, cell(in)...)
		add(OrgDefault, FromSettings, in.Settings.DefaultModel)
		add(OrgPool, FromSettings, in.Settings.EnabledModels...)
		add(LocalPool, FromConnection, local(in)...)
	}
	add(Fallback, FromAgent, chain...)
	add(Fallback, FromSettings, in.Settings.Fallback...)
	if len(out) == 0 {
		return nil, invalid("model", "no model was named and the organisation has no default model; set default_model in the settings")
	}
	return out, nil
}

// chain is the agent's fallbacks with their aliases resolved.
func (r *Result) chain(in Inputs) []string {
	var out []string
	for _, m := range in.Request.Fallback {
		m = cmp.Or(in.Settings.Aliases[m], m)
		if _, _, ok := taxonomy.SplitModel(m); !ok {
			r.exclude(Candidate{Model: m, Source: taxonomy.Platform, Reason: Fallback, Origin: FromAgent}, AliasUnknown)
			continue
		}
		out = append(out, m)
	}
	return out
}

// cell is the matrix's answer to intent and modality. An intent without a cell of
// its own takes that of general; a modality takes no other's, because a model for
// text need not see.
func cell(in Inputs) org.Models {
	row := in.Settings.Routing[string(cmp.Or(in.Request.Intent, taxonomy.General))]
	if models := row[string(in.Request.Modality)]; len(models) > 0 {
		return models
	}
	return in.Settings.Routing[string(taxonomy.General)][string(in.Request.Modality)]
}

// local lists the models of private connections, where the privacy mode wants
// them.
func local(in Inputs) []string {
	if in.Settings.PrivacyMode != org.PrivacyPreferLocal && in.Settings.PrivacyMode != org.PrivacyLocalOnly {
		return nil
	}
	var out []string
	for _, c := range connection.InOrder(in.Connections) {
		if c.BillingSource != taxonomy.Private {
			continue
		}
		for _, m := range c.Models {
			if !strings.HasPrefix(m, string(c.Provider)+"/") {
				m = string(c.Provider) + "/" + m
			}
			out = append(out, m)
		}
	}
	return out
}
