package gemini

import (
	"context"
	"net/url"
	"slices"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

const listOp = "gemini.ListModels"

type modelPage struct {
	Models []struct {
		Name    string     `json:"name"`
		Title   string     `json:"displayName"`
		Input   wire.Count `json:"inputTokenLimit"`
		Output  wire.Count `json:"outputTokenLimit"`
		Methods []string   `json:"supportedGenerationMethods"`
	} `json:"models"`
	Next string `json:"nextPageToken"`
}

// listModels reads GET /models, page by page, and keeps what this adapter can
// call.
func listModels(ctx context.Context, t model.Target, v *wire.Vendor) ([]model.Listed, error) {
	out := []model.Listed{}
	err := listing.Pages(v, listOp, func(token string) (string, error) {
		path := "/models?pageSize=1000"
		if token != "" {
			path += "&pageToken=" + url.QueryEscape(token)
		}
		var page modelPage
		if err := listing.JSON(ctx, t, v, wire.Request{Op: listOp, Path: path}, &page); err != nil {
			return "", err
		}
		if len(out)+len(page.Models) > listing.MaxEntries {
			return "", v.Malformed(listOp)
		}
		for i := range page.Models {
			m := &page.Models[i]
			name, ok := modelName(m.Name)
			if ok && slices.Contains(m.Methods, "generateContent") {
				out = append(out, model.Listed{ID: name, Name: wire.Showable(m.Title), ContextTokens: int(max(m.Input, 0)), MaxOutputTokens: int(max(m.Output, 0))})
			}
		}
		return page.Next, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
