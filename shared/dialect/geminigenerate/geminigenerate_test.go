package geminigenerate

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

func with(members string) string {
	return `{"contents":[{"role":"user","parts":[{"text":"hi"}]}]` + members + `}`
}

func parts(role, list string) string {
	return `{"contents":[{"role":"` + role + `","parts":[` + list + `]}]}`
}

func TestRefusals(t *testing.T) {
	const unsupported = fault.UnsupportedMedia
	for _, c := range []struct {
		text, param string
		code        fault.Code
	}{
		{`[]`, "", ""},
		{`{}`, "contents", ""},
		{`{"contents":[]}`, "contents", ""},
		{parts("user", ``), "contents[0].parts", ""},
		{parts("tool", `{"text":"x"}`), "contents[0].role", ""},
		{parts("user", `{"executableCode":{}}`), "contents[0].parts[0]", unsupported},
		{parts("model", `{"inlineData":{"mimeType":"image/png","data":"AAAA"}}`), "contents[0].parts[0]", ""},
		{parts("user", `{"inlineData":{"mimeType":"image/png","data":"?"}}`), "contents[0].parts[0].inlineData.data", ""},
		{parts("user", `{"inlineData":{"data":"AAAA"}}`), "contents[0].parts[0].mimeType", ""},
		{parts("user", `{"fileData":{"mimeType":"image/png","fileUri":"gs://x/y"}}`), "contents[0].parts[0].fileData.fileUri", ""},
		{parts("user", `{"functionResponse":{"name":"f","response":{}}}`), "contents[0].parts[0].functionResponse.name", ""},
		{parts("user", `{"functionResponse":{"id":"a","response":"x"}}`), "contents[0].parts[0].functionResponse.response", ""},
		{parts("model", `{"functionCall":{"args":{}}}`), "contents[0].parts[0].functionCall", ""},
		{parts("model", `{"functionCall":{"name":"f","args":[1]}}`), "contents[0].parts[0].functionCall.args", ""},
		{with(`,"systemInstruction":{"parts":[{"inlineData":{}}]}`), "systemInstruction.parts[0]", ""},
		{with(`,"cachedContent":"cachedContents/x"`), "cachedContent", ""},
		{with(`,"tools":[{"googleSearch":{}}]`), "tools[0].googleSearch", ""},
		{with(`,"tools":[{"functionDeclarations":[{"name":"a b"}]}]`), "tools[0].functionDeclarations[0].name", ""},
		{with(`,"tools":[{"functionDeclarations":[{"name":"a"}]},{"functionDeclarations":[{"name":"a"}]}]`), "tools[1].functionDeclarations[0].name", ""},
		{with(`,"toolConfig":{"functionCallingConfig":{"mode":"ANY"}}`), "toolConfig.functionCallingConfig.mode", ""},
		{with(`,"tools":[{"functionDeclarations":[{"name":"a"}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["b"]}}`), "toolConfig.functionCallingConfig.allowedFunctionNames", ""},
		{with(`,"generationConfig":{"candidateCount":2}`), "generationConfig.candidateCount", ""},
		{with(`,"generationConfig":{"maxOutputTokens":0}`), "generationConfig.maxOutputTokens", ""},
		{with(`,"generationConfig":{"responseMimeType":"text/x.enum"}`), "generationConfig.responseMimeType", ""},
		{with(`,"generationConfig":{"responseSchema":{"type":"OBJECT"}}`), "generationConfig.responseMimeType", ""},
		{with(`,"generationConfig":{"responseModalities":["AUDIO"]}`), "generationConfig.responseModalities", unsupported},
		{with(`,"generationConfig":{"speechConfig":{}}`), "generationConfig.speechConfig", ""},
		{with(`,"generationConfig":{"thinkingConfig":{"thinkingLevel":"huge"}}`), "generationConfig.thinkingConfig.thinkingLevel", ""},
	} {
		_, err := ParseRequest("m", false, []byte(c.text))
		want := c.code
		if want == "" {
			want = fault.InvalidRequest
		}
		f := fault.As(err)
		if f == nil || f.Code != want || f.Param != c.param {
			t.Errorf("%s: %v, %+v", c.text, err, f)
		}
	}
	if _, err := ParseRequest("", false, []byte(with(""))); fault.As(err).Param != "model" {
		t.Errorf("no model: %v", err)
	}
}

const wholeRequest = `{"systemInstruction":{"parts":[{"text":"s"}]},
"contents":[{"parts":[{"text":"x"},{"inline_data":{"mime_type":"image/png","data":"AAA_"}},{"fileData":{"mimeType":"application/pdf","fileUri":"https://a/b"}},{"inlineData":{"mimeType":"audio/mpeg","data":"AAAA"}}]},
{"role":"model","parts":[{"text":"hm","thought":true,"thoughtSignature":"c2ln"},{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"Y2FsbA"},{"functionCall":{"name":"f"}}]},
{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"output":"one"}}},{"functionResponse":{"name":"f","response":{"error":"two"}}},{"text":"on"}]}],
"tools":[{"functionDeclarations":[{"name":"f","description":"d","parameters":{"type":"OBJECT","properties":{"type":{"type":"STRING","enum":["STRING"]}}}},{"name":"g","parametersJsonSchema":{"type":"object"}}]}],
"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["f"]}},
"generationConfig":{"maxOutputTokens":9,"stopSequences":["e"],"temperature":1.5,"topP":0.5,"topK":40.0,"seed":3,"responseMimeType":"application/json",
"responseSchema":{"type":"OBJECT","nullable":true},"thinkingConfig":{"includeThoughts":true,"thinkingBudget":100}},"safetySettings":[]}`

func TestWholeRequest(t *testing.T) {
	r, err := ParseRequest("m", true, []byte(wholeRequest))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"model":"m","messages":[{"role":"system","parts":[{"kind":"text","text":"s"}]},` +
		`{"role":"user","parts":[{"kind":"text","text":"x"},{"kind":"image","media":{"base64":"AAA/","mime":"image/png"}},` +
		`{"kind":"file","media":{"url":"https://a/b","mime":"application/pdf"}},{"kind":"audio","media":{"base64":"AAAA","mime":"audio/mpeg","format":"mp3"}}]},` +
		`{"role":"assistant","parts":[{"kind":"reasoning","reasoning":{"text":"hm","signature":"c2ln","format":"google-gemini-v1"}},` +
		`{"kind":"tool_call","call":{"id":"call_0","name":"f","args":"{\"a\":1}","signature":"Y2FsbA"}},{"kind":"tool_call","call":{"id":"call_1","name":"f","args":"{}"}}]},` +
		`{"role":"tool","parts":[{"kind":"tool_result","result":{"call_id":"call_0","parts":[{"kind":"text","text":"{\"output\":\"one\"}"}]}},` +
		`{"kind":"tool_result","result":{"call_id":"call_1","parts":[{"kind":"text","text":"{\"error\":\"two\"}"}],"is_error":true}}]},` +
		`{"role":"user","parts":[{"kind":"text","text":"on"}]}],` +
		`"tools":[{"name":"f","description":"d","schema":{"type":"object","properties":{"type":{"type":"string","enum":["STRING"]}}}},{"name":"g","schema":{"type":"object"}}],` +
		`"tool_choice":{"mode":"named","name":"f"},"output":{"kind":"json_schema","name":"answer","schema":{"type":"object","nullable":true},"strict":true},"max_output_tokens":9,` +
		`"sampling":{"temperature":1.5,"top_p":0.5,"top_k":40,"seed":3},"stop":["e"],"reasoning":{"max_tokens":100,"enabled":true},"stream":true,` +
		`"extra":{"safetySettings":[]},"dialect":"generate_content"}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func events() []model.Event {
	return []model.Event{{Kind: model.EventStart, ID: "r1", Name: "m"},
		{Kind: model.EventReasoning, Text: "hm"}, {Kind: model.EventReasoning, Reasoning: &model.Reasoned{Signature: "c2ln", Format: "other-v1"}},
		{Kind: model.EventText, Text: "Hel"}, {Kind: model.EventText, Text: "lo"},
		{Kind: model.EventToolStart, ID: "call_1", Name: "f", Signature: "Y2FsbA"}, {Kind: model.EventToolArgs, Text: `{"a":`}, {Kind: model.EventToolArgs, Text: `1}`}, {Kind: model.EventToolEnd},
		{Kind: model.EventFinish, Finish: model.FinishToolCalls, Native: "tool_use"},
		{Kind: model.EventUsage, Usage: &model.Usage{Input: 5, CachedRead: 7, Output: 2, Reasoning: 1, Source: model.UsageProvider}}, {Kind: model.EventEnd}}
}

type answerJSON struct {
	Candidates []struct {
		Content struct {
			Role  string
			Parts []map[string]any
		}
		FinishReason string
	}
	UsageMetadata map[string]int64
	ModelVersion  string
	ResponseID    string
	Error         *struct {
		Code            int
		Status, Message string
		Details         []map[string]any
	}
}

// TestAnswers holds the whole answer and the stream to the same content, and
// both to what comes back in the next request.
func TestAnswers(t *testing.T) {
	var b model.Builder
	var stream []byte
	enc := NewStreamEncoder(Shape{})
	for _, ev := range events() {
		b.Add(ev)
		stream = enc.Append(stream, ev)
	}
	raw, err := EncodeResponse(nil, b.Response(), Shape{})
	if err != nil {
		t.Fatal(err)
	}
	var whole answerJSON
	if err := json.Unmarshal(raw, &whole); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	u := whole.UsageMetadata
	if u["promptTokenCount"] != 12 || u["cachedContentTokenCount"] != 7 || u["candidatesTokenCount"] != 2 || u["thoughtsTokenCount"] != 1 || u["totalTokenCount"] != 15 {
		t.Errorf("usage %v", u)
	}
	if c := whole.Candidates[0]; c.FinishReason != "STOP" || c.Content.Role != "model" || len(c.Content.Parts) != 3 || whole.ResponseID != "r1" {
		t.Fatalf("%s", raw)
	}
	var streamed []map[string]any
	var last answerJSON
	for _, frame := range strings.Split(strings.TrimSuffix(string(stream), "\r\n\r\n"), "\r\n\r\n") {
		last = answerJSON{}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(frame, "data: ")), &last); err != nil {
			t.Fatalf("%q: %v", frame, err)
		}
		streamed = append(streamed, last.Candidates[0].Content.Parts...)
	}
	if last.Candidates[0].FinishReason != "STOP" || last.UsageMetadata["totalTokenCount"] != 15 || len(streamed) != 5 {
		t.Errorf("%+v, %d parts", last, len(streamed))
	}
	for name, list := range map[string][]map[string]any{"whole": whole.Candidates[0].Content.Parts, "stream": streamed} {
		history, _ := json.Marshal(map[string]any{"contents": []any{map[string]any{"role": "model", "parts": list}}})
		r, err := ParseRequest("m", false, history)
		if err != nil {
			t.Fatal(err)
		}
		text, thought, signature, call := "", "", "", model.ToolCall{}
		for _, p := range r.Messages[0].Parts {
			text += p.Text
			if p.Reasoning != nil {
				thought += p.Reasoning.Text
				if p.Reasoning.Signature != "" {
					signature = p.Reasoning.Format + " " + p.Reasoning.Signature
				}
			}
			if p.Call != nil {
				call = *p.Call
			}
		}
		if text != "Hello" || thought != "hm" || signature != "other-v1 c2ln" || call != (model.ToolCall{ID: "call_1", Name: "f", Args: `{"a":1}`, Signature: "Y2FsbA"}) {
			t.Errorf("%s: %q %q %q %+v", name, text, thought, signature, call)
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	enc := NewStreamEncoder(Shape{})
	var out []byte
	for _, ev := range []model.Event{{Kind: model.EventStart}, {Kind: model.EventText, Text: "a"}, {Kind: model.EventFinish, Finish: model.FinishError}, {Kind: model.EventEnd}} {
		out = enc.Append(out, ev)
	}
	if strings.Contains(string(out), "finishReason") || !strings.Contains(string(out), `"status":"UNAVAILABLE"`) {
		t.Errorf("%s", out)
	}
	if _, err := EncodeResponse(nil, &model.Response{Finish: model.FinishError}, Shape{}); fault.CodeOf(err) != fault.ProviderError {
		t.Errorf("%v", err)
	}
	for finish, want := range map[model.FinishReason]string{model.FinishLength: "MAX_TOKENS", model.FinishStop: "STOP", model.FinishContentFilter: "SAFETY"} {
		if got := finishReason(finish, "x"); got != want {
			t.Errorf("%s: %s", finish, got)
		}
	}
	if got := finishReason(model.FinishContentFilter, "RECITATION"); got != "RECITATION" {
		t.Error(got)
	}
	out = NewStreamEncoder(Shape{}).Append(nil, model.Event{Kind: model.EventEnd})
	if strings.Contains(string(out), "finishMessage") {
		t.Errorf("%s", out)
	}
	enc = NewStreamEncoder(Shape{})
	enc.Append(nil, model.Event{Kind: model.EventFinish, Finish: model.FinishCreditExhausted})
	if out = enc.Append(nil, model.Event{Kind: model.EventEnd}); !strings.Contains(string(out), `"finishReason":"CREDIT_EXHAUSTED","finishMessage":"credit_exhausted: `) {
		t.Errorf("%s", out)
	}
}

func TestErrors(t *testing.T) {
	f := *fault.New(fault.RateLimited, "x", "slow down")
	f.RetryAfter = 1500e6
	var a answerJSON
	if raw := EncodeError(nil, &f, "req_1"); json.Unmarshal(raw, &a) != nil || a.Error.Code != 429 || a.Error.Status != "RESOURCE_EXHAUSTED" ||
		len(a.Error.Details) != 3 || a.Error.Details[0]["reason"] != "rate_limited" || a.Error.Details[1]["requestId"] != "req_1" ||
		a.Error.Details[2]["retryDelay"] != "2s" {
		t.Errorf("%s", raw)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(wholeRequest))
	f.Add([]byte(parts("model", `{"functionCall":{"name":"f"}},{"text":"","thoughtSignature":"latchkey:YQ:b"}`)))
	f.Add([]byte(with(`,"generation_config":{"response_schema":{"type":["STRING","NULL"]},"response_mime_type":"application/json"}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRequest("m", false, text)
		if err != nil {
			if c := fault.CodeOf(err); c != fault.InvalidRequest && c != fault.UnsupportedMedia {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(r.Output.Schema) > 0 && !json.Valid(r.Output.Schema) {
			t.Fatalf("schema %s", r.Output.Schema)
		}
		for _, tool := range r.Tools {
			if len(tool.Schema) > 0 && !json.Valid(tool.Schema) {
				t.Fatalf("schema %s", tool.Schema)
			}
		}
		for _, m := range r.Messages {
			for _, p := range m.Parts {
				if (p.Kind == model.PartToolResult) != (m.Role == model.RoleTool) {
					t.Fatalf("%s in a message of %s", p.Kind, m.Role)
				}
			}
		}
	})
}
