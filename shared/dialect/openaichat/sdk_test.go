package openaichat

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

// serve answers like the function does, from canned events, and hands over what
// the SDK sent.
func serve(t *testing.T, events []model.Event, failure error, got **model.Request) openai.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r, meta, err := ParseRequest(body)
		if err != nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(fault.CodeOf(err).Status())
			_, _ = w.Write(EncodeError(nil, err, "req_1"))
			return
		}
		*got = r
		shape := Shape{Created: 7, IncludeUsage: meta.IncludeUsage}
		if !r.Stream {
			var b model.Builder
			for _, ev := range events {
				b.Add(ev)
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(EncodeResponse(nil, b.Response(), shape))
			return
		}
		w.Header().Set("Content-Type", ContentType)
		enc := NewStreamEncoder(shape)
		for _, ev := range events {
			_, _ = w.Write(enc.Append(AppendComment(nil, "keep-alive"), ev))
		}
		if failure != nil {
			_, _ = w.Write(enc.AppendError(nil, failure, "req_1"))
		}
	}))
	t.Cleanup(srv.Close)
	return openai.NewClient(option.WithBaseURL(srv.URL), option.WithAPIKey("lk_test"), option.WithMaxRetries(0))
}

func sdkEvents() []model.Event {
	return []model.Event{{Kind: model.EventStart, ID: "chatcmpl-1", Name: "m"}, {Kind: model.EventText, Text: "Hel"}, {Kind: model.EventText, Text: "lo"},
		{Kind: model.EventToolStart, ID: "call_1", Name: "get_weather"}, {Kind: model.EventToolArgs, Text: `{"city":`}, {Kind: model.EventToolArgs, Text: `"Rome"}`},
		{Kind: model.EventToolEnd}, {Kind: model.EventFinish, Finish: model.FinishToolCalls, Native: "tool_use"},
		{Kind: model.EventUsage, Usage: &model.Usage{Input: 5, CachedRead: 7, Output: 2, Reasoning: 1, Source: model.UsageProvider}}, {Kind: model.EventEnd}}
}

func params() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: "openrouter/x/y", Messages: []openai.ChatCompletionMessageParamUnion{
		openai.DeveloperMessage("be brief"), openai.UserMessage("weather?")},
		Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "get_weather",
			Parameters: openai.FunctionParameters{"type": "object"}})}}
}

func checkSDK(t *testing.T, c openai.ChatCompletion, got *model.Request) {
	t.Helper()
	ch := c.Choices[0]
	if ch.Message.Content != "Hello" || ch.FinishReason != "tool_calls" || len(ch.Message.ToolCalls) != 1 ||
		ch.Message.ToolCalls[0].Function.Arguments != `{"city":"Rome"}` || ch.Message.ToolCalls[0].ID != "call_1" {
		t.Errorf("%s", c.RawJSON())
	}
	if c.Usage.PromptTokens != 12 || c.Usage.PromptTokensDetails.CachedTokens != 7 || c.Usage.CompletionTokens != 3 ||
		c.Usage.CompletionTokensDetails.ReasoningTokens != 1 || c.Created != 7 {
		t.Errorf("usage %+v", c.Usage)
	}
	if got.Model != "openrouter/x/y" || got.Messages[0].Role != model.RoleSystem || got.Tools[0].Name != "get_weather" {
		t.Errorf("sent %+v", got)
	}
}

func TestOpenAISDKReadsWholeAnswers(t *testing.T) {
	var got *model.Request
	client := serve(t, sdkEvents(), nil, &got)
	c, err := client.Chat.Completions.New(t.Context(), params())
	if err != nil {
		t.Fatal(err)
	}
	checkSDK(t, *c, got)
}

func TestOpenAISDKReadsStreams(t *testing.T) {
	var got *model.Request
	client := serve(t, sdkEvents(), nil, &got)
	p := params()
	p.StreamOptions.IncludeUsage = openai.Bool(true)
	s := client.Chat.Completions.NewStreaming(t.Context(), p)
	var acc openai.ChatCompletionAccumulator
	for s.Next() {
		if !acc.AddChunk(s.Current()) {
			t.Fatal("the SDK cannot add a chunk")
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	checkSDK(t, acc.ChatCompletion, got)
}

func TestOpenAISDKSeesABrokenStream(t *testing.T) {
	var got *model.Request
	client := serve(t, sdkEvents()[:3], fault.New(fault.ProviderError, "x", "the provider cut its answer short"), &got)
	s := client.Chat.Completions.NewStreaming(t.Context(), params())
	n := 0
	for s.Next() {
		n++
	}
	if s.Err() == nil || n != 3 {
		t.Errorf("%d chunks, error %v", n, s.Err())
	}
}

func TestOpenAISDKSeesErrors(t *testing.T) {
	var got *model.Request
	client := serve(t, nil, nil, &got)
	p := params()
	p.N = openai.Int(2)
	_, err := client.Chat.Completions.New(t.Context(), p)
	var api *openai.Error
	if !errors.As(err, &api) || api.StatusCode != http.StatusBadRequest || api.Param != "n" || api.Code != "invalid_request" {
		t.Errorf("%v", err)
	}
}
