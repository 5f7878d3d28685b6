// Package modelsdev reads the catalogue of models.dev (anomalyco/models.dev) and
// renews the rows of shared/registry/models.txt from it.
//
// It is exact: a field it does not know, a number that is none, a modality or date
// of another form stop the import, because what is misread would refuse requests.
// A fact that the catalogue does not state stays unknown. Two forms are read: the
// published api.json, {provider: {models: {id: model}}}, and a snapshot of it,
// {"source", "providers": {provider: {id: model}}}, whose models may leave to a
// base_model what they do not state.
//
// What is curated is decided in models.txt, by people: [Update] renews the rows
// that cite the catalogue, adds those it is asked for, and touches no other.
package modelsdev

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// MaxBytes bounds a file.
const MaxBytes = 32 << 20

const (
	maxModels = 20_000
	maxDepth  = 4
)

// File is a catalogue.
type File struct {
	providers map[string]map[string]entry
}

// entry is a model; nil fields are not stated.
type entry struct {
	base       string
	reasoning  *bool
	tools      *bool
	structured *bool
	embeds     bool
	released   string
	status     string
	context    *int64
	input      *int64
	output     *int64
	inputs     []string
	outputs    []string
}

// Parse reads a catalogue. The error names provider, model and field.
func Parse(raw []byte) (*File, error) {
	if len(raw) > MaxBytes {
		return nil, fmt.Errorf("more than %d MiB", MaxBytes>>20)
	}
	var top map[string]json.RawMessage
	if err := decode(raw, &top); err != nil {
		return nil, fmt.Errorf("this is no JSON object: %w", err)
	}
	lists := map[string]map[string]json.RawMessage{}
	if snapshot, ok := top["providers"]; ok && top["source"] != nil {
		if err := decode(snapshot, &lists); err != nil {
			return nil, fmt.Errorf("providers: %w", err)
		}
	} else {
		for name, rest := range top {
			var p struct {
				Models map[string]json.RawMessage `json:"models"`
			}
			if err := json.Unmarshal(rest, &p); err != nil || p.Models == nil {
				return nil, fmt.Errorf("%s has no models", name)
			}
			lists[name] = p.Models
		}
	}
	f, n := &File{providers: make(map[string]map[string]entry, len(lists))}, 0
	for name, models := range lists {
		f.providers[name] = make(map[string]entry, len(models))
		for id, m := range models {
			if n++; n > maxModels {
				return nil, fmt.Errorf("more than %d models", maxModels)
			}
			e, err := parseEntry(m)
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %w", name, id, err)
			}
			f.providers[name][id] = e
		}
	}
	return f, nil
}

// decode reads one JSON value and nothing behind it.
func decode(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows")
	}
	return nil
}

// document is a model as it is published. Fields that say nothing about a row are
// named so that new ones are noticed.
type document struct {
	ID           json.RawMessage `json:"id"`
	Name         json.RawMessage `json:"name"`
	Description  json.RawMessage `json:"description"`
	Family       string          `json:"family"`
	Attachment   json.RawMessage `json:"attachment"`
	Reasoning    *bool           `json:"reasoning"`
	Tools        *bool           `json:"tool_call"`
	Structured   *bool           `json:"structured_output"`
	Temperature  json.RawMessage `json:"temperature"`
	Knowledge    json.RawMessage `json:"knowledge"`
	Released     string          `json:"release_date"`
	Updated      json.RawMessage `json:"last_updated"`
	OpenWeights  json.RawMessage `json:"open_weights"`
	Interleaved  json.RawMessage `json:"interleaved"`
	Experimental json.RawMessage `json:"experimental"`
	Provider     json.RawMessage `json:"provider"`
	Cost         json.RawMessage `json:"cost"`
	Status       string          `json:"status"`
	Base         string          `json:"base_model"`
	Limit        struct {
		Context *int64 `json:"context"`
		Input   *int64 `json:"input"`
		Output  *int64 `json:"output"`
	} `json:"limit"`
	Modalities struct {
		Input  []string `json:"input"`
		Output []string `json:"output"`
	} `json:"modalities"`
}

func parseEntry(raw []byte) (entry, error) {
	var d document
	if err := decode(raw, &d); err != nil {
		return entry{}, err
	}
	e := entry{base: d.Base, reasoning: d.Reasoning, tools: d.Tools, structured: d.Structured, released: d.Released, status: d.Status,
		embeds: strings.Contains(d.Family, "embed"), context: d.Limit.Context, input: d.Limit.Input, output: d.Limit.Output,
		inputs: d.Modalities.Input, outputs: d.Modalities.Output}
	for _, n := range []*int64{e.context, e.input, e.output} {
		if n != nil && (*n < 0 || *n > 1<<30) {
			return e, fmt.Errorf("limit: %d is no number of tokens", *n)
		}
	}
	for _, m := range append(slices.Clone(e.inputs), e.outputs...) {
		if !slices.Contains(registry.Modalities(), registry.Modality(m)) || m == string(registry.Vector) {
			return e, fmt.Errorf("modalities: %q is not known", m)
		}
	}
	if e.released != "" && !isDate(e.released, time.DateOnly) && !isDate(e.released, "2006-01") {
		return e, fmt.Errorf("release_date: %q is no date", e.released)
	}
	switch registry.Status(e.status) {
	case registry.Current, registry.Beta, registry.Deprecated:
	case "alpha":
		e.status = string(registry.Beta)
	default:
		return e, fmt.Errorf("status: %q is not known", e.status)
	}
	return e, nil
}

func isDate(s, layout string) bool {
	_, err := time.Parse(layout, s)
	return err == nil
}

// resolve lays a model over what it inherits. A base that is not in the file leaves
// what it would have stated unknown.
func (f *File) resolve(provider, id string, depth int) (entry, bool) {
	e, ok := f.providers[provider][id]
	if !ok || depth > maxDepth {
		return e, ok
	}
	lab, name, _ := strings.Cut(e.base, "/")
	if e.base == "" || lab == provider && name == id {
		return e, true
	}
	b, _ := f.resolve(lab, name, depth+1)
	e.reasoning, e.tools, e.structured = or(e.reasoning, b.reasoning), or(e.tools, b.tools), or(e.structured, b.structured)
	e.context, e.input, e.output = or(e.context, b.context), or(e.input, b.input), or(e.output, b.output)
	e.embeds = e.embeds || b.embeds
	if e.released == "" {
		e.released = b.released
	}
	if e.inputs == nil {
		e.inputs = b.inputs
	}
	if e.outputs == nil {
		e.outputs = b.outputs
	}
	return e, true
}

func or[T any](a, b *T) *T {
	if a == nil {
		return b
	}
	return a
}

// Row is a model in our form. ok is false if the catalogue does not have it.
// Structured output that it says is missing stays unknown: a model may still write
// JSON, which the catalogue does not tell apart.
func (f *File) Row(p taxonomy.Provider, provider, id string) (row registry.Row, ok bool) {
	e, ok := f.resolve(provider, id, 0)
	if !ok {
		return registry.Row{}, false
	}
	r := registry.Row{Provider: p, Model: id, Released: e.released, Status: registry.Status(e.status), Tier: registry.Unrated,
		ContextTokens: number(e.context), InputTokens: number(e.input), MaxOutputTokens: number(e.output),
		Inputs: sorted(e.inputs), Outputs: sorted(e.outputs), Tools: fact(e.tools), Reasoning: fact(e.reasoning)}
	if fact(e.structured) == registry.Yes {
		r.JSON = registry.Yes
	}
	// A limit beyond the window is the catalogue's mistake, or a base's.
	if r.InputTokens > r.ContextTokens {
		r.InputTokens = 0
	}
	if r.ContextTokens > 0 && r.MaxOutputTokens > r.ContextTokens && slices.Contains(r.Outputs, registry.Text) {
		r.MaxOutputTokens = 0
	}
	if e.embeds || strings.Contains(id, "embed") {
		// The catalogue writes text, and the length of the vector as output.
		r.Outputs, r.MaxOutputTokens = []registry.Modality{registry.Vector}, 0
	}
	return r, true
}

func number(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func fact(b *bool) registry.Fact {
	switch {
	case b == nil:
		return registry.Unknown
	case *b:
		return registry.Yes
	}
	return registry.No
}

func sorted(words []string) (out []registry.Modality) {
	for _, m := range registry.Modalities() {
		if slices.Contains(words, string(m)) {
			out = append(out, m)
		}
	}
	return out
}

// Cite is the word with which rows cite the catalogue.
const Cite = "models.dev"

// Update renews the rows of t that cite the catalogue, adds the models named as
// provider/model, and makes source what they cite. It fails if the catalogue does
// not have one of them, naming all: whether a row is dropped, or kept with another
// source, is for people to decide.
func Update(t *registry.Table, f *File, source registry.Source, add []string) error {
	var missing []string
	for i, r := range t.Rows {
		if t.Cites[i] != Cite {
			continue
		}
		next, ok := f.Row(r.Provider, t.Names[r.Provider], r.Model)
		if !ok {
			missing = append(missing, r.Name())
			continue
		}
		t.Rows[i] = next
	}
	for _, name := range add {
		p, id, ok := taxonomy.SplitModel(name)
		if !ok || t.Names[p] == "" {
			return fmt.Errorf("%s is not provider/model of a provider that the table has a name for", name)
		}
		r, ok := f.Row(p, t.Names[p], id)
		switch {
		case slices.ContainsFunc(t.Rows, func(x registry.Row) bool { return x.Provider == p && x.Model == id }):
			return fmt.Errorf("%s is in the table already", name)
		case !ok:
			missing = append(missing, name)
		default:
			t.Rows, t.Cites = append(t.Rows, r), append(t.Cites, Cite)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("the catalogue does not have %s", strings.Join(missing, ", "))
	}
	t.Sources[Cite] = source
	return nil
}
