package lkcli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/catalog"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const chat = `{"messages":[{"role":"user","content":"hi <b>"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}],"max_tokens":9}`

// decode reads the one JSON document of a run.
func decode(t *testing.T, got result) translation {
	t.Helper()
	var out translation
	d := json.NewDecoder(strings.NewReader(got.out))
	if err := d.Decode(&struct {
		*translation
		Events json.RawMessage `json:"events"`
	}{translation: &out}); err != nil || d.More() {
		t.Fatalf("%v in %q (%s)", err, got.out, got.errOut)
	}
	return out
}

func TestTranslateRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		args   []string
		method string
		url    string
		accept string
		body   string
	}{
		{"whole", []string{"--provider", string(taxonomy.OpenRouter), "--model", "v/m"}, "POST", "https://openrouter.ai/api/v1/chat/completions", "application/json",
			`{"model":"v/m","messages":[{"role":"user","content":"hi <b>"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}],"max_tokens":9}`},
		{"stream at an own endpoint", []string{"--provider", "ollama", "--model", "m", "--stream", "--base-url", "http://127.0.0.1:11434/v1/"}, "POST",
			"http://127.0.0.1:11434/v1/chat/completions", "text/event-stream",
			`{"model":"m","messages":[{"role":"user","content":"hi <b>"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}],"max_tokens":9,"stream":true,"stream_options":{"include_usage":true}}`},
	} {
		got := lk(t, chat, nil, append([]string{"translate", "--json"}, c.args...)...)
		r := decode(t, got).Request
		if got.code != ExitDone || r == nil || r.Method != c.method || r.URL != c.url || string(r.Body) != c.body || r.KeyIn != "Authorization: Bearer" {
			t.Errorf("%s: exit %d\n%s%s", c.name, got.code, got.out, got.errOut)
			continue
		}
		accept := ""
		for _, h := range r.Headers {
			switch http.CanonicalHeaderKey(h[0]) {
			case "Accept":
				accept = h[1]
			case "Authorization":
				if h[1] != "Bearer ***" {
					t.Errorf("%s: a key header %v", c.name, h)
				}
			}
		}
		if accept != c.accept {
			t.Errorf("%s: accept %q", c.name, accept)
		}
		human := lk(t, chat, nil, append([]string{"translate"}, c.args...)...)
		contains(t, c.name, human.out, c.method+" "+c.url+"\n", "(the connection's key goes into Authorization: Bearer)", `"max_tokens": 9`)
	}
	// The request's own model is replaced, its stream flag kept.
	named := decode(t, lk(t, `{"model":"other","stream":true,"messages":[{"role":"user","content":"x"}]}`, nil, "translate", "--provider", "openrouter", "--model", "m", "--json"))
	contains(t, "body", string(named.Request.Body), `"model":"m"`, `"stream":true`)
}

// recording is one golden transcript of an adapter.
type recording struct {
	name   string
	parts  map[string]string
	status string // of a whole answer in JSON
	body   string
}

func recordings(t *testing.T, folder string) []recording {
	t.Helper()
	files, err := filepath.Glob("../../../shared/providers/" + folder + "/testdata/chat/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	var out []recording
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		r := recording{name: strings.TrimSuffix(filepath.Base(f), ".txtar"), parts: map[string]string{}}
		for _, p := range txtar.Parse(raw).Files {
			r.parts[p.Name] = string(p.Data)
		}
		head, body, _ := strings.Cut(r.parts["wire-response.http"], "\n\n")
		// The tool is given a status and a body, no headers.
		if fields := strings.Fields(head); strings.Contains(head, "application/json") && !strings.Contains(head, "Content-Length") &&
			!strings.Contains(head, "Errortype") && json.Valid([]byte(body)) {
			r.status, r.body = fields[1], body
		}
		out = append(out, r)
	}
	return out
}

// chatVendors are the providers that can be translated for.
func chatVendors() (out []providers.Entry) {
	for _, e := range catalog.Entries() {
		if e.NewChat != nil {
			out = append(out, e)
		}
	}
	return out
}

func folder(e providers.Entry) string { return strings.ReplaceAll(string(e.ID), "_", "") }

// TestTranslateGoldens: every recorded answer of a vendor comes out of the tool
// as the adapter's own golden files say.
func TestTranslateGoldens(t *testing.T) {
	for _, e := range chatVendors() {
		streams, answers, refusals := 0, 0, 0
		for _, r := range recordings(t, folder(e)) {
			var want struct{ Code string }
			var asked struct {
				Model             string
				Output, Reasoning json.RawMessage
			}
			_ = json.Unmarshal([]byte(r.parts["request.json"]), &asked)
			if asked.Output != nil || asked.Reasoning != nil {
				continue // how it is read depends on the request, which has no client's form
			}
			_ = json.Unmarshal([]byte(r.parts["error.json"]), &want)
			args := []string{"translate", "--provider", string(e.ID), "--model", asked.Model}
			switch sse, events := r.parts["wire-response.sse"], r.parts["events.jsonl"]; {
			case sse != "" && events != "" && want.Code == "":
				got := lk(t, "", nil, append(args, "--stream", "--response", write(t, "r", sse))...)
				_, after, _ := strings.Cut(got.out, "# events\n")
				shown, _, _ := strings.Cut(after, "\n# to an OpenAI client\n")
				if sameEvents(shown) != sameEvents(events) || got.code != ExitDone {
					t.Errorf("%s %s: exit %d\n%s\nwant\n%s", e.ID, r.name, got.code, shown, events)
				}
				streams++
			case r.body != "" && r.parts["response.json"] != "":
				got := lk(t, "", nil, append(args, "--json", "--response", write(t, "r", r.body), "--status", r.status)...)
				out := decode(t, got)
				if same(t, encode(out.Response)) != same(t, []byte(r.parts["response.json"])) || out.Request != nil || len(out.Client) == 0 {
					t.Errorf("%s %s: exit %d %s\n%s\nwant\n%s", e.ID, r.name, got.code, got.errOut, encode(out.Response), r.parts["response.json"])
				}
				answers++
			case r.body != "" && want.Code != "" && r.parts["wire-request.http"] != "":
				got := lk(t, "", nil, append(args, "--json", "--response", write(t, "r", r.body), "--status", r.status)...)
				if !strings.Contains(string(decode(t, got).Error), `"code":"`+want.Code+`"`) || got.code != ExitRefused {
					t.Errorf("%s %s: exit %d %s, want %s", e.ID, r.name, got.code, got.out, want.Code)
				}
				refusals++
			}
		}
		// What comes in frames is not recorded as text.
		if streams > 0 && streams < 4 || answers < 6 || refusals < 6 {
			t.Errorf("%s: only %d streams, %d answers and %d refusals were compared", e.ID, streams, answers, refusals)
		}
	}
}

// same is a response without what came in a header.
func same(t *testing.T, raw []byte) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "provider_request_id")
	return string(encode(m))
}

func sameEvents(lines string) string {
	return strings.TrimSpace(headerID.ReplaceAllString(lines, ""))
}

// headerID is what an event holds of the answer's headers.
var headerID = regexp.MustCompile(`,"request_id":"[^"]*"`)

// TestTranslateDropped: what makes no difference to the bytes is named, and what
// is documented about the model is said.
func TestTranslateDropped(t *testing.T) {
	const asked = `{"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"https://a.example/b.png","detail":"low"}}]}],
		"max_tokens":999999999,"user":"u","seed":7,"temperature":0.5,"odd_field":1}`
	for _, c := range []struct {
		provider, model   string
		dropped, warnings []string
	}{
		{"openrouter", "openai/gpt-4o", nil, []string{"the model is documented to write at most 16384 tokens", "on platform credits these fields are left out: odd_field"}},
		{"openrouter", "nobody/knows", nil, []string{"nothing is documented here about nobody/knows: limits and abilities are for the vendor to say (lk models curated)",
			"on platform credits these fields are left out: odd_field"}},
		{"openrouter", "deepseek/deepseek-v3.2", nil, []string{"the model is documented to have no vision", "the model is documented to write at most 64000 tokens", "on platform credits these fields are left out: odd_field"}},
		{"openai_compatible", "nobody/knows", nil, []string{"on platform credits these fields are left out: odd_field"}},
		{"mistral", "mistral-large-2512", []string{"user"}, []string{"the model is documented to write at most 262144 tokens", "on platform credits these fields are left out: odd_field"}},
		{"anthropic", "claude-sonnet-4-5", []string{"odd_field", "seed", "image detail"}, []string{"the model is documented to write at most 64000 tokens", "on platform credits these fields are left out: odd_field"}},
		{"gemini", "gemini-2.5-pro", []string{"user", "image detail", "odd_field"}, []string{"the model is documented to write at most 65535 tokens", "on platform credits these fields are left out: odd_field"}},
	} {
		got := decode(t, lk(t, asked, nil, "translate", "--json", "--provider", c.provider, "--model", c.model))
		if len(got.Warnings) != len(c.warnings) {
			t.Errorf("%s %s: %q, want %q", c.provider, c.model, got.Warnings, c.warnings)
			continue
		}
		for i, w := range c.warnings {
			contains(t, c.model, got.Warnings[i], w)
		}
		if got.Request == nil || !slices.Equal(got.Dropped, c.dropped) {
			t.Errorf("%s %s: dropped %q, want %q", c.provider, c.model, got.Dropped, c.dropped)
		}
	}
}

func TestTranslateErrors(t *testing.T) {
	for _, c := range []struct {
		name, in string
		args     []string
		code     int
		errCode  string
		hint     string
	}{
		{"vendor's refusal", "", []string{"--response", write(t, "e", `{"error":{"message":"`+vendorSecret+`","code":401}}`), "--status", "401"}, 1, "provider_key_invalid", ""},
		{"rate limit of a stream", "", []string{"--stream", "--response", write(t, "e", `{"error":{"message":"slow down","code":429}}`), "--status", "429"}, 1, "provider_rate_limited", ""},
		{"cut stream", "", []string{"--stream", "--response", write(t, "e", "data: {\"id\":\"g\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hel\"}}]}\n\n")}, 1, "provider_error", ""},
		{"nothing", "", []string{"--response", write(t, "e", "")}, 1, "provider_error", ""},
		{"what nobody takes", `{"messages":[]}`, nil, 1, "invalid_request", "field messages"},
		{"not JSON", `{`, nil, 1, "invalid_request", ""},
		{"what the vendor does not take", `{"messages":[{"role":"user","content":"x"}],"route":"fallback"}`, nil, 1, "invalid_request", ""},
		{"vendor without chat", chat, []string{"--provider", "deepgram"}, 1, "provider_not_available", "has no chat adapter for deepgram"},
		{"no dialect", chat, []string{"--provider", "openrouter", "--dialect", "klingon"}, 2, "usage", "--dialect is one of openai, responses, anthropic, gemini"},
		{"another dialect's request", chat, []string{"--provider", "openrouter", "--dialect", "gemini"}, 1, "invalid_request", "field contents"},
		{"no vendor", chat, []string{"--provider", "openroutr"}, 2, "usage", "did you mean openrouter?"},
		{"status alone", chat, []string{"--status", "500"}, 2, "usage", "belongs to --response"},
		{"status", chat, []string{"--status", "99", "--response", "-"}, 2, "usage", "from 200 to 599"},
		{"base URL", chat, []string{"--base-url", "x"}, 2, "usage", "--base-url must be like"},
		{"no file", "", []string{"--file", "nowhere.json"}, 1, "file", "does not exist"},
	} {
		args := []string{"translate", "--model", "m", "--json"}
		if len(c.args) == 0 || c.args[0] != "--provider" {
			args = append(args, "--provider", "openrouter")
		}
		got := lk(t, c.in, nil, append(args, c.args...)...)
		var doc struct {
			Error  struct{ Code string }
			Frames []string
		}
		if err := json.Unmarshal([]byte(got.out), &doc); err != nil || got.code != c.code || doc.Error.Code != c.errCode || !strings.Contains(got.errOut, c.hint) {
			t.Errorf("%s: exit %d %s%s", c.name, got.code, got.out, got.errOut)
		}
		if strings.Contains(got.out+got.errOut, vendorSecret) {
			t.Errorf("%s: vendor text is shown", c.name)
		}
		if c.name == "cut stream" {
			all := strings.Join(doc.Frames, "")
			if !strings.Contains(all, `"content":"hel"`) || !strings.Contains(all, `data: {"error":`) || strings.Contains(all, "[DONE]") {
				t.Errorf("%s", all)
			}
		}
	}
}
