package lkcli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/registry"
)

func TestModelsCurated(t *testing.T) {
	got := lk(t, "", nil, "models", "curated", "--provider", "google")
	contains(t, "table", got.out, "MODEL", "CONTEXT", "gemini/gemini-2.5-pro", "1,048,576", "65,535", "text vision audio_in tools json", "embeddings")
	if got.code != ExitDone || strings.Contains(got.out, "openai/") {
		t.Errorf("exit %d\n%s", got.code, got.out)
	}
	var doc struct{ Items []modelJSON }
	got = lk(t, "", nil, "models", "curated", "--json")
	if err := json.Unmarshal([]byte(got.out), &doc); err != nil || len(doc.Items) != len(registry.Rows("")) {
		t.Fatalf("%v, %d models", err, len(doc.Items))
	}
	for _, m := range doc.Items {
		if m.Source == "" || m.SourceDate == "" || m.Tier != registry.Unrated || m.Capabilities == nil {
			t.Errorf("%+v", m)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--provider", "nobody"}, ExitUsage, "--provider is no provider; there are anthropic, bedrock"},
		{[]string{"--provider", "ollama"}, ExitRefused, "this build has no models of openai_compatible"},
	} {
		got := lk(t, "", nil, append([]string{"models", "curated"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.errOut, c.want) {
			t.Errorf("%v: exit %d %s", c.args, got.code, got.errOut)
		}
	}
}

// TestModelsImport: a catalogue that still has what the table cites renews it; the
// printed table is what the build would read.
func TestModelsImport(t *testing.T) {
	table := registry.CurrentTable()
	providers := map[string]map[string]any{}
	for i, r := range table.Rows {
		if table.Cites[i] == "models.dev" {
			name := table.Names[r.Provider]
			if providers[name] == nil {
				providers[name] = map[string]any{}
			}
			providers[name][r.Model] = map[string]any{"limit": map[string]any{"context": 77}}
		}
	}
	providers["openai"]["brand-new"] = map[string]any{"tool_call": true}
	raw, err := json.Marshal(map[string]any{"source": "s", "providers": providers})
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "api.json", string(raw))
	got := lk(t, "", nil, "models", "import", file, "--source-date", "2026-12-01", "--add", "openai/brand-new")
	contains(t, "table", got.out, "@source models.dev 2026-12-01 anomalyco/models.dev\n", "\nopenai brand-new - - - - - tools - - models.dev\n",
		"\nopenai o3 77 - - - - - - - models.dev\n", "\nopenai gpt-5 400000 272000 128000 ")
	if _, err := registry.Parse(got.out); err != nil || got.code != ExitDone {
		t.Errorf("exit %d %s: %v", got.code, got.errOut, err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{file}, ExitUsage, "--source-date is required"},
		{[]string{file, "--source-date", "yesterday"}, ExitUsage, "--source-date is YYYY-MM-DD"},
		{[]string{file, "--source-date", "2026-12-01", "--add", "openai/none"}, ExitRefused, "the catalogue does not have openai/none"},
		{[]string{write(t, "bad.json", `{"p":1}`), "--source-date", "2026-12-01"}, ExitRefused, "the catalogue cannot be read: p has no models"},
		{[]string{file, "--source-date", "2026-12-01", "--source", strings.Repeat("x", 201)}, ExitRefused, "the new table is not valid"},
	} {
		got := lk(t, "", nil, append([]string{"models", "import"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.errOut, c.want) {
			t.Errorf("%v: exit %d %s, want %q", c.args[1:], got.code, got.errOut, c.want)
		}
	}
}
