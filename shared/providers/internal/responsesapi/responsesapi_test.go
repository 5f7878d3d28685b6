package responsesapi

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/sse"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"r","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"x"},{"type":"refusal","refusal":"y"}]},` +
		`{"type":"function_call","call_id":"c","name":"f","arguments":""},{"type":"reasoning","summary":[{"text":"t"}],"encrypted_content":"e"}],"usage":{"input_tokens":3}}`))
	f.Add([]byte(`{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[],"usage":{"input_tokens":-1,"output_tokens":1e9}}`))
	f.Add([]byte(`{"status":"failed","error":{"code":"server_error","message":1}}`))
	c := New(Config{Vendor: wire.Vendor{ID: "test"}})
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := c.decode(body, nil)
		if err != nil {
			if fault.As(err).Provider != "test" {
				t.Fatalf("foreign error %v", err)
			}
			return
		}
		if r.Finish == "" || r.Usage.Validate() != nil {
			t.Fatalf("%+v", r)
		}
		for _, call := range r.ToolCalls() {
			if call.ID == "" || call.Name == "" || call.Args == "" {
				t.Fatalf("%+v", call)
			}
		}
	})
}

// FuzzStream: whatever comes, the events keep their order and an end is only
// reached by the format's own.
func FuzzStream(f *testing.F) {
	const created = `data: {"type":"response.created","response":{"id":"r"}}` + "\n\n"
	f.Add([]byte(created + `data: {"type":"response.output_text.delta","delta":"x"}` + "\n\n" + `data: {"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":1}}}` + "\n\n"))
	f.Add([]byte(created + `data: {"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","call_id":"c","name":"f"}}` + "\n\n" +
		`data: {"type":"response.function_call_arguments.delta","output_index":1,"delta":"{"}` + "\n\n" + `data: {"type":"response.incomplete","response":{"status":"incomplete"}}` + "\n\n"))
	f.Add([]byte(created + `data: {"type":"response.output_item.done","item":{"type":"reasoning","encrypted_content":"e"}}` + "\n\n" + `data: {"type":"error","code":"x"}` + "\n\n"))
	cfg := &Config{Vendor: wire.Vendor{ID: "test"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := newStream(cfg, &wire.Answer{}, false)
		s.sse = sse.NewReader(bytes.NewReader(body))
		started, finished, ended, open := false, false, false, false
		for range 100000 {
			ev, err := s.Next()
			if err == io.EOF {
				if !finished || !ended || open {
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
			bad := ended || started == (ev.Kind == model.EventStart) || ev.Usage != nil && ev.Usage.Validate() != nil
			switch ev.Kind {
			case model.EventToolStart:
				bad, open = bad || open || finished, true
			case model.EventToolArgs:
				bad = bad || !open
			case model.EventToolEnd:
				bad, open = bad || !open, false
			}
			started = true
			finished = finished || ev.Kind == model.EventFinish
			ended = ev.Kind == model.EventEnd
			if bad {
				t.Fatalf("%+v is out of order", ev)
			}
		}
		t.Fatal("endless")
	})
}

// TestUnknownFields: those of this dialect go on, those of chat where they mean
// the same, none may replace what is written here or make the vendor keep state.
func TestUnknownFields(t *testing.T) {
	c := New(Config{Vendor: wire.Vendor{ID: "test"}})
	extra := map[string]json.RawMessage{"service_tier": json.RawMessage(`"flex"`), "max_tool_calls": json.RawMessage(`3`), "store": json.RawMessage(`true`),
		"previous_response_id": json.RawMessage(`"x"`)}
	for dialect, want := range map[string]struct {
		end     string
		dropped []string
	}{
		model.DialectResponses: {`"max_tool_calls":3,"service_tier":"flex"}`, []string{"previous_response_id", "store"}},
		model.DialectChat:      {`"store":false,"service_tier":"flex"}`, []string{"max_tool_calls", "previous_response_id", "store"}},
		model.DialectMessages:  {`"store":false}`, []string{"max_tool_calls", "previous_response_id", "service_tier", "store"}},
	} {
		r := &model.Request{Model: "m", Dialect: dialect, Extra: extra, Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text("x")}}}}
		b, err := c.encode(r, false)
		if err != nil || !bytes.HasSuffix(b, []byte(want.end)) || bytes.Count(b, []byte(`"store"`)) != 1 {
			t.Errorf("%s: %s, %v", dialect, b, err)
		}
		got := c.Uncarried("m", r)
		slices.Sort(got)
		if !slices.Equal(got, want.dropped) {
			t.Errorf("%s: %q", dialect, got)
		}
	}
}
