package anthropic

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/events"
	"github.com/latchkey/latchkey/shared/providers/internal/sse"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// decoder reads the API's stream: message_start, then blocks one after another
// (content_block_start, deltas, content_block_stop), message_delta with stop
// reason and usage, message_stop. Unknown events, blocks and deltas are passed
// over, as the API's versioning rules ask.
type decoder struct {
	vendor    *wire.Vendor
	header    http.Header
	requestID string
	forced    string

	begun, finished bool
	// block is the index of the open block, -1 if none, kind its type.
	block, blocks int
	kind          string
	// asText says that the open block is the forced tool.
	asText, anyArgs bool
	initial         string
	tools, thoughts int
	usage           usage
}

type frame struct {
	Type    string          `json:"type"`
	Index   int             `json:"index"`
	Message *wireMessage    `json:"message"`
	Block   *wireBlock      `json:"content_block"`
	Delta   wireDelta       `json:"delta"`
	Usage   json.RawMessage `json:"usage"`
	Error   json.RawMessage `json:"error"`
}

type wireDelta struct {
	Type       string `json:"type"`
	Text       string `json:"text"`
	Thinking   string `json:"thinking"`
	Signature  string `json:"signature"`
	Partial    string `json:"partial_json"`
	StopReason string `json:"stop_reason"`
}

// Frame implements [events.Decoder].
func (d *decoder) Frame(ev sse.Event, put events.Put) error {
	var f frame
	if json.Unmarshal(ev.Data, &f) != nil {
		return d.vendor.Malformed(op)
	}
	if !d.begun && f.Type != "message_start" && f.Type != "error" && f.Type != "ping" {
		return d.vendor.Malformed(op)
	}
	switch f.Type {
	case "error":
		return d.vendor.DecideInBand(op, f.Error, d.header)
	case "message_start":
		return d.start(&f, put)
	case "content_block_start":
		return d.open(&f, put)
	case "content_block_delta":
		return d.delta(&f, put)
	case "content_block_stop":
		return d.close(&f, put)
	case "message_delta":
		return d.end(&f, put)
	case "message_stop":
		if !d.finished {
			return d.vendor.Malformed(op)
		}
		put(model.Event{Kind: model.EventEnd})
		return io.EOF
	}
	return nil
}

// End implements [events.Decoder]: without message_stop the answer was cut.
func (d *decoder) End(events.Put) error { return d.vendor.Cut(op) }

func (d *decoder) start(f *frame, put events.Put) error {
	if d.begun || f.Message == nil {
		return d.vendor.Malformed(op)
	}
	d.begun = true
	put(model.Event{Kind: model.EventStart, ID: wire.Clip(f.Message.ID), Name: wire.Clip(f.Message.Model), RequestID: d.requestID})
	d.count(f.Message.Usage, put)
	return nil
}

func (d *decoder) count(raw json.RawMessage, put events.Put) {
	if d.usage.merge(raw); len(raw) == 0 || !d.usage.given {
		return
	}
	u := d.usage.disjoint()
	put(model.Event{Kind: model.EventUsage, Usage: &u})
}

func (d *decoder) open(f *frame, put events.Put) error {
	if d.finished || d.block >= 0 || f.Block == nil || f.Index < 0 || d.blocks >= maxBlocks {
		return d.vendor.Malformed(op)
	}
	d.block, d.kind, d.asText, d.anyArgs, d.initial = f.Index, f.Block.Type, false, false, ""
	d.blocks++
	switch d.kind {
	case blockText:
		d.text(f.Block.Text, put)
	case blockThinking:
		d.thoughts++
		if f.Block.Thinking != "" || f.Block.Signature != "" {
			d.thought(f.Block.Thinking, f.Block.Signature, "", put)
		}
	case blockRedacted:
		d.thoughts++
		d.thought("", "", f.Block.Data, put)
	case blockTool:
		if f.Block.Name == "" || f.Block.ID == "" {
			return d.vendor.Malformed(op)
		}
		d.initial = f.Block.args()
		if d.asText = f.Block.Name == d.forced; !d.asText {
			d.tools++
			put(model.Event{Kind: model.EventToolStart, Index: d.tools - 1, ID: f.Block.ID, Name: f.Block.Name})
		}
	}
	return nil
}

func (d *decoder) text(s string, put events.Put) {
	if s != "" {
		put(model.Event{Kind: model.EventText, Text: s})
	}
}

func (d *decoder) thought(text, signature, data string, put events.Put) {
	ev := model.Event{Kind: model.EventReasoning, Index: d.thoughts - 1, Text: text}
	if signature != "" || data != "" {
		ev.Reasoning = &model.Reasoned{Signature: signature, Data: data, Format: format}
	}
	put(ev)
}

func (d *decoder) delta(f *frame, put events.Put) error {
	if f.Index != d.block || d.block < 0 {
		return d.vendor.Malformed(op)
	}
	switch {
	case d.kind == blockText && f.Delta.Type == "text_delta":
		d.text(f.Delta.Text, put)
	case d.kind == blockThinking && f.Delta.Type == "thinking_delta":
		if f.Delta.Thinking != "" {
			d.thought(f.Delta.Thinking, "", "", put)
		}
	case d.kind == blockThinking && f.Delta.Type == "signature_delta":
		d.thought("", f.Delta.Signature, "", put)
	case d.kind == blockTool && f.Delta.Type == "input_json_delta":
		d.args(f.Delta.Partial, put)
	}
	return nil
}

func (d *decoder) args(s string, put events.Put) {
	if s == "" {
		return
	}
	d.anyArgs = true
	if d.asText {
		put(model.Event{Kind: model.EventText, Text: s})
		return
	}
	put(model.Event{Kind: model.EventToolArgs, Index: d.tools - 1, Text: s})
}

func (d *decoder) close(f *frame, put events.Put) error {
	if f.Index != d.block || d.block < 0 {
		return d.vendor.Malformed(op)
	}
	d.block = -1
	if d.kind != blockTool {
		return nil
	}
	if !d.anyArgs {
		if d.initial == "" {
			d.initial = "{}"
		}
		d.args(d.initial, put)
	}
	if !d.asText {
		put(model.Event{Kind: model.EventToolEnd, Index: d.tools - 1})
	}
	return nil
}

func (d *decoder) end(f *frame, put events.Put) error {
	if d.block >= 0 || d.finished && f.Delta.StopReason != "" {
		return d.vendor.Malformed(op)
	}
	if f.Delta.StopReason != "" {
		d.finished = true
		reason, native := finish(f.Delta.StopReason, d.tools > 0)
		put(model.Event{Kind: model.EventFinish, Finish: reason, Native: native})
	}
	d.count(f.Usage, put)
	return nil
}
