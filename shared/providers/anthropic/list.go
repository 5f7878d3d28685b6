package anthropic

import (
	"context"
	"net/url"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

const listOp = "anthropic.ListModels"

type modelPage struct {
	Data []struct {
		ID        string     `json:"id"`
		Name      string     `json:"display_name"`
		Lifecycle string     `json:"lifecycle"`
		Input     wire.Count `json:"max_input_tokens"`
		Output    wire.Count `json:"max_tokens"`
		Can       *struct {
			Image  supported `json:"image_input"`
			PDF    supported `json:"pdf_input"`
			Schema supported `json:"structured_outputs"`
			Think  supported `json:"thinking"`
		} `json:"capabilities"`
	} `json:"data"`
	More bool   `json:"has_more"`
	Last string `json:"last_id"`
}

type supported struct {
	Supported bool `json:"supported"`
}

// listModels reads GET /models, page by page. Retired models are left out, they
// answer nothing but errors.
func listModels(ctx context.Context, t model.Target, v *wire.Vendor) ([]model.Listed, error) {
	var out []model.Listed
	err := listing.Pages(v, listOp, func(after string) (string, error) {
		path := "/models?limit=1000"
		if after != "" {
			path += "&after_id=" + url.QueryEscape(after)
		}
		var page modelPage
		if err := listing.JSON(ctx, t, v, wire.Request{Op: listOp, Path: path}, &page); err != nil {
			return "", err
		}
		if page.Data == nil || page.More && !wire.CleanID(page.Last) || len(out)+len(page.Data) > listing.MaxEntries {
			return "", v.Malformed(listOp)
		}
		out = append(out, page.listed()...)
		if !page.More {
			return "", nil
		}
		return page.Last, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (page *modelPage) listed() (out []model.Listed) {
	for i := range page.Data {
		d := &page.Data[i]
		if !wire.CleanID(d.ID) || d.Lifecycle == "retired" {
			continue
		}
		l := model.Listed{ID: d.ID, Name: wire.Showable(d.Name), ContextTokens: int(max(d.Input, 0)), MaxOutputTokens: int(max(d.Output, 0))}
		if c := d.Can; c != nil {
			l.Inputs, l.Outputs, l.Parameters = []string{"text"}, []string{"text"}, []string{"tools"}
			l.Inputs = appendIf(l.Inputs, "image", c.Image)
			l.Inputs = appendIf(l.Inputs, "pdf", c.PDF)
			l.Parameters = appendIf(l.Parameters, "response_format", c.Schema)
			l.Parameters = appendIf(l.Parameters, "reasoning", c.Think)
		}
		out = append(out, l)
	}
	return out
}

func appendIf(list []string, word string, s supported) []string {
	if s.Supported {
		list = append(list, word)
	}
	return list
}
