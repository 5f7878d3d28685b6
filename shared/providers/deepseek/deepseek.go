// Package deepseek is the vendor DeepSeek: chat completions.
//
// Facts that differ from plain chat completions, from api-docs.deepseek.com
// (create chat completion, thinking mode, tool calls, JSON output, context
// caching, error codes, rate limit) and @ai-sdk/deepseek 2.0.69, read 2026-11:
//   - The models think unless thinking is disabled; reasoning_effort may be set
//     beside it and is mapped to low, high or max. Thinking is reasoning_content;
//     it must go back with tool calls, or the next turn is a 400.
//   - Cached tokens are prompt_cache_hit_tokens, inside prompt_tokens.
//   - JSON output is json_object only; there is no seed, no image, no audio.
//   - While a request waits, comment lines (or empty lines, when not streaming)
//     are sent, for up to ten minutes.
//   - The finish reason insufficient_system_resource means the answer broke off.
//   - No money is a 402.
//   - GET /user/balance needs a key and costs nothing; what it says is not kept.
package deepseek

import (
	"context"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/chatcompletions"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

const (
	baseURL = "https://api.deepseek.com"
	host    = "api.deepseek.com"
)

func key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "Bearer", Prefix: "sk-", MinLen: 16, MaxLen: 512}
}

func vendor() wire.Vendor {
	return wire.Vendor{ID: taxonomy.DeepSeek, Key: key(), Errors: errorTable()}
}

func chat() chatcompletions.Config {
	return chatcompletions.Config{
		Vendor:       vendor(),
		NoUser:       true,
		TextRefusals: true,
		Models: []chatcompletions.Model{{
			Reasoning: chatcompletions.ReasoningThinking,
			Efforts:   []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"},
			Replay:    chatcompletions.ReplayContentCalls,
			Without:   []string{"seed", "response_format.json_schema", "parallel_tool_calls", "logit_bias"},
		}},
	}
}

// Registration describes the vendor.
func Registration() providers.Entry {
	v := vendor()
	return providers.Entry{
		ID:             taxonomy.DeepSeek,
		Title:          "DeepSeek",
		DefaultBaseURL: baseURL,
		Hosts:          []string{host},
		Capabilities:   []taxonomy.Capability{taxonomy.CapText, taxonomy.CapTools, taxonomy.CapJSON},
		Key:            key(),
		KeyRequired:    true,
		DefaultBilling: taxonomy.BYOK,
		// "For supported providers, this immediately stops model processing and billing", DeepSeek among
		// them (openrouter.ai/docs/api-reference/streaming, stream cancellation, read 2026-11-22).
		CancelStopsBilling: true,
		NewChat:            func() model.Chat { return chatcompletions.New(chat()) },
		Lacks:              chat().Lacks,
		ListModels: func(ctx context.Context, t model.Target) ([]model.Listed, error) {
			return chatcompletions.ListModels(ctx, t, &v, "/models")
		},
		CheckKey: func(ctx context.Context, t model.Target) error {
			return chatcompletions.CheckKey(ctx, t, &v, "/user/balance")
		},
	}
}
