package openairesponses

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

// serve answers like the function does, from canned events, and hands over what
// the SDK sent.
func serve(t *testing.T, events []model.Event, failure error, got **model.Request) openai.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		text, _ := io.ReadAll(req.Body)
		r, meta, err := ParseRequest(text)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			w.WriteHeader(fault.CodeOf(err).Status())
			_, _ = w.Write(openaichat.EncodeError(nil, err, "req_1"))
			return
		}
		*got = r
		shape := Shape{ID: "r1", Created: 7, Meta: meta}
		if !r.Stream {
			var b model.Builder
			for _, ev := range events {
				b.Add(ev)
			}
			body, err := EncodeResponse(nil, b.Response(), shape)
			if err != nil {
				t.Error(err)
			}
			_, _ = w.Write(body)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		enc := NewStreamEncoder(shape)
		for _, ev := range events {
			_, _ = w.Write(enc.Append([]byte(": keep-alive\n\n"), ev))
		}
		if failure != nil {
			_, _ = w.Write(enc.AppendError(nil, failure, "r1"))
		}
	}))
	t.Cleanup(srv.Close)
	return openai.NewClient(option.WithBaseURL(srv.URL), option.WithAPIKey("lk_test"), option.WithMaxRetries(0))
}

func sdkEvents() []model.Event {
	return []model.Event{{Kind: model.EventStart, ID: "x", Name: "m"},
		{Kind: model.EventReasoning, Text: "Let me "}, {Kind: model.EventReasoning, Text: "see", Reasoning: &model.Reasoned{Signature: "c2ln", Format: "other-v1"}},
		{Kind: model.EventReasoning, Index: 1, Reasoning: &model.Reasoned{ID: "rs_vendor", Data: "ZW5j", Format: nativeFormat}},
		{Kind: model.EventText, Text: "Hel"}, {Kind: model.EventText, Text: "lo"},
		{Kind: model.EventToolStart, ID: "call_1", Name: "get_weather", Signature: "thought"}, {Kind: model.EventToolArgs, Text: `{"city":`}, {Kind: model.EventToolArgs, Text: `"Rome"}`},
		{Kind: model.EventToolEnd}, {Kind: model.EventToolStart, Index: 1, ID: "call_2", Name: "now"}, {Kind: model.EventToolArgs, Index: 1, Text: "{}"},
		{Kind: model.EventToolEnd, Index: 1, Signature: "late"},
		{Kind: model.EventFinish, Finish: model.FinishToolCalls, Native: "tool_use"},
		{Kind: model.EventUsage, Usage: &model.Usage{Input: 5, CachedRead: 7, Output: 2, Reasoning: 1, Source: model.UsageProvider}}, {Kind: model.EventEnd}}
}

func params() responses.ResponseNewParams {
	return responses.ResponseNewParams{Model: "openrouter/x/y", Instructions: openai.String("be brief"), Store: openai.Bool(false),
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("weather?")},
		Tools: []responses.ToolUnionParam{responses.ToolParamOfFunction("get_weather", map[string]any{"type": "object"}, true)}}
}

func checkSDK(t *testing.T, r *responses.Response, got *model.Request) {
	t.Helper()
	var kinds []string
	for _, item := range r.Output {
		kinds = append(kinds, item.Type)
	}
	// A signature that comes after its call stands before it only in a whole answer.
	head, ok := strings.CutPrefix(strings.Join(kinds, " "), "reasoning reasoning message reasoning function_call ")
	if !ok || head != "function_call reasoning" && head != "reasoning function_call" {
		t.Fatalf("items %v", kinds)
	}
	if r.OutputText() != "Hello" || r.Status != "completed" || r.ID != "resp_r1" || r.Output[0].Summary[0].Text != "Let me see" ||
		r.Output[1].ID != "rs_vendor" || r.Output[1].EncryptedContent != "ZW5j" {
		t.Errorf("%s", r.RawJSON())
	}
	if call := r.Output[4].AsFunctionCall(); call.CallID != "call_1" || call.Name != "get_weather" || call.Arguments != `{"city":"Rome"}` {
		t.Errorf("call %+v", call)
	}
	if u := r.Usage; u.InputTokens != 12 || u.InputTokensDetails.CachedTokens != 7 || u.OutputTokens != 3 || u.OutputTokensDetails.ReasoningTokens != 1 || u.TotalTokens != 15 {
		t.Errorf("usage %+v", u)
	}
	if got.Model != "openrouter/x/y" || got.Messages[0].Role != model.RoleSystem || got.Messages[1].Role != model.RoleUser || got.Tools[0].Name != "get_weather" {
		t.Errorf("sent %+v", got)
	}
}

// backAgain sends the output as input, as stateless clients do.
func backAgain(t *testing.T, client openai.Client, r *responses.Response, got **model.Request) {
	t.Helper()
	var items responses.ResponseInputParam
	for _, item := range r.Output {
		switch item.Type {
		case "reasoning":
			p := item.AsReasoning().ToParam()
			items = append(items, responses.ResponseInputItemUnionParam{OfReasoning: &p})
		case "function_call":
			p := item.AsFunctionCall().ToParam()
			items = append(items, responses.ResponseInputItemUnionParam{OfFunctionCall: &p})
		case "message":
			p := item.AsMessage().ToParam()
			items = append(items, responses.ResponseInputItemUnionParam{OfOutputMessage: &p})
		}
	}
	items = append(items, responseOutput("call_1", "21"), responseOutput("call_2", "noon"),
		responses.ResponseInputItemParamOfMessage("go on", responses.EasyInputMessageRoleUser))
	p := params()
	p.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: items}
	if _, err := client.Responses.New(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	m := (*got).Messages
	if len(m) != 4 || m[1].Role != model.RoleAssistant || m[2].Role != model.RoleTool || len(m[2].Parts) != 2 || m[3].Role != model.RoleUser {
		t.Fatalf("messages %+v", m)
	}
	parts := m[1].Parts
	if len(parts) != 5 || *parts[0].Reasoning != (model.Reasoned{Text: "Let me see", Signature: "c2ln", Format: "other-v1", ID: r.Output[0].ID}) ||
		*parts[1].Reasoning != (model.Reasoned{Data: "ZW5j", Format: nativeFormat, ID: "rs_vendor", Summary: true}) ||
		parts[2].Text != "Hello" || parts[3].Call.Signature != "thought" || parts[4].Call.Signature != "late" {
		t.Errorf("history %+v %+v %+v %+v", parts[0].Reasoning, parts[1].Reasoning, parts[3].Call, parts[4].Call)
	}
}

func TestSDKReadsWholeAnswers(t *testing.T) {
	var got *model.Request
	client := serve(t, sdkEvents(), nil, &got)
	r, err := client.Responses.New(t.Context(), params())
	if err != nil {
		t.Fatal(err)
	}
	checkSDK(t, r, got)
	backAgain(t, client, r, &got)
}

// TestSDKReadsStreams also holds the deltas to what the done events and the last
// response say.
func TestSDKReadsStreams(t *testing.T) {
	var got *model.Request
	client := serve(t, sdkEvents(), nil, &got)
	s := client.Responses.NewStreaming(t.Context(), params())
	var last *responses.Response
	text, args, thought, sequence := "", "", "", int64(0)
	open := map[string]bool{}
	for s.Next() {
		ev := s.Current()
		if ev.SequenceNumber != sequence {
			t.Fatalf("sequence %d, want %d", ev.SequenceNumber, sequence)
		}
		sequence++
		switch ev.Type {
		case "response.output_item.added":
			open[ev.Item.ID] = true
		case "response.output_item.done":
			if !open[ev.Item.ID] {
				t.Errorf("%s ends without having begun", ev.Item.ID)
			}
			delete(open, ev.Item.ID)
		case "response.output_text.delta":
			text += ev.Delta
		case "response.function_call_arguments.delta":
			args += ev.Delta
		case "response.reasoning_summary_text.delta":
			thought += ev.Delta
		case "response.completed":
			r := ev.Response
			last = &r
		}
	}
	if s.Err() != nil || last == nil || len(open) != 0 {
		t.Fatalf("%v, open %v", s.Err(), open)
	}
	if text != "Hello" || args != `{"city":"Rome"}{}` || thought != "Let me see" {
		t.Errorf("%q %q %q", text, args, thought)
	}
	checkSDK(t, last, got)
	backAgain(t, client, last, &got)
}

func TestSDKSeesABrokenStream(t *testing.T) {
	var got *model.Request
	for _, c := range []struct {
		events  []model.Event
		failure error
	}{
		{sdkEvents()[:5], fault.New(fault.ProviderError, "x", "cut short")},
		{[]model.Event{{Kind: model.EventStart}, {Kind: model.EventText, Text: "a"}, {Kind: model.EventFinish, Finish: model.FinishError}, {Kind: model.EventEnd}}, nil},
	} {
		client := serve(t, c.events, c.failure, &got)
		s := client.Responses.NewStreaming(t.Context(), params())
		completed := false
		for s.Next() {
			completed = completed || s.Current().Type == "response.completed"
		}
		if completed || s.Err() == nil || !strings.Contains(s.Err().Error(), `"request_id":"r1"`) {
			t.Errorf("completed %v, error %v", completed, s.Err())
		}
	}
}

func TestIncomplete(t *testing.T) {
	for finish, want := range map[model.FinishReason]string{model.FinishLength: "max_output_tokens", model.FinishContentFilter: "content_filter", model.FinishStop: "",
		model.FinishCreditExhausted: "credit_exhausted"} {
		body, err := EncodeResponse(nil, &model.Response{Finish: finish}, Shape{ID: "a"})
		var r responses.Response
		if err != nil || json.Unmarshal(body, &r) != nil || r.IncompleteDetails.Reason != want || (r.Status == "incomplete") != (want != "") {
			t.Errorf("%s: %s, %v", finish, body, err)
		}
	}
	if _, err := EncodeResponse(nil, &model.Response{Finish: model.FinishError}, Shape{}); fault.CodeOf(err) != fault.ProviderError {
		t.Errorf("%v", err)
	}
}

func TestSDKSeesErrors(t *testing.T) {
	var got *model.Request
	client := serve(t, nil, nil, &got)
	p := params()
	p.PreviousResponseID = openai.String("resp_1")
	_, err := client.Responses.New(t.Context(), p)
	var api *openai.Error
	if !errors.As(err, &api) || api.StatusCode != http.StatusBadRequest || api.Param != "previous_response_id" {
		t.Errorf("%v", err)
	}
}

func responseOutput(callID, text string) responses.ResponseInputItemUnionParam {
	return responses.ResponseInputItemUnionParam{OfFunctionCallOutput: &responses.ResponseInputItemFunctionCallOutputParam{CallID: openai.String(callID),
		Output: responses.ResponseInputItemFunctionCallOutputOutputUnionParam{OfString: openai.String(text)}}}
}
