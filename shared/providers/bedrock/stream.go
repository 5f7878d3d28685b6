package bedrock

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/events"
	"github.com/latchkey/latchkey/shared/providers/internal/eventstream"
	"github.com/latchkey/latchkey/shared/providers/internal/sse"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// frames reads the answer's frames. Any other content is refused by its type.
func (c *Chat) frames(ans *wire.Answer) (events.Source, error) {
	if mt, _, _ := mime.ParseMediaType(ans.Header.Get("Content-Type")); mt != eventstream.ContentType {
		return nil, c.v.Malformed(op)
	}
	return c.source(ans.Body), nil
}

func (c *Chat) source(body io.Reader) events.Source {
	return &source{c: c, r: eventstream.NewReader(body)}
}

// source turns frames into events and what is wrong with them into faults.
type source struct {
	c *Chat
	r *eventstream.Reader
}

// Next implements [events.Source].
func (s *source) Next() (sse.Event, error) {
	m, err := s.r.Next()
	switch {
	case errors.Is(err, eventstream.ErrChecksum), errors.Is(err, eventstream.ErrTooLarge), errors.Is(err, eventstream.ErrFormat):
		return sse.Event{}, s.c.v.Malformed(op)
	case err != nil:
		return sse.Event{}, err
	case m.Kind == eventstream.Exception:
		return sse.Event{}, s.c.exception(m.Type, m.Payload)
	case m.Kind == eventstream.Error:
		// The front end's own error has a sentence of its own and no payload.
		text, _ := json.Marshal(map[string]string{"message": m.Text})
		return sse.Event{}, s.c.exception(m.Type, text)
	}
	return sse.Event{Name: m.Type, Data: m.Payload}, nil
}

// kind is what a block of a stream holds.
type kind uint8

const (
	none kind = iota // nothing yet, or something that is left out
	inText
	inReasoning
	inTool
	inForced // the forced tool, whose arguments are the text
	inOther  // a block of the vendor's own
)

// decoder reads the API's stream: messageStart, blocks one after another
// (contentBlockStart for tools, deltas, contentBlockStop), messageStop, metadata.
// Unknown events, blocks and deltas are passed over.
type decoder struct {
	e         *encoded
	requestID string

	begun, finished, counted bool
	// block is the index of the open block, -1 if none.
	block, blocks   int
	kind            kind
	anyArgs         bool
	tools, thoughts int
	// signature and redacted collect what comes in pieces until the block ends.
	signature string
	redacted  []byte
}

func newDecoder(e *encoded, requestID string) *decoder {
	return &decoder{e: e, requestID: requestID, block: -1}
}

type wireEvent struct {
	Index *int `json:"contentBlockIndex"`
	Start struct {
		Tool   *wireTool       `json:"toolUse"`
		Result json.RawMessage `json:"toolResult"`
		Image  json.RawMessage `json:"image"`
	} `json:"start"`
	Delta struct {
		Text *string `json:"text"`
		Tool *struct {
			Input string `json:"input"`
		} `json:"toolUse"`
		Reasoning *struct {
			Text      string `json:"text"`
			Signature string `json:"signature"`
			Redacted  []byte `json:"redactedContent"`
		} `json:"reasoningContent"`
		Image json.RawMessage `json:"image"`
	} `json:"delta"`
	StopReason string          `json:"stopReason"`
	Usage      json.RawMessage `json:"usage"`
}

// Frame implements [events.Decoder].
func (d *decoder) Frame(ev sse.Event, put events.Put) error {
	var in wireEvent
	switch ev.Name {
	case "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata":
		if json.Unmarshal(ev.Data, &in) != nil || d.begun == (ev.Name == "messageStart") {
			return d.malformed()
		}
	}
	switch ev.Name {
	case "messageStart":
		d.begun = true
		put(model.Event{Kind: model.EventStart, ID: d.requestID, RequestID: d.requestID})
	case "contentBlockStart":
		return d.open(&in, put)
	case "contentBlockDelta":
		return d.delta(&in, put)
	case "contentBlockStop":
		return d.close(&in, put)
	case "messageStop":
		if d.finished || d.block >= 0 || in.StopReason == "" {
			return d.malformed()
		}
		d.finished = true
		reason, native := finish(in.StopReason, d.tools > 0)
		put(model.Event{Kind: model.EventFinish, Finish: reason, Native: native})
		return d.end(put)
	case "metadata":
		if d.counted {
			return d.malformed()
		}
		d.counted = true
		if u := usage(in.Usage); u.Source != model.UsageNone {
			put(model.Event{Kind: model.EventUsage, Usage: &u})
		}
		return d.end(put)
	}
	return nil
}

// end ends the stream once both the stop reason and the usage have come.
func (d *decoder) end(put events.Put) error {
	if !d.finished || !d.counted {
		return nil
	}
	put(model.Event{Kind: model.EventEnd})
	return io.EOF
}

// End implements [events.Decoder]: without messageStop and metadata the answer was
// cut.
func (d *decoder) End(events.Put) error { return d.e.c.v.Cut(op) }

func (d *decoder) malformed() error { return d.e.c.v.Malformed(op) }

// begin opens a block.
func (d *decoder) begin(in *wireEvent) bool {
	if in.Index == nil || *in.Index < 0 || d.block >= 0 || d.finished || d.blocks >= maxBlocks {
		return false
	}
	d.block, d.kind, d.anyArgs, d.signature, d.redacted = *in.Index, none, false, "", nil
	d.blocks++
	return true
}

func (d *decoder) open(in *wireEvent, put events.Put) error {
	if !d.begin(in) {
		return d.malformed()
	}
	switch t := in.Start.Tool; {
	case t == nil && len(in.Start.Image) > 0:
		return d.e.c.v.Refuse(op, fault.UnsupportedMedia, "stream", "images in answers cannot be streamed, ask without stream")
	case t == nil && len(in.Start.Result) > 0, t != nil && t.Type == serverTool:
		d.kind = inOther
	case t == nil:
	case t.ID == "" || t.Name == "":
		return d.malformed()
	case t.Name == d.e.forced:
		d.kind = inForced
	default:
		d.kind = inTool
		d.tools++
		put(model.Event{Kind: model.EventToolStart, Index: d.tools - 1, ID: t.ID, Name: t.Name})
	}
	return nil
}

func (d *decoder) delta(in *wireEvent, put events.Put) error {
	// Blocks of text and reasoning have no start.
	if d.block < 0 && !d.begin(in) || in.Index == nil || *in.Index != d.block {
		return d.malformed()
	}
	switch c := &in.Delta; {
	case d.kind == inOther:
	case c.Text != nil:
		if d.kind != inText && d.kind != none {
			return d.malformed()
		}
		d.kind = inText
		if *c.Text != "" {
			put(model.Event{Kind: model.EventText, Text: *c.Text})
		}
	case c.Reasoning != nil:
		if d.kind != inReasoning && d.kind != none {
			return d.malformed()
		}
		d.thought(in, put)
	case c.Tool != nil:
		if d.kind != inTool && d.kind != inForced {
			return d.malformed()
		}
		d.args(c.Tool.Input, put)
	case len(c.Image) > 0:
		return d.e.c.v.Refuse(op, fault.UnsupportedMedia, "stream", "images in answers cannot be streamed, ask without stream")
	}
	return nil
}

func (d *decoder) thought(in *wireEvent, put events.Put) {
	if d.kind == none {
		d.kind = inReasoning
		if !d.e.hide {
			d.thoughts++
		}
	}
	r := in.Delta.Reasoning
	d.signature += r.Signature
	d.redacted = append(d.redacted, r.Redacted...)
	if r.Text != "" && !d.e.hide {
		put(model.Event{Kind: model.EventReasoning, Index: d.thoughts - 1, Text: r.Text})
	}
}

func (d *decoder) args(s string, put events.Put) {
	if s == "" {
		return
	}
	d.anyArgs = true
	if d.kind == inForced {
		put(model.Event{Kind: model.EventText, Text: s})
		return
	}
	put(model.Event{Kind: model.EventToolArgs, Index: d.tools - 1, Text: s})
}

func (d *decoder) close(in *wireEvent, put events.Put) error {
	if in.Index == nil || d.block < 0 && !d.begin(in) || *in.Index != d.block {
		return d.malformed()
	}
	d.block = -1
	switch d.kind {
	case inReasoning:
		if d.e.hide || d.signature == "" && len(d.redacted) == 0 {
			return nil
		}
		put(model.Event{Kind: model.EventReasoning, Index: d.thoughts - 1, Reasoning: &model.Reasoned{
			Signature: strings.ToValidUTF8(d.signature, ""), Data: base64.StdEncoding.EncodeToString(d.redacted),
			Format: d.e.profile.reasonedFormat(len(d.redacted) > 0)}})
	case inTool, inForced:
		if !d.anyArgs {
			d.args("{}", put)
		}
		if d.kind == inTool {
			put(model.Event{Kind: model.EventToolEnd, Index: d.tools - 1})
		}
	}
	return nil
}
