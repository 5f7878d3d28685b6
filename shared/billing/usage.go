package billing

import "github.com/latchkey/latchkey/shared/fault"

// UsageSource says where usage figures came from.
type UsageSource string

// Usage sources. None means that nothing is known, which is not the same as 0.
const (
	FromProvider UsageSource = "provider"
	Estimated    UsageSource = "estimated"
	NoUsage      UsageSource = "none"
)

// Usage is what one call consumed. InputTokens and OutputTokens are the vendor's
// totals. CachedInputTokens, CacheWriteTokens, InputAudioTokens and
// InputImageTokens are disjoint parts of InputTokens, CacheWrite1hTokens is a part
// of CacheWriteTokens; ReasoningTokens, OutputAudioTokens and OutputImageTokens are
// disjoint parts of OutputTokens. Adapters bring vendors' figures into this form.
// Images counts pictures sent, whatever tokens they became.
type Usage struct {
	InputTokens        int64
	CachedInputTokens  int64
	CacheWriteTokens   int64
	CacheWrite1hTokens int64
	OutputTokens       int64
	ReasoningTokens    int64
	InputAudioTokens   int64
	OutputAudioTokens  int64
	InputImageTokens   int64
	OutputImageTokens  int64
	AudioMillis        int64 // of the audio sent
	AudioOutMillis     int64 // of the audio received, where its format tells
	Characters         int64
	Images             int64
	Requests           int64
	Source             UsageSource
}

// maxUnits bounds every bucket, far above any real call.
const maxUnits = 1 << 40

// buckets are all figures of a usage.
func (u *Usage) buckets() [15]*int64 {
	return [...]*int64{&u.InputTokens, &u.CachedInputTokens, &u.CacheWriteTokens, &u.CacheWrite1hTokens, &u.OutputTokens, &u.ReasoningTokens,
		&u.InputAudioTokens, &u.OutputAudioTokens, &u.InputImageTokens, &u.OutputImageTokens, &u.AudioMillis, &u.AudioOutMillis,
		&u.Characters, &u.Images, &u.Requests}
}

// Check refuses negative and absurd buckets with invalid_request.
func (u Usage) Check() error {
	for _, n := range u.buckets() {
		if *n < 0 || *n > maxUnits {
			return fault.New(fault.InvalidRequest, "billing.Usage", "a usage figure is out of range")
		}
	}
	return nil
}

// Plus adds bucket by bucket. The source is kept if equal; otherwise estimated
// wins over provider and both win over none.
func (u Usage) Plus(v Usage) Usage {
	of := v.buckets()
	for i, n := range u.buckets() {
		*n += *of[i]
	}
	switch {
	case u.Source == Estimated || v.Source == Estimated:
		u.Source = Estimated
	case u.Source == FromProvider || v.Source == FromProvider:
		u.Source = FromProvider
	default:
		u.Source = NoUsage
	}
	return u
}
