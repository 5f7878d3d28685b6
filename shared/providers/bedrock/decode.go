package bedrock

import (
	"encoding/json"
	"net/http"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// maxBlocks bounds the blocks of one answer, far above what models produce.
const maxBlocks = 4096

// serverTool is the type of a call that the vendor runs itself.
const serverTool = "server_tool_use"

type wireAnswer struct {
	Type   string `json:"__type"`
	Output *struct {
		Message *struct {
			Content []wireBlock `json:"content"`
		} `json:"message"`
	} `json:"output"`
	StopReason string          `json:"stopReason"`
	Usage      json.RawMessage `json:"usage"`
}

// wireBlock is one block of an answer. Blocks of other kinds, such as results of
// the vendor's own tools, are left out.
type wireBlock struct {
	Text  *string `json:"text"`
	Image *struct {
		Format string `json:"format"`
		Source struct {
			Bytes string `json:"bytes"`
		} `json:"source"`
	} `json:"image"`
	Tool      *wireTool `json:"toolUse"`
	Reasoning *struct {
		Text *struct {
			Text      string `json:"text"`
			Signature string `json:"signature"`
		} `json:"reasoningText"`
		Redacted string `json:"redactedContent"`
	} `json:"reasoningContent"`
	Cited *struct {
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
	} `json:"citationsContent"`
}

type wireTool struct {
	ID    string          `json:"toolUseId"`
	Name  string          `json:"name"`
	Type  string          `json:"type"`
	Input json.RawMessage `json:"input"`
}

// decode reads a whole answer. The API names neither the answer, which gets the ID
// of the request, nor the model.
func (e *encoded) decode(body []byte, h http.Header) (*model.Response, error) {
	v := &e.c.v
	var in wireAnswer
	if json.Unmarshal(body, &in) != nil {
		return nil, v.Malformed(op)
	}
	if in.Output == nil && (in.Type != "" || h.Get("X-Amzn-Errortype") != "") {
		return nil, v.Decide(op, http.StatusBadGateway, h, body)
	}
	if in.Output == nil || in.Output.Message == nil || in.StopReason == "" || len(in.Output.Message.Content) > maxBlocks {
		return nil, v.Malformed(op)
	}
	r := &model.Response{Message: model.Message{Role: model.RoleAssistant}}
	tools := false
	for i := range in.Output.Message.Content {
		b := &in.Output.Message.Content[i]
		if b.Tool != nil && b.Tool.Type != serverTool && (b.Tool.ID == "" || b.Tool.Name == "") {
			return nil, v.Malformed(op)
		}
		part, ok := e.part(b)
		if !ok {
			continue
		}
		tools = tools || part.Kind == model.PartToolCall
		r.Message.Parts = append(r.Message.Parts, part)
	}
	r.Finish, r.NativeFinish = finish(in.StopReason, tools)
	r.Usage = usage(in.Usage)
	return r, nil
}

// part reads a block; ok is false for one that shows nothing.
func (e *encoded) part(b *wireBlock) (p model.Part, ok bool) {
	switch {
	case b.Text != nil:
		return model.Text(*b.Text), *b.Text != ""
	case b.Tool != nil:
		args := validInput(b.Tool.Input)
		if args == "" {
			args = "{}"
		}
		switch {
		case b.Tool.Type == serverTool:
			return p, false
		case b.Tool.Name == e.forced:
			return model.Text(args), true
		}
		return model.Part{Kind: model.PartToolCall, Call: &model.ToolCall{ID: b.Tool.ID, Name: b.Tool.Name, Args: args}}, true
	case b.Reasoning != nil && !e.hide:
		r := &model.Reasoned{Data: b.Reasoning.Redacted}
		if t := b.Reasoning.Text; t != nil {
			r.Text, r.Signature = t.Text, t.Signature
		}
		if r.Signature != "" || r.Data != "" {
			r.Format = e.profile.reasonedFormat(r.Data != "")
		}
		return model.Part{Kind: model.PartReasoning, Reasoning: r}, r.Text+r.Signature+r.Data != ""
	case b.Cited != nil:
		text := ""
		for _, c := range b.Cited.Content {
			text += c.Text
		}
		return model.Text(text), text != ""
	case b.Image != nil:
		return model.Part{Kind: model.PartImage, Media: &model.Media{MIME: "image/" + wire.Clip(b.Image.Format), Base64: b.Image.Source.Bytes}},
			b.Image.Source.Bytes != ""
	}
	return p, false
}

// finish translates a stop reason (StopReason of the service model). A forced
// answer ends with tool_use but has no calls.
func finish(native string, tools bool) (model.FinishReason, string) {
	f := model.FinishStop
	switch native {
	case "tool_use":
		if tools {
			f = model.FinishToolCalls
		}
	case "max_tokens", "model_context_window_exceeded":
		f = model.FinishLength
	case "guardrail_intervened", "content_filtered":
		f = model.FinishContentFilter
	case "malformed_model_output", "malformed_tool_use":
		f = model.FinishError
	}
	return f, wire.Clip(native)
}

// usage turns a TokenUsage into our buckets: input, reads and writes exclude each
// other already, writes of an hour are part of all writes. Reasoning is part of the
// output and not told apart.
func usage(raw json.RawMessage) model.Usage {
	var in struct {
		Input   *wire.Count `json:"inputTokens"`
		Output  *wire.Count `json:"outputTokens"`
		Read    wire.Count  `json:"cacheReadInputTokens"`
		Write   wire.Count  `json:"cacheWriteInputTokens"`
		Details []struct {
			TTL    string     `json:"ttl"`
			Tokens wire.Count `json:"inputTokens"`
		} `json:"cacheDetails"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &in) != nil || in.Input == nil && in.Output == nil {
		return model.Usage{Source: model.UsageNone}
	}
	u := model.Usage{Source: model.UsageProvider, Raw: wire.RawUsage(raw)}
	within := func(n, limit wire.Count) int64 {
		if n < 0 || n > limit {
			u.Suspect = true
		}
		return int64(min(max(n, 0), limit))
	}
	if in.Input != nil {
		u.Input = within(*in.Input, model.MaxTokens)
	}
	if in.Output != nil {
		u.Output = within(*in.Output, model.MaxTokens)
	}
	u.CachedRead = within(in.Read, model.MaxTokens)
	writes := within(in.Write, model.MaxTokens)
	for _, d := range in.Details[:min(len(in.Details), 16)] {
		if d.TTL == "1h" {
			u.CacheWrite1h += within(d.Tokens, wire.Count(writes-u.CacheWrite1h))
		}
	}
	u.CacheWrite5m = writes - u.CacheWrite1h
	return u
}
