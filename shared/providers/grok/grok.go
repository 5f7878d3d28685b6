// Package grok is the vendor xAI and its Grok models: chat completions.
//
// Facts that differ from plain chat completions, from docs.x.ai (REST API
// reference, reasoning, image understanding, debugging errors) and @ai-sdk/xai
// 3.0.138, read 2026-11:
//   - Reasoning tokens are counted beside completion_tokens, not inside: the
//     documented answer has 32 + 9 + 94 = 135 tokens in all.
//   - A wrong key is a 400, "Incorrect API key provided"; errors are
//     {"code": "...", "error": "..."}, also with status 200.
//   - Reasoning models refuse stop and the penalties; logit_bias is taken from
//     none. Which models take reasoning_effort is in the table.
//   - Images come as jpeg or png, by URL or bytes.
//   - The list of models needs a key; GET /api-key is cheaper and describes the
//     key, which is not kept.
//
// xAI recommends its Responses API and calls chat completions deprecated. What
// only that one has (encrypted thinking, files) is not offered here.
package grok

import (
	"context"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/chatcompletions"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	baseURL = "https://api.x.ai/v1"
	host    = "api.x.ai"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "Bearer", Prefix: "xai-", MinLen: 16, MaxLen: 512}
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.Grok, Key: key(), Errors: errorTable()}
}

func chat() chatcompletions.Config {
	return chatcompletions.Config{Vendor: vendor(), MaxTokensField: "max_completion_tokens", ReasoningOutside: true, Models: models()}
}

func models() []chatcompletions.Model {
	images := chatcompletions.Media{ImageURL: true, ImageData: true, ImageTypes: []string{"image/png", "image/jpeg"}}
	reasoner := []string{"stop", "frequency_penalty", "presence_penalty", "logit_bias"}
	return []chatcompletions.Model{
		{
			Match: []string{"grok-4.20-non-reasoning*", "grok-4.20-0309-non-reasoning", "grok-4-1-fast-non-reasoning*", "grok-4-fast-non-reasoning*"},
			Media: images, Without: []string{"logit_bias"},
		},
		{Match: []string{"grok-3", "grok-3-latest", "grok-3-fast*"}, Without: []string{"logit_bias"}},
		{
			Match:     []string{"grok-3-mini*"},
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"low", "high"}, EffortOn: "low", Without: reasoner,
		},
		{
			Match: []string{"grok-4.3*"}, Media: images,
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"none", "low", "medium", "high"}, EffortOn: "low", Without: reasoner,
		},
		{
			Match: []string{"grok-4.5*"}, Media: images,
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"low", "medium", "high"}, EffortOn: "high", Without: reasoner,
		},
		{
			// They reason, but cannot be told how much.
			Match: []string{"grok-4", "grok-4-0709", "grok-4-latest", "grok-4-fast*", "grok-4-1-fast*", "grok-code-fast*"}, Media: images, Without: reasoner,
		},
		{Media: images, Reasoning: chatcompletions.ReasoningEffort, EffortOn: "low", Without: reasoner},
	}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor()
	return providers.Entry{
		ID:             taxonomy.Grok,
		Title:          "xAI Grok",
		DefaultBaseURL: baseURL,
		Hosts:          []string{host},
		Capabilities:   []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapTools, taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		// "For supported providers, this immediately stops model processing and billing", xAI among
		// them (openrouter.ai/docs/api-reference/streaming, stream cancellation, read 2026-11-22).
		CancelStopsBilling: true,
		NewChat:            func() model.Chat { return chatcompletions.New(chat()) },
		Lacks:              chat().Lacks,
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return chatcompletions.ListModels(ctx, t, &v, "/models")
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return chatcompletions.CheckKey(ctx, t, &v, "/api-key")
		},
	}
}
