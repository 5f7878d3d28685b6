package gemini

import (
	"strconv"
	"strings"
)

// profile is what a model takes.
type profile struct {
	// budget and level are the forms of thinking: thinkingBudget in tokens
	// (2.5) and thinkingLevel (3).
	budget, level bool
	// canStop says that thinking can be switched off.
	canStop              bool
	minBudget, maxBudget int
	// minimal says that the level MINIMAL exists.
	minimal bool
	// signed says that function calls must carry a thought signature.
	signed bool
	// jsonTools says that JSON output and tools go together, resultMedia that
	// results of tools may hold media.
	jsonTools, resultMedia bool
	// remote says that the API fetches https URLs.
	remote bool
}

// profileOf finds the profile by the version in a model's name, such as
// gemini-2.5-flash-lite or gemini-3.1-pro-preview. A name without one, such as
// gemini-flash-latest, is treated as the newest kind.
//
// Sources, read 2026-11-22: ai.google.dev/gemini-api/docs/thinking (budgets: Pro
// 128 to 32,768 and always on, Flash up to 24,576, Flash-Lite from 512),
// thought-signatures, file-input-methods (external URLs, not for 2.0),
// function-calling (multimodal function responses from 3 on).
func profileOf(id string) profile {
	family, rest, _ := strings.Cut(id, "-")
	if family != "gemini" {
		return profile{}
	}
	word, _, _ := strings.Cut(rest, "-")
	v, err := strconv.ParseFloat(word, 64)
	pro := strings.Contains(rest, "pro")
	switch {
	case err == nil && v < 2.5:
		return profile{}
	case err == nil && v < 3:
		p := profile{budget: true, canStop: !pro, minBudget: 1, maxBudget: 24576, remote: true}
		if pro {
			p.minBudget, p.maxBudget = 128, 32768
		} else if strings.Contains(rest, "lite") {
			p.minBudget = 512
		}
		return p
	}
	return profile{level: true, minimal: !pro, signed: true, jsonTools: true, resultMedia: true, remote: true}
}
