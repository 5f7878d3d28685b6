package gateway

import (
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/model"
)

// content is what a chat request holds that is priced apart from text.
type content struct {
	images                   int64
	imageTokens, audioTokens int64 // estimates for a hold
	cacheWrite, cacheWrite1h bool
}

// kinds walks a request once.
func kinds(r *model.Request) content {
	var c content
	for i := range r.Tools {
		c.cached(r.Tools[i].CacheTTL)
	}
	for i := range r.Messages {
		c.parts(r.Messages[i].Parts)
	}
	return c
}

func (c *content) parts(parts []model.Part) {
	for i := range parts {
		p := &parts[i]
		c.cached(p.CacheTTL)
		switch {
		case p.Result != nil:
			c.parts(p.Result.Parts)
		case p.Media == nil:
		case p.Kind == model.PartImage:
			c.images++
			c.imageTokens += tokensPerMedia
		case p.Kind == model.PartAudio:
			bytes, media := partsSize(parts[i : i+1])
			c.audioTokens += media + (bytes+holdBytesPerToken-1)/holdBytesPerToken
		}
	}
}

func (c *content) cached(ttl string) {
	c.cacheWrite = c.cacheWrite || ttl != ""
	c.cacheWrite1h = c.cacheWrite1h || ttl == "1h"
}

// expected is what a chat request may use. It depends on the request alone, so
// that the same request needs the same prices always.
func expected(r *model.Request) billing.Expected {
	c := kinds(r)
	return billing.Expected{InputTokens: inputTokens(r, holdBytesPerToken) + saltTokens, MaxOutput: int64(r.MaxOutputTokens),
		InputAudioTokens: c.audioTokens, InputImageTokens: c.imageTokens, Images: c.images,
		CacheWrite: c.cacheWrite, CacheWrite1h: c.cacheWrite1h}
}
