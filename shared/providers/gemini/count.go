package gemini

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// CountTokens implements [model.TokenCounter]: the tokens of the whole request,
// its system text and tools included. It costs nothing
// (ai.google.dev/gemini-api/docs/tokens and api/tokens, read 2026-11-22). Errors as
// [model.Chat].
func (c *Chat) CountTokens(ctx context.Context, call model.Call) (int64, error) {
	name, ok := modelName(call.Request.Model)
	if !ok {
		return 0, c.refuse("model", "a model name of this provider is required, such as those that the list of models shows")
	}
	inner, err := c.encode(call.Request)
	if err != nil {
		return 0, err
	}
	b := append(make([]byte, 0, len(inner)+len(name)+64), `{"generateContentRequest":{"model":`...)
	b = append(jsonwire.AppendString(b, "models/"+name), ',')
	b = append(append(b, inner[1:]...), '}')
	ans, err := wire.Do(ctx, call.Target, &c.v, wire.Request{Op: op, Method: http.MethodPost, Path: "/models/" + name + ":countTokens",
		ContentType: "application/json", Accept: "application/json", Body: bytes.NewReader(b), Size: int64(len(b))})
	if err != nil {
		return 0, err
	}
	body, err := ans.Body.ReadAll(0)
	if err != nil {
		return 0, err
	}
	var in struct {
		Total *wire.Count     `json:"totalTokens"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &in) != nil {
		return 0, c.v.Malformed(op)
	}
	if len(in.Error) > 0 && string(in.Error) != "null" {
		return 0, c.v.DecideInBand(op, in.Error, ans.Header)
	}
	if in.Total == nil || *in.Total < 0 || *in.Total > model.MaxTokens {
		return 0, c.v.Malformed(op)
	}
	return int64(*in.Total), nil
}
