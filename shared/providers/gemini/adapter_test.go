package gemini

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
	s.sent = append(s.sent, req.Method+" "+req.URL.RequestURI()+" "+req.Header.Get("X-Goog-Api-Key"))
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
	return model.Target{BaseURL: "https://vendor.invalid/v1beta", Key: secret.FromString("AIza0123456789abcdef"), HTTP: &http.Client{Transport: s}}
}

func TestListModels(t *testing.T) {
	page1 := `{"models":[{"name":"models/gemini-3.5-flash","displayName":"Gemini 3.5 Flash","inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":["generateContent","countTokens"]},
		{"name":"models/text-embedding","supportedGenerationMethods":["embedContent"]},{"name":"models/../x","supportedGenerationMethods":["generateContent"]}],"nextPageToken":"a b&c"}`
	page2 := `{"models":[{"name":"models/gemma-3","displayName":"bad\u0007","supportedGenerationMethods":["generateContent"]}]}`
	s := &server{replies: []replay.Reply{reply(200, page1), reply(200, page2)}}
	got, err := Registration().ListModels(t.Context(), s.target())
	want := []model.Listed{{ID: "gemini-3.5-flash", Name: "Gemini 3.5 Flash", ContextTokens: 1048576, MaxOutputTokens: 65536}, {ID: "gemma-3"}}
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v, %v", got, err)
	}
	if sent := []string{"GET /v1beta/models?pageSize=1000 AIza0123456789abcdef", "GET /v1beta/models?pageSize=1000&pageToken=a+b%26c AIza0123456789abcdef"}; !slices.Equal(s.sent, sent) {
		t.Errorf("%q", s.sent)
	}
	endless := make([]replay.Reply, 120)
	for i := range endless {
		endless[i] = reply(200, fmt.Sprintf(`{"nextPageToken":"t%d"}`, i))
	}
	for name, replies := range map[string][]replay.Reply{"endless": endless, "same page": {reply(200, `{"nextPageToken":"a"}`), reply(200, `{"nextPageToken":"a"}`)},
		"long token": {reply(200, `{"nextPageToken":"`+strings.Repeat("a", 2000)+`"}`)}, "html": {reply(200, `<html>`)}} {
		s := &server{replies: replies}
		if _, err := Registration().ListModels(t.Context(), s.target()); fault.CodeOf(err) != fault.ProviderError || len(s.sent) > 100 {
			t.Errorf("%s: %v after %d requests", name, err, len(s.sent))
		}
	}
}

func TestCheckKey(t *testing.T) {
	bad := `{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}`
	for _, tt := range []struct {
		status int
		body   string
		want   fault.Code
	}{{200, `{}`, ""}, {400, bad, fault.ProviderKeyInvalid}, {403, `{}`, fault.ProviderKeyInvalid}, {503, `{}`, fault.ProviderOverloaded}} {
		s := &server{replies: []replay.Reply{reply(tt.status, tt.body)}}
		if err := Registration().CheckKey(t.Context(), s.target()); fault.CodeOf(err) != tt.want || s.sent[0] != "GET /v1beta/models?pageSize=1 AIza0123456789abcdef" {
			t.Errorf("%d: %v, %q", tt.status, err, s.sent)
		}
	}
}

// TestInvalidUTF8: bytes that are no text do not reach a client.
func TestInvalidUTF8(t *testing.T) {
	body := "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\xffb\"}]},\"finishReason\":\"STOP\"}],\"responseId\":\"r\xff\"}\n\n"
	c := New()
	r, err := model.Collect(events.Read(&c.v, op, strings.NewReader(body), &decoder{vendor: &c.v}))
	if err != nil || r.Text() != "a\ufffdb" || !utf8.ValidString(r.ID) {
		t.Errorf("%+v, %v", r, err)
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(`data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":[1]}},{"text":"x","thought":true},{"thoughtSignature":"s"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":-1}}` + "\n\n"))
	f.Add([]byte(`data: {"promptFeedback":{"blockReason":"SAFETY"}}` + "\n\n"))
	c := New()
	f.Fuzz(func(t *testing.T, body []byte) {
		s := events.Read(&c.v, op, bytes.NewReader(body), &decoder{vendor: &c.v})
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
				if fault.As(err).Provider != "gemini" {
					t.Fatalf("foreign error %v", err)
				}
				return
			}
			if ended || !utf8.ValidString(ev.Text) || finished && ev.Kind != model.EventUsage && ev.Kind != model.EventEnd {
				t.Fatalf("%+v after finish %v, end %v", ev, finished, ended)
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
	f.Add([]byte(`{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}},{"text":"x"}]},"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":9,"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":1e3}]}}`))
	f.Add([]byte(`{"error":{"code":400,"details":[{"reason":"R"}]}}`))
	f.Add([]byte("{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"\xff\":1}}}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":9,\"\xff\":1}}"))
	c := New()
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decode(&c.v, body, nil)
		if err != nil {
			if fault.As(err).Provider != "gemini" {
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

// FuzzEncode: whatever stands in a conversation, the body is one JSON object and
// the path stays the method's.
func FuzzEncode(f *testing.F) {
	f.Add("gemini-3", "id", `{"a":1}`, "text\x00\xff", "sig")
	f.Add("gemini-2.5-pro/../..", "", `[`, `{"a":1}`, "")
	c := New()
	f.Fuzz(func(t *testing.T, name, id, args, text, sig string) {
		r := &model.Request{Model: name, Messages: []model.Message{
			{Role: model.RoleUser, Parts: []model.Part{model.Text(text + "x")}},
			{Role: model.RoleAssistant, Parts: []model.Part{{Kind: model.PartReasoning, Reasoning: &model.Reasoned{Text: text, Signature: sig, Format: format}},
				{Kind: model.PartToolCall, Call: &model.ToolCall{ID: id, Name: text, Args: args, Signature: sig}}}},
			{Role: model.RoleTool, Parts: []model.Part{{Kind: model.PartToolResult, Result: &model.ToolResult{CallID: id, Parts: []model.Part{model.Text(text)}}}}}}}
		req, err := c.request(r, ":generateContent", "application/json")
		if err != nil {
			if _, ok := modelName(name); ok {
				t.Fatal(err)
			}
			return
		}
		if strings.Count(req.Path, "/") != 2 || strings.ContainsAny(req.Path, "?#%") || !strings.HasSuffix(req.Path, ":generateContent") {
			t.Fatalf("path %q", req.Path)
		}
		var body struct {
			Contents []struct{ Parts []json.RawMessage }
		}
		raw, _ := io.ReadAll(req.Body)
		if json.Unmarshal(raw, &body) != nil || len(body.Contents) != 3 {
			t.Fatalf("%s", raw)
		}
	})
}

func TestCountTokens(t *testing.T) {
	s := &server{replies: []replay.Reply{reply(200, `{"totalTokens":31,"promptTokensDetails":[]}`)}}
	r := &model.Request{Model: "models/gemini-3.5-flash", Messages: []model.Message{{Role: model.RoleSystem, Parts: []model.Part{model.Text("be brief")}},
		{Role: model.RoleUser, Parts: []model.Part{model.Text("hi")}}}, Tools: []model.Tool{{Name: "f"}}}
	x := &replay.Exchange{Reply: s.replies[0]}
	var counter model.TokenCounter = New()
	n, err := counter.CountTokens(t.Context(), model.Call{Target: replay.Target(x), Request: r})
	if err != nil || n != 31 {
		t.Fatal(n, err)
	}
	want := `{"generateContentRequest":{"model":"models/gemini-3.5-flash",`
	_, body, _ := strings.Cut(string(x.Sent), "\n\n")
	if !strings.HasPrefix(string(x.Sent), "POST /v1/models/gemini-3.5-flash:countTokens\n") || !strings.HasPrefix(body, want) || !json.Valid([]byte(body)) ||
		!strings.Contains(body, "be brief") || !strings.Contains(body, `"functionDeclarations"`) {
		t.Errorf("sent %s", x.Sent)
	}
	for body, code := range map[string]fault.Code{`{}`: fault.ProviderError, `{"totalTokens":-1}`: fault.ProviderError, `x`: fault.ProviderError, `{"totalTokens":1e99}`: fault.ProviderError,
		`{"error":{"code":503,"status":"UNAVAILABLE"}}`: fault.ProviderOverloaded} {
		_, err := counter.CountTokens(t.Context(), model.Call{Target: (&server{replies: []replay.Reply{reply(200, body)}}).target(), Request: r})
		if fault.CodeOf(err) != code {
			t.Errorf("%s: %v", body, err)
		}
	}
	r.Model = "../x"
	if _, err := counter.CountTokens(t.Context(), model.Call{Target: (&server{}).target(), Request: r}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Error(err)
	}
}
