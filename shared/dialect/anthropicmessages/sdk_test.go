package anthropicmessages

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

// serve answers like the function does, from canned events, and hands over what
// the SDK sent.
func serve(t *testing.T, events []model.Event, failure error, got **model.Request) anthropic.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		text, _ := io.ReadAll(req.Body)
		parse := ParseRequest
		if strings.HasSuffix(req.URL.Path, "/count_tokens") {
			parse = ParseCount
		}
		r, err := parse(text, req.Header.Get("anthropic-version"))
		if err != nil {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(fault.CodeOf(err).Status())
			_, _ = w.Write(EncodeError(nil, err, "req_1"))
			return
		}
		*got = r
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(req.URL.Path, "/count_tokens") {
			_, _ = w.Write(EncodeCount(nil, 42))
			return
		}
		if !r.Stream {
			var b model.Builder
			for _, ev := range events {
				b.Add(ev)
			}
			body, err := EncodeResponse(nil, b.Response(), Shape{Model: "m"})
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(body)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		enc := NewStreamEncoder(Shape{Model: "m"})
		for _, ev := range events {
			_, _ = w.Write(enc.Append(append([]byte(nil), ": keep-alive\n\n"...), ev))
		}
		if failure != nil {
			_, _ = w.Write(enc.AppendError(nil, failure, "req_1"))
		}
	}))
	t.Cleanup(srv.Close)
	return anthropic.NewClient(option.WithBaseURL(srv.URL), option.WithAPIKey("lk_test"), option.WithMaxRetries(0))
}

func sdkEvents() []model.Event {
	return []model.Event{{Kind: model.EventStart, ID: "msg_1", Name: "vendor-model"},
		{Kind: model.EventReasoning, Text: "Let me "}, {Kind: model.EventReasoning, Text: "see", Reasoning: &model.Reasoned{Signature: "c2ln"}},
		{Kind: model.EventReasoning, Index: 1, Reasoning: &model.Reasoned{Data: "ZW5j", Format: "other-v1"}},
		{Kind: model.EventText, Text: "Hel"}, {Kind: model.EventText, Text: "lo"},
		{Kind: model.EventToolStart, ID: "call_1", Name: "get_weather", Signature: "thought"}, {Kind: model.EventToolArgs, Text: `{"city":`}, {Kind: model.EventToolArgs, Text: `"Rome"}`},
		{Kind: model.EventToolEnd}, {Kind: model.EventToolStart, Index: 1, ID: "call_2", Name: "now"}, {Kind: model.EventToolArgs, Index: 1, Text: "{}"}, {Kind: model.EventToolEnd, Index: 1},
		{Kind: model.EventFinish, Finish: model.FinishToolCalls, Native: "tool_calls"},
		{Kind: model.EventUsage, Usage: &model.Usage{Input: 5, CachedRead: 7, CacheWrite5m: 3, Output: 2, Reasoning: 1, Source: model.UsageProvider}}, {Kind: model.EventEnd}}
}

func params() anthropic.MessageNewParams {
	return anthropic.MessageNewParams{Model: "openrouter/x/y", MaxTokens: 100, System: []anthropic.TextBlockParam{{Text: "be brief"}},
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("weather?"))},
		Tools: []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "get_weather",
			InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{"city": map[string]any{"type": "string"}}}}}}}
}

func checkSDK(t *testing.T, m *anthropic.Message, got *model.Request) {
	t.Helper()
	var kinds []string
	for _, b := range m.Content {
		kinds = append(kinds, b.Type)
	}
	if strings.Join(kinds, " ") != "thinking redacted_thinking text redacted_thinking tool_use tool_use" {
		t.Fatalf("blocks %v", kinds)
	}
	if th := m.Content[0].AsThinking(); th.Thinking != "Let me see" || th.Signature != "c2ln" {
		t.Errorf("thinking %+v", th)
	}
	if m.Content[2].Text != "Hello" || m.StopReason != "tool_use" || string(m.Model) != "m" || m.ID != "msg_1" {
		t.Errorf("%s", m.RawJSON())
	}
	if call := m.Content[4].AsToolUse(); call.ID != "call_1" || call.Name != "get_weather" || string(call.Input) != `{"city":"Rome"}` {
		t.Errorf("call %+v", call)
	}
	if call := m.Content[5].AsToolUse(); string(call.Input) != "{}" {
		t.Errorf("empty call %+v", call)
	}
	if u := m.Usage; u.InputTokens != 5 || u.CacheReadInputTokens != 7 || u.CacheCreationInputTokens != 3 || u.OutputTokens != 3 {
		t.Errorf("usage %+v", u)
	}
	if got.Model != "openrouter/x/y" || got.MaxOutputTokens != 100 || got.Messages[0].Role != model.RoleSystem || got.Tools[0].Name != "get_weather" {
		t.Errorf("sent %+v", got)
	}
}

// backAgain sends what the SDK got as history and checks that every opaque value
// came home.
func backAgain(t *testing.T, client anthropic.Client, m *anthropic.Message, got **model.Request) {
	t.Helper()
	p := params()
	p.Messages = append(p.Messages, m.ToParam(), anthropic.NewUserMessage(anthropic.NewToolResultBlock("call_1", "21", false),
		anthropic.NewToolResultBlock("call_2", "noon", true), anthropic.NewTextBlock("go on")))
	if _, err := client.Messages.New(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r := *got
	if len(r.Messages) != 5 || r.Messages[3].Role != model.RoleTool || r.Messages[4].Role != model.RoleUser {
		t.Fatalf("messages %+v", r.Messages)
	}
	parts := r.Messages[2].Parts
	if len(parts) != 5 || *parts[0].Reasoning != (model.Reasoned{Text: "Let me see", Signature: "c2ln", Format: nativeFormat}) ||
		*parts[1].Reasoning != (model.Reasoned{Data: "ZW5j", Format: "other-v1"}) ||
		parts[3].Call.Signature != "thought" || parts[4].Call.Signature != "" {
		t.Errorf("history %+v %+v %+v", parts[0].Reasoning, parts[1].Reasoning, parts[3].Call)
	}
	if !r.Messages[3].Parts[1].Result.IsError || r.Messages[3].Parts[0].Result.Text() != "21" {
		t.Errorf("results %+v", r.Messages[3].Parts)
	}
}

func TestSDKReadsWholeAnswers(t *testing.T) {
	var got *model.Request
	client := serve(t, sdkEvents(), nil, &got)
	m, err := client.Messages.New(t.Context(), params())
	if err != nil {
		t.Fatal(err)
	}
	checkSDK(t, m, got)
	backAgain(t, client, m, &got)
}

func TestSDKReadsStreams(t *testing.T) {
	var got *model.Request
	client := serve(t, sdkEvents(), nil, &got)
	s := client.Messages.NewStreaming(t.Context(), params())
	var acc anthropic.Message
	for s.Next() {
		if err := acc.Accumulate(s.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	checkSDK(t, &acc, got)
	backAgain(t, client, &acc, &got)
}

func TestSDKSeesABrokenStream(t *testing.T) {
	var got *model.Request
	client := serve(t, sdkEvents()[:3], fault.New(fault.ProviderError, "x", "the provider cut its answer short"), &got)
	s := client.Messages.NewStreaming(t.Context(), params())
	stopped := false
	for s.Next() {
		stopped = stopped || s.Current().Type == "message_stop"
	}
	if s.Err() == nil || !strings.Contains(s.Err().Error(), "cut its answer short") || stopped {
		t.Errorf("error %v, stopped %v", s.Err(), stopped)
	}
	// An answer that the model itself did not finish is broken too.
	client = serve(t, []model.Event{{Kind: model.EventStart, ID: "msg_1"}, {Kind: model.EventText, Text: "a"},
		{Kind: model.EventFinish, Finish: model.FinishError}, {Kind: model.EventEnd}}, nil, &got)
	s = client.Messages.NewStreaming(t.Context(), params())
	for s.Next() {
		if s.Current().Type == "message_stop" {
			t.Error("a failed answer ends like a good one")
		}
	}
	if s.Err() == nil {
		t.Error("a failed answer is no error")
	}
}

func TestSDKSeesErrors(t *testing.T) {
	var got *model.Request
	client := serve(t, nil, nil, &got)
	p := params()
	p.Messages = nil
	_, err := client.Messages.New(t.Context(), p)
	var api *anthropic.Error
	if !errors.As(err, &api) || api.StatusCode != http.StatusBadRequest || !strings.Contains(api.RawJSON(), `"param":"messages"`) {
		t.Fatalf("%v", err)
	}
	var body struct {
		Type      string
		RequestID string `json:"request_id"`
		Error     struct{ Type, Code string }
	}
	if json.Unmarshal([]byte(api.RawJSON()), &body) != nil || body.Type != "error" || body.Error.Type != "invalid_request_error" || body.RequestID != "req_1" {
		t.Errorf("%s", api.RawJSON())
	}
}

func TestSDKCounts(t *testing.T) {
	var got *model.Request
	client := serve(t, nil, nil, &got)
	n, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: "a", Messages: params().Messages})
	if err != nil || n.InputTokens != 42 || got.Model != "a" {
		t.Errorf("%+v, %v", n, err)
	}
}
