package anthropicmessages

import (
	"encoding/json"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

func with(members string) string {
	return `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]` + members + `}`
}

func blocks(role, list string) string {
	return `{"model":"m","max_tokens":9,"messages":[{"role":"` + role + `","content":[` + list + `]}]}`
}

// TestRefusals: each body is refused for the stated field.
func TestRefusals(t *testing.T) {
	const unsupported = fault.UnsupportedMedia
	for _, c := range []struct {
		name, text, param string
		code              fault.Code
	}{
		{"no object", `[]`, "", ""},
		{"twice", `{"model":"a","model":"b"}`, "", ""},
		{"no model", `{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, "model", ""},
		{"no limit", `{"model":"m","messages":[{"role":"user","content":"x"}]}`, "max_tokens", ""},
		{"limit 0", `{"model":"m","max_tokens":0,"messages":[{"role":"user","content":"x"}]}`, "max_tokens", ""},
		{"no messages", `{"model":"m","max_tokens":1,"messages":[]}`, "messages", ""},
		{"role", `{"model":"m","max_tokens":1,"messages":[{"role":"tool","content":"x"}]}`, "messages[0].role", ""},
		{"empty", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":""}]}`, "messages[0].content", ""},
		{"block", blocks("user", `{"type":"search_result"}`), "messages[0].content[0].type", unsupported},
		{"text without text", blocks("user", `{"type":"text"}`), "messages[0].content[0].text", ""},
		{"user thinks", blocks("user", `{"type":"thinking","thinking":"x"}`), "messages[0].content[0].type", ""},
		{"user calls", blocks("user", `{"type":"tool_use","id":"a","name":"b","input":{}}`), "messages[0].content[0].type", ""},
		{"assistant shows", blocks("assistant", `{"type":"image","source":{"type":"url","url":"https://a/b"}}`), "messages[0].content[0].type", ""},
		{"system shows", blocks("system", `{"type":"image","source":{"type":"url","url":"https://a/b"}}`), "messages[0].content[0].type", ""},
		{"call input", blocks("assistant", `{"type":"tool_use","id":"a","name":"b","input":"x"}`), "messages[0].content[0].input", ""},
		{"call id", blocks("assistant", `{"type":"tool_use","name":"b","input":{}}`), "messages[0].content[0]", ""},
		{"result id", blocks("user", `{"type":"tool_result","content":"x"}`), "messages[0].content[0].tool_use_id", ""},
		{"result of calls", blocks("user", `{"type":"tool_result","tool_use_id":"a","content":[{"type":"thinking","thinking":"x"}]}`), "messages[0].content[0].content[0].type", ""},
		{"image type", blocks("user", `{"type":"image","source":{"type":"base64","media_type":"text/html","data":"AAAA"}}`), "messages[0].content[0].source.media_type", unsupported},
		{"image bytes", blocks("user", `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"?"}}`), "messages[0].content[0].source.data", ""},
		{"image scheme", blocks("user", `{"type":"image","source":{"type":"url","url":"file:///x"}}`), "messages[0].content[0].source.url", ""},
		{"image source", blocks("user", `{"type":"image","source":{"type":"other"}}`), "messages[0].content[0].source.type", unsupported},
		{"citations", blocks("user", `{"type":"document","citations":{"enabled":true},"source":{"type":"text","data":"x"}}`), "messages[0].content[0].citations", ""},
		{"pdf context", blocks("user", `{"type":"document","context":"c","source":{"type":"base64","media_type":"application/pdf","data":"AAAA"}}`), "messages[0].content[0].context", ""},
		{"redacted", blocks("assistant", `{"type":"redacted_thinking"}`), "messages[0].content[0].data", ""},
		{"cache", blocks("user", `{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"2h"}}`), "messages[0].content[0].cache_control.ttl", ""},
		{"system type", with(`,"system":[{"type":"document","source":{"type":"url","url":"https://a"}}]`), "system[0].type", ""},
		{"stops", with(`,"stop_sequences":"x"`), "stop_sequences", ""},
		{"metadata", with(`,"metadata":3`), "metadata", ""},
		{"temperature", with(`,"temperature":1.1`), "temperature", ""},
		{"server tool", with(`,"tools":[{"type":"web_search_20250305","name":"web_search"}]`), "tools[0].type", ""},
		{"tool name", with(`,"tools":[{"name":"a b","input_schema":{}}]`), "tools[0].name", ""},
		{"tool twice", with(`,"tools":[{"name":"a","input_schema":{}},{"name":"a","input_schema":{}}]`), "tools[1].name", ""},
		{"tool schema", with(`,"tools":[{"name":"a"}]`), "tools[0].input_schema", ""},
		{"choice", with(`,"tools":[{"name":"a","input_schema":{}}],"tool_choice":{"type":"tool","name":"b"}`), "tool_choice", ""},
		{"choice word", with(`,"tool_choice":{"type":"required"}`), "tool_choice", ""},
		{"choice without tools", with(`,"tool_choice":{"type":"any"}`), "tool_choice", ""},
		{"thinking", with(`,"thinking":{"type":"enabled"}`), "thinking.budget_tokens", ""},
		{"thinking word", with(`,"thinking":{"type":"on"}`), "thinking.type", ""},
		{"thinking display", with(`,"thinking":{"type":"adaptive","display":"x"}`), "thinking.display", ""},
		{"effort", with(`,"output_config":{"effort":"huge"}`), "output_config.effort", ""},
		{"format", with(`,"output_config":{"format":{"type":"json_object"}}`), "output_config", ""},
		{"old format", with(`,"output_format":{"type":"json_schema"}`), "output_format", ""},
		{"mcp", with(`,"mcp_servers":[{}]`), "mcp_servers", ""},
	} {
		_, err := ParseRequest([]byte(c.text), Version2023)
		want := c.code
		if want == "" {
			want = fault.InvalidRequest
		}
		f := fault.As(err)
		if f == nil || f.Code != want || f.Param != c.param {
			t.Errorf("%s: %v, param %q", c.name, err, paramOf(f))
		}
	}
}

func paramOf(f *fault.Error) string {
	if f == nil {
		return "none"
	}
	return f.Param
}

func TestVersions(t *testing.T) {
	warm := []byte(with(`,"temperature":0.5`))
	if _, err := ParseRequest(warm, Version2023); err != nil {
		t.Error(err)
	}
	if _, err := ParseRequest(warm, ""); err != nil {
		t.Error(err)
	}
	if _, err := ParseRequest(warm, Version2026); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != "temperature" {
		t.Errorf("%v", err)
	}
	if _, err := ParseRequest(warm, "2020-01-01"); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != "anthropic-version" {
		t.Errorf("%v", err)
	}
}

// TestWholeRequest: every accepted field lands where it belongs, and what is not
// known is kept.
func TestWholeRequest(t *testing.T) {
	r, err := ParseRequest([]byte(`{"model":"m","max_tokens":9,"stream":true,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],
	"metadata":{"user_id":"u"},"stop_sequences":["a","b"],"temperature":0.5,"top_p":0.9,"top_k":3,
	"tools":[{"name":"t","description":"d","input_schema":{"z":1,"a":2},"strict":true,"cache_control":{"type":"ephemeral"}}],
	"tool_choice":{"type":"tool","name":"t","disable_parallel_tool_use":true},
	"thinking":{"type":"enabled","budget_tokens":2000,"display":"omitted"},"output_config":{"effort":"high","format":{"type":"json_schema","schema":{"b":1,"a":2}}},
	"service_tier":"auto",
	"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
		{"type":"document","title":"T","source":{"type":"url","url":"https://a/b.pdf"}},{"type":"document","title":"T","context":"C","source":{"type":"text","media_type":"text/plain","data":"D"}}]},
		{"role":"system","content":"later"}]}`), Version2023)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"model":"m","messages":[{"role":"system","parts":[{"kind":"text","text":"s","cache_ttl":"1h"}]},` +
		`{"role":"user","parts":[{"kind":"image","media":{"base64":"AAAA","mime":"image/png"}},` +
		`{"kind":"file","media":{"url":"https://a/b.pdf","mime":"application/pdf","name":"T"}},{"kind":"text","text":"T\n\nC\n\nD"}]},` +
		`{"role":"system","parts":[{"kind":"text","text":"later"}]}],` +
		`"tools":[{"name":"t","description":"d","schema":{"z":1,"a":2},"strict":true,"cache_ttl":"5m"}],"tool_choice":{"mode":"named","name":"t"},"parallel":false,` +
		`"output":{"kind":"json_schema","name":"answer","schema":{"b":1,"a":2},"strict":true},"max_output_tokens":9,` +
		`"sampling":{"temperature":0.5,"top_p":0.9,"top_k":3},"stop":["a","b"],"reasoning":{"effort":"high","max_tokens":2000,"exclude":true,"enabled":true},` +
		`"stream":true,"user":"u","extra":{"service_tier":"auto"},"dialect":"messages"}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestStopReasons(t *testing.T) {
	for _, c := range []struct {
		finish       model.FinishReason
		native, want string
	}{
		{model.FinishStop, "STOP", "end_turn"}, {model.FinishStop, "stop_sequence", "stop_sequence"}, {model.FinishStop, "pause_turn", "pause_turn"},
		{model.FinishToolCalls, "x", "tool_use"}, {model.FinishLength, "MAX_TOKENS", "max_tokens"},
		{model.FinishLength, "model_context_window_exceeded", "model_context_window_exceeded"}, {model.FinishContentFilter, "SAFETY", "refusal"},
		{model.FinishCreditExhausted, "", "credit_exhausted"},
	} {
		if got := stopReason(c.finish, c.native); got != c.want {
			t.Errorf("%s/%s: %s, want %s", c.finish, c.native, got, c.want)
		}
	}
	if _, err := EncodeResponse(nil, &model.Response{Finish: model.FinishError}, Shape{}); fault.CodeOf(err) != fault.ProviderError {
		t.Errorf("a failed answer: %v", err)
	}
}

// TestInvalidArguments: what a model wrote is shown, never lost and never broken
// JSON.
func TestInvalidArguments(t *testing.T) {
	for args, want := range map[string]string{`{"a":1}`: `{"a":1}`, `{"a":`: `{"_invalid_json":"{\"a\":"}`, `[1]`: `{"_invalid_json":"[1]"}`, ``: `{"_invalid_json":""}`} {
		if got := string(input(args)); got != want {
			t.Errorf("%q: %s", args, got)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(with(`,"thinking":{"type":"adaptive"}`)), Version2023)
	f.Add([]byte(blocks("user", `{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"x"}]}`)), Version2026)
	f.Add([]byte(blocks("assistant", `{"type":"redacted_thinking","data":"latchkey-call:YQ:s"},{"type":"tool_use","id":"a","name":"b","input":{}}`)), "")
	f.Fuzz(func(t *testing.T, text []byte, version string) {
		r, err := ParseRequest(text, version)
		if err != nil {
			if c := fault.CodeOf(err); c != fault.InvalidRequest && c != fault.UnsupportedMedia {
				t.Fatalf("%v", err)
			}
			return
		}
		if r.Model == "" || r.MaxOutputTokens < 1 {
			t.Fatalf("%+v", r)
		}
		for _, m := range r.Messages {
			for _, p := range m.Parts {
				if (p.Kind == model.PartToolResult) != (m.Role == model.RoleTool) {
					t.Fatalf("%s in a message of %s", p.Kind, m.Role)
				}
				if p.Media != nil && p.Media.URL == "" && p.Media.Base64 == "" && p.Media.FileID == "" {
					t.Fatal("media without content")
				}
			}
		}
	})
}
