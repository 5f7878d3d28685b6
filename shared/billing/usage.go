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
// totals. CachedInputTokens, CacheWriteTokens and InputAudioTokens are disjoint
// parts of InputTokens; ReasoningTokens and OutputAudioTokens are disjoint parts
// of OutputTokens. Adapters bring vendors' figures into this form.
type Usage struct {
	InputTokens       int64
	CachedInputTokens int64
	CacheWriteTokens  int64
	OutputTokens      int64
	ReasoningTokens   int64
	InputAudioTokens  int64
	OutputAudioTokens int64
	AudioMillis       int64
	Characters        int64
	Requests          int64
	Source            UsageSource
}

// maxUnits bounds every bucket, far above any real call.
const maxUnits = 1 << 40

// Check refuses negative and absurd buckets with invalid_request.
func (u Usage) Check() error {
	for _, n := range [...]int64{u.InputTokens, u.CachedInputTokens, u.CacheWriteTokens, u.OutputTokens, u.ReasoningTokens,
		u.InputAudioTokens, u.OutputAudioTokens, u.AudioMillis, u.Characters, u.Requests} {
		if n < 0 || n > maxUnits {
			return fault.New(fault.InvalidRequest, "billing.Usage", "a usage figure is out of range")
		}
	}
	return nil
}

// Plus adds bucket by bucket. The source is kept if equal; otherwise estimated
// wins over provider and both win over none.
func (u Usage) Plus(v Usage) Usage {
	u.InputTokens += v.InputTokens
	u.CachedInputTokens += v.CachedInputTokens
	u.CacheWriteTokens += v.CacheWriteTokens
	u.OutputTokens += v.OutputTokens
	u.ReasoningTokens += v.ReasoningTokens
	u.InputAudioTokens += v.InputAudioTokens
	u.OutputAudioTokens += v.OutputAudioTokens
	u.AudioMillis += v.AudioMillis
	u.Characters += v.Characters
	u.Requests += v.Requests
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

// split are the billable parts. Where the parts of a total exceed it, the total
// wins: a vendor that counts a token in two parts must not be billed twice.
type split struct {
	text, cached, write, audio         int64
	outText, reasoning, outAudio, secs int64
}

func (u Usage) split() split {
	s := split{secs: u.AudioMillis}
	rest := u.InputTokens
	s.cached = min(u.CachedInputTokens, rest)
	rest -= s.cached
	s.write = min(u.CacheWriteTokens, rest)
	rest -= s.write
	s.audio = min(u.InputAudioTokens, rest)
	s.text = rest - s.audio
	rest = u.OutputTokens
	s.outAudio = min(u.OutputAudioTokens, rest)
	rest -= s.outAudio
	s.reasoning = min(u.ReasoningTokens, rest)
	s.outText = rest - s.reasoning
	return s
}
