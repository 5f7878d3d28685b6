package openairesponses

import (
	"encoding/json"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

func with(members string) string { return `{"model":"m","input":"hi"` + members + `}` }

func items(list string) string { return `{"model":"m","input":[` + list + `]}` }

func TestRefusals(t *testing.T) {
	const unsupported = fault.UnsupportedMedia
	for _, c := range []struct {
		text, param string
		code        fault.Code
	}{
		{`[]`, "", ""},
		{`{"input":"x"}`, "model", ""},
		{`{"model":"m"}`, "input", ""},
		{`{"model":"m","input":""}`, "input", ""},
		{`{"model":"m","input":[]}`, "input", ""},
		{with(`,"store":true`), "store", ""},
		{with(`,"background":true`), "background", ""},
		{with(`,"conversation":"c"`), "conversation", ""},
		{with(`,"previous_response_id":"r"`), "previous_response_id", ""},
		{with(`,"prompt":{"id":"p"}`), "prompt", ""},
		{with(`,"truncation":"auto"`), "truncation", ""},
		{with(`,"include":["message.output_text.logprobs"]`), "include", ""},
		{with(`,"max_output_tokens":0`), "max_output_tokens", ""},
		{with(`,"reasoning":{"effort":"huge"}`), "reasoning.effort", ""},
		{with(`,"text":{"format":{"type":"grammar"}}`), "text.format.type", ""},
		{with(`,"text":{"format":{"type":"json_schema","schema":{}}}`), "text.format.name", ""},
		{with(`,"text":{"verbosity":"low"}`), "text.verbosity", ""},
		{with(`,"tools":[{"type":"web_search"}]`), "tools[0].type", ""},
		{with(`,"tools":[{"type":"function","name":"a b"}]`), "tools[0].name", ""},
		{with(`,"tool_choice":"required"`), "tool_choice", ""},
		{with(`,"tools":[{"type":"function","name":"a"}],"tool_choice":{"type":"function","name":"b"}`), "tool_choice", ""},
		{items(`{"type":"item_reference","id":"x"}`), "input[0].type", ""},
		{items(`{"type":"computer_call"}`), "input[0].type", unsupported},
		{items(`{"role":"tool","content":"x"}`), "input[0].role", ""},
		{items(`{"role":"user","content":[{"type":"input_video"}]}`), "input[0].content[0].type", unsupported},
		{items(`{"role":"assistant","content":[{"type":"input_image","image_url":"https://a"}]}`), "input[0].content[0].type", ""},
		{items(`{"role":"system","content":[{"type":"input_file","file_id":"a"}]}`), "input[0].content[0].type", ""},
		{items(`{"role":"user","content":[{"type":"input_image"}]}`), "input[0].content[0].image_url", ""},
		{items(`{"role":"user","content":[{"type":"input_image","image_url":"ftp://a"}]}`), "input[0].content[0].image_url", ""},
		{items(`{"role":"user","content":[{"type":"input_file","file_id":"a","file_url":"https://b"}]}`), "input[0].content[0]", ""},
		{items(`{"type":"function_call","name":"a"}`), "input[0]", ""},
		{items(`{"type":"function_call_output","output":"x"}`), "input[0].call_id", ""},
		{items(`{"type":"function_call_output","call_id":"a","output":[{"type":"refusal","refusal":"x"}]}`), "input[0].output[0].type", ""},
	} {
		_, _, err := ParseRequest([]byte(c.text))
		want := c.code
		if want == "" {
			want = fault.InvalidRequest
		}
		f := fault.As(err)
		if f == nil || f.Code != want || f.Param != c.param {
			t.Errorf("%s: %v, %+v", c.text, err, f)
		}
	}
}

func TestWholeRequest(t *testing.T) {
	r, _, err := ParseRequest([]byte(`{"model":"m","instructions":"i","stream":true,"max_output_tokens":9,"temperature":1.5,"top_p":0.5,"user":"u","store":false,
	"parallel_tool_calls":false,"reasoning":{"effort":"low","summary":"auto"},"prompt_cache_key":"k",
	"text":{"format":{"type":"json_schema","name":"n","schema":{"b":1,"a":2},"strict":true}},
	"tools":[{"type":"function","name":"t","description":"d","parameters":{"z":1}}],"tool_choice":{"type":"function","name":"t"},
	"input":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"input_text","text":"x"},{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"low"},
		{"type":"input_file","filename":"f.pdf","file_data":"data:application/pdf;base64,AAAA"},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}]},
		{"type":"function_call","call_id":"c","name":"t","arguments":""},
		{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"o"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"model":"m","messages":[{"role":"system","parts":[{"kind":"text","text":"i"}]},{"role":"system","parts":[{"kind":"text","text":"s"}]},` +
		`{"role":"user","parts":[{"kind":"text","text":"x"},{"kind":"image","media":{"base64":"AAAA","mime":"image/png","detail":"low"}},` +
		`{"kind":"file","media":{"base64":"AAAA","mime":"application/pdf","name":"f.pdf"}},{"kind":"audio","media":{"base64":"AAAA","format":"wav"}}]},` +
		`{"role":"assistant","parts":[{"kind":"tool_call","call":{"id":"c","name":"t","args":"{}"}}]},` +
		`{"role":"tool","parts":[{"kind":"tool_result","result":{"call_id":"c","parts":[{"kind":"text","text":"o"}]}}]}],` +
		`"tools":[{"name":"t","description":"d","schema":{"z":1}}],"tool_choice":{"mode":"named","name":"t"},"parallel":false,` +
		`"output":{"kind":"json_schema","name":"n","schema":{"b":1,"a":2},"strict":true},"max_output_tokens":9,` +
		`"sampling":{"temperature":1.5,"top_p":0.5},"reasoning":{"effort":"low"},"stream":true,"user":"u","extra":{"prompt_cache_key":"k"},"dialect":"responses"}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(with(`,"reasoning":{"effort":"low"}`)))
	f.Add([]byte(items(`{"type":"reasoning","encrypted_content":"latchkey-call:YQ:s"},{"type":"function_call","call_id":"a","name":"b"},{"type":"function_call_output","call_id":"a","output":"x"}`)))
	f.Add([]byte(items(`{"role":"user","content":[{"type":"input_file","file_url":"https://a"}]}`)))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, _, err := ParseRequest(text)
		if err != nil {
			if c := fault.CodeOf(err); c != fault.InvalidRequest && c != fault.UnsupportedMedia {
				t.Fatalf("%v", err)
			}
			return
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
