package gateway

import (
	"slices"
	"testing"

	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestFacts: adapter and registry together; a model of embeddings may be asked for
// embeddings, though it writes no text.
func TestFacts(t *testing.T) {
	g := &Gateway{entries: map[taxonomy.Provider]*providers.Entry{
		taxonomy.OpenRouter: {Lacks: func(string) []taxonomy.Capability { return []taxonomy.Capability{taxonomy.CapAudioOut} }}}}
	embeds := 0
	for _, row := range registry.Rows("") {
		f := g.facts(row.Provider, row.Model)
		for _, c := range taxonomy.Capabilities() {
			want := row.Can(c) == registry.No || row.Provider == taxonomy.OpenRouter && c == taxonomy.CapAudioOut
			if row.Embeds() && c == taxonomy.CapText {
				embeds++
				want = false
			}
			if slices.Contains(f.Lacks, c) != want {
				t.Errorf("%s: lacks %v, %s is %v", row.Name(), f.Lacks, c, row.Can(c))
			}
		}
		if f.Tier != org.QualityFloor(row.Tier) {
			t.Errorf("%s: tier %q", row.Name(), f.Tier)
		}
	}
	if embeds == 0 {
		t.Error("the registry has no models of embeddings any more")
	}
	if f := g.facts(taxonomy.Grok, "never/heard-of"); len(f.Lacks) != 0 || f.Tier != org.QualityUnrated {
		t.Errorf("%+v", f)
	}
}
