package registry

import (
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestTable: what is built in is valid, written as it is read, and cites a source
// for every row.
func TestTable(t *testing.T) {
	table, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := table.String(); got != text {
		t.Error("models.txt is not as String writes it")
	}
	count := map[taxonomy.Provider]int{}
	for _, r := range table.Rows {
		count[r.Provider]++
		if r.Source == "" || r.SourceDate == "" || r.Tier != Unrated {
			t.Errorf("%s: source %q of %q, tier %q", r.Name(), r.Source, r.SourceDate, r.Tier)
		}
		if r.InputTokens > r.ContextTokens || r.MaxOutputTokens > r.ContextTokens && r.ContextTokens > 0 && !r.Embeds() && r.Can(taxonomy.CapText) == Yes {
			t.Errorf("%s: context %d, input %d, output %d", r.Name(), r.ContextTokens, r.InputTokens, r.MaxOutputTokens)
		}
		if got, ok := Lookup(r.Provider, r.Model); !ok || got.Model != r.Model {
			t.Errorf("%s is not found", r.Name())
		}
	}
	for _, p := range []taxonomy.Provider{taxonomy.OpenRouter, taxonomy.OpenAI, taxonomy.Anthropic, taxonomy.Gemini, taxonomy.Mistral, taxonomy.Grok,
		taxonomy.Kimi, taxonomy.Groq, taxonomy.DeepSeek, taxonomy.Bedrock} {
		if count[p] < 4 || count[p] > 60 {
			t.Errorf("%s has %d rows", p, count[p])
		}
		delete(count, p)
	}
	if len(count) > 0 {
		t.Errorf("rows of %v", count)
	}
}

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		provider taxonomy.Provider
		model    string
		want     string // "" = not found
	}{
		{taxonomy.OpenAI, "gpt-5.4", "gpt-5.4"},
		{taxonomy.OpenAI, "gpt-5.4-2026-03-05", "gpt-5.4"},
		{taxonomy.OpenAI, "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"}, // a row of its own wins
		{taxonomy.OpenAI, "gpt-4o-2024-11-21", "gpt-4o"},
		{taxonomy.OpenAI, "gpt-4-0613", "gpt-4"},
		{taxonomy.OpenAI, "gpt-5.4-2026-3-05", ""},
		{taxonomy.OpenAI, "gpt-5.4-dddd-dd-dd", ""},
		{taxonomy.OpenAI, "gpt-5.4-2026103-05", ""},
		{taxonomy.OpenAI, "gpt-5.4-20260305", ""}, // that is not how OpenAI writes it
		{taxonomy.OpenAI, "gpt-5.44", ""},         // no row is a prefix of another model
		{taxonomy.OpenAI, "-2026-03-05", ""},
		{taxonomy.OpenAI, "", ""},
		{taxonomy.Anthropic, "claude-opus-4-8-20260601", "claude-opus-4-8"},
		{taxonomy.Anthropic, "claude-opus-4-8-2026-06-01", ""},
		{taxonomy.Gemini, "models/gemini-2.5-pro", "gemini-2.5-pro"},
		{taxonomy.Gemini, "gemini-3.5-flash-001", "gemini-3.5-flash"},
		{taxonomy.Gemini, "models/gemini-3.5-flash-001", "gemini-3.5-flash"},
		{taxonomy.Grok, "grok-4.3-latest", "grok-4.3"},
		{taxonomy.OpenRouter, "openai/gpt-5.4:nitro", "openai/gpt-5.4"},
		{taxonomy.OpenRouter, "openai/gpt-5.4:free", ""},
		{taxonomy.Bedrock, "eu.anthropic.claude-opus-4-7", "anthropic.claude-opus-4-7"},
		{taxonomy.Bedrock, "us.anthropic.claude-fable-5", "global.anthropic.claude-fable-5"},
		{taxonomy.Bedrock, "xx.anthropic.claude-opus-4-7", ""},
		{taxonomy.Mistral, "mistral-large-2512", "mistral-large-2512"},
		{taxonomy.Mistral, "mistral-large-2601", ""},
		{taxonomy.OpenAICompatible, "gpt-5.4", ""}, // anybody's endpoint may call anything so
	} {
		row, ok := Lookup(c.provider, c.model)
		switch {
		case c.want == "" && (ok || row.ContextTokens != 0 || row.Capabilities() != nil || row.Tier != Unrated):
			t.Errorf("%s/%s: found %+v", c.provider, c.model, row)
		case c.want != "" && (!ok || row.Model != c.want || row.Provider != c.provider):
			t.Errorf("%s/%s: %q, %v, want %q", c.provider, c.model, row.Model, ok, c.want)
		}
	}
}

func TestFacts(t *testing.T) {
	o3mini, _ := Lookup(taxonomy.OpenAI, "o3-mini")
	needs := []taxonomy.Capability{taxonomy.CapText, taxonomy.CapTools, taxonomy.CapVision}
	if c, lacks := o3mini.Lacks(needs); !lacks || c != taxonomy.CapVision {
		t.Errorf("o3-mini lacks %q, %v", c, lacks)
	}
	if o3mini.Has(needs) || !o3mini.Has(needs[:2]) {
		t.Error("o3-mini has other capabilities")
	}
	if got := o3mini.Capabilities(); !slices.Equal(got, []taxonomy.Capability{taxonomy.CapText, taxonomy.CapTools, taxonomy.CapJSON}) {
		t.Errorf("o3-mini: %v", got)
	}
	// What nobody documented is neither missing nor there.
	unknown, ok := Lookup(taxonomy.OpenAI, "gpt-99")
	if _, lacks := unknown.Lacks(taxonomy.Capabilities()); ok || lacks || unknown.Has(needs) {
		t.Error("an unknown model has facts")
	}
	grok, _ := Lookup(taxonomy.Grok, "grok-3")
	if grok.Can(taxonomy.CapVision) != No || grok.Can(taxonomy.CapTools) != Unknown || grok.Can("other") != Unknown {
		t.Errorf("grok-3: %+v", grok)
	}
	// Embeddings are not text.
	embed, _ := Lookup(taxonomy.OpenAI, "text-embedding-3-small")
	if !embed.Embeds() || embed.Can(taxonomy.CapText) != No || o3mini.Embeds() || embed.MaxInput() != 8191 {
		t.Errorf("%+v", embed)
	}
	gpt5, _ := Lookup(taxonomy.OpenAI, "gpt-5")
	if gpt5.MaxInput() != 272000 || o3mini.MaxInput() != 200000 || unknown.MaxInput() != 0 {
		t.Errorf("most input %d and %d", gpt5.MaxInput(), o3mini.MaxInput())
	}
	if all, one := Rows(""), Rows(taxonomy.DeepSeek); len(all) <= len(one) || len(one) < 2 || one[0].Provider != taxonomy.DeepSeek {
		t.Errorf("%d rows, %d of one provider", len(all), len(one))
	}
}

const head = "# c\n@source s 2026-01-02 a page\n@name openai openai\n"

// TestParseRefuses: every way in which a line can be wrong has its reason.
func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"openai m - - - - - - - - s", ""},
		{"openai m 1 2 3 text+image text tools,!json,reasoning 2026-01 beta s", ""},
		{"openai m - - - - - - - -", "10 fields"},
		{"openai m - - - - - - - - - s", "12 fields"},
		{"nobody m - - - - - - - - s", `"nobody" is no provider`},
		{"google m - - - - - - - - s", `"google" is no provider`},
		{"openai  - - - - - - - - s", `"" is no model`},
		{"openai m 0 - - - - - - - s", `"0" is no number`},
		{"openai m 01 - - - - - - - s", `"01" is no number`},
		{"openai m - - 1073741825 - - - - - s", "is no number"},
		{"openai m - -1 - - - - - - s", "is no number"},
		{"openai m - - - image+text - - - - s", "in order"},
		{"openai m - - - text+text - - - - s", "in order"},
		{"openai m - - - text smell - - - s", "in order"},
		{"openai m - - - - - json,tools - - s", "in order"},
		{"openai m - - - - - tools,!tools - - s", "in order"},
		{"openai m - - - - - - 2026 - s", "no date"},
		{"openai m - - - - - - 2026-13-01 - s", "no date"},
		{"openai m - - - - - - - old s", "no status"},
		{"openai m - - - - - - - - x", "no source"},
		{"openai m - - - - - - - - s\nopenai m - - - - - - - - s", "openai/m is not after openai/m"},
		{"openai m - - - - - - - - s\nopenai l - - - - - - - - s", "openai/l is not after"},
		{"openai m - - - - - - - - s\n# more", "a comment after"},
		{"@source s 2026-01-02 again", "once"},
		{"@source t 2026-1-2 page", "YYYY-MM-DD"},
		{"@source t 2026-01-02", "YYYY-MM-DD"},
		{"@name openai other", "once"},
		{"@name xai xai", "once"},
		{"@source t 2026-01-02 page\nopenai m - - - - - - - - s", `no row cites the source "t"`},
		{"", "1 fields"},
	} {
		_, err := Parse(head + c.text + "\n")
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q: %v", c.text, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text)
	f.Add(head + "openai m 1 2 3 text+image text tools,!json,reasoning 2026-01 beta s\n")
	f.Fuzz(func(t *testing.T, s string) {
		table, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(table.String())
		if err != nil || len(again.Rows) != len(table.Rows) || again.String() != table.String() {
			t.Fatalf("%q is written as %q: %v", s, table.String(), err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Lookup(taxonomy.OpenAI, "gpt-5.4-2026-03-05")
	}
}
