package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers/internal/events"
	"github.com/latchkey/latchkey/shared/secret"
)

// server answers requests one after another.
type server struct {
	replies []replay.Reply
	sent    []string
}

// RoundTrip implements [http.RoundTripper].
func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	s.sent = append(s.sent, req.Method+" "+req.URL.RequestURI()+" "+req.Header.Get("X-Api-Key")+" "+string(body))
	if len(s.replies) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	r := s.replies[0]
	s.replies = s.replies[1:]
	return &http.Response{StatusCode: r.Status, Header: r.Header, Body: io.NopCloser(bytes.NewReader(r.Body)), Request: req}, nil
}

func reply(status int, body string) replay.Reply {
	return replay.Reply{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)}
}

func (s *server) target() model.Target {
	return model.Target{BaseURL: "https://vendor.invalid/v1", Key: secret.FromString("sk-ant-0123456789abcdef"), HTTP: &http.Client{Transport: s}}
}

func ask(text string) *model.Request {
	return &model.Request{Model: "claude-opus-4-6", Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text(text)}}}}
}

func TestCountTokens(t *testing.T) {
	s := &server{replies: []replay.Reply{reply(200, `{"input_tokens":2095}`)}}
	r, warm := ask("hi"), 0.5
	r.Stop, r.User, r.Sampling.Temperature, r.Dialect = []string{"x"}, "u", &warm, model.DialectMessages
	r.Extra = map[string]json.RawMessage{"service_tier": []byte(`"auto"`), "cache_control": []byte(`{"type":"ephemeral"}`)}
	r.Reasoning.MaxTokens = 2000
	r.Tools = []model.Tool{{Name: "f"}}
	var counter model.TokenCounter = New()
	n, err := counter.CountTokens(t.Context(), model.Call{Target: s.target(), Request: r})
	if err != nil || n != 2095 {
		t.Fatal(n, err)
	}
	want := `POST /v1/messages/count_tokens sk-ant-0123456789abcdef {"model":"claude-opus-4-6","messages":[{"role":"user","content":"hi"}],` +
		`"tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}],"thinking":{"type":"enabled","budget_tokens":2000},"cache_control":{"type":"ephemeral"}}`
	if s.sent[0] != want {
		t.Errorf("sent %s\nwant %s", s.sent[0], want)
	}
	for body, code := range map[string]fault.Code{`{}`: fault.ProviderError, `{"input_tokens":-1}`: fault.ProviderError, `x`: fault.ProviderError,
		`{"input_tokens":1e99}`: fault.ProviderError} {
		_, err := counter.CountTokens(t.Context(), model.Call{Target: (&server{replies: []replay.Reply{reply(200, body)}}).target(), Request: ask("x")})
		if fault.CodeOf(err) != code {
			t.Errorf("%s: %v", body, err)
		}
	}
	_, err = counter.CountTokens(t.Context(), model.Call{Target: (&server{replies: []replay.Reply{reply(401, `{}`)}}).target(), Request: ask("x")})
	if fault.CodeOf(err) != fault.ProviderKeyInvalid {
		t.Error(err)
	}
}

func TestListModels(t *testing.T) {
	page1 := `{"data":[{"type":"model","id":"claude-opus-5-5","display_name":"Claude Opus 5.5","lifecycle":"active","max_input_tokens":1000000,"max_tokens":128000,
		"capabilities":{"image_input":{"supported":true},"pdf_input":{"supported":true},"structured_outputs":{"supported":true},"thinking":{"supported":false}}},
		{"id":"claude-2","lifecycle":"retired"},{"id":"bad id\n"}],"has_more":true,"first_id":"a","last_id":"claude-2"}`
	page2 := `{"data":[{"id":"claude-x","display_name":"bad\u0000name","max_tokens":null}],"has_more":false,"last_id":null}`
	s := &server{replies: []replay.Reply{reply(200, page1), reply(200, page2)}}
	got, err := Registration().ListModels(t.Context(), s.target())
	if err != nil {
		t.Fatal(err)
	}
	want := []model.Listed{{ID: "claude-opus-5-5", Name: "Claude Opus 5.5", ContextTokens: 1000000, MaxOutputTokens: 128000,
		Inputs: []string{"text", "image", "pdf"}, Outputs: []string{"text"}, Parameters: []string{"tools", "response_format"}}, {ID: "claude-x"}}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v", got)
	}
	if sent := []string{"GET /v1/models?limit=1000 sk-ant-0123456789abcdef ", "GET /v1/models?limit=1000&after_id=claude-2 sk-ant-0123456789abcdef "}; !slices.Equal(s.sent, sent) {
		t.Errorf("%q", s.sent)
	}
	endless := make([]replay.Reply, 120)
	for i := range endless {
		endless[i] = reply(200, fmt.Sprintf(`{"data":[],"has_more":true,"last_id":"m%d"}`, i))
	}
	for name, replies := range map[string][]replay.Reply{"endless": endless, "same page": {reply(200, `{"data":[],"has_more":true,"last_id":""}`)},
		"path in the cursor": {reply(200, `{"data":[],"has_more":true,"last_id":"../x?y"}`)}, "no list": {reply(200, `{}`)}, "html": {reply(200, `<html>`)}} {
		s := &server{replies: replies}
		if _, err := Registration().ListModels(t.Context(), s.target()); fault.CodeOf(err) != fault.ProviderError || len(s.sent) > 100 {
			t.Errorf("%s: %v after %d requests", name, err, len(s.sent))
		}
	}
}

func TestCheckKey(t *testing.T) {
	for status, want := range map[int]fault.Code{200: "", 401: fault.ProviderKeyInvalid, 403: fault.ProviderKeyInvalid, 529: fault.ProviderOverloaded, 429: fault.ProviderRateLimited} {
		s := &server{replies: []replay.Reply{reply(status, `{"data":[]}`)}}
		if err := Registration().CheckKey(t.Context(), s.target()); fault.CodeOf(err) != want || s.sent[0] != "GET /v1/models?limit=1 sk-ant-0123456789abcdef " {
			t.Errorf("%d: %v, %q", status, err, s.sent)
		}
	}
}

// TestInvalidUTF8: bytes that are no text do not reach a client.
func TestInvalidUTF8(t *testing.T) {
	body := "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\xff\"}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\"}}\n\n" +
		"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\xffb\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n" +
		"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n"
	c := New()
	r, err := model.Collect(events.Read(&c.current, op, strings.NewReader(body), &decoder{vendor: &c.current, block: -1}))
	if err != nil || r.Text() != "a\ufffdb" || !utf8.ValidString(r.ID) {
		t.Errorf("%+v, %v", r, err)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1}}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"json\",\"input\":[1]}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"x\"},\"usage\":{\"output_tokens\":-1}}\n\ndata: {\"type\":\"message_stop\"}\n\n"))
	f.Add([]byte("data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n"))
	c := New()
	f.Fuzz(func(t *testing.T, body []byte) {
		s := events.Read(&c.current, op, bytes.NewReader(body), &decoder{vendor: &c.current, block: -1, forced: "json"})
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
				if fault.As(err).Provider != "anthropic" {
					t.Fatalf("foreign error %v", err)
				}
				return
			}
			if ended || !utf8.ValidString(ev.Text) {
				t.Fatalf("%+v after the end %v", ev, ended)
			}
			finished = finished || ev.Kind == model.EventFinish
			ended = ev.Kind == model.EventEnd
			if ev.Usage != nil && (ev.Usage.Validate() != nil || ev.Usage.Raw != nil && !json.Valid(ev.Usage.Raw)) {
				t.Fatalf("usage %+v", ev.Usage)
			}
		}
		t.Fatal("endless")
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"type":"message","stop_reason":"tool_use","content":[{"type":"tool_use","id":"a","name":"f","input":null},{"type":"thinking"}],"usage":{"input_tokens":1e3,"output_tokens":null}}`))
	f.Add([]byte(`{"type":"error","error":{"type":"x","details":{"error_code":1}}}`))
	f.Add([]byte("{\"type\":\"message\",\"stop_reason\":\"x\",\"content\":[{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{\"\xff\":1}}],\"usage\":{\"input_tokens\":1,\"\xff\":2}}"))
	c := New()
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decode(&c.current, body, nil, "json")
		if err != nil {
			if fault.As(err).Provider != "anthropic" {
				t.Fatalf("foreign error %v", err)
			}
			return
		}
		if r.Finish == "" || r.Usage.Validate() != nil || !utf8.Valid(r.Usage.Raw) {
			t.Fatalf("%+v", r)
		}
		for _, call := range r.ToolCalls() {
			if call.ID == "" || call.Name == "" || !json.Valid([]byte(call.Args)) || !utf8.ValidString(call.Args) {
				t.Fatalf("%+v", call)
			}
		}
	})
}

// FuzzEncode: whatever text stands in a conversation, the body is one JSON object.
func FuzzEncode(f *testing.F) {
	f.Add("id|1", `{"a":1}`, "text\x00\xff", "sig")
	c := New()
	f.Fuzz(func(t *testing.T, id, args, text, sig string) {
		r := ask(text + "x")
		r.Messages = append(r.Messages,
			model.Message{Role: model.RoleAssistant, Parts: []model.Part{{Kind: model.PartReasoning, Reasoning: &model.Reasoned{Text: text, Signature: sig, Format: format}},
				{Kind: model.PartToolCall, Call: &model.ToolCall{ID: id, Name: text, Args: args}}}},
			model.Message{Role: model.RoleTool, Parts: []model.Part{{Kind: model.PartToolResult, Result: &model.ToolResult{CallID: id, Parts: []model.Part{model.Text(args)}}}}})
		e, err := c.encode(r, streamed)
		if err != nil {
			if id != "" {
				t.Fatal(err)
			}
			return
		}
		var body struct {
			Messages []struct {
				Content json.RawMessage
			}
		}
		if json.Unmarshal(e.body, &body) != nil || len(body.Messages) != 3 {
			t.Fatalf("%s", e.body)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	var body bytes.Buffer
	body.WriteString("data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n")
	for range 50 {
		body.WriteString("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word \"}}\n\n")
	}
	c := New()
	b.ReportAllocs()
	for b.Loop() {
		s := events.Read(&c.current, op, bytes.NewReader(body.Bytes()), &decoder{vendor: &c.current, block: -1})
		for {
			if _, err := s.Next(); err != nil {
				break
			}
		}
	}
}
