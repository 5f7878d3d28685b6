package gateway_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/speech"
)

// Uncarried: the rig's vendor has no seed, and speaks chat completions only.
func (r *rig) Uncarried(id string, q *model.Request) (out []string) {
	if q.Sampling.Seed != nil {
		out = append(out, model.FieldSeed)
	}
	for name := range q.Extra {
		if q.Dialect == model.DialectGemini || id == "second" && name == "logit_bias" {
			out = append(out, name)
		}
	}
	return out
}

func fields(m *model.Request, names ...string) *model.Request {
	m.Extra = map[string]json.RawMessage{}
	for _, n := range names {
		m.Extra[n] = json.RawMessage(`1`)
	}
	return m
}

// TestDroppedIsNamedAndNotSent: what the adapter cannot send is taken out and
// named, and so is what the platform does not forward.
func TestDroppedIsNamedAndNotSent(t *testing.T) {
	seed := int64(7)
	for _, own := range []bool{false, true} {
		r := newRig(t)
		if own {
			r.connect("c1", "https://vendor.example", nil)
		}
		m := fields(ask("openrouter/m"), "models", "logit_bias", "models\r\nx: y")
		m.Dialect, m.Sampling.Seed, m.User = model.DialectChat, &seed, "alice"
		a, err := r.complete(gateway.Query{}, m)
		check(t, err)
		want, sent := []string{"models", "models??x:?y", "seed"}, []string{"logit_bias"}
		if own {
			want, sent = []string{"seed"}, []string{"logit_bias", "models", "models\r\nx: y"}
		}
		got := r.calls[0].Request
		var names []string
		for n := range got.Extra {
			names = append(names, n)
		}
		slices.Sort(names)
		if !slices.Equal(a.Info().Dropped, want) || !slices.Equal(names, sent) || got.Sampling.Seed != nil || got.User == "" {
			t.Errorf("own %v: dropped %q, sent %q", own, a.Info().Dropped, names)
		}
		if m.Sampling.Seed == nil || len(m.Extra) != 3 {
			t.Error("the client's request was changed")
		}
	}
}

func TestNothingDroppedSaysNothing(t *testing.T) {
	r := newRig(t)
	m := fields(ask("openrouter/m"), "logit_bias")
	m.Dialect = model.DialectChat
	a, err := r.complete(gateway.Query{Strict: true}, m)
	check(t, err)
	if a.Info().Dropped != nil || !r.calls[0].Request.Strict || r.calls[0].Request.Extra["logit_bias"] == nil {
		t.Errorf("%q, sent %+v", a.Info().Dropped, r.calls[0].Request)
	}
}

// TestStrict: refused before anything is reserved or revealed, by header or body;
// a candidate that can be given everything still serves.
func TestStrict(t *testing.T) {
	for _, byBody := range []bool{false, true} {
		r := newRig(t)
		m := fields(ask("openrouter/m"), "thinking_budget")
		m.Dialect, m.Strict = model.DialectGemini, byBody
		_, err := r.complete(gateway.Query{Strict: !byBody}, m)
		if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != "thinking_budget" || !strings.HasPrefix(f.Message, "this model would not be given thinking_budget: ") || f.Retryable() {
			t.Errorf("body %v: %v", byBody, err)
		}
		g := r.gateway()
		m.Stream = true
		_, err = g.Stream(t.Context(), r.caller(g), gateway.Query{Strict: !byBody}, m)
		wantCode(t, err, fault.InvalidRequest)
		r.wantLog()
	}
	r := newRig(t)
	r.store.config.Settings.Fallback = []string{"openrouter/m"}
	m := fields(ask("openrouter/second"), "logit_bias")
	m.Dialect = model.DialectChat
	a, err := r.complete(gateway.Query{Strict: true}, m)
	check(t, err)
	r.wantLog("reserve 1 platform P7 hold=true", "call m key=platform-key", "used 1 completed")
	if a.Info().FallbackHeader() != "openrouter/second:invalid_request" {
		t.Errorf("%+v", a.Info())
	}
}

// TestShownFieldsAreBounded: clients choose the names.
func TestShownFieldsAreBounded(t *testing.T) {
	r := newRig(t)
	m := ask("openrouter/m")
	m.Extra = map[string]json.RawMessage{}
	for i := range 60 {
		m.Extra[strings.Repeat(string(rune('A'+i)), 500)] = json.RawMessage(`1`)
	}
	a, err := r.complete(gateway.Query{}, m)
	check(t, err)
	got := a.Info().Dropped
	if len(got) != 25 || got[24] != "and 36 more" || len(http.CanonicalHeaderKey(got[0])) != 64 {
		t.Errorf("%q", got)
	}
	if len(r.calls[0].Request.Extra) != 0 {
		t.Error("a name that is not shown was sent")
	}
}

// voiceRig is the vendor's speech.
type voiceRig struct{ r *rig }

func (v voiceRig) Transcribe(_ context.Context, c speech.TranscribeCall) (*speech.Transcription, error) {
	v.r.note("transcribe extra=%d", len(c.Request.Extra))
	return &speech.Transcription{Text: "hi"}, nil
}

func (v voiceRig) Synthesize(context.Context, speech.SynthesizeCall) (*speech.Audio, error) {
	v.r.note("synthesize")
	return nil, vendorFault(fault.InvalidRequest)
}

// TestSpeechDropped: the rig's vendor has no adapter that passes fields on.
func TestSpeechDropped(t *testing.T) {
	r := newRig(t)
	r.connect("c1", "https://vendor.example", func(c *connection.Connection) { c.Priority = 1 })
	g := r.gateway()
	_, err := g.Synthesize(t.Context(), r.caller(g), gateway.Query{Strict: true},
		&speech.SynthesizeRequest{Model: "openrouter/m", Input: "hi", Extra: map[string]json.RawMessage{"emotion": json.RawMessage(`1`)}})
	if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != "emotion" {
		t.Errorf("%v", err)
	}
	_, err = g.Transcribe(t.Context(), r.caller(g), gateway.Query{Strict: true},
		&speech.TranscribeRequest{Model: "openrouter/m", Audio: []byte("ID3"), Extra: map[string][]string{"hotwords": {"x"}}})
	if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != "hotwords" {
		t.Errorf("%v", err)
	}
	r.wantLog()
	a, err := g.Transcribe(t.Context(), r.caller(g), gateway.Query{},
		&speech.TranscribeRequest{Model: "openrouter/m", Audio: []byte("ID3"), Extra: map[string][]string{"hotwords": {"x"}}})
	check(t, err)
	check(t, a.Commit(t.Context()))
	r.wantLog("reserve 1 byok P5 hold=false", "transcribe extra=0", "used 1 completed")
	if !slices.Equal(a.Info().Dropped, []string{"hotwords"}) {
		t.Errorf("%q", a.Info().Dropped)
	}
}
