package gemini

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// bounds of a list of models: the API's page is at most 1,000 entries.
const (
	listOp             = "gemini.ListModels"
	maxPages           = 10
	maxPageBytes int64 = 8 << 20
)

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
	token := ""
	for range maxPages {
		path := "/models?pageSize=1000"
		if token != "" {
			path += "&pageToken=" + url.QueryEscape(token)
		}
		body, err := get(ctx, t, v, path)
		if err != nil {
			return nil, err
		}
		var page modelPage
		if json.Unmarshal(body, &page) != nil || len(page.Models) > 1000 {
			return nil, v.Malformed(listOp)
		}
		for i := range page.Models {
			m := &page.Models[i]
			name, ok := modelName(m.Name)
			if ok && slices.Contains(m.Methods, "generateContent") {
				out = append(out, model.Listed{ID: name, Name: wire.Showable(m.Title), ContextTokens: int(max(m.Input, 0)), MaxOutputTokens: int(max(m.Output, 0))})
			}
		}
		switch {
		case page.Next == "":
			return out, nil
		case page.Next == token, len(page.Next) > 1024, strings.ToValidUTF8(page.Next, "") != page.Next:
			return nil, v.Malformed(listOp)
		}
		token = page.Next
	}
	return nil, v.Malformed(listOp)
}

// checkKey asks for one model: the API refuses the list without a good key.
func checkKey(ctx context.Context, t model.Target, v *wire.Vendor) error {
	_, err := get(ctx, t, v, "/models?pageSize=1")
	return err
}

func get(ctx context.Context, t model.Target, v *wire.Vendor, path string) ([]byte, error) {
	if t.MaxBytes <= 0 || t.MaxBytes > maxPageBytes {
		t.MaxBytes = maxPageBytes
	}
	ans, err := wire.Do(ctx, t, v, wire.Request{Op: listOp, Method: http.MethodGet, Path: path, Accept: "application/json"})
	if err != nil {
		return nil, err
	}
	return ans.Body.ReadAll(0)
}
