package openai

import (
	"context"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/chatcompletions"
	"github.com/latchkey/latchkey/shared/providers/internal/responsesapi"
)

// responsesOnly are the models that chat completions do not serve, or serve
// worse: the constants of ResponsesModel in openai-go v3.96.0 that ChatModel does
// not have, and the codex and pro models, whose pages name this API only
// (developers.openai.com/docs/models, read 2026-11). A "*" stands for any rest.
func responsesOnly() []string {
	return []string{"o1-pro*", "o3-pro*", "o3-deep-research*", "o4-mini-deep-research*", "computer-use-preview*", "codex-mini*",
		"gpt-5-codex*", "gpt-5-pro*", "gpt-5.1-codex*", "gpt-5.2-codex*", "gpt-5.2-pro*", "gpt-5.3-codex*", "gpt-5.4-pro*", "gpt-5.5-pro*",
		"gpt-5.6-cyber*", "gpt-6-cyber*", "gpt-daybreak-*", "gpt-rosalind-*", "gpt-6-rosalind*"}
}

// either sends each model to the API that serves it.
type either struct{ chat, responses model.Chat }

func newChat() model.Chat {
	return either{chatcompletions.New(chat()), responsesapi.New(responsesapi.Config{Vendor: vendor(), ImageTypes: imageTypes()})}
}

func (e either) of(id string) model.Chat {
	if slices.ContainsFunc(responsesOnly(), func(p string) bool {
		head, open := strings.CutSuffix(p, "*")
		return id == p || open && strings.HasPrefix(id, head)
	}) {
		return e.responses
	}
	return e.chat
}

// Complete implements [model.Chat].
func (e either) Complete(ctx context.Context, call model.Call) (*model.Response, error) {
	return e.of(call.Request.Model).Complete(ctx, call)
}

// Stream implements [model.Chat].
func (e either) Stream(ctx context.Context, call model.Call) (model.Stream, error) {
	return e.of(call.Request.Model).Stream(ctx, call)
}

// Uncarried implements [model.Carrier].
func (e either) Uncarried(id string, r *model.Request) []string {
	if c, ok := e.of(id).(model.Carrier); ok {
		return c.Uncarried(id, r)
	}
	return nil
}
