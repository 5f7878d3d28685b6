// Package legacytest plays the way from a legacy token counter to credits and back
// with calls in flight at every edge, on any store.
//
// [Play] runs a sequence of [Op]s on a [World] and checks after each that a counter
// that pays leaves the balance as it is, to the byte, and at the end that every call
// was paid once, by the one that was stamped on it, that both together make what was
// used, and that the counter knows all of it after a rollback. It knows no tables and
// is imported by tests only.
package legacytest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Org is the organisation of a world.
const Org = "acme"

// World is one organisation with credits, on a store.
type World struct {
	Reserve func(credit.ReserveRequest) (credit.Hold, error)
	Used    func(credit.Hold, credit.Outcome) error
	// Settle settles and projects all that was reported, Sweep gives up what is
	// overdue.
	Settle  func(now time.Time) error
	Sweep   func(now time.Time) error
	Entries func(now time.Time) ([]credit.Entry, error)
	// Raw is the balance as it is stored.
	Raw     func() string
	Service *legacytokens.Service
}

// Op is one step: call, stale (a call that knows an old mode), finish, refuse, settle,
// sweep or change. N picks.
type Op struct {
	Kind string
	N    int
}

// Kinds lists the kinds of steps, as often as they should come.
func Kinds() []string {
	return []string{"call", "call", "call", "stale", "finish", "finish", "finish", "refuse", "settle", "settle", "sweep", "change", "change", "change"}
}

// Terms are what the tests agree on: a token is worth two micro-credits.
func Terms() legacytokens.Terms {
	return legacytokens.Terms{Limit: 1_000_000, RatePico: 2_000_000, Rounding: 1,
		Rates: []legacytokens.Rate{{Model: "*", InputPico: 1_000_000, OutputPico: 2_000_000}}}
}

// Start is the first of a month, so that everything happens in one.
func Start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// Call is one call of a play.
type call struct {
	hold     credit.Hold
	finished bool
	tokens   int64
	amount   credit.Micro
	refused  bool
	settled  bool
}

type play struct {
	w     World
	now   time.Time
	calls []*call
	// raw is the balance when the counter began to pay with nothing open on credits.
	raw    string
	shut   bool
	last   legacytokens.View
	serial int
	seen   map[org.LedgerMode]int
}

// Play runs ops and returns how often each mode was entered.
func Play(w World, ops []Op) (entered map[org.LedgerMode]int, err error) {
	p := &play{w: w, now: Start(), seen: map[org.LedgerMode]int{}}
	if err := p.change(org.LedgerLegacy); err != nil {
		return nil, err
	}
	if err := w.Service.SetTerms(context.Background(), p.op(), Org, Terms()); err != nil {
		return nil, fmt.Errorf("terms: %w", err)
	}
	for i, op := range ops {
		p.now = p.now.Add(time.Second)
		if err := p.step(op); err != nil {
			return nil, fmt.Errorf("step %d %v: %w", i, op, err)
		}
		if err := p.untouched(op.Kind == "change"); err != nil {
			return nil, fmt.Errorf("step %d %v: %w", i, op, err)
		}
	}
	return p.seen, p.end()
}

func (p *play) op() audit.Op {
	p.serial++
	return audit.Op{Actor: "operator:test", ID: "play" + strconv.Itoa(p.serial), At: p.now}
}

func (p *play) view() (legacytokens.View, error) {
	return p.w.Service.View(context.Background(), Org, p.now)
}

func (p *play) change(to org.LedgerMode) error {
	_, err := p.w.Service.Change(context.Background(), p.op(), Org, to)
	if err != nil {
		return fmt.Errorf("change to %s: %w", to, err)
	}
	p.seen[to]++
	return nil
}

func (p *play) step(op Op) error {
	switch op.Kind {
	case "call", "stale":
		return p.begin(op.Kind == "stale")
	case "finish", "refuse":
		for i := range p.calls {
			if c := p.calls[(i+op.N)%len(p.calls)]; !c.finished {
				return p.finish(c, int64(op.N)+1, op.Kind == "refuse")
			}
		}
	case "settle":
		return p.settle()
	case "sweep":
		p.now = p.now.Add(2 * time.Minute)
		return p.w.Sweep(p.now)
	case "change":
		return p.advance(op.N)
	}
	return nil
}

func (p *play) begin(stale bool) error {
	v, err := p.view()
	if err != nil {
		return err
	}
	stamp := credit.StampOf(string(v.Mode), v.Epoch)
	if stale {
		stamp = credit.Stamp{Mode: credit.ModeCredit}
	}
	n := strconv.Itoa(len(p.calls))
	h, err := p.w.Reserve(credit.ReserveRequest{Org: Org, Request: "req" + n, Attempt: 1, Owner: "own" + n, Hold: 5000, Now: p.now,
		Expires: p.now.Add(time.Minute), Provider: "prov", Model: "m", Source: taxonomy.Platform, Rule: billing.RulePlatform, PriceVersion: "p1", Stamp: stamp})
	if err != nil {
		return fmt.Errorf("reserve: %w", err)
	}
	if want := credit.StampOf(string(v.Mode), v.Epoch); h.Stamp != want {
		return fmt.Errorf("stamped %+v in %+v", h.Stamp, want)
	}
	p.calls = append(p.calls, &call{hold: h})
	return nil
}

func (p *play) finish(c *call, n int64, refused bool) error {
	o := credit.Outcome{Kind: credit.Completed, At: p.now, Usage: billing.Usage{InputTokens: n, OutputTokens: 2 * n, Source: billing.FromProvider}, Amount: credit.Micro(5 * n)}
	c.tokens, c.amount = 3*n, o.Amount
	if refused {
		o = credit.Outcome{Kind: credit.Refused, At: p.now, Usage: billing.Usage{Source: billing.NoUsage}}
		c.tokens, c.amount, c.refused = 0, 0, true
	}
	c.finished = true
	return p.w.Used(c.hold, o)
}

func (p *play) settle() error {
	if err := p.w.Settle(p.now); err != nil {
		return err
	}
	for _, c := range p.calls {
		c.settled = c.settled || c.finished
	}
	return nil
}

// cutover is how long a shadow must run.
const cutover = 8 * 24 * time.Hour

// advance makes one of the changes that can follow, once its needs are met.
func (p *play) advance(n int) error {
	v, err := p.view()
	if err != nil {
		return err
	}
	next := legacytokens.Next(v.Mode)
	t := next[n%len(next)]
	if t.From == org.LedgerCredit && t.To == org.LedgerLegacy && v.Epoch > 0 {
		return p.refusal(t.To)
	}
	if t.To == org.LedgerDraining {
		if p.now.Add(cutover).Month() != p.now.Month() {
			return p.refusal(t.To)
		}
		// What was used must have been settled and projected by the end of its day.
		for _, c := range p.calls {
			if !c.finished {
				if err := p.finish(c, 7, false); err != nil {
					return err
				}
			}
		}
		if err := p.settle(); err != nil {
			return err
		}
		p.now = p.now.Add(cutover)
		if err := p.begin(false); err != nil { // in flight at the edge
			return err
		}
	}
	if v, err = p.view(); err != nil {
		return err
	}
	if t.To == org.LedgerCredit && v.Open > 0 {
		return p.refusal(t.To)
	}
	return p.change(t.To)
}

// refusal expects that a change is refused.
func (p *play) refusal(to org.LedgerMode) error {
	if err := p.change(to); fault.CodeOf(errors.Unwrap(err)) != fault.Conflict {
		return fmt.Errorf("change to %s: %v, want a conflict", to, err)
	}
	return nil
}

// untouched checks that nothing moves the balance while the counter pays and nothing
// is open that credits pay for, and nothing the counter while credits pay.
func (p *play) untouched(changed bool) error {
	v, err := p.view()
	if err != nil {
		return err
	}
	shut := v.Pays()
	for _, c := range p.calls {
		// What was given up can still come.
		shut = shut && (c.hold.Stamp.Legacy() || c.settled)
	}
	raw := p.w.Raw()
	if shut && p.shut && !changed && raw != p.raw {
		return fmt.Errorf("the balance moved in %s:\n%s\n%s", v.Mode, p.raw, raw)
	}
	period := credit.CountPeriod(p.now)
	if !changed && v.Mode == org.LedgerCredit && v.Used[period] != p.last.Used[period] {
		return fmt.Errorf("the counter was written while credits pay: %d, then %d", p.last.Used[period], v.Used[period])
	}
	p.shut, p.raw, p.last = shut, raw, v
	return nil
}

// end ends every call, rolls back what credits pay for and adds up.
func (p *play) end() error {
	for _, c := range p.calls {
		if !c.finished {
			if err := p.finish(c, 11, false); err != nil {
				return err
			}
		}
	}
	if err := p.settle(); err != nil {
		return err
	}
	v, err := p.view()
	if err != nil {
		return err
	}
	to := v.Mode
	if !v.Pays() {
		to = org.LedgerRolledBack
	}
	if err := p.change(to); err != nil {
		return err
	}
	if v, err = p.view(); err != nil {
		return err
	}
	entries, err := p.w.Entries(p.now)
	if err != nil {
		return err
	}
	return p.addUp(v, entries)
}

func (p *play) addUp(v legacytokens.View, entries []credit.Entry) error {
	byRequest := map[string]credit.Entry{}
	for _, e := range entries {
		if e.Kind == credit.UsageEntry {
			if _, twice := byRequest[e.Request]; twice {
				return fmt.Errorf("%s has two entries", e.Request)
			}
			byRequest[e.Request] = e
		}
	}
	var used, counted, paid int64
	for _, c := range p.calls {
		e, there := byRequest[c.hold.Request]
		if there == c.refused {
			return fmt.Errorf("%s: entry %v, refused %v", c.hold.Request, there, c.refused)
		}
		used += c.tokens
		switch {
		case c.refused:
		case e.Stamp != c.hold.Stamp:
			return fmt.Errorf("%s: paid as %+v, admitted as %+v", e.Request, e.Stamp, c.hold.Stamp)
		case e.Stamp.Legacy():
			if counted += e.Tokens; e.Amount != 0 || e.Tokens != c.tokens {
				return fmt.Errorf("%s: %d credits and %d tokens, want 0 and %d", e.Request, e.Amount, e.Tokens, c.tokens)
			}
		default:
			if paid += c.tokens; e.Amount != -c.amount || e.Tokens != 0 {
				return fmt.Errorf("%s: %d credits and %d tokens, want %d and 0", e.Request, e.Amount, e.Tokens, -c.amount)
			}
		}
	}
	period := credit.CountPeriod(Start())
	if counted+paid != used || v.Used[period] != used || v.Mirror != used || v.Unseeded != 0 || v.Open != 0 {
		return fmt.Errorf("used %d, counted %d, paid %d, the counter says %d (mirror %d, unseeded %d), open %d", used, counted, paid, v.Used[period], v.Mirror, v.Unseeded, v.Open)
	}
	return nil
}
