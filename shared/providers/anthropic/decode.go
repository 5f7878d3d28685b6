package anthropic

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// maxBlocks bounds the blocks of one answer, far above what models produce.
const maxBlocks = 4096

// Types of content blocks. Others belong to the vendor's own tools and are left
// out, as the API asks clients to do.
const (
	blockText     = "text"
	blockThinking = "thinking"
	blockRedacted = "redacted_thinking"
	blockTool     = "tool_use"
)

type wireMessage struct {
	Type       string          `json:"type"`
	ID         string          `json:"id"`
	Model      string          `json:"model"`
	Content    []wireBlock     `json:"content"`
	StopReason string          `json:"stop_reason"`
	Usage      json.RawMessage `json:"usage"`
	Error      json.RawMessage `json:"error"`
}

type wireBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	Signature string          `json:"signature"`
	Data      string          `json:"data"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
}

// args is the block's input, "" for none and for the empty object that starts a
// streamed call.
func (b *wireBlock) args() string {
	s := strings.ToValidUTF8(strings.TrimSpace(string(b.Input)), "\ufffd")
	if s == "null" || s == "{}" {
		return ""
	}
	return s
}

var known = map[string]bool{"type": true, "id": true, "model": true, "content": true, "stop_reason": true, "usage": true,
	"error": true, "role": true}

// decode reads a whole answer. forced is the tool whose arguments are the text.
func decode(v *wire.Vendor, body []byte, h http.Header, forced string) (*model.Response, error) {
	var in wireMessage
	if json.Unmarshal(body, &in) != nil {
		return nil, v.Malformed(op)
	}
	if in.Type == "error" || len(in.Error) > 0 && string(in.Error) != "null" {
		return nil, v.DecideInBand(op, in.Error, h)
	}
	if in.Type != "message" || in.StopReason == "" || len(in.Content) > maxBlocks {
		return nil, v.Malformed(op)
	}
	r := &model.Response{ID: wire.Clip(in.ID), Model: wire.Clip(in.Model), Message: model.Message{Role: model.RoleAssistant}}
	tools := false
	for i := range in.Content {
		b := &in.Content[i]
		switch b.Type {
		case blockText:
			if b.Text != "" {
				r.Message.Parts = append(r.Message.Parts, model.Text(b.Text))
			}
		case blockThinking, blockRedacted:
			r.Message.Parts = append(r.Message.Parts, model.Part{Kind: model.PartReasoning,
				Reasoning: &model.Reasoned{Text: b.Thinking, Signature: b.Signature, Data: b.Data, Format: format}})
		case blockTool:
			args := b.args()
			if args == "" {
				args = "{}"
			}
			switch {
			case b.Name == "" || b.ID == "":
				return nil, v.Malformed(op)
			case b.Name == forced:
				r.Message.Parts = append(r.Message.Parts, model.Text(args))
				continue
			}
			tools = true
			r.Message.Parts = append(r.Message.Parts, model.Part{Kind: model.PartToolCall,
				Call: &model.ToolCall{ID: b.ID, Name: b.Name, Args: args}})
		}
	}
	r.Finish, r.NativeFinish = finish(in.StopReason, tools)
	var u usage
	u.merge(in.Usage)
	r.Usage = u.disjoint()
	r.Extra = wire.Extra(body, known)
	return r, nil
}

// finish translates a stop reason (StopReason of @anthropic-ai/sdk 1.12.0). A
// forced answer ends with tool_use but has no calls.
func finish(native string, tools bool) (model.FinishReason, string) {
	f := model.FinishStop
	switch native {
	case "tool_use":
		if tools {
			f = model.FinishToolCalls
		}
	case "max_tokens", "model_context_window_exceeded":
		f = model.FinishLength
	case "refusal":
		f = model.FinishContentFilter
	}
	return f, wire.Clip(native)
}

// usage collects counts. In a stream they are cumulative: what a later event
// states replaces what an earlier one did.
type usage struct {
	input, write, write1h, read, output, thinking wire.Count
	given                                         bool
	first, raw                                    json.RawMessage
}

func (u *usage) merge(raw json.RawMessage) {
	var in struct {
		Input  *wire.Count `json:"input_tokens"`
		Write  *wire.Count `json:"cache_creation_input_tokens"`
		Read   *wire.Count `json:"cache_read_input_tokens"`
		Output *wire.Count `json:"output_tokens"`
		Detail *struct {
			Thinking *wire.Count `json:"thinking_tokens"`
		} `json:"output_tokens_details"`
		Creation *struct {
			Hour *wire.Count `json:"ephemeral_1h_input_tokens"`
		} `json:"cache_creation"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &in) != nil || in.Input == nil && in.Output == nil {
		return
	}
	u.keep(raw)
	for _, f := range [...]struct {
		to   *wire.Count
		from *wire.Count
	}{{&u.input, in.Input}, {&u.write, in.Write}, {&u.read, in.Read}, {&u.output, in.Output}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if in.Detail != nil && in.Detail.Thinking != nil {
		u.thinking = *in.Detail.Thinking
	}
	if in.Creation != nil && in.Creation.Hour != nil {
		u.write1h = *in.Creation.Hour
	}
}

// keep holds on to the first and the last object for audits: in a stream only the
// first tells the writes of an hour apart.
func (u *usage) keep(raw json.RawMessage) {
	if !u.given {
		u.given, u.first = true, wire.RawUsage(raw)
		u.raw = u.first
		return
	}
	o := jsonwire.Begin(nil)
	if u.first != nil {
		o.Raw("message_start", u.first)
	}
	if last := wire.RawUsage(raw); last != nil {
		o.Raw("message_delta", last)
	}
	u.raw = o.End()
}

// disjoint is the usage in our buckets. The API's input, reads and writes exclude
// each other; the writes of an hour are part of all writes, thinking is part of
// the output.
func (u *usage) disjoint() model.Usage {
	if !u.given {
		return model.Usage{Source: model.UsageNone}
	}
	out := model.Usage{Source: model.UsageProvider, Raw: u.raw}
	within := func(n, limit wire.Count) int64 {
		if n < 0 || n > limit {
			out.Suspect = true
		}
		return int64(min(max(n, 0), limit))
	}
	out.Input = within(u.input, model.MaxTokens)
	out.CachedRead = within(u.read, model.MaxTokens)
	writes := within(u.write, model.MaxTokens)
	out.CacheWrite1h = within(u.write1h, wire.Count(writes))
	out.CacheWrite5m = writes - out.CacheWrite1h
	total := within(u.output, model.MaxTokens)
	out.Reasoning = within(u.thinking, wire.Count(total))
	out.Output = total - out.Reasoning
	return out
}
