package catalog

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/model/modeltest"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
)

// overviewFile is written from the vendors' tables by -update.
const overviewFile = "../TRANSLATIONS.md"

// features are the overview's rows, with the shared row that shows each.
func features() [][2]string {
	return [][2]string{{"text", "text"}, {"system message later on", "system_late"}, {"name of a speaker", "name"},
		{"image, bytes", "image_bytes"}, {"image, URL", "image_url"}, {"image as a tool's result", "image_result"},
		{"audio, WAV", "audio_wav"}, {"audio, Ogg", "audio_ogg"}, {"PDF, bytes", "pdf_bytes"}, {"PDF, URL", "pdf_url"}, {"plain text file", "file_text"},
		{"tools", "tools"}, {"parallel tools", "tools_parallel"}, {"one tool at a time", "tools_one_at_a_time"}, {"results of tools", "tool_results"},
		{"tool choice none", "choice_none"}, {"tool choice auto", "choice_auto"}, {"tool choice required", "choice_required"}, {"tool choice by name", "choice_named"},
		{"JSON object", "json_object"}, {"JSON schema", "json_schema"}, {"stop sequences", "stop"}, {"output limit", "limits"},
		{"temperature", "temperature"}, {"top_p", "top_p"}, {"top_k", "top_k"}, {"penalties", "penalties"}, {"seed", "seed"}, {"end user", "user"},
		{"reasoning, high", "reasoning_high"}, {"reasoning, none", "reasoning_none"}, {"reasoning, token budget", "reasoning_budget"},
		{"reasoning left out of the answer", "reasoning_excluded"}, {"prompt cache marks", "cache"}, {"streamed", "stream"}}
}

// TestTranslationsAreListed: what each vendor takes is written down, from its tables.
func TestTranslationsAreListed(t *testing.T) {
	var titles []string
	var columns [][]map[string]string
	for _, e := range Entries() {
		if e.NewChat == nil {
			continue
		}
		dir := filepath.Join("..", strings.ReplaceAll(string(e.ID), "_", ""), "testdata", "translate")
		formats, err := modeltest.Offered(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(formats) == 0 {
			t.Errorf("%s has no table of a model in %s", e.ID, dir)
		}
		for _, f := range slices.Sorted(maps.Keys(formats)) {
			title := string(e.ID)
			if len(formats) > 1 {
				title += " " + f[strings.LastIndex(f, "/")+1:]
			}
			titles, columns = append(titles, title), append(columns, formats[f])
		}
	}
	var b strings.Builder
	b.WriteString("# What each provider takes\n\n<!-- written by go test ./shared/providers/catalog -run TestTranslationsAreListed -update -->\n\n" +
		"From the translation tables in the providers' `testdata/translate`, which hold every request byte for byte. \"yes\": it is sent in the\n" +
		"provider's own form. A code: refused with that code before anything is sent, for all models in the tables. \"some, else\": some of the\n" +
		"models have it, the others refuse it. \"not offered\": the provider has no word for it and the request is sent without it.\n\n")
	b.WriteString("| | " + strings.Join(titles, " | ") + " |\n|---" + strings.Repeat("|---", len(titles)) + "|\n")
	for _, f := range features() {
		b.WriteString("| " + f[0])
		for i, models := range columns {
			word := cell(models, f[1])
			if word == "" {
				t.Errorf("%s: a table has no row %s", titles[i], f[1])
			}
			b.WriteString(" | " + word)
		}
		b.WriteString(" |\n")
	}
	if replay.Update() {
		if err := os.WriteFile(overviewFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if have, err := os.ReadFile(overviewFile); err != nil || string(have) != b.String() {
		t.Errorf("%s is not what the tables say (%v): run the test with -update", overviewFile, err)
	}
}

// cell sums up a row over the models of one wire format.
func cell(models []map[string]string, row string) string {
	said := map[string]bool{}
	for _, m := range models {
		said[m[row]] = true
	}
	words := slices.Sorted(maps.Keys(said))
	words = slices.DeleteFunc(words, func(w string) bool { return w == modeltest.Sent })
	for i, w := range words {
		if w != modeltest.NotOffered {
			words[i] = "`" + w + "`"
		}
	}
	switch {
	case said[""]:
		return ""
	case len(words) == 0:
		return "yes"
	case said[modeltest.Sent]:
		return fmt.Sprintf("some, else %s", strings.Join(words, ", "))
	}
	return strings.Join(words, ", ")
}
