package geminigenerate

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/dialect/internal/body"
	"github.com/latchkey/latchkey/shared/dialect/internal/opaque"
	"github.com/latchkey/latchkey/shared/model"
)

// wirePart has both spellings of each member: clients use either.
type wirePart struct {
	Text       *string `json:"text"`
	Thought    bool    `json:"thought"`
	Signature  string  `json:"thoughtSignature"`
	Signature2 string  `json:"thought_signature"`

	Inline  *wireBlob `json:"inlineData"`
	Inline2 *wireBlob `json:"inline_data"`
	File    *wireBlob `json:"fileData"`
	File2   *wireBlob `json:"file_data"`

	Call      *wireCall     `json:"functionCall"`
	Call2     *wireCall     `json:"function_call"`
	Response  *wireResponse `json:"functionResponse"`
	Response2 *wireResponse `json:"function_response"`
}

type wireBlob struct {
	MIME  string `json:"mimeType"`
	MIME2 string `json:"mime_type"`
	Data  string `json:"data"`
	URI   string `json:"fileUri"`
	URI2  string `json:"file_uri"`
	Name  string `json:"displayName"`
}

type wireCall struct {
	ID   string          `json:"id"`
	Name string          `json:"name"`
	Args json.RawMessage `json:"args"`
}

type wireResponse struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
}

type wireContent struct {
	Role  string          `json:"role"`
	Parts json.RawMessage `json:"parts"`
}

func first[T comparable](a, b T) T {
	var zero T
	if a != zero {
		return a
	}
	return b
}

func (f fields) system(r *model.Request) error {
	v := f.take("systemInstruction")
	if v == nil {
		return nil
	}
	var text string
	if json.Unmarshal(v, &text) == nil {
		r.Messages = append(r.Messages, model.Message{Role: model.RoleSystem, Parts: []model.Part{model.Text(text)}})
		return nil
	}
	var in wireContent
	if json.Unmarshal(v, &in) != nil {
		return bad("systemInstruction", "systemInstruction must be a content object with text parts")
	}
	list, err := partsOf(in.Parts, "systemInstruction")
	if err != nil {
		return err
	}
	m := model.Message{Role: model.RoleSystem}
	for i := range list {
		if list[i].Text == nil {
			return bad("systemInstruction.parts["+strconv.Itoa(i)+"]", "systemInstruction holds text only")
		}
		m.Parts = append(m.Parts, model.Text(*list[i].Text))
	}
	if len(m.Parts) > 0 {
		r.Messages = append(r.Messages, m)
	}
	return nil
}

// partsOf reads an array of parts, or a single one.
func partsOf(v json.RawMessage, at string) ([]wirePart, error) {
	var list []wirePart
	if len(v) > 0 && v[0] == '{' {
		list = make([]wirePart, 1)
		if json.Unmarshal(v, &list[0]) != nil {
			return nil, bad(at+".parts", "a part must be an object of the documented types")
		}
		return list, nil
	}
	if len(v) == 0 || json.Unmarshal(v, &list) != nil || len(list) > body.MaxParts {
		return nil, bad(at+".parts", "parts must be an array of at most 1000 parts of the documented types")
	}
	return list, nil
}

// conversation matches results with calls that have no id.
type conversation struct {
	list  []model.Message
	calls int
	open  map[string][]string // ids of calls without a result, by name
}

func (f fields) contents(r *model.Request) error {
	v := f.take("contents")
	if len(v) > 0 && v[0] == '{' {
		v = append(append(json.RawMessage("["), v...), ']')
	}
	var list []wireContent
	if v == nil || json.Unmarshal(v, &list) != nil || len(list) == 0 {
		return bad("contents", "contents must be an array with at least one content of role and parts")
	}
	if len(list) > body.MaxMessages {
		return bad("contents", "a request can have at most 10000 contents")
	}
	c := &conversation{open: map[string][]string{}}
	for i := range list {
		at := "contents[" + strconv.Itoa(i) + "]"
		parts, err := partsOf(list[i].Parts, at)
		if err != nil {
			return err
		}
		switch list[i].Role {
		case "", "user", "function":
			err = c.user(parts, at)
		case "model":
			err = c.model(parts, at)
		default:
			err = bad(at+".role", "the role must be user or model")
		}
		if err != nil {
			return err
		}
	}
	r.Messages = append(r.Messages, c.list...)
	return nil
}

func (c *conversation) user(parts []wirePart, at string) error {
	var results, rest []model.Part
	for i := range parts {
		w, where := &parts[i], at+".parts["+strconv.Itoa(i)+"]"
		if resp := first(w.Response, w.Response2); resp != nil {
			p, err := c.result(resp, where)
			if err != nil {
				return err
			}
			results = append(results, p)
			continue
		}
		p, err := w.content(where)
		if err != nil {
			return err
		}
		rest = append(rest, p)
	}
	if len(results)+len(rest) == 0 {
		return bad(at+".parts", "the content has no parts")
	}
	if len(results) > 0 {
		c.list = append(c.list, model.Message{Role: model.RoleTool, Parts: results})
	}
	if len(rest) > 0 {
		c.list = append(c.list, model.Message{Role: model.RoleUser, Parts: rest})
	}
	return nil
}

// result answers the call with its id, or the oldest open one of its name.
func (c *conversation) result(w *wireResponse, at string) (p model.Part, err error) {
	if w.Name == "" && w.ID == "" || len(w.Name) > body.MaxName || len(w.ID) > body.MaxName {
		return p, bad(at+".functionResponse", "a functionResponse needs the name of the function, or the id of the call")
	}
	id := w.ID
	if queue := c.open[w.Name]; id == "" && len(queue) > 0 {
		id, c.open[w.Name] = queue[0], queue[1:]
	}
	if id == "" {
		return p, bad(at+".functionResponse.name", "no call of this function is waiting for a response")
	}
	if len(w.Response) == 0 || w.Response[0] != '{' {
		return p, bad(at+".functionResponse.response", "response must be an object")
	}
	var in struct {
		Error json.RawMessage `json:"error"`
	}
	_ = json.Unmarshal(w.Response, &in)
	failed := len(in.Error) > 0 && string(in.Error) != "null"
	return model.Part{Kind: model.PartToolResult, Result: &model.ToolResult{CallID: id, IsError: failed,
		Parts: []model.Part{model.Text(string(w.Response))}}}, nil
}

func (c *conversation) model(parts []wirePart, at string) error {
	m := model.Message{Role: model.RoleAssistant}
	for i := range parts {
		w, where := &parts[i], at+".parts["+strconv.Itoa(i)+"]"
		signature := first(w.Signature, w.Signature2)
		switch call := first(w.Call, w.Call2); {
		case call != nil:
			p, err := c.call(call, signature, where)
			if err != nil {
				return err
			}
			m.Parts = append(m.Parts, p)
		case w.Thought || w.Text != nil && *w.Text == "" && signature != "":
			r := opaque.OpenSignature(signature, nativeFormat)
			if w.Text != nil {
				r.Text = *w.Text
			}
			m.Parts = append(m.Parts, model.Part{Kind: model.PartReasoning, Reasoning: r})
		case w.Text != nil:
			if *w.Text != "" {
				m.Parts = append(m.Parts, model.Text(*w.Text))
			}
			if signature != "" {
				m.Parts = append(m.Parts, model.Part{Kind: model.PartReasoning, Reasoning: opaque.OpenSignature(signature, nativeFormat)})
			}
		default:
			return bad(where, "a content of the model holds text, thoughts and function calls")
		}
	}
	if len(m.Parts) > 0 {
		c.list = append(c.list, m)
	}
	return nil
}

func (c *conversation) call(w *wireCall, signature, at string) (p model.Part, err error) {
	if w.Name == "" || len(w.Name) > body.MaxName || len(w.ID) > body.MaxName {
		return p, bad(at+".functionCall", "a functionCall needs a name of at most 256 characters")
	}
	args := string(w.Args)
	if args == "" || args == "null" {
		args = "{}"
	}
	if args[0] != '{' {
		return p, bad(at+".functionCall.args", "args must be an object")
	}
	id := w.ID
	if id == "" {
		id = "call_" + strconv.Itoa(c.calls)
		c.open[w.Name] = append(c.open[w.Name], id)
	}
	c.calls++
	return model.Part{Kind: model.PartToolCall, Call: &model.ToolCall{ID: id, Name: w.Name, Args: args, Signature: signature}}, nil
}

// content reads a part of a user.
func (w *wirePart) content(at string) (p model.Part, err error) {
	if w.Text != nil {
		return model.Text(*w.Text), nil
	}
	m := &model.Media{}
	if b := first(w.Inline, w.Inline2); b != nil {
		m.MIME, m.Base64, m.Name = first(b.MIME, b.MIME2), standard(b.Data), b.Name
		if !body.IsBase64(m.Base64) {
			return p, bad(at+".inlineData.data", "data must be base64")
		}
	} else if b := first(w.File, w.File2); b != nil {
		m.MIME, m.URL, m.Name = first(b.MIME, b.MIME2), first(b.URI, b.URI2), b.Name
		if !body.WebURL(m.URL) {
			return p, bad(at+".fileData.fileUri", "the URI must be https")
		}
	} else {
		return p, badMedia(at, "a part must be text, inlineData, fileData, functionCall or functionResponse")
	}
	if !body.IsMIME(m.MIME) || len(m.Name) > body.MaxName {
		return p, bad(at+".mimeType", "inlineData and fileData need a mimeType such as image/png")
	}
	kind, sub, _ := strings.Cut(m.MIME, "/")
	switch kind {
	case "image":
		p.Kind = model.PartImage
	case "audio":
		p.Kind, m.Format = model.PartAudio, strings.TrimPrefix(sub, "x-")
		if m.Format == "mpeg" {
			m.Format = "mp3"
		}
	default:
		p.Kind = model.PartFile
	}
	p.Media = m
	return p, nil
}

// standard turns the URL alphabet, which this API takes too, into the other.
func standard(s string) string {
	if strings.ContainsAny(s, "-_") {
		s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	}
	if n := len(s) % 4; n != 0 {
		s += strings.Repeat("=", 4-n)
	}
	return s
}
