package limit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// Claim is what one attempt of a request wants to count against one subject.
type Claim struct {
	Subject Subject
	Limits  Limits
	Seen    State
	// At chooses the windows. It stays that of the first attempt for the whole
	// request; Now is the time of this one.
	At, Now time.Time
	// First counts the request and takes a slot, named Slot, that expires at
	// Until. Later attempts of the request do neither.
	First bool
	Slot  string
	Until time.Time
	// Tokens and Spend are what this attempt reserves; HeldTokens and HeldSpend
	// what an earlier attempt of the request has reserved and this one replaces.
	// Spend is in micro-credits.
	Tokens, HeldTokens int64
	Spend, HeldSpend   int64
}

// Kind names a limit as the admin API does.
type Kind string

// Kinds of limits.
const (
	Requests   Kind = "requests_per_minute"
	Tokens     Kind = "tokens_per_minute"
	Concurrent Kind = "concurrent"
	Spending   Kind = "budget"
)

// Refusal is the cause of the rate_limited fault of a [Claim.Check]. Find it
// with errors.As.
type Refusal struct {
	Kind    Kind
	Subject Subject
	// Limit is the limit, Remaining what is left of it.
	Limit, Remaining int64
	// Reset is how long it takes until the window ends, 0 if it has no end.
	Reset time.Duration
}

// Error names the limit.
func (r *Refusal) Error() string { return "limit: " + string(r.Kind) + " of the " + r.Subject.noun() }

func (s Subject) noun() string {
	if s.Key != "" {
		return "API key"
	}
	return "organisation"
}

// Check fails with rate_limited and a [Refusal] as its cause if the seen state
// leaves no room. The reason that holds longest is named.
func (c *Claim) Check() error {
	l, now := c.Limits, c.Now
	used := c.Seen.Counters[minuteName(tokensIn, c.At)]
	spent := c.Seen.Counters[c.budget()]
	switch {
	case c.wantsBudget() && spent-c.HeldSpend >= l.Budget.Amount:
		return c.spentUp(spent)
	case c.wantsTokens() && c.Tokens > l.TokensPerMinute:
		return c.refuse(Refusal{Kind: Tokens, Limit: l.TokensPerMinute, Remaining: max(l.TokensPerMinute-used, 0), Reset: nextMinute(now)}, 0, fmt.Sprintf(
			"this request may use up to %d tokens and this %s may use %d per minute; lower its output limit or shorten it",
			c.Tokens, c.Subject.noun(), l.TokensPerMinute))
	case c.First && l.RequestsPerMinute > 0 && c.Seen.Counters[minuteName(requestsIn, c.At)] >= l.RequestsPerMinute:
		wait := nextMinute(now)
		return c.refuse(Refusal{Kind: Requests, Limit: l.RequestsPerMinute, Reset: wait}, wait, fmt.Sprintf(
			"this %s may make %d requests per minute; try again when the next minute begins", c.Subject.noun(), l.RequestsPerMinute))
	case c.wantsTokens() && used+c.Tokens-c.HeldTokens > l.TokensPerMinute:
		wait := nextMinute(now)
		return c.refuse(Refusal{Kind: Tokens, Limit: l.TokensPerMinute, Remaining: max(l.TokensPerMinute-used, 0), Reset: wait}, wait, fmt.Sprintf(
			"this %s may use %d tokens per minute, %d are left and this request may use up to %d; try again when the next minute begins, or lower its output limit",
			c.Subject.noun(), l.TokensPerMinute, max(l.TokensPerMinute-used, 0), c.Tokens))
	case c.wantsSlot() && c.Seen.Counters[running]-int64(len(c.expired())) >= l.Concurrent:
		return c.refuse(Refusal{Kind: Concurrent, Limit: l.Concurrent}, slotWait, fmt.Sprintf(
			"this %s may make %d requests at a time; try again when one of them has ended", c.Subject.noun(), l.Concurrent))
	}
	return nil
}

// slotWait is what a client is told to wait for a slot: nobody knows when one
// becomes free.
const slotWait = time.Second

func (c *Claim) spentUp(spent int64) error {
	b := c.Limits.Budget
	wait := renewal(b.Period, c.Now)
	text := fmt.Sprintf("this %s has spent its budget of %d micro-credits; ask for a higher one", c.Subject.noun(), b.Amount)
	if wait > 0 {
		text = fmt.Sprintf("this %s has spent its budget of %d micro-credits per %s; it begins anew at %s",
			c.Subject.noun(), b.Amount, b.Period, c.Now.Add(wait).UTC().Format(time.RFC3339))
	}
	return c.refuse(Refusal{Kind: Spending, Limit: b.Amount, Remaining: max(b.Amount-spent, 0), Reset: wait}, wait, text)
}

// refuse makes the fault. Without a wait no unchanged retry can succeed.
func (c *Claim) refuse(r Refusal, wait time.Duration, message string) error {
	r.Subject = c.Subject
	f := fault.Wrap(fault.RateLimited, "limit.Check", message, &r)
	f.RetryAfter, f.Final = wait, wait == 0
	return f
}

func (c *Claim) wantsTokens() bool {
	return c.Limits.TokensPerMinute > 0 && c.Tokens > c.HeldTokens
}

func (c *Claim) wantsSlot() bool { return c.First && c.Limits.Concurrent > 0 }

// wantsBudget is false for calls that cost nothing: an exhausted budget does not
// stop an organisation's own keys.
func (c *Claim) wantsBudget() bool { return c.Limits.Budget.Amount > 0 && c.Spend > c.HeldSpend }

func (c *Claim) budget() string { return budgetName(c.Limits.Budget.Period, c.At) }

// maxCleared bounds what one write clears away: an expression has at most 4 KB.
const maxCleared = 25

// expired lists slots whose requests must have ended, in a stable order.
func (c *Claim) expired() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.Seen.Slots)) {
		if c.Seen.Slots[name].Before(c.Now) && len(out) < maxCleared {
			out = append(out, name)
		}
	}
	return out
}

// Add is a counter to be changed: By is added to what it has, or to Absent if it
// does not exist.
type Add struct {
	Counter    string
	By, Absent int64
}

// Bound is a condition: the counter is below Below, absent counts as 0.
type Bound struct {
	Counter string
	Below   int64
}

// Change is one conditional write to a subject's state, all of it or nothing.
type Change struct {
	Subject Subject
	Adds    []Add
	Bounds  []Bound
	// Take adds a slot that expires at Until. Slots in Clear and Free are
	// removed; both must exist. Counters in Drop are removed if they exist.
	Take  string
	Until time.Time
	Clear []string
	Free  string
	Drop  []string
}

// Empty reports whether there is nothing to write.
func (c Change) Empty() bool { return len(c.Adds) == 0 }

// Once reports whether a repetition, after an answer was lost, would count
// twice.
func (c Change) Once() bool { return c.Free == "" }

// Change is the write of the claim. Its conditions are those of [Claim.Check],
// on the state at the time of the write.
func (c *Claim) Change() Change {
	ch := Change{Subject: c.Subject}
	l := c.Limits
	if c.First && l.RequestsPerMinute > 0 {
		name := minuteName(requestsIn, c.At)
		ch.Adds = append(ch.Adds, Add{Counter: name, By: 1})
		ch.Bounds = append(ch.Bounds, Bound{name, l.RequestsPerMinute})
	}
	if delta := c.Tokens - c.HeldTokens; l.TokensPerMinute > 0 && delta != 0 {
		name := minuteName(tokensIn, c.At)
		ch.Adds = append(ch.Adds, Add{name, delta, c.HeldTokens})
		if c.wantsTokens() {
			ch.Bounds = append(ch.Bounds, Bound{name, l.TokensPerMinute - delta + 1})
		}
	}
	if delta := c.Spend - c.HeldSpend; l.Budget.Amount > 0 && delta != 0 {
		ch.Adds = append(ch.Adds, Add{c.budget(), delta, c.HeldSpend})
		if c.wantsBudget() {
			ch.Bounds = append(ch.Bounds, Bound{c.budget(), l.Budget.Amount + c.HeldSpend})
		}
	}
	if c.wantsSlot() {
		ch.Take, ch.Until, ch.Clear = c.Slot, c.Until, c.expired()
		ch.Adds = append(ch.Adds, Add{Counter: running, By: 1 - int64(len(ch.Clear))})
		ch.Bounds = append(ch.Bounds, Bound{running, l.Concurrent + int64(len(ch.Clear))})
	}
	if ch.Empty() {
		return ch
	}
	for _, name := range slices.Sorted(maps.Keys(c.Seen.Counters)) {
		if c.stale(name) && len(ch.Drop) < maxCleared {
			ch.Drop = append(ch.Drop, name)
		}
	}
	return ch
}

// Finish is the write that ends a request whose claim was written: what it
// reserved becomes what it used, and its slot becomes free. It has no condition
// but the slot. tokens and charged are 0 for a request that nobody served.
func (c *Claim) Finish(now time.Time, tokens, charged int64) Change {
	ch := Change{Subject: c.Subject}
	l := c.Limits
	// What a minute that has passed used is of no consequence any more.
	if delta := tokens - c.Tokens; l.TokensPerMinute > 0 && delta != 0 && minute(now) == minute(c.At) {
		ch.Adds = append(ch.Adds, Add{minuteName(tokensIn, c.At), delta, c.Tokens})
	}
	if delta := charged - c.Spend; l.Budget.Amount > 0 && delta != 0 {
		ch.Adds = append(ch.Adds, Add{c.budget(), delta, c.Spend})
	}
	if c.Slot != "" && l.Concurrent > 0 {
		ch.Free = c.Slot
		ch.Adds = append(ch.Adds, Add{running, -1, 1})
	}
	return ch
}

// Standing is how much of a limit per minute is left after a claim.
type Standing struct {
	Limit, Remaining int64
	Reset            time.Duration
}

// Standings tells what is left of requests and tokens per minute once the claims
// of a request are written, of the subject that has least; nil = unlimited.
// Others may have counted meanwhile.
func Standings(claims []Claim) (requests, tokens *Standing) {
	for i := range claims {
		c := &claims[i]
		requests = least(requests, c, c.Limits.RequestsPerMinute, requestsIn, 1)
		tokens = least(tokens, c, c.Limits.TokensPerMinute, tokensIn, c.Tokens)
	}
	return requests, tokens
}

func least(have *Standing, c *Claim, limit int64, kind string, own int64) *Standing {
	if limit == 0 {
		return have
	}
	s := &Standing{Limit: limit, Remaining: max(limit-c.Seen.Counters[minuteName(kind, c.At)]-own, 0), Reset: nextMinute(c.Now)}
	if have != nil && cmp.Less(have.Remaining, s.Remaining) {
		return have
	}
	return s
}
