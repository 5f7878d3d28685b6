package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/model"
)

// LimitStore ends what a request counted against limits, which was counted by
// [Ledger.Reserve], and counts requests that reserve nothing.
type LimitStore interface {
	// CountLimits counts all claims or none, once per word. It fails with
	// rate_limited and ledger_unavailable.
	CountLimits(ctx context.Context, once string, claims []limit.Claim) error
	// FinishLimit applies a change of [limit.Claim.Finish], at most once.
	FinishLimit(ctx context.Context, ch limit.Change) error
}

// ticket is what one request counts against the limits of its key and its
// organisation. It is nil where nothing is limited, and belongs to one goroutine.
type ticket struct {
	a      *attempts
	ctx    context.Context // outlives the client
	tokens int64           // estimate of an attempt
	// free holds the claims of the next attempt without its hold, taken those
	// that were written last.
	free, taken []limit.Claim
	// kept says that a meter ends the ticket.
	kept bool
}

// newTicket returns nil for a caller without limits.
func (a *attempts) newTicket(ctx context.Context, e billing.Expected) *ticket {
	c := a.c
	var claims []limit.Claim
	if c.Key != nil && c.Key.Limits.Any() {
		claims = append(claims, limit.Claim{Subject: limit.Subject{Org: c.Org, Key: c.Key.ID}, Limits: c.Key.Limits, Seen: c.Key.Counted})
	}
	if c.config.Org.Limits.Any() {
		claims = append(claims, limit.Claim{Subject: limit.Subject{Org: c.Org}, Limits: c.config.Org.Limits, Seen: c.config.Counted})
	}
	if len(claims) == 0 {
		return nil
	}
	t := &ticket{a: a, ctx: context.WithoutCancel(ctx), free: claims, tokens: e.InputTokens}
	if !e.NoOutput {
		t.tokens += e.MaxOutput
		if e.MaxOutput <= 0 {
			t.tokens += billing.DefaultMaxOutput
		}
	}
	now := c.now()
	for i := range claims {
		claims[i].At, claims[i].First, claims[i].Slot = now, true, a.owner
		claims[i].Tokens, claims[i].Until = t.tokens, now.Add(a.g.o.Timeout+holdMargin)
	}
	return t
}

// claims are what an attempt with this hold counts. A request that would be
// refused by what was read with the key is refused here, without a write, unless
// it has an idempotency key: then the ledger knows first whether it is a repeat.
func (t *ticket) claims(hold billing.Micro) ([]limit.Claim, error) {
	if t == nil {
		return nil, nil
	}
	claims := slices.Clone(t.free)
	for i := range claims {
		c := &claims[i]
		c.Now, c.Spend = t.a.c.now(), int64(hold)
		if t.a.q.IdempotencyKey != "" {
			continue
		}
		if err := c.Check(); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

// took notes that an attempt's claims were written.
func (t *ticket) took(claims []limit.Claim) {
	if t == nil {
		return
	}
	t.taken = claims
	for i := range t.free {
		t.free[i].First, t.free[i].Now = false, claims[i].Now
		t.free[i].HeldTokens, t.free[i].HeldSpend = claims[i].Tokens, claims[i].Spend
	}
}

// overBudget reports whether err is a budget's refusal, which a candidate that
// costs nothing does not meet.
func overBudget(err error) bool {
	f := fault.As(err)
	r, ok := f.Err.(*limit.Refusal)
	return ok && r.Kind == limit.Spending
}

// finish ends the ticket in the background; the returned function waits for it.
// What cannot be written stays counted: slots expire, windows end.
func (t *ticket) finish(o credit.Outcome) (wait func()) {
	if t == nil || len(t.taken) == 0 {
		return func() {}
	}
	ctx, cancel := context.WithTimeout(t.ctx, recordLimit)
	var group sync.WaitGroup
	for i := range t.taken {
		ch := t.taken[i].Finish(t.a.c.now(), o.Usage.InputTokens+o.Usage.OutputTokens, int64(o.Amount))
		if ch.Empty() {
			continue
		}
		group.Go(func() { _ = t.a.g.o.Limits.FinishLimit(ctx, ch) })
	}
	t.taken = nil
	return func() { group.Wait(); cancel() }
}

// keep hands the ticket to the meter of the attempt that served.
func (t *ticket) keep() {
	if t != nil {
		t.kept = true
	}
}

// close ends the ticket of a request that nobody served.
func (t *ticket) close() {
	if t != nil && !t.kept {
		t.finish(credit.Outcome{})()
	}
}

// standings is what the client learns of its limits per minute.
func (t *ticket) standings() (requests, tokens *limit.Standing) {
	if t == nil {
		return nil, nil
	}
	return limit.Standings(t.free)
}

const (
	// maxMediaParts bounds the images, sounds and files of a request, which are
	// held, checked and sent on one by one.
	maxMediaParts = 100
	// maxMediaBytes is what they may have together once decoded: what fits into
	// the largest body beside its text.
	maxMediaBytes = 4 << 20
)

// checkMedia bounds the media of a request.
func checkMedia(r *model.Request) error {
	var parts, bytes int64
	for i := range r.Messages {
		p, b := mediaSize(r.Messages[i].Parts)
		parts, bytes = parts+p, bytes+b
	}
	switch {
	case parts > maxMediaParts:
		return fault.New(fault.InvalidRequest, "gateway.checkMedia", "a request may have 100 images, sounds and files; send fewer").WithParam("messages")
	case bytes > maxMediaBytes:
		return fault.New(fault.TooLarge, "gateway.checkMedia", "the images, sounds and files of a request may have 4 MiB together; send less, or URLs").WithParam("messages")
	}
	return nil
}

func mediaSize(parts []model.Part) (n, bytes int64) {
	for i := range parts {
		p := &parts[i]
		if p.Media != nil {
			n, bytes = n+1, bytes+int64(len(p.Media.Base64))/4*3
		}
		if p.Result != nil {
			m, b := mediaSize(p.Result.Parts)
			n, bytes = n+m, bytes+b
		}
	}
	return n, bytes
}

// Vendors cache prompts per account, by their first tokens, and report and price
// what came from the cache. On the platform's account one organisation could
// therefore find out what another has sent (Gu et al., arXiv 2502.07776). So the
// first thing that a model reads in a platform call is a line that differs per
// organisation, and the names by which a vendor groups requests are made per
// organisation, too. That it can be computed from the organisation's id is no
// harm: nobody chooses the first line of their own prompts.
//
// A vendor's cache key alone is not enough: it is a hint for routing, hits are
// decided by the prompt (OpenAI, prompt caching guide, read 2026-11).

// saltTokens is more than a salt costs; holds include it.
const saltTokens = 24

// tenantName names something of an organisation so that no other organisation can
// name it.
func tenantName(org, what string) string {
	sum := sha256.Sum256([]byte("latchkey/tenant/1\x00" + org + "\x00" + what))
	return hex.EncodeToString(sum[:8])
}

// separate keeps the prompt cache of a platform call apart from those of other
// organisations. It changes out, and copies what it shares with the client's
// request.
func separate(out *model.Request, org string) {
	salt := "[" + tenantName(org, "") + "]"
	out.CacheKey = tenantName(org, "cache")
	if out.User != "" {
		out.User = tenantName(org, "user\x00"+out.User)
	}
	for _, name := range []string{"prompt_cache_key", "safety_identifier"} {
		if v := out.Extra[name]; v != nil {
			// outgoing has made this map.
			out.Extra[name] = json.RawMessage(`"` + tenantName(org, name+"\x00"+string(v)) + `"`)
		}
	}
	if len(out.Tools) > 0 {
		// Tools come before the system text in what most vendors make of a request.
		out.Tools = slices.Clone(out.Tools)
		out.Tools[0].Description = strings.TrimSuffix(salt+" "+out.Tools[0].Description, " ")
	}
	if len(out.Messages) > 0 && out.Messages[0].Role == model.RoleSystem && len(out.Messages[0].Parts) > 0 && out.Messages[0].Parts[0].Kind == model.PartText {
		out.Messages = slices.Clone(out.Messages)
		first := slices.Clone(out.Messages[0].Parts)
		first[0].Text = salt + "\n" + first[0].Text
		out.Messages[0].Parts = first
		return
	}
	out.Messages = append([]model.Message{{Role: model.RoleSystem, Parts: []model.Part{model.Text(salt)}}}, out.Messages...)
}
