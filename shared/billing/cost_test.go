package billing

import (
	"strings"
	"testing"
	"time"

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
		row("both", InputText, 1_000_000), row("both", InputAudio, 6_000_000), row("both", OutputText, 10_000_000), row("both", AudioSecondIn, 100_000_000),
		row("spoken", CharacterIn, 15_000_000), row("spoken", AudioSecondOut, 1_000_000_000),
		row("anthropic-like", InputText, 3_000_000), row("anthropic-like", InputCacheRead, 300_000), row("anthropic-like", InputCacheWrite5m, 3_750_000),
		row("anthropic-like", InputCacheWrite1h, 6_000_000), row("no hour", InputText, 3_000_000), row("no hour", InputCacheWrite5m, 3_750_000),
		row("pictures", InputText, 1_000_000), row("pictures", InputImage, 2_000_000), row("pictures", OutputText, 2_000_000),
		row("pictures", OutputImage, 30_000_000), row("pictures", Image, 7_000_000),
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
		{"seconds out", "ttsec", Usage{AudioOutMillis: 2000}, 200},
		{"characters", "tts", Usage{Characters: 100}, 1500},
		{"seconds beside tokens need no row", "m", Usage{InputTokens: 1000, AudioMillis: 5000, Characters: 9}, 3000},
		{"tokens beside seconds need no row", "stt", Usage{InputTokens: 1000, OutputTokens: 50, AudioMillis: 1500}, 150},
		{"tokens go before seconds", "both", Usage{InputTokens: 1000, InputAudioTokens: 900, OutputTokens: 50, AudioMillis: 1500}, 100 + 900*6 + 50*10},
		{"seconds where a part of the tokens has no price", "both", Usage{InputTokens: 1000, OutputTokens: 50, OutputAudioTokens: 1, AudioMillis: 1500}, 150},
		{"characters go before seconds out", "spoken", Usage{Characters: 10, AudioOutMillis: 2000}, 150},
		{"seconds in have no price of seconds out", "spoken", Usage{Characters: 10, AudioMillis: 2000}, 150},
		{"an hour's writes", "anthropic-like", Usage{InputTokens: 1000, CachedInputTokens: 100, CacheWriteTokens: 500, CacheWrite1hTokens: 200}, 400*3 + 30 + 300*15/4 + 200*6},
		{"an hour's writes where writing is free", "m", Usage{InputTokens: 1000, CacheWriteTokens: 500, CacheWrite1hTokens: 500}, 3000},
		{"more of an hour than of all writes", "anthropic-like", Usage{InputTokens: 100, CacheWriteTokens: 50, CacheWrite1hTokens: 90}, 50*3 + 50*6},
		{"pictures as text", "m", Usage{InputTokens: 1000, InputImageTokens: 900}, 3000},
		{"pictures apart", "pictures", Usage{InputTokens: 1000, InputImageTokens: 900, OutputTokens: 100, OutputImageTokens: 90, Images: 2, Requests: 1}, 100 + 900*2 + 10*2 + 90*30 + 2*7},
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
		{"an hour is not five minutes", "no hour", Usage{InputTokens: 10, CacheWriteTokens: 5, CacheWrite1hTokens: 1}, fault.PriceMissing},
		{"a made picture is not text", "m", Usage{OutputTokens: 10, OutputImageTokens: 1}, fault.PriceMissing},
		{"seconds out are not seconds in", "ttsec", Usage{AudioMillis: 1}, fault.PriceMissing},
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

func TestEstimate(t *testing.T) {
	b := testBook(t, row("m", InputText, 1_000_000), row("m", OutputText, 2_000_000), row("emb", InputText, 1_000_000), row("tts", CharacterIn, 3_000_000),
		row("audio", InputText, 1_000_000), row("audio", InputAudio, 5_000_000), row("audio", OutputText, 2_000_000),
		row("cache", InputText, 1_000_000), row("cache", InputCacheWrite5m, 1_250_000), row("cache", InputCacheWrite1h, 2_000_000), row("cache", OutputText, 2_000_000),
		row("no hour", InputText, 1_000_000), row("no hour", InputCacheWrite5m, 1_250_000), row("no hour", OutputText, 2_000_000),
		row("stt", AudioSecondIn, 100_000_000), row("sttoken", InputAudio, 6_000_000), row("sttoken", OutputText, 10_000_000))
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
		{"pictures as text", "m", Expected{InputTokens: 1000, InputImageTokens: 900, Images: 1, MaxOutput: 1}, 1102, 1},
		{"audio", "audio", Expected{InputTokens: 1000, InputAudioTokens: 1000, MaxOutput: 1}, 1100*5 + 2, 1},
		{"the dearest of reading and writing", "cache", Expected{InputTokens: 1000, MaxOutput: 1, CacheWrite: true}, 1100*5/4 + 2, 1},
		{"an hour", "cache", Expected{InputTokens: 1000, MaxOutput: 1, CacheWrite1h: true}, 1100*2 + 2, 1},
		{"an hour where writing is free", "m", Expected{InputTokens: 1000, MaxOutput: 1, CacheWrite1h: true}, 1102, 1},
		{"a transcription by seconds", "stt", Expected{AudioMillis: 1500, NoOutput: true}, 150, 0},
		{"a transcription by tokens", "sttoken", Expected{AudioMillis: 1500, NoOutput: true}, 2*40*6 + 2*10*10, 0},
	} {
		hold, out, err := Estimate(b, "p", c.model, c.e)
		if err != nil || hold != c.hold || out != c.out {
			t.Errorf("%s: %d %d %v, want %d %d", c.name, hold, out, err, c.hold, c.out)
		}
	}
	// What a request could use must have a price before it is sent.
	for _, c := range []struct {
		model, lacks string
		e            Expected
	}{
		{"nope", "this model has no price", Expected{InputTokens: 1}},
		{"emb", "output_text", Expected{InputTokens: 1}},
		{"m", "input_audio", Expected{InputTokens: 10, InputAudioTokens: 1}},
		{"no hour", "input_cache_write_1h", Expected{InputTokens: 10, CacheWrite1h: true}},
		{"m", "audio_second_in", Expected{AudioMillis: 1, NoOutput: true}},
		{"m", "character_in", Expected{Characters: 1, NoOutput: true}},
		{"stt", "character_in", Expected{Characters: 1, NoOutput: true}},
		{"tts", "audio_second_in", Expected{AudioMillis: 1, NoOutput: true}},
		{"stt", "input_text", Expected{InputTokens: 1}},
	} {
		if _, _, err := Estimate(b, "p", c.model, c.e); fault.CodeOf(err) != fault.PriceMissing || !strings.Contains(fault.As(err).Message, c.lacks) {
			t.Errorf("%s %+v: %v", c.model, c.e, err)
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
	for n, want := range map[int]Activation{1: {"c", day(3)}, 2: {"c", day(3)}, 3: {"d", day(5)}, 4: {"d", day(5)}} {
		if next, ok := ix.Scheduled(day(n)); !ok || next != want {
			t.Errorf("day %d: %+v %v is next, want %+v", n, next, ok, want)
		}
	}
	if next, ok := ix.Scheduled(day(5)); ok {
		t.Errorf("nothing follows: %+v", next)
	}
	if next, ok := (Index{Activations: []Activation{{"a", day(1)}, {"a", day(3)}}}).Scheduled(day(2)); ok {
		t.Errorf("the same version again: %+v", next)
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
