package registry

import (
	"strings"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// sameModel lists the names under which the row of a model may stand when it has
// none of its own, best first. Only names that the vendor documents to mean the
// same model count. Read 2026-11-22:
//   - OpenAI: snapshots, model-2025-08-07 and, before 2025, model-0613
//     (developers.openai.com/docs/models).
//   - Anthropic: snapshots, model-20251001 (platform.claude.com, models overview).
//   - Gemini: stable versions, model-001 (ai.google.dev/gemini-api/docs/models).
//   - Grok: model-latest is model (docs.x.ai/docs/models, aliases).
//   - OpenRouter: the variants :nitro, :floor and :exacto sort the same model's
//     endpoints (openrouter.ai/docs, model variants); :free, :extended and
//     :thinking are other models.
//   - Bedrock: a geography before the id is an inference profile of the same model
//     (docs.aws.amazon.com/bedrock, inference profiles); some models have no other.
func sameModel(p taxonomy.Provider, model string) []string {
	switch p {
	case taxonomy.OpenAI:
		return snapshot(model, "-dddd-dd-dd", "-dddd")
	case taxonomy.Anthropic:
		return snapshot(model, "-dddddddd")
	case taxonomy.Gemini:
		return snapshot(strings.TrimPrefix(model, "models/"), "", "-ddd")
	case taxonomy.Grok:
		return cut(strings.CutSuffix(model, "-latest"))
	case taxonomy.OpenRouter:
		for _, v := range [...]string{":nitro", ":floor", ":exacto"} {
			if base, ok := strings.CutSuffix(model, v); ok {
				return []string{base}
			}
		}
	case taxonomy.Bedrock:
		for _, geo := range [...]string{"us.", "us-gov.", "eu.", "apac.", "jp.", "au.", "ca.", "global."} {
			if base, ok := strings.CutPrefix(model, geo); ok {
				return []string{base, "global." + base}
			}
		}
	}
	return nil
}

func cut(base string, ok bool) []string {
	if !ok {
		return nil
	}
	return []string{base}
}

// snapshot lists model without each of the endings it has; d stands for a digit.
func snapshot(model string, endings ...string) []string {
	var out []string
	for _, e := range endings {
		if i := len(model) - len(e); i > 0 && likeDigits(model[i:], e) {
			out = append(out, model[:i])
		}
	}
	return out
}

func likeDigits(s, pattern string) bool {
	for i := range len(s) {
		if digit := s[i] >= '0' && s[i] <= '9'; digit != (pattern[i] == 'd') || !digit && s[i] != pattern[i] {
			return false
		}
	}
	return true
}
