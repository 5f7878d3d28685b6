package chatcompletions

import (
	"context"
	"encoding/json"
	"net/http"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// maxListed bounds a list of models, maxListBytes its text.
const (
	maxListed          = 10000
	maxListBytes int64 = 32 << 20
)

const listOp = "chatcompletions.ListModels"

// ListModels reads GET /models. Beyond OpenAI's id it understands OpenRouter's
// description of a model (openrouter.ai/docs, list models, read 2026-11).
// Entries whose ID cannot be shown are left out.
func ListModels(ctx context.Context, t model.Target, v *wire.Vendor, path string) ([]model.Listed, error) {
	body, err := get(ctx, t, v, path)
	if err != nil {
		return nil, err
	}
	var in struct {
		Data []struct {
			ID      string `json:"id"`
			Name    string `json:"name"`
			Context count  `json:"context_length"`
			// Names of vLLM, Mistral and Groq for the same.
			MaxModelLen  count `json:"max_model_len"`
			MaxContext   count `json:"max_context_length"`
			Window       count `json:"context_window"`
			MaxOutput    count `json:"max_completion_tokens"`
			Architecture struct {
				Inputs  []string `json:"input_modalities"`
				Outputs []string `json:"output_modalities"`
			} `json:"architecture"`
			Top struct {
				MaxOutput count `json:"max_completion_tokens"`
			} `json:"top_provider"`
			Parameters []string `json:"supported_parameters"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &in) != nil || len(in.Data) > maxListed {
		return nil, v.Malformed(listOp)
	}
	out := make([]model.Listed, 0, len(in.Data))
	for i := range in.Data {
		d := &in.Data[i]
		if !showable(d.ID) {
			continue
		}
		l := model.Listed{ID: d.ID, ContextTokens: int(max(d.Context, d.MaxModelLen, d.MaxContext, d.Window, 0)),
			MaxOutputTokens: int(max(d.Top.MaxOutput, d.MaxOutput, 0)), Inputs: words(d.Architecture.Inputs),
			Outputs: words(d.Architecture.Outputs), Parameters: words(d.Parameters)}
		if showable(d.Name) {
			l.Name = d.Name
		}
		out = append(out, l)
	}
	return out, nil
}

// CheckKey reports whether a GET of path with the key is answered with 2xx. The
// answer itself is not kept: it may describe the account.
func CheckKey(ctx context.Context, t model.Target, v *wire.Vendor, path string) error {
	_, err := get(ctx, t, v, path)
	return err
}

func get(ctx context.Context, t model.Target, v *wire.Vendor, path string) ([]byte, error) {
	if t.MaxBytes <= 0 || t.MaxBytes > maxListBytes {
		t.MaxBytes = maxListBytes
	}
	ans, err := wire.Do(ctx, t, v, wire.Request{Op: listOp, Method: http.MethodGet, Path: path, Accept: "application/json"})
	if err != nil {
		return nil, err
	}
	return ans.Body.ReadAll(0)
}

func showable(s string) bool {
	if s == "" || len(s) > 256 || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return false
		}
	}
	return true
}

// words keeps the entries that are short plain words.
func words(list []string) []string {
	var out []string
	for _, w := range list {
		if wire.CleanID(w) && len(w) <= 64 && len(out) < 64 {
			out = append(out, w)
		}
	}
	return out
}
