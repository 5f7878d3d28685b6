package bedrock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers/internal/events"
	"github.com/latchkey/latchkey/shared/secret"
)

const (
	apiKey     = "ABSKQmVkcm9ja0FQSUtleS1leGFtcGxl"
	hidden     = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	credential = "AKIDEXAMPLEEXAMPLE12:" + hidden + ":eu-west-1"
)

// server answers requests one after another.
type server struct {
	replies []replay.Reply
	sent    []string
	auth    []string
}

// RoundTrip implements [http.RoundTripper].
func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	s.sent = append(s.sent, req.Method+" "+req.URL.String())
	s.auth = append(s.auth, req.Header.Get("Authorization"))
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

func (s *server) target(base, key string) model.Target {
	return model.Target{BaseURL: base, Key: secret.FromString(key), HTTP: &http.Client{Transport: s}, Now: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC)}
}

func ask(name, text string) *model.Request {
	return &model.Request{Model: name, Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text(text)}}}}
}

const whole = `{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1}}`

// TestEndpoints: the region decides the host, and the service the first label;
// nothing else can aim a request anywhere.
func TestEndpoints(t *testing.T) {
	const local = "http://127.0.0.1:1"
	for _, tt := range []struct {
		name, base, key string
		runtime, list   string
		code            fault.Code
		param           string
	}{
		{"api key, no base URL", baseURL(), apiKey, "https://bedrock-runtime.us-east-1.amazonaws.com", "https://bedrock.us-east-1.amazonaws.com", "", ""},
		{"api key, region by the runtime's host", "https://bedrock-runtime.eu-west-1.amazonaws.com", apiKey, "https://bedrock-runtime.eu-west-1.amazonaws.com", "https://bedrock.eu-west-1.amazonaws.com", "", ""},
		{"api key, region by the other host", "https://BEDROCK.eu-west-1.amazonaws.com/x", apiKey, "https://bedrock-runtime.eu-west-1.amazonaws.com", "https://bedrock.eu-west-1.amazonaws.com", "", ""},
		{"credential, no base URL", baseURL(), credential, "https://bedrock-runtime.eu-west-1.amazonaws.com", "https://bedrock.eu-west-1.amazonaws.com", "", ""},
		{"credential, same region", "https://bedrock-runtime.eu-west-1.amazonaws.com", credential, "https://bedrock-runtime.eu-west-1.amazonaws.com", "https://bedrock.eu-west-1.amazonaws.com", "", ""},
		{"credential, other region", "https://bedrock-runtime.us-west-2.amazonaws.com", credential, "", "", fault.InvalidRequest, "base_url"},
		{"other service", "https://s3.eu-west-1.amazonaws.com", apiKey, "", "", fault.InvalidRequest, "base_url"},
		{"no region", "https://bedrock.mars-1.amazonaws.com", apiKey, "", "", fault.InvalidRequest, "base_url"},
		{"a bucket's host", "https://bedrock.eu-west-1.s3.amazonaws.com", apiKey, "", "", fault.InvalidRequest, "base_url"},
		{"local, api key", local, apiKey, local, local, "", ""},
		{"local, credential", local, credential, local, local, "", ""},
		{"credential with an unknown region", baseURL(), "AKIDEXAMPLEEXAMPLE12:" + hidden + ":eu-west-1.evil.example/", "", "", fault.ProviderKeyInvalid, "api_key"},
		{"half a credential", baseURL(), "AKIDEXAMPLEEXAMPLE12:" + hidden, "", "", fault.ProviderKeyInvalid, "api_key"},
		{"no key", baseURL(), "", "https://bedrock-runtime.us-east-1.amazonaws.com", "https://bedrock.us-east-1.amazonaws.com", "", ""},
	} {
		s := &server{replies: []replay.Reply{reply(200, whole), reply(200, `{"modelSummaries":[]}`), reply(200, `{}`)}}
		target := s.target(tt.base, tt.key)
		_, err := New().Complete(t.Context(), model.Call{Target: target, Request: ask("anthropic.claude-v1:0", "hi")})
		_, listErr := Registration().ListModels(t.Context(), target)
		checkErr := Registration().CheckKey(t.Context(), target)
		for _, err := range []error{err, listErr, checkErr} {
			if f := fault.As(err); fault.CodeOf(err) != tt.code || f != nil && f.Param != tt.param || err != nil && strings.Contains(err.Error(), hidden) {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		var want []string
		if tt.code == "" {
			want = []string{"POST " + tt.runtime + "/model/anthropic.claude-v1%3A0/converse", "GET " + tt.list + "/foundation-models",
				"GET " + tt.list + "/foundation-models?byOutputModality=EMBEDDING"}
		}
		if !slices.Equal(s.sent, want) {
			t.Errorf("%s: %q, want %q", tt.name, s.sent, want)
		}
		for _, a := range s.auth {
			signed := strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLEEXAMPLE12/20261122/eu-west-1/bedrock/aws4_request, ")
			if tt.key == credential && (!signed || strings.Contains(a, hidden)) || tt.key == apiKey && a != "Bearer "+apiKey {
				t.Errorf("%s: %q", tt.name, a)
			}
		}
	}
}

// TestHosts: every host that a key can be aimed at is listed, so that the egress
// guard lets it pass, and the guard lets nothing else pass.
func TestHosts(t *testing.T) {
	e := Registration()
	for _, h := range []string{"bedrock.eu-west-1.amazonaws.com", "bedrock-runtime.eu-west-1.amazonaws.com", "bedrock-runtime.us-east-1.amazonaws.com"} {
		if !slices.Contains(e.Hosts, h) {
			t.Errorf("%s is missing", h)
		}
	}
	guard, err := egress.New(egress.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := guard.Vendor(e.Hosts...)
	for _, u := range []string{"https://s3.eu-west-1.amazonaws.com/", "https://bedrock.mars-1.amazonaws.com/", "https://bedrock-runtime.eu-west-1.amazonaws.com.evil.example/"} {
		if resp, err := c.Get(u); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s passed", u)
		}
	}
}

// TestKeys: the two forms are told apart, and nothing that is neither is stored.
func TestKeys(t *testing.T) {
	for k, want := range map[string]bool{apiKey: true, credential: true, "bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29tLz8=": true,
		hidden: false, "AKIDEXAMPLEEXAMPLE12": false, "AKIDEXAMPLEEXAMPLE12:" + hidden: false, credential + ":token": false, "ABSK:" + hidden + ":eu-west-1": false,
		"AKIDEXAMPLEEXAMPLE12:" + hidden + ":mars-1": false, "sk-ant-0123456789abcdef": false, "ABSKshort": false, "ABSKQmVkcm9ja0FQSUtleS1 with space": false} {
		err := key().Check(secret.FromString(k))
		if (err == nil) != want || err != nil && (fault.CodeOf(err) != fault.InvalidRequest || strings.Contains(err.Error(), k)) {
			t.Errorf("%q: %v", k, err)
		}
	}
}

func TestListModels(t *testing.T) {
	list := `{"modelSummaries":[{"modelId":"anthropic.claude-opus-5-v1:0","modelName":"Claude Opus 5","inputModalities":["TEXT","IMAGE"],"outputModalities":["TEXT"]},
		{"modelId":"bad id\n"},{"modelId":"amazon.titan-embed-text-v2:0","modelName":"bad\u0000name","outputModalities":["EMBEDDING","x y"]}]}`
	s := &server{replies: []replay.Reply{reply(200, list)}}
	got, err := Registration().ListModels(t.Context(), s.target(baseURL(), apiKey))
	want := []model.Listed{{ID: "anthropic.claude-opus-5-v1:0", Name: "Claude Opus 5", Inputs: []string{"text", "image"}, Outputs: []string{"text"}},
		{ID: "amazon.titan-embed-text-v2:0", Outputs: []string{"embedding"}}}
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v, %v", got, err)
	}
	for status, want := range map[int]fault.Code{401: fault.ProviderKeyInvalid, 403: fault.ProviderKeyInvalid, 429: fault.ProviderRateLimited, 503: fault.ProviderOverloaded} {
		s := &server{replies: []replay.Reply{reply(status, `{"message":"no"}`)}}
		if err := Registration().CheckKey(t.Context(), s.target(baseURL(), credential)); fault.CodeOf(err) != want {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestUnstreamed: a whole answer to a request for a stream is no stream.
func TestUnstreamed(t *testing.T) {
	s := &server{replies: []replay.Reply{reply(200, whole)}}
	if _, err := New().Stream(t.Context(), model.Call{Target: s.target(baseURL(), apiKey), Request: ask("m", "hi")}); fault.CodeOf(err) != fault.ProviderError {
		t.Error(err)
	}
}

// TestInvalidUTF8: bytes that are no text do not reach a client.
func TestInvalidUTF8(t *testing.T) {
	body := slices.Concat(event("messageStart", "{}"), event("contentBlockDelta", "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"a\xffb\"}}"),
		event("contentBlockStop", `{"contentBlockIndex":0}`), event("messageStop", "{\"stopReason\":\"x\xff\"}"), event("metadata", "{\"usage\":{\"inputTokens\":1,\"\xff\":2}}"))
	r, err := model.Collect(read(t, body, "anthropic.claude-sonnet-4-5"))
	if err != nil || r.Text() != "a\ufffdb" || !utf8.ValidString(r.NativeFinish) || r.Usage.Raw != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func event(name, payload string) []byte {
	return replay.Frame(payload, ":message-type", "event", ":event-type", name, ":content-type", "application/json")
}

func read(t testing.TB, body []byte, name string) model.Stream {
	t.Helper()
	c := New()
	e, err := c.encode(ask(name, "hi"))
	if err != nil {
		t.Fatal(err)
	}
	return events.ReadSource(&c.v, op, c.source(bytes.NewReader(body)), newDecoder(e, ""))
}

// FuzzStream reads events whose frames are right, whatever is in them: a line is a
// type and a payload.
func FuzzStream(f *testing.F) {
	f.Add("messageStart {}\ncontentBlockStart {\"contentBlockIndex\":0,\"start\":{\"toolUse\":{\"toolUseId\":\"a\",\"name\":\"f\"}}}\ncontentBlockStop {\"contentBlockIndex\":0}\nmessageStop {\"stopReason\":\"tool_use\"}\nmetadata {\"usage\":{\"inputTokens\":-1}}", "json")
	f.Add("messageStart {}\ncontentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"reasoningContent\":{\"text\":\"x\",\"signature\":\"s\",\"redactedContent\":\"AAE=\"}}}\ncontentBlockStop {\"contentBlockIndex\":0}\nmessageStop {\"stopReason\":\"x\"}\nmetadata {}", "")
	f.Add("messageStart {}\ncontentBlockStart {\"contentBlockIndex\":0,\"start\":{\"toolUse\":{\"toolUseId\":\"a\",\"name\":\"json\"}}}\ncontentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"toolUse\":{\"input\":\"{\"}}}\ncontentBlockStop {\"contentBlockIndex\":0}\nmetadata {}\nmessageStop {\"stopReason\":\"tool_use\"}", "json")
	c := New()
	f.Fuzz(func(t *testing.T, lines, forced string) {
		var body []byte
		for line := range strings.Lines(lines) {
			name, payload, _ := strings.Cut(line, " ")
			if name != "" && len(name) < 128 {
				body = append(body, event(name, payload)...)
			}
		}
		e := &encoded{c: c, profile: profileOf("anthropic.claude-opus-4-6"), forced: forced}
		s := events.ReadSource(&c.v, op, c.source(bytes.NewReader(body)), newDecoder(e, ""))
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
				if fault.As(err).Provider != "bedrock" {
					t.Fatalf("foreign error %v", err)
				}
				return
			}
			if ended || !utf8.ValidString(ev.Text) || finished && ev.Kind != model.EventUsage && ev.Kind != model.EventEnd {
				t.Fatalf("%+v after finish %v, end %v", ev, finished, ended)
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
	f.Add([]byte(whole))
	f.Add([]byte(`{"output":{"message":{"content":[{"toolUse":{"toolUseId":"a","name":"f","input":null}},{"reasoningContent":{"redactedContent":"AAE="}},{"citationsContent":{}},{"image":{"format":"png","source":{"bytes":"A"}}}]}},"stopReason":"tool_use","usage":{"inputTokens":1e3,"cacheWriteInputTokens":5,"cacheDetails":[{"ttl":"1h","inputTokens":9}]}}`))
	f.Add([]byte("{\"output\":{\"message\":{\"content\":[{\"toolUse\":{\"toolUseId\":\"a\",\"name\":\"f\",\"input\":{\"\xff\":1}}}]}},\"stopReason\":\"x\",\"usage\":{\"inputTokens\":1,\"\xff\":2}}"))
	f.Add([]byte(`{"__type":"x#ThrottlingException","message":"m"}`))
	c := New()
	e := &encoded{c: c, profile: profileOf("anthropic.claude-opus-4-6"), forced: "json"}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := e.decode(body, nil)
		if err != nil {
			if fault.As(err).Provider != "bedrock" {
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
	f.Add("anthropic.claude-opus-4-6", "id|1", `{"a":1}`, "text\x00\xff", "sig")
	f.Add("arn:aws:bedrock:us-east-1:1:inference-profile/x", "", `[`, "name [2].pdf", "")
	f.Add("../../x", "a", "{}", " ", "")
	c := New()
	f.Fuzz(func(t *testing.T, name, id, args, text, sig string) {
		path, ok := modelPath(name)
		if ok && (path == "" || strings.ContainsAny(path, "/:?#") || strings.Contains(path, "..")) {
			t.Fatalf("path %q", path)
		}
		r := ask(name, text+"x")
		r.Messages[0].Parts = append(r.Messages[0].Parts, model.Part{Kind: model.PartFile, Media: &model.Media{Base64: "AA==", MIME: "text/plain", Name: text}})
		r.Messages = append(r.Messages,
			model.Message{Role: model.RoleAssistant, Parts: []model.Part{{Kind: model.PartReasoning, Reasoning: &model.Reasoned{Text: text, Signature: sig, Format: claudeFormat}},
				{Kind: model.PartToolCall, Call: &model.ToolCall{ID: id, Name: "f", Args: args}}}},
			model.Message{Role: model.RoleTool, Parts: []model.Part{{Kind: model.PartToolResult, Result: &model.ToolResult{CallID: id, Parts: []model.Part{model.Text(args)}}}}})
		e, err := c.encode(r)
		if err != nil {
			if id != "" {
				t.Fatal(err)
			}
			return
		}
		var body struct {
			Messages []struct {
				Content []struct {
					Document *struct{ Name string }
					ToolUse  *struct{ ToolUseID string }
				}
			}
		}
		if json.Unmarshal(e.body, &body) != nil || len(body.Messages) != 3 {
			t.Fatalf("%s", e.body)
		}
		if d := body.Messages[0].Content[1].Document; d == nil || d.Name == "" || len(d.Name) > 200 || strings.Trim(d.Name, idChars+" ()[]") != "" || strings.Contains(d.Name, "  ") {
			t.Fatalf("document %+v", d)
		}
	})
}

func BenchmarkStream(b *testing.B) {
	body := event("messageStart", `{"role":"assistant"}`)
	for range 50 {
		body = append(body, event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"word "},"p":"abcdefgh"}`)...)
	}
	b.ReportAllocs()
	for b.Loop() {
		s := read(b, body, "anthropic.claude-sonnet-4-5")
		for {
			if _, err := s.Next(); err != nil {
				break
			}
		}
	}
}
