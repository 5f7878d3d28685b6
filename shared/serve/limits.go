package serve

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
)

// What the headers of limits per minute count.
const (
	requestsPer = "requests"
	tokensPer   = "tokens"
)

// standing says what is left of a limit, in the headers that the SDKs of the
// route's dialect know (OpenAI, rate limits guide; Anthropic, rate limits page;
// both read 2026-11).
func (x *Exchange) standing(what string, s *limit.Standing) {
	if s == nil {
		return
	}
	h := x.W.Header()
	count, left := strconv.FormatInt(s.Limit, 10), strconv.FormatInt(s.Remaining, 10)
	if strings.HasPrefix(x.R.URL.Path, "/v1/messages") {
		h.Set("anthropic-ratelimit-"+what+"-limit", count)
		h.Set("anthropic-ratelimit-"+what+"-remaining", left)
		h.Set("anthropic-ratelimit-"+what+"-reset", x.Now().Add(s.Reset).Truncate(time.Second).UTC().Format(time.RFC3339))
		return
	}
	h.Set("x-ratelimit-limit-"+what, count)
	h.Set("x-ratelimit-remaining-"+what, left)
	h.Set("x-ratelimit-reset-"+what, s.Reset.Round(time.Second).String())
}

// refusal names the limit that was met.
func (x *Exchange) refusal(f *fault.Error) {
	var r *limit.Refusal
	if f.Code != fault.RateLimited || !errors.As(f.Err, &r) {
		return
	}
	who := "organisation"
	if r.Subject.Key != "" {
		who = "key"
	}
	x.W.Header().Set("x-latchkey-limit", who+":"+string(r.Kind))
	s := &limit.Standing{Limit: r.Limit, Remaining: r.Remaining, Reset: r.Reset}
	switch r.Kind {
	case limit.Requests:
		x.standing(requestsPer, s)
	case limit.Tokens:
		x.standing(tokensPer, s)
	}
}
