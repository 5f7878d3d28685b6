// Package route turns the model a client asked for into the candidates that may
// serve it, in the order they are tried.
//
// [Plan] is a pure function of the request, the organisation's settings and
// connections, and what is known of providers and models. A candidate is one
// model over one connection, or over the platform's own credential. Every
// inclusion and every exclusion carries a [Reason]; every connection of the
// organisation is in one of the two lists. Who pays is not decided here: each
// candidate goes through billing.Decide afterwards, so that a platform candidate
// stands in the list even where it will be denied, and the denial is recorded.
//
// An explicit provider/model means that model only, plus the fallbacks that were
// configured by name. An alias, "auto", nothing or an agent's own model goes
// through the organisation's matrix: what was named, the agent's fallbacks, the
// cell of the request's intent and modality, the default model, the enabled
// models, models that private connections list (if the privacy mode asks for
// them), the organisation's fallbacks. Each model is taken over its connections
// by priority, then creation, then the platform. What a session was served with
// last goes first while it is still in the list; see [Pin].
package route

import (
	"slices"
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

// Reason says why a candidate is in the list, or not. The values are frozen.
type Reason string

// Reasons of inclusion.
const (
	SessionPinned Reason = "session_pinned"       // it served the session last
	Preferred     Reason = "preferred"            // named by the request, its alias, its agent, or the matrix
	OrgDefault    Reason = "org_default"          // the organisation's default model
	OrgPool       Reason = "org_enabled_pool"     // one of the organisation's enabled models
	LocalPool     Reason = "local_connector_pool" // listed by a private connection
	Fallback      Reason = "safe_fallback"        // a fallback configured by name
	LastResort    Reason = "cooldown_last_resort" // cooling, and nothing else is left of its source
)

// Reasons of exclusion, besides those of package connection: revoked, disabled,
// unhealthy, unverified, cooldown.
const (
	ProviderUnknown   Reason = "provider_unavailable"
	AliasUnknown      Reason = "alias_unknown"
	ModalityMissing   Reason = "modality_unsupported"
	IntentMissing     Reason = "intent_unsupported" // tooling needs tools and json
	CapabilityMissing Reason = "capability_unsupported"
	QualityBlocked    Reason = "quality_tier_blocked"
	PrivacyBlocked    Reason = "privacy_mode_blocked"
	NotRequested      Reason = "other_connection_requested"
	OtherProvider     Reason = "other_provider"   // no model of the plan is of the connection's provider
	ModelNotListed    Reason = "model_not_listed" // nor in the connection's list of models
	TooMany           Reason = "candidate_limit"
)

// Reasons lists all reasons with their meaning frozen, inclusions first.
func Reasons() []Reason {
	return []Reason{SessionPinned, Preferred, OrgDefault, OrgPool, LocalPool, Fallback, LastResort,
		ProviderUnknown, AliasUnknown, ModalityMissing, IntentMissing, CapabilityMissing, QualityBlocked, PrivacyBlocked, NotRequested, OtherProvider,
		ModelNotListed, TooMany, Reason(connection.IsRevoked), Reason(connection.IsOff), Reason(connection.IsFailed), Reason(connection.IsUnverified),
		Reason(connection.IsCooling)}
}

// Origin says who named the model of a candidate.
type Origin string

// Origins.
const (
	FromRequest    Origin = "request"
	FromAlias      Origin = "alias"
	FromAgent      Origin = "agent"
	FromMatrix     Origin = "matrix"
	FromSettings   Origin = "settings"
	FromConnection Origin = "connection"
)

// Candidate is one way to serve the request.
type Candidate struct {
	Provider taxonomy.Provider
	Model    string // the vendor's id
	// Connection is nil for the platform's own credential.
	Connection *connection.Connection
	Source     taxonomy.BillingSource
	Reason     Reason
	Origin     Origin
}

// Name is the candidate as headers and records show it.
func (c Candidate) Name() string {
	if c.Provider == "" {
		return c.Model
	}
	return string(c.Provider) + "/" + c.Model
}

// Excluded is a candidate that is not tried.
type Excluded struct {
	Candidate
	Reason Reason
}

// Pin is what a session was served with last. It moves a candidate to the front
// and never adds one, so what the settings or the agent no longer name is gone.
// Two preferences are stronger: a platform candidate never goes before an own
// connection, because one failure of the organisation's key must not move a whole
// conversation to credits; and under prefer_local nothing goes before a private
// one.
type Pin struct {
	Model      string // provider/model
	Connection string // empty = the platform's credential
}

// Request is what the client asked for.
type Request struct {
	Model string // as written by the client; empty = auto
	// Agent says that Model is the agent's own and not the client's.
	Agent bool
	// Fallback is the agent's chain, in order: models or aliases.
	Fallback []string
	// Connection forces one connection by id, empty = any.
	Connection string
	Needs      []taxonomy.Capability
	// Intent chooses the row of the matrix, empty = general. Modality chooses the
	// column; empty = the matrix does not apply, as for speech.
	Intent   taxonomy.Intent
	Modality taxonomy.Modality
	Pin      Pin
}

// Facts are what is known of a model.
type Facts struct {
	// Lacks are capabilities that the model surely does not have. What is not
	// known is left to the vendor.
	Lacks []taxonomy.Capability
	// Tier is its quality; empty = unrated.
	Tier org.QualityFloor
}

// Inputs are everything a plan depends on.
type Inputs struct {
	Request     Request
	Settings    org.Settings
	Connections []connection.Connection
	// Provider returns the capabilities of an implemented provider.
	Provider func(taxonomy.Provider) ([]taxonomy.Capability, bool)
	// Facts tells what is known of a model; nil = nothing is.
	Facts func(p taxonomy.Provider, model string) Facts
	Now   time.Time
}

// Result is the ordered plan.
type Result struct {
	Candidates []Candidate
	Excluded   []Excluded
}

// Plan lists the candidates. It fails with invalid_request if the model is
// neither provider/model nor an alias, or the forced connection does not exist.
func Plan(in Inputs) (Result, error) {
	in.Connections = legacyOrder(in.Settings.Legacy, in.Connections, in.Now)
	var r Result
	models, err := r.wanted(in)
	if err != nil {
		return Result{}, err
	}
	if id := in.Request.Connection; id != "" && !hasConnection(in.Connections, id) {
		return Result{}, invalid("connection", "x-latchkey-connection names no connection of this organisation")
	}
	for _, w := range models {
		r.addModel(in, w)
	}
	r.lastResort()
	r.pin(in.Request.Pin)
	if in.Settings.PrivacyMode == org.PrivacyPreferLocal {
		slices.SortStableFunc(r.Candidates, func(a, b Candidate) int { return public(a) - public(b) })
	}
	if len(r.Candidates) > maxCandidates {
		for _, c := range r.Candidates[maxCandidates:] {
			r.exclude(c, TooMany)
		}
		r.Candidates = r.Candidates[:maxCandidates]
	}
	r.others(in.Connections, models)
	return r, nil
}

func public(c Candidate) int {
	if c.Source == taxonomy.Private {
		return 0
	}
	return 1
}

func hasConnection(conns []connection.Connection, id string) bool {
	return table.ValidID(id) && slices.ContainsFunc(conns, func(c connection.Connection) bool { return c.ID == id })
}

// addModel adds a model over its connections and over the platform.
func (r *Result) addModel(in Inputs, w wanted) {
	base := Candidate{Provider: w.provider, Model: w.model, Source: taxonomy.Platform, Reason: w.reason, Origin: w.origin}
	unfit := in.unfit(w.provider, w.model)
	check := func(c Candidate, usable connection.Reason) {
		switch {
		case unfit != "":
			r.exclude(c, unfit)
		case in.Request.Connection != "" && (c.Connection == nil || c.Connection.ID != in.Request.Connection):
			r.exclude(c, NotRequested)
		case in.Settings.PrivacyMode == org.PrivacyLocalOnly && c.Source != taxonomy.Private:
			r.exclude(c, PrivacyBlocked)
		case usable != connection.IsUsable:
			r.exclude(c, Reason(usable))
		default:
			r.Candidates = append(r.Candidates, c)
		}
	}
	for _, c := range connection.ForModel(in.Connections, w.provider, w.model) {
		own := base
		own.Connection, own.Source = &c, c.BillingSource
		check(own, connection.Usable(c, in.Now))
	}
	check(base, connection.IsUsable)
}

// unfit says why no credential makes the model fit the request, empty if it fits.
func (in *Inputs) unfit(p taxonomy.Provider, model string) Reason {
	caps, known := in.Provider(p)
	if !known {
		return ProviderUnknown
	}
	var facts Facts
	if in.Facts != nil {
		facts = in.Facts(p, model)
	}
	can := func(c taxonomy.Capability) bool { return slices.Contains(caps, c) && !slices.Contains(facts.Lacks, c) }
	// What a provider without any capability cannot do is the gateway's to say.
	if len(caps) > 0 {
		if why := in.Request.missing(can); why != "" {
			return why
		}
	}
	if rank(facts.Tier) < rank(in.Settings.QualityFloor) {
		return QualityBlocked
	}
	return ""
}

// missing names the first kind of need that cannot be met.
func (q *Request) missing(can func(taxonomy.Capability) bool) Reason {
	for _, n := range q.Needs {
		if (n == taxonomy.CapVision || n == taxonomy.CapAudioIn) && !can(n) {
			return ModalityMissing
		}
	}
	if q.Intent == taxonomy.Tooling && q.Modality != "" && !(can(taxonomy.CapTools) && can(taxonomy.CapJSON)) {
		return IntentMissing
	}
	if slices.ContainsFunc(q.Needs, func(n taxonomy.Capability) bool { return !can(n) }) {
		return CapabilityMissing
	}
	return ""
}

// rank orders tiers; what is not a tier ranks with unrated.
func rank(t org.QualityFloor) int {
	return slices.Index([]org.QualityFloor{org.QualityBronze, org.QualitySilver, org.QualityGold}, t)
}

func (r *Result) exclude(c Candidate, why Reason) {
	r.Excluded = append(r.Excluded, Excluded{c, why})
}

// lastResort puts the first cooling connection of a billing source back when
// nothing else of that source is left, before the platform's turn. A connection
// whose key was refused or has no quota (401, 402, 403) stays out.
func (r *Result) lastResort() {
	left := map[taxonomy.BillingSource]bool{}
	for _, c := range r.Candidates {
		left[c.Source] = true
	}
	kept := r.Excluded[:0]
	for _, e := range r.Excluded {
		if e.Reason == Reason(connection.IsCooling) && !left[e.Source] && !e.Connection.Cooldown.Refused {
			left[e.Source] = true
			e.Candidate.Reason = LastResort
			at := slices.IndexFunc(r.Candidates, func(c Candidate) bool { return c.Connection == nil })
			if at < 0 {
				at = len(r.Candidates)
			}
			r.Candidates = slices.Insert(r.Candidates, at, e.Candidate)
			continue
		}
		kept = append(kept, e)
	}
	r.Excluded = kept
}

// pin moves what served the session last to the front.
func (r *Result) pin(p Pin) {
	if p.Model == "" {
		return
	}
	own := slices.ContainsFunc(r.Candidates, func(c Candidate) bool { return c.Connection != nil })
	at := slices.IndexFunc(r.Candidates, func(c Candidate) bool {
		return c.Name() == p.Model && (c.Connection == nil && p.Connection == "" && !own || c.Connection != nil && c.Connection.ID == p.Connection)
	})
	if at < 0 || r.Candidates[at].Reason == LastResort {
		return
	}
	c := r.Candidates[at]
	c.Reason = SessionPinned
	r.Candidates = slices.Insert(slices.Delete(r.Candidates, at, at+1), 0, c)
}

// others lists the connections that no model of the plan concerns.
func (r *Result) others(conns []connection.Connection, models []wanted) {
	for i := range conns {
		c := &conns[i]
		why := OtherProvider
		listed := false
		for _, w := range models {
			if w.provider == c.Provider {
				why = ModelNotListed
				listed = listed || c.Serves(w.model)
			}
		}
		if !listed {
			r.exclude(Candidate{Provider: c.Provider, Connection: c, Source: c.BillingSource}, why)
		}
	}
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "route.Plan", message).WithParam(param)
}
