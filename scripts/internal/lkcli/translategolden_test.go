package lkcli

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

var update = flag.Bool("update", false, "write golden files")

// asked is one conversation with tools, as each client writes it. The temperature
// is the default of every vendor, and some have no place for it.
var asked = map[string]string{
	"openai": `{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Weather in Rome?"},
{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Rome\"}"}}]},
{"role":"tool","tool_call_id":"call_1","content":"sunny"},{"role":"user","content":"And tomorrow?"}],
"tools":[{"type":"function","function":{"name":"weather","description":"The weather","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}],
"max_tokens":100,"temperature":1,"user":"u-1","top_logprobs_hint":1}`,
	"responses": `{"instructions":"Be brief.","input":[{"role":"user","content":"Weather in Rome?"},
{"type":"function_call","call_id":"call_1","name":"weather","arguments":"{\"city\":\"Rome\"}"},
{"type":"function_call_output","call_id":"call_1","output":"sunny"},{"role":"user","content":"And tomorrow?"}],
"tools":[{"type":"function","name":"weather","description":"The weather","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}],
"max_output_tokens":100,"temperature":1,"user":"u-1","store":false}`,
	"anthropic": `{"system":"Be brief.","max_tokens":100,"messages":[{"role":"user","content":"Weather in Rome?"},
{"role":"assistant","content":[{"type":"tool_use","id":"call_1","name":"weather","input":{"city":"Rome"}}]},
{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"sunny"},{"type":"text","text":"And tomorrow?"}]}],
"tools":[{"name":"weather","description":"The weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}],
"temperature":1,"metadata":{"user_id":"u-1"},"service_tier":"auto"}`,
	"gemini": `{"systemInstruction":{"parts":[{"text":"Be brief."}]},"contents":[{"role":"user","parts":[{"text":"Weather in Rome?"}]},
{"role":"model","parts":[{"functionCall":{"id":"call_1","name":"weather","args":{"city":"Rome"}}}]},
{"role":"user","parts":[{"functionResponse":{"id":"call_1","name":"weather","response":{"result":"sunny"}}},{"text":"And tomorrow?"}]}],
"tools":[{"functionDeclarations":[{"name":"weather","description":"The weather","parametersJsonSchema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}]}],
"generationConfig":{"maxOutputTokens":100,"temperature":1},"labels":{"team":"a"}}`,
}

// usual is a model of each provider.
var usual = map[taxonomy.Provider]string{
	taxonomy.Anthropic: "claude-opus-4-8", taxonomy.Bedrock: "us.anthropic.claude-sonnet-4-6", taxonomy.DeepSeek: "deepseek-v4-flash", taxonomy.Gemini: "gemini-2.5-pro", taxonomy.Grok: "grok-4.3",
	taxonomy.Groq: "llama-3.3-70b-versatile", taxonomy.Kimi: "kimi-k2.6", taxonomy.Mistral: "mistral-large-2512", taxonomy.OpenAI: "gpt-5.4",
	taxonomy.OpenRouter: "openai/gpt-5.4", taxonomy.OpenAICompatible: "local-model",
}

// TestTranslateMatrix shows, for every provider and dialect, what is sent for one
// request whole and streamed, and what the client gets of the vendor's recorded
// answers with tools.
func TestTranslateMatrix(t *testing.T) {
	for _, e := range chatVendors() {
		name := usual[e.ID]
		if name == "" {
			name = "some-model"
		}
		whole, streamed := answersOf(t, folder(e))
		var b bytes.Buffer
		for _, d := range dialects() {
			show := func(what, in string, args ...string) {
				got := lk(t, in, nil, append([]string{"translate", "--provider", string(e.ID), "--model", name, "--dialect", d.name}, args...)...)
				fmt.Fprintf(&b, "=== %s, %s: exit %d\n%s%s\n", d.name, what, got.code, got.out, got.errOut)
			}
			show("request", asked[d.name])
			show("request of a stream", asked[d.name], "--stream")
			if whole != "" {
				show("answer", "", "--response", write(t, "whole", whole))
			}
			if streamed != "" {
				show("stream", "", "--stream", "--response", write(t, "streamed", streamed))
			}
		}
		golden := filepath.Join("testdata", "translate", string(e.ID)+".txt")
		if *update {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || !bytes.Equal(want, b.Bytes()) {
			t.Errorf("%s differs (%v); go test ./scripts/internal/lkcli -update, and read the difference", golden, err)
		}
	}
}

// answersOf are the recorded answers with tools of a vendor, empty if its
// recordings have another form.
func answersOf(t *testing.T, folder string) (whole, streamed string) {
	t.Helper()
	for _, r := range recordings(t, folder) {
		switch r.name {
		case "tools":
			whole = r.body
		case "tools_stream":
			streamed = r.parts["wire-response.sse"]
		}
	}
	return whole, streamed
}
