package gateway

import (
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/speech"
)

// admit notes which fields the candidate is not given. In strict mode it refuses
// such a candidate, before anything is reserved.
func (s *service[T]) admit(cl *call) error {
	if s.dropped == nil {
		return nil
	}
	cl.dropped = s.dropped(cl)
	if !cl.strict || len(cl.dropped) == 0 {
		return nil
	}
	names := shown(cl.dropped)
	return fault.New(fault.InvalidRequest, "gateway.admit",
		"this model would not be given "+strings.Join(names, ", ")+": leave that out, choose another model, or do not ask for strict mode").WithParam(names[0])
}

// strict adds what the body said to what the headers did.
func (q Query) strict(r *model.Request) Query {
	q.Strict = q.Strict || r.Strict
	return q
}

// chatDropped names the fields that this candidate is not given: what its adapter
// does not send and, where the platform pays, unknown fields that are not
// harmless. A vendor's own routing, plug-ins or service tiers could make another,
// dearer model answer on the platform's key.
func chatDropped(r *model.Request, c *call) []string {
	var out []string
	if carrier, ok := c.chat.(model.Carrier); ok {
		out = carrier.Uncarried(c.model, r)
	}
	return withoutHarmful(out, r.Extra, harmless, c.platform)
}

// DroppedFields names the unknown fields of a chat request that a platform call
// does not forward, sorted.
func DroppedFields(r *model.Request) []string { return withoutHarmful(nil, r.Extra, harmless, true) }

// withoutHarmful adds the unknown fields that a platform call does not forward,
// sorts the names and leaves each once.
func withoutHarmful[V any](names []string, extra map[string]V, harmless map[string]bool, platform bool) []string {
	if platform {
		for name := range extra {
			if !harmless[name] {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// harmless are the unknown fields of chat, harmlessEmbedding those of embeddings,
// that cannot change what the platform is billed for.
var (
	harmless = map[string]bool{
		"logit_bias": true, "logprobs": true, "top_logprobs": true, "metadata": true, "verbosity": true,
		"prompt_cache_key": true, "safety_identifier": true, "min_p": true, "top_a": true, "repetition_penalty": true,
	}
	harmlessEmbedding = map[string]bool{"input_type": true}
)

// embedDropped is [chatDropped] for embeddings.
func embedDropped(r *model.EmbedRequest, c *call) []string {
	var out []string
	if carrier, ok := c.entry.NewEmbedder().(model.EmbedCarrier); ok {
		out = carrier.Uncarried(r)
	}
	return withoutHarmful(out, r.Extra, harmlessEmbedding, c.platform)
}

// heardDropped and spokenDropped are [chatDropped] for speech, of whose unknown
// fields none is known to be harmless.
func heardDropped(r *speech.TranscribeRequest, c *call) []string {
	return speechDropped(c.entry.NewTranscriber(), r.Extra, c.platform)
}

func spokenDropped(r *speech.SynthesizeRequest, c *call) []string {
	return speechDropped(c.entry.NewSynthesizer(), r.Extra, c.platform)
}

func speechDropped[V any](adapter any, extra map[string]V, platform bool) []string {
	carrier, ok := adapter.(speech.ExtraCarrier)
	return withoutHarmful(nil, extra, nil, platform || !ok || !carrier.CarriesExtra())
}

const (
	// A client names its fields as it likes; what is shown of them is bounded.
	maxShown     = 24
	maxFieldName = 64
)

// shown are names as headers and messages may hold them.
func shown(fields []string) []string {
	if len(fields) == 0 {
		return nil
	}
	out := make([]string, 0, min(len(fields), maxShown+1))
	for i, name := range fields {
		if i == maxShown {
			return append(out, "and "+strconv.Itoa(len(fields)-i)+" more")
		}
		out = append(out, strings.Map(printable, name[:min(len(name), maxFieldName)]))
	}
	return out
}

func printable(r rune) rune {
	if r < 0x21 || r > 0x7e || r == ',' {
		return '?'
	}
	return r
}
