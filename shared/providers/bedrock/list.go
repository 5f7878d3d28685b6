package bedrock

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// get reads a list of the control plane.
func (c *Chat) get(ctx context.Context, t model.Target, op, path string, in any) error {
	t, sign, err := c.aim(op, t, control)
	if err != nil {
		return err
	}
	return listing.JSON(ctx, t, &c.v, wire.Request{Op: op, Path: path, Sign: sign}, in)
}

func (c *Chat) checkKey(ctx context.Context, t model.Target) error {
	var ignored json.RawMessage
	return c.get(ctx, t, "bedrock.CheckKey", "/foundation-models?byOutputModality=EMBEDDING", &ignored)
}

// listModels lists the foundation models of the region. Some of them are called
// by the ID of an inference profile only, which is the model's with a prefix.
func (c *Chat) listModels(ctx context.Context, t model.Target) ([]model.Listed, error) {
	const op = "bedrock.ListModels"
	var in struct {
		Models []struct {
			ID      string   `json:"modelId"`
			Name    string   `json:"modelName"`
			Inputs  []string `json:"inputModalities"`
			Outputs []string `json:"outputModalities"`
		} `json:"modelSummaries"`
	}
	if err := c.get(ctx, t, op, "/foundation-models", &in); err != nil {
		return nil, err
	}
	if len(in.Models) > listing.MaxEntries {
		return nil, c.v.Malformed(op)
	}
	out := []model.Listed{}
	for _, m := range in.Models {
		if wire.CleanID(m.ID) {
			out = append(out, model.Listed{ID: m.ID, Name: wire.Showable(m.Name), Inputs: words(m.Inputs), Outputs: words(m.Outputs)})
		}
	}
	return out, nil
}

// words are modality words in our spelling.
func words(list []string) (out []string) {
	for _, w := range list {
		if wire.CleanID(w) && len(out) < 16 {
			out = append(out, strings.ToLower(w))
		}
	}
	return out
}
