// Package kimi is the vendor Moonshot AI and its Kimi models: chat completions.
//
// Facts that differ from plain chat completions, from platform.kimi.ai/docs
// (chat, thinking models, errors, FAQ) and @ai-sdk/moonshotai 2.0.61, read
// 2026-11:
//   - In a stream, usage may stand inside the last choice; cached tokens are
//     cached_tokens beside the totals.
//   - K2.5 and K2.6 think unless thinking is disabled; K2.7 always thinks; K3
//     always thinks and takes reasoning_effort instead. Thinking is
//     reasoning_content and must go back with tool calls, or the next turn is a
//     400.
//   - The Kimi models fix the sampling parameters; there is no seed. K2.6 and
//     K2.7 refuse a required tool.
//   - Images come as bytes; addresses are not fetched.
//   - An account without money answers 429 with exceeded_current_quota_error; an
//     overloaded engine answers 429 as well.
//   - api.moonshot.cn is the same API with other accounts.
//   - The list of models needs a key.
package kimi

import (
	"context"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/chatcompletions"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	baseURL   = "https://api.moonshot.ai/v1"
	host      = "api.moonshot.ai"
	hostChina = "api.moonshot.cn"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "Bearer", Prefix: "sk-", MinLen: 16, MaxLen: 512}
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.Kimi, Key: key(), Errors: errorTable()}
}

func chat() chatcompletions.Config {
	return chatcompletions.Config{Vendor: vendor(), MaxTokensField: "max_completion_tokens", NoUser: true, TextRefusals: true, Models: models()}
}

func models() []chatcompletions.Model {
	images := chatcompletions.Media{ImageData: true, ImageTypes: []string{"image/png", "image/jpeg", "image/webp", "image/gif"}}
	// 1 is the temperature of thinking, 0.6 that without; whether it fits the
	// request is for the vendor to say.
	fixed := []chatcompletions.Fixed{{Name: "temperature", Values: []float64{1, 0.6}}, {Name: "top_p", Values: []float64{0.95}},
		{Name: "frequency_penalty", Values: []float64{0}}, {Name: "presence_penalty", Values: []float64{0}}}
	return []chatcompletions.Model{
		{Match: []string{"moonshot-v1-8k-vision*", "moonshot-v1-32k-vision*", "moonshot-v1-128k-vision*"}, Media: images, Without: []string{"seed"}},
		{Match: []string{"moonshot-v1*"}, Without: []string{"seed"}},
		{
			Match: []string{"kimi-k2.5*"}, Media: images,
			Reasoning: chatcompletions.ReasoningThinking, Efforts: []string{"none"},
			Replay: chatcompletions.ReplayContent, Without: []string{"seed"}, Fixed: fixed,
		},
		{
			Match: []string{"kimi-k2.6*"}, Media: images,
			Reasoning: chatcompletions.ReasoningThinking, Efforts: []string{"none"},
			Replay: chatcompletions.ReplayContent, Without: []string{"seed", "tool_choice.required"}, Fixed: fixed,
		},
		{
			Match: []string{"kimi-k2.7*"}, Media: images,
			Reasoning: chatcompletions.ReasoningThinking, Efforts: []string{"always"},
			Replay: chatcompletions.ReplayContent, Without: []string{"seed", "tool_choice.required"}, Fixed: fixed,
		},
		{
			Match: []string{"kimi-k3*"}, Media: images,
			Reasoning: chatcompletions.ReasoningEffort, Efforts: []string{"low", "high", "max"}, EffortOn: "max",
			Replay: chatcompletions.ReplayContent, Without: []string{"seed"}, Fixed: fixed,
		},
		{Media: images, Reasoning: chatcompletions.ReasoningEffort, EffortOn: "high", Replay: chatcompletions.ReplayContent, Without: []string{"seed"}},
	}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor()
	return providers.Entry{
		ID:             taxonomy.Kimi,
		Title:          "Moonshot AI Kimi",
		DefaultBaseURL: baseURL,
		Hosts:          []string{host, hostChina},
		Capabilities:   []taxonomy.Capability{taxonomy.CapText, taxonomy.CapVision, taxonomy.CapTools, taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		NewChat:        func() model.Chat { return chatcompletions.New(chat()) },
		Lacks:          chat().Lacks,
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return chatcompletions.ListModels(ctx, t, &v, "/models")
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return chatcompletions.CheckKey(ctx, t, &v, "/models")
		},
	}
}
