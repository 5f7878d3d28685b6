package legacytokens

import (
	"context"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// grantKind is the kind of the opening grant: the rest of a month's tokens.
const grantKind = taxonomy.Monthly

// Store keeps counters. Every write of a counter has the mode in its condition.
type Store interface {
	// Counter reads consistently; the zero counter in mode credit if there is none.
	Counter(ctx context.Context, org string) (Counter, error)
	// SetTerms replaces the terms, with the audit row, if the version is still seen.
	// It fails with conflict if it is not, and with legacy_token_ledger_disabled
	// while credits pay.
	SetTerms(ctx context.Context, org string, t Terms, seen int64, row audit.Row) error
	// Change makes a change in one transaction; conflict if something it was planned
	// from is not so any more.
	Change(ctx context.Context, ch Change) error
	// Import adds rows that were not imported before, with an audit row per group,
	// and returns how many. It fails with legacy_token_ledger_disabled unless the
	// mode is legacy, shadow or rolled_back.
	Import(ctx context.Context, org string, rows []Row, op audit.Op) (added int, err error)
	// Days lists what was counted from..to, inclusive.
	Days(ctx context.Context, org, from, to string) ([]Day, error)
}

// Balances shows balances; [credit.Ledger] implements it.
type Balances interface {
	Balance(ctx context.Context, org string) (credit.BalanceView, error)
}

// UsageRows reads the projected rows; the store of package dynamo implements it.
type UsageRows interface {
	Usage(ctx context.Context, org, from, to string) ([]credit.UsageRow, error)
}

// Service carries the rules. Safe for concurrent use.
type Service struct {
	Store    Store
	Balances Balances
	Usage    UsageRows
	// Wait pauses between tries; a timer if nil.
	Wait func(context.Context, time.Duration) error
}

// Step is a change that could be made now, or what stands in its way.
type Step struct {
	To      Mode
	Reasons []string
	// Grant is what would be posted, Seed the tokens that would be counted.
	Grant credit.Micro
	Seed  int64
}

// View is an organisation's counter with what can be done next.
type View struct {
	Counter
	Period string
	// Mirror is what the counter would say had it counted on.
	Mirror int64
	// Unseeded are the tokens of the period that credits paid for and the counter does
	// not know; after a rollback, of calls that were in flight.
	Unseeded int64
	Steps    []Step
}

// View shows a counter and plans every change that can follow. Errors:
// ledger_unavailable.
func (s *Service) View(ctx context.Context, orgID string, now time.Time) (View, error) {
	f, err := s.facts(ctx, orgID, now)
	if err != nil {
		return View{}, err
	}
	v := View{Counter: f.counter, Period: credit.CountPeriod(now), Unseeded: f.counter.unseeded(credit.CountPeriod(now), f.balance.Account)}
	v.Mirror = f.counter.Mirror(v.Period, f.balance.Account)
	for _, t := range Next(f.counter.Mode) {
		ch, reasons := plan(t, f)
		step := Step{To: t.To, Reasons: reasons, Seed: ch.Seed}
		switch {
		case t.Effect == Restore:
			step.Grant = -f.takesBack()
		case ch.Posting != nil:
			step.Grant = ch.Posting.Amount
		}
		v.Steps = append(v.Steps, step)
	}
	return v, nil
}

func (s *Service) facts(ctx context.Context, orgID string, now time.Time) (f facts, err error) {
	f.now = now
	// The counter is read first: what is read after it can only be newer, and the
	// change is refused then.
	if f.counter, err = s.Store.Counter(ctx, orgID); err != nil {
		return f, err
	}
	if f.balance, err = s.Balances.Balance(ctx, orgID); err != nil {
		return f, err
	}
	if f.counter.Mode == org.LedgerShadow {
		from, to := window(now)
		f.parity, err = s.Parity(ctx, orgID, from.Format(dayLayout), to.Format(dayLayout))
	}
	return f, err
}

// maxParityDays bounds a report.
const maxParityDays = 62

// Parity compares counter and ledger on whole days, inclusive. Errors:
// invalid_request, ledger_unavailable.
func (s *Service) Parity(ctx context.Context, orgID, from, to string) (Report, error) {
	first, err := time.Parse(dayLayout, from)
	if err != nil {
		return Report{}, invalid("from", "from must be a day, YYYY-MM-DD")
	}
	last, err := time.Parse(dayLayout, to)
	if err != nil || last.Before(first) || last.Sub(first) >= maxParityDays*24*time.Hour {
		return Report{}, invalid("to", "to must be a day, YYYY-MM-DD, not before from and within 62 days of it")
	}
	days, err := s.Store.Days(ctx, orgID, from, to)
	if err != nil {
		return Report{}, err
	}
	rows, err := s.Usage.Usage(ctx, orgID, from, to)
	if err != nil {
		return Report{}, err
	}
	return Compare(days, rows, from, to), nil
}

// changeTries bounds the tries against calls and postings that come in between.
const changeTries = 24

// Change brings an organisation into a mode. It is the same to ask again: a mode
// that it has is success, and while the counter pays counts what calls in flight have
// used since. A rollback is two changes, of which the second one takes back what is
// left of the opening grant; if it fails, asking again makes up for it. Errors: conflict
// with what stands in the way; ledger_unavailable, after which the same call may be
// repeated.
func (s *Service) Change(ctx context.Context, op audit.Op, orgID string, to Mode) (View, error) {
	const name = "legacytokens.Change"
	if !op.Valid() {
		return View{}, fault.New(fault.Internal, name, "internal error, try again later")
	}
	for try := range changeTries {
		if try > 0 {
			if err := s.wait(ctx, time.Duration(try)*5*time.Millisecond); err != nil {
				break
			}
		}
		f, err := s.facts(ctx, orgID, op.At)
		if err != nil {
			return View{}, err
		}
		t, allowed := transition(f.counter.Mode, to)
		switch {
		case !allowed && f.counter.Mode == to:
			return s.View(ctx, orgID, op.At)
		case !allowed:
			return View{}, refused(to, []string{"from " + string(f.counter.Mode) + " it can become " + names(Next(f.counter.Mode))})
		}
		ch, reasons := plan(t, f)
		if len(reasons) > 0 {
			return View{}, refused(to, reasons)
		}
		if ch.idle() {
			return s.View(ctx, orgID, op.At)
		}
		if again, _ := plan(Transition{From: t.From, To: t.From, Effect: Restore}, f); t.Effect == Grant && !again.idle() {
			// A call that ran at a rollback has ended since: what it used is counted, and what
			// it left of that grant taken back, before there is another one.
			if _, err := s.Change(ctx, op.Part("restore", strconv.Itoa(try)), orgID, t.From); err != nil {
				return View{}, err
			}
			continue
		}
		ch.Row = op.Row(orgID, "ledger_mode.set", orgID, "mode", string(to), "state", string(t.From), "version", strconv.FormatInt(ch.Next.Epoch, 10),
			"amount", amount(ch.Posting))
		if err = s.Store.Change(ctx, ch); err == nil && t.Switches && t.Effect == Restore {
			return s.Change(ctx, op.Part("restore"), orgID, to)
		}
		if err == nil {
			return s.View(ctx, orgID, op.At)
		}
		if fault.CodeOf(err) != fault.Conflict {
			return View{}, err
		}
	}
	return View{}, fault.New(fault.LedgerUnavailable, name, "the ledger of this organisation is changing, try again")
}

func amount(p *credit.Posting) string {
	if p == nil {
		return ""
	}
	return strconv.FormatInt(int64(p.Amount), 10)
}

func names(ts []Transition) string {
	out := ""
	for i, t := range ts {
		if i > 0 {
			out += " or "
		}
		out += string(t.To)
	}
	return out
}

// SetTerms replaces the terms of a counter that pays. Errors: invalid_request;
// conflict if they changed meanwhile; legacy_token_ledger_disabled.
func (s *Service) SetTerms(ctx context.Context, op audit.Op, orgID string, t Terms) error {
	if err := t.Check(); err != nil {
		return err
	}
	c, err := s.Store.Counter(ctx, orgID)
	if err != nil {
		return err
	}
	if !c.Pays() {
		return Disabled("legacytokens.SetTerms")
	}
	return s.Store.SetTerms(ctx, orgID, t, c.Version, op.Row(orgID, "legacy_tokens.terms", orgID, "amount", strconv.FormatInt(t.Limit, 10)))
}

// Import adds usage rows of the older product to the counter, each once. Errors:
// invalid_request with the row; conflict if a row was imported with other figures;
// legacy_token_ledger_disabled while credits pay.
func (s *Service) Import(ctx context.Context, op audit.Op, orgID string, rows []Row) (added int, err error) {
	if err := checkRows(rows); err != nil {
		return 0, err
	}
	return s.Store.Import(ctx, orgID, rows, op)
}

func (s *Service) wait(ctx context.Context, d time.Duration) error {
	if s.Wait != nil {
		return s.Wait(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
