package e2e

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

// TestAnthropicGoSDK: an unmodified client of the Messages dialect reaches a
// provider that does not speak it.
func TestAnthropicGoSDK(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	client := anthropic.NewClient(anthropicoption.WithBaseURL(world.BaseURL), anthropicoption.WithAPIKey(x.Key), anthropicoption.WithMaxRetries(0))
	params := anthropic.MessageNewParams{Model: simChat, MaxTokens: 100,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("from the Go SDK"))}}
	whole, err := client.Messages.New(t.Context(), params)
	must(t, err)
	if whole.Content[0].Text != "You said: from the Go SDK" || whole.StopReason != "end_turn" || whole.Usage.OutputTokens == 0 {
		t.Errorf("whole: %s", whole.RawJSON())
	}
	stream := client.Messages.NewStreaming(t.Context(), params)
	var acc anthropic.Message
	for stream.Next() {
		must(t, acc.Accumulate(stream.Current()))
	}
	must(t, stream.Err())
	if acc.Content[0].Text != "You said: from the Go SDK" || acc.Usage.OutputTokens != whole.Usage.OutputTokens || acc.Usage.InputTokens != whole.Usage.InputTokens {
		t.Errorf("stream: %+v", acc)
	}
	params.Messages = []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("please use tool"))}
	params.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "lookup",
		InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{"value": map[string]any{"type": "string"}}}}}}
	tool, err := client.Messages.New(t.Context(), params)
	must(t, err)
	if tool.StopReason != "tool_use" || len(tool.Content) == 0 || string(tool.Content[len(tool.Content)-1].Input) != `{"value":"42"}` {
		t.Errorf("tool: %s", tool.RawJSON())
	}
	n, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: simChat, Messages: params.Messages})
	if err != nil || n.InputTokens == 0 {
		t.Errorf("count: %+v %v", n, err)
	}
	page, err := client.Models.List(t.Context(), anthropic.ModelListParams{})
	if err != nil || len(page.Data) == 0 || page.Data[0].Type != "model" {
		t.Errorf("models: %+v %v", page, err)
	}
	stranger := anthropic.NewClient(anthropicoption.WithBaseURL(world.BaseURL), anthropicoption.WithAPIKey("lk_nobody_k_x"), anthropicoption.WithMaxRetries(0))
	_, err = stranger.Messages.New(t.Context(), params)
	var api *anthropic.Error
	if !errors.As(err, &api) || api.StatusCode != http.StatusUnauthorized {
		t.Errorf("a stranger: %v", err)
	}
	x.consistent()
}

// TestResponsesGoSDK: the stateless Responses dialect over a provider of chat
// completions.
func TestResponsesGoSDK(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	client := openai.NewClient(option.WithBaseURL(world.BaseURL+"/v1"), option.WithAPIKey(x.Key), option.WithMaxRetries(0))
	params := responses.ResponseNewParams{Model: simChat, Store: openai.Bool(false),
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("from the Go SDK")}}
	whole, err := client.Responses.New(t.Context(), params)
	must(t, err)
	if whole.OutputText() != "You said: from the Go SDK" || whole.Status != "completed" || whole.Usage.TotalTokens == 0 {
		t.Errorf("whole: %s", whole.RawJSON())
	}
	stream := client.Responses.NewStreaming(t.Context(), params)
	text, total := "", int64(0)
	for stream.Next() {
		switch ev := stream.Current(); ev.Type {
		case "response.output_text.delta":
			text += ev.Delta
		case "response.completed":
			total = ev.Response.Usage.TotalTokens
		}
	}
	must(t, stream.Err())
	if text != "You said: from the Go SDK" || total != whole.Usage.TotalTokens {
		t.Errorf("stream: %q, %d tokens", text, total)
	}
	params.Input.OfString = openai.String("please use tool")
	params.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("lookup", map[string]any{"type": "object",
		"properties": map[string]any{"value": map[string]any{"type": "string"}}}, false)}
	tool, err := client.Responses.New(t.Context(), params)
	must(t, err)
	if n := len(tool.Output); n == 0 || tool.Output[n-1].AsFunctionCall().Arguments != `{"value":"42"}` {
		t.Errorf("tool: %s", tool.RawJSON())
	}
	x.consistent()
}

// TestGeminiDialect drives the paths by hand; the vendor's own SDK is in the
// matrix of clients.
func TestGeminiDialect(t *testing.T) {
	x := newTenant(t, "free", 1_000_000)
	base := world.BaseURL + "/v1beta/models/" + simChat
	body := map[string]any{"contents": []any{map[string]any{"role": "user", "parts": []any{map[string]any{"text": "from hand"}}}}}
	a := post(t, base+":generateContent", x.Key, body)
	if a.Status != http.StatusOK || !strings.Contains(string(a.Body), `"text":"You said: from hand"`) || !strings.Contains(string(a.Body), `"finishReason":"STOP"`) {
		t.Errorf("whole: %d %s", a.Status, a.Body)
	}
	a = post(t, base+":streamGenerateContent?alt=sse", x.Key, body)
	if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "text/event-stream" || strings.Count(string(a.Body), "data: ") < 3 ||
		!strings.Contains(string(a.Body), `"finishReason":"STOP"`) {
		t.Errorf("stream: %d %s", a.Status, a.Body)
	}
	for path, want := range map[string]int{":streamGenerateContent": 400, ":embedContent": 404, ":countTokens": 200} {
		a = post(t, base+path, x.Key, body)
		if a.Status != want || want != 200 && !strings.Contains(string(a.Body), `"status":"`) {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	x.consistent()
}
