package modeltest

import (
	"net/http"
	"reflect"
	"slices"
	"testing"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
)

// answered are the shared rows that must have an answer, whole and streamed.
func answered() []string {
	return []string{"text", "image_bytes", "tools", "tools_parallel", "tool_results", "choice_required", "choice_named",
		"json_object", "json_schema", "stop", "limits", "reasoning_high", "cache", "audio_wav", "pdf_bytes"}
}

// answer checks the row's whole answer and its stream.
func (tb *table) answer(t *testing.T, entry providers.Entry, r row, req *model.Request) {
	t.Helper()
	kind := ".sse"
	if tb.given[r.name+".frames"] != nil {
		kind = ".frames"
	}
	whole, stream := tb.given[r.name+".json"], tb.given[r.name+kind]
	if whole == nil || stream == nil || req.Stream {
		t.Fatal("a row with an answer has it whole and as a stream")
	}
	s := &Scenario{Transcript: &replay.Transcript{Name: r.name}, Request: req}
	s.Reply = replay.Reply{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: whole}
	o := s.try(entry, &replay.Exchange{Reply: s.Reply})
	if o.err != nil {
		t.Fatal(o.err)
	}
	checkResponse(t, o.response)
	tb.add(r.name+".json", whole)
	tb.add(r.name+".response", replay.Pretty(plainResponse(o.response)))

	streamed := *req
	streamed.Stream = true
	reply := replay.SSE(stream)
	if kind == ".frames" {
		reply = replay.Frames(t, r.name, stream)
	}
	s = &Scenario{Transcript: &replay.Transcript{Name: r.name, Reply: reply}, Request: &streamed}
	so := s.try(entry, &replay.Exchange{Reply: s.Reply})
	if so.err != nil {
		t.Fatal(so.err)
	}
	tb.add(r.name+kind, stream)
	tb.add(r.name+".sent_stream", so.sent)
	tb.add(r.name+".events", eventLines(plainEvents(so.events)))
	checkOrder(t, so)
	checkHeld(t, so)
	checkParity(t, o.response, so.response)
	if !replay.Update() {
		s.recut(t, entry, so)
	}
}

// plainResponse leaves out the vendor's own usage object: transcripts show it.
func plainResponse(r *model.Response) *model.Response {
	out := *r
	out.Usage.Raw = nil
	return &out
}

func plainEvents(events []model.Event) []model.Event {
	out := slices.Clone(events)
	for i := range out {
		if out[i].Usage != nil {
			u := *out[i].Usage
			u.Raw = nil
			out[i].Usage = &u
		}
	}
	return out
}

// checkParity compares what a caller sees of both forms of one answer.
func checkParity(t *testing.T, whole, streamed *model.Response) {
	t.Helper()
	a, b := plainResponse(whole), plainResponse(streamed)
	if !reflect.DeepEqual(a.Message, b.Message) || a.Finish != b.Finish || a.NativeFinish != b.NativeFinish || !reflect.DeepEqual(a.Usage, b.Usage) {
		t.Errorf("the stream says something else\n--- whole\n%s\n--- stream\n%s", replay.Pretty(a), replay.Pretty(b))
	}
}

// checkAnswered says which answers are missing.
func checkAnswered(t *testing.T, tables []*table) {
	t.Helper()
	formats := map[string][]*table{}
	for _, tb := range tables {
		if tb.model != "" {
			formats[tb.format] = append(formats[tb.format], tb)
		}
	}
	if len(formats) == 0 {
		t.Error("no table of a model")
	}
	for format, list := range formats {
		for _, name := range answered() {
			has := func(kind string) func(*table) bool {
				return func(tb *table) bool { return tb.section(name+kind) != nil }
			}
			if slices.ContainsFunc(list, has(".sent")) && !slices.ContainsFunc(list, has(".response")) {
				t.Errorf("%s: row %s has no answer", format, name)
			}
		}
	}
}

func (tb *table) section(name string) []byte {
	for _, f := range tb.got {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}
