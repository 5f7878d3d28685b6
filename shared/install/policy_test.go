package install

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
)

// TestAdmits: what the adapters drop anyway is no turn by policy either.
func TestAdmits(t *testing.T) {
	said := channel.Envelope{Space: "C1", Actor: "U1", Text: "x", IsBot: true}
	with := func(change func(*channel.Envelope)) channel.Envelope {
		e := said
		change(&e)
		return e
	}
	for name, c := range map[string]struct {
		policy BotMessages
		e      channel.Envelope
		want   bool
	}{
		"default": {"", said, false}, "none": {BotsNone, said, false}, "all": {BotsAll, said, true}, "unknown": {"yes", said, false},
		"mentions":          {BotsMentions, said, false},
		"mentions, direct":  {BotsMentions, with(func(e *channel.Envelope) { e.Direct = true }), true},
		"mentions, by name": {BotsMentions, with(func(e *channel.Envelope) { e.Mention = true }), true},
		"its own":           {BotsAll, with(func(e *channel.Envelope) { e.SelfAuthored = true }), false},
		"with a recording":  {BotsAll, with(func(e *channel.Envelope) { e.Media = []channel.Attachment{{}} }), false},
		"without an author": {BotsAll, with(func(e *channel.Envelope) { e.Actor = "" }), false},
		"without text":      {BotsAll, with(func(e *channel.Envelope) { e.Text = "" }), false},
		"without a place":   {BotsAll, with(func(e *channel.Envelope) { e.Space = "" }), false},
	} {
		if got := (Policy{BotMessages: c.policy}).Admits(c.e); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if p := (Policy{BotMessages: BotsAll}).merge(Policy{}); p.BotMessages != BotsAll {
		t.Errorf("what a change leaves out is %q", p.BotMessages)
	}
}

type plain struct{ channel.Adapter }

type editor struct{ channel.Adapter }

func (editor) Edit(context.Context, channel.Call, channel.Outgoing, string) *channel.Failure {
	return nil
}

// TestStreamingNeedsEdits: what a channel cannot do is refused when it is wished for.
func TestStreamingNeedsEdits(t *testing.T) {
	for _, c := range []struct {
		adapter channel.Adapter
		policy  Streaming
		want    string
	}{
		{plain{}, "", ""}, {plain{}, StreamOff, ""}, {editor{}, StreamEdits, ""},
		{plain{}, StreamEdits, "messages of this channel cannot be edited, so streaming stays off"},
		{editor{}, "chunks", "streaming is off or edits"},
	} {
		err := Policy{Streaming: c.policy}.check(channel.Entry{Adapter: c.adapter})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T %q: %v", c.adapter, c.policy, err)
		}
	}
	if p := (Policy{Streaming: StreamEdits, BotMessages: BotsAll}).merge(Policy{Streaming: StreamOff}); p.Streaming != StreamOff || p.BotMessages != BotsAll {
		t.Errorf("%+v", p)
	}
}

type chooser struct{ channel.Adapter }

func (chooser) Person(id string) string { return id }

// TestApprovers: people are named for channels with buttons, by ids, each once.
func TestApprovers(t *testing.T) {
	many := make([]string, MaxApprovers+1)
	for k := range many {
		many[k] = fmt.Sprint(k)
	}
	for _, c := range []struct {
		adapter channel.Adapter
		list    []string
		ok      bool
	}{
		{plain{}, nil, true}, {plain{}, []string{}, true}, {plain{}, []string{"U1"}, false},
		{chooser{}, []string{"U1", "U2"}, true}, {chooser{}, many[1:], true}, {chooser{}, many, false},
		{chooser{}, []string{""}, false}, {chooser{}, []string{"U1", "U1"}, false}, {chooser{}, []string{"U 1"}, false}, {chooser{}, []string{"größer"}, false}, {chooser{}, []string{strings.Repeat("1", 129)}, false},
	} {
		if err := (Policy{Approvers: c.list}).check(channel.Entry{Adapter: c.adapter}); (err == nil) != c.ok {
			t.Errorf("%T %q: %v", c.adapter, c.list, err)
		}
	}
	p := Policy{Approvers: []string{"U1"}}
	if q := p.merge(Policy{BotMessages: BotsAll}); !q.Approves("U1") || q.Approves("U2") || q.Approves("") {
		t.Errorf("%+v", q)
	}
	if q := p.merge(Policy{Approvers: []string{}}); q.Approves("U1") || (Policy{Approvers: []string{""}}).Approves("") {
		t.Errorf("%+v", q)
	}
}
