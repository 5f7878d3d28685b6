// Package registry knows models: how much they take and give, what they read,
// write and can do, as their vendors document it.
//
// The facts are rows of models.txt, each with its source and the date it was read
// there; `lk models import` renews those that come from models.dev. [Lookup] finds
// the row of a model, also under the longer names that vendors document for the
// same model (names.go).
//
// Guarantees: nothing is guessed. A fact has three values: documented yes,
// documented no, unknown; a model without a row has no facts. Who makes a call
// refuses only what is documented to fail ([Row.Lacks], [Row.MaxInput]), so that a
// vendor's new model works before anybody wrote a row; who fills a pool takes only
// what is documented to work ([Row.Has], [Row.Tier]).
//
// What a model takes on the wire (forms of media, names and values of parameters)
// is the business of its vendor's adapter. Prices are package billing's.
//
// Limits: the table is read once per process, on first use. Quality tiers are
// measured, not documented: until there is evidence every model is unrated.
package registry

import (
	"slices"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Fact is what is documented about one ability.
type Fact int8

// Facts. The zero Fact is unknown.
const (
	Unknown Fact = iota
	Yes
	No
)

// Modality is a kind of content.
type Modality string

// Modalities.
const (
	Text  Modality = "text"
	Image Modality = "image"
	Audio Modality = "audio"
	Video Modality = "video"
	PDF   Modality = "pdf"
	// Vector is what models of embeddings write.
	Vector Modality = "vector"
)

// Status is where a model stands in its life.
type Status string

// Statuses.
const (
	Current    Status = ""
	Beta       Status = "beta"
	Deprecated Status = "deprecated"
)

// Tier is a grade of measured quality.
type Tier string

// Unrated is the tier of what was not measured.
const Unrated Tier = "unrated"

// Row is what is known of one model. Do not change its slices.
type Row struct {
	Provider taxonomy.Provider
	// Model is the vendor's id.
	Model string
	// ContextTokens is the window for input and output together, InputTokens what
	// the input alone may have, MaxOutputTokens what the output may; 0 is unknown.
	ContextTokens, InputTokens, MaxOutputTokens int64
	// Inputs and Outputs are all that the model reads and writes, nil if unknown.
	Inputs, Outputs []Modality
	Tools, JSON     Fact
	Reasoning       Fact
	// Released is YYYY-MM-DD or YYYY-MM, empty if unknown.
	Released string
	Status   Status
	Tier     Tier
	// Source says where the facts were read, SourceDate (YYYY-MM-DD) when, or as of
	// when they were published there.
	Source, SourceDate string
}

// Lookup finds the row of a provider's model, by its id or by a longer name that
// the vendor documents for the same model; Row.Model is the id of the row. ok is
// false if nothing is known: the zero Row then has no facts and is unrated.
func Lookup(p taxonomy.Provider, model string) (row Row, ok bool) {
	t := curated()
	if r, ok := t.find(p, model); ok {
		return r, true
	}
	for _, name := range sameModel(p, model) {
		if r, ok := t.find(p, name); ok {
			return r, true
		}
	}
	return Row{Provider: p, Model: model, Tier: Unrated}, false
}

// Rows lists the curated models sorted by provider and id; p empty means all.
func Rows(p taxonomy.Provider) []Row {
	var out []Row
	for _, r := range curated().rows {
		if p == "" || r.Provider == p {
			out = append(out, r)
		}
	}
	return out
}

// Name is the model as clients write it.
func (r Row) Name() string { return string(r.Provider) + "/" + r.Model }

// Embeds reports whether the model makes embeddings.
func (r Row) Embeds() bool { return slices.Contains(r.Outputs, Vector) }

// Can says whether the model has a capability.
func (r Row) Can(c taxonomy.Capability) Fact {
	switch c {
	case taxonomy.CapText:
		return among(r.Outputs, Text)
	case taxonomy.CapVision:
		return among(r.Inputs, Image)
	case taxonomy.CapAudioIn:
		return among(r.Inputs, Audio)
	case taxonomy.CapAudioOut:
		return among(r.Outputs, Audio)
	case taxonomy.CapTools:
		return r.Tools
	case taxonomy.CapJSON:
		return r.JSON
	}
	return Unknown
}

func among(list []Modality, m Modality) Fact {
	switch {
	case list == nil:
		return Unknown
	case slices.Contains(list, m):
		return Yes
	}
	return No
}

// Capabilities lists what the model is documented to have; nil if nothing is known.
func (r Row) Capabilities() []taxonomy.Capability {
	var out []taxonomy.Capability
	for _, c := range taxonomy.Capabilities() {
		if r.Can(c) == Yes {
			out = append(out, c)
		}
	}
	return out
}

// Lacks returns the first of the needs that the model is documented not to have.
// A call that needs it would fail at the vendor.
func (r Row) Lacks(needs []taxonomy.Capability) (c taxonomy.Capability, lacks bool) {
	for _, n := range needs {
		if r.Can(n) == No {
			return n, true
		}
	}
	return "", false
}

// Has reports whether the model is documented to have all the needs.
func (r Row) Has(needs []taxonomy.Capability) bool {
	for _, n := range needs {
		if r.Can(n) != Yes {
			return false
		}
	}
	return true
}

// MaxInput is the most input tokens the model takes, 0 if unknown: what its vendor
// states for the input alone, else the whole window.
func (r Row) MaxInput() int64 {
	if r.InputTokens > 0 {
		return r.InputTokens
	}
	return r.ContextTokens
}
