package model

import (
	"encoding/json"
	"math"

	"github.com/latchkey/latchkey/shared/fault"
)

// UsageSource says where the numbers of a [Usage] come from.
type UsageSource string

// Usage sources. A zero Usage has UsageNone.
const (
	UsageNone      UsageSource = "none"
	UsageProvider  UsageSource = "provider"
	UsageEstimated UsageSource = "estimated"
)

// MaxTokens bounds each bucket of a [Usage]. No model takes a thousandth of it;
// it keeps price × tokens far from overflow.
const MaxTokens = 1 << 40

// BytesPerToken converts text to tokens where nobody counted.
const BytesPerToken = 4

// TokensPerMessage is what the fields around a message count.
const TokensPerMessage = 8

// EstimateTokens estimates the tokens of a message of so many bytes.
func EstimateTokens(bytes int64) int64 {
	return TokensPerMessage + (bytes+BytesPerToken-1)/BytesPerToken
}

// Usage counts what a call consumed. The buckets are disjoint: a token is in
// exactly one of them, so input and output totals are sums. Vendors that count
// cached, audio or reasoning tokens inside a total are converted by their
// adapter.
type Usage struct {
	// Input are uncached tokens that are neither audio nor image.
	Input        int64 `json:"input,omitempty"`
	CachedRead   int64 `json:"cached_read,omitempty"`
	CacheWrite5m int64 `json:"cache_write_5m,omitempty"`
	CacheWrite1h int64 `json:"cache_write_1h,omitempty"`
	InputAudio   int64 `json:"input_audio,omitempty"`
	InputImage   int64 `json:"input_image,omitempty"`
	// Output are tokens of the visible answer and of tool calls.
	Output      int64       `json:"output,omitempty"`
	Reasoning   int64       `json:"reasoning,omitempty"`
	OutputAudio int64       `json:"output_audio,omitempty"`
	OutputImage int64       `json:"output_image,omitempty"`
	Source      UsageSource `json:"source"`
	// Suspect marks numbers of the vendor that contradicted themselves (a part
	// above its total, a negative count) and were clamped.
	Suspect bool `json:"suspect,omitempty"`
	// Raw is the vendor's usage object, kept for audits.
	Raw json.RawMessage `json:"raw,omitempty"`
}

// InputTotal is every prompt token, cache reads and writes included.
func (u *Usage) InputTotal() int64 {
	return u.Input + u.CachedRead + u.CacheWrite5m + u.CacheWrite1h + u.InputAudio + u.InputImage
}

// OutputTotal is every generated token, reasoning included.
func (u *Usage) OutputTotal() int64 { return u.Output + u.Reasoning + u.OutputAudio + u.OutputImage }

// Validate fails with fault.ProviderError if a bucket is negative or above
// [MaxTokens], or if the source is no known word.
func (u *Usage) Validate() error {
	for _, n := range [...]int64{u.Input, u.CachedRead, u.CacheWrite5m, u.CacheWrite1h,
		u.InputAudio, u.InputImage, u.Output, u.Reasoning, u.OutputAudio, u.OutputImage} {
		if n < 0 || n > MaxTokens {
			return fault.New(fault.ProviderError, "model.Usage", "the provider reported impossible usage")
		}
	}
	switch u.Source {
	case UsageNone, UsageProvider, UsageEstimated, "":
		return nil
	}
	return fault.New(fault.ProviderError, "model.Usage", "the usage has an unknown source")
}

// Inclusive are token counts of the kind where details lie inside the totals,
// as OpenAI, OpenRouter, Mistral and Gemini report them.
type Inclusive struct {
	Input, CachedRead, CacheWrite, InputAudio, InputImage int64
	Output, Reasoning, OutputAudio, OutputImage           int64
}

// Split turns inclusive counts into disjoint buckets with source provider.
// Impossible counts are clamped so that totals stay what the vendor said, and
// the result is marked Suspect.
func (c Inclusive) Split() Usage {
	u := Usage{Source: UsageProvider}
	rest := clamp(c.Input, MaxTokens, &u.Suspect)
	u.CachedRead = take(c.CachedRead, &rest, &u.Suspect)
	u.CacheWrite5m = take(c.CacheWrite, &rest, &u.Suspect)
	// Cached audio is counted by vendors under both words; the cache bucket
	// wins, and what is left of the audio is not suspicious.
	u.InputAudio = takeOverlap(c.InputAudio, &rest, &u.Suspect)
	u.InputImage = takeOverlap(c.InputImage, &rest, &u.Suspect)
	u.Input = rest
	rest = clamp(c.Output, MaxTokens, &u.Suspect)
	u.Reasoning = take(c.Reasoning, &rest, &u.Suspect)
	u.OutputAudio = take(c.OutputAudio, &rest, &u.Suspect)
	u.OutputImage = take(c.OutputImage, &rest, &u.Suspect)
	u.Output = rest
	return u
}

func clamp(n, limit int64, suspect *bool) int64 {
	if n < 0 || n > limit {
		*suspect = true
	}
	return min(max(n, 0), limit)
}

func take(n int64, rest *int64, suspect *bool) int64 {
	n = clamp(n, *rest, suspect)
	*rest -= n
	return n
}

func takeOverlap(n int64, rest *int64, suspect *bool) int64 {
	n = min(clamp(n, math.MaxInt64, suspect), *rest)
	*rest -= n
	return n
}
