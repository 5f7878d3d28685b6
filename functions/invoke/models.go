package main

import (
	"strings"

	"github.com/latchkey/latchkey/shared/dialect/anthropicmessages"
	"github.com/latchkey/latchkey/shared/dialect/geminigenerate"
	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/serve"
)

// models lists in the dialect of the caller: only clients of Messages send their
// version.
func models(x *serve.Exchange) error {
	list, err := x.Gateway().Models(x.R.Context(), x.Caller)
	if err != nil {
		return err
	}
	if x.R.Header.Get("anthropic-version") != "" {
		return x.Reply("application/json", anthropicmessages.EncodeModels(nil, each(list, messagesModel)))
	}
	return x.Reply("application/json", openaichat.EncodeModels(nil, each(list, chatModel)))
}

func oneModel(x *serve.Exchange) error {
	m, err := named(x, x.R.PathValue("model"))
	if err != nil {
		return err
	}
	if x.R.Header.Get("anthropic-version") != "" {
		return x.Reply("application/json", anthropicmessages.EncodeModel(nil, messagesModel(m)))
	}
	return x.Reply("application/json", openaichat.EncodeModel(nil, chatModel(m)))
}

// geminiModels serves GET /v1beta/models and /v1beta/models/{model}.
func geminiModels(x *serve.Exchange) error {
	name, one := strings.CutPrefix(x.R.PathValue("rest"), "models/")
	if one {
		m, err := named(x, name)
		if err != nil {
			return err
		}
		return x.Reply("application/json", geminigenerate.EncodeModel(nil, geminiModel(m)))
	}
	if name != "models" {
		return fault.New(fault.NotFound, "invoke.geminiModels", "there is nothing at this path; GET /v1beta/models lists what is available")
	}
	list, err := x.Gateway().Models(x.R.Context(), x.Caller)
	if err != nil {
		return err
	}
	return x.Reply("application/json", geminigenerate.EncodeModels(nil, each(list, geminiModel)))
}

func named(x *serve.Exchange, name string) (gateway.Listed, error) {
	list, err := x.Gateway().Models(x.R.Context(), x.Caller)
	if err != nil {
		return gateway.Listed{}, err
	}
	for _, m := range list {
		if m.Name == name {
			return m, nil
		}
	}
	return gateway.Listed{}, fault.New(fault.NotFound, "invoke.named", "there is no such model; GET /v1/models lists what is available").WithParam("model")
}

func each[T any](list []gateway.Listed, f func(gateway.Listed) T) []T {
	out := make([]T, len(list))
	for i, m := range list {
		out[i] = f(m)
	}
	return out
}

func chatModel(m gateway.Listed) openaichat.Listed {
	l := openaichat.Listed{ID: m.Name, OwnedBy: serve.Owner(m.Name), ContextLength: m.ContextTokens, MaxCompletionTokens: m.MaxOutputTokens}
	if !m.Released.IsZero() {
		l.Created = m.Released.Unix()
	}
	for _, c := range m.Capabilities {
		l.Capabilities = append(l.Capabilities, string(c))
	}
	return l
}

func messagesModel(m gateway.Listed) anthropicmessages.Listed {
	return anthropicmessages.Listed{ID: m.Name, Created: m.Released, MaxInputTokens: m.InputTokens, MaxTokens: m.MaxOutputTokens}
}

func geminiModel(m gateway.Listed) geminigenerate.Listed {
	return geminigenerate.Listed{Name: m.Name, InputTokenLimit: m.InputTokens, OutputTokenLimit: m.MaxOutputTokens}
}
