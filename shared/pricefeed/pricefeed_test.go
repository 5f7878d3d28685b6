package pricefeed

import (
	"fmt"
	goparser "go/parser"
	"go/token"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t *testing.T, name string) *Feed {
	t.Helper()
	f, err := Parse(read(t, name), Origin{Name: name, Date: "2026-11-22"})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lines are the rows in short: model meter [>tier] rate.
func lines(rows []billing.Row) (out []string) {
	for _, r := range rows {
		tier := ""
		if r.TierFrom > 0 {
			tier = fmt.Sprintf(" from %d", r.TierFrom)
		}
		out = append(out, fmt.Sprintf("%s/%s %s%s %d", r.Provider, r.Model, r.Meter, tier, r.RatePico))
	}
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s\n got:\n%s\nwant:\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func said(f *Feed) (rejected, skipped []string) {
	for _, r := range f.Rejected {
		rejected = append(rejected, r.Provider+"/"+r.Model+" "+r.Meter+": "+r.Reason)
	}
	for _, s := range f.Skipped {
		skipped = append(skipped, fmt.Sprintf("%d %s", s.Count, s.Reason))
	}
	return rejected, skipped
}

func TestModelsDev(t *testing.T) {
	f := parse(t, "modelsdev.json")
	same(t, "rows", lines(f.Rows),
		"anthropic/fee input_text 3000000", "anthropic/fee output_text 15000000",
		"anthropic/writer input_cache_read 300000", "anthropic/writer input_cache_write_5m 3750000", "anthropic/writer input_text 3000000", "anthropic/writer output_text 15000000",
		"openai/dust input_text 493000", "openai/dust output_text 2300",
		"openai/embed input_text 130000",
		"openai/long-prompts input_cache_read 250000", "openai/long-prompts input_cache_read from 272001 500000",
		"openai/long-prompts input_text 2500000", "openai/long-prompts input_text from 272001 5000000",
		"openai/long-prompts output_text 15000000", "openai/long-prompts output_text from 272001 22500000",
		"openai/misspelt input_text 1000000", "openai/misspelt output_audio 8000000", "openai/misspelt output_reasoning 3000000", "openai/misspelt output_text 2000000",
		"openai/too-fine output_text 1000000",
		"openai/twice input_text 1000000", "openai/twice input_text from 200001 2000000", "openai/twice output_text 2000000")
	rejected, skipped := said(f)
	same(t, "rejected", rejected,
		"anthropic/fee input_cache_write_5m: a write to the cache that costs less than the input is a fee, not a price",
		"openai/below-zero input: the price is negative", "openai/below-zero output: the price is negative",
		"openai/misspelt cached_input: unknown meter",
		"openai/too-fine input: the price does not come out to a whole millionth of a millionth of a USD",
		"openai/twice input: the feed has two prices for this meter",
		"openai/words input: the price is not a decimal number", "openai/words output: the price is not a decimal number",
		"openai/words tiers: the tier is not a length of the prompt", "openai/words tiers: the tier is not a length of the prompt",
		"openai/words tiers: the tier is not a length of the prompt")
	same(t, "skipped", skipped, "2 models of provider somebody-else", "1 models without a price", "1 zero output of models that have none")
	if f.Format != ModelsDev || f.Models != 8 {
		t.Errorf("%s, %d models", f.Format, f.Models)
	}
	for _, r := range f.Rows {
		if r.SourceDate != "2026-11-22" || !strings.HasPrefix(r.Source, "modelsdev.json (models.dev, sha256 "+f.Hash[:12]+")") {
			t.Errorf("source %q of %s", r.Source, r.SourceDate)
		}
	}
}

// TestModelsDevSnapshot: a snapshot of the repository has the providers a level
// deeper and no "models".
func TestModelsDevSnapshot(t *testing.T) {
	f, err := Parse([]byte(`{"source":"s","providers":{"xai":{"g":{"cost":{"input":"1.25"}}},"google":{"h":{"cost":{"input":2}}}}}`), Origin{"s", "2026-01-02"})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "rows", lines(f.Rows), "gemini/h input_text 2000000", "grok/g input_text 1250000")
}

func TestLiteLLM(t *testing.T) {
	f := parse(t, "litellm.json")
	same(t, "rows", lines(f.Rows),
		"anthropic/claude-sample input_cache_read 300000", "anthropic/claude-sample input_cache_write_1h 6000000",
		"anthropic/claude-sample input_cache_write_1h from 200001 12000000", "anthropic/claude-sample input_cache_write_5m 3750000",
		"anthropic/claude-sample input_text 3000000", "anthropic/claude-sample input_text from 200001 6000000",
		"anthropic/claude-sample output_text 15000000", "anthropic/claude-sample output_text from 200001 22500000",
		"gemini/gemini-sample image 1000000000", "gemini/gemini-sample input_text 300000", "gemini/gemini-sample output_image 30000000",
		"gemini/gemini-sample output_reasoning 2500000", "gemini/gemini-sample output_text 2500000", "gemini/gemini-sample request 500000",
		"groq/whisper-large audio_second_in 30830000",
		"openai/gpt-sample input_audio 10000000", "openai/gpt-sample input_cache_read 75000", "openai/gpt-sample input_text 150000", "openai/gpt-sample output_text 600000",
		"openai/text-embedding-sample input_text 20000",
		"openai/tts-sample audio_second_out 250000000", "openai/tts-sample character_in 15000000",
		"openai/whisper-sample audio_second_in 100000000")
	rejected, skipped := said(f)
	same(t, "rejected", rejected, "bedrock/rented input_cost_per_second: unknown meter", "bedrock/rented output_cost_per_second: unknown meter",
		"openai/gpt-sample input_cost_per_token: the feed has two prices for this meter",
		"openai/gpt-sample search_context_cost_per_query: unknown meter")
	same(t, "skipped", skipped, "1 models of mode image_generation", "1 models of provider snowflake", "1 models without a price",
		"2 prices of other service tiers", "2 seconds of a transcription priced as output", "1 zero output of models that have none")
	for _, r := range f.Rows {
		if r.Model == "gpt-sample" && !strings.HasSuffix(r.Source, "; https://vendor.example/pricing") {
			t.Errorf("source %q", r.Source)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		raw, date string
		code      fault.Code
	}{
		"not JSON":     {`{`, "2026-01-02", fault.InvalidRequest},
		"a key twice":  {`{"openai":{"models":{}},"openai":{"models":{}}}`, "2026-01-02", fault.InvalidRequest},
		"a list":       {`[]`, "2026-01-02", fault.InvalidRequest},
		"empty":        {`{}`, "2026-01-02", fault.InvalidRequest},
		"other format": {`{"a":{"b":1}}`, "2026-01-02", fault.InvalidRequest},
		"no date":      {`{"openai":{"models":{}}}`, "today", fault.InvalidRequest},
		"too large":    {strings.Repeat(" ", MaxFeed+1), "2026-01-02", fault.TooLarge},
	} {
		if _, err := Parse([]byte(c.raw), Origin{"x", c.date}); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		text  string
		shift int
		div   int64
		want  int64
		err   error
	}{
		{"1.5e-07", perUnit, 1, 150_000, nil}, {"1.5E-7", perUnit, 1, 150_000, nil}, {"0.00000015", perUnit, 1, 150_000, nil},
		{"15e-8", perUnit, 1, 150_000, nil}, {"2.5", perMillion, 1, 2_500_000, nil}, {"5.00", perMillion, 1, 5_000_000, nil},
		{"0.083333", perMillion, 1, 83_333, nil}, {"0", perUnit, 1, 0, nil}, {"0.000", perUnit, 1, 0, nil}, {"-0", perUnit, 1, 0, nil},
		{"0.49299999999999994", perMillion, 1, 493_000, nil}, {"0.049999999999999996", perMillion, 1, 50_000, nil},
		{"0.111", perUnit, 3600, 30_833_333, nil}, {"0.006", perUnit, 60, 100_000_000, nil},
		{"1000", perUnit, 1, maxRate, nil}, {"1e3", perUnit, 1, maxRate, nil},
		// Half to even, where it is allowed to round at all.
		{"1000.5", 0, 1, 1000, nil}, {"1001.5", 0, 1, 1002, nil},
		{"1000.0000001", perUnit, 1, 0, errTooHigh}, {"1e59", perUnit, 1, 0, errTooHigh},
		{"0.5", 0, 1, 0, errTooFine}, {"1e-13", perUnit, 1, 0, errTooFine}, {"0.0000001234", perMillion, 1, 0, errTooFine}, {"100.1", 0, 1, 100, nil}, {"99.9", 0, 1, 0, errTooFine},
		{"-1", perUnit, 1, 0, errNegative}, {"-1e-9", perUnit, 1, 0, errNegative},
		{"", perUnit, 1, 0, errNotDecimal}, {".5", perUnit, 1, 0, errNotDecimal}, {"1.", perUnit, 1, 0, errNotDecimal}, {"1e", perUnit, 1, 0, errNotDecimal},
		{"1e+-7", perUnit, 1, 0, errNotDecimal}, {"1e61", perUnit, 1, 0, errNotDecimal}, {"0x10", perUnit, 1, 0, errNotDecimal}, {"1_000", perUnit, 1, 0, errNotDecimal},
		{"1,5", perUnit, 1, 0, errNotDecimal}, {"NaN", perUnit, 1, 0, errNotDecimal}, {"--1", perUnit, 1, 0, errNotDecimal}, {strings.Repeat("1", 65), perUnit, 1, 0, errNotDecimal},
	} {
		if got, err := parseRate(c.text, c.shift, c.div); got != c.want || err != c.err {
			t.Errorf("%s x 10^%d / %d: %d %v, want %d %v", c.text, c.shift, c.div, got, err, c.want, c.err)
		}
	}
}

// TestRatesAreExact: any rate that the book can hold, written in any way, comes
// back as it was.
func TestRatesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pico := rapid.OneOf(rapid.Int64Range(0, 10_000), rapid.Int64Range(0, maxRate)).Draw(t, "pico")
		shift := rapid.SampledFrom([]int{perUnit, perMillion}).Draw(t, "shift")
		exponent := rapid.IntRange(-20, 20).Draw(t, "exponent")
		value := new(big.Rat).SetFrac(big.NewInt(pico), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(shift)), nil))
		scale := new(big.Rat).SetInt(pow10(max(exponent, -exponent)))
		if exponent > 0 {
			value.Quo(value, scale)
		} else {
			value.Mul(value, scale)
		}
		text := strings.TrimSuffix(strings.TrimRight(value.FloatString(40), "0"), ".") + fmt.Sprintf("e%+d", exponent)
		if got, err := parseRate(text, shift, 1); err != nil || got != pico {
			t.Fatalf("%s: %d %v, want %d", text, got, err, pico)
		}
	})
}

func TestCompare(t *testing.T) {
	row := func(model string, m billing.Meter, rate int64) billing.Row {
		return billing.Row{Provider: "openai", Model: model, Meter: m, RatePico: rate, Source: "s", SourceDate: "2026-01-02"}
	}
	least := row("m", billing.AudioSecondIn, 500)
	least.MinUnits = 10
	active := []billing.Row{row("m", billing.InputText, 1000), row("m", billing.OutputText, 1000), row("m", billing.InputCacheRead, 1000), row("m", billing.InputAudio, 0),
		row("m", billing.OutputAudio, 1000), row("m", billing.Request, 7), least, row("other", billing.InputText, 1)}
	fed := []billing.Row{row("m", billing.InputText, 1200), row("m", billing.OutputText, 1201), row("m", billing.InputCacheRead, 799), row("m", billing.InputAudio, 5),
		row("m", billing.OutputAudio, 0), row("m", billing.AudioSecondIn, 500), row("new", billing.InputText, 3), row("free", billing.InputText, 0)}
	show := func(d Diff) (out []string) {
		for _, c := range d.Changes {
			out = append(out, fmt.Sprintf("%s %v %d->%d %s %v", c.Name(), c.Had, c.Old, c.Row.RatePico, c.Held, c.Applies()))
		}
		return out
	}
	d := Compare(active, fed, Accept{Names: []string{"openai/m/input_audio", "openai/m/input_text"}})
	same(t, "changes", show(d),
		"openai/free/input_text false 0->0 would be free false",
		"openai/m/audio_second_in true 500->500 changes the least units false",
		"openai/m/input_audio true 0->5 was free true",
		"openai/m/input_cache_read true 1000->799 moves by more than 20 % false",
		"openai/m/input_text true 1000->1200  true",
		"openai/m/output_audio true 1000->0 would be free false",
		"openai/m/output_text true 1000->1201 moves by more than 20 % false",
		"openai/new/input_text false 0->3  true")
	same(t, "unused", d.Unused, "openai/m/input_text")
	same(t, "gone", lines(d.Gone), "openai/m request 7")
	same(t, "imported", lines(d.Rows()), "openai/m input_audio 5", "openai/m input_text 1200", "openai/new input_text 3")
	if d.Held() != 5 || d.Same != 0 {
		t.Errorf("%d held, %d same", d.Held(), d.Same)
	}
	if all := Compare(active, fed, Accept{All: true}); all.Held() != 0 || len(all.Rows()) != 8 {
		t.Errorf("all accepted: %d held", all.Held())
	}
	if again := Compare(active, active, Accept{}); again.Same != len(active) || len(again.Changes)+len(again.Gone) != 0 {
		t.Errorf("against itself: %+v", again)
	}
}

// TestNoFunctionImportsThis: the lists stay out of the functions' binaries.
func TestNoFunctionImportsThis(t *testing.T) {
	root := filepath.Join("..", "..")
	for _, dir := range []string{"functions", "shared"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := goparser.ParseFile(token.NewFileSet(), path, nil, goparser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, i := range f.Imports {
				if strings.Contains(i.Path.Value, "shared/pricefeed") {
					t.Errorf("%s imports it", path)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzParseRate(f *testing.F) {
	for _, s := range []string{"1.5e-07", "0.49299999999999994", "-1", "1e60", ".5", "1e+", "0x1p-2", "000.1"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, text string, unit bool) {
		shift := perMillion
		if unit {
			shift = perUnit
		}
		got, err := parseRate(text, shift, 1)
		if err != nil {
			return
		}
		// What is accepted is what a fraction of any size makes of it.
		want, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q was read as %d", text, got)
		}
		want.Mul(want, new(big.Rat).SetInt(pow10(shift)))
		off := want.Sub(want, new(big.Rat).SetInt64(got))
		if got < 0 || got > maxRate || off.Abs(off).Cmp(big.NewRat(1, 2)) > 0 {
			t.Fatalf("%q was read as %d, off by %s", text, got, off.RatString())
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"modelsdev.json", "litellm.json"} {
		f.Add(read(f, name))
	}
	f.Add([]byte(`{"providers":{"openai":{"m":{"cost":{"input":1,"tiers":[{"tier":{"size":1}}]}}}}}`))
	f.Add([]byte(`{"m":{"litellm_provider":"openai","mode":"chat","x_cost_above_9k_tokens":1e-6}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		feed, err := Parse(raw, Origin{"fuzz", "2026-01-02"})
		if err != nil {
			return
		}
		if _, err := billing.NewBook("v", testTime(), feed.Rows); err != nil && len(feed.Rows) <= billing.MaxRows {
			t.Fatalf("rows that make no book: %v", err)
		}
		again, err := Parse(raw, Origin{"fuzz", "2026-01-02"})
		if err != nil || strings.Join(lines(again.Rows), "\n") != strings.Join(lines(feed.Rows), "\n") {
			t.Fatal("the same bytes gave other rows")
		}
	})
}
