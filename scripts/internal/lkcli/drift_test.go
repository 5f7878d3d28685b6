package lkcli

import (
	"encoding/json"

	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/admin"
)

type object = map[string]any

// api is the document that the admin API serves.
type api struct {
	*testing.T
	doc object
}

func readAPI(t *testing.T) api {
	t.Helper()
	resp := admin.New(admin.Services{}).Serve(t.Context(), admin.Request{Method: http.MethodGet, Path: "/api/openapi.json"})
	a := api{T: t}
	if err := json.Unmarshal(resp.Body, &a.doc); err != nil || resp.Status != 200 {
		t.Fatal(resp.Status, err)
	}
	return a
}

func (a api) operation(method, path string) object {
	p, _ := a.doc["paths"].(object)[path].(object)
	op, _ := p[strings.ToLower(method)].(object)
	return op
}

// resolve follows references and nullable alternatives.
func (a api) resolve(schema any) object {
	s, _ := schema.(object)
	if ref, ok := s["$ref"].(string); ok {
		return a.resolve(a.doc["components"].(object)["schemas"].(object)[ref[strings.LastIndexByte(ref, '/')+1:]])
	}
	for _, x := range []string{"oneOf", "anyOf", "allOf"} {
		if list, ok := s[x].([]any); ok {
			return a.resolve(list[0])
		}
	}
	return s
}

func content(x any) any {
	o, _ := x.(object)
	media, _ := o["content"].(object)["application/json"].(object)
	return media["schema"]
}

func (a api) success(op object) object {
	for status, r := range op["responses"].(object) {
		if status[0] == '2' {
			return a.resolve(content(r))
		}
	}
	a.Fatal("no success")
	return nil
}

// leaves lists the paths of a body schema with their types; a required one
// whose parents are required too has a star.
func (a api) leaves(schema object, prefix string, required bool, out map[string]string) {
	must, _ := schema["required"].([]any)
	for name, s := range schema["properties"].(object) {
		// A field that is a text, too, has a flag for that, too.
		if list, _ := s.(object)["oneOf"].([]any); len(list) > 1 && a.resolve(list[0])["type"] == "boolean" && a.resolve(list[1])["type"] == "string" {
			out[prefix+name+asText] = "string"
		}
		s := a.resolve(s)
		needed := required && slices.Contains(must, any(name))
		if s["properties"] != nil {
			a.leaves(s, prefix+name+".", needed, out)
			continue
		}
		kind, _ := s["type"].(string)
		if needed {
			kind += "*"
		}
		out[prefix+name] = kind
	}
}

const asText = " as a text"

func (a api) has(schema object, path string) bool {
	name, rest, nested := strings.Cut(path, ".")
	props, _ := schema["properties"].(object)
	inner, ok := props[name]
	return ok && (!nested || a.has(a.resolve(inner), rest))
}

var hole = regexp.MustCompile(`\{(\w+)\}`)

// TestEveryCommandIsInTheAPI: method, path, body, query, answer and who may
// call agree with the OpenAPI document.
func TestEveryCommandIsInTheAPI(t *testing.T) {
	a := readAPI(t)
	for _, c := range commands() {
		if c.local != nil {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			a := api{t, a.doc}
			op := a.operation(c.method, c.path)
			if op == nil {
				t.Fatalf("the API has no %s %s", c.method, c.path)
			}
			a.checkWho(c, op)
			a.checkBody(c, op)
			a.checkQuery(c, op)
			a.checkAnswer(c, op)
		})
	}
}

func (a api) checkWho(c command, op object) {
	if operator, _ := op["x-latchkey-operator-only"].(bool); operator && !strings.Contains(c.about, "(operator)") {
		a.Error("help does not say that this is the operator's")
	}
	if public := op["security"] == nil; public != c.keyless {
		a.Errorf("keyless %v, public %v", c.keyless, public)
	}
	filled := []string{"org"}
	for _, x := range c.args {
		filled = append(filled, x.name)
	}
	for _, m := range hole.FindAllStringSubmatch(c.path, -1) {
		if !slices.Contains(filled, m[1]) {
			a.Errorf("nothing fills {%s}", m[1])
		}
	}
}

func (a api) checkBody(c command, op object) {
	want := map[string]string{}
	schema := object{}
	if op["requestBody"] != nil {
		if schema = a.resolve(content(op["requestBody"])); schema["properties"] != nil {
			a.leaves(schema, "", true, want)
		}
	}
	file := slices.ContainsFunc(c.args, func(x arg) bool { return x.file })
	if c.truth != "" {
		delete(want, "org_id") // filled by --org
	}
	for field := range c.sets {
		if !strings.HasPrefix(want[field], "string") {
			a.Errorf("the body has no text %s", field)
		}
		delete(want, field)
	}
	if c.wrap != "" && !a.has(schema, c.wrap) {
		a.Errorf("the body has no %s", c.wrap)
	}
	types := map[string][]kind{"string": {text, document, hidden}, "integer": {integer, amount}, "boolean": {boolean}, "array": {words, anyJSON}, "object": {pairs, secrets, anyJSON}}
	for _, o := range c.flags {
		if o.field == "" {
			continue
		}
		field := o.field
		if want[field+asText] != "" && o.kind == text {
			field += asText
		}
		kind, ok := want[field]
		if !ok {
			a.Errorf("the body has no field %s", field)
			continue
		}
		if base := strings.TrimSuffix(kind, "*"); !slices.Contains(types[base], o.kind) {
			a.Errorf("--%s is of the wrong kind for %s", o.name, base)
		}
		if required := strings.HasSuffix(kind, "*"); required != o.required {
			a.Errorf("--%s required %v, the API says %v", o.name, o.required, required)
		}
		delete(want, field)
	}
	if !file && len(want) > 0 {
		a.Errorf("no flag for %v", want)
	}
}

func (a api) checkQuery(c command, op object) {
	var want, got []string
	params, _ := op["parameters"].([]any)
	for _, p := range params {
		if p := p.(object); p["in"] == "query" {
			want = append(want, p["name"].(string))
		}
	}
	if c.paged {
		got = append(got, "cursor", "limit")
	}
	for _, o := range c.flags {
		if o.query != "" {
			got = append(got, o.query)
		}
	}
	for _, x := range c.args {
		if x.query != "" {
			got = append(got, x.query)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		a.Errorf("query %v, the API has %v", got, want)
	}
}

func (a api) checkAnswer(c command, op object) {
	if _, none := op["responses"].(object)["204"]; none {
		if c.list || c.columns != nil {
			a.Error("there is no answer to show")
		}
		return
	}
	schema := a.success(op)
	items := schema
	switch {
	case c.field != "":
		items = a.resolve(a.resolve(schema["properties"].(object)[c.field])["items"])
	case c.list:
		if !a.has(schema, "items") || !a.has(schema, "next_cursor") {
			a.Fatal("the answer is no list")
		}
		items = a.resolve(schema["properties"].(object)["items"].(object)["items"])
	case a.has(schema, "next_cursor"):
		a.Fatal("the answer is a list")
	}
	if c.list && len(c.columns) == 0 {
		a.Error("a list without columns")
	}
	for _, col := range append(slices.Clone(c.columns), c.documents...) {
		if !a.has(items, col) {
			a.Errorf("the answer has no %s", col)
		}
	}
	if c.truth != "" && !a.has(schema, c.truth) {
		a.Errorf("the answer has no %s", c.truth)
	}
}

// TestEveryOperationHasACommand: what the API serves can be done with lk.
func TestEveryOperationHasACommand(t *testing.T) {
	a := readAPI(t)
	used := map[string]bool{"GET /api/openapi.json": true}
	for _, c := range commands() {
		used[c.method+" "+c.path] = true
	}
	for path, methods := range a.doc["paths"].(object) {
		for m := range methods.(object) {
			if m := strings.ToUpper(m); !used[m+" "+path] {
				t.Errorf("no command for %s %s", m, path)
			}
		}
	}
}

// TestMoneyIsShownAsMoney: every integer of the API that is an amount is known.
func TestMoneyIsShownAsMoney(t *testing.T) {
	a := readAPI(t)
	counts := []string{"inputTokens", "outputTokens", "periodEnd", "periodStart", "requestCount", "totalTokens", "tokens", "added", "count_tokens", "epoch", "input_pico", "left_tokens", "limit_tokens", "mirror_tokens", "open", "output_pico", "rounding", "rows", "uncounted_tokens", "used_tokens",
		"attempt", "attempts", "audio_millis", "broken_count", "cache_write_1h_tokens", "cache_write_tokens", "cached_input_tokens", "characters", "checked", "concurrent", "conn_version", "cred_version",
		"context_tokens", "count", "done", "failed_count", "failures", "fee_bps", "fee_free", "fee_free_used", "finished", "free_requests_per_month", "free_requests_used", "first_seq", "http_status", "images", "input_image_tokens", "input_audio_tokens", "input_tokens", "last_seq", "late", "latency_ms", "max_bytes", "max_output_tokens", "mended", "min_bytes", "min_units", "model_count", "n", "output_audio_tokens", "output_image_tokens", "output_tokens",
		"overlap_seconds", "part", "pass", "priority", "rate", "rate_pico", "reasoning_tokens", "renewed", "repaired_count", "requests", "requests_per_minute", "retried", "retry_after", "row_count", "seq", "settings_version", "sharing_version",
		"skipped", "status", "surcharge_bps", "tier_from", "to_seq", "tokens_per_minute", "tries", "unchained", "v", "version", "voice_count", "weight"}
	counts = append(counts, "history_tokens", "summary_before", "duration_ms", "timeout_seconds", "approval_hours", "tool_version", "resume_after_minutes")
	for name, s := range a.doc["components"].(object)["schemas"].(object) {
		props, _ := s.(object)["properties"].(object)
		for field, p := range props {
			if a.resolve(p)["type"] == "integer" && !moneyFields[field] && !slices.Contains(counts, field) {
				t.Errorf("%s.%s is an integer: amount or count?", name, field)
			}
		}
	}
}

// TestTableOfCommands: the rules that the parser relies on.
func TestTableOfCommands(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range commands() {
		for _, n := range append([]string{c.name}, c.aliases...) {
			if seen[n] || len(strings.Fields(n)) > 2 {
				t.Errorf("%q", n)
			}
			seen[n] = true
		}
		flags := map[string]bool{"url": true, "key": true, "org": true, "json": true, "help": true, "h": true}
		for _, o := range c.flags {
			if flags[o.name] {
				t.Errorf("%s: --%s twice", c.name, o.name)
			}
			flags[o.name] = true
		}
		if c.about == "" {
			t.Errorf("%s has no help", c.name)
		}
		for _, e := range c.examples {
			checkExample(t, e)
		}
	}
}

// checkExample parses the lk commands of an example.
func checkExample(t *testing.T, example string) {
	t.Helper()
	example, _, _ = strings.Cut(example, "   #")
	for part := range strings.SplitSeq(example, " | ") {
		part, _, _ = strings.Cut(part, " <")
		part, _, _ = strings.Cut(part, " >")
		args, ok := strings.CutPrefix(part, "lk ")
		if !ok {
			continue
		}
		var g globals
		given, rest, err := g.leading(strings.Fields(strings.ReplaceAll(args, "'Acme Inc'", "Acme")))
		if err != nil {
			t.Fatalf("%s: %v", example, err)
		}
		c, err := find(given)
		if err != nil {
			t.Fatalf("%s: %v", example, err)
		}
		if _, err := parse(c, &g, rest); err != nil {
			t.Errorf("%s: %v", example, err)
		}
	}
}
