package gemini

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/events"
	"github.com/latchkey/latchkey/shared/providers/internal/sse"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// maxCalls bounds the calls of one answer, far above what models produce.
const maxCalls = 1024

// answer is a GenerateContentResponse: a whole answer, or one chunk of it.
type answer struct {
	Candidates []struct {
		Index   int `json:"index"`
		Content struct {
			Parts []part `json:"parts"`
		} `json:"content"`
		FinishReason string `json:"finishReason"`
	} `json:"candidates"`
	Feedback struct {
		BlockReason string `json:"blockReason"`
	} `json:"promptFeedback"`
	Usage      json.RawMessage `json:"usageMetadata"`
	Model      string          `json:"modelVersion"`
	ResponseID string          `json:"responseId"`
	Error      json.RawMessage `json:"error"`
}

type part struct {
	Text      string `json:"text"`
	Thought   bool   `json:"thought"`
	Signature string `json:"thoughtSignature"`
	Call      *struct {
		ID   string          `json:"id"`
		Name string          `json:"name"`
		Args json.RawMessage `json:"args"`
	} `json:"functionCall"`
	Inline *struct {
		MIME string `json:"mimeType"`
		Data string `json:"data"`
	} `json:"inlineData"`
}

// decoder turns answers into events. The same code reads a whole answer: it is a
// stream of one chunk.
type decoder struct {
	vendor    *wire.Vendor
	header    http.Header
	requestID string
	// image takes images of a whole answer; nil in a stream, which cannot carry
	// them.
	image func(*model.Media)

	id              string
	begun, finished bool
	calls, thoughts int
	thinking        bool
}

// Frame implements [events.Decoder].
func (d *decoder) Frame(ev sse.Event, put events.Put) error { return d.read(ev.Data, put) }

// End implements [events.Decoder]: the API has no last frame but the finish
// reason.
func (d *decoder) End(put events.Put) error {
	if !d.finished {
		return d.vendor.Cut(op)
	}
	put(model.Event{Kind: model.EventEnd})
	return io.EOF
}

func (d *decoder) read(data []byte, put events.Put) error {
	var in answer
	if json.Unmarshal(data, &in) != nil {
		return d.vendor.Malformed(op)
	}
	if len(in.Error) > 0 && string(in.Error) != "null" {
		return d.vendor.DecideInBand(op, in.Error, d.header)
	}
	if len(in.Candidates) == 0 && in.Feedback.BlockReason != "" {
		return d.vendor.DecideInBand(op, []byte(`{"code":"`+promptBlocked+`"}`), d.header)
	}
	if !d.begun {
		d.begun, d.id = true, wire.Clip(in.ResponseID)
		put(model.Event{Kind: model.EventStart, ID: d.id, Name: wire.Clip(in.Model), RequestID: d.requestID})
	}
	failed := false
	for i := range in.Candidates {
		c := &in.Candidates[i]
		if c.Index != 0 || i > 0 || d.finished && len(c.Content.Parts) > 0 {
			// Only one candidate is ever asked for.
			return d.vendor.Malformed(op)
		}
		for j := range c.Content.Parts {
			if err := d.part(&c.Content.Parts[j], put); err != nil {
				return err
			}
		}
		if c.FinishReason != "" && !d.finished {
			reason, native := finish(c.FinishReason, d.calls > 0)
			if failed = reason == model.FinishError; !failed {
				d.finished = true
				put(model.Event{Kind: model.EventFinish, Finish: reason, Native: native})
			}
		}
	}
	if u, ok := usage(in.Usage); ok {
		put(model.Event{Kind: model.EventUsage, Usage: &u})
	}
	if failed {
		return d.vendor.DecideInBand(op, []byte(`{"code":502}`), d.header)
	}
	return nil
}

func (d *decoder) part(p *part, put events.Put) error {
	switch {
	case p.Call != nil:
		return d.call(p, put)
	case p.Inline != nil:
		if d.image == nil {
			return d.vendor.Refuse(op, fault.UnsupportedMedia, "stream", "audio and images in answers cannot be streamed, ask without stream")
		}
		d.image(&model.Media{MIME: p.Inline.MIME, Base64: p.Inline.Data})
		d.thinking = false
		d.text(&part{Signature: p.Signature}, put)
	case p.Thought:
		if p.Text != "" || p.Signature != "" {
			ev := model.Event{Kind: model.EventReasoning, Text: p.Text}
			if !d.thinking {
				d.thinking = true
				d.thoughts++
				ev.Reasoning = &model.Reasoned{Summary: true, Format: format}
			}
			if p.Signature != "" {
				ev.Reasoning = &model.Reasoned{Summary: true, Signature: p.Signature, Format: format}
			}
			ev.Index = d.thoughts - 1
			put(ev)
		}
	default:
		d.text(p, put)
	}
	return nil
}

// text puts a text and, if it has one, its signature as thinking without text.
func (d *decoder) text(p *part, put events.Put) {
	if p.Text != "" {
		d.thinking = false
		put(model.Event{Kind: model.EventText, Text: p.Text})
	}
	if p.Signature != "" {
		d.thinking = false
		d.thoughts++
		put(model.Event{Kind: model.EventReasoning, Index: d.thoughts - 1, Reasoning: &model.Reasoned{Signature: p.Signature, Format: format}})
	}
}

func (d *decoder) call(p *part, put events.Put) error {
	d.thinking = false
	if p.Call.Name == "" || d.calls >= maxCalls {
		return d.vendor.Malformed(op)
	}
	i := d.calls
	d.calls++
	id := p.Call.ID
	if id == "" {
		// Results are matched by ID, but older models give none.
		id = "call_" + strconv.Itoa(i) + "_" + d.id
	}
	args := strings.ToValidUTF8(strings.TrimSpace(string(p.Call.Args)), "\ufffd")
	if args == "" || args == "null" {
		args = "{}"
	}
	put(model.Event{Kind: model.EventToolStart, Index: i, ID: id, Name: p.Call.Name, Signature: p.Signature})
	put(model.Event{Kind: model.EventToolArgs, Index: i, Text: args})
	put(model.Event{Kind: model.EventToolEnd, Index: i})
	return nil
}

var known = map[string]bool{"candidates": true, "promptFeedback": true, "usageMetadata": true, "modelVersion": true,
	"responseId": true, "error": true}

// decode reads a whole answer.
func decode(v *wire.Vendor, body []byte, h http.Header) (*model.Response, error) {
	r := &model.Response{}
	b := &model.Builder{}
	d := &decoder{vendor: v, header: h}
	d.image = func(m *model.Media) {
		r.Message.Parts = append(append(r.Message.Parts, b.Response().Message.Parts...), model.Part{Kind: model.PartImage, Media: m})
		b = &model.Builder{}
	}
	err := d.read(body, func(ev model.Event) {
		if ev.Kind == model.EventStart {
			r.ID, r.Model = ev.ID, ev.Name
		}
		b.Add(ev)
	})
	if err != nil {
		return nil, err
	}
	if !d.finished {
		return nil, v.Malformed(op)
	}
	rest := b.Response()
	r.Message.Role = model.RoleAssistant
	r.Message.Parts = append(r.Message.Parts, rest.Message.Parts...)
	r.Finish, r.NativeFinish, r.Usage = rest.Finish, rest.NativeFinish, rest.Usage
	r.Extra = wire.Extra(body, known)
	return r, nil
}

// finish translates a finish reason (FinishReason of @google/genai 2.32.0).
// FinishError stands for those with which the model says that it failed.
func finish(native string, calls bool) (model.FinishReason, string) {
	f := model.FinishStop
	switch native {
	case "MAX_TOKENS":
		f = model.FinishLength
	case "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
		"IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR":
		f = model.FinishContentFilter
	case "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE",
		"MISSING_THOUGHT_SIGNATURE", "OTHER", "NO_IMAGE", "IMAGE_OTHER":
		f = model.FinishError
	}
	if f == model.FinishStop && calls {
		f = model.FinishToolCalls
	}
	return f, wire.Clip(native)
}

type modality struct {
	Modality string     `json:"modality"`
	Tokens   wire.Count `json:"tokenCount"`
}

// usage turns a usageMetadata into our buckets. Cached tokens are part of the
// prompt's; the results of the vendor's own tools and the thoughts are counted
// beside prompt and candidates. Details by modality count cached tokens too.
func usage(raw json.RawMessage) (model.Usage, bool) {
	var in struct {
		Prompt     *wire.Count `json:"promptTokenCount"`
		ToolPrompt wire.Count  `json:"toolUsePromptTokenCount"`
		Cached     wire.Count  `json:"cachedContentTokenCount"`
		Output     *wire.Count `json:"candidatesTokenCount"`
		Thoughts   wire.Count  `json:"thoughtsTokenCount"`
		In         []modality  `json:"promptTokensDetails"`
		Cache      []modality  `json:"cacheTokensDetails"`
		Out        []modality  `json:"candidatesTokensDetails"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &in) != nil || in.Prompt == nil && in.Output == nil {
		return model.Usage{}, false
	}
	if in.Prompt == nil {
		in.Prompt = new(wire.Count)
	}
	if in.Output == nil {
		in.Output = new(wire.Count)
	}
	u := model.Inclusive{
		Input: add(*in.Prompt, in.ToolPrompt), CachedRead: int64(in.Cached),
		InputAudio: sum(in.In, "AUDIO") - min(sum(in.Cache, "AUDIO"), sum(in.In, "AUDIO")),
		InputImage: sum(in.In, "IMAGE") - min(sum(in.Cache, "IMAGE"), sum(in.In, "IMAGE")),
		Output:     add(*in.Output, in.Thoughts), Reasoning: int64(in.Thoughts), OutputAudio: sum(in.Out, "AUDIO"),
		OutputImage: sum(in.Out, "IMAGE"),
	}.Split()
	u.Raw = wire.RawUsage(raw)
	return u, true
}

// add keeps a count that makes no sense visible to [model.Inclusive.Split].
func add(a, b wire.Count) int64 {
	if a < 0 || b < 0 || a > model.MaxTokens || b > model.MaxTokens {
		return -1
	}
	return int64(a + b)
}

func sum(list []modality, word string) (n int64) {
	for _, m := range list[:min(len(list), 32)] {
		if m.Modality == word {
			n += min(max(int64(m.Tokens), 0), model.MaxTokens)
		}
	}
	return n
}
