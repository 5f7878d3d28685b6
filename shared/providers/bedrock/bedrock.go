// Package bedrock connects Amazon Bedrock with a Bedrock API key: the key, the
// hosts and the foundation models of a region. Models are not served yet.
//
// The key travels as a bearer token. It is checked at the control plane of the
// region, bedrock.REGION.amazonaws.com, because the runtime has no call that costs
// nothing; the connection's base URL names the region. Source: docs.aws.amazon.com,
// Bedrock user guide "Use an Amazon Bedrock API key" and API reference
// ListFoundationModels; read 2026-11-22.
package bedrock

import (
	"context"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/awssign"
	"github.com/latchkey/latchkey/shared/providers/internal/listing"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// service is the host name's first label.
const service = "bedrock"

// Registration describes the vendor.
func Registration() providers.Entry {
	key := providers.KeyField{Header: "Authorization", Scheme: "Bearer", MinLen: 16, MaxLen: 4096}
	v := wire.Vendor{ID: taxonomy.Bedrock, Key: key, Errors: awssign.Errors()}
	return providers.Entry{
		ID:             taxonomy.Bedrock,
		Title:          "Amazon Bedrock",
		DefaultBaseURL: awssign.BaseURL(service, awssign.DefaultRegion),
		Hosts:          awssign.Hosts(service),
		Key:            key,
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return listModels(ctx, t, &v)
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return listing.Check(ctx, t, &v, "bedrock.CheckKey", "/foundation-models?byOutputModality=EMBEDDING")
		},
	}
}

func listModels(ctx context.Context, t model.Target, v *wire.Vendor) ([]model.Listed, error) {
	const op = "bedrock.ListModels"
	var in struct {
		Models []struct {
			ID      string   `json:"modelId"`
			Name    string   `json:"modelName"`
			Inputs  []string `json:"inputModalities"`
			Outputs []string `json:"outputModalities"`
		} `json:"modelSummaries"`
	}
	if err := listing.JSON(ctx, t, v, wire.Request{Op: op, Path: "/foundation-models"}, &in); err != nil {
		return nil, err
	}
	if len(in.Models) > listing.MaxEntries {
		return nil, v.Malformed(op)
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
