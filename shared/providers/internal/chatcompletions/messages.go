package chatcompletions

import (
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

func (c *encoder) messages(b []byte, list []model.Message) ([]byte, error) {
	b = append(b, '[')
	start := len(b)
	var err error
	for i := range list {
		m := &list[i]
		if b, err = c.results(b, start, m); err != nil {
			return nil, err
		}
		if m.Role == model.RoleTool || onlyResults(m) {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		if b, err = c.message(b, m); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func onlyResults(m *model.Message) bool {
	for i := range m.Parts {
		if m.Parts[i].Kind != model.PartToolResult {
			return false
		}
	}
	return len(m.Parts) > 0
}

// results writes each tool result of a message as a message of its own, before
// whatever else the message holds: the format wants results right after the
// calls.
func (c *encoder) results(b []byte, start int, m *model.Message) ([]byte, error) {
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Kind != model.PartToolResult {
			if m.Role == model.RoleTool {
				return nil, c.refuse("messages", "a tool message may only hold tool results")
			}
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		o := jsonwire.Begin(b)
		o.String("role", "tool")
		o.String("tool_call_id", c.callID(p.Result.CallID))
		o.Name("content")
		var err error
		if o.B, err = c.resultContent(o.B, p); err != nil {
			return nil, err
		}
		b = o.End()
	}
	return b, nil
}

func (c *encoder) resultContent(b []byte, p *model.Part) ([]byte, error) {
	plain := p.CacheTTL == "" || !c.c.CacheControl
	for i := range p.Result.Parts {
		if p.Result.Parts[i].Kind != model.PartText {
			if !c.m.Media.InTools {
				return nil, c.refuseMedia("this provider takes only text as the result of a tool")
			}
			plain = false
		}
	}
	if plain {
		return jsonwire.AppendString(b, p.Result.Text()), nil
	}
	parts := p.Result.Parts
	if p.CacheTTL != "" && len(parts) > 0 {
		parts = append([]model.Part(nil), parts...)
		parts[len(parts)-1].CacheTTL = p.CacheTTL
	}
	return c.content(b, parts)
}

func (c *encoder) message(b []byte, m *model.Message) ([]byte, error) {
	o := jsonwire.Begin(b)
	o.String("role", string(m.Role))
	o.StringIf("name", m.Name)
	if m.Role == model.RoleAssistant {
		return c.assistant(o, m)
	}
	o.Name("content")
	var err error
	if o.B, err = c.contentOrString(o.B, m.Parts); err != nil {
		return nil, err
	}
	return o.End(), nil
}

// assistant writes an earlier answer of the model.
func (c *encoder) assistant(o jsonwire.Object, m *model.Message) ([]byte, error) {
	var text []model.Part
	var refusal strings.Builder
	audio, calls, chunks := "", 0, false
	for i := range m.Parts {
		switch p := &m.Parts[i]; p.Kind {
		case model.PartText:
			text = append(text, *p)
		case model.PartRefusal:
			if c.c.TextRefusals {
				text = append(text, model.Text(p.Text))
				continue
			}
			refusal.WriteString(p.Text)
		case model.PartToolCall:
			calls++
		case model.PartReasoning:
			if c.m.Replay == ReplayChunks && p.Reasoning.Text != "" {
				text, chunks = append(text, *p), true
			}
		case model.PartAudio:
			if audio = p.Media.ID; audio == "" {
				return nil, c.refuseMedia("audio in an assistant message is named by its id")
			}
		default:
			return nil, c.refuseMedia("an assistant message cannot hold this kind of part")
		}
	}
	o.Name("content")
	var err error
	if len(text) == 0 {
		o.B = append(o.B, "null"...)
	} else if chunks {
		o.B, err = c.content(o.B, text)
	} else {
		o.B, err = c.contentOrString(o.B, text)
	}
	if err != nil {
		return nil, err
	}
	o.StringIf("refusal", refusal.String())
	if audio != "" {
		o.Name("audio")
		a := jsonwire.Begin(o.B)
		a.String("id", audio)
		o.B = a.End()
	}
	c.replay(&o, m.Parts, calls > 0)
	if calls > 0 {
		o.Name("tool_calls")
		o.B = c.appendCalls(o.B, m.Parts)
	}
	return o.End(), nil
}

func (c *encoder) appendCalls(b []byte, parts []model.Part) []byte {
	b = append(b, '[')
	n := 0
	for i := range parts {
		call := parts[i].Call
		if call == nil {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		o := jsonwire.Begin(b)
		o.String("id", c.callID(call.ID))
		o.String("type", "function")
		o.Name("function")
		f := jsonwire.Begin(o.B)
		f.String("name", call.Name)
		args := call.Args
		if args == "" {
			args = "{}"
		}
		f.String("arguments", args)
		o.B = f.End()
		if call.Signature != "" {
			o.Name("extra_content")
			o.B = append(o.B, `{"google":{"thought_signature":`...)
			o.B = append(jsonwire.AppendString(o.B, call.Signature), "}}"...)
		}
		b = o.End()
	}
	return append(b, ']')
}

// replay sends earlier thinking back in the form the vendor reads.
func (c *encoder) replay(o *jsonwire.Object, parts []model.Part, calls bool) {
	if c.m.Replay == ReplayNone {
		return
	}
	detailed, n := false, 0
	var text strings.Builder
	for i := range parts {
		if r := parts[i].Reasoning; r != nil {
			n++
			text.WriteString(r.Text)
			detailed = detailed || r.Signature != "" || r.Data != "" || r.Format != "" || r.ID != ""
		}
	}
	switch {
	case c.m.Replay == ReplayContentCalls && calls:
		o.String("reasoning_content", text.String())
	case n == 0:
	case c.m.Replay == ReplayChunks:
	case c.m.Replay == ReplayContent, c.m.Replay == ReplayContentCalls:
		o.StringIf("reasoning_content", text.String())
	case c.m.Replay == ReplayPlain || !detailed:
		o.StringIf("reasoning", text.String())
	default:
		o.Name("reasoning_details")
		o.B = appendDetails(o.B, parts)
	}
}

func appendDetails(b []byte, parts []model.Part) []byte {
	b = append(b, '[')
	n := 0
	for i := range parts {
		r := parts[i].Reasoning
		if r == nil {
			continue
		}
		if n > 0 {
			b = append(b, ',')
		}
		d := jsonwire.Begin(b)
		switch {
		case r.Data != "":
			d.String("type", detailEncrypted)
			d.String("data", r.Data)
		case r.Summary:
			d.String("type", detailSummary)
			d.String("summary", r.Text)
		default:
			d.String("type", detailText)
			d.String("text", r.Text)
			d.StringIf("signature", r.Signature)
		}
		d.StringIf("id", r.ID)
		d.StringIf("format", r.Format)
		d.Int("index", int64(n))
		b = d.End()
		n++
	}
	return append(b, ']')
}

const (
	detailText      = "reasoning.text"
	detailSummary   = "reasoning.summary"
	detailEncrypted = "reasoning.encrypted"
)

// contentOrString writes a lone plain text as a string, which every server
// takes, and anything else as an array of parts.
func (c *encoder) contentOrString(b []byte, parts []model.Part) ([]byte, error) {
	if len(parts) == 0 {
		return append(b, '"', '"'), nil
	}
	if len(parts) == 1 && parts[0].Kind == model.PartText && (parts[0].CacheTTL == "" || !c.c.CacheControl) {
		return jsonwire.AppendString(b, parts[0].Text), nil
	}
	return c.content(b, parts)
}

func (c *encoder) content(b []byte, parts []model.Part) ([]byte, error) {
	b = append(b, '[')
	n := 0
	for i := range parts {
		p := &parts[i]
		if p.Kind == model.PartToolResult {
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		o := jsonwire.Begin(b)
		if err := c.part(&o, p); err != nil {
			return nil, err
		}
		b = append(c.cache(o.B, p.CacheTTL), '}')
	}
	return append(b, ']'), nil
}
