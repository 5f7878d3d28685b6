package bedrock

import (
	"slices"
	"strconv"
	"strings"
)

// off is how a model's reasoning is switched off.
type off uint8

const (
	offOmit     off = iota // it is off unless asked for
	offDisabled            // {"thinking":{"type":"disabled"}}
	offBetween             // {"thinking":{"type":"between_tools"}}
	offEffort              // the effort "none"
	offNever               // it cannot be
)

// form is how reasoning is asked for in additionalModelRequestFields.
type form uint8

const (
	formUnknown form = iota // the model is not known
	formNone                // there is nothing to ask for
	formClaude              // thinking, and output_config.effort
	formNova                // reasoningConfig
	formFlat                // reasoning_effort
	formNested              // reasoning.effort
)

// profile is what a model takes.
type profile struct {
	// family is a word for the makers' models that can read each other's
	// reasoning.
	family string
	form   form
	off    off
	// efforts are the words of the effort, in rising order.
	efforts []string
	// budget and adaptive are the two forms of thinking of Claude, hidden says
	// that it is not shown unless asked for.
	budget, adaptive, hidden bool
	// sampling says that temperature and topP exist. ones says that 1 is their
	// default and both together are refused.
	sampling, ones bool
	// topK is how top_k is written: "" not at all, top, nested.
	topK string
	// schema says that structured output and strict tools exist, force that a tool
	// may be forced and is called with an object.
	schema, force bool
	// prefill says that a conversation may end with an assistant message.
	prefill bool
	// cache, cacheTools and cacheHour say where cache points may stand and whether
	// they may last an hour.
	cache, cacheTools, cacheHour bool
	// status says that results of tools may be marked as errors, audio that sound
	// is not known to be refused.
	status, audio bool
}

// profileOf finds the profile by a word of the model's name, wherever it stands: a
// region group and the maker come before it, and an ARN around it. Without one the
// vendor decides.
//
// Sources, read 2026-11-22, beside those of the package comment: forms of reasoning
// in langchain-ai/langchain-aws pull request 1188 and, for GPT-5 and later,
// stdapi-ai/stdapi.ai issue 283 (tried against the service 2026-09-22); models with
// structured output in the user guide and langchain-ai/langchain-aws issue 883;
// that Nova at high effort takes no limits in the Nova 2 user guide; cache points
// in prompt-caching (Claude and Nova; tools with Claude only).
func profileOf(id string) profile {
	name := "." + id[strings.LastIndexByte(id, '/')+1:]
	if _, rest, ok := strings.Cut(name, ".claude-"); ok {
		return claude(rest)
	}
	if _, rest, ok := strings.Cut(name, ".nova-"); ok {
		p := profile{family: "nova", form: formNone, sampling: true, topK: "nested", force: true, prefill: true, cache: true, status: true}
		if strings.HasPrefix(rest, "2-") {
			p.form, p.efforts = formNova, []string{"low", "medium", "high"}
		}
		p.audio = strings.Contains(rest, "sonic") || strings.Contains(rest, "omni")
		return p
	}
	for _, f := range []struct {
		word string
		p    profile
	}{
		{".gpt-oss-", profile{family: "gpt-oss", form: formFlat, off: offNever, efforts: []string{"low", "medium", "high"}, schema: true}},
		{".gpt-", profile{family: "gpt", form: formNested, off: offEffort, efforts: []string{"low", "medium", "high", "xhigh", "max"}, schema: true}},
		{".kimi-", profile{family: "kimi", form: formFlat, off: offNever, efforts: []string{"low", "medium", "high"}, schema: true}},
		{".r1-", profile{family: "r1", form: formNone, off: offNever}},
		{".mistral-", profile{family: "mistral", form: formNone, schema: true}},
		{".mixtral-", profile{family: "mistral", form: formNone}},
		{".ministral-", profile{family: "mistral", form: formNone, schema: true}},
		{".gemma-", profile{family: "gemma", form: formNone, schema: true, audio: true}},
		{".command-", profile{family: "command", form: formNone}},
		{".jamba-", profile{family: "jamba", form: formNone}},
		{".llama", profile{family: "llama", form: formNone}},
		{".titan-", profile{family: "titan", form: formNone}},
	} {
		if strings.Contains(name, f.word) {
			f.p.sampling, f.p.prefill = true, true
			return f.p
		}
	}
	return profile{family: "other", sampling: true, schema: true, prefill: true, audio: true}
}

// claude is the profile of a Claude model. A name without a version, or a version
// newer than this table, is treated as the newest kind, whose thinking is not known
// to be switchable. The versions are those of the maker's own API, whose models
// these are (AWS page "Adaptive thinking" and the maker's migration guides).
func claude(rest string) profile {
	family, v := parseClaude(rest)
	p := profile{family: "claude", form: formClaude, ones: true, off: offNever, adaptive: true, hidden: true, schema: true, force: true,
		topK: "top", cache: true, cacheTools: true, cacheHour: true, status: true, efforts: []string{"low", "medium", "high", "xhigh", "max"}}
	switch {
	case v == 0 || v >= 600:
	case v < 407:
		p.oldClaude(v)
	case v < 500:
		p.off = offOmit
	case family == "fable", family == "mythos", family == "opus" && v >= 505:
		p.force = false
	case family == "sonnet" && v >= 505:
		p.off = offBetween
	default:
		p.off = offDisabled
	}
	if !p.sampling {
		p.topK = ""
	}
	return p
}

// oldClaude sets what versions up to 4.6 have in common.
func (p *profile) oldClaude(v int) {
	p.sampling, p.hidden, p.off = true, false, offOmit
	p.budget = v >= 307
	p.adaptive = v >= 406
	p.schema = v >= 405
	p.cacheHour = v >= 405
	p.prefill = v < 406
	p.efforts = nil
	switch {
	case p.adaptive:
		p.efforts = []string{"low", "medium", "high", "max"}
	case !p.budget:
		p.form = formNone
	}
}

// parseClaude reads family and version, as major*100+minor, of what follows
// "claude-" in names such as opus-4-1-20250805-v1:0, 3-7-sonnet-20250219-v1:0 and
// sonnet-5-5. The oldest are v2 and instant.
func parseClaude(rest string) (family string, version int) {
	rest, _, _ = strings.Cut(rest, ":")
	var numbers []int
	for _, word := range strings.Split(rest, "-") {
		n, err := strconv.Atoi(word)
		switch {
		case err != nil && family == "":
			family = word
		case err == nil && len(word) <= 2 && len(numbers) < 2:
			numbers = append(numbers, n)
		}
	}
	switch {
	case len(numbers) == 1:
		return family, numbers[0] * 100
	case len(numbers) == 2:
		return family, numbers[0]*100 + numbers[1]
	case slices.Contains([]string{"v2", "instant"}, family):
		return family, 200
	}
	return family, 0
}

// minBudget is the least thinking budget, defaultLimit the output limit a budget is
// a share of where the client states none.
const minBudget, defaultLimit = 1024, 32000

// takesEffort reports whether the model knows an effort.
func (p *profile) takesEffort(effort string) bool { return slices.Contains(p.efforts, effort) }
