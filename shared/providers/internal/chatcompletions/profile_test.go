package chatcompletions

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

func TestRows(t *testing.T) {
	c := Config{Models: []Model{{Match: []string{"a-1", "a-2*"}, TopK: true}, {Match: []string{"a*"}, Reasoning: ReasoningEffort}, {Match: []string{"b"}}}}
	for id, want := range map[string]*Model{"a-1": &c.Models[0], "a-2": &c.Models[0], "a-2x": &c.Models[0], "a-10": &c.Models[1], "b": &c.Models[2]} {
		if got := c.row(id); got != want {
			t.Errorf("%s: %+v", id, got)
		}
	}
	for _, id := range []string{"bb", "B", "", "xa-1"} {
		if got := c.row(id); got.Match != nil || got.TopK || got.Media.ImageURL {
			t.Errorf("%q: a model without a row takes %+v", id, got)
		}
	}
	c.Models = append(c.Models, Model{TopK: true})
	if !c.row("zzz").TopK {
		t.Error("a row without patterns must match all")
	}
}

// TestCallIDs: calls and results still meet, whatever the IDs were.
func TestCallIDs(t *testing.T) {
	cfg := plain()
	cfg.NineCharIDs = true
	e := &encoder{Chat: New(cfg)}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9]{9}`)).Draw(t, "id")
		got := e.callID(id)
		if len(got) != 9 || strings.Trim(got, idAlphabet) != "" {
			t.Fatalf("%q becomes %q", id, got)
		}
		if len(id) == 9 && strings.Trim(id, idAlphabet) == "" && got != id {
			t.Fatalf("%q was changed to %q", id, got)
		}
		if e.callID(id) != got {
			t.Fatalf("%q is not stable", id)
		}
	})
	if e.callID("call_1") == e.callID("call_2") {
		t.Error("two IDs became one")
	}
	if e := (&encoder{Chat: New(plain())}); e.callID("call_1") != "call_1" {
		t.Error("IDs are changed for a vendor that takes any")
	}
}

func TestReasoningTable(t *testing.T) {
	on, off := true, false
	thinking := Model{Reasoning: ReasoningThinking, Efforts: []string{"none", "low"}}
	for name, tt := range map[string]struct {
		m    Model
		r    model.Reasoning
		want string // part of the body, "" for nothing, "!" for a refusal
	}{
		"none asked of a model without":  {Model{}, model.Reasoning{Effort: "none"}, ""},
		"off asked of a model without":   {Model{}, model.Reasoning{Enabled: &off}, ""},
		"hidden of a model without":      {Model{}, model.Reasoning{Exclude: true}, ""},
		"some asked of a model without":  {Model{}, model.Reasoning{Effort: "low"}, "!"},
		"budget of an effort model":      {Model{Reasoning: ReasoningEffort}, model.Reasoning{MaxTokens: 5}, "!"},
		"effort in the list":             {Model{Reasoning: ReasoningEffort, Efforts: []string{"low"}}, model.Reasoning{Effort: "low"}, `"reasoning_effort":"low"`},
		"effort not in the list":         {Model{Reasoning: ReasoningEffort, Efforts: []string{"low"}}, model.Reasoning{Effort: "max"}, "!"},
		"off where it cannot be":         {Model{Reasoning: ReasoningEffort, Efforts: []string{"low"}}, model.Reasoning{Enabled: &off}, "!"},
		"on takes the default effort":    {Model{Reasoning: ReasoningEffort, EffortOn: "low"}, model.Reasoning{Enabled: &on}, `"reasoning_effort":"low"`},
		"on without a default says none": {Model{Reasoning: ReasoningEffort}, model.Reasoning{Enabled: &on}, ""},
		"thinking on":                    {thinking, model.Reasoning{Enabled: &on}, `"thinking":{"type":"enabled"}}`},
		"thinking off":                   {thinking, model.Reasoning{Effort: "none"}, `"thinking":{"type":"disabled"}}`},
		"thinking with an effort":        {thinking, model.Reasoning{Effort: "low"}, `"thinking":{"type":"enabled"},"reasoning_effort":"low"}`},
		"thinking, unknown effort":       {thinking, model.Reasoning{Effort: "max"}, "!"},
		"thinking that has no efforts":   {Model{Reasoning: ReasoningThinking}, model.Reasoning{Effort: "low"}, "!"},
		"thinking that cannot be off":    {Model{Reasoning: ReasoningThinking, Efforts: []string{"low"}}, model.Reasoning{Effort: "none"}, "!"},
		"shown":                          {Model{Shown: Field{"f", `"s"`}, Hidden: Field{"f", `"h"`}}, model.Reasoning{}, `"f":"s"`},
		"hidden":                         {Model{Shown: Field{"f", `"s"`}, Hidden: Field{"f", `"h"`}}, model.Reasoning{Exclude: true}, `"f":"h"`},
		"object keeps what was said":     {Model{Reasoning: ReasoningObject}, model.Reasoning{Enabled: &off}, `"reasoning":{"enabled":false}`},
	} {
		cfg := plain()
		cfg.Models = []Model{tt.m}
		r := ask(model.Text("x"))
		r.Reasoning = tt.r
		b, err := New(cfg).Encode(r, false)
		switch {
		case tt.want == "!":
			if f := fault.As(err); f == nil || f.Code != fault.InvalidRequest || f.Param != "reasoning" {
				t.Errorf("%s: %s, %v", name, b, err)
			}
		case err != nil || !strings.Contains(string(b), tt.want) || tt.want == "" && (strings.Contains(string(b), "reasoning") || strings.Contains(string(b), "thinking")):
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
}

// TestOwnWords: a client that uses the vendor's own name for something we would
// write is heard, not overruled or dropped.
func TestOwnWords(t *testing.T) {
	cfg := plain()
	cfg.SeedField = "random_seed"
	cfg.Models = []Model{{Shown: Field{"reasoning_format", `"parsed"`}}}
	r := ask(model.Text("x"))
	r.Dialect = model.DialectChat
	r.Extra = map[string]json.RawMessage{"random_seed": json.RawMessage("7"), "reasoning_format": json.RawMessage(`"raw"`)}
	b, err := New(cfg).Encode(r, false)
	if err != nil || !strings.Contains(string(b), `"random_seed":7`) || !strings.Contains(string(b), `"reasoning_format":"raw"`) || strings.Contains(string(b), "parsed") {
		t.Errorf("%s, %v", b, err)
	}
	seed := int64(9)
	r.Sampling.Seed = &seed
	if b, _ = New(cfg).Encode(r, false); strings.Count(string(b), "random_seed") != 1 || !strings.Contains(string(b), `"random_seed":9`) {
		t.Errorf("%s", b)
	}
}

// TestSignaturesStayHome: what one vendor signed is not sent to another.
func TestSignaturesStayHome(t *testing.T) {
	cfg := plain()
	cfg.Models = []Model{{Replay: ReplayChunks}}
	c := New(cfg)
	got, err := c.Decode([]byte(`{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"signature":"s1"},` +
		`{"type":"reference","reference_ids":[1]},{"type":"text","text":"c"},{"type":"text","text":"d"}]},"finish_reason":"stop"}]}`))
	if err != nil || len(got.Message.Parts) != 2 || *got.Message.Parts[0].Reasoning != (model.Reasoned{Text: "ab", Signature: "s1", Format: "test"}) || got.Text() != "cd" {
		t.Fatalf("%+v, %v", got, err)
	}
	own := &model.Request{Model: "m", Messages: []model.Message{got.Message}}
	if b, _ := c.Encode(own, false); !strings.Contains(string(b), `"signature":"s1"`) {
		t.Errorf("%s", b)
	}
	foreign := got.Message.Parts[0]
	foreign.Reasoning = &model.Reasoned{Text: "ab", Signature: "s1", Format: "other-v1"}
	r := &model.Request{Model: "m", Messages: []model.Message{{Role: model.RoleAssistant, Parts: []model.Part{foreign}}}}
	if b, _ := c.Encode(r, false); strings.Contains(string(b), "s1") || !strings.Contains(string(b), `"text":"ab"`) {
		t.Errorf("%s", b)
	}
}

func TestUsagePlaces(t *testing.T) {
	outside := Config{ReasoningOutside: true}
	for raw, tt := range map[string]struct {
		c    *Config
		want model.Usage
	}{
		`{"prompt_tokens":10,"completion_tokens":5,"cached_tokens":4}`:                                        {&Config{}, model.Usage{Input: 6, CachedRead: 4, Output: 5}},
		`{"prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":6}`: {&Config{}, model.Usage{Input: 6, CachedRead: 4, Output: 5}},
		`{"prompt_tokens":10,"completion_tokens":5,"num_cached_tokens":4,"cached_tokens":0}`:                  {&Config{}, model.Usage{Input: 6, CachedRead: 4, Output: 5}},
		// OpenAI's place wins; the names are never added up.
		`{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3},"cached_tokens":4}`:                      {&Config{}, model.Usage{Input: 7, CachedRead: 3, Output: 5}},
		`{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,"completion_tokens_details":{"reasoning_tokens":94}}`:             {&outside, model.Usage{Input: 32, Output: 9, Reasoning: 94}},
		`{"prompt_tokens":32,"completion_tokens":9,"completion_tokens_details":{"reasoning_tokens":94}}`:                                {&outside, model.Usage{Input: 32, Output: 9, Reasoning: 94}},
		`{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60,"completion_tokens_details":{"reasoning_tokens":40}}`:             {&outside, model.Usage{Input: 10, Output: 10, Reasoning: 40}},
		`{"prompt_tokens":10,"completion_tokens":50,"total_tokens":60,"completion_tokens_details":{"reasoning_tokens":40},"more":true}`: {&Config{}, model.Usage{Input: 10, Output: 10, Reasoning: 40}},
		`{"prompt_tokens":1,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":9223372036854775807}}`:                {&outside, model.Usage{Input: 1, Reasoning: 1, Suspect: true}},
	} {
		got := tt.c.usage(rawValue(raw))
		got.Raw, tt.want.Source = nil, model.UsageProvider
		if got.Input != tt.want.Input || got.CachedRead != tt.want.CachedRead || got.Output != tt.want.Output || got.Reasoning != tt.want.Reasoning ||
			got.Suspect != tt.want.Suspect || got.Validate() != nil {
			t.Errorf("%s: %+v", raw, got)
		}
	}
}

// TestExclude: thinking that was excluded does not come out, and what comes after
// it does.
func TestExclude(t *testing.T) {
	s := New(plain()).NewStream(strings.NewReader(`data: {"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]},{"type":"text","text":"b"}]}}]}` +
		"\n\n" + `data: {"choices":[{"delta":{"reasoning":"c","content":"d"},"finish_reason":"stop"}]}` + "\n\n")).(*stream)
	s.exclude = true
	var text string
	for {
		ev, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil || ev.Kind == model.EventReasoning {
			t.Fatalf("%+v, %v", ev, err)
		}
		text += ev.Text
	}
	if text != "bd" {
		t.Errorf("%q", text)
	}
}

func FuzzContent(f *testing.F) {
	for _, s := range []string{`"x"`, `[{"type":"text","text":"x"}]`, `[{"type":"thinking","thinking":[{"text":"a"}],"signature":"s"},{"type":"text","text":"b"}]`, `null`, `[null]`, `{}`, `[[]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v content
		if json.Unmarshal(b, &v) != nil {
			return
		}
		parts := v.parts(nil, "test")
		for i, p := range parts {
			if p.Kind == model.PartText && (p.Text == "" || i > 0 && parts[i-1].Kind == model.PartText) || p.Kind == model.PartReasoning && p.Reasoning == nil {
				t.Fatalf("%q gives %+v", b, parts)
			}
		}
	})
}

func FuzzUsage(f *testing.F) {
	f.Add([]byte(`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":3}}`))
	f.Add([]byte(`{"prompt_tokens":-1,"completion_tokens":1e99,"cached_tokens":"x"}`))
	f.Add([]byte(`{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807,"total_tokens":null,"completion_tokens_details":{"reasoning_tokens":9223372036854775807}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []*Config{{}, {ReasoningOutside: true}} {
			if u := c.usage(rawValue(b)); u.Validate() != nil {
				t.Fatalf("%s: %+v", b, u)
			}
		}
	})
}
