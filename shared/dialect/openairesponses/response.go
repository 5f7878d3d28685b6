package openairesponses

import (
	"encoding/json"
	"strconv"

	"github.com/latchkey/latchkey/shared/dialect/internal/opaque"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// Shape is what an answer needs beside the model's words.
type Shape struct {
	// ID is ours; items are named after it. Model replaces the vendor's, if set.
	ID, Model string
	// Created is in Unix seconds, used when the vendor gave none.
	Created int64
	Meta    Meta
}

// item encodes one output item. n is its place in the output.
func (s *Shape) reasoningItem(r *model.Reasoned, text string, n int) []byte {
	o := jsonwire.Begin(nil)
	id := r.ID
	if id == "" {
		id = s.itemID("rs", n)
	}
	o.String("id", id)
	o.String("type", "reasoning")
	o.Name("summary")
	o.B = append(o.B, '[')
	if text != "" {
		t := jsonwire.Begin(o.B)
		t.String("type", "summary_text")
		t.String("text", text)
		o.B = t.End()
	}
	o.B = append(o.B, ']')
	o.StringIf("encrypted_content", opaque.AsData(r, nativeFormat))
	return o.End()
}

// signatureItem carries the signature of a tool call.
func (s *Shape) signatureItem(callID, signature string, n int) []byte {
	return s.reasoningItem(&model.Reasoned{Data: opaque.Call(callID, signature)}, "", n)
}

func (s *Shape) itemID(kind string, n int) string { return kind + "_" + s.ID + "_" + strconv.Itoa(n) }

func (s *Shape) callItem(c *model.ToolCall, status string, n int) []byte {
	o := jsonwire.Begin(nil)
	o.String("id", s.itemID("fc", n))
	o.String("type", "function_call")
	o.String("status", status)
	o.String("call_id", c.ID)
	o.String("name", c.Name)
	o.String("arguments", c.Args)
	return o.End()
}

// messageItem encodes a message whose content is already encoded.
func (s *Shape) messageItem(content []byte, status string, n int) []byte {
	o := jsonwire.Begin(nil)
	o.String("id", s.itemID("msg", n))
	o.String("type", "message")
	o.String("status", status)
	o.String("role", "assistant")
	o.Name("content")
	o.B = append(append(append(o.B, '['), content...), ']')
	return o.End()
}

func textPart(text string) []byte {
	o := jsonwire.Begin(nil)
	o.String("type", "output_text")
	o.String("text", text)
	o.Raw("annotations", []byte("[]"))
	return o.End()
}

func refusalPart(text string) []byte {
	o := jsonwire.Begin(nil)
	o.String("type", "refusal")
	o.String("refusal", text)
	return o.End()
}

// EncodeResponse appends a response object. A response that failed fails with
// fault.ProviderError.
func EncodeResponse(dst []byte, r *model.Response, s Shape) ([]byte, error) {
	if r.Finish == model.FinishError {
		return nil, fault.New(fault.ProviderError, "openairesponses.EncodeResponse", "the model did not finish its answer; try again")
	}
	var items [][]byte
	parts := r.Message.Parts
	for i := 0; i < len(parts); i++ {
		p := &parts[i]
		switch p.Kind {
		case model.PartReasoning:
			items = append(items, s.reasoningItem(p.Reasoning, p.Reasoning.Text, len(items)))
		case model.PartToolCall:
			if p.Call.Signature != "" {
				items = append(items, s.signatureItem(p.Call.ID, p.Call.Signature, len(items)))
			}
			items = append(items, s.callItem(p.Call, "completed", len(items)))
		case model.PartText:
			items = append(items, s.messageItem(textPart(p.Text), "completed", len(items)))
		case model.PartRefusal:
			items = append(items, s.messageItem(refusalPart(p.Text), "completed", len(items)))
		}
	}
	name, created := r.Model, r.Created
	return s.append(dst, name, created, status(r.Finish), r.Finish, items, &r.Usage), nil
}

func status(f model.FinishReason) string {
	switch f {
	case model.FinishLength, model.FinishContentFilter, model.FinishCreditExhausted:
		return "incomplete"
	}
	return "completed"
}

// append writes the response object. usage may be nil.
func (s *Shape) append(dst []byte, name string, created int64, status string, finish model.FinishReason, items [][]byte, usage *model.Usage) []byte {
	if s.Model != "" {
		name = s.Model
	}
	if created == 0 {
		created = s.Created
	}
	null := []byte("null")
	o := jsonwire.Begin(dst)
	o.String("id", "resp_"+s.ID)
	o.String("object", "response")
	o.Int("created_at", created)
	o.String("status", status)
	o.Bool("background", false)
	o.Raw("error", null)
	// The last one is not a word of this dialect; its SDKs hand on words they do not know.
	reason := map[model.FinishReason]string{model.FinishLength: "max_output_tokens", model.FinishContentFilter: "content_filter",
		model.FinishCreditExhausted: string(finish)}[finish]
	o.Name("incomplete_details")
	if reason == "" {
		o.B = append(o.B, null...)
	} else {
		d := jsonwire.Begin(o.B)
		d.String("reason", reason)
		o.B = d.End()
	}
	o.Name("instructions")
	if s.Meta.Instructions == "" {
		o.B = append(o.B, null...)
	} else {
		o.B = jsonwire.AppendString(o.B, s.Meta.Instructions)
	}
	o.String("model", name)
	o.Name("output")
	o.B = append(o.B, '[')
	for i, item := range items {
		if i > 0 {
			o.B = append(o.B, ',')
		}
		o.B = append(o.B, item...)
	}
	o.B = append(o.B, ']')
	o.Bool("parallel_tool_calls", true)
	o.Raw("previous_response_id", null)
	o.Bool("store", false)
	o.Raw("tool_choice", or(s.Meta.ToolChoice, `"auto"`))
	o.Raw("tools", or(s.Meta.Tools, "[]"))
	o.String("truncation", "disabled")
	o.Raw("metadata", or(s.Meta.Metadata, "{}"))
	o.Name("usage")
	if usage == nil || usage.Source == "" || usage.Source == model.UsageNone {
		o.B = append(o.B, null...)
	} else {
		o.B = appendUsage(o.B, usage)
	}
	return o.End()
}

func or(raw json.RawMessage, fallback string) []byte {
	if len(raw) == 0 || string(raw) == "null" {
		return []byte(fallback)
	}
	return raw
}

func appendUsage(b []byte, u *model.Usage) []byte {
	o := jsonwire.Begin(b)
	o.Int("input_tokens", u.InputTotal())
	o.Name("input_tokens_details")
	d := jsonwire.Begin(o.B)
	d.Int("cached_tokens", u.CachedRead)
	d.Int("cache_write_tokens", u.CacheWrite5m+u.CacheWrite1h)
	o.B = d.End()
	o.Int("output_tokens", u.OutputTotal())
	o.Name("output_tokens_details")
	d = jsonwire.Begin(o.B)
	d.Int("reasoning_tokens", u.Reasoning)
	o.B = d.End()
	o.Int("total_tokens", u.InputTotal()+u.OutputTotal())
	return o.End()
}
