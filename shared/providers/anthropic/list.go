package anthropic

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// bounds of a list of models: the API's page is at most 1,000 entries.
const (
	listOp             = "anthropic.ListModels"
	maxPages           = 10
	maxPageBytes int64 = 8 << 20
)

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
	after := ""
	for range maxPages {
		page, err := modelsPage(ctx, t, v, after)
		if err != nil {
			return nil, err
		}
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
		if !page.More {
			return out, nil
		}
		if !wire.CleanID(page.Last) || page.Last == after {
			return nil, v.Malformed(listOp)
		}
		after = page.Last
	}
	return nil, v.Malformed(listOp)
}

func appendIf(list []string, word string, s supported) []string {
	if s.Supported {
		list = append(list, word)
	}
	return list
}

func modelsPage(ctx context.Context, t model.Target, v *wire.Vendor, after string) (*modelPage, error) {
	path := "/models?limit=1000"
	if after != "" {
		path += "&after_id=" + url.QueryEscape(after)
	}
	body, err := get(ctx, t, v, path)
	if err != nil {
		return nil, err
	}
	var page modelPage
	if json.Unmarshal(body, &page) != nil || page.Data == nil || len(page.Data) > 1000 {
		return nil, v.Malformed(listOp)
	}
	return &page, nil
}

// checkKey asks for one model: the API refuses the list without a good key.
func checkKey(ctx context.Context, t model.Target, v *wire.Vendor) error {
	_, err := get(ctx, t, v, "/models?limit=1")
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
