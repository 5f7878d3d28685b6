package anthropic

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// turn is one message of the API: turns alternate, and the results of tools
// stand first in the user's turn after the calls.
type turn struct {
	role    model.Role
	results []*model.Part
	parts   []*model.Part
}

// messages writes system and messages.
func (e *encoded) messages(o *jsonwire.Object, r *model.Request) error {
	list := r.Messages
	n := 0
	for n < len(list) && list[n].Role == model.RoleSystem {
		n++
	}
	var system []*model.Part
	for i := range list[:n] {
		parts, err := e.texts(&list[i])
		if err != nil {
			return err
		}
		system = append(system, parts...)
	}
	turns, err := e.turns(list[n:], r.Dialect)
	if err != nil {
		return err
	}
	if len(turns) == 0 {
		return e.refuse("messages", "at least one user message with content is required")
	}
	if turns[len(turns)-1].role == model.RoleAssistant && !e.profile.prefill {
		return e.refuse("messages", "this model does not continue an assistant message, the conversation must end with a user message")
	}
	if len(system) > 0 {
		o.Name("system")
		if o.B, err = e.content(o.B, &turn{parts: system}); err != nil {
			return err
		}
	}
	o.Name("messages")
	o.B = append(o.B, '[')
	for i := range turns {
		if i > 0 {
			o.B = append(o.B, ',')
		}
		o.B = append(o.B, `{"role":"`...)
		o.B = append(append(o.B, turns[i].role...), `","content":`...)
		if o.B, err = e.content(o.B, &turns[i]); err != nil {
			return err
		}
		o.B = append(o.B, '}')
	}
	o.B = append(o.B, ']')
	return nil
}

// texts are the parts of a system message.
func (e *encoded) texts(m *model.Message) (out []*model.Part, err error) {
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Kind != model.PartText {
			return nil, e.refuse("messages", "a system message may only hold text")
		}
		if !blank(p.Text) {
			out = append(out, p)
		}
	}
	return out, nil
}

// blank texts are refused by the API and say nothing.
func blank(s string) bool { return strings.TrimSpace(s) == "" }

// turns brings the conversation into the API's form. A system message inside the
// conversation keeps its role where the model and its neighbours allow that; else
// its text goes into the user's turn.
func (e *encoded) turns(list []model.Message, dialect string) ([]turn, error) {
	var raw []turn
	for i := range list {
		t, err := e.turn(&list[i], dialect)
		if err != nil {
			return nil, err
		}
		if len(t.parts)+len(t.results) > 0 {
			raw = append(raw, t)
		}
	}
	var out []turn
	for i := range raw {
		t := raw[i]
		afterUser := len(out) > 0 && out[len(out)-1].role == model.RoleUser
		beforeAnswer := i+1 == len(raw) || raw[i+1].role == model.RoleAssistant
		if t.role == model.RoleSystem && !(e.profile.system && afterUser && beforeAnswer) {
			t.role = model.RoleUser
		}
		if len(out) > 0 && out[len(out)-1].role == t.role {
			last := &out[len(out)-1]
			last.results = append(last.results, t.results...)
			last.parts = append(last.parts, t.parts...)
			continue
		}
		out = append(out, t)
	}
	return out, nil
}

// turn sorts the parts of one message.
func (e *encoded) turn(m *model.Message, dialect string) (t turn, err error) {
	switch t.role = m.Role; m.Role {
	case model.RoleSystem:
		t.parts, err = e.texts(m)
		return t, err
	case model.RoleTool:
		t.role = model.RoleUser
	case model.RoleUser, model.RoleAssistant:
	default:
		return t, e.refuse("messages", "a message has an unknown role")
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		switch p.Kind {
		case model.PartToolResult:
			if t.role != model.RoleUser {
				return t, e.refuse("messages", "an assistant message cannot hold the result of a tool")
			}
			t.results = append(t.results, p)
			continue
		case model.PartToolCall, model.PartReasoning, model.PartRefusal:
			if m.Role != model.RoleAssistant {
				return t, e.refuse("messages", "only an assistant message holds tool calls, reasoning and refusals")
			}
			if p.Reasoning != nil && !replayable(p.Reasoning, dialect) {
				continue
			}
		case model.PartImage, model.PartAudio, model.PartFile:
			if m.Role == model.RoleAssistant {
				return t, e.refuseMedia("an assistant message cannot hold media with this provider")
			}
		}
		if m.Role == model.RoleTool {
			return t, e.refuse("messages", "a tool message may only hold tool results")
		}
		if (p.Kind == model.PartText || p.Kind == model.PartRefusal) && blank(p.Text) {
			continue
		}
		t.parts = append(t.parts, p)
	}
	return t, nil
}

// format names the shape of this API's signatures and encrypted thinking.
const format = "anthropic-claude-v1"

// replayable says whether earlier thinking can go back: the API takes only what
// it signed or encrypted itself.
func replayable(r *model.Reasoned, dialect string) bool {
	ours := r.Format == format || r.Format == "" && dialect == model.DialectMessages
	return ours && (r.Signature != "" || r.Data != "")
}

// content writes a lone plain text as a string and anything else as blocks.
func (e *encoded) content(b []byte, t *turn) ([]byte, error) {
	if len(t.results) == 0 && len(t.parts) == 1 && t.parts[0].Kind == model.PartText && t.parts[0].CacheTTL == "" {
		return jsonwire.AppendString(b, t.parts[0].Text), nil
	}
	b = append(b, '[')
	var err error
	for i, p := range slices.Concat(t.results, t.parts) {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = e.block(b, p); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func (e *encoded) block(b []byte, p *model.Part) ([]byte, error) {
	o := jsonwire.Begin(b)
	var err error
	switch p.Kind {
	case model.PartText, model.PartRefusal:
		o.String("type", "text")
		o.String("text", p.Text)
	case model.PartImage:
		err = e.image(&o, p.Media)
	case model.PartFile:
		err = e.document(&o, p.Media)
	case model.PartAudio:
		err = e.refuseMedia("this provider takes no audio in messages")
	case model.PartToolCall:
		err = e.call(&o, p.Call)
	case model.PartToolResult:
		err = e.result(&o, p.Result)
	case model.PartReasoning:
		// Thinking must go back as it came, without a cache marker.
		if r := p.Reasoning; r.Data != "" {
			o.String("type", "redacted_thinking")
			o.String("data", r.Data)
		} else {
			o.String("type", "thinking")
			o.String("thinking", r.Text)
			o.String("signature", r.Signature)
		}
		return o.End(), nil
	default:
		err = e.refuse("messages", "a message holds a part that is not known")
	}
	if err != nil {
		return nil, err
	}
	return append(cache(o.B, p.CacheTTL), '}'), nil
}

// images are the formats the API takes (vision documentation, read 2026-11).
var images = map[string]bool{"image/jpeg": true, "image/png": true, "image/gif": true, "image/webp": true}

func (e *encoded) image(o *jsonwire.Object, m *model.Media) error {
	o.String("type", "image")
	switch {
	case m.Base64 != "" && images[m.MIME]:
		o.B = source(o, "base64", "media_type", m.MIME, "data", m.Base64)
	case m.Base64 != "":
		return e.refuseMedia("this provider takes images as JPEG, PNG, GIF or WebP")
	case m.FileID != "":
		o.B = source(o, "file", "file_id", m.FileID)
	case remote(m.URL):
		o.B = source(o, "url", "url", m.URL)
	default:
		return e.refuseMedia("an image must be given as bytes with their media type, as an https URL or as a file of the provider")
	}
	return nil
}

func (e *encoded) document(o *jsonwire.Object, m *model.Media) error {
	o.String("type", "document")
	switch {
	case m.Base64 != "" && m.MIME == "application/pdf":
		o.B = source(o, "base64", "media_type", m.MIME, "data", m.Base64)
	case m.Base64 != "" && m.MIME == "text/plain":
		text, err := m.Bytes()
		if err != nil {
			return e.refuseMedia("the file is not valid base64")
		}
		o.B = source(o, "text", "media_type", m.MIME, "data", string(text))
	case m.Base64 != "":
		return e.refuseMedia("this provider takes files as PDF or plain text")
	case m.FileID != "":
		o.B = source(o, "file", "file_id", m.FileID)
	case remote(m.URL) && (m.MIME == "" || m.MIME == "application/pdf"):
		o.B = source(o, "url", "url", m.URL)
	default:
		return e.refuseMedia("a file must be given as bytes with their media type, as the https URL of a PDF or as a file of the provider")
	}
	o.StringIf("title", m.Name)
	return nil
}

func remote(url string) bool { return strings.HasPrefix(url, "https://") }

// source writes a source object: its type and pairs of names and values.
func source(o *jsonwire.Object, kind string, pairs ...string) []byte {
	o.Name("source")
	s := jsonwire.Begin(o.B)
	s.String("type", kind)
	for i := 0; i < len(pairs); i += 2 {
		s.String(pairs[i], pairs[i+1])
	}
	return s.End()
}

func (e *encoded) call(o *jsonwire.Object, c *model.ToolCall) error {
	id, err := e.callID(c.ID)
	if err != nil {
		return err
	}
	o.String("type", "tool_use")
	o.String("id", id)
	o.String("name", c.Name)
	args := strings.TrimSpace(c.Args)
	switch {
	case args == "":
		o.Raw("input", []byte(`{}`))
	case args[0] == '{' && json.Valid([]byte(args)):
		o.Raw("input", []byte(args))
	default:
		// The API takes only an object, and the conversation must be able to go
		// on after a model wrote something else.
		o.Name("input")
		n := jsonwire.Begin(o.B)
		n.String("invalid_arguments", c.Args)
		o.B = n.End()
	}
	return nil
}

const idChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// callID makes an ID of another vendor fit ^[a-zA-Z0-9_-]+$, the same way for a
// call and its result.
func (e *encoded) callID(id string) (string, error) {
	switch {
	case id == "":
		return "", e.refuse("messages", "a tool call or its result has no id")
	case len(id) <= 64 && strings.Trim(id, idChars) == "":
		return id, nil
	}
	sum := sha256.Sum256([]byte(id))
	return "call_" + hex.EncodeToString(sum[:16]), nil
}

func (e *encoded) result(o *jsonwire.Object, r *model.ToolResult) error {
	id, err := e.callID(r.CallID)
	if err != nil {
		return err
	}
	o.String("type", "tool_result")
	o.String("tool_use_id", id)
	t := turn{}
	for i := range r.Parts {
		p := &r.Parts[i]
		switch p.Kind {
		case model.PartText:
			if !blank(p.Text) {
				t.parts = append(t.parts, p)
			}
		case model.PartImage, model.PartFile:
			t.parts = append(t.parts, p)
		default:
			return e.refuseMedia("this provider takes text, images and files as the result of a tool")
		}
	}
	if len(t.parts) > 0 {
		o.Name("content")
		if o.B, err = e.content(o.B, &t); err != nil {
			return err
		}
	}
	if r.IsError {
		o.Bool("is_error", true)
	}
	return nil
}
