package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

const simChat = "openrouter/sim-chat"

func TestChatOnPlatformCredits(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, "hello there", false))
	if a.Status != http.StatusOK || !strings.Contains(string(a.Body), "You said: hello there") {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	for name, want := range map[string]string{"x-latchkey-provider": "openrouter", "x-latchkey-model": simChat,
		"x-latchkey-billing-source": "platform", "x-latchkey-billing-rule": "P7", "x-latchkey-model-status": "unverified"} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if a.Header.Get("x-latchkey-overhead-ms") == "" || a.Header.Get("x-request-id") == "" {
		t.Errorf("headers missing: %v", a.Header)
	}
	x.consistent()
	// 4 input tokens at 1 and 6 output tokens at 2 micro-credits, as the vendor declared.
	var usage struct {
		Usage struct {
			PromptTokens     int64 `json:"prompt_tokens"`
			CompletionTokens int64 `json:"completion_tokens"`
		}
	}
	must(t, json.Unmarshal(a.Body, &usage))
	want := usage.Usage.PromptTokens + 2*usage.Usage.CompletionTokens
	if got := 1_000_000 - x.credits().Posted; got != want || want == 0 {
		t.Errorf("charged %d, want %d", got, want)
	}
	var request struct {
		State string
		Cost  int64
		Usage struct{ Source string }
	}
	x.call(http.MethodGet, "/requests/"+a.Header.Get("x-request-id"), nil, &request)
	if request.State != "SETTLED" || request.Cost != want || request.Usage.Source != "provider" {
		t.Errorf("request: %+v", request)
	}
}

func TestStreamArrivesInPieces(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	barrier := vendor.Hold(mockvendor.AfterChunk)
	defer barrier.Release()
	b, _ := json.Marshal(chatBody(simChat, "one two three", true))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, world.FunctionURLs["invoke"]+"/v1/chat/completions", bytes.NewReader(b))
	req.Header.Set("Authorization", "Bearer "+x.Key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	// The vendor stands still after its first chunk: what is read now left the
	// function before the answer was complete.
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() && !strings.Contains(lines.Text(), "You") {
	}
	if lines.Err() != nil || !strings.Contains(lines.Text(), "You") {
		t.Fatalf("no content while the vendor waits: %q %v", lines.Text(), lines.Err())
	}
	barrier.Release()
	rest := ""
	for lines.Scan() {
		rest += lines.Text() + "\n"
	}
	if lines.Err() != nil || !strings.HasSuffix(strings.TrimSpace(rest), "data: [DONE]") {
		t.Errorf("the stream did not end with [DONE]: %q %v", rest, lines.Err())
	}
	if !strings.Contains(rest, ": x-latchkey-overhead-ms") {
		t.Errorf("no overhead comment before the end: %q", rest)
	}
	x.consistent()
}

func TestOpenAIGoSDK(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	client := openai.NewClient(option.WithBaseURL(world.BaseURL+"/v1"), option.WithAPIKey(x.Key))
	params := openai.ChatCompletionNewParams{Model: simChat, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("from the Go SDK")}}
	whole, err := client.Chat.Completions.New(t.Context(), params)
	must(t, err)
	if whole.Choices[0].Message.Content != "You said: from the Go SDK" || whole.Usage.TotalTokens == 0 {
		t.Errorf("whole: %+v", whole)
	}
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	acc := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	must(t, stream.Err())
	if acc.Choices[0].Message.Content != "You said: from the Go SDK" || acc.Usage.TotalTokens != whole.Usage.TotalTokens {
		t.Errorf("stream: %+v", acc.ChatCompletion)
	}
	params.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage("please use tool")}
	params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
		Name: "lookup", Parameters: openai.FunctionParameters{"type": "object", "properties": map[string]any{"value": map[string]any{"type": "string"}}}})}
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
	tool, err := client.Chat.Completions.New(t.Context(), params)
	must(t, err)
	if len(tool.Choices[0].Message.ToolCalls) != 1 || tool.Choices[0].Message.ToolCalls[0].Function.Arguments != `{"value":"42"}` || tool.Choices[0].FinishReason != "tool_calls" {
		t.Errorf("tools: %+v", tool.Choices[0])
	}
	models, err := client.Models.List(t.Context())
	must(t, err)
	found := false
	for _, m := range models.Data {
		found = found || m.ID == simChat
	}
	if !found {
		t.Errorf("models: %+v", models.Data)
	}
	stranger := openai.NewClient(option.WithBaseURL(world.BaseURL+"/v1"), option.WithAPIKey("lk_nobody_k_x"), option.WithMaxRetries(0))
	_, err = stranger.Models.List(t.Context())
	var apiErr *openai.Error
	if !asError(err, &apiErr) || apiErr.StatusCode != http.StatusUnauthorized || apiErr.Code != "gateway_auth" {
		t.Errorf("bad key: %v", err)
	}
	x.consistent()
}

func TestOpenAINodeSDK(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	cmd := exec.CommandContext(t.Context(), "node", "../testdata/sdk/openai.mjs")
	cmd.Env = append(cmd.Environ(), "BASE_URL="+world.BaseURL+"/v1", "API_KEY="+x.Key, "CHAT_MODEL="+simChat, "VOICE_MODEL=openai_compatible/sim-voice")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got map[string]any
	must(t, json.Unmarshal(out, &got))
	for name, want := range map[string]any{"whole": "You said: from the Node SDK", "streamed": "You said: from the Node SDK", "tool": `{"value":"42"}`,
		"listed": true, "unauthorized": "401 gateway_auth", "spoken": true} {
		if got[name] != want {
			t.Errorf("%s = %v, want %v", name, got[name], want)
		}
	}
	if s, _ := got["transcript"].(string); !strings.HasPrefix(s, "hello from") {
		t.Errorf("transcript = %v", got["transcript"])
	}
	x.consistent()
}
