package billing

import (
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
)

func row(model string, m Meter, rate int64) Row {
	return Row{Provider: "p", Model: model, Meter: m, RatePico: rate, Source: "test", SourceDate: "2026-01-02"}
}

func testBook(t testing.TB, rows ...Row) *Book {
	t.Helper()
	b, err := NewBook("v1", time.Time{}, rows)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCost(t *testing.T) {
	tier := row("tiered", InputText, 2_000_000)
	tier.TierFrom = 200_000
	least := row("least", AudioSecondIn, 100_000_000)
	least.MinUnits = 10
	b := testBook(t,
		row("m", InputText, 3_000_000), row("m", OutputText, 15_000_000),
		row("full", InputText, 1_000_000), row("full", OutputText, 10_000_000), row("full", InputCacheRead, 100_000),
		row("full", InputCacheWrite5m, 1_250_000), row("full", OutputReasoning, 20_000_000), row("full", InputAudio, 5_000_000),
		row("full", OutputAudio, 40_000_000), row("full", Request, 7_000_000),
		row("tiered", InputText, 1_000_000), tier,
		row("stt", AudioSecondIn, 100_000_000), least, row("ttsec", AudioSecondOut, 100_000_000),
		row("tts", CharacterIn, 15_000_000), row("cheap", InputText, 1), row("free", InputText, 0), row("grain", AudioSecondIn, 1))
	for _, c := range []struct {
		name, model string
		u           Usage
		want        Micro
	}{
		{"nothing", "m", Usage{}, 0},
		{"in and out", "m", Usage{InputTokens: 1000, OutputTokens: 500}, 10_500},
		{"rounds up once", "cheap", Usage{InputTokens: 1}, 1},
		{"not before the sum", "cheap", Usage{InputTokens: 1_000_000}, 1},
		{"one above", "cheap", Usage{InputTokens: 1_000_001}, 2},
		{"priced at zero", "free", Usage{InputTokens: 5}, 0},
		{"cached falls back to input", "m", Usage{InputTokens: 1000, CachedInputTokens: 400, CacheWriteTokens: 100}, 3000},
		{"reasoning is part of output", "m", Usage{OutputTokens: 500, ReasoningTokens: 400}, 7500},
		{"buckets priced apart", "full", Usage{InputTokens: 1000, CachedInputTokens: 400, CacheWriteTokens: 100, InputAudioTokens: 200,
			OutputTokens: 500, ReasoningTokens: 100, OutputAudioTokens: 50, Requests: 1}, 300 + 40 + 125 + 1000 + 3500 + 2000 + 2000 + 7},
		{"totals win over parts", "full", Usage{InputTokens: 100, CachedInputTokens: 80, InputAudioTokens: 80}, 8 + 100},
		{"a part above its total", "full", Usage{InputTokens: 50, CachedInputTokens: 80}, 5},
		{"a thousandth of a pico", "grain", Usage{AudioMillis: 1}, 1},
		{"below the tier", "tiered", Usage{InputTokens: 199_999}, 199_999},
		{"whole request at the tier", "tiered", Usage{InputTokens: 200_000}, 400_000},
		{"seconds by the millisecond", "stt", Usage{AudioMillis: 1500}, 150},
		{"a millisecond", "stt", Usage{AudioMillis: 1}, 1},
		{"least seconds", "least", Usage{AudioMillis: 1500}, 1000},
		{"seconds out", "ttsec", Usage{AudioMillis: 2000}, 200},
		{"characters", "tts", Usage{Characters: 100}, 1500},
		{"seconds beside tokens need no row", "m", Usage{InputTokens: 1000, AudioMillis: 5000, Characters: 9}, 3000},
	} {
		got, err := Cost(b, "p", c.model, c.u)
		if err != nil || got != c.want {
			t.Errorf("%s: %d %v, want %d", c.name, got, err, c.want)
		}
	}
	for _, c := range []struct {
		name, model string
		u           Usage
		want        fault.Code
	}{
		{"unknown model", "nope", Usage{InputTokens: 1}, fault.PriceMissing},
		{"audio in is not text", "m", Usage{InputTokens: 10, InputAudioTokens: 1}, fault.PriceMissing},
		{"audio out is not text", "m", Usage{OutputTokens: 10, OutputAudioTokens: 1}, fault.PriceMissing},
		{"no output price", "cheap", Usage{OutputTokens: 1}, fault.PriceMissing},
		{"seconds without tokens", "m", Usage{AudioMillis: 1}, fault.PriceMissing},
		{"negative", "m", Usage{InputTokens: -1}, fault.InvalidRequest},
		{"absurd", "m", Usage{InputTokens: maxUnits + 1}, fault.InvalidRequest},
		{"large but in range", "m", Usage{InputTokens: maxUnits, OutputTokens: maxUnits}, ""},
	} {
		if _, err := Cost(b, "p", c.model, c.u); fault.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	dear := testBook(t, row("m", InputText, maxRate), row("m", OutputText, maxRate))
	if _, err := Cost(dear, "p", "m", Usage{InputTokens: maxUnits, OutputTokens: maxUnits}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("overflow: %v", err)
	}
}

// TestCostExact compares with arbitrary precision.
func TestCostExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := rapid.SliceOfN(rapid.Int64Range(0, 1_000_000_000_000), 4, 4).Draw(t, "rates")
		units := rapid.SliceOfN(rapid.Int64Range(0, 1_000_000_000), 4, 4).Draw(t, "units")
		b, err := NewBook("", time.Time{}, []Row{row("m", InputText, rates[0]), row("m", OutputText, rates[1]), row("m", AudioSecondIn, rates[2]),
			row("m", InputCacheRead, rates[3])})
		if err != nil {
			t.Fatal(err)
		}
		u := Usage{InputTokens: units[0] + units[3], CachedInputTokens: units[3], OutputTokens: units[1], AudioMillis: units[2]}
		got, err := Cost(b, "p", "m", u)
		sum := new(big.Int)
		add := func(n, rate, scale int64) {
			x := new(big.Int).Mul(big.NewInt(n), big.NewInt(rate))
			sum.Add(sum, x.Mul(x, big.NewInt(scale)))
		}
		add(units[0], rates[0], 1000)
		add(units[1], rates[1], 1000)
		add(units[2], rates[2], 1)
		add(units[3], rates[3], 1000)
		want, rest := new(big.Int).QuoRem(sum, big.NewInt(milliPicoPerMicro), new(big.Int))
		if rest.Sign() > 0 {
			want.Add(want, big.NewInt(1))
		}
		if want.Cmp(big.NewInt(int64(MaxAmount))) > 0 {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatalf("beyond the maximum: %d %v", got, err)
			}
			return
		}
		if err != nil || big.NewInt(int64(got)).Cmp(want) != 0 {
			t.Fatalf("got %d %v, want %s", got, err, want)
		}
	})
}

func TestEstimate(t *testing.T) {
	b := testBook(t, row("m", InputText, 1_000_000), row("m", OutputText, 2_000_000), row("emb", InputText, 1_000_000), row("tts", CharacterIn, 3_000_000))
	for _, c := range []struct {
		name, model string
		e           Expected
		hold        Micro
		out         int64
	}{
		{"no limit given", "m", Expected{InputTokens: 1000}, 1100 + 2*8192, 8192},
		{"model's maximum", "m", Expected{InputTokens: 1000, ModelMaxOutput: 4096}, 1100 + 2*4096, 4096},
		{"request's limit", "m", Expected{InputTokens: 1000, MaxOutput: 100, ModelMaxOutput: 4096}, 1100 + 200, 100},
		{"limit above the model's", "m", Expected{MaxOutput: 9000, ModelMaxOutput: 4096}, 2 * 4096, 4096},
		{"small input rounds up", "m", Expected{InputTokens: 1, MaxOutput: 1}, 4, 1},
		{"embedding", "emb", Expected{InputTokens: 10, NoOutput: true}, 11, 0},
		{"speech", "tts", Expected{Characters: 10, NoOutput: true}, 30, 0},
	} {
		hold, out, err := Estimate(b, "p", c.model, c.e)
		if err != nil || hold != c.hold || out != c.out {
			t.Errorf("%s: %d %d %v, want %d %d", c.name, hold, out, err, c.hold, c.out)
		}
	}
	for _, model := range []string{"nope", "emb"} { // emb has no output price
		if _, _, err := Estimate(b, "p", model, Expected{InputTokens: 1}); fault.CodeOf(err) != fault.PriceMissing {
			t.Errorf("%s: %v", model, err)
		}
	}
}

func TestBook(t *testing.T) {
	bad := map[string]func(*Row){
		"meter": func(r *Row) { r.Meter = "input" }, "model": func(r *Row) { r.Model = "" }, "rate_pico": func(r *Row) { r.RatePico = -1 },
		"tier_from": func(r *Row) { r.TierFrom = -1 }, "min_units": func(r *Row) { r.MinUnits = -1 }, "source": func(r *Row) { r.Source = "" },
		"source_date": func(r *Row) { r.SourceDate = "soon" }, "provider": func(r *Row) { r.Provider = "a\n" },
	}
	for param, change := range bad {
		r := row("m", InputText, 1)
		change(&r)
		_, err := NewBook("v", time.Time{}, []Row{r})
		if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != param {
			t.Errorf("%s: %v", param, err)
		}
	}
	if _, err := NewBook("v", time.Time{}, []Row{row("m", InputText, 1), row("m", InputText, 2)}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("duplicate: %v", err)
	}
	b := testBook(t, row("b", InputText, 1), row("a", OutputText, 2), row("a", InputText, 3), row("ab", InputText, 4))
	if rows := b.RowsOf("p", "a"); len(rows) != 2 || rows[0].RatePico != 3 {
		t.Errorf("rows of a: %+v", rows)
	}
	if b.Priced("p", "c") || !b.Priced("p", "b") {
		t.Error("priced")
	}
}

func TestMerge(t *testing.T) {
	first, err := Merge(nil, []Row{row("a", InputText, 1), row("a", OutputText, 2)}, 1, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Merge(first, []Row{row("a", InputText, 5), row("b", InputText, 6)}, 2, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Rows) != 2 || first.Rows[0].RatePico != 1 {
		t.Errorf("the base changed: %+v", first.Rows)
	}
	if len(second.Rows) != 3 || second.Rows[0].RatePico != 5 || second.Rows[1].RatePico != 2 {
		t.Errorf("merged: %+v", second.Rows)
	}
	if first.Version != "p000001-"+first.Version[8:] || first.Version == second.Version {
		t.Errorf("versions: %s %s", first.Version, second.Version)
	}
	again, _ := Merge(nil, []Row{row("a", OutputText, 2), row("a", InputText, 1)}, 1, time.Time{})
	if again.Version != first.Version {
		t.Errorf("the id depends on the order: %s %s", again.Version, first.Version)
	}
	if _, err := Merge(first, nil, 3, time.Time{}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("no rows: %v", err)
	}
	if _, err := Merge(first, []Row{row("a", InputText, 1), row("a", InputText, 2)}, 3, time.Time{}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("duplicate in the new rows: %v", err)
	}
}

func TestIndexAt(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	ix := Index{Activations: []Activation{{"a", day(1)}, {"b", day(5)}, {"c", day(3)}, {"d", day(5)}}}
	for n, want := range map[int]string{1: "a", 2: "a", 3: "c", 4: "c", 5: "d", 9: "d"} {
		if got := ix.At(day(n)); got != want {
			t.Errorf("day %d: %q, want %q", n, got, want)
		}
	}
	if got := ix.At(day(1).Add(-time.Second)); got != "" {
		t.Errorf("before the first: %q", got)
	}
}

func TestUsagePlus(t *testing.T) {
	u := Usage{InputTokens: 1, Requests: 1, Source: FromProvider}.Plus(Usage{InputTokens: 2, Characters: 3, Source: Estimated})
	if u != (Usage{InputTokens: 3, Requests: 1, Characters: 3, Source: Estimated}) {
		t.Errorf("%+v", u)
	}
}

func BenchmarkDecideAndCost(b *testing.B) {
	book := testBook(b, row("m", InputText, 3_000_000), row("m", OutputText, 15_000_000))
	in := sampleInputs()
	b.ReportAllocs()
	for b.Loop() {
		d := Decide(in)
		_ = HashCanonical(Canonical(in))
		if _, err := Cost(book, "p", "m", Usage{InputTokens: 1000, OutputTokens: 500, Requests: 1}); err != nil || !d.Allowed {
			b.Fatal(err)
		}
	}
}
