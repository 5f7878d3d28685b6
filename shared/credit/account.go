package credit

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Account is the stored balance of an organisation, summed over its shards.
// Available is what follows from the sums; each shard stores its own, too, because
// a condition cannot compute it. The shards of a busy balance change while they
// are read: what is posted and held is right for an order in which the changes
// might have been, and two readings with one Version show one moment.
type Account struct {
	Org                                 string
	Posted, Held, Available, CreditLine Micro
	Version                             int64 // sum over the shards
	// Seq numbers the postings. Whoever posts, posts the next one: it is what
	// keeps two folds of one organisation from both being written.
	Seq int64
	// NextExpiry is the earliest end of a grant that has not been folded, zero
	// if none. From then on nothing is reserved until it has been.
	NextExpiry time.Time
	// Mode is ModeCredit while credits pay for new calls, ModeLegacy while the
	// legacy counter does; Epoch counts the changes of that.
	Mode   string
	Epoch  int64
	Opened time.Time
	// Closed is the beginning of the first month that takes entries, FencedAt is
	// since when that is so; zero if no month was closed.
	Closed, FencedAt time.Time
	// Shards are all balance shards, each at a moment of the reading; two readings
	// with one Version show one moment. The first is home: grants are posted to it.
	Shards []Shard
	// Load is the last measurement of the organisation's load.
	Load Load
}

// Shard is one part of a balance. Available = posted - held + moved, on the home
// shard + line; moved is what came from other shards, and sums to 0 over all.
type Shard struct {
	Posted, Held, Available, Moved Micro
	Version                        int64
	// Reserves counts the reservations ever made; one that was refused by other
	// writers before counts once more for each time after the first, because where
	// nobody gets through the successes alone look like a small load.
	Reserves int64
	// Due is from when reservations are refused, zero if never.
	Due time.Time
	// Closed is the beginning of the first month that takes entries.
	Closed time.Time
	// Mode and Epoch are those of home, or older ones for a moment.
	Mode  string
	Epoch int64
	// Counted are the tokens of calls that were paid with credits after the
	// organisation left its legacy counter, by [CountPeriod].
	Counted map[string]int64
}

// Reserves counts the reservations of all shards.
func (a Account) Reserves() (n int64) {
	for _, s := range a.Shards {
		n += s.Reserves
	}
	return n
}

// Counted are the tokens that credits paid for in a period, over all shards.
func (a Account) Counted(period string) (n int64) {
	for _, s := range a.Shards {
		n += s.Counted[period]
	}
	return n
}

// Posting is a grant, an adjustment or the end of a grant. A positive adjustment
// can be spent like a grant of its kind.
type Posting struct {
	ID     string
	Org    string
	Origin EntryKind // GrantEntry, AdjustmentEntry or ExpiryEntry
	Kind   taxonomy.GrantKind
	Amount Micro
	At     time.Time
	// ExpiresAt is when what is left of it ends; zero: never.
	ExpiresAt time.Time
	// Rollover renews the grant when it ends.
	Rollover Rollover
	// Ended says that the end of the grant has been folded.
	Ended bool
	// Of is the grant that this posting takes from, empty for any.
	Of string
	// Ref marks a refund: a hash of what was refunded.
	Ref string
	// Seq is the number of the posting and Base what was posted before it. Both
	// are the store's; a posting that was computed from others asks for the number
	// after them.
	Seq  int64
	Base Micro
}

// Rollover carries what is left of a daily or monthly grant into the next day or
// month, as a new grant of at least Min and at most Max. The zero Rollover does
// not renew.
type Rollover struct{ Min, Max Micro }

// Entry is the ledger entry of the posting.
func (p Posting) Entry() Entry {
	from := AccountAdjustment
	switch p.Origin {
	case GrantEntry:
		from = accountGrant + string(p.Kind)
	case ExpiryEntry:
		from = AccountBreakage
	}
	if p.Ref != "" {
		from = AccountRefund
	}
	return Entry{ID: EntryID(p.Org, p.ID, 0, p.Origin), Org: p.Org, Kind: p.Origin, At: p.At, Amount: p.Amount,
		Legs: []Leg{{AccountOrg, p.Amount}, {from, -p.Amount}}, Request: p.ID}
}

// GrantRequest asks for a grant or an adjustment.
type GrantRequest struct {
	Org    string
	Kind   taxonomy.GrantKind
	Amount Micro
	// ExpiresAt is when what is left ends: after Now, within ten years. Zero:
	// never, or with Rollover the end of the UTC day or month.
	ExpiresAt time.Time
	// Rollover renews a daily or monthly grant.
	Rollover Rollover
	// IdempotencyKey makes the posting unique in its organisation.
	IdempotencyKey string
	Now            time.Time
	// Op is whose decision it is: its audit row is written with the posting or
	// not at all, once per posting. Zero for what no person decided.
	Op audit.Op
}

const maxIdempotencyKey = 256

// Grant adds credits. The same idempotency key adds them once and returns the
// first posting. Errors: invalid_request; idempotency_conflict if the key was
// used with other values; ledger_unavailable, after which the same call may be
// repeated.
func (l *Ledger) Grant(ctx context.Context, g GrantRequest) (Posting, error) {
	const op = "credit.Grant"
	if g.Amount <= 0 || g.Amount > billing.MaxAmount {
		return Posting{}, invalid(op, "amount", "a grant must be between 1 and 1,000,000,000,000,000 micro-credits")
	}
	return l.post(ctx, op, g, GrantEntry)
}

// Adjust adds or takes credits, by an operator's decision; a negative amount may
// take the balance below zero. Errors as [Ledger.Grant].
func (l *Ledger) Adjust(ctx context.Context, g GrantRequest) (Posting, error) {
	const op = "credit.Adjust"
	if g.Amount == 0 || g.Amount < -billing.MaxAmount || g.Amount > billing.MaxAmount {
		return Posting{}, invalid(op, "amount", "an adjustment must not be 0 and must stay within 1,000,000,000,000,000 micro-credits")
	}
	return l.post(ctx, op, g, AdjustmentEntry)
}

func (l *Ledger) post(ctx context.Context, op string, g GrantRequest, origin EntryKind) (Posting, error) {
	if !table.ValidID(g.Org) {
		return Posting{}, invalid(op, "org", "an id must match ^[A-Za-z0-9_-]{1,64}$")
	}
	if _, ok := taxonomy.ParseGrantKind(string(g.Kind)); !ok {
		return Posting{}, invalid(op, "kind", "kind must be gifted, daily, monthly or purchased")
	}
	if g.IdempotencyKey == "" || len(g.IdempotencyKey) > maxIdempotencyKey {
		return Posting{}, invalid(op, "idempotency_key", "an idempotency key of 1 to 256 characters is needed")
	}
	if g.Now.IsZero() {
		return Posting{}, invalid(op, "at", "the posting has no time")
	}
	if err := checkEnd(op, &g); err != nil {
		return Posting{}, err
	}
	id := GrantID(g.Org, g.IdempotencyKey)
	if origin == AdjustmentEntry {
		id = "a_" + shortHash(g.Org, g.IdempotencyKey)
	}
	p := Posting{ID: id, Org: g.Org, Origin: origin,
		Kind: g.Kind, Amount: g.Amount, At: g.Now.UTC().Truncate(time.Millisecond), ExpiresAt: g.ExpiresAt, Rollover: g.Rollover}
	if g.Op == (audit.Op{}) {
		return l.store.Post(ctx, p, nil)
	}
	if !g.Op.Valid() {
		return Posting{}, fault.New(fault.Internal, op, "internal error, try again later")
	}
	row := g.Op.Row(g.Org, string(origin)+".create", p.ID, "kind", string(p.Kind), "amount", strconv.FormatInt(int64(p.Amount), 10))
	return l.store.Post(ctx, p, &row)
}

// maxGrantLife bounds the end of a grant.
const maxGrantLife = 10 * 366 * 24 * time.Hour

// checkEnd checks and completes when a posting ends and whether it is renewed.
func checkEnd(op string, g *GrantRequest) error {
	if g.Rollover != (Rollover{}) {
		if g.Rollover.Min < 0 || g.Rollover.Max < max(g.Rollover.Min, 1) || g.Rollover.Max > billing.MaxAmount {
			return invalid(op, "rollover", "a rollover needs 0 <= min <= max and a max above 0")
		}
		end, ok := periodEnd(g.Kind, g.Now)
		if !ok || g.Amount < 0 {
			return invalid(op, "rollover", "only daily and monthly grants can be renewed")
		}
		if g.ExpiresAt.IsZero() {
			g.ExpiresAt = end
		}
	}
	if g.ExpiresAt.IsZero() {
		return nil
	}
	g.ExpiresAt = g.ExpiresAt.UTC().Truncate(time.Millisecond)
	switch {
	case g.Amount < 0:
		return invalid(op, "expires_at", "what takes credits cannot expire, leave expires_at out")
	case !g.ExpiresAt.After(g.Now) || g.ExpiresAt.Sub(g.Now) > maxGrantLife:
		return invalid(op, "expires_at", "expires_at must be in the future, within ten years")
	}
	return nil
}

// periodEnd is the end of the UTC day or month that a time lies in.
func periodEnd(kind taxonomy.GrantKind, t time.Time) (time.Time, bool) {
	t = t.UTC()
	switch kind {
	case taxonomy.Daily:
		return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC), true
	case taxonomy.Monthly:
		return month(t).AddDate(0, 1, 0), true
	}
	return time.Time{}, false
}

// OpenAccount creates the account of a new organisation in mode credit. Opening
// it again changes nothing.
func (l *Ledger) OpenAccount(ctx context.Context, org string, now time.Time) error {
	if !table.ValidID(org) || now.IsZero() {
		return invalid("credit.OpenAccount", "org", "an id must match ^[A-Za-z0-9_-]{1,64}$")
	}
	return l.store.OpenAccount(ctx, org, now)
}

// SetCreditLine lets an organisation reserve down to -line. Op is whose decision
// it is; its audit row is written with it. Errors: invalid_request;
// ledger_unavailable, after which the call may be repeated.
func (l *Ledger) SetCreditLine(ctx context.Context, org string, line Micro, op audit.Op) error {
	const name = "credit.SetCreditLine"
	switch {
	case !table.ValidID(org):
		return invalid(name, "org", "an id must match ^[A-Za-z0-9_-]{1,64}$")
	case line < 0 || line > billing.MaxAmount:
		return invalid(name, "credit_line", "a credit line must be between 0 and 1,000,000,000,000,000 micro-credits")
	case !op.Valid():
		return fault.New(fault.Internal, name, "internal error, try again later")
	}
	row := op.Row(org, "credit_line.set", org, "amount", strconv.FormatInt(int64(line), 10))
	return l.store.SetLine(ctx, org, line, row)
}

// BalanceView is an organisation's balance. ByKind sums to Posted.
type BalanceView struct {
	Account
	Grants []GrantBalance
	ByKind map[taxonomy.GrantKind]Micro
}

// balanceReads bounds re-reading when a balance is ahead of the grants read.
const balanceReads = 3

// Balance reads the balance and what is left of each grant. An organisation
// without an account has zero credits. Errors: ledger_unavailable.
func (l *Ledger) Balance(ctx context.Context, org string) (BalanceView, error) {
	for range balanceReads {
		acc, err := l.store.Account(ctx, org)
		if fault.CodeOf(err) == fault.NotFound {
			acc, err = Account{Org: org, Mode: ModeCredit}, nil
		}
		if err != nil {
			return BalanceView{}, err
		}
		// Read after the balance: whatever the balance contains is listed.
		postings, err := l.store.Postings(ctx, org)
		if err != nil {
			return BalanceView{}, err
		}
		if f, ok := Fold(upTo(postings, acc.Seq), acc.Posted); ok {
			return BalanceView{Account: acc, Grants: f.Grants, ByKind: f.ByKind()}, nil
		}
	}
	return BalanceView{}, fault.New(fault.LedgerUnavailable, "credit.Balance", "the balance is changing, try again")
}

// Grants lists an organisation's grants in spending order with what is left.
func (l *Ledger) Grants(ctx context.Context, org string) ([]GrantBalance, error) {
	b, err := l.Balance(ctx, org)
	return b.Grants, err
}

// upTo leaves out postings that a balance read before them does not hold yet.
func upTo(postings []Posting, seq int64) []Posting {
	return slices.DeleteFunc(postings, func(p Posting) bool { return p.Seq > seq })
}
