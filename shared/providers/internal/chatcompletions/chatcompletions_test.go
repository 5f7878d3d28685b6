package chatcompletions

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

func plain() Config {
	return Config{Vendor: wire.Vendor{ID: "test", Key: providers.KeyField{Header: "Authorization", Scheme: "Bearer"}}}
}

func ask(parts ...model.Part) *model.Request {
	return &model.Request{Model: "m", Messages: []model.Message{{Role: model.RoleUser, Parts: parts}}}
}

// TestRefusals: what a vendor cannot take is refused with the reason, never
// dropped.
func TestRefusals(t *testing.T) {
	k, on := 5, true
	image := model.Part{Kind: model.PartImage, Media: &model.Media{URL: "https://x/y.png"}}
	tests := map[string]struct {
		r    *model.Request
		code fault.Code
	}{
		"image":          {ask(image), fault.UnsupportedMedia},
		"audio":          {ask(model.Part{Kind: model.PartAudio, Media: &model.Media{Base64: "AA==", Format: "wav"}}), fault.UnsupportedMedia},
		"file":           {ask(model.Part{Kind: model.PartFile, Media: &model.Media{Base64: "AA==", MIME: "application/pdf"}}), fault.UnsupportedMedia},
		"image result":   {ask(model.Part{Kind: model.PartToolResult, Result: &model.ToolResult{CallID: "c", Parts: []model.Part{image}}}), fault.UnsupportedMedia},
		"tool call role": {ask(model.Part{Kind: model.PartToolCall, Call: &model.ToolCall{ID: "c", Name: "n"}}), fault.InvalidRequest},
		"top_k":          {&model.Request{Model: "m", Messages: ask(model.Text("x")).Messages, Sampling: model.Sampling{TopK: &k}}, fault.InvalidRequest},
		"reasoning":      {&model.Request{Model: "m", Messages: ask(model.Text("x")).Messages, Reasoning: model.Reasoning{Enabled: &on}}, fault.InvalidRequest},
		"text as tool": {&model.Request{Model: "m", Messages: []model.Message{{Role: model.RoleTool, Parts: []model.Part{model.Text("x")}}}},
			fault.InvalidRequest},
		"output": {&model.Request{Model: "m", Messages: ask(model.Text("x")).Messages, Output: model.Output{Kind: "xml"}}, fault.InvalidRequest},
	}
	for name, tt := range tests {
		if _, err := New(plain()).Encode(tt.r, false); fault.CodeOf(err) != tt.code || fault.As(err).Param == "" {
			t.Errorf("%s: %v (param %q)", name, err, fault.As(err).Param)
		}
	}
	effort := plain()
	effort.Models = []Model{{Reasoning: ReasoningEffort}}
	r := ask(model.Text("x"))
	r.Reasoning = model.Reasoning{MaxTokens: 100}
	if _, err := New(effort).Encode(r, false); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("budget: %v", err)
	}
}

// TestForeignExtraIsDropped: fields of another dialect mean something else, or
// nothing, here; and none may replace a field we write.
func TestForeignExtraIsDropped(t *testing.T) {
	r := ask(model.Text("x"))
	r.Dialect = "messages"
	r.Extra = map[string]json.RawMessage{"thinking": json.RawMessage(`{}`), "model": json.RawMessage(`"other"`)}
	b, err := New(plain()).Encode(r, false)
	if err != nil || strings.Contains(string(b), "thinking") {
		t.Errorf("%s, %v", b, err)
	}
	r.Dialect = model.DialectChat
	b, _ = New(plain()).Encode(r, false)
	if !strings.Contains(string(b), `"thinking":{}`) || strings.Contains(string(b), "other") {
		t.Errorf("%s", b)
	}
}

// TestStrictIsPassedOn to a vendor with a word for it, beside what the client says
// there, and overruling it; and to no other.
func TestStrictIsPassedOn(t *testing.T) {
	with := plain()
	with.Strict = Field{Name: "provider", JSON: `{"require_parameters":true}`}
	for extra, want := range map[string]string{
		"": `"provider":{"require_parameters":true}}`, `{}`: `"provider":{"require_parameters":true}}`,
		`{"order":["x"],"allow_fallbacks":false}`: `"provider":{"require_parameters":true,"allow_fallbacks":false,"order":["x"]}}`,
		`{"require_parameters":false,"z":1}`:      `"provider":{"require_parameters":true,"z":1}}`, `7`: `"provider":7}`,
	} {
		r := ask(model.Text("x"))
		r.Dialect, r.Strict = model.DialectChat, true
		if extra != "" {
			r.Extra = map[string]json.RawMessage{"provider": json.RawMessage(extra)}
		}
		b, err := New(with).Encode(r, false)
		if err != nil || !strings.HasSuffix(string(b), want) || strings.Count(string(b), `"provider"`) != 1 || !json.Valid(b) {
			t.Errorf("%s: %s, %v", extra, b, err)
		}
		r.Strict = false
		if b, _ = New(with).Encode(r, false); extra == "" && strings.Contains(string(b), "require_parameters") || extra != "" && !strings.HasSuffix(string(b), `"provider":`+extra+`}`) {
			t.Errorf("not strict, %s: %s", extra, b)
		}
	}
	r := ask(model.Text("x"))
	r.Strict = true
	if b, _ := New(plain()).Encode(r, false); strings.Contains(string(b), "require_parameters") {
		t.Errorf("%s", b)
	}
}

// TestModelsWithoutAField: an unknown field that the model is known to lack is
// named, so that the gateway takes it out.
func TestModelsWithoutAField(t *testing.T) {
	c := plain()
	c.Models = []Model{{Without: []string{"logprobs", "seed"}, Fixed: []Fixed{{Name: "temperature", Values: []float64{1}}}}}
	one, other, seed := 1.0, 0.5, int64(1)
	r := ask(model.Text("x"))
	r.Dialect, r.Extra = model.DialectChat, map[string]json.RawMessage{"logprobs": json.RawMessage(`true`), "kept": json.RawMessage(`1`)}
	r.Sampling = model.Sampling{Temperature: &one, TopP: &other, Seed: &seed}
	if got := New(c).Uncarried("m", r); !slices.Equal(got, []string{"seed", "logprobs"}) {
		t.Errorf("%q", got)
	}
	r.Sampling.Temperature = &other
	if got := New(c).Uncarried("m", r); !slices.Equal(got, []string{"seed", "temperature", "logprobs"}) {
		t.Errorf("%q", got)
	}
}

func TestSchemaBytesAreKept(t *testing.T) {
	schema := `{ "z":1,"a" : {"<&>":"\u00e9"},
 "m":[ ]}`
	r := ask(model.Text("x"))
	r.Tools = []model.Tool{{Name: "f", Schema: json.RawMessage(schema)}}
	r.Output = model.Output{Kind: model.OutputJSONSchema, Name: "o", Schema: json.RawMessage(schema)}
	b, err := New(plain()).Encode(r, false)
	if err != nil || strings.Count(string(b), schema) != 2 || !json.Valid(b) {
		t.Errorf("%s, %v", b, err)
	}
}

func chunks(n int) []byte {
	var b bytes.Buffer
	frame := func(delta, finish, usage string) {
		fmt.Fprintf(&b, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1763700000,"model":"m-1","system_fingerprint":"fp",`+
			`"choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}],"usage":%s}`+"\n\n", delta, finish, usage)
	}
	frame(`{"role":"assistant","content":""}`, "null", "null")
	for i := range n {
		frame(fmt.Sprintf(`{"content":"word%d "}`, i), "null", "null")
	}
	frame(`{}`, `"stop"`, "null")
	b.WriteString(`data: {"id":"chatcmpl-1","model":"m-1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60}}` + "\n\n")
	b.WriteString("data: [DONE]\n\n")
	return b.Bytes()
}

func drain(s model.Stream) (n int, err error) {
	for {
		if _, err := s.Next(); err != nil {
			return n, err
		}
		n++
	}
}

func BenchmarkStream50(b *testing.B) {
	body := chunks(50)
	c := New(plain())
	rd := bytes.NewReader(nil)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		rd.Reset(body)
		if n, err := drain(c.NewStream(rd)); err != io.EOF || n != 54 {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/53, "ns/frame")
}

func BenchmarkEncode2KB(b *testing.B) {
	r := ask(model.Text(strings.Repeat("word ", 400)))
	c := New(plain())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Encode(r, true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"id":"chatcmpl-1","object":"chat.completion","created":1763700000,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("word ", 200) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60}}`)
	c := New(plain())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(body); err != nil {
			b.Fatal(err)
		}
	}
}

// TestStreamAllocations keeps the cost of a delta from growing unnoticed.
func TestStreamAllocations(t *testing.T) {
	c := New(plain())
	body := chunks(50)
	got := testing.AllocsPerRun(20, func() { _, _ = drain(c.NewStream(bytes.NewReader(body))) })
	if got > 130 {
		t.Errorf("%v allocations for 53 frames", got)
	}
}

func FuzzStream(f *testing.F) {
	f.Add(chunks(2))
	f.Add([]byte(`data: {"choices":[{"delta":{"tool_calls":[{"index":1,"id":"a","function":{"name":"f","arguments":{"a":1}}}]},"finish_reason":"stop"}]}` + "\n\n"))
	f.Add([]byte(`data: {"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"x","index":-1}]}}],"usage":{"prompt_tokens":-1}}` + "\n\ndata: [DONE]\n\n"))
	f.Add([]byte("data: {\"error\":{\"code\":429}}\n\n"))
	cfg := plain()
	cfg.DoneEnds = true
	c := New(cfg)
	f.Fuzz(func(t *testing.T, body []byte) {
		s := c.NewStream(bytes.NewReader(body))
		finished, ended := false, false
		for range 100000 {
			ev, err := s.Next()
			if err == io.EOF {
				if !finished || !ended {
					t.Fatal("ended without finish and end")
				}
				return
			}
			if err != nil {
				if fault.As(err).Provider != "test" {
					t.Fatalf("foreign error %v", err)
				}
				return
			}
			if ended {
				t.Fatal("an event after the end")
			}
			finished = finished || ev.Kind == model.EventFinish
			ended = ev.Kind == model.EventEnd
			if ev.Usage != nil && ev.Usage.Validate() != nil {
				t.Fatalf("usage %+v", ev.Usage)
			}
		}
		t.Fatal("endless")
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"choices":[{"message":{"content":[{"type":"text","text":"x"}],"tool_calls":[{"function":{"name":"f","arguments":{}}}]},"finish_reason":"length"}],"usage":{"prompt_tokens":1e3}}`))
	f.Add([]byte(`{"error":{"code":"x","message":1}}`))
	f.Add([]byte(`{"choices":[{"message":{"images":[{"image_url":{"url":"data:;base64,AA=="}}],"audio":{"id":"a"}}}],"usage":{"prompt_tokens":9,"prompt_tokens_details":null}}`))
	c := New(plain())
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := c.Decode(body)
		if err != nil {
			if fault.As(err).Provider != "test" {
				t.Fatalf("foreign error %v", err)
			}
			return
		}
		if r.Finish == "" || r.Usage.Validate() != nil {
			t.Fatalf("%+v", r)
		}
	})
}

// FuzzFastText: the short way and the general way give the same event.
func FuzzFastText(f *testing.F) {
	f.Add([]byte(`{"id":"x","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"a\\n\\u00e9"},"finish_reason":null}]}`))
	f.Add([]byte(`{"choices":[{"delta":{"role":"assistant","content":"é","refusal":null},"logprobs":null}],"usage":null}`))
	f.Add([]byte(`{"choices":[{"index":1,"delta":{"content":"a"}}]}`))
	cfg := plain()
	f.Fuzz(func(t *testing.T, data []byte) {
		text, ok := fastText(data)
		if !ok {
			return
		}
		s := &stream{cfg: &cfg, begun: true}
		// A finished stream takes the general way.
		s.finish.Kind = model.EventFinish
		if err := s.frame(data); err == nil || fault.CodeOf(err) != fault.ProviderError {
			t.Fatalf("%q: text after the finish gave %v", data, err)
		}
		if len(s.chunk.Choices) != 1 || s.chunk.Choices[0].Delta.Content.text != text || len(s.chunk.Error)+len(s.chunk.Usage) > 0 {
			t.Fatalf("%q: %q, but %+v", data, text, s.chunk)
		}
	})
}

// TestFastTextIsNarrow: a chunk that says more than its text takes the general
// way, or what it says would be lost.
func TestFastTextIsNarrow(t *testing.T) {
	chunk := func(choice, top string) []byte {
		return []byte(`{"id":"x","choices":[{"index":0,"delta":{"content":"a"}` + choice + `}]` + top + `}`)
	}
	if text, ok := fastText(chunk(`,"finish_reason":null,"logprobs":null`, `,"usage":null`)); !ok || text != "a" {
		t.Fatalf("%q, %v", text, ok)
	}
	for _, data := range [][]byte{
		chunk("", `,"usage":{"prompt_tokens":1}`), chunk("", `,"error":{"code":500}`), chunk(`,"finish_reason":"stop"`, ""),
		chunk(`,"logprobs":{"content":[]}`, ""), chunk(`,"error":{"code":500}`, ""), chunk(`},{"index":1,"delta":{"content":"b"}`, ""),
		[]byte(`{"choices":[{"index":1,"delta":{"content":"a"}}]}`),
		[]byte(`{"choices":[{"delta":{"content":"a","tool_calls":[{"index":0}]}}]}`),
		[]byte(`{"choices":[{"delta":{"content":"a","reasoning":"b"}}]}`),
		[]byte(`{"choices":[{"delta":{"content":"a","refusal":"b"}}]}`),
		[]byte(`{"choices":[{"delta":{"content":"a","content":"b"}}]}`),
		[]byte(`{"choices":[{"delta":{"content":""}}]}`), []byte(`{"choices":[{"delta":{"content":["a"]}}]}`),
		[]byte(`{"choices":[{"delta":{"content":"a"}}]} x`), []byte(`{"choices":[{"delta":{"content":"\xff"}}]}`),
	} {
		if text, ok := fastText(data); ok {
			t.Errorf("%s was taken as %q", data, text)
		}
	}
}

// TestCacheKey: a vendor that groups requests by a key gets ours, not a client's,
// and any other gets none.
func TestCacheKey(t *testing.T) {
	r := ask(model.Text("x"))
	r.Dialect, r.CacheKey = model.DialectChat, "ours"
	r.Extra = map[string]json.RawMessage{"prompt_cache_key": json.RawMessage(`"theirs"`)}
	with := plain()
	with.CacheKey = true
	for want, c := range map[string]Config{`"prompt_cache_key":"ours"`: with, `"prompt_cache_key":"theirs"`: plain()} {
		body, err := New(c).Encode(r, false)
		if err != nil || strings.Count(string(body), "prompt_cache_key") != 1 || !strings.Contains(string(body), want) {
			t.Errorf("%s, %v; want %s", body, err, want)
		}
	}
	r.CacheKey = ""
	if body, _ := New(with).Encode(r, false); !strings.Contains(string(body), `"prompt_cache_key":"theirs"`) {
		t.Errorf("a call on an own key lost its field: %s", body)
	}
}
