package chatcompletions

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/model"
)

// phrase draws text that JSON carries unchanged.
func phrase(t *rapid.T, label string) string {
	return rapid.StringN(1, 12, 40).Draw(t, label)
}

func drawUsage(t *rapid.T) *model.Usage {
	n := func(l string) int64 { return rapid.Int64Range(0, 1<<30).Draw(t, l) }
	return &model.Usage{Input: n("in"), CachedRead: n("read"), CacheWrite5m: n("write"), InputAudio: n("audio"), InputImage: n("image"),
		Output: n("out"), Reasoning: n("think"), OutputAudio: n("speak"), Source: model.UsageProvider}
}

// drawEvents draws a stream that keeps the grammar.
func drawEvents(t *rapid.T) []model.Event {
	events := []model.Event{{Kind: model.EventStart, ID: "chatcmpl-1", Name: "m", Created: 5}}
	blocks := rapid.IntRange(0, 3).Draw(t, "thinking")
	for i := range blocks {
		// The format tells neighbouring blocks apart by their index.
		for range rapid.IntRange(1, 3).Draw(t, "pieces") {
			ev := model.Event{Kind: model.EventReasoning, Index: i, Text: phrase(t, "thought")}
			if rapid.Bool().Draw(t, "signed") {
				ev.Reasoning = &model.Reasoned{Signature: phrase(t, "sig"), Format: "f"}
			}
			events = append(events, ev)
		}
	}
	for range rapid.IntRange(0, 5).Draw(t, "texts") {
		kind := model.EventText
		if rapid.IntRange(0, 9).Draw(t, "refuses") == 0 {
			kind = model.EventRefusal
		}
		events = append(events, model.Event{Kind: kind, Text: phrase(t, "text")})
	}
	tools := rapid.IntRange(0, 3).Draw(t, "tools")
	for i := range tools {
		end := model.Event{Kind: model.EventToolEnd, Index: i}
		if rapid.Bool().Draw(t, "late signature") {
			end.Signature = phrase(t, "sig")
		}
		events = append(events, model.Event{Kind: model.EventToolStart, Index: i, ID: "call_" + string(rune('a'+i)), Name: "f"})
		for range rapid.IntRange(1, 3).Draw(t, "fragments") {
			events = append(events, model.Event{Kind: model.EventToolArgs, Index: i, Text: phrase(t, "args")})
		}
		events = append(events, end)
	}
	finish := rapid.SampledFrom([]model.FinishReason{model.FinishStop, model.FinishLength, model.FinishContentFilter}).Draw(t, "finish")
	if tools > 0 && finish == model.FinishStop {
		finish = model.FinishToolCalls
	}
	events = append(events, model.Event{Kind: model.EventFinish, Finish: finish, Native: "native_word"})
	return append(events, model.Event{Kind: model.EventUsage, Usage: drawUsage(t)}, model.Event{Kind: model.EventEnd})
}

// TestRoundTripStream: what we serve, our own adapter reads as the same events.
func TestRoundTripStream(t *testing.T) {
	c := New(plain())
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvents(t)
		enc := openaichat.NewStreamEncoder(openaichat.Shape{IncludeUsage: true, ReasoningContent: rapid.Bool().Draw(t, "content")})
		var body []byte
		for _, ev := range want {
			body = enc.Append(body, ev)
			body = openaichat.AppendComment(body, "keep-alive")
		}
		s := c.NewStream(bytes.NewReader(body))
		var got []model.Event
		for {
			ev, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, body)
			}
			if ev.Usage != nil {
				ev.Usage.Raw = nil
			}
			got = append(got, ev)
		}
		if !reflect.DeepEqual(got, want) {
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			t.Fatalf("got  %s\nwant %s", a, b)
		}
	})
}

// TestRoundTripResponse: the same for whole answers, and both ways of serving
// one answer agree.
func TestRoundTripResponse(t *testing.T) {
	c := New(plain())
	rapid.Check(t, func(t *rapid.T) {
		var b model.Builder
		for _, ev := range drawEvents(t) {
			b.Add(ev)
		}
		r := b.Response()
		body := openaichat.EncodeResponse(nil, r, openaichat.Shape{})
		got, err := c.Decode(body)
		if err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		got.Usage.Raw = nil
		// The format has one text and one refusal, in this order.
		if got.Text() != r.Text() || got.Refusal() != r.Refusal() || !reflect.DeepEqual(got.ToolCalls(), r.ToolCalls()) ||
			!reflect.DeepEqual(thoughts(got), thoughts(r)) || got.Finish != r.Finish || got.NativeFinish != r.NativeFinish ||
			!reflect.DeepEqual(got.Usage, r.Usage) || got.ID != r.ID || got.Created != r.Created {
			x, _ := json.Marshal(got)
			y, _ := json.Marshal(r)
			t.Fatalf("got  %s\nwant %s", x, y)
		}
	})
}

func thoughts(r *model.Response) (out []model.Reasoned) {
	for _, p := range r.Message.Parts {
		if p.Reasoning != nil {
			out = append(out, *p.Reasoning)
		}
	}
	return out
}

// TestRoundTripRequest: a parsed request is sent on with the same meaning.
func TestRoundTripRequest(t *testing.T) {
	cfg := plain()
	cfg.CacheControl = true
	cfg.Models = []Model{{Media: Media{ImageURL: true, ImageData: true, Audio: AudioObject, Files: FilePart, FileURL: true, InTools: true},
		TopK: true, Reasoning: ReasoningObject, Replay: ReplayDetails}}
	body := []byte(`{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}},` +
		`{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"input_audio","input_audio":{"data":"AAAA","format":"mp3"}},{"type":"file","file":{"filename":"f","file_id":"x"}}]},` +
		`{"role":"assistant","content":"c","refusal":"r","reasoning_details":[{"type":"reasoning.text","text":"t","signature":"s","format":"f","index":0}],"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},` +
		`{"role":"tool","tool_call_id":"1","content":[{"type":"image_url","image_url":{"url":"https://x/y"}}]}],` +
		`"tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}}],"tool_choice":"required","parallel_tool_calls":true,"response_format":{"type":"json_object"},` +
		`"max_tokens":7,"temperature":0.1,"seed":1,"stop":["x"],"reasoning":{"effort":"low","max_tokens":9},"user":"u","logit_bias":{"1":1}}`)
	first, _, err := openaichat.ParseRequest(body)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := New(cfg).Encode(first, false)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := openaichat.ParseRequest(sent)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, second) {
		t.Errorf("sent %s", sent)
	}
}
