package legacytokens

import (
	"encoding/json"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestCharge: each class of tokens is rounded up by itself, and every difference to
// credits has its class.
func TestCharge(t *testing.T) {
	terms := Terms{Rounding: 100, Rates: []Rate{{Model: "prov/m", InputPico: 2_500_000, OutputPico: 10_000_000}, {Model: "*", InputPico: 1_000_000, OutputPico: 1_000_000}}}
	day := time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC)
	used := func(model string, in, cached, out int64, amount credit.Micro) credit.Used {
		return credit.Used{At: day, Provider: "prov", Model: model, Source: taxonomy.Platform, Kind: credit.Completed, Amount: amount,
			Usage: billing.Usage{InputTokens: in, CachedInputTokens: cached, OutputTokens: out}, Stamp: credit.Stamp{Mode: credit.ModeShadow, Epoch: 1}}
	}
	partial := used("m", 100, 0, 100, 400)
	partial.Kind = credit.Partial
	own := used("m", 100, 0, 100, 0)
	own.Source = taxonomy.BYOK
	legacy := used("m", 100, 0, 100, 1)
	legacy.Stamp.Mode = credit.ModeLegacy
	for name, c := range map[string]struct {
		terms Terms
		used  credit.Used
		money credit.Micro
		class Class
		diff  credit.Micro
	}{
		// 252.5 and 1000 micro: 300 and 1000.
		"rounded by class":        {terms, used("m", 101, 0, 100, 1253), 1300, Rounding, 47},
		"equal":                   {terms, used("m", 100, 0, 100, 1300), 1300, "", 0},
		"the default rate":        {terms, used("x", 100, 0, 1, 200), 200, "", 0},
		"cached at full price":    {terms, used("m", 1000, 900, 0, 500), 2500, Cached, 2000},
		"cached explains no more": {terms, used("m", 1000, 100, 0, 500), 2500, Unexplained, 2000},
		"dearer in credits":       {terms, used("m", 100, 0, 100, 5000), 1300, Unexplained, -3700},
		"an aborted call":         {terms, partial, 1300, Abort, 900},
		"no price":                {Terms{Rounding: 100}, used("m", 100, 0, 100, 1250), 0, MissingPrice, -1250},
		"not in shadow":           {terms, legacy, 1300, "", 0},
		"an own key":              {terms, own, 0, "", 0},
	} {
		got := Charge(c.terms, c.used)
		if got.Money != c.money || got.Class != c.class || got.Diff != c.diff || got.Day != "2026-03-01" {
			t.Errorf("%s: %+v, want %d %s %d", name, got, c.money, c.class, c.diff)
		}
	}
}

// TestCompare: what stands in the way of a cutover is named, and nothing else does.
func TestCompare(t *testing.T) {
	day := Day{Day: "2026-03-02", Model: "prov/m", Requests: 2, Input: 10, Output: 5, Money: 10_000_000, Diff: map[Class]credit.Micro{}}
	row := credit.UsageRow{Day: "2026-03-02", Provider: "prov", Model: "m", Source: taxonomy.Platform, Legacy: true, Requests: 2,
		Usage: billing.Usage{InputTokens: 10, OutputTokens: 5}, Shadow: 10_000_000}
	for name, c := range map[string]struct {
		change func(*Day, *credit.UsageRow)
		want   string
	}{
		"equal":            {func(*Day, *credit.UsageRow) {}, ""},
		"a request more":   {func(d *Day, _ *credit.UsageRow) { d.Requests++ }, "2026-03-02: prov/m: requests"},
		"an input token":   {func(_ *Day, r *credit.UsageRow) { r.Usage.InputTokens++ }, "2026-03-02: prov/m: input_tokens"},
		"an output token":  {func(_ *Day, r *credit.UsageRow) { r.Usage.OutputTokens-- }, "2026-03-02: prov/m: output_tokens"},
		"a cent":           {func(d *Day, _ *credit.UsageRow) { d.Money += 10_000; d.Diff[Rounding] = 10_000 }, ""},
		"over a tenth %":   {func(d *Day, _ *credit.UsageRow) { d.Money += 10_011; d.Diff[Rounding] = 10_011 }, "2026-03-02: money"},
		"nobody knows why": {func(d *Day, _ *credit.UsageRow) { d.Money++; d.Diff[Unexplained] = 1 }, "2026-03-02: prov/m: unexplained"},
		"not in a class":   {func(d *Day, _ *credit.UsageRow) { d.Money++ }, "2026-03-02: prov/m: classes"},
		"paid in credits": {func(_ *Day, r *credit.UsageRow) { r.Legacy = false },
			"2026-03-02: prov/m: requests,2026-03-02: prov/m: input_tokens,2026-03-02: prov/m: output_tokens,2026-03-02: prov/m: classes,2026-03-02: money"},
	} {
		d, r := day, row
		d.Diff = map[Class]credit.Micro{}
		c.change(&d, &r)
		if got := strings.Join(Compare([]Day{d}, []credit.UsageRow{r}, d.Day, d.Day).Reasons, ","); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestTransitions: the table has one way to credits, and leads back from it; who pays
// changes exactly where an epoch begins.
func TestTransitions(t *testing.T) {
	seen := map[[2]Mode]bool{}
	for _, tr := range Transitions() {
		if seen[[2]Mode{tr.From, tr.To}] {
			t.Errorf("%s -> %s stands twice", tr.From, tr.To)
		}
		seen[[2]Mode{tr.From, tr.To}] = true
		if legacy(tr.From) != legacy(tr.To) != tr.Switches {
			t.Errorf("%s -> %s switches: %v", tr.From, tr.To, tr.Switches)
		}
		if tr.To == org.LedgerDraining && (tr.From != org.LedgerShadow || !slices.Contains(tr.Needs, HasParity)) {
			t.Errorf("%s -> %s needs no parity", tr.From, tr.To)
		}
		if tr.To == org.LedgerCredit && (tr.From != org.LedgerDraining || !slices.Contains(tr.Needs, Drained)) {
			t.Errorf("%s -> %s is not drained", tr.From, tr.To)
		}
	}
}

func legacy(m Mode) bool { return credit.StampOf(string(m), 1).Legacy() }

// TestGate: seven whole days, and not from a shadow that was forgotten.
func TestGate(t *testing.T) {
	now := time.Date(2026, 3, 20, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		since, until time.Time
		want         string
	}{
		"seven whole days": {time.Date(2026, 3, 13, 0, 0, 0, 0, time.UTC), now, ""},
		"a second less":    {time.Date(2026, 3, 13, 0, 0, 1, 0, time.UTC), now, "seven whole days in shadow are needed"},
		"forgotten":        {time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), now.Add(-time.Second), "the shadow has run for too long, begin it again"},
	} {
		f := facts{now: now, counter: Counter{Mode: org.LedgerShadow, Since: c.since, ShadowUntil: c.until}}
		if got := strings.Join(missing(HasParity, f), ","); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestTermsCheck(t *testing.T) {
	good := Terms{Limit: 10, RatePico: 1, Rounding: 1, Rates: []Rate{{Model: "*"}}}
	for name, c := range map[string]struct {
		change func(*Terms)
		param  string
	}{
		"good":           {func(*Terms) {}, ""},
		"limit":          {func(t *Terms) { t.Limit = -1 }, "limit_tokens"},
		"rate":           {func(t *Terms) { t.RatePico = maxRate + 1 }, "rate_pico"},
		"rounding":       {func(t *Terms) { t.Rounding = 0 }, "rounding"},
		"a model twice":  {func(t *Terms) { t.Rates = append(t.Rates, t.Rates[0]) }, "rates.model"},
		"a bad rate":     {func(t *Terms) { t.Rates[0].InputPico = -1 }, "rates"},
		"too many rates": {func(t *Terms) { t.Rates = make([]Rate, maxRates+1) }, "rates"},
	} {
		terms := good
		terms.Rates = slices.Clone(good.Rates)
		c.change(&terms)
		if err := terms.Check(); (err == nil) != (c.param == "") || err != nil && fault.As(err).Param != c.param {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := (Terms{RatePico: 1_999_999}).worth(3); got != 5 {
		t.Errorf("three tokens are worth %d, want 5 rounded down", got)
	}
}

func TestRows(t *testing.T) {
	good := RowJSON{PeriodStart: 1772323200000, PeriodEnd: 1772409600000, RequestCount: 3, InputTokens: 2, OutputTokens: 3, TotalTokens: 5,
		CostInCents: "1.25", RequestType: "chat", Provider: "openrouter", Model: "prov/m", Success: true}
	for name, c := range map[string]struct {
		change func(*RowJSON)
		param  string
	}{
		"good":            {func(*RowJSON) {}, ""},
		"no period":       {func(j *RowJSON) { j.PeriodStart = 0 }, "periodStart"},
		"backwards":       {func(j *RowJSON) { j.PeriodEnd = j.PeriodStart - 1 }, "periodStart"},
		"two months":      {func(j *RowJSON) { j.PeriodEnd += 40 * 86_400_000 }, "periodEnd"},
		"negative":        {func(j *RowJSON) { j.InputTokens = -1 }, "inputTokens"},
		"a wrong total":   {func(j *RowJSON) { j.TotalTokens++ }, "totalTokens"},
		"an unknown type": {func(j *RowJSON) { j.RequestType = "fax" }, "requestType"},
		"no model":        {func(j *RowJSON) { j.Model = "" }, "model"},
		"no cost":         {func(j *RowJSON) { j.CostInCents = "" }, "costInCents"},
	} {
		j := good
		c.change(&j)
		r, err := j.Parse()
		if (err == nil) != (c.param == "") || err != nil && fault.As(err).Param != c.param {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (r.Money != 12_500 || r.Day().Model != "prov/m") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	a, _ := good.Parse()
	if err := checkRows([]Row{a, a}); fault.As(err).Param != "rows[1]" {
		t.Errorf("a row twice: %v", err)
	}
}

// TestCents: a float's digits become micro-USD exactly, to the nearest.
func TestCents(t *testing.T) {
	for text, want := range map[string]credit.Micro{"0": 0, "1": 10_000, "0.30000000000000004": 3000, "0.1": 1000, "12.3456": 123_456, "0.00005": 1, "0.00004999": 0,
		"1e-3": 10, "1.5E2": 1_500_000, "99999999999": 999_999_999_990_000} {
		if got, err := cents(text); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1e999999999", "0x10", "1/3", "NaN", "Inf", "1_000", " 1", "e5", ".", "1e", strings.Repeat("1", 50), "1e99"} {
		if got, err := cents(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// FuzzCents: what JSON calls a number is read to the nearest micro-USD or refused.
func FuzzCents(f *testing.F) {
	for _, seed := range []string{"1", "0.30000000000000004", "1e-3", "1e99", "-0", "123456789012345678901234567890"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := cents(text)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q became %d", text, got)
		}
		off := new(big.Rat).Sub(want.Mul(want, big.NewRat(10_000, 1)), big.NewRat(int64(got), 1))
		if off.Abs(off).Cmp(big.NewRat(1, 2)) > 0 {
			t.Fatalf("%q became %d", text, got)
		}
		if raw, err := json.Marshal(json.Number(text)); err == nil && len(raw) > maxDecimal {
			t.Fatalf("%q is too long", text)
		}
	})
}
