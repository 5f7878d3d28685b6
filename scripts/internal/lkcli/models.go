package lkcli

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/modelsdev"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func modelCommands() []command {
	return []command{
		{name: "models list", about: "the models that are known or priced, or that a connection has, with what is documented about them and what they cost",
			method: http.MethodGet, path: "/api/models", list: true, paged: true,
			columns:  []string{"model", "enabled", "context_tokens", "max_output_tokens", "capabilities", "status"},
			examples: []string{"lk models list --provider openai", "lk models list --connection c1a2b3 --json"},
			flags: []option{inQuery("provider", "only of this provider"),
				inQuery("connection", "what the vendor listed for this connection when lk connection test --probe list_models asked last"),
				inQuery("org_id", "the connection's organisation, for operators and agencies")}},
		{name: "models curated", about: "what this build knows of models: context, output, capabilities; with --json also source and date; calls nobody", local: curatedModels,
			examples: []string{"lk models curated --provider openai", "lk models curated --json"},
			flags:    []option{plain(text, "provider", "only of this provider")}},
		{name: "models import", about: "renew shared/registry/models.txt from a file of models.dev; prints the new table, changes nothing", local: importModels,
			examples: []string{"lk models import api.json --source-date 2026-11-22 > models.txt.new && mv models.txt.new shared/registry/models.txt",
				"lk models import api.json --source-date 2026-11-22 --add openai/gpt-5.5,mistral/mistral-large-2512"},
			args: []arg{{name: "file", about: "api.json of models.dev, or a snapshot of it; - = standard input"}},
			flags: []option{plain(text, "source-date", "the date of the file, YYYY-MM-DD").must(), plain(text, "source", "what the rows cite, default anomalyco/models.dev"),
				plain(words, "add", "further models, as provider/model")}},
	}
}

// modelJSON is one row of lk models curated.
type modelJSON struct {
	Model           string                `json:"model"`
	Provider        taxonomy.Provider     `json:"provider"`
	ContextTokens   int64                 `json:"context_tokens,omitempty"`
	InputTokens     int64                 `json:"input_tokens,omitempty"`
	MaxOutputTokens int64                 `json:"max_output_tokens,omitempty"`
	Inputs          []registry.Modality   `json:"inputs,omitempty"`
	Outputs         []registry.Modality   `json:"outputs,omitempty"`
	Capabilities    []taxonomy.Capability `json:"capabilities"`
	Reasoning       *bool                 `json:"reasoning,omitempty"`
	Embeddings      bool                  `json:"embeddings,omitempty"`
	Released        string                `json:"released,omitempty"`
	Status          registry.Status       `json:"status,omitempty"`
	Tier            registry.Tier         `json:"tier"`
	Source          string                `json:"source"`
	SourceDate      string                `json:"source_date"`
}

func modelOut(r registry.Row) modelJSON {
	out := modelJSON{Model: r.Name(), Provider: r.Provider, ContextTokens: r.ContextTokens, InputTokens: r.InputTokens, MaxOutputTokens: r.MaxOutputTokens,
		Inputs: r.Inputs, Outputs: r.Outputs, Capabilities: r.Capabilities(), Embeddings: r.Embeds(), Released: r.Released, Status: r.Status,
		Tier: r.Tier, Source: r.Source, SourceDate: r.SourceDate}
	if out.Capabilities == nil {
		out.Capabilities = []taxonomy.Capability{}
	}
	if r.Reasoning != registry.Unknown {
		thinks := r.Reasoning == registry.Yes
		out.Reasoning = &thinks
	}
	return out
}

// curatedModels is lk models curated.
func curatedModels(_ context.Context, in *invocation) error {
	var p taxonomy.Provider
	if in.has("provider") {
		var ok bool
		if p, ok = taxonomy.ParseProvider(in.text("provider")); !ok {
			return wrongCall("--provider is no provider; there are %s", strings.Join(curatedProviders(), ", "))
		}
	}
	rows := registry.Rows(p)
	if len(rows) == 0 {
		return failed("not_found", "this build has no models of "+string(p)+"; it has those of "+strings.Join(curatedProviders(), ", "))
	}
	if in.json {
		list := make([]modelJSON, len(rows))
		for i, r := range rows {
			list[i] = modelOut(r)
		}
		in.out.Write(encode(map[string]any{"items": list}))
		return nil
	}
	w := aligned(&in.out)
	row(w, []string{"MODEL", "CONTEXT", "OUTPUT", "CAPABILITIES", "RELEASED", "STATUS"})
	for _, r := range rows {
		caps := make([]string, 0, 6)
		for _, c := range r.Capabilities() {
			caps = append(caps, string(c))
		}
		if r.Embeds() {
			caps = append(caps, "embeddings")
		}
		row(w, []string{r.Name(), thousands(r.ContextTokens), thousands(r.MaxOutputTokens), strings.Join(caps, " "), dash(r.Released), string(r.Status)})
	}
	return w.Flush()
}

func curatedProviders() (out []string) {
	for _, r := range registry.Rows("") {
		if n := len(out); n == 0 || out[n-1] != string(r.Provider) {
			out = append(out, string(r.Provider))
		}
	}
	return out
}

// thousands writes a number of tokens with its thousands apart, "-" if unknown.
func thousands(n int64) string {
	if n == 0 {
		return "-"
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// importModels is lk models import.
func importModels(_ context.Context, in *invocation) error {
	raw, err := in.file(in.args["file"], "the catalogue", modelsdev.MaxBytes)
	if err != nil {
		return err
	}
	date := in.text("source-date")
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return wrongCall("--source-date is YYYY-MM-DD")
	}
	catalogue, err := modelsdev.Parse(raw)
	if err != nil {
		return failed("file", "the catalogue cannot be read: "+err.Error())
	}
	source := registry.Source{Title: in.text("source"), Date: date}
	if source.Title == "" {
		source.Title = "anomalyco/models.dev"
	}
	t := registry.CurrentTable()
	if err := modelsdev.Update(&t, catalogue, source, in.commaList("add")); err != nil {
		return failed("file", err.Error())
	}
	text := t.String()
	// What is printed must be what the build reads.
	if _, err := registry.Parse(text); err != nil {
		return failed("file", "the new table is not valid: "+err.Error())
	}
	if in.json {
		doc, err := json.Marshal(map[string]any{"models": len(t.Rows), "table": text})
		if err != nil {
			return err
		}
		in.out.Write(append(doc, '\n'))
		return nil
	}
	in.out.WriteString(text)
	return nil
}

// commaList is what a flag of words was given, in order.
func (in *invocation) commaList(name string) (out []string) {
	if v, ok := in.flags[name]; ok {
		for _, g := range v.given {
			out = append(out, strings.FieldsFunc(g, func(r rune) bool { return r == ',' })...)
		}
	}
	return out
}
