// Package route turns the model a client asked for into the candidates that may
// serve it, in the order they are tried.
//
// [Plan] is a pure function of the request, the organisation's settings and
// connections, and the platform's own providers. A candidate is one model over
// one connection, or over the platform's own credential. Every inclusion and
// every exclusion carries a reason. Who pays is not decided here: each candidate
// goes through billing.Decide afterwards, so that a platform candidate stands in
// the list even where it will be denied, and the denial is recorded.
//
// An explicit provider/model means that model only, plus the fallbacks that the
// organisation configured by name. An alias, "auto" or nothing goes through the
// organisation's default and its enabled models.
package route

import (
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Auto is the word that leaves the choice of the model to the organisation.
const Auto = "auto"

// maxCandidates bounds the attempts of one request.
const maxCandidates = 16

// Reason says why a candidate is in the list, or not.
type Reason string

// Reasons of inclusion.
const (
	Preferred  Reason = "preferred"            // named by the request, its alias or its agent
	OrgDefault Reason = "org_default"          // the organisation's default model
	OrgPool    Reason = "org_enabled_pool"     // one of the organisation's enabled models
	Fallback   Reason = "safe_fallback"        // a fallback configured by name
	LastResort Reason = "cooldown_last_resort" // cooling after 429, and nothing else is left of its source
)

// Reasons of exclusion, besides those of package connection.
const (
	ProviderUnknown   Reason = "provider_unavailable"
	CapabilityMissing Reason = "capability_unsupported"
	NotRequested      Reason = "other_connection_requested"
	PrivacyBlocked    Reason = "privacy_mode_blocked"
)

// Candidate is one way to serve the request.
type Candidate struct {
	Provider taxonomy.Provider
	Model    string // the vendor's id
	// Connection is nil for the platform's own credential.
	Connection *connection.Connection
	Source     taxonomy.BillingSource
	Reason     Reason
}

// Name is the candidate as headers and records show it.
func (c Candidate) Name() string { return string(c.Provider) + "/" + c.Model }

// Excluded is a candidate that is not tried.
type Excluded struct {
	Candidate
	Reason Reason
}

// Request is what the client asked for.
type Request struct {
	Model string // as written by the client; empty = auto
	// Fallback are further models, in order, tried after the first (an agent's).
	Fallback []string
	// Connection forces one connection by id, empty = any.
	Connection string
	Needs      []taxonomy.Capability
}

// Inputs are everything a plan depends on.
type Inputs struct {
	Request     Request
	Settings    org.Settings
	Connections []connection.Connection
	// Provider returns the capabilities of an implemented provider.
	Provider func(taxonomy.Provider) ([]taxonomy.Capability, bool)
	Now      time.Time
}

// Result is the ordered plan.
type Result struct {
	Candidates []Candidate
	Excluded   []Excluded
}

type wanted struct {
	model  string
	reason Reason
}

// Plan lists the candidates. It fails with invalid_request if the model is
// neither provider/model nor an alias, or the forced connection does not exist.
func Plan(in Inputs) (Result, error) {
	models, err := wantedModels(in)
	if err != nil {
		return Result{}, err
	}
	if id := in.Request.Connection; id != "" && !hasConnection(in.Connections, id) {
		return Result{}, invalid("connection", "x-latchkey-connection names no connection of this organisation")
	}
	var r Result
	for _, w := range models {
		provider, name, _ := taxonomy.SplitModel(w.model)
		r.addModel(in, provider, name, w.reason)
	}
	r.lastResort()
	if len(r.Candidates) > maxCandidates {
		r.Candidates = r.Candidates[:maxCandidates]
	}
	return r, nil
}

func hasConnection(conns []connection.Connection, id string) bool {
	if !table.ValidID(id) {
		return false
	}
	for _, c := range conns {
		if c.ID == id {
			return true
		}
	}
	return false
}

// wantedModels resolves aliases and the organisation's defaults, without
// repeating a model.
func wantedModels(in Inputs) ([]wanted, error) {
	var out []wanted
	seen := map[string]bool{}
	add := func(m string, why Reason) {
		if p, name, ok := taxonomy.SplitModel(m); ok && !seen[string(p)+"/"+name] {
			seen[string(p)+"/"+name] = true
			out = append(out, wanted{string(p) + "/" + name, why})
		}
	}
	asked := in.Request.Model
	if alias, ok := in.Settings.Aliases[asked]; ok {
		asked = alias
	}
	if asked == "" || asked == Auto {
		add(in.Settings.DefaultModel, OrgDefault)
		for _, m := range in.Settings.EnabledModels {
			add(m, OrgPool)
		}
	} else {
		if _, _, ok := taxonomy.SplitModel(asked); !ok {
			return nil, invalid("model", "the model must be written provider/model, or be an alias of this organisation; GET /v1/models lists what is available")
		}
		add(asked, Preferred)
	}
	for _, m := range in.Request.Fallback {
		add(m, Fallback)
	}
	for _, m := range in.Settings.Fallback {
		add(m, Fallback)
	}
	if len(out) == 0 {
		return nil, invalid("model", "no model was named and the organisation has no default model; set default_model in the settings")
	}
	return out, nil
}

func (r *Result) addModel(in Inputs, provider taxonomy.Provider, name string, why Reason) {
	base := Candidate{Provider: provider, Model: name, Source: taxonomy.Platform, Reason: why}
	caps, known := in.Provider(provider)
	switch {
	case !known:
		r.exclude(base, ProviderUnknown)
		return
	case !covers(caps, in.Request.Needs):
		r.exclude(base, CapabilityMissing)
		return
	}
	for _, c := range connection.ForModel(in.Connections, provider, name) {
		own := base
		own.Connection, own.Source = &c, c.BillingSource
		switch usable := connection.Usable(c, in.Now); {
		case in.Request.Connection != "" && c.ID != in.Request.Connection:
			r.exclude(own, NotRequested)
		case in.Settings.PrivacyMode == org.PrivacyLocalOnly && c.BillingSource != taxonomy.Private:
			r.exclude(own, PrivacyBlocked)
		case usable != connection.IsUsable:
			r.exclude(own, Reason(usable))
		default:
			r.Candidates = append(r.Candidates, own)
		}
	}
	switch {
	case in.Request.Connection != "":
		r.exclude(base, NotRequested)
	case in.Settings.PrivacyMode == org.PrivacyLocalOnly:
		r.exclude(base, PrivacyBlocked)
	default:
		r.Candidates = append(r.Candidates, base)
	}
}

func (r *Result) exclude(c Candidate, why Reason) {
	r.Excluded = append(r.Excluded, Excluded{c, why})
}

// lastResort puts the first cooling connection of a billing source back when
// nothing else of that source is left. Only a rest after 429 counts: a
// connection that failed with 401, 402 or 403 keeps its failures and stays out.
func (r *Result) lastResort() {
	left := map[taxonomy.BillingSource]bool{}
	for _, c := range r.Candidates {
		left[c.Source] = true
	}
	kept := r.Excluded[:0]
	for _, e := range r.Excluded {
		if e.Reason == Reason(connection.IsCooling) && !left[e.Source] && e.Connection.Cooldown.Failures == 0 {
			left[e.Source] = true
			e.Candidate.Reason = LastResort
			r.Candidates = append([]Candidate{e.Candidate}, r.Candidates...)
			continue
		}
		kept = append(kept, e)
	}
	r.Excluded = kept
}

func covers(have, need []taxonomy.Capability) bool {
	for _, n := range need {
		found := false
		for _, h := range have {
			found = found || h == n
		}
		if !found {
			return false
		}
	}
	return true
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "route.Plan", message).WithParam(param)
}
