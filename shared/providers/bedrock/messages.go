package bedrock

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// turn is one message of the API: turns alternate, the user's is the first, and the
// results of tools stand first in the user's turn after the calls.
type turn struct {
	assistant bool
	results   []*model.Part
	parts     []*model.Part
}

// messages writes messages and system.
func (e *encoded) messages(o *jsonwire.Object, r *model.Request) error {
	list := r.Messages
	n := 0
	for n < len(list) && list[n].Role == model.RoleSystem {
		n++
	}
	var system []*model.Part
	for i := range list[:n] {
		t, err := e.turn(&list[i], r.Dialect)
		if err != nil {
			return err
		}
		system = append(system, t.parts...)
	}
	turns, err := e.turns(list[n:], r.Dialect)
	if err != nil {
		return err
	}
	switch {
	case len(turns) == 0:
		return e.c.refuse("messages", "at least one user message with content is required")
	case turns[0].assistant:
		return e.c.refuse("messages", "with this provider the conversation must start with a user message")
	case turns[len(turns)-1].assistant && !e.profile.prefill:
		return e.c.refuse("messages", "this model does not continue an assistant message, the conversation must end with a user message")
	}
	o.Name("messages")
	o.B = append(o.B, '[')
	for i := range turns {
		t := &turns[i]
		if i > 0 {
			o.B = append(o.B, ',')
		}
		role := `{"role":"user","content":`
		if t.assistant {
			role = `{"role":"assistant","content":`
		}
		o.B = append(o.B, role...)
		if o.B, err = e.content(o.B, slices.Concat(t.results, t.parts)); err != nil {
			return err
		}
		if err := e.checkDocuments(t); err != nil {
			return err
		}
		o.B = append(o.B, '}')
	}
	o.B = append(o.B, ']')
	if len(system) == 0 {
		return nil
	}
	o.Name("system")
	o.B, err = e.content(o.B, system)
	return err
}

// checkDocuments: a message that holds a document must hold a text as well.
func (e *encoded) checkDocuments(t *turn) error {
	text, document := false, false
	for _, p := range t.parts {
		text = text || p.Kind == model.PartText
		document = document || p.Kind == model.PartFile
	}
	if document && !text {
		return e.c.refuse("messages", "this provider takes a file only together with text in the same message")
	}
	return nil
}

// turns merges messages of one side.
func (e *encoded) turns(list []model.Message, dialect string) ([]turn, error) {
	var out []turn
	for i := range list {
		t, err := e.turn(&list[i], dialect)
		if err != nil {
			return nil, err
		}
		switch {
		case len(t.parts)+len(t.results) == 0:
		case len(out) > 0 && out[len(out)-1].assistant == t.assistant:
			last := &out[len(out)-1]
			last.results = append(last.results, t.results...)
			last.parts = append(last.parts, t.parts...)
		default:
			out = append(out, t)
		}
	}
	return out, nil
}

// turn sorts the parts of one message.
func (e *encoded) turn(m *model.Message, dialect string) (t turn, err error) {
	switch m.Role {
	case model.RoleAssistant:
		t.assistant = true
	case model.RoleSystem, model.RoleTool, model.RoleUser:
	default:
		return t, e.c.refuse("messages", "a message has an unknown role")
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		switch p.Kind {
		case model.PartToolResult:
			if m.Role != model.RoleTool && m.Role != model.RoleUser {
				return t, e.c.refuse("messages", "only a tool or user message holds the result of a tool")
			}
			t.results = append(t.results, p)
			continue
		case model.PartToolCall, model.PartReasoning, model.PartRefusal:
			if !t.assistant {
				return t, e.c.refuse("messages", "only an assistant message holds tool calls, reasoning and refusals")
			}
		case model.PartImage, model.PartAudio, model.PartFile:
			if t.assistant {
				return t, e.c.refuseMedia("an assistant message cannot hold media with this provider")
			}
		}
		switch {
		case m.Role == model.RoleTool:
			return t, e.c.refuse("messages", "a tool message may only hold tool results")
		case m.Role == model.RoleSystem && p.Kind != model.PartText:
			return t, e.c.refuse("messages", "a system message may only hold text")
		case (p.Kind == model.PartText || p.Kind == model.PartRefusal) && blank(p.Text):
			continue
		case p.Reasoning != nil && !e.replayable(p.Reasoning, dialect):
			continue
		}
		t.parts = append(t.parts, p)
	}
	return t, nil
}

// blank texts are refused by the API and say nothing.
func blank(s string) bool { return strings.TrimSpace(s) == "" }

// claudeFormat names the shape of Claude's signatures, which its maker's own API
// and this one both take (the maker's documentation of extended thinking, read
// 2026-11-22).
const claudeFormat = "anthropic-claude-v1"

// ownFormat names the shape of reasoning that only this API takes, and only for the
// family that made it.
func (p *profile) ownFormat() string { return "bedrock-" + p.family + "-v1" }

// reasonedFormat names the shape of a piece of reasoning that came.
func (p *profile) reasonedFormat(redacted bool) string {
	if p.form == formClaude && !redacted {
		return claudeFormat
	}
	return p.ownFormat()
}

// replayable says whether earlier reasoning can go back.
func (e *encoded) replayable(r *model.Reasoned, dialect string) bool {
	if r.Data != "" {
		return r.Format == e.profile.ownFormat()
	}
	claude := r.Format == claudeFormat || r.Format == "" && dialect == model.DialectMessages
	return r.Signature != "" && (r.Format == e.profile.ownFormat() || claude && e.profile.form == formClaude)
}

// content writes blocks and the cache points after them.
func (e *encoded) content(b []byte, parts []*model.Part) ([]byte, error) {
	b = append(b, '[')
	for i, p := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		o := jsonwire.Begin(b)
		if err := e.block(&o, p); err != nil {
			return nil, err
		}
		b = o.End()
		if p.Kind != model.PartReasoning {
			b = e.cachePoint(b, p.CacheTTL)
		}
	}
	return append(b, ']'), nil
}

func (e *encoded) block(o *jsonwire.Object, p *model.Part) error {
	switch p.Kind {
	case model.PartText, model.PartRefusal:
		o.String("text", p.Text)
	case model.PartImage:
		return e.image(o, p.Media)
	case model.PartAudio:
		return e.audio(o, p.Media)
	case model.PartFile:
		return e.document(o, p.Media)
	case model.PartToolCall:
		return e.call(o, p.Call)
	case model.PartToolResult:
		return e.result(o, p.Result)
	case model.PartReasoning:
		o.Name("reasoningContent")
		n := jsonwire.Begin(o.B)
		if p.Reasoning.Data != "" {
			n.String("redactedContent", p.Reasoning.Data)
		} else {
			n.Name("reasoningText")
			t := jsonwire.Begin(n.B)
			t.String("text", p.Reasoning.Text)
			t.String("signature", p.Reasoning.Signature)
			n.B = t.End()
		}
		o.B = n.End()
	default:
		return e.c.refuse("messages", "a message holds a part that is not known")
	}
	return nil
}

// maxName bounds names of tools and IDs of calls.
const maxName = 64

const idChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// callID makes an ID of another vendor fit, the same way for a call and its result.
// The API takes dots and colons as well, some of its models do not.
func (e *encoded) callID(id string) (string, error) {
	switch {
	case id == "":
		return "", e.c.refuse("messages", "a tool call or its result has no id")
	case len(id) <= maxName && strings.Trim(id, idChars) == "":
		return id, nil
	}
	sum := sha256.Sum256([]byte(id))
	return "call_" + hex.EncodeToString(sum[:16]), nil
}

func (e *encoded) call(o *jsonwire.Object, c *model.ToolCall) error {
	id, err := e.callID(c.ID)
	if err != nil {
		return err
	}
	if c.Name == "" || len(c.Name) > maxName || strings.Trim(c.Name, idChars) != "" {
		return e.c.refuse("messages", "the name of a called tool must have 1 to 64 letters, digits, underscores and hyphens")
	}
	o.Name("toolUse")
	n := jsonwire.Begin(o.B)
	n.String("toolUseId", id)
	n.String("name", c.Name)
	n.Name("input")
	switch args := strings.TrimSpace(c.Args); {
	case args == "":
		n.B = append(n.B, "{}"...)
	case args[0] == '{' && jsonwire.Check([]byte(args)) == nil:
		n.B = append(n.B, args...)
	default:
		// The API takes only an object, and the conversation must be able to go
		// on after a model wrote something else.
		w := jsonwire.Begin(n.B)
		w.String("invalid_arguments", c.Args)
		n.B = w.End()
	}
	o.B = n.End()
	return nil
}

func (e *encoded) result(o *jsonwire.Object, r *model.ToolResult) error {
	id, err := e.callID(r.CallID)
	if err != nil {
		return err
	}
	o.Name("toolResult")
	n := jsonwire.Begin(o.B)
	n.String("toolUseId", id)
	var parts []*model.Part
	for i := range r.Parts {
		p := &r.Parts[i]
		switch {
		case p.Kind == model.PartText && blank(p.Text):
		case p.Kind == model.PartText, p.Kind == model.PartImage, p.Kind == model.PartFile:
			parts = append(parts, p)
		default:
			return e.c.refuseMedia("this provider takes text, images and files as the result of a tool")
		}
	}
	n.Name("content")
	if len(parts) == 0 {
		n.B = append(n.B, `[{"json":{}}]`...)
	} else if n.B, err = e.resultContent(n.B, parts); err != nil {
		return err
	}
	if r.IsError && e.profile.status {
		n.String("status", "error")
	}
	o.B = n.End()
	return nil
}

// resultContent writes the content of a result, in which cache points have no
// place.
func (e *encoded) resultContent(b []byte, parts []*model.Part) ([]byte, error) {
	b = append(b, '[')
	for i, p := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		o := jsonwire.Begin(b)
		if err := e.block(&o, p); err != nil {
			return nil, err
		}
		b = o.End()
	}
	return append(b, ']'), nil
}

// validInput is the input of a call as it came, "" for none.
func validInput(raw json.RawMessage) string {
	s := strings.ToValidUTF8(strings.TrimSpace(string(raw)), "\ufffd")
	if s == "null" {
		return ""
	}
	return s
}
