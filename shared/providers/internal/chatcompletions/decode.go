package chatcompletions

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

// limits of one answer, far above what models produce.
const (
	maxTools = 1024
	maxParts = 4096
)

type wireResponse struct {
	ID      string       `json:"id"`
	Model   string       `json:"model"`
	Created count        `json:"created"`
	Choices []wireChoice `json:"choices"`
	Usage   rawValue     `json:"usage"`
	Error   rawValue     `json:"error"`
}

type wireChoice struct {
	Message      wireMessage `json:"message"`
	FinishReason string      `json:"finish_reason"`
	Native       string      `json:"native_finish_reason"`
	Logprobs     rawValue    `json:"logprobs"`
	Error        rawValue    `json:"error"`
}

type wireMessage struct {
	Content   content      `json:"content"`
	Refusal   string       `json:"refusal"`
	ToolCalls []wireCall   `json:"tool_calls"`
	Audio     *wireAudio   `json:"audio"`
	Images    []wireImage  `json:"images"`
	Reasoning string       `json:"reasoning"`
	Content2  string       `json:"reasoning_content"`
	Details   []wireDetail `json:"reasoning_details"`
}

type wireCall struct {
	Index    *int   `json:"index"`
	ID       string `json:"id"`
	Function struct {
		Name      string   `json:"name"`
		Arguments flexArgs `json:"arguments"`
	} `json:"function"`
	ExtraContent struct {
		Google struct {
			Signature string `json:"thought_signature"`
		} `json:"google"`
	} `json:"extra_content"`
}

type wireAudio struct {
	ID         string `json:"id"`
	Data       string `json:"data"`
	Transcript string `json:"transcript"`
}

type wireImage struct {
	ImageURL struct {
		URL string `json:"url"`
	} `json:"image_url"`
}

type wireDetail struct {
	Type      string `json:"type"`
	Text      string `json:"text"`
	Summary   string `json:"summary"`
	Data      string `json:"data"`
	Signature string `json:"signature"`
	ID        string `json:"id"`
	Format    string `json:"format"`
	Index     int    `json:"index"`
}

func (d *wireDetail) text() string {
	if d.Type == detailSummary {
		return d.Summary
	}
	return d.Text
}

// rest is what the detail holds beyond its text, nil if nothing.
func (d *wireDetail) rest() *model.Reasoned {
	r := model.Reasoned{Summary: d.Type == detailSummary, Signature: d.Signature, Data: d.Data, ID: d.ID, Format: d.Format}
	if r == (model.Reasoned{}) {
		return nil
	}
	return &r
}

// rawValue keeps a value's text and treats null as absent. Unlike
// json.RawMessage it allocates nothing for null, which streams repeat in every
// chunk.
type rawValue []byte

// UnmarshalJSON implements json.Unmarshaler.
func (v *rawValue) UnmarshalJSON(b []byte) error {
	if string(b) != "null" {
		*v = append((*v)[:0], b...)
	}
	return nil
}

// flexArgs are tool arguments: JSON text in a string, or the object itself, as
// some servers send it.
type flexArgs string

// UnmarshalJSON implements json.Unmarshaler.
func (v *flexArgs) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		*v = flexArgs(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(v))
}

// count is a token count as vendors write it: an integer, sometimes 12.0,
// sometimes null. What is no such number becomes -1, which marks the usage as
// suspect instead of losing the answer.
type count int64

// UnmarshalJSON implements json.Unmarshaler.
func (v *count) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		*v = count(n)
		return nil
	}
	if f, err := strconv.ParseFloat(string(b), 64); err == nil && f >= 0 && f <= model.MaxTokens && f == math.Trunc(f) {
		*v = count(f)
		return nil
	}
	*v = -1
	return nil
}

// Decode reads a whole answer. It exists for tools that show a translation;
// [Chat.Complete] uses the same code.
func (c *Chat) Decode(body []byte) (*model.Response, error) { return c.decode(body, nil) }

func (c *Chat) decode(body []byte, h http.Header) (*model.Response, error) {
	v := &c.c.Vendor
	var in wireResponse
	body = validUTF8(body)
	if json.Unmarshal(body, &in) != nil {
		return nil, v.Malformed(op)
	}
	if len(in.Error) > 0 {
		return nil, v.DecideBody(op, body, h)
	}
	if len(in.Choices) == 0 {
		return nil, v.Malformed(op)
	}
	ch := &in.Choices[0]
	if len(ch.Error) > 0 {
		return nil, v.DecideInBand(op, ch.Error, h)
	}
	if len(ch.Message.ToolCalls) > maxTools || len(ch.Message.Images) > maxParts || len(ch.Message.Details) > maxParts {
		return nil, v.Malformed(op)
	}
	r := &model.Response{ID: clip(in.ID), Model: clip(in.Model), Created: int64(in.Created),
		Message: model.Message{Role: model.RoleAssistant}, Usage: c.c.usage(in.Usage), Logprobs: json.RawMessage(ch.Logprobs)}
	if err := c.fill(r, &ch.Message); err != nil {
		return nil, err
	}
	if ch.FinishReason == "" {
		// A whole answer without a reason is complete: nothing was cut.
		ch.FinishReason = "stop"
	}
	r.Finish, r.NativeFinish = finish(ch.FinishReason, ch.Native, len(ch.Message.ToolCalls) > 0)
	if raw := broken[ch.FinishReason]; raw != "" {
		return nil, v.DecideInBand(op, []byte(raw), h)
	}
	r.Extra = extraFields(body)
	return r, nil
}

// validUTF8 replaces bytes that are none, which servers make when a token ends
// inside a character. encoding/json does so for strings, not for raw values.
func validUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\ufffd"))
}

func (c *Chat) fill(r *model.Response, m *wireMessage) error {
	parts := m.Content.parts(decodeReasoning(m), string(c.c.Vendor.ID))
	if m.Refusal != "" {
		parts = append(parts, model.Part{Kind: model.PartRefusal, Text: m.Refusal})
	}
	if m.Audio != nil {
		parts = append(parts, model.Part{Kind: model.PartAudio, Media: &model.Media{ID: clip(m.Audio.ID),
			Base64: m.Audio.Data, Transcript: m.Audio.Transcript}})
	}
	for i := range m.Images {
		media, ok := decodeImage(m.Images[i].ImageURL.URL)
		if !ok {
			return c.c.Vendor.Malformed(op)
		}
		parts = append(parts, model.Part{Kind: model.PartImage, Media: media})
	}
	for i := range m.ToolCalls {
		t := &m.ToolCalls[i]
		call := &model.ToolCall{ID: t.ID, Name: t.Function.Name, Args: string(t.Function.Arguments),
			Signature: t.ExtraContent.Google.Signature}
		if call.Args == "" {
			call.Args = "{}"
		}
		if call.Name == "" {
			return c.c.Vendor.Malformed(op)
		}
		if call.ID == "" {
			call.ID = madeUpID(r.ID, i)
		}
		parts = append(parts, model.Part{Kind: model.PartToolCall, Call: call})
	}
	r.Message.Parts = parts
	return nil
}

// madeUpID names a call of a server that does not: results are matched by it.
func madeUpID(response string, index int) string {
	return "call_" + strconv.Itoa(index) + "_" + response
}

// decodeReasoning prefers details over plain text: servers that send details
// repeat their text in the plain field.
func decodeReasoning(m *wireMessage) []model.Part {
	if len(m.Details) > 0 {
		parts := make([]model.Part, 0, len(m.Details)+1)
		for i := range m.Details {
			r := m.Details[i].rest()
			if r == nil {
				r = &model.Reasoned{}
			}
			r.Text = m.Details[i].text()
			parts = append(parts, model.Part{Kind: model.PartReasoning, Reasoning: r})
		}
		return parts
	}
	text := m.Reasoning
	if text == "" {
		text = m.Content2
	}
	if text == "" {
		return nil
	}
	return []model.Part{{Kind: model.PartReasoning, Reasoning: &model.Reasoned{Text: text}}}
}

func decodeImage(url string) (*model.Media, bool) {
	if !strings.HasPrefix(url, "data:") {
		return &model.Media{URL: url}, strings.HasPrefix(url, "https://")
	}
	head, data, ok := strings.Cut(url[len("data:"):], ";base64,")
	if !ok {
		return nil, false
	}
	if _, err := base64.StdEncoding.DecodeString(data); err != nil {
		return nil, false
	}
	return &model.Media{MIME: head, Base64: data}, true
}

// finish maps a finish reason. A reason we do not know is a normal stop, with
// the vendor's word kept; those in broken are errors before this is asked.
func finish(reason, native string, tools bool) (model.FinishReason, string) {
	if native == "" {
		native = reason
	}
	f := model.FinishStop
	switch reason {
	case "tool_calls", "function_call":
		f = model.FinishToolCalls
	case "length", "max_tokens", "model_length":
		f = model.FinishLength
	case "content_filter":
		f = model.FinishContentFilter
	}
	if f == model.FinishStop && tools {
		f = model.FinishToolCalls
	}
	return f, clip(native)
}

// broken are finish reasons that mean the model failed, with the error they are
// worth. Capacity that ran out (DeepSeek API reference, finish_reason, read
// 2026-11) is worth another vendor, like an overload.
var broken = map[string]string{"error": `{"code":502}`, "insufficient_system_resource": `{"code":503}`}

// clip bounds a short string of a vendor that is stored and shown.
func clip(s string) string {
	if len(s) > 256 {
		s = s[:256]
	}
	return strings.ToValidUTF8(s, "")
}

// maxRawUsage bounds what is kept of a vendor's usage object.
const maxRawUsage = 4 << 10

func keepRaw(raw []byte) json.RawMessage {
	if len(raw) > maxRawUsage {
		return nil
	}
	return append(json.RawMessage(nil), raw...)
}

// extraFields keeps top-level fields of the answer that we do not know.
func extraFields(body []byte) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(body, &all) != nil {
		return nil
	}
	for name, v := range all {
		if known[name] || string(v) == "null" || len(v) > 64<<10 {
			delete(all, name)
		}
	}
	if len(all) == 0 || len(all) > 32 {
		return nil
	}
	return all
}

var known = map[string]bool{"id": true, "object": true, "created": true, "model": true, "choices": true,
	"usage": true, "error": true}

// errStream makes the error for an error frame inside a stream.
func (c *Config) errStream(raw []byte, h http.Header) error { return c.Vendor.DecideInBand(op, raw, h) }

// unsupported is the error for an answer in a medium streams do not carry here.
func (c *Config) unsupported() error {
	return c.Vendor.Refuse(op, fault.UnsupportedMedia, "stream", "audio and images in answers cannot be streamed, ask without stream")
}
