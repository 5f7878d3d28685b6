package chatcompletions

import (
	"encoding/json"

	"github.com/latchkey/latchkey/shared/model"
)

// usage turns a vendor's usage object into disjoint buckets. Cached tokens have
// four names: prompt_tokens_details.cached_tokens (OpenAI's), cached_tokens
// beside the totals, prompt_cache_hit_tokens, num_cached_tokens; all of them
// count inside prompt_tokens.
func (c *Config) usage(raw rawValue) model.Usage {
	if len(raw) == 0 {
		return model.Usage{Source: model.UsageNone}
	}
	var in struct {
		Prompt     *count `json:"prompt_tokens"`
		Completion count  `json:"completion_tokens"`
		Total      count  `json:"total_tokens"`
		In         struct {
			Cached count `json:"cached_tokens"`
			Write  count `json:"cache_write_tokens"`
			Audio  count `json:"audio_tokens"`
			Image  count `json:"image_tokens"`
		} `json:"prompt_tokens_details"`
		Out struct {
			Reasoning count `json:"reasoning_tokens"`
			Audio     count `json:"audio_tokens"`
		} `json:"completion_tokens_details"`
		Cached    count `json:"cached_tokens"`
		CacheHit  count `json:"prompt_cache_hit_tokens"`
		NumCached count `json:"num_cached_tokens"`
	}
	if json.Unmarshal(raw, &in) != nil || in.Prompt == nil {
		return model.Usage{Source: model.UsageNone, Suspect: true, Raw: keepRaw(raw)}
	}
	for _, n := range [...]count{in.Cached, in.CacheHit, in.NumCached} {
		if in.In.Cached == 0 {
			in.In.Cached = n
		}
	}
	if c.ReasoningOutside && in.Out.Reasoning > 0 && in.Completion >= 0 && in.Total != *in.Prompt+in.Completion &&
		in.Completion <= model.MaxTokens && in.Out.Reasoning <= model.MaxTokens {
		in.Completion += in.Out.Reasoning
	}
	u := model.Inclusive{Input: int64(*in.Prompt), CachedRead: int64(in.In.Cached), CacheWrite: int64(in.In.Write),
		InputAudio: int64(in.In.Audio), InputImage: int64(in.In.Image), Output: int64(in.Completion),
		Reasoning: int64(in.Out.Reasoning), OutputAudio: int64(in.Out.Audio)}.Split()
	u.Raw = keepRaw(raw)
	return u
}
