package openairesponses

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/dialect/internal/opaque"
	"github.com/latchkey/latchkey/shared/model"
)

type wireItem struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	// function_call, function_call_output
	ID        string          `json:"id"`
	CallID    string          `json:"call_id"`
	Name      string          `json:"name"`
	Arguments string          `json:"arguments"`
	Output    json.RawMessage `json:"output"`
	// reasoning
	Summary   []struct{ Text string } `json:"summary"`
	Encrypted string                  `json:"encrypted_content"`
}

type wirePart struct {
	Type     string  `json:"type"`
	Text     *string `json:"text"`
	Refusal  *string `json:"refusal"`
	ImageURL string  `json:"image_url"`
	Detail   string  `json:"detail"`
	FileID   string  `json:"file_id"`
	FileData string  `json:"file_data"`
	FileURL  string  `json:"file_url"`
	FileName string  `json:"filename"`
	Audio    *struct {
		Data   string `json:"data"`
		Format string `json:"format"`
	} `json:"input_audio"`
}

// conversation puts items together into messages: an assistant's reasoning, text
// and calls are one turn, and so are the outputs of its calls.
type conversation struct {
	list       []model.Message
	signatures map[string]string // of calls, by call id
}

func (c *conversation) add(role model.Role, parts ...model.Part) {
	if n := len(c.list); n > 0 && c.list[n-1].Role == role && (role == model.RoleAssistant || role == model.RoleTool) {
		c.list[n-1].Parts = append(c.list[n-1].Parts, parts...)
		return
	}
	c.list = append(c.list, model.Message{Role: role, Parts: parts})
}

func (f fields) input(r *model.Request) error {
	v := f.Take("input")
	if len(v) > 0 && v[0] == '"' {
		var s string
		if json.Unmarshal(v, &s) != nil || s == "" {
			return bad("input", "input must be a string or an array of items")
		}
		r.Messages = append(r.Messages, model.Message{Role: model.RoleUser, Parts: []model.Part{model.Text(s)}})
		return nil
	}
	var list []wireItem
	if v == nil || json.Unmarshal(v, &list) != nil || len(list) == 0 {
		return bad("input", "input must be a string or an array of items of the documented types")
	}
	if len(list) > body.MaxMessages {
		return bad("input", "a request can have at most 10000 items")
	}
	c := &conversation{signatures: map[string]string{}}
	for i := range list {
		if err := list[i].addTo(c, "input["+strconv.Itoa(i)+"]"); err != nil {
			return err
		}
	}
	for i := range c.list {
		for j := range c.list[i].Parts {
			if call := c.list[i].Parts[j].Call; call != nil {
				call.Signature = c.signatures[call.ID]
			}
		}
	}
	r.Messages = append(r.Messages, c.list...)
	return nil
}

func (w *wireItem) addTo(c *conversation, at string) error {
	switch w.Type {
	case "", "message":
		return w.message(c, at)
	case "function_call":
		if w.CallID == "" || len(w.CallID) > body.MaxName || w.Name == "" || len(w.Name) > body.MaxName {
			return bad(at, "a function_call needs a call_id and a name of at most 256 characters")
		}
		call := &model.ToolCall{ID: w.CallID, Name: w.Name, Args: w.Arguments}
		if call.Args == "" {
			call.Args = "{}"
		}
		c.add(model.RoleAssistant, model.Part{Kind: model.PartToolCall, Call: call})
		return nil
	case "function_call_output":
		return w.output(c, at)
	case "reasoning":
		if id, signature, ok := opaque.OpenCall(w.Encrypted); ok {
			c.signatures[id] = signature
			return nil
		}
		r := opaque.OpenData(w.Encrypted, nativeFormat)
		r.ID = w.ID
		for i := range w.Summary {
			r.Text += w.Summary[i].Text
		}
		r.Summary = r.Format == nativeFormat
		if *r != (model.Reasoned{ID: w.ID}) {
			c.add(model.RoleAssistant, model.Part{Kind: model.PartReasoning, Reasoning: r})
		}
		return nil
	case "item_reference":
		return bad(at+".type", "nothing is stored here: send the item itself instead of a reference")
	}
	return badMedia(at+".type", "the item type must be message, function_call, function_call_output or reasoning")
}

func (w *wireItem) message(c *conversation, at string) error {
	parts, err := content(w.Content, at+".content")
	if err != nil {
		return err
	}
	allowed, role := "", model.RoleUser
	switch w.Role {
	case "user":
		allowed = "text image audio file"
	case "system", "developer":
		allowed, role = "text", model.RoleSystem
	case "assistant":
		allowed, role = "text refusal", model.RoleAssistant
	default:
		return bad(at+".role", "the role must be user, assistant, system or developer")
	}
	for i := range parts {
		if !strings.Contains(allowed, string(parts[i].Kind)) {
			return bad(at+".content["+strconv.Itoa(i)+"].type", "a message of this role cannot hold this kind of part")
		}
	}
	if len(parts) == 0 {
		return bad(at+".content", "the message has no content")
	}
	c.add(role, parts...)
	return nil
}

func (w *wireItem) output(c *conversation, at string) error {
	if w.CallID == "" || len(w.CallID) > body.MaxName {
		return bad(at+".call_id", "a function_call_output needs the call_id it answers")
	}
	result := &model.ToolResult{CallID: w.CallID}
	var err error
	if result.Parts, err = content(w.Output, at+".output"); err != nil {
		return err
	}
	for i := range result.Parts {
		if k := result.Parts[i].Kind; k != model.PartText && k != model.PartImage && k != model.PartFile {
			return bad(at+".output["+strconv.Itoa(i)+"].type", "an output holds text, images and files")
		}
	}
	c.add(model.RoleTool, model.Part{Kind: model.PartToolResult, Result: result})
	return nil
}

func content(v json.RawMessage, at string) ([]model.Part, error) {
	if len(v) > 0 && v[0] == '"' {
		var s string
		if json.Unmarshal(v, &s) != nil {
			return nil, bad(at, "content must be a string or an array of parts")
		}
		return []model.Part{model.Text(s)}, nil
	}
	var list []wirePart
	if len(v) == 0 || json.Unmarshal(v, &list) != nil {
		return nil, bad(at, "content must be a string or an array of parts of the documented types")
	}
	if len(list) > body.MaxParts {
		return nil, bad(at, "a message can have at most 1000 parts")
	}
	parts := make([]model.Part, 0, len(list))
	for i := range list {
		p, err := list[i].part(at + "[" + strconv.Itoa(i) + "]")
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

func (w *wirePart) part(at string) (p model.Part, err error) {
	switch w.Type {
	case "input_text", "output_text", "text":
		if w.Text == nil {
			return p, bad(at+".text", "a text part needs text")
		}
		return model.Text(*w.Text), nil
	case "refusal":
		if w.Refusal == nil {
			return p, bad(at+".refusal", "a refusal part needs its text")
		}
		return model.Part{Kind: model.PartRefusal, Text: *w.Refusal}, nil
	case "input_image":
		p.Kind = model.PartImage
		p.Media, err = w.image(at)
		return p, err
	case "input_file":
		p.Kind = model.PartFile
		p.Media, err = w.file(at)
		return p, err
	case "input_audio":
		if w.Audio == nil || w.Audio.Format == "" || len(w.Audio.Format) > 16 || !body.IsBase64(w.Audio.Data) {
			return p, bad(at+".input_audio", "input_audio needs base64 data and a format such as wav or mp3")
		}
		return model.Part{Kind: model.PartAudio, Media: &model.Media{Base64: w.Audio.Data, Format: w.Audio.Format}}, nil
	}
	return p, badMedia(at+".type", "the part type must be input_text, output_text, refusal, input_image, input_file or input_audio")
}

func (w *wirePart) image(at string) (*model.Media, error) {
	switch w.Detail {
	case "", "auto", "low", "high", "original":
	default:
		return nil, bad(at+".detail", "detail must be auto, low, high or original")
	}
	m := &model.Media{Detail: w.Detail}
	switch {
	case w.ImageURL == "" && w.FileID != "" && len(w.FileID) <= body.MaxName:
		m.FileID = w.FileID
	case strings.HasPrefix(w.ImageURL, "data:"):
		if !body.DataURL(w.ImageURL, m) || !strings.HasPrefix(m.MIME, "image/") {
			return nil, bad(at+".image_url", "the data URL must look like data:image/png;base64,…")
		}
	case body.WebURL(w.ImageURL):
		m.URL = w.ImageURL
	default:
		return nil, bad(at+".image_url", "an image needs an https or data URL, or a file_id")
	}
	return m, nil
}

func (w *wirePart) file(at string) (*model.Media, error) {
	given := 0
	for _, s := range [...]string{w.FileID, w.FileData, w.FileURL} {
		if s != "" {
			given++
		}
	}
	if given != 1 || len(w.FileName) > body.MaxName || len(w.FileID) > body.MaxName {
		return nil, bad(at, "a file needs exactly one of file_data, file_url and file_id")
	}
	m := &model.Media{Name: w.FileName, FileID: w.FileID}
	switch {
	case w.FileURL != "":
		if !body.WebURL(w.FileURL) {
			return nil, bad(at+".file_url", "the URL must be https")
		}
		m.URL = w.FileURL
	case w.FileData != "":
		if !body.DataURL(w.FileData, m) {
			return nil, bad(at+".file_data", "file_data must look like data:application/pdf;base64,…")
		}
	}
	return m, nil
}
