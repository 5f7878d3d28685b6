package stack

import (
	"context"
	"net/http"
)

// simulatedRates are the meters of each simulated model in pico-USD per unit:
// 1 USD per million input tokens, 2 per million output tokens, 0.02 per million
// embedded tokens, 0.006 per audio minute, 15 per million characters.
var simulatedRates = []struct {
	provider, model string
	meters          map[string]int64
}{
	{"openrouter", "sim-chat", map[string]int64{"input_text": 1_000_000, "output_text": 2_000_000}},
	{"openai_compatible", "sim-chat", map[string]int64{"input_text": 1_000_000, "output_text": 2_000_000}},
	{"openrouter", "sim-embed", map[string]int64{"input_text": 20_000}},
	{"openai_compatible", "sim-embed", map[string]int64{"input_text": 20_000}},
	{"openai_compatible", "sim-voice", map[string]int64{"audio_second_in": 100_000_000, "character_in": 15_000_000}},
}

// SimulatedPrices puts the models of the simulated vendor into the active price
// book. Doing it again changes nothing that matters: the rows are replaced by
// themselves.
func SimulatedPrices(ctx context.Context, operator Client) error {
	var rows []map[string]any
	for _, m := range simulatedRates {
		for meter, rate := range m.meters {
			rows = append(rows, map[string]any{"provider": m.provider, "model": m.model, "meter": meter, "rate_pico": rate,
				"source": "simulated vendor", "source_date": "2026-11-21"})
		}
	}
	return operator.Call(ctx, http.MethodPost, "/api/operator/prices", map[string]any{"rows": rows, "activate": true}, nil)
}
