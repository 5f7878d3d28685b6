package model

import (
	"encoding/json"
	"maps"
	"slices"
)

// Names of sampling parameters and of the end user in [Carrier] and
// [Request.Strip]; they are those of the chat dialect whatever the client speaks.
const (
	FieldTemperature      = "temperature"
	FieldTopP             = "top_p"
	FieldTopK             = "top_k"
	FieldFrequencyPenalty = "frequency_penalty"
	FieldPresencePenalty  = "presence_penalty"
	FieldSeed             = "seed"
	FieldUser             = "user"
)

// Number is a sampling parameter that is a real number, nil if it is absent or
// has another type.
func (s *Sampling) Number(field string) *float64 {
	switch field {
	case FieldTemperature:
		return s.Temperature
	case FieldTopP:
		return s.TopP
	case FieldFrequencyPenalty:
		return s.FrequencyPenalty
	case FieldPresencePenalty:
		return s.PresencePenalty
	}
	return nil
}

// Has reports whether a sampling parameter is given.
func (s *Sampling) Has(field string) bool {
	return s.Number(field) != nil || field == FieldTopK && s.TopK != nil || field == FieldSeed && s.Seed != nil
}

// Strip takes sampling parameters, the end user and unknown fields out of r, by
// name; other names do nothing. What r shares with other requests is not changed.
func (r *Request) Strip(fields []string) {
	for _, name := range fields {
		switch name {
		case FieldTemperature:
			r.Sampling.Temperature = nil
		case FieldTopP:
			r.Sampling.TopP = nil
		case FieldTopK:
			r.Sampling.TopK = nil
		case FieldFrequencyPenalty:
			r.Sampling.FrequencyPenalty = nil
		case FieldPresencePenalty:
			r.Sampling.PresencePenalty = nil
		case FieldSeed:
			r.Sampling.Seed = nil
		case FieldUser:
			r.User = ""
		}
	}
	r.Extra = without(r.Extra, fields)
}

// Strip takes the end user and unknown fields out of r, as [Request.Strip].
func (r *EmbedRequest) Strip(fields []string) {
	if slices.Contains(fields, FieldUser) {
		r.User = ""
	}
	r.Extra = without(r.Extra, fields)
}

// without is m without the named members; m itself is not changed.
func without(m map[string]json.RawMessage, names []string) map[string]json.RawMessage {
	if !slices.ContainsFunc(names, func(name string) bool { return m[name] != nil }) {
		return m
	}
	out := maps.Clone(m)
	for _, name := range names {
		delete(out, name)
	}
	return out
}
