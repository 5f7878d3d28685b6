package bedrock

import "github.com/latchkey/latchkey/shared/model"

// Uncarried implements [model.Carrier]. The API has no dialect of ours, so unknown
// fields are never sent, and no field for the end user.
func (c *Chat) Uncarried(id string, r *model.Request) (out []string) {
	p, s := profileOf(id), &r.Sampling
	for _, name := range [...]string{model.FieldFrequencyPenalty, model.FieldPresencePenalty} {
		if v := s.Number(name); v != nil && *v != 0 {
			out = append(out, name)
		}
	}
	if s.Seed != nil {
		out = append(out, model.FieldSeed)
	}
	for _, name := range [...]string{model.FieldTemperature, model.FieldTopP} {
		if v := s.Number(name); v != nil && *v != 1 && !p.sampling {
			out = append(out, name)
		}
	}
	if s.TopK != nil && p.topK == "" {
		out = append(out, model.FieldTopK)
	}
	if r.User != "" {
		out = append(out, model.FieldUser)
	}
	for name := range r.Extra {
		out = append(out, name)
	}
	return out
}
