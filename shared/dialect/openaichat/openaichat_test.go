package openaichat

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

const hi = `"messages":[{"role":"user","content":"hi"}]`

func TestParseFull(t *testing.T) {
	body := `{"model":"openrouter/x/y","messages":[
	 {"role":"developer","content":[{"type":"text","text":"sys","cache_control":{"type":"ephemeral","ttl":"1h"}}]},
	 {"role":"user","name":"bob","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"}},
	   {"type":"image_url","image_url":"https://x.example/y.png"},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}},
	   {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AAAA"}},{"type":"file","file":{"file_id":"file-1"}}]},
	 {"role":"assistant","content":null,"reasoning_details":[{"type":"reasoning.text","text":"t","signature":"s","format":"f","index":0},{"type":"reasoning.summary","summary":"u"},{"type":"reasoning.encrypted","data":"d","id":"i"}],"reasoning":"ignored",
	   "tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":""},"extra_content":{"google":{"thought_signature":"sig"}}}]},
	 {"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
	 {"role":"assistant","content":"ok","refusal":"no","audio":{"id":"au"}}],
	 "tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"z":1,"a":2},"strict":true}}],
	 "tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,
	 "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"b":1,"a":2},"strict":false}},
	 "max_completion_tokens":5,"temperature":0.5,"top_p":1,"top_k":3,"frequency_penalty":-2,"presence_penalty":2,"seed":-7,"stop":"x",
	 "reasoning_effort":"low","include_reasoning":false,"stream":true,"stream_options":{"include_usage":true},"user":"u","n":1,
	 "logit_bias":{"1":2},"service_tier":"auto","logprobs":null}`
	r, meta, err := ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err, fault.As(err).Param)
	}
	f, tr, half, one, k, two, minus, seed := false, true, 0.5, 1.0, 3, 2.0, -2.0, int64(-7)
	want := &model.Request{Model: "openrouter/x/y", Dialect: model.DialectChat, Messages: []model.Message{
		{Role: "system", Parts: []model.Part{{Kind: "text", Text: "sys", CacheTTL: "1h"}}},
		{Role: "user", Name: "bob", Parts: []model.Part{model.Text("look"),
			{Kind: "image", Media: &model.Media{Base64: "AAAA", MIME: "image/png", Detail: "low"}},
			{Kind: "image", Media: &model.Media{URL: "https://x.example/y.png"}},
			{Kind: "audio", Media: &model.Media{Base64: "AAAA", Format: "wav"}},
			{Kind: "file", Media: &model.Media{Base64: "AAAA", MIME: "application/pdf", Name: "a.pdf"}},
			{Kind: "file", Media: &model.Media{FileID: "file-1"}}}},
		{Role: "assistant", Parts: []model.Part{
			{Kind: "reasoning", Reasoning: &model.Reasoned{Text: "t", Signature: "s", Format: "f"}},
			{Kind: "reasoning", Reasoning: &model.Reasoned{Text: "u", Summary: true}},
			{Kind: "reasoning", Reasoning: &model.Reasoned{Data: "d", ID: "i"}},
			{Kind: "tool_call", Call: &model.ToolCall{ID: "c1", Name: "f", Args: "{}", Signature: "sig"}}}},
		{Role: "tool", Parts: []model.Part{{Kind: "tool_result", Result: &model.ToolResult{CallID: "c1", Parts: []model.Part{model.Text("a"), model.Text("b")}}}}},
		{Role: "assistant", Parts: []model.Part{model.Text("ok"), {Kind: "refusal", Text: "no"}, {Kind: "audio", Media: &model.Media{ID: "au"}}}}},
		Tools:      []model.Tool{{Name: "f", Description: "d", Schema: json.RawMessage(`{"z":1,"a":2}`), Strict: &tr}},
		ToolChoice: model.ToolChoice{Mode: "named", Name: "f"}, Parallel: &f,
		Output:          model.Output{Kind: "json_schema", Name: "n", Schema: json.RawMessage(`{"b":1,"a":2}`), Strict: &f},
		MaxOutputTokens: 5, Sampling: model.Sampling{Temperature: &half, TopP: &one, TopK: &k, FrequencyPenalty: &minus, PresencePenalty: &two, Seed: &seed},
		Stop: []string{"x"}, Reasoning: model.Reasoning{Effort: "low", Exclude: true}, Stream: true, User: "u",
		Extra: map[string]json.RawMessage{"logit_bias": json.RawMessage(`{"1":2}`), "service_tier": json.RawMessage(`"auto"`), "logprobs": json.RawMessage(`null`)}}
	if !reflect.DeepEqual(r, want) {
		a, _ := json.MarshalIndent(r, "", " ")
		b, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("got %s\nwant %s", a, b)
	}
	if !meta.IncludeUsage {
		t.Error("include_usage lost")
	}
}

func TestParseRefusals(t *testing.T) {
	deep := `{"model":"m",` + hi + `,"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`
	msg := func(m string) string { return `{"model":"m","messages":[` + m + `]}` }
	with := func(s string) string { return `{"model":"m",` + hi + `,` + s + `}` }
	part := func(p string) string { return msg(`{"role":"user","content":[` + p + `]}`) }
	tests := map[string]string{ // body → param
		``: "", `[]`: "", `{`: "", `null`: "", with(`"a":1,"a":2`): "", `{"model":"m",` + hi + `} x`: "", deep: "",
		`{` + hi + `}`: "model", `{"model":5,` + hi + `}`: "model", `{"model":"m"}`: "messages", `{"model":"m","messages":[]}`: "messages",
		`{"model":"m","messages":["x"]}`: "messages[0]", msg(`{"role":"king","content":"x"}`): "messages[0].role",
		msg(`{"role":"function","name":"f","content":"x"}`): "messages[0].role", msg(`{"role":"user"}`): "messages[0].content",
		msg(`{"role":"user","content":5}`): "messages[0].content", msg(`{"role":"user","content":{"type":"text"}}`): "messages[0].content",
		msg(`{"role":"user","content":"x","tool_calls":[{}]}`): "messages[0].tool_calls", msg(`{"role":"tool","content":"x"}`): "messages[0].tool_call_id",
		msg(`{"role":"assistant","tool_calls":[{"id":"x","type":"custom"}]}`):                                   "messages[0].tool_calls[0]",
		msg(`{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{}"}}]}`): "messages[0].tool_calls[0].id",
		msg(`{"role":"assistant","function_call":{"name":"f"}}`):                                                "messages[0].function_call",
		part(`{"type":"video_url"}`): "messages[0].content[0].type", part(`{"type":"text"}`): "messages[0].content[0].text",
		part(`{"type":"image_url"}`): "messages[0].content[0].image_url", part(`{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}`): "messages[0].content[0].image_url.url",
		part(`{"type":"image_url","image_url":{"url":"data:image/png;base64,###"}}`):                   "messages[0].content[0].image_url.url",
		part(`{"type":"image_url","image_url":{"url":"data:text/html;base64,AAAA"}}`):                  "messages[0].content[0].image_url.url",
		part(`{"type":"image_url","image_url":{"url":"https://x/y","detail":"huge"}}`):                 "messages[0].content[0].image_url.detail",
		part(`{"type":"input_audio","input_audio":{"data":"AAA","format":"wav"}}`):                     "messages[0].content[0].input_audio",
		part(`{"type":"file","file":{}}`):                                                              "messages[0].content[0].file",
		part(`{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"9h"}}`):             "messages[0].content[0].cache_control.ttl",
		msg(`{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://x/y"}}]}`):    "messages[0].content[0].type",
		msg(`{"role":"assistant","content":[{"type":"image_url","image_url":{"url":"https://x/y"}}]}`): "messages[0].content[0].type",
		with(`"n":2`): "n", with(`"functions":[]`): "functions", with(`"max_tokens":0`): "max_tokens", with(`"max_tokens":1.5`): "max_tokens",
		with(`"max_tokens":1,"max_completion_tokens":2`): "max_tokens", with(`"temperature":3`): "temperature", with(`"temperature":"1"`): "temperature",
		with(`"stop":[1]`): "stop", with(`"stream":"yes"`): "stream", with(`"stream_options":1`): "stream_options",
		with(`"tools":[{"type":"web_search"}]`): "tools[0].type", with(`"tools":[{"type":"function","function":{"name":"a b"}}]`): "tools[0].function.name",
		with(`"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]`): "tools[1].function.name",
		with(`"tools":[{"type":"function","function":{"name":"f","parameters":[]}}]`):                             "tools[0].function.parameters",
		with(`"tool_choice":"always"`): "tool_choice", with(`"tool_choice":"required"`): "tool_choice",
		with(`"tool_choice":{"type":"function","function":{"name":"g"}},"tools":[{"type":"function","function":{"name":"f"}}]`): "tool_choice",
		with(`"response_format":{"type":"xml"}`): "response_format.type", with(`"response_format":{"type":"json_schema"}`): "response_format.json_schema",
		with(`"reasoning_effort":"much"`): "reasoning_effort", with(`"reasoning":{"effort":"low"},"reasoning_effort":"high"`): "reasoning_effort",
		with(`"stream":true,"modalities":["text","audio"]`): "modalities", with(`"parallel_tool_calls":1`): "parallel_tool_calls",
	}
	for body, param := range tests {
		r, _, err := ParseRequest([]byte(body))
		f := fault.As(err)
		if f == nil {
			t.Errorf("%s: accepted as %+v", body, r)
			continue
		}
		if f.Code != fault.InvalidRequest && f.Code != fault.UnsupportedMedia || f.Param != param || f.Message == "" {
			t.Errorf("%s: %v, param %q; want param %q", body, err, f.Param, param)
		}
	}
}

// TestRequireParameters: OpenRouter's word for strict mode; what else its field
// says stays for the vendor.
func TestRequireParameters(t *testing.T) {
	for text, want := range map[string]struct{ strict, kept bool }{
		`{"require_parameters":true}`: {true, false}, `{"require_parameters":false}`: {false, false}, `{"require_parameters":null}`: {false, true},
		`{"require_parameters":true,"order":["x"]}`: {true, true}, `{"order":["x"]}`: {false, true}, `{}`: {false, true}, `"x"`: {false, true}, `{"REQUIRE_PARAMETERS":true}`: {false, true},
	} {
		r, _, err := ParseRequest([]byte(`{"model":"m",` + hi + `,"provider":` + text + `}`))
		if err != nil || r.Strict != want.strict || (r.Extra["provider"] != nil) != want.kept || want.kept && string(r.Extra["provider"]) != text {
			t.Errorf("%s: strict %v, extra %s, %v", text, r.Strict, r.Extra, err)
		}
	}
	_, _, err := ParseRequest([]byte(`{"model":"m",` + hi + `,"provider":{"require_parameters":"yes"}}`))
	if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != "provider.require_parameters" {
		t.Errorf("%v", err)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"model":"m",` + hi + `,"stop":["a"],"tools":[{"type":"function","function":{"name":"f"}}]}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_data":"data:a/b;base64,AA=="}}]}]}`))
	f.Add([]byte(`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"x","function":{"name":"f"}}],"reasoning_details":[{}]}],"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, _, err := ParseRequest(body)
		if err != nil {
			if c := fault.CodeOf(err); c != fault.InvalidRequest && c != fault.UnsupportedMedia {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if r.Model == "" || len(r.Messages) == 0 {
			t.Fatalf("%q: %+v", body, r)
		}
		r.Needs()
	})
}

func TestEncodeError(t *testing.T) {
	e := fault.Wrap(fault.ProviderRateLimited, "x", "slow down", errors.New("secret cause"))
	e.Provider, e.RetryAfter, e.Param = "openrouter", 1500*time.Millisecond, "model"
	if got := string(EncodeError(nil, e, "req_1")); got != `{"error":{"message":"slow down","type":"rate_limit_error","code":"provider_rate_limited","param":"model","request_id":"req_1","provider":"openrouter","retryable":true,"retry_after":2}}` {
		t.Error(got)
	}
	if got := string(EncodeError(nil, errors.New("secret"), "r")); strings.Contains(got, "secret") || !strings.Contains(got, `"code":"internal"`) {
		t.Error(got)
	}
	frame := string(NewStreamEncoder(Shape{}).AppendError(nil, e, "r"))
	if !strings.HasPrefix(frame, `data: {"error":{`) || !strings.HasSuffix(frame, "}\n\n") || strings.Contains(frame, "DONE") {
		t.Error(frame)
	}
}

func TestCommentCannotBreakOut(t *testing.T) {
	if got := string(AppendComment(nil, "a\n\ndata: x\r")); got != ": a  data: x \n\n" {
		t.Errorf("%q", got)
	}
}

func TestUsageOnlyWhenAskedAndKnown(t *testing.T) {
	events := []model.Event{{Kind: model.EventStart, ID: "i", Name: "m"}, {Kind: model.EventText, Text: "x"},
		{Kind: model.EventFinish, Finish: model.FinishStop}, {Kind: model.EventUsage, Usage: &model.Usage{Input: 3, CachedRead: 2, Output: 1, Reasoning: 4, Source: model.UsageProvider}},
		{Kind: model.EventEnd}}
	run := func(s Shape, events []model.Event) string {
		e := NewStreamEncoder(s)
		var b []byte
		for _, ev := range events {
			b = e.Append(b, ev)
		}
		return string(b)
	}
	with := run(Shape{IncludeUsage: true, BillingSource: "byok"}, events)
	const usage = `"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":2,"cache_write_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":4,"audio_tokens":0},"billing_source":"byok"}}`
	if !strings.Contains(with, usage) || strings.Count(with, `"usage":null`) != 3 || !strings.HasSuffix(with, "\n\ndata: [DONE]\n\n") {
		t.Error(with)
	}
	if got := run(Shape{}, events); strings.Contains(got, "usage") {
		t.Error(got)
	}
	unknown := append(append([]model.Event(nil), events[:3]...), events[4])
	if got := run(Shape{IncludeUsage: true}, unknown); strings.Contains(got, "prompt_tokens") {
		t.Error(got)
	}
}

func BenchmarkAppendText(b *testing.B) {
	e := NewStreamEncoder(Shape{ID: "chatcmpl-1", Model: "m"})
	buf := e.Append(nil, model.Event{Kind: model.EventStart})
	b.ReportAllocs()
	for b.Loop() {
		buf = e.Append(buf[:0], model.Event{Kind: model.EventText, Text: "word and \"more\"\n"})
	}
}

func BenchmarkParse2KB(b *testing.B) {
	body := []byte(`{"model":"m","messages":[{"role":"system","content":"You are helpful."},{"role":"user","content":"` + strings.Repeat("word ", 400) + `"}],"temperature":0.5,"stream":true}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, _, err := ParseRequest(body); err != nil {
			b.Fatal(err)
		}
	}
}
