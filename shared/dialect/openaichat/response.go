package openaichat

import (
	"maps"
	"slices"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// Shape is what an answer needs beside the model's words.
type Shape struct {
	// ID and Model replace the vendor's, if set. Created is used when the vendor
	// gave none; Unix seconds.
	ID, Model string
	Created   int64
	// IncludeUsage adds the usage chunk to a stream. Whole answers always have it.
	IncludeUsage bool
	// ReasoningContent repeats thinking as reasoning_content, the only place
	// where some SDKs look for it.
	ReasoningContent bool
	// BillingSource is put into usage as billing_source, if set.
	BillingSource string
}

func (s *Shape) over(id, name string, created int64) (string, string, int64) {
	if s.ID != "" {
		id = s.ID
	}
	if s.Model != "" {
		name = s.Model
	}
	if created == 0 {
		created = s.Created
	}
	return id, name, created
}

// EncodeResponse appends a chat.completion object.
func EncodeResponse(dst []byte, r *model.Response, s Shape) []byte {
	id, name, created := s.over(r.ID, r.Model, r.Created)
	o := jsonwire.Begin(dst)
	o.String("id", id)
	o.String("object", "chat.completion")
	o.Int("created", created)
	o.String("model", name)
	o.Name("choices")
	o.B = append(o.B, '[')
	c := jsonwire.Begin(o.B)
	c.Int("index", 0)
	c.Name("message")
	c.B = appendMessage(c.B, r, &s)
	c.Name("logprobs")
	c.B = orNull(c.B, r.Logprobs)
	c.String("finish_reason", string(r.Finish))
	c.StringIf("native_finish_reason", r.NativeFinish)
	o.B = append(c.End(), ']')
	if r.Usage.Source != model.UsageNone && r.Usage.Source != "" {
		o.Name("usage")
		o.B = appendUsage(o.B, &r.Usage, &s)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Extra)) {
		if !encoded[k] {
			o.B = append(o.B, ',')
			o.B = jsonwire.AppendString(o.B, k)
			o.B = append(o.B, ':')
			o.B = append(o.B, r.Extra[k]...)
		}
	}
	return o.End()
}

// encoded are the members an Extra field must not repeat.
var encoded = map[string]bool{"id": true, "object": true, "created": true, "model": true, "choices": true, "usage": true, "error": true}

func orNull(b, raw []byte) []byte {
	if len(raw) == 0 {
		return append(b, "null"...)
	}
	return append(b, raw...)
}

func appendMessage(b []byte, r *model.Response, s *Shape) []byte {
	m := jsonwire.Begin(b)
	m.String("role", "assistant")
	m.Name("content")
	if text := r.Text(); text != "" || len(r.ToolCalls()) == 0 && r.Refusal() == "" {
		m.B = jsonwire.AppendString(m.B, text)
	} else {
		m.B = append(m.B, "null"...)
	}
	m.Name("refusal")
	if refusal := r.Refusal(); refusal != "" {
		m.B = jsonwire.AppendString(m.B, refusal)
	} else {
		m.B = append(m.B, "null"...)
	}
	appendThinking(&m, r.Message.Parts, s)
	appendMedia(&m, r.Message.Parts)
	if calls := r.ToolCalls(); len(calls) > 0 {
		m.Name("tool_calls")
		m.B = append(m.B, '[')
		for i := range calls {
			if i > 0 {
				m.B = append(m.B, ',')
			}
			m.B = appendCall(m.B, &calls[i])
		}
		m.B = append(m.B, ']')
	}
	return m.End()
}

func appendCall(b []byte, call *model.ToolCall) []byte {
	o := jsonwire.Begin(b)
	o.String("id", call.ID)
	o.String("type", "function")
	o.Name("function")
	f := jsonwire.Begin(o.B)
	f.String("name", call.Name)
	f.String("arguments", call.Args)
	o.B = f.End()
	appendSignature(&o, call.Signature)
	return o.End()
}

func appendSignature(o *jsonwire.Object, signature string) {
	if signature != "" {
		o.Name("extra_content")
		o.B = append(o.B, `{"google":{"thought_signature":`...)
		o.B = append(jsonwire.AppendString(o.B, signature), "}}"...)
	}
}

func appendThinking(m *jsonwire.Object, parts []model.Part, s *Shape) {
	text, n := "", 0
	for i := range parts {
		if r := parts[i].Reasoning; r != nil {
			text += r.Text
			n++
		}
	}
	if n == 0 {
		return
	}
	m.StringIf("reasoning", text)
	if s.ReasoningContent {
		m.StringIf("reasoning_content", text)
	}
	m.Name("reasoning_details")
	m.B = append(m.B, '[')
	n = 0
	for i := range parts {
		if r := parts[i].Reasoning; r != nil {
			if n > 0 {
				m.B = append(m.B, ',')
			}
			m.B = appendDetail(m.B, r, r.Text, n)
			n++
		}
	}
	m.B = append(m.B, ']')
}

// appendDetail writes one element of reasoning_details. r may be nil.
func appendDetail(b []byte, r *model.Reasoned, text string, index int) []byte {
	if r == nil {
		r = &model.Reasoned{}
	}
	d := jsonwire.Begin(b)
	switch {
	case r.Data != "":
		d.String("type", "reasoning.encrypted")
		d.String("data", r.Data)
	case r.Summary:
		d.String("type", "reasoning.summary")
		d.String("summary", text)
	default:
		d.String("type", "reasoning.text")
		d.String("text", text)
		d.StringIf("signature", r.Signature)
	}
	d.StringIf("id", r.ID)
	d.StringIf("format", r.Format)
	d.Int("index", int64(index))
	return d.End()
}

func appendMedia(m *jsonwire.Object, parts []model.Part) {
	images := 0
	for i := range parts {
		media := parts[i].Media
		switch parts[i].Kind {
		case model.PartImage:
			if images++; images == 1 {
				m.Name("images")
				m.B = append(m.B, '[')
			} else {
				m.B = append(m.B, ',')
			}
			m.B = append(m.B, `{"type":"image_url","image_url":{"url":`...)
			m.B = append(jsonwire.AppendString(m.B, media.DataURL()), "}}"...)
		}
	}
	if images > 0 {
		m.B = append(m.B, ']')
	}
	for i := range parts {
		if media := parts[i].Media; parts[i].Kind == model.PartAudio {
			m.Name("audio")
			a := jsonwire.Begin(m.B)
			a.String("id", media.ID)
			a.String("data", media.Base64)
			a.String("transcript", media.Transcript)
			m.B = a.End()
			return
		}
	}
}

func appendUsage(b []byte, u *model.Usage, s *Shape) []byte {
	o := jsonwire.Begin(b)
	o.Int("prompt_tokens", u.InputTotal())
	o.Int("completion_tokens", u.OutputTotal())
	o.Int("total_tokens", u.InputTotal()+u.OutputTotal())
	o.Name("prompt_tokens_details")
	d := jsonwire.Begin(o.B)
	d.Int("cached_tokens", u.CachedRead)
	d.Int("cache_write_tokens", u.CacheWrite5m+u.CacheWrite1h)
	d.Int("audio_tokens", u.InputAudio)
	if u.InputImage > 0 {
		d.Int("image_tokens", u.InputImage)
	}
	o.B = d.End()
	o.Name("completion_tokens_details")
	d = jsonwire.Begin(o.B)
	d.Int("reasoning_tokens", u.Reasoning)
	d.Int("audio_tokens", u.OutputAudio)
	o.B = d.End()
	o.StringIf("billing_source", s.BillingSource)
	if u.Source == model.UsageEstimated {
		o.Bool("estimated", true)
	}
	return o.End()
}

// Listed is a model as GET /v1/models shows it.
type Listed struct {
	ID           string
	Created      int64
	OwnedBy      string
	Capabilities []string
	// ContextLength and MaxCompletionTokens are named as OpenRouter and Groq name
	// them; OpenAI's own list has no sizes. 0 = left out.
	ContextLength, MaxCompletionTokens int64
}

// EncodeModels appends the answer of GET /v1/models.
func EncodeModels(dst []byte, list []Listed) []byte {
	dst = append(dst, `{"object":"list","data":[`...)
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = EncodeModel(dst, list[i])
	}
	return append(dst, "]}"...)
}

// EncodeModel appends one model object.
func EncodeModel(dst []byte, l Listed) []byte {
	o := jsonwire.Begin(dst)
	o.String("id", l.ID)
	o.String("object", "model")
	o.Int("created", l.Created)
	o.String("owned_by", l.OwnedBy)
	if len(l.Capabilities) > 0 {
		o.Name("capabilities")
		o.B = append(o.B, '[')
		for i, c := range l.Capabilities {
			if i > 0 {
				o.B = append(o.B, ',')
			}
			o.B = jsonwire.AppendString(o.B, c)
		}
		o.B = append(o.B, ']')
	}
	if l.ContextLength > 0 {
		o.Int("context_length", l.ContextLength)
	}
	if l.MaxCompletionTokens > 0 {
		o.Int("max_completion_tokens", l.MaxCompletionTokens)
	}
	return o.End()
}
