package billing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// Row is one price.
type Row struct {
	// Provider is a provider ID, Model the model's name at that provider,
	// without the provider's prefix.
	Provider, Model string
	Meter           Meter
	// RatePico is pico-USD per unit: USD per million units with six decimals.
	RatePico int64
	// TierFrom is the smallest total of input tokens, cached ones included, for
	// which the row applies; the row with the greatest one that fits prices the
	// whole request, not what lies above: "Prompts with >272K input tokens are
	// priced at 2x input and 1.5x output for the full request"
	// (developers.openai.com/api/docs/models/gpt-5.6-luna, read 2026-11-22);
	// Google and Anthropic price by the length of the prompt the same way.
	TierFrom int64
	// MinUnits is the least number of units billed when any are used.
	MinUnits int64
	// Source says where the price was read, SourceDate (YYYY-MM-DD) when.
	Source, SourceDate string
}

// Bounds of a book.
const (
	MaxRows     = 20_000
	maxRate     = 1_000_000_000_000_000 // 1,000 USD per unit
	maxNameText = 256
)

// Check refuses a row that cannot be priced with, as invalid_request.
func (r Row) Check() error {
	const op = "billing.Row"
	bad := func(param, message string) error {
		return fault.New(fault.InvalidRequest, op, message).WithParam(param)
	}
	if _, ok := ParseMeter(string(r.Meter)); !ok {
		return bad("meter", "unknown meter")
	}
	switch {
	case !plainText(r.Provider) || r.Provider == "":
		return bad("provider", "provider must be 1 to 256 printable characters")
	case !plainText(r.Model) || r.Model == "":
		return bad("model", "model must be 1 to 256 printable characters")
	case r.RatePico < 0 || r.RatePico > maxRate:
		return bad("rate_pico", "rate_pico must be between 0 and 1,000 USD per unit")
	case r.TierFrom < 0 || r.TierFrom > maxUnits:
		return bad("tier_from", "tier_from must be a number of input tokens")
	case r.MinUnits < 0 || r.MinUnits > maxUnits:
		return bad("min_units", "min_units must be a number of units")
	case !plainText(r.Source) || r.Source == "":
		return bad("source", "say where the price was read, in 1 to 256 printable characters")
	}
	if _, err := time.Parse(time.DateOnly, r.SourceDate); err != nil {
		return bad("source_date", "say when the price was read, as YYYY-MM-DD")
	}
	return nil
}

func plainText(s string) bool {
	if len(s) > maxNameText {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// Book is one immutable version of the price list. Make it with [NewBook]; safe
// for concurrent use.
type Book struct {
	Version       string
	EffectiveFrom time.Time
	Rows          []Row // sorted by provider, model, meter, tier; do not change

	byMeter map[rowKey][]Row // ascending TierFrom
	models  map[modelKey]bool
}

type modelKey struct{ provider, model string }

type rowKey struct {
	provider, model string
	meter           Meter
}

// NewBook indexes the rows of a stored version. It refuses bad rows and two rows
// with the same provider, model, meter and tier, as invalid_request.
func NewBook(version string, effectiveFrom time.Time, rows []Row) (*Book, error) {
	const op = "billing.NewBook"
	if len(rows) > MaxRows {
		return nil, fault.New(fault.InvalidRequest, op, "a price book holds at most 20,000 rows")
	}
	rows = slices.Clone(rows)
	slices.SortFunc(rows, compareRows)
	b := &Book{Version: version, EffectiveFrom: effectiveFrom, Rows: rows,
		byMeter: make(map[rowKey][]Row, len(rows)), models: make(map[modelKey]bool)}
	for i, r := range rows {
		if err := r.Check(); err != nil {
			return nil, err
		}
		if i > 0 && compareRows(rows[i-1], r) == 0 {
			return nil, fault.New(fault.InvalidRequest, op,
				"two rows have the same provider, model, meter and tier_from: "+r.Provider+"/"+r.Model+" "+string(r.Meter)).WithParam("rows")
		}
		k := rowKey{r.Provider, r.Model, r.Meter}
		b.byMeter[k] = append(b.byMeter[k], r)
		b.models[modelKey{r.Provider, r.Model}] = true
	}
	return b, nil
}

func compareRows(a, b Row) int {
	if c := strings.Compare(a.Provider, b.Provider); c != 0 {
		return c
	}
	if c := strings.Compare(a.Model, b.Model); c != 0 {
		return c
	}
	if c := strings.Compare(string(a.Meter), string(b.Meter)); c != 0 {
		return c
	}
	switch {
	case a.TierFrom < b.TierFrom:
		return -1
	case a.TierFrom > b.TierFrom:
		return 1
	}
	return 0
}

// Lookup returns the row for a meter of a request with that many input tokens.
func (b *Book) Lookup(provider, model string, meter Meter, inputTokens int64) (Row, bool) {
	rows := b.byMeter[rowKey{provider, model, meter}]
	for i := len(rows) - 1; i >= 0; i-- {
		if rows[i].TierFrom <= inputTokens {
			return rows[i], true
		}
	}
	return Row{}, false
}

// Priced reports whether the model has any row.
func (b *Book) Priced(provider, model string) bool {
	return b.models[modelKey{provider, model}]
}

// RowsOf lists the rows of one model.
func (b *Book) RowsOf(provider, model string) []Row {
	i, _ := slices.BinarySearchFunc(b.Rows, Row{Provider: provider, Model: model}, compareRows)
	j := i
	for j < len(b.Rows) && b.Rows[j].Provider == provider && b.Rows[j].Model == model {
		j++
	}
	return b.Rows[i:j:j]
}

// Merge lays rows over a book: a row with the same provider, model, meter and
// tier is replaced, all others stay. base may be nil. The result is a new
// version; seq numbers the versions and must be the next free number.
func Merge(base *Book, rows []Row, seq int64, effectiveFrom time.Time) (*Book, error) {
	if len(rows) == 0 {
		return nil, fault.New(fault.InvalidRequest, "billing.Merge", "at least one price row is needed").WithParam("rows")
	}
	// Refuses duplicates inside the new rows, which the overlay would hide.
	if _, err := NewBook("", effectiveFrom, rows); err != nil {
		return nil, err
	}
	type tierKey struct {
		rowKey
		tier int64
	}
	at := make(map[tierKey]int, len(rows))
	var merged []Row
	if base != nil {
		merged = slices.Clone(base.Rows)
	}
	for i, r := range merged {
		at[tierKey{rowKey{r.Provider, r.Model, r.Meter}, r.TierFrom}] = i
	}
	for _, r := range rows {
		if i, ok := at[tierKey{rowKey{r.Provider, r.Model, r.Meter}, r.TierFrom}]; ok {
			merged[i] = r
		} else {
			merged = append(merged, r)
		}
	}
	b, err := NewBook("", effectiveFrom, merged)
	if err != nil {
		return nil, err
	}
	b.Version = versionID(b.Rows, seq)
	return b, nil
}

// versionID is sequence and content hash. The sequence keeps two versions with
// the same content apart, the hash ties the id to the content.
func versionID(rows []Row, seq int64) string {
	h := sha256.New()
	var line []byte
	for _, r := range rows {
		line = line[:0]
		for _, s := range [...]string{r.Provider, r.Model, string(r.Meter), r.Source, r.SourceDate} {
			line = append(line, s...)
			line = append(line, 0)
		}
		for _, n := range [...]int64{r.RatePico, r.TierFrom, r.MinUnits} {
			line = strconv.AppendInt(line, n, 10)
			line = append(line, 0)
		}
		_, _ = h.Write(append(line, '\n'))
	}
	return fmt.Sprintf("p%06d-%s", seq, hex.EncodeToString(h.Sum(nil)[:6]))
}
