// Package pricefeed turns published price lists into rows of the price book, and
// carries the curated list that a new deployment begins with.
//
// [Parse] reads two formats: the api.json of models.dev (USD per million tokens)
// and LiteLLM's model_prices_and_context_window.json (USD per unit). [Compare]
// lays the rows beside the active book and holds back what a person must look
// at. [Curated] is our own list: each row names the page and the day it was read.
//
// Guarantees: a rate is computed from the decimal digits of the feed without a
// float, and refused if it does not come out to a whole pico-USD but for the
// dust that binary floats leave in published numbers; a price whose meter is not
// known is rejected by name, never dropped; a row says which file it came from,
// by its hash; the same bytes give the same rows in the same order. Nothing here
// stores, activates or fetches anything.
//
// Limits: prices for other service tiers (batch, flex, priority) are counted and
// left out, because platform calls cannot ask for those tiers; models of kinds
// that are not served (pictures, video, search) likewise. A feed cannot remove a
// row of the book; what only the book has is listed by [Compare]. No function
// imports this package: it is for the operator's machine.
//
// Sources: models.dev, repository anomalyco/models.dev (MIT), snapshot
// 2026-07-02; LiteLLM's model_prices_and_context_window.schema.json, repository
// BerriAI/litellm (MIT), commit 035bc269, read 2026-11-22. Formats only: no data
// of either is copied here, but for the facts that the curated list cites.
package pricefeed

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// MaxFeed bounds a feed in bytes. LiteLLM's, the larger one, had 1.6 million
// characters in 2026.
const MaxFeed = 16 << 20

// Format names a feed's format.
type Format string

// Formats.
const (
	ModelsDev Format = "models.dev"
	LiteLLM   Format = "litellm"
)

// Origin says where a feed came from.
type Origin struct {
	// Name is the file or address as people know it.
	Name string
	// Date is the day it was read, YYYY-MM-DD.
	Date string
}

// Rejection is a price that was not understood.
type Rejection struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	// Meter is the feed's own name.
	Meter  string `json:"meter"`
	Reason string `json:"reason"`
}

// Skip counts what does not concern us.
type Skip struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Feed is a parsed price list.
type Feed struct {
	Format Format
	// Hash names the bytes: 64 hexadecimal digits of their SHA-256.
	Hash string
	// Rows are sorted by provider, model, meter and tier, without repeats.
	Rows []billing.Row
	// Rejected and Skipped are sorted. Models counts those with rows.
	Rejected []Rejection
	Skipped  []Skip
	Models   int
}

// Parse reads a feed whose format it finds out. It fails with too_large above
// [MaxFeed] and with invalid_request for what is neither format, for JSON that
// names a field twice, and for a date that is none.
func Parse(raw []byte, from Origin) (*Feed, error) {
	const op = "pricefeed.Parse"
	if len(raw) > MaxFeed {
		return nil, fault.New(fault.TooLarge, op, "the feed is larger than 16 MiB")
	}
	if _, err := time.Parse(time.DateOnly, from.Date); err != nil {
		return nil, fault.New(fault.InvalidRequest, op, "say when the feed was read, as YYYY-MM-DD").WithParam("source_date")
	}
	if err := jsonwire.Check(raw); err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, op, "the feed is not usable JSON: "+err.Error(), err)
	}
	var top map[string]json.RawMessage
	if json.Unmarshal(raw, &top) != nil || len(top) == 0 {
		return nil, fault.New(fault.InvalidRequest, op, "the feed is not a JSON object with models")
	}
	sum := sha256.Sum256(raw)
	p := &parser{hash: hex.EncodeToString(sum[:]), date: from.Date, origin: from.Name, skipped: map[string]int{}, rows: map[rowKey]billing.Row{}}
	switch detect(top) {
	case ModelsDev:
		p.format = ModelsDev
		p.modelsDev(top)
	case LiteLLM:
		p.format = LiteLLM
		p.liteLLM(top)
	default:
		return nil, fault.New(fault.InvalidRequest, op, "this is neither the api.json of models.dev nor LiteLLM's model prices")
	}
	return p.feed(), nil
}

// detect looks at what the entries hold: LiteLLM's name their provider each,
// those of models.dev are providers with models.
func detect(top map[string]json.RawMessage) Format {
	for _, name := range sortedKeys(top) {
		entry := object(top[name])
		if _, ok := entry["litellm_provider"]; ok {
			return LiteLLM
		}
		if _, ok := entry["models"]; ok || name == "providers" && entry != nil {
			return ModelsDev
		}
	}
	return ""
}

type rowKey struct {
	provider, model string
	meter           billing.Meter
	tier            int64
}

// parser collects the rows of one feed.
type parser struct {
	format       Format
	hash         string
	origin, date string
	rows         map[rowKey]billing.Row
	rejected     []Rejection
	skipped      map[string]int
}

//go:embed providers.txt
var providerNames string

// provider maps a feed's name of a vendor to ours. The names are data, because a
// vendor's name is a literal in its own folder only.
func (p *parser) provider(theirs string) (taxonomy.Provider, bool) {
	for line := range strings.SplitSeq(providerNames, "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] == string(p.format) && f[1] == theirs {
			return taxonomy.ParseProvider(f[2])
		}
	}
	return "", false
}

func (p *parser) reject(k rowKey, meter, reason string) {
	p.rejected = append(p.rejected, Rejection{k.provider, k.model, meter, reason})
}

// price adds one price. shift is the power of ten from the feed's unit to a
// millionth of a millionth of a USD per unit of the meter.
func (p *parser) price(k rowKey, name string, raw json.RawMessage, shift int, page string) {
	text, ok := decimalText(raw)
	if !ok {
		p.reject(k, name, "the price is not a decimal number")
		return
	}
	rate, err := parseRate(text, shift, 1)
	if err != nil {
		p.reject(k, name, err.Error())
		return
	}
	row := billing.Row{Provider: k.provider, Model: k.model, Meter: k.meter, RatePico: rate, TierFrom: k.tier, Source: p.source(page), SourceDate: p.date}
	if err := row.Check(); err != nil {
		p.reject(k, name, fault.As(err).Message)
		return
	}
	if old, twice := p.rows[k]; twice && old.RatePico != rate {
		p.reject(k, name, "the feed has two prices for this meter")
		return
	}
	p.rows[k] = row
}

// maxSource is the longest source of a row.
const maxSource = 256

// source names the feed and, where it fits, the page that the feed names.
func (p *parser) source(page string) string {
	s := clip(p.origin, maxSource/2) + " (" + string(p.format) + ", sha256 " + p.hash[:12] + ")"
	if page != "" && len(s)+2+len(page) <= maxSource {
		s += "; " + page
	}
	return s
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f {
			return '?'
		}
		return r
	}, s)
}

// feed sorts what was found and leaves out two figures that are no prices. A zero
// output beside a priced input is how feeds write that there is no output; it
// would make a chat's output free. A write to the cache below the price of the
// input is a fee for storage beside it, as OpenRouter has for some models; it
// would make the prompt cheaper than it is.
func (p *parser) feed() *Feed {
	f := &Feed{Format: p.format, Hash: p.hash}
	for k, row := range p.rows {
		input := p.rows[rowKey{k.provider, k.model, billing.InputText, k.tier}]
		switch {
		case row.Meter == billing.OutputText && row.RatePico == 0 && input.RatePico > 0:
			p.skipped["zero output of models that have none"]++
		case (row.Meter == billing.InputCacheWrite5m || row.Meter == billing.InputCacheWrite1h) && row.RatePico < input.RatePico:
			p.reject(k, string(row.Meter), "a write to the cache that costs less than the input is a fee, not a price")
		default:
			f.Rows = append(f.Rows, row)
		}
	}
	f.Rejected = p.rejected
	slices.SortFunc(f.Rows, compareRows)
	for i, r := range f.Rows {
		if i == 0 || r.Provider != f.Rows[i-1].Provider || r.Model != f.Rows[i-1].Model {
			f.Models++
		}
	}
	slices.SortFunc(f.Rejected, func(a, b Rejection) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.Reason, b.Reason))
	})
	for reason, n := range p.skipped {
		f.Skipped = append(f.Skipped, Skip{reason, n})
	}
	slices.SortFunc(f.Skipped, func(a, b Skip) int { return cmp.Compare(a.Reason, b.Reason) })
	return f
}

func compareRows(a, b billing.Row) int {
	return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Meter, b.Meter), cmp.Compare(a.TierFrom, b.TierFrom))
}

// object is nil for what is no object.
func object(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// absent says that a field stands there without a value.
func absent(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
