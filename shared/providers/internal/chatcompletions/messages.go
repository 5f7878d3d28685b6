package chatcompletions

import (
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

func (c *Chat) messages(b []byte, list []model.Message) ([]byte, error) {
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
func (c *Chat) results(b []byte, start int, m *model.Message) ([]byte, error) {
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
		o.String("tool_call_id", p.Result.CallID)
		o.Name("content")
		var err error
		if o.B, err = c.resultContent(o.B, p); err != nil {
			return nil, err
		}
		b = o.End()
	}
	return b, nil
}

func (c *Chat) resultContent(b []byte, p *model.Part) ([]byte, error) {
	plain := p.CacheTTL == "" || !c.c.CacheControl
	for i := range p.Result.Parts {
		if p.Result.Parts[i].Kind != model.PartText {
			if !c.c.ToolMedia {
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

func (c *Chat) message(b []byte, m *model.Message) ([]byte, error) {
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
func (c *Chat) assistant(o jsonwire.Object, m *model.Message) ([]byte, error) {
	var text []model.Part
	var refusal strings.Builder
	audio, calls := "", 0
	for i := range m.Parts {
		switch p := &m.Parts[i]; p.Kind {
		case model.PartText:
			text = append(text, *p)
		case model.PartRefusal:
			refusal.WriteString(p.Text)
		case model.PartToolCall:
			calls++
		case model.PartReasoning:
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
	} else if o.B, err = c.contentOrString(o.B, text); err != nil {
		return nil, err
	}
	o.StringIf("refusal", refusal.String())
	if audio != "" {
		o.Name("audio")
		a := jsonwire.Begin(o.B)
		a.String("id", audio)
		o.B = a.End()
	}
	c.replay(&o, m.Parts)
	if calls > 0 {
		o.Name("tool_calls")
		o.B = appendCalls(o.B, m.Parts)
	}
	return o.End(), nil
}

func appendCalls(b []byte, parts []model.Part) []byte {
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
		o.String("id", call.ID)
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
func (c *Chat) replay(o *jsonwire.Object, parts []model.Part) {
	if c.c.Replay == ReplayNone {
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
	case n == 0:
	case c.c.Replay == ReplayContent:
		o.StringIf("reasoning_content", text.String())
	case !detailed:
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
func (c *Chat) contentOrString(b []byte, parts []model.Part) ([]byte, error) {
	if len(parts) == 0 {
		return append(b, '"', '"'), nil
	}
	if len(parts) == 1 && parts[0].Kind == model.PartText && (parts[0].CacheTTL == "" || !c.c.CacheControl) {
		return jsonwire.AppendString(b, parts[0].Text), nil
	}
	return c.content(b, parts)
}

func (c *Chat) content(b []byte, parts []model.Part) ([]byte, error) {
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

func (c *Chat) part(o *jsonwire.Object, p *model.Part) error {
	switch p.Kind {
	case model.PartText:
		o.String("type", "text")
		o.String("text", p.Text)
		return nil
	case model.PartImage:
		return c.image(o, p.Media)
	case model.PartAudio:
		return c.audio(o, p.Media)
	case model.PartFile:
		return c.file(o, p.Media)
	}
	return c.refuse("messages", "a message holds a part that does not belong to its role")
}

func (c *Chat) image(o *jsonwire.Object, m *model.Media) error {
	if !c.c.Vision {
		return c.refuseMedia("this provider takes no images")
	}
	if m.Base64 == "" && m.URL == "" || m.Base64 != "" && m.MIME == "" {
		return c.refuseMedia("an image must be given as a URL or as bytes with their media type")
	}
	o.String("type", "image_url")
	o.Name("image_url")
	u := jsonwire.Begin(o.B)
	u.String("url", m.DataURL())
	u.StringIf("detail", m.Detail)
	o.B = u.End()
	return nil
}

func (c *Chat) audio(o *jsonwire.Object, m *model.Media) error {
	if !c.c.Audio {
		return c.refuseMedia("this provider takes no audio in messages")
	}
	format := m.Format
	if format == "" {
		format = audioFormats[m.MIME]
	}
	if m.Base64 == "" || format == "" {
		return c.refuseMedia("audio must be given as bytes with their format, such as wav or mp3")
	}
	o.String("type", "input_audio")
	o.Name("input_audio")
	a := jsonwire.Begin(o.B)
	a.String("data", m.Base64)
	a.String("format", format)
	o.B = a.End()
	return nil
}

var audioFormats = map[string]string{
	"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3",
	"audio/flac": "flac", "audio/ogg": "ogg", "audio/mp4": "m4a", "audio/aac": "aac",
}

func (c *Chat) file(o *jsonwire.Object, m *model.Media) error {
	if !c.c.Files {
		return c.refuseMedia("this provider takes no files in messages")
	}
	o.String("type", "file")
	o.Name("file")
	f := jsonwire.Begin(o.B)
	f.StringIf("filename", m.Name)
	switch {
	case m.FileID != "":
		f.String("file_id", m.FileID)
	case m.Base64 != "" && m.MIME == "":
		return c.refuseMedia("a file must be given with its media type")
	default:
		f.String("file_data", m.DataURL())
	}
	o.B = f.End()
	return nil
}
