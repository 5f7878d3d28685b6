package modelsdev

import (
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const snapshot = `{"source":"somewhere","providers":{
 "lab":{"m1":{"id":"m1","name":"M 1","family":"m","attachment":true,"reasoning":true,"tool_call":true,"structured_output":true,"temperature":true,
   "release_date":"2026-01","last_updated":"2026-02-03","limit":{"context":1000,"input":900,"output":100},"modalities":{"input":["pdf","text","image"],"output":["text"]},
   "cost":{"input":"0.30","tiers":[{"input":1}]}},
  "self":{"base_model":"lab/self","limit":{"context":5}},
  "bare":{},
  "text-embedding-9":{"limit":{"context":10,"output":3072},"modalities":{"input":["text"],"output":["text"]},"tool_call":false}},
 "host":{"lab/m1":{"base_model":"lab/m1","limit":{"context":800},"modalities":{"input":["text"]},"structured_output":false,"status":"beta"},
  "gone":{"base_model":"lab/gone","limit":{"output":7}},
  "odd":{"limit":{"context":10,"output":20},"modalities":{"input":["text"],"output":["text"]}}}}}`

const published = `{"lab":{"id":"lab","name":"Lab","env":["LAB_KEY"],"npm":"x","doc":"https://lab.example","models":{
 "m1":{"id":"m1","name":"M 1","reasoning":false,"tool_call":true,"open_weights":false,"knowledge":"2026-01","cost":{"input":0.3},"limit":{"context":1000,"output":100},
 "modalities":{"input":["text"],"output":["text"]},"status":"alpha"}}}}`

func parsed(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRow(t *testing.T) {
	f := parsed(t, snapshot)
	for _, c := range []struct {
		provider, id string
		want         string // as the table writes it, without provider, id and source
	}{
		{"lab", "m1", "1000 900 100 text+image+pdf text tools,json,reasoning 2026-01 -"},
		{"host", "lab/m1", "800 - 100 text text tools,reasoning 2026-01 beta"}, // an input limit above the own window is not ours
		{"lab", "self", "5 - - - - - - -"},
		{"host", "gone", "- - 7 - - - - -"}, // what an absent base states is unknown
		{"lab", "bare", "- - - - - - - -"},
		{"lab", "text-embedding-9", "10 - - text vector !tools - -"},
		{"host", "odd", "10 - - text text - - -"},
	} {
		r, ok := f.Row(taxonomy.OpenAI, c.provider, c.id)
		line := registry.Table{Rows: []registry.Row{r}, Cites: []string{"s"}}.String()
		if want := "openai " + c.id + " " + c.want + " s\n"; !ok || line != want {
			t.Errorf("%s/%s: %q, want %q", c.provider, c.id, line, want)
		}
	}
	if _, ok := f.Row(taxonomy.OpenAI, "lab", "m2"); ok {
		t.Error("a model that is not there was found")
	}
	r, ok := parsed(t, published).Row(taxonomy.OpenAI, "lab", "m1")
	if !ok || r.ContextTokens != 1000 || r.Reasoning != registry.No || r.Status != registry.Beta || r.JSON != registry.Unknown {
		t.Errorf("published form: %+v", r)
	}
}

func TestParseRefuses(t *testing.T) {
	model := func(fields string) string { return `{"source":"s","providers":{"p":{"m":{` + fields + `}}}}` }
	for _, c := range []struct{ text, want string }{
		{``, "no JSON object"},
		{`[]`, "no JSON object"},
		{`{} {}`, "something follows"},
		{`{"p":{"id":"p"}}`, "p has no models"},
		{`{"source":"s","providers":[]}`, "providers:"},
		{model(`"tool_calls":true`), `p/m: json: unknown field "tool_calls"`},
		{model(`"tool_call":"yes"`), "p/m: json: cannot unmarshal"},
		{model(`"limit":{"context":1.5}`), "p/m: json: cannot unmarshal"},
		{model(`"limit":{"context":-1}`), "-1 is no number"},
		{model(`"limit":{"window":1}`), `unknown field "window"`},
		{model(`"modalities":{"input":["smell"]}`), `"smell" is not known`},
		{model(`"modalities":{"output":["vector"]}`), `"vector" is not known`},
		{model(`"release_date":"May 2026"`), "is no date"},
		{model(`"status":"retired"`), `status: "retired"`},
	} {
		if _, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestUpdate(t *testing.T) {
	const old = "@source hand 2026-01-01 a page\n@source models.dev 2026-01-01 before\n@name openai lab\n" +
		"openai m0 1 - - - - - - - hand\nopenai m1 1 - - - - - - - models.dev\n"
	table := func() registry.Table {
		x, err := registry.Parse(old)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	f, source := parsed(t, snapshot), registry.Source{Title: "after", Date: "2026-07-02"}
	x := table()
	if err := Update(&x, f, source, []string{"openai/bare"}); err != nil {
		t.Fatal(err)
	}
	const want = "@source hand 2026-01-01 a page\n@source models.dev 2026-07-02 after\n@name openai lab\n" +
		"openai bare - - - - - - - - models.dev\nopenai m0 1 - - - - - - - hand\n" +
		"openai m1 1000 900 100 text+image+pdf text tools,json,reasoning 2026-01 - models.dev\n"
	if got := x.String(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for _, c := range []struct {
		add  []string
		want string
	}{
		{[]string{"openai/m0"}, "openai/m0 is in the table already"},
		{[]string{"openai/zz", "openai/aa"}, "the catalogue does not have openai/aa, openai/zz"},
		{[]string{"groq/m1"}, "groq/m1 is not provider/model"},
		{[]string{"m1"}, "m1 is not provider/model"},
	} {
		x := table()
		if err := Update(&x, f, source, c.add); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.add, err, c.want)
		}
	}
	x = table()
	x.Rows[1].Model = "m9"
	if err := Update(&x, f, source, nil); err == nil || !strings.Contains(err.Error(), "does not have openai/m9") {
		t.Errorf("a row that the catalogue lost: %v", err)
	}
	if !slices.Equal(x.Cites, []string{"hand", "models.dev"}) {
		t.Error("cites changed")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(snapshot))
	f.Add([]byte(published))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := Parse(raw)
		if err != nil {
			return
		}
		for name, models := range file.providers {
			for id := range models {
				if _, ok := file.Row(taxonomy.OpenAI, name, id); !ok {
					t.Fatalf("%s/%s is not found", name, id)
				}
			}
		}
	})
}
