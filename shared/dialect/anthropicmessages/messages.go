package anthropicmessages

import (
	"encoding/json"
	"strconv"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/dialect/internal/opaque"
	"github.com/latchkey/latchkey/shared/model"
)

type wireBlock struct {
	Type string `json:"type"`
	// text, thinking
	Text     *string `json:"text"`
	Thinking string  `json:"thinking"`
	// thinking, redacted_thinking
	Signature string `json:"signature"`
	Data      string `json:"data"`
	// image, document
	Source  json.RawMessage `json:"source"`
	Title   string          `json:"title"`
	Context string          `json:"context"`
	// tool_use
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
	// tool_result
	ToolUseID string          `json:"tool_use_id"`
	Content   json.RawMessage `json:"content"`
	IsError   bool            `json:"is_error"`

	Citations    json.RawMessage `json:"citations"`
	CacheControl *cacheControl   `json:"cache_control"`
}

func (f fields) messages(r *model.Request) error {
	v := f.Take("messages")
	var list []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if v == nil || json.Unmarshal(v, &list) != nil || len(list) == 0 {
		return bad("messages", "messages must be an array with at least one message of role and content")
	}
	if len(list) > body.MaxMessages {
		return bad("messages", "a request can have at most 10000 messages")
	}
	for i := range list {
		at := "messages[" + strconv.Itoa(i) + "]"
		parts, err := content(list[i].Content, at+".content")
		if err != nil {
			return err
		}
		switch list[i].Role {
		case "user":
			err = user(r, parts, at)
		case "assistant":
			err = assistant(r, parts, at)
		case "system":
			err = system(r, parts, at)
		default:
			err = bad(at+".role", "the role must be user, assistant or system")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// user splits a turn: results of tools are a message of their own.
func user(r *model.Request, parts []model.Part, at string) error {
	if len(parts) == 0 {
		return bad(at+".content", "the message has no content")
	}
	var results, rest []model.Part
	for i := range parts {
		switch parts[i].Kind {
		case model.PartToolResult:
			results = append(results, parts[i])
		case model.PartText, model.PartImage, model.PartFile:
			rest = append(rest, parts[i])
		default:
			return bad(at+".content["+strconv.Itoa(i)+"].type", "a user message holds text, images, documents and tool results")
		}
	}
	if len(results) > 0 {
		r.Messages = append(r.Messages, model.Message{Role: model.RoleTool, Parts: results})
	}
	if len(rest) > 0 {
		r.Messages = append(r.Messages, model.Message{Role: model.RoleUser, Parts: rest})
	}
	return nil
}

func assistant(r *model.Request, parts []model.Part, at string) error {
	signatures := map[string]string{}
	kept := make([]model.Part, 0, len(parts))
	for i := range parts {
		p := parts[i]
		switch p.Kind {
		case model.PartText, model.PartToolCall:
		case model.PartReasoning:
			if call, signature, ok := opaque.OpenCall(p.Reasoning.Data); ok {
				signatures[call] = signature
				continue
			}
		default:
			return bad(at+".content["+strconv.Itoa(i)+"].type", "an assistant message holds text, thinking and tool calls")
		}
		kept = append(kept, p)
	}
	for i := range kept {
		if c := kept[i].Call; c != nil {
			c.Signature = signatures[c.ID]
		}
	}
	if len(kept) > 0 {
		r.Messages = append(r.Messages, model.Message{Role: model.RoleAssistant, Parts: kept})
	}
	return nil
}

func system(r *model.Request, parts []model.Part, at string) error {
	for i := range parts {
		if parts[i].Kind != model.PartText {
			return bad(at+".content["+strconv.Itoa(i)+"].type", "a system message holds text only")
		}
	}
	r.Messages = append(r.Messages, model.Message{Role: model.RoleSystem, Parts: parts})
	return nil
}

// content reads a string or an array of blocks.
func content(v json.RawMessage, at string) ([]model.Part, error) {
	if len(v) > 0 && v[0] == '"' {
		var s string
		if json.Unmarshal(v, &s) != nil {
			return nil, bad(at, "content must be a string or an array of blocks")
		}
		if s == "" {
			return nil, nil
		}
		return []model.Part{model.Text(s)}, nil
	}
	var list []wireBlock
	if len(v) == 0 || json.Unmarshal(v, &list) != nil {
		return nil, bad(at, "content must be a string or an array of blocks of the documented types")
	}
	if len(list) > body.MaxParts {
		return nil, bad(at, "a message can have at most 1000 blocks")
	}
	parts := make([]model.Part, 0, len(list))
	for i := range list {
		where := at + "[" + strconv.Itoa(i) + "]"
		p, err := list[i].part(where)
		if err != nil {
			return nil, err
		}
		if p.CacheTTL, err = list[i].CacheControl.ttl(where); err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (w *wireBlock) part(at string) (p model.Part, err error) {
	switch w.Type {
	case "text":
		if w.Text == nil {
			return p, bad(at+".text", "a text block needs text")
		}
		return model.Text(*w.Text), nil
	case "image":
		p.Kind = model.PartImage
		p.Media, err = w.source(at, "image/")
		return p, err
	case "document":
		return w.document(at)
	case "tool_use":
		return w.toolUse(at)
	case "tool_result":
		return w.toolResult(at)
	case "thinking":
		r := opaque.OpenSignature(w.Signature, nativeFormat)
		r.Text = w.Thinking
		return model.Part{Kind: model.PartReasoning, Reasoning: r}, nil
	case "redacted_thinking":
		if w.Data == "" {
			return p, bad(at+".data", "a redacted_thinking block needs its data")
		}
		return model.Part{Kind: model.PartReasoning, Reasoning: opaque.OpenData(w.Data, nativeFormat)}, nil
	}
	return p, badMedia(at+".type", "the block type must be text, image, document, tool_use, tool_result, thinking or redacted_thinking")
}

func (w *wireBlock) toolUse(at string) (p model.Part, err error) {
	if w.ID == "" || len(w.ID) > body.MaxName || w.Name == "" || len(w.Name) > body.MaxName {
		return p, bad(at, "a tool_use block needs an id and a name of at most 256 characters")
	}
	if len(w.Input) == 0 || w.Input[0] != '{' {
		return p, bad(at+".input", "input must be an object")
	}
	return model.Part{Kind: model.PartToolCall, Call: &model.ToolCall{ID: w.ID, Name: w.Name, Args: string(w.Input)}}, nil
}

func (w *wireBlock) toolResult(at string) (p model.Part, err error) {
	if w.ToolUseID == "" || len(w.ToolUseID) > body.MaxName {
		return p, bad(at+".tool_use_id", "a tool_result block needs the tool_use_id it answers")
	}
	result := &model.ToolResult{CallID: w.ToolUseID, IsError: w.IsError}
	if len(w.Content) > 0 && string(w.Content) != "null" {
		if result.Parts, err = content(w.Content, at+".content"); err != nil {
			return p, err
		}
	}
	for i := range result.Parts {
		if k := result.Parts[i].Kind; k != model.PartText && k != model.PartImage && k != model.PartFile {
			return p, bad(at+".content["+strconv.Itoa(i)+"].type", "a tool result holds text, images and documents")
		}
	}
	return model.Part{Kind: model.PartToolResult, Result: result}, nil
}

// document becomes a file, or text if it is text: every model reads that.
func (w *wireBlock) document(at string) (p model.Part, err error) {
	if v := string(w.Citations); v != "" && v != "null" {
		var in struct {
			Enabled bool `json:"enabled"`
		}
		if json.Unmarshal(w.Citations, &in) != nil || in.Enabled {
			return p, bad(at+".citations", "citations are not offered here; leave them out")
		}
	}
	var head struct {
		Type string `json:"type"`
		Data string `json:"data"`
	}
	if len(w.Source) > 0 && json.Unmarshal(w.Source, &head) == nil && head.Type == "text" {
		text := head.Data
		for _, line := range []string{w.Context, w.Title} {
			if line != "" {
				text = line + "\n\n" + text
			}
		}
		return model.Text(text), nil
	}
	p.Kind = model.PartFile
	if p.Media, err = w.source(at, "application/pdf"); err != nil {
		return p, err
	}
	if len(w.Title) > body.MaxName {
		return p, bad(at+".title", "a title has at most 256 characters")
	}
	p.Media.Name = w.Title
	if w.Context != "" {
		return p, bad(at+".context", "context is only offered for documents of plain text; put it into a text block")
	}
	return p, nil
}

// source reads where an image or document comes from. prefix begins the media
// types that are accepted.
func (w *wireBlock) source(at, prefix string) (*model.Media, error) {
	var in struct {
		Type      string `json:"type"`
		MediaType string `json:"media_type"`
		Data      string `json:"data"`
		URL       string `json:"url"`
		FileID    string `json:"file_id"`
	}
	at += ".source"
	if len(w.Source) == 0 || json.Unmarshal(w.Source, &in) != nil {
		return nil, bad(at, "source must be an object with a type")
	}
	switch in.Type {
	case "base64":
		if len(in.MediaType) < len(prefix) || in.MediaType[:len(prefix)] != prefix || !body.IsMIME(in.MediaType) {
			return nil, badMedia(at+".media_type", "the media type must begin with "+prefix)
		}
		if !body.IsBase64(in.Data) {
			return nil, bad(at+".data", "data must be base64")
		}
		return &model.Media{Base64: in.Data, MIME: in.MediaType}, nil
	case "url":
		if !body.WebURL(in.URL) {
			return nil, bad(at+".url", "the URL must be https")
		}
		m := &model.Media{URL: in.URL}
		if prefix == "application/pdf" {
			m.MIME = prefix
		}
		return m, nil
	case "file":
		if in.FileID == "" || len(in.FileID) > body.MaxName {
			return nil, bad(at+".file_id", "a file source needs a file_id of at most 256 characters")
		}
		return &model.Media{FileID: in.FileID}, nil
	}
	return nil, badMedia(at+".type", "the source type must be base64, url, text or file")
}
