package lkcli

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

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
			case "Authorization", "X-Api-Key":
				t.Errorf("%s: a key header %v", c.name, h)
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

func recordings(t *testing.T) []recording {
	t.Helper()
	files, err := filepath.Glob("../../../shared/providers/openrouter/testdata/chat/*.txtar")
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
		if fields := strings.Fields(head); strings.Contains(head, "application/json") && !strings.Contains(head, "Content-Length") && json.Valid([]byte(body)) {
			r.status, r.body = fields[1], body
		}
		out = append(out, r)
	}
	return out
}

// TestTranslateGoldens: every recorded answer of a vendor comes out of the tool
// as the adapter's own golden files say.
func TestTranslateGoldens(t *testing.T) {
	streams, answers, refusals := 0, 0, 0
	args := []string{"translate", "--provider", "openrouter", "--model", "m"}
	for _, r := range recordings(t) {
		var want struct{ Code string }
		_ = json.Unmarshal([]byte(r.parts["error.json"]), &want)
		switch sse, events := r.parts["wire-response.sse"], r.parts["events.jsonl"]; {
		case sse != "" && events != "" && want.Code == "":
			got := lk(t, "", nil, append(args, "--stream", "--response", write(t, "r", sse))...)
			_, after, _ := strings.Cut(got.out, "# events\n")
			shown, _, _ := strings.Cut(after, "\n# to an OpenAI client\n")
			if strings.TrimSpace(shown) != strings.TrimSpace(events) || got.code != ExitDone {
				t.Errorf("%s: exit %d\n%s\nwant\n%s", r.name, got.code, shown, events)
			}
			streams++
		case r.body != "" && r.parts["response.json"] != "":
			got := lk(t, "", nil, append(args, "--json", "--response", write(t, "r", r.body), "--status", r.status)...)
			out := decode(t, got)
			var golden map[string]any
			_ = json.Unmarshal([]byte(r.parts["response.json"]), &golden)
			delete(golden, "provider_request_id") // came in a header
			var shown map[string]any
			_ = json.Unmarshal(encode(out.Response), &shown)
			if string(encode(shown)) != string(encode(golden)) || out.Request != nil || len(out.Client) == 0 {
				t.Errorf("%s: exit %d %s\n%s\nwant\n%s", r.name, got.code, got.errOut, encode(shown), encode(golden))
			}
			answers++
		case r.body != "" && want.Code != "" && r.parts["wire-request.http"] != "":
			got := lk(t, "", nil, append(args, "--json", "--response", write(t, "r", r.body), "--status", r.status)...)
			if !strings.Contains(string(decode(t, got).Error), `"code":"`+want.Code+`"`) || got.code != ExitRefused {
				t.Errorf("%s: exit %d %s, want %s", r.name, got.code, got.out, want.Code)
			}
			refusals++
		}
	}
	if streams < 4 || answers < 8 || refusals < 8 {
		t.Errorf("only %d streams, %d answers and %d refusals were compared", streams, answers, refusals)
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
		{"vendor of another build", chat, []string{"--provider", "bedrock"}, 1, "provider_not_available", "has no chat adapter for bedrock"},
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
