package anthropic

import (
	"slices"
	"strconv"
	"strings"
)

// off is how a model's thinking is switched off.
type off uint8

const (
	offOmit     off = iota // thinking is off unless asked for
	offDisabled            // {"type":"disabled"}
	offBetween             // {"type":"between_tools"}
	offNever               // it cannot be
)

// profile is what a model takes.
type profile struct {
	// version is the API version that requests for the model are sent with. The
	// newer one removed temperature, top_p and top_k, so models that take them
	// stay on the older one.
	version  string
	sampling bool
	// budget and adaptive are the forms of thinking: {"type":"enabled",
	// "budget_tokens"} and {"type":"adaptive"} with output_config.effort.
	budget, adaptive bool
	// hidden says that thinking is not shown unless asked for.
	hidden bool
	off    off
	// efforts are the words of output_config.effort.
	efforts []string
	// schema says that output_config.format and strict tools exist.
	schema bool
	// force says that tools may be forced (tool_choice any and tool).
	force bool
	// prefill says that a conversation may end with an assistant message.
	prefill bool
	// system says that system messages may stand in the conversation.
	system bool
	// maxTokens is sent when the client states no limit. It is below what the
	// model can produce, so that a forgotten limit does not become a large bill.
	maxTokens int
}

// profileOf finds the profile by the version in a model's name. A name without a
// version, or a version newer than this table, is treated as the newest kind,
// whose thinking is not known to be switchable.
//
// Sources, read 2026-11-22: thinking forms and efforts from build-with-claude/effort
// and adaptive-thinking, the AWS page "Adaptive thinking", and the ThinkingTypes
// of the SDK's models; Opus 5.5 and Fable refuse a forced tool and disabled
// thinking, Sonnet 5.5 takes between_tools (migration guides, 2026-09);
// structured outputs from 4.5 on; prefill ended with 4.6 (whats-new-claude-4-6);
// system messages from Opus 4.8 on, but not Sonnet 5 (mid-conversation-system-messages).
func profileOf(id string) profile {
	family, v := parseModel(id)
	p := profile{version: version2026, adaptive: true, hidden: true, off: offNever, schema: true, force: true, system: true,
		efforts: []string{"low", "medium", "high", "xhigh", "max"}, maxTokens: 32000}
	switch {
	case v == 0 || v >= 600:
	case v < 407:
		p.old(v)
	case v < 500:
		p.off, p.system = offOmit, v >= 408
	case slices.Contains([]string{"fable", "mythos"}, family), family == "opus" && v >= 505:
		p.force = false
	case family == "sonnet" && v >= 505:
		p.off = offBetween
	default:
		p.off, p.system = offDisabled, family != "sonnet"
	}
	return p
}

// old sets what models up to 4.6 have in common.
func (p *profile) old(v int) {
	p.version, p.sampling, p.hidden, p.off, p.system = version2023, true, false, offOmit, false
	p.budget = v >= 307
	p.adaptive = v >= 406
	p.schema = v >= 405
	p.prefill = v < 406
	p.efforts = nil
	if p.adaptive {
		p.efforts = []string{"low", "medium", "high", "max"}
	}
	switch {
	case v < 305:
		p.maxTokens = 4096
	case v < 307:
		p.maxTokens = 8192
	}
}

// parseModel reads family and version, as major*100+minor, of names such as
// claude-opus-4-1-20250805, claude-3-7-sonnet-20250219 and claude-sonnet-5-5.
func parseModel(id string) (family string, version int) {
	var numbers []int
	for _, word := range strings.Split(strings.TrimPrefix(id, "claude-"), "-") {
		n, err := strconv.Atoi(word)
		switch {
		case err != nil && family == "":
			family = word
		case err == nil && len(word) <= 2 && len(numbers) < 2:
			numbers = append(numbers, n)
		}
	}
	switch len(numbers) {
	case 1:
		return family, numbers[0] * 100
	case 2:
		return family, numbers[0]*100 + numbers[1]
	}
	return family, 0
}
