package stack

import (
	"context"
	"net/http"
	"net/url"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/pricefeed"
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

// Prices gives a local stack the curated price list and, with simulated, the
// prices of the simulated vendor. A model that the active book knows already is
// left alone, so that an operator's own prices survive the next start.
func Prices(ctx context.Context, operator Client, simulated bool) error {
	known, err := pricedModels(ctx, operator)
	if err != nil {
		return err
	}
	curated, err := pricefeed.Curated()
	if err != nil {
		return err
	}
	var rows []map[string]any
	add := func(r billing.Row) {
		if !known[r.Provider+"/"+r.Model] {
			rows = append(rows, map[string]any{"provider": r.Provider, "model": r.Model, "meter": r.Meter, "rate_pico": r.RatePico,
				"tier_from": r.TierFrom, "min_units": r.MinUnits, "source": r.Source, "source_date": r.SourceDate})
		}
	}
	for _, r := range curated {
		add(r)
	}
	for _, m := range simulatedRates {
		for meter, rate := range m.meters {
			if simulated {
				add(billing.Row{Provider: m.provider, Model: m.model, Meter: billing.Meter(meter), RatePico: rate,
					Source: "simulated vendor", SourceDate: "2026-11-21"})
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return operator.Call(ctx, http.MethodPost, "/api/operator/prices", map[string]any{"rows": rows, "activate": true}, nil)
}

// pricedModels are the models of the active book, as provider/model.
func pricedModels(ctx context.Context, operator Client) (map[string]bool, error) {
	known := map[string]bool{}
	for cursor := ""; ; {
		var page struct {
			Items []struct {
				Version string
				Active  bool
			}
			NextCursor string `json:"next_cursor"`
		}
		if err := operator.Call(ctx, http.MethodGet, "/api/operator/prices?limit=200&cursor="+url.QueryEscape(cursor), nil, &page); err != nil {
			return nil, err
		}
		for _, b := range page.Items {
			if !b.Active {
				continue
			}
			var book struct {
				Rows []struct{ Provider, Model string }
			}
			if err := operator.Call(ctx, http.MethodGet, "/api/operator/prices/"+b.Version, nil, &book); err != nil {
				return nil, err
			}
			for _, r := range book.Rows {
				known[r.Provider+"/"+r.Model] = true
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			return known, nil
		}
	}
}
