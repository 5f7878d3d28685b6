package responsesapi

import (
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// list appends the elements of an array.
type list struct {
	b    []byte
	some bool
}

func (l *list) begin() jsonwire.Object {
	if l.some {
		l.b = append(l.b, ',')
	}
	l.some = true
	return jsonwire.Begin(l.b)
}

func (l *list) end(o jsonwire.Object) { l.b = o.End() }

func (c *Chat) input(b []byte, messages []model.Message) ([]byte, error) {
	items := list{b: append(b, '[')}
	for i := range messages {
		m := &messages[i]
		if m.Name != "" {
			return nil, c.refuse("messages", "this model does not take names of speakers, leave them out")
		}
		err := c.results(&items, m)
		if err == nil && m.Role == model.RoleAssistant {
			err = c.assistant(&items, m)
		} else if err == nil && m.Role != model.RoleTool {
			err = c.said(&items, m)
		}
		if err != nil {
			return nil, err
		}
	}
	return append(items.b, ']'), nil
}

func (c *Chat) results(items *list, m *model.Message) error {
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Kind != model.PartToolResult {
			if m.Role == model.RoleTool {
				return c.refuse("messages", "a tool message may only hold tool results")
			}
			continue
		}
		o := items.begin()
		o.String("type", "function_call_output")
		o.String("call_id", p.Result.CallID)
		if slices.ContainsFunc(p.Result.Parts, func(q model.Part) bool { return q.Kind != model.PartText }) {
			o.Name("output")
			var err error
			if o.B, err = c.content(o.B, p.Result.Parts); err != nil {
				return err
			}
		} else {
			o.String("output", p.Result.Text())
		}
		items.end(o)
	}
	return nil
}

func (c *Chat) said(items *list, m *model.Message) error {
	parts := slices.DeleteFunc(slices.Clone(m.Parts), func(p model.Part) bool { return p.Kind == model.PartToolResult })
	if len(parts) == 0 && len(m.Parts) > 0 {
		return nil
	}
	o := items.begin()
	o.String("role", string(m.Role))
	if len(parts) == 1 && parts[0].Kind == model.PartText {
		o.String("content", parts[0].Text)
		items.end(o)
		return nil
	}
	o.Name("content")
	var err error
	if o.B, err = c.content(o.B, parts); err != nil {
		return err
	}
	items.end(o)
	return nil
}

// assistant writes an earlier answer as the items it was.
func (c *Chat) assistant(items *list, m *model.Message) error {
	for i := range m.Parts {
		switch p := &m.Parts[i]; p.Kind {
		case model.PartText:
			appendAnswer(items, "output_text", "text", p.Text)
		case model.PartRefusal:
			appendAnswer(items, "refusal", "refusal", p.Text)
		case model.PartReasoning:
			appendReasoning(items, p.Reasoning)
		case model.PartToolCall:
			o := items.begin()
			o.String("type", "function_call")
			o.String("call_id", p.Call.ID)
			o.String("name", p.Call.Name)
			args := p.Call.Args
			if args == "" {
				args = "{}"
			}
			o.String("arguments", args)
			items.end(o)
		case model.PartToolResult:
		default:
			return c.refuseMedia("an assistant message cannot hold this kind of part")
		}
	}
	return nil
}

func appendAnswer(items *list, kind, field, text string) {
	o := items.begin()
	o.String("role", "assistant")
	o.Name("content")
	o.B = append(o.B, '[')
	t := jsonwire.Begin(o.B)
	t.String("type", kind)
	t.String(field, text)
	o.B = append(t.End(), ']')
	items.end(o)
}

// appendReasoning sends back only what this format encrypted.
func appendReasoning(items *list, r *model.Reasoned) {
	if r.Format != Format || r.Data == "" {
		return
	}
	o := items.begin()
	o.String("type", "reasoning")
	o.StringIf("id", r.ID)
	o.Name("summary")
	o.B = append(o.B, '[')
	if r.Text != "" {
		s := jsonwire.Begin(o.B)
		s.String("type", "summary_text")
		s.String("text", r.Text)
		o.B = s.End()
	}
	o.B = append(o.B, ']')
	o.String("encrypted_content", r.Data)
	items.end(o)
}

func (c *Chat) content(b []byte, parts []model.Part) ([]byte, error) {
	l := list{b: append(b, '[')}
	for i := range parts {
		o := l.begin()
		if err := c.part(&o, &parts[i]); err != nil {
			return nil, err
		}
		l.end(o)
	}
	return append(l.b, ']'), nil
}

func (c *Chat) part(o *jsonwire.Object, p *model.Part) error {
	m := p.Media
	switch p.Kind {
	case model.PartText:
		o.String("type", "input_text")
		o.String("text", p.Text)
		return nil
	case model.PartImage:
		switch {
		case m.Base64 == "" && m.URL == "" || m.Base64 != "" && m.MIME == "":
			return c.refuseMedia("an image must be given as a URL or as bytes with their media type")
		case m.Base64 != "" && len(c.c.ImageTypes) > 0 && !slices.Contains(c.c.ImageTypes, strings.ToLower(m.MIME)):
			return c.refuseMedia("this model does not take this image format, send png or jpeg")
		}
		o.String("type", "input_image")
		o.String("image_url", m.DataURL())
		o.StringIf("detail", m.Detail)
		return nil
	case model.PartFile:
		o.String("type", "input_file")
		switch {
		case m.FileID != "":
			o.String("file_id", m.FileID)
		case m.Base64 != "" && m.MIME == "":
			return c.refuseMedia("a file must be given with its media type")
		case m.Base64 != "":
			o.StringIf("filename", m.Name)
			o.String("file_data", m.DataURL())
		default:
			o.String("file_url", m.URL)
		}
		return nil
	case model.PartAudio:
		return c.refuseMedia("this model takes no audio in messages")
	}
	return c.refuse("messages", "a message holds a part that does not belong to its role")
}
