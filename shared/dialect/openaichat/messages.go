package openaichat

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/model"
)

type wireMessage struct {
	Role             string          `json:"role"`
	Name             string          `json:"name"`
	Content          json.RawMessage `json:"content"`
	Refusal          string          `json:"refusal"`
	ToolCallID       string          `json:"tool_call_id"`
	ToolCalls        []wireCall      `json:"tool_calls"`
	FunctionCall     json.RawMessage `json:"function_call"`
	Reasoning        string          `json:"reasoning"`
	ReasoningContent string          `json:"reasoning_content"`
	Details          []wireDetail    `json:"reasoning_details"`
	Audio            *struct {
		ID string `json:"id"`
	} `json:"audio"`
}

type wireCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function *struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
	ExtraContent struct {
		Google struct {
			Signature string `json:"thought_signature"`
		} `json:"google"`
	} `json:"extra_content"`
}

type wireDetail struct {
	Type      string `json:"type"`
	Text      string `json:"text"`
	Summary   string `json:"summary"`
	Data      string `json:"data"`
	Signature string `json:"signature"`
	ID        string `json:"id"`
	Format    string `json:"format"`
}

type wirePart struct {
	Type       string          `json:"type"`
	Text       *string         `json:"text"`
	Refusal    *string         `json:"refusal"`
	ImageURL   json.RawMessage `json:"image_url"`
	InputAudio *struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	} `json:"input_audio"`
	File *struct {
		Data string `json:"file_data"`
		ID   string `json:"file_id"`
		Name string `json:"filename"`
	} `json:"file"`
	CacheControl *cacheControl `json:"cache_control"`
}

// cacheControl is the marker that OpenRouter and others carry over from
// Anthropic.
type cacheControl struct {
	Type string `json:"type"`
	TTL  string `json:"ttl"`
}

func (c *cacheControl) ttl(at string) (string, error) {
	switch {
	case c == nil:
		return "", nil
	case c.Type != "ephemeral":
		return "", bad(at+".cache_control", "cache_control must have type ephemeral")
	case c.TTL == "" || c.TTL == "5m":
		return "5m", nil
	case c.TTL == "1h":
		return c.TTL, nil
	}
	return "", bad(at+".cache_control.ttl", "ttl must be 5m or 1h")
}

func (f fields) messages(r *model.Request, _ *Meta) error {
	v := f.Take("messages")
	var list []json.RawMessage
	if v == nil || json.Unmarshal(v, &list) != nil || len(list) == 0 {
		return bad("messages", "messages must be an array with at least one message")
	}
	if len(list) > body.MaxMessages {
		return bad("messages", "a request can have at most 10000 messages")
	}
	r.Messages = make([]model.Message, 0, len(list))
	for i, raw := range list {
		at := "messages[" + strconv.Itoa(i) + "]"
		var in wireMessage
		if raw[0] != '{' || json.Unmarshal(raw, &in) != nil {
			return bad(at, "a message must be an object with a role and content of the documented types")
		}
		m, err := in.message(at)
		if err != nil {
			return err
		}
		r.Messages = append(r.Messages, m)
	}
	return nil
}

func (w *wireMessage) message(at string) (m model.Message, err error) {
	if len(w.Name) > body.MaxName {
		return m, bad(at+".name", "name is longer than 256 characters")
	}
	if len(w.FunctionCall) > 0 && string(w.FunctionCall) != "null" {
		return m, bad(at+".function_call", "functions are replaced by tool_calls")
	}
	m.Name = w.Name
	switch w.Role {
	case "system", "developer":
		m.Role = model.RoleSystem
	case "user":
		m.Role = model.RoleUser
	case "assistant":
		m.Role = model.RoleAssistant
		return m, w.assistant(&m, at)
	case "tool":
		m.Role = model.RoleTool
		return m, w.tool(&m, at)
	default:
		return m, bad(at+".role", "the role must be system, developer, user, assistant or tool")
	}
	if len(w.ToolCalls) > 0 {
		return m, bad(at+".tool_calls", "only assistant messages have tool calls")
	}
	m.Parts, err = w.content(at)
	if err != nil {
		return m, err
	}
	if m.Role == model.RoleUser && len(m.Parts) == 0 {
		return m, bad(at+".content", "the message has no content")
	}
	for i := range m.Parts {
		if m.Role == model.RoleSystem && m.Parts[i].Kind != model.PartText || m.Parts[i].Kind == model.PartRefusal {
			return m, bad(at+".content["+strconv.Itoa(i)+"].type", "a message of this role cannot hold this kind of part")
		}
	}
	return m, nil
}

func (w *wireMessage) assistant(m *model.Message, at string) error {
	m.Parts = w.reasoningParts()
	content, err := w.content(at)
	if err != nil {
		return err
	}
	for i := range content {
		if k := content[i].Kind; k != model.PartText && k != model.PartRefusal {
			return bad(at+".content["+strconv.Itoa(i)+"].type", "an assistant message holds text, refusals and tool calls")
		}
	}
	for i := range content {
		if content[i].Text != "" {
			m.Parts = append(m.Parts, content[i])
		}
	}
	if w.Refusal != "" {
		m.Parts = append(m.Parts, model.Part{Kind: model.PartRefusal, Text: w.Refusal})
	}
	if w.Audio != nil && w.Audio.ID != "" {
		m.Parts = append(m.Parts, model.Part{Kind: model.PartAudio, Media: &model.Media{ID: w.Audio.ID}})
	}
	if len(w.ToolCalls) > body.MaxTools {
		return bad(at+".tool_calls", "a message can have at most 512 tool calls")
	}
	for i := range w.ToolCalls {
		c := &w.ToolCalls[i]
		where := at + ".tool_calls[" + strconv.Itoa(i) + "]"
		if c.Type != "" && c.Type != "function" || c.Function == nil || c.Function.Name == "" {
			return bad(where, "a tool call must be of type function with a name and arguments")
		}
		if c.ID == "" || len(c.ID) > body.MaxName {
			return bad(where+".id", "a tool call needs an id of at most 256 characters")
		}
		call := &model.ToolCall{ID: c.ID, Name: c.Function.Name, Args: c.Function.Arguments, Signature: c.ExtraContent.Google.Signature}
		if call.Args == "" {
			call.Args = "{}"
		}
		m.Parts = append(m.Parts, model.Part{Kind: model.PartToolCall, Call: call})
	}
	return nil
}

// reasoningParts prefers details: where both are given, they say the same.
func (w *wireMessage) reasoningParts() []model.Part {
	var parts []model.Part
	for i := range w.Details {
		d := &w.Details[i]
		r := &model.Reasoned{Text: d.Text, Signature: d.Signature, Data: d.Data, ID: d.ID, Format: d.Format}
		if d.Type == "reasoning.summary" {
			r.Text, r.Summary = d.Summary, true
		}
		parts = append(parts, model.Part{Kind: model.PartReasoning, Reasoning: r})
	}
	text := w.Reasoning
	if text == "" {
		text = w.ReasoningContent
	}
	if len(parts) == 0 && text != "" {
		parts = append(parts, model.Part{Kind: model.PartReasoning, Reasoning: &model.Reasoned{Text: text}})
	}
	return parts
}

func (w *wireMessage) tool(m *model.Message, at string) error {
	if w.ToolCallID == "" || len(w.ToolCallID) > body.MaxName {
		return bad(at+".tool_call_id", "a tool message needs the tool_call_id it answers")
	}
	parts, err := w.content(at)
	if err != nil {
		return err
	}
	result := &model.ToolResult{CallID: w.ToolCallID}
	outer := model.Part{Kind: model.PartToolResult, Result: result}
	for i := range parts {
		if k := parts[i].Kind; k != model.PartText && k != model.PartImage {
			return bad(at+".content["+strconv.Itoa(i)+"].type", "a tool message holds text or images")
		}
		if parts[i].CacheTTL != "" {
			outer.CacheTTL, parts[i].CacheTTL = parts[i].CacheTTL, ""
		}
	}
	result.Parts = parts
	m.Parts = []model.Part{outer}
	return nil
}

func (w *wireMessage) content(at string) ([]model.Part, error) {
	v := w.Content
	switch {
	case len(v) == 0 || string(v) == "null":
		return nil, nil
	case v[0] == '"':
		var s string
		if json.Unmarshal(v, &s) != nil {
			return nil, bad(at+".content", "content must be a string or an array of parts")
		}
		return []model.Part{model.Text(s)}, nil
	}
	var list []wirePart
	if json.Unmarshal(v, &list) != nil {
		return nil, bad(at+".content", "content must be a string or an array of parts of the documented types")
	}
	if len(list) > body.MaxParts {
		return nil, bad(at+".content", "a message can have at most 1000 parts")
	}
	parts := make([]model.Part, 0, len(list))
	for i := range list {
		where := at + ".content[" + strconv.Itoa(i) + "]"
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

func (w *wirePart) part(at string) (p model.Part, err error) {
	switch w.Type {
	case "text":
		if w.Text == nil {
			return p, bad(at+".text", "a text part needs text")
		}
		return model.Text(*w.Text), nil
	case "refusal":
		if w.Refusal == nil {
			return p, bad(at+".refusal", "a refusal part needs its text")
		}
		return model.Part{Kind: model.PartRefusal, Text: *w.Refusal}, nil
	case "image_url":
		p.Kind = model.PartImage
		p.Media, err = w.image(at)
		return p, err
	case "input_audio":
		p.Kind = model.PartAudio
		if w.InputAudio == nil || w.InputAudio.Format == "" || len(w.InputAudio.Format) > 16 || !body.IsBase64(w.InputAudio.Data) {
			return p, bad(at+".input_audio", "input_audio needs base64 data and a format such as wav or mp3")
		}
		p.Media = &model.Media{Base64: w.InputAudio.Data, Format: w.InputAudio.Format}
		return p, nil
	case "file":
		p.Kind = model.PartFile
		p.Media, err = w.file(at)
		return p, err
	}
	return p, badMedia(at+".type", "the part type must be text, image_url, input_audio or file")
}

func (w *wirePart) image(at string) (*model.Media, error) {
	var in struct {
		URL    string `json:"url"`
		Detail string `json:"detail"`
	}
	if len(w.ImageURL) > 0 && w.ImageURL[0] == '"' {
		_ = json.Unmarshal(w.ImageURL, &in.URL)
	} else if len(w.ImageURL) == 0 || json.Unmarshal(w.ImageURL, &in) != nil {
		return nil, bad(at+".image_url", "image_url must be an object with a url")
	}
	switch in.Detail {
	case "", "auto", "low", "high", "original":
	default:
		return nil, bad(at+".image_url.detail", "detail must be auto, low, high or original")
	}
	m := &model.Media{Detail: in.Detail}
	if strings.HasPrefix(in.URL, "data:") {
		if !body.DataURL(in.URL, m) || !strings.HasPrefix(m.MIME, "image/") {
			return nil, bad(at+".image_url.url", "the data URL must look like data:image/png;base64,…")
		}
		return m, nil
	}
	if !body.WebURL(in.URL) {
		return nil, bad(at+".image_url.url", "an image URL must be https or a data URL")
	}
	m.URL = in.URL
	return m, nil
}

func (w *wirePart) file(at string) (*model.Media, error) {
	if w.File == nil || (w.File.Data == "") == (w.File.ID == "") {
		return nil, bad(at+".file", "a file needs either file_data or file_id")
	}
	m := &model.Media{Name: w.File.Name, FileID: w.File.ID}
	if len(m.Name) > body.MaxName || len(m.FileID) > body.MaxName {
		return nil, bad(at+".file", "filename and file_id have at most 256 characters")
	}
	if w.File.Data == "" {
		return m, nil
	}
	if strings.HasPrefix(w.File.Data, "https://") && body.WebURL(w.File.Data) {
		m.URL = w.File.Data
		return m, nil
	}
	if !body.DataURL(w.File.Data, m) {
		return nil, bad(at+".file.file_data", "file_data must look like data:application/pdf;base64,…")
	}
	return m, nil
}
