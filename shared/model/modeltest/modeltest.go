// Package modeltest is the suite that every chat adapter must pass. A vendor's
// test is one line:
//
//	func TestChat(t *testing.T) { modeltest.Run(t, Registration()) }
//
// It reads golden transcripts from the vendor's testdata/chat/*.txtar, one
// scenario each, named by the file. Sections:
//
//	meta.json           {"source":"recorded|documented","url","date","model"}
//	request.json        the canonical request
//	wire-request.http   golden: what the adapter must send, byte for byte
//	wire-response.http  status line, headers, body; or
//	wire-response.sse   the body of a 200 event stream; or
//	wire-response.frames  the messages of a 200 stream of AWS, a line each:
//	                    event TYPE JSON, exception TYPE JSON, error CODE TEXT
//	events.jsonl        golden: the canonical events of a stream
//	response.json       golden: the canonical response
//	error.json          golden: code, message, param, retry_after_ms
//
// An error scenario has error.json and no response.json. -update rewrites the
// golden sections and nothing else.
//
// Whatever a request holds of unknown fields, sampling and the end user must be
// sent or named ([model.Carrier]), for every model that a transcript names.
//
// A vendor that makes embeddings has testdata/embeddings/*.txtar of the same
// form.
//
// The other half is [RunTranslations]: tables of requests, the same for all vendors,
// with what each vendor is sent and how its answers and streams are read. A scenario
// here is about a way an answer can be, a row there about something a caller asks for.
//
// Which scenarios must exist follows from the declared capabilities; a scenario
// of a capability that is not declared fails as well. A vendor that lacks one
// form of a capability shows it by the scenario's refusal instead: error_<name>,
// in which nothing is sent. Every stream is read again
// cut at every byte, byte by byte, where it has lines with CR and CRLF ends, and
// ended at every byte; no error may show vendor text, the URL or the key.
package modeltest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/modeltest/replay"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// required scenarios by capability. Streams and whole answers are told apart by
// the request.
func required() map[taxonomy.Capability][]string {
	return map[taxonomy.Capability][]string{
		taxonomy.CapText: {"text", "stream", "usage", "usage_stream", "refusal", "length_stream", "content_filter",
			"error_401", "error_402", "error_403", "error_408", "error_413", "error_429", "error_500", "error_503",
			"error_html", "error_in_200", "error_redirect", "error_context_length", "error_param", "error_truncated",
			"error_malformed", "error_mid_stream", "error_empty"},
		taxonomy.CapTools:   {"tools", "tools_stream", "tools_parallel_stream", "tools_result", "tools_choice"},
		taxonomy.CapVision:  {"vision_url", "vision_bytes"},
		taxonomy.CapAudioIn: {"audio_in"},
		taxonomy.CapJSON:    {"json_schema", "json_object"},
	}
}

// Scenario is one transcript.
type Scenario struct {
	*replay.Transcript
	Request *model.Request
}

// Run runs the suite for one vendor. The current directory is the vendor's
// folder, as go test has it.
func Run(t *testing.T, entry providers.Entry) {
	t.Helper()
	if entry.NewChat == nil {
		t.Fatal("the vendor has no chat adapter")
	}
	list := load(t, filepath.Join("testdata", "chat"))
	checkCoverage(t, entry, list)
	for _, s := range list {
		t.Run(s.Name, func(t *testing.T) { s.run(t, entry) })
	}
	t.Run("limits", func(t *testing.T) { runLimits(t, entry) })
	t.Run("malformed", func(t *testing.T) { runMalformed(t, entry, list) })
	t.Run("carried", func(t *testing.T) { runCarried(t, entry, list) })
	if entry.NewEmbedder != nil {
		t.Run("embeddings", func(t *testing.T) { runEmbeddings(t, entry) })
	}
}

func checkCoverage(t *testing.T, entry providers.Entry, list []*Scenario) {
	t.Helper()
	have, refused := map[string]bool{}, map[string]bool{}
	for _, s := range list {
		have[s.Name] = true
		if name, ok := strings.CutPrefix(s.Name, "error_"); ok && s.Section("wire-request.http") == nil {
			refused[name] = true
		}
	}
	for capability, names := range required() {
		declared := entry.Has(capability)
		for _, n := range names {
			if declared && !have[n] && !refused[n] {
				t.Errorf("%s is declared, but scenario %s is missing", capability, n)
			}
			if !declared && have[n] {
				t.Errorf("scenario %s exists, but %s is not declared", n, capability)
			}
		}
	}
	// What a scenario uses must be declared, whatever its name says.
	for _, s := range list {
		vision, audio, tools, structured := s.Request.Needs()
		for capability, used := range map[taxonomy.Capability]bool{taxonomy.CapVision: vision, taxonomy.CapAudioIn: audio,
			taxonomy.CapTools: tools, taxonomy.CapJSON: structured} {
			if used && !entry.Has(capability) && s.Section("error.json") == nil {
				t.Errorf("scenario %s uses %s, which is not declared", s.Name, capability)
			}
		}
	}
}

func load(t *testing.T, dir string) (out []*Scenario) {
	t.Helper()
	for _, tr := range replay.Load(t, dir) {
		s := &Scenario{Transcript: tr, Request: &model.Request{}}
		s.Strict(t, "request.json", s.Request)
		out = append(out, s)
	}
	return out
}
