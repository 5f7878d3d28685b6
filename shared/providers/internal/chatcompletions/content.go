package chatcompletions

import (
	"encoding/json"

	"github.com/latchkey/latchkey/shared/model"
)

// content is what a message or a delta says: a string, or an array of chunks, of
// which text and thinking are read (Mistral's API reference, ContentChunk and
// ThinkChunk, read 2026-11).
type content struct {
	text   string
	chunks []contentChunk
}

type contentChunk struct {
	thinking  bool
	text      string
	signature string
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *content) UnmarshalJSON(b []byte) error {
	*v = content{}
	if len(b) == 0 || b[0] != '[' {
		return json.Unmarshal(b, &v.text)
	}
	var in []struct {
		Type     string `json:"type"`
		Text     string `json:"text"`
		Thinking []struct {
			Text string `json:"text"`
		} `json:"thinking"`
		Signature string `json:"signature"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	for i := range in {
		c := contentChunk{text: in[i].Text}
		switch in[i].Type {
		case "text":
		case "thinking":
			c = contentChunk{thinking: true, signature: in[i].Signature}
			for _, t := range in[i].Thinking {
				c.text += t.Text
			}
		default:
			continue
		}
		if c != (contentChunk{thinking: c.thinking}) {
			v.chunks = append(v.chunks, c)
		}
	}
	return nil
}

// parts appends the content to parts, neighbouring pieces of text as one. A
// signature carries its vendor as format, so that it goes back to no other.
func (v *content) parts(parts []model.Part, vendor string) []model.Part {
	if v.text != "" {
		return append(parts, model.Text(v.text))
	}
	for i := range v.chunks {
		c := &v.chunks[i]
		last := len(parts) - 1
		switch {
		case c.thinking:
			r := c.signed(vendor)
			r.Text = c.text
			parts = append(parts, model.Part{Kind: model.PartReasoning, Reasoning: &r})
		case last >= 0 && parts[last].Kind == model.PartText:
			parts[last].Text += c.text
		default:
			parts = append(parts, model.Text(c.text))
		}
	}
	return parts
}

// signed is what a chunk of thinking holds beyond its text.
func (c *contentChunk) signed(vendor string) model.Reasoned {
	if c.signature == "" {
		return model.Reasoned{}
	}
	return model.Reasoned{Signature: c.signature, Format: vendor}
}
