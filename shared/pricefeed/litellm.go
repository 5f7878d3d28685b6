package pricefeed

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/billing"
)

// perUnit is the shift from USD per unit to pico-USD per unit.
const perUnit = 12

// Modes of entries that are served; an entry without one is a chat.
const (
	modeSpeech        = "audio_speech"
	modeTranscription = "audio_transcription"
)

var servedModes = []string{"", "chat", "completion", "responses", "embedding", modeSpeech, modeTranscription}

// liteLLMMeter is what a field prices. With a mode it does so in entries of that
// mode only: seconds of a chat model are hours of rented machines.
type liteLLMMeter struct {
	meter billing.Meter
	mode  string
}

var liteLLMMeters = map[string]liteLLMMeter{
	"input_cost_per_token":                      {meter: billing.InputText},
	"cache_read_input_token_cost":               {meter: billing.InputCacheRead},
	"input_cost_per_token_cache_hit":            {meter: billing.InputCacheRead},
	"cache_creation_input_token_cost":           {meter: billing.InputCacheWrite5m},
	"cache_creation_input_token_cost_above_1hr": {meter: billing.InputCacheWrite1h},
	"input_cost_per_audio_token":                {meter: billing.InputAudio},
	"input_cost_per_image_token":                {meter: billing.InputImage},
	"output_cost_per_token":                     {meter: billing.OutputText},
	"output_cost_per_reasoning_token":           {meter: billing.OutputReasoning},
	"output_cost_per_audio_token":               {meter: billing.OutputAudio},
	"output_cost_per_image_token":               {meter: billing.OutputImage},
	"input_cost_per_image":                      {meter: billing.Image},
	"input_cost_per_request":                    {meter: billing.Request},
	"input_cost_per_second":                     {billing.AudioSecondIn, modeTranscription},
	"input_cost_per_audio_per_second":           {billing.AudioSecondIn, modeTranscription},
	"input_cost_per_character":                  {billing.CharacterIn, modeSpeech},
	"output_cost_per_second":                    {billing.AudioSecondOut, modeSpeech},
}

var (
	aboveTokens = regexp.MustCompile(`^(.+)_above_([0-9]{1,6})k_tokens$`)
	otherTier   = regexp.MustCompile(`_(batches|flex|priority)$`)
)

// liteLLM reads {"<model>":{"litellm_provider":"…","mode":"…","…cost…":n}}.
func (p *parser) liteLLM(top map[string]json.RawMessage) {
	for _, name := range sortedKeys(top) {
		if name == "sample_spec" || name == "fallback_generalizations" {
			continue // documentation, not models
		}
		entry := object(top[name])
		theirs, mode := text(entry["litellm_provider"]), text(entry["mode"])
		ours, ok := p.provider(theirs)
		switch {
		case !ok:
			p.skipped["models of provider "+clip(theirs, 64)]++
			continue
		case !slices.Contains(servedModes, mode):
			p.skipped["models of mode "+clip(mode, 64)]++
			continue
		}
		// A name may or may not begin with the provider.
		k := rowKey{provider: string(ours), model: strings.TrimPrefix(name, theirs+"/")}
		if !p.liteLLMEntry(k, mode, entry) {
			p.skipped["models without a price"]++
		}
	}
}

// liteLLMEntry reads the fields whose name speaks of money.
func (p *parser) liteLLMEntry(k rowKey, mode string, entry map[string]json.RawMessage) (priced bool) {
	page := clip(text(entry["source"]), maxSource)
	for _, field := range sortedKeys(entry) {
		raw := entry[field]
		if !strings.Contains(field, "cost") && !strings.Contains(field, "pric") || absent(raw) {
			continue
		}
		priced = true
		if otherTier.MatchString(field) {
			p.skipped["prices of other service tiers"]++
			continue
		}
		base, row := field, k
		if m := aboveTokens.FindStringSubmatch(field); m != nil {
			thousands, _ := strconv.ParseInt(m[2], 10, 64)
			base, row.tier = m[1], thousands*1000+1
		}
		meter, known := liteLLMMeters[base]
		switch {
		case base == "output_cost_per_second" && mode == modeTranscription:
			// The same seconds again.
			p.skipped["seconds of a transcription priced as output"]++
		case !known || meter.mode != "" && meter.mode != mode:
			p.reject(k, field, "unknown meter")
		default:
			row.meter = meter.meter
			p.price(row, field, raw, perUnit, page)
		}
	}
	return priced
}
