package modeltest

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
)

// runMalformed sends what no vendor should. Nothing of it may be taken for an
// answer, and nothing that is no UTF-8 may come out.
func runMalformed(t *testing.T, entry providers.Entry, list []*Scenario) {
	byName := map[string]*Scenario{}
	for _, s := range list {
		byName[s.Name] = s
	}
	if byName["text"] == nil || byName["stream"] == nil || byName["usage_stream"] == nil {
		t.Fatal("the scenarios text, stream and usage_stream are needed")
	}
	// A vendor with two formats has these three once more under a prefix.
	for name := range byName {
		prefix, ok := strings.CutSuffix(name, "text")
		if ok && byName[prefix+"stream"] != nil && byName[prefix+"usage_stream"] != nil {
			t.Run("format "+prefix, func(t *testing.T) { runJunk(t, entry, byName, prefix) })
		}
	}
}

func runJunk(t *testing.T, entry providers.Entry, byName map[string]*Scenario, prefix string) {
	text, stream, usage := byName[prefix+"text"], byName[prefix+"stream"], byName[prefix+"usage_stream"]
	t.Run("answer", func(t *testing.T) {
		for name, body := range junk() {
			for _, kind := range []string{"application/json", "text/plain", "application/octet-stream", "text/html; charset=utf-8", ""} {
				o := text.answered(entry, kind, body)
				if fault.CodeOf(o.err) != fault.ProviderError {
					t.Errorf("%s as %q: %+v, %v", name, kind, o.response, o.err)
				}
			}
		}
	})
	t.Run("stream", func(t *testing.T) {
		for name, body := range junk() {
			for _, kind := range []string{"text/event-stream", "application/vnd.amazon.eventstream", "application/json", "text/plain", "image/png", "text/html", ""} {
				o := stream.answered(entry, kind, body)
				if fault.CodeOf(o.err) != fault.ProviderError || o.opened {
					t.Errorf("%s as %q: opened %v, %v", name, kind, o.opened, o.err)
				}
			}
		}
	})
	t.Run("endless comment", func(t *testing.T) {
		o := stream.answered(entry, "text/event-stream", bytes.Repeat([]byte(": wait wait wait\n"), 600<<10))
		if fault.CodeOf(o.err) != fault.ProviderError || o.opened {
			t.Errorf("opened %v, %v", o.opened, o.err)
		}
	})
	t.Run("invalid UTF-8", func(t *testing.T) {
		for _, s := range []*Scenario{text, stream, byName[prefix+"tools"], byName[prefix+"tools_stream"], usage} {
			if s != nil {
				s.spoil(t, entry)
			}
		}
	})
	t.Run("usage twice", func(t *testing.T) { usage.repeatUsage(t, entry) })
}

func junk() map[string][]byte {
	return map[string][]byte{
		"nothing": nil, "null": []byte("null"), "array": []byte("[]"), "number": []byte("0"), "text": []byte(`"x"`), "object": []byte("{}"),
		"half": []byte(`{"id":"x","choices":[{"index":0,"message":{"role":"assistant","con`), "web page": []byte("<!doctype html><title>Bad gateway</title>"),
		"bytes": []byte("\x89PNG\r\n\x1a\n\x00\x00\xff\xfe"), "nested": bytes.Repeat([]byte("["), 100000),
		"wrong types": []byte(`{"id":1,"choices":{"a":1},"content":5,"candidates":"x","output":3,"usage":[]}`),
		"data null":   []byte("data: null\n\ndata: [DONE]\n\n"), "data array": []byte("data: []\n\n"), "data half": []byte("data: {\"choices\":[\n\n"),
		"only done": []byte("data: [DONE]\n\n"), "only blank": []byte("\n\n\r\n\r\n"), "events without data": []byte("event: message\n\nevent: x\nid: 5\n\n"),
	}
}

func (s *Scenario) answered(entry providers.Entry, kind string, body []byte) outcome {
	h := http.Header{}
	if kind != "" {
		h.Set("Content-Type", kind)
	}
	return s.try(entry, &replay.Exchange{Reply: replay.Reply{Status: 200, Header: h, Body: body}})
}

// spoil breaks one byte after the other, a seventh of them: enough to hit every
// member of every object several times.
func (s *Scenario) spoil(t *testing.T, entry providers.Entry) {
	t.Helper()
	for i := 0; i < len(s.Reply.Body); i += 7 {
		body := bytes.Clone(s.Reply.Body)
		body[i] = 0xff
		reply := s.Reply
		reply.Body = body
		o := s.try(entry, &replay.Exchange{Reply: reply})
		if c := fault.CodeOf(o.err); o.err != nil && c != fault.ProviderError {
			t.Fatalf("%s, byte %d: %v", s.Name, i, o.err)
		}
		for _, text := range said(o) {
			if !utf8.ValidString(text) {
				t.Fatalf("%s, byte %d: %q came out", s.Name, i, text)
			}
		}
	}
}

// said are all texts of an outcome.
func said(o outcome) (out []string) {
	for _, ev := range o.events {
		out = append(out, ev.ID, ev.Name, ev.Text, ev.Signature, ev.Native, string(ev.Logprobs))
		if ev.Usage != nil {
			out = append(out, string(ev.Usage.Raw))
		}
	}
	r := o.response
	if r == nil {
		return out
	}
	out = append(out, r.ID, r.Model, r.NativeFinish, string(r.Logprobs), string(r.Usage.Raw))
	for _, p := range r.Message.Parts {
		out = append(out, p.Text)
		if p.Call != nil {
			out = append(out, p.Call.ID, p.Call.Name, p.Call.Args)
		}
		if p.Reasoning != nil {
			out = append(out, p.Reasoning.Text, p.Reasoning.Signature, p.Reasoning.Data)
		}
	}
	for _, v := range r.Extra {
		out = append(out, string(v))
	}
	return out
}

// repeatUsage sends each event that holds usage twice: the numbers are those of
// one, or the stream is refused; they are never added up.
func (s *Scenario) repeatUsage(t *testing.T, entry providers.Entry) {
	want := s.try(entry, &replay.Exchange{Reply: s.Reply})
	events := s.Events()
	repeated := 0
	for i, ev := range events {
		if plain := strings.ReplaceAll(string(ev), " ", ""); !strings.Contains(plain, `"usage":{`) && !strings.Contains(plain, `"usageMetadata":{`) {
			continue
		}
		repeated++
		reply := s.Reply
		reply.Body = bytes.Join(append(slices.Clone(events[:i+1]), events[i:]...), nil)
		o := s.try(entry, &replay.Exchange{Reply: reply})
		if o.err != nil && fault.CodeOf(o.err) == fault.ProviderError {
			continue
		}
		if o.err != nil || fmt.Sprint(o.response.Usage) != fmt.Sprint(want.response.Usage) {
			t.Errorf("event %d twice: %+v, %v; want %+v", i, o.response.Usage, o.err, want.response.Usage)
		}
	}
	if repeated == 0 {
		t.Error("no event of usage_stream holds usage")
	}
}
