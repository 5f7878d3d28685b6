package model

import (
	"io"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
)

// TestSplit: whatever a vendor reports, the buckets are valid and disjoint, keep
// its totals when these are possible, and contradictions are marked.
func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(l string) int64 {
			if rapid.Bool().Draw(t, l+" wild") {
				return rapid.Int64().Draw(t, l)
			}
			return rapid.Int64Range(0, 1000).Draw(t, l)
		}
		c := Inclusive{Input: n("in"), CachedRead: n("read"), CacheWrite: n("write"), InputAudio: n("audio"), InputImage: n("image"),
			Output: n("out"), Reasoning: n("think"), OutputAudio: n("speak")}
		u := c.Split()
		if err := u.Validate(); err != nil {
			t.Fatalf("%+v gives %+v", c, u)
		}
		if want := min(max(c.Input, 0), MaxTokens); u.InputTotal() != want {
			t.Fatalf("%+v: input %d, want %d", c, u.InputTotal(), want)
		}
		if want := min(max(c.Output, 0), MaxTokens); u.OutputTotal() != want {
			t.Fatalf("%+v: output %d, want %d", c, u.OutputTotal(), want)
		}
		consistent := c.Input >= 0 && c.Input <= MaxTokens && c.CachedRead >= 0 && c.CacheWrite >= 0 && c.CachedRead <= c.Input &&
			c.CacheWrite <= c.Input-c.CachedRead && c.InputAudio >= 0 && c.InputImage >= 0 &&
			c.Output >= 0 && c.Output <= MaxTokens && c.Reasoning >= 0 && c.OutputAudio >= 0 && c.Reasoning <= c.Output && c.OutputAudio <= c.Output-c.Reasoning
		if u.Suspect == consistent {
			t.Fatalf("%+v: suspect %v", c, u.Suspect)
		}
	})
}

func TestUsageValidate(t *testing.T) {
	for _, u := range []Usage{{Input: -1}, {Reasoning: MaxTokens + 1}, {Source: "guessed"}} {
		if err := u.Validate(); fault.CodeOf(err) != fault.ProviderError {
			t.Errorf("%+v: %v", u, err)
		}
	}
	if err := (&Usage{Source: UsageEstimated, OutputAudio: MaxTokens}).Validate(); err != nil {
		t.Error(err)
	}
}

// script is a stream of canned events that ends with err.
type script struct {
	events []Event
	err    error
}

// Next implements [Stream].
func (s *script) Next() (Event, error) {
	if len(s.events) == 0 {
		return Event{}, s.err
	}
	ev := s.events[0]
	s.events = s.events[1:]
	return ev, nil
}

// Close implements [Stream].
func (s *script) Close() error { return nil }

func TestCollectKeepsWhatArrived(t *testing.T) {
	cut := fault.New(fault.ProviderError, "test", "cut")
	events := []Event{{Kind: EventStart, ID: "i", Name: "m"}, {Kind: EventReasoning, Text: "a"}, {Kind: EventReasoning, Text: "b", Reasoning: &Reasoned{Signature: "s"}},
		{Kind: EventReasoning, Index: 1, Reasoning: &Reasoned{Data: "d"}}, {Kind: EventText, Text: "x"}, {Kind: EventText, Text: "y"},
		{Kind: EventToolStart, ID: "c", Name: "f"}, {Kind: EventToolArgs, Text: "{"}}
	r, err := Collect(&script{events, cut})
	if err != cut {
		t.Fatal(err)
	}
	want := []Part{{Kind: PartReasoning, Reasoning: &Reasoned{Text: "ab", Signature: "s"}}, {Kind: PartReasoning, Reasoning: &Reasoned{Data: "d"}},
		Text("xy"), {Kind: PartToolCall, Call: &ToolCall{ID: "c", Name: "f", Args: "{"}}}
	if !reflect.DeepEqual(r.Message.Parts, want) || r.Finish != "" || r.Usage.Source != UsageNone {
		t.Errorf("%+v", r)
	}
	done := append(events, Event{Kind: EventToolArgs, Text: "}"}, Event{Kind: EventToolEnd, Signature: "late"}, Event{Kind: EventFinish, Finish: FinishToolCalls}, Event{Kind: EventEnd})
	r, err = Collect(&script{done, io.EOF})
	if err != nil || r.ToolCalls()[0] != (ToolCall{ID: "c", Name: "f", Args: "{}", Signature: "late"}) || r.Text() != "xy" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNeeds(t *testing.T) {
	r := Request{Messages: []Message{{Role: RoleTool, Parts: []Part{{Kind: PartToolResult, Result: &ToolResult{Parts: []Part{{Kind: PartImage}}}}}},
		{Role: RoleUser, Parts: []Part{{Kind: PartAudio}}}}, Output: Output{Kind: OutputJSONObject}}
	vision, audio, tools, structured := r.Needs()
	if !vision || !audio || !tools || !structured {
		t.Error(vision, audio, tools, structured)
	}
	// Audio that the model itself made earlier needs no audio input.
	r = Request{Messages: []Message{{Role: RoleAssistant, Parts: []Part{{Kind: PartAudio}}}}}
	if vision, audio, tools, structured = r.Needs(); vision || audio || tools || structured {
		t.Error(vision, audio, tools, structured)
	}
}
