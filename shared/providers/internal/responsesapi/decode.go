package responsesapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/model"
)

// maxItems bounds one answer, far above what models produce.
const maxItems = 4096

type wireResponse struct {
	ID         string          `json:"id"`
	Model      string          `json:"model"`
	Created    json.Number     `json:"created_at"`
	Status     string          `json:"status"`
	Error      json.RawMessage `json:"error"`
	Incomplete struct {
		Reason string `json:"reason"`
	} `json:"incomplete_details"`
	Output []wireItem      `json:"output"`
	Usage  json.RawMessage `json:"usage"`
}

type wireItem struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
	Encrypted string `json:"encrypted_content"`
	Summary   []struct {
		Text string `json:"text"`
	} `json:"summary"`
	Content []struct {
		Type    string `json:"type"`
		Text    string `json:"text"`
		Refusal string `json:"refusal"`
	} `json:"content"`
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// validUTF8 replaces bytes that are none, also in values that are kept raw.
func validUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\ufffd"))
}

// clip bounds a short string of a vendor that is stored and shown.
func clip(s string) string {
	if len(s) > 256 {
		s = s[:256]
	}
	return strings.ToValidUTF8(s, "")
}

func (c *Chat) decode(body []byte, h http.Header) (*model.Response, error) {
	v := &c.c.Vendor
	var in wireResponse
	if json.Unmarshal(validUTF8(body), &in) != nil {
		return nil, v.Malformed(op)
	}
	if present(in.Error) {
		return nil, v.DecideBody(op, body, h)
	}
	if in.Status != "completed" && in.Status != "incomplete" || len(in.Output) > maxItems {
		return nil, v.Malformed(op)
	}
	r := &model.Response{ID: clip(in.ID), Model: clip(in.Model), Created: created(in.Created), Message: model.Message{Role: model.RoleAssistant},
		Usage: usage(in.Usage)}
	for i := range in.Output {
		parts, ok := in.Output[i].parts()
		if !ok {
			return nil, v.Malformed(op)
		}
		r.Message.Parts = append(r.Message.Parts, parts...)
	}
	r.Finish, r.NativeFinish = in.finish(len(r.ToolCalls()) > 0)
	return r, nil
}

func created(n json.Number) int64 {
	whole, _, _ := strings.Cut(string(n), ".")
	s, err := json.Number(whole).Int64()
	if err != nil || s < 0 {
		return 0
	}
	return s
}

// finish is why the answer ended; the native word is the reason of an incomplete
// answer, else the status.
func (in *wireResponse) finish(tools bool) (model.FinishReason, string) {
	switch {
	case in.Status == "incomplete" && in.Incomplete.Reason == "content_filter":
		return model.FinishContentFilter, in.Incomplete.Reason
	case in.Status == "incomplete" && in.Incomplete.Reason != "":
		return model.FinishLength, clip(in.Incomplete.Reason)
	case in.Status == "incomplete":
		return model.FinishLength, in.Status
	case tools:
		return model.FinishToolCalls, in.Status
	}
	return model.FinishStop, in.Status
}

func (it *wireItem) parts() (out []model.Part, ok bool) {
	switch it.Type {
	case "reasoning":
		var text []string
		for _, s := range it.Summary {
			text = append(text, s.Text)
		}
		r := it.reasoned()
		if r.Text = strings.Join(text, "\n\n"); r != (model.Reasoned{}) {
			out = append(out, model.Part{Kind: model.PartReasoning, Reasoning: &r})
		}
	case "message":
		for _, c := range it.Content {
			switch {
			case c.Type == "output_text" && c.Text != "":
				out = append(out, model.Text(c.Text))
			case c.Type == "refusal" && c.Refusal != "":
				out = append(out, model.Part{Kind: model.PartRefusal, Text: c.Refusal})
			}
		}
	case "function_call":
		if it.Name == "" || it.CallID == "" {
			return nil, false
		}
		args := it.Arguments
		if args == "" {
			args = "{}"
		}
		out = append(out, model.Part{Kind: model.PartToolCall, Call: &model.ToolCall{ID: it.CallID, Name: it.Name, Args: args}})
	}
	return out, true
}

// reasoned is what a reasoning item holds beyond its text.
func (it *wireItem) reasoned() model.Reasoned {
	if it.Encrypted == "" {
		return model.Reasoned{Summary: len(it.Summary) > 0}
	}
	return model.Reasoned{Data: it.Encrypted, ID: it.ID, Format: Format, Summary: len(it.Summary) > 0}
}

// usage turns the counts into disjoint buckets: cached and written tokens are
// inside the input, reasoning inside the output.
func usage(raw json.RawMessage) model.Usage {
	if !present(raw) {
		return model.Usage{Source: model.UsageNone}
	}
	var in struct {
		Input  *int64 `json:"input_tokens"`
		Output int64  `json:"output_tokens"`
		In     struct {
			Cached int64 `json:"cached_tokens"`
			Write  int64 `json:"cache_write_tokens"`
		} `json:"input_tokens_details"`
		Out struct {
			Reasoning int64 `json:"reasoning_tokens"`
		} `json:"output_tokens_details"`
	}
	var kept json.RawMessage
	if len(raw) <= 4<<10 {
		kept = append(kept, raw...)
	}
	if json.Unmarshal(raw, &in) != nil || in.Input == nil {
		return model.Usage{Source: model.UsageNone, Suspect: true, Raw: kept}
	}
	u := model.Inclusive{Input: *in.Input, CachedRead: in.In.Cached, CacheWrite: in.In.Write, Output: in.Output, Reasoning: in.Out.Reasoning}.Split()
	u.Raw = kept
	return u
}
