package pricefeed

import (
	"encoding/json"
	"strconv"

	"github.com/latchkey/latchkey/shared/billing"
)

// perMillion is the shift from USD per million to pico-USD per unit.
const perMillion = 6

// modelsDevMeters are the names of models.dev. Its cache_write is the write that
// lasts five minutes: an hour has no name there.
var modelsDevMeters = map[string]billing.Meter{
	"input": billing.InputText, "output": billing.OutputText, "reasoning": billing.OutputReasoning, "cache_read": billing.InputCacheRead,
	"cache_write": billing.InputCacheWrite5m, "input_audio": billing.InputAudio, "output_audio": billing.OutputAudio,
}

// over200k is the first prompt length of context_over_200k.
const over200k = 200_001

// modelsDev reads {"<provider>":{"models":{"<model>":{"cost":{…}}}}}, and the same
// a level deeper under "providers", as snapshots of the repository have it.
func (p *parser) modelsDev(top map[string]json.RawMessage) {
	if inner := object(top["providers"]); inner != nil {
		if _, isProvider := inner["models"]; !isProvider {
			top = inner
		}
	}
	for _, theirs := range sortedKeys(top) {
		entry := object(top[theirs])
		models := object(entry["models"])
		if _, wrapped := entry["models"]; !wrapped {
			models = entry
		}
		if models == nil {
			p.skipped["entries that are no provider"]++
			continue
		}
		ours, ok := p.provider(theirs)
		if !ok {
			p.skipped["models of provider "+clip(theirs, 64)] += len(models)
			continue
		}
		for _, name := range sortedKeys(models) {
			cost := object(object(models[name])["cost"])
			if len(cost) == 0 {
				p.skipped["models without a price"]++
				continue
			}
			p.modelsDevCost(rowKey{provider: string(ours), model: name}, cost)
		}
	}
}

func (p *parser) modelsDevCost(k rowKey, cost map[string]json.RawMessage) {
	for _, name := range sortedKeys(cost) {
		raw := cost[name]
		meter, known := modelsDevMeters[name]
		switch {
		case absent(raw):
		case known:
			k := k
			k.meter = meter
			p.price(k, name, raw, perMillion, "")
		case name == "context_over_200k" && k.tier == 0 && object(raw) != nil:
			tier := k
			tier.tier = over200k
			p.modelsDevCost(tier, object(raw))
		case name == "tiers" && k.tier == 0:
			p.modelsDevTiers(k, raw)
		default:
			p.reject(k, name, "unknown meter")
		}
	}
}

// modelsDevTiers reads prices above a length of the prompt: size is the longest
// prompt that is not yet dearer.
func (p *parser) modelsDevTiers(k rowKey, raw json.RawMessage) {
	var tiers []json.RawMessage
	if json.Unmarshal(raw, &tiers) != nil {
		p.reject(k, "tiers", "the tiers are not a list")
		return
	}
	for _, t := range tiers {
		cost := object(t)
		bounds := object(cost["tier"])
		size, err := strconv.ParseInt(string(bounds["size"]), 10, 40)
		kind := text(bounds["type"])
		if err != nil || size < 1 || kind != "" && kind != "context" {
			p.reject(k, "tiers", "the tier is not a length of the prompt")
			continue
		}
		delete(cost, "tier")
		tier := k
		tier.tier = size + 1
		p.modelsDevCost(tier, cost)
	}
}
