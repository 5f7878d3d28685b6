package anthropic

import "github.com/latchkey/latchkey/shared/model"

// Uncarried implements [model.Carrier].
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
	if !p.sampling {
		for _, name := range [...]string{model.FieldTemperature, model.FieldTopP} {
			if v := s.Number(name); v != nil && *v != 1 {
				out = append(out, name)
			}
		}
		if s.TopK != nil {
			out = append(out, model.FieldTopK)
		}
	}
	for name := range r.Extra {
		if r.Dialect != model.DialectMessages {
			out = append(out, name)
		}
	}
	return out
}
