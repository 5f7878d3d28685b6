package credit

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Account is the stored balance of an organisation, summed over its shards.
// Available is stored, too, because a condition cannot compute it.
type Account struct {
	Org                                 string
	Posted, Held, Available, CreditLine Micro
	Version                             int64
	Mode                                string
	Opened                              time.Time
}

// ModeCredit is the mode in which the ledger charges.
const ModeCredit = "credit"

// Posting is a grant or an adjustment. A positive adjustment can be spent like a
// grant of its kind.
type Posting struct {
	ID     string
	Org    string
	Origin EntryKind // GrantEntry or AdjustmentEntry
	Kind   taxonomy.GrantKind
	Amount Micro
	At     time.Time
}

// Entry is the ledger entry of the posting.
func (p Posting) Entry() Entry {
	from := AccountAdjustment
	if p.Origin == GrantEntry {
		from = accountGrant + string(p.Kind)
	}
	return Entry{ID: EntryID(p.Org, p.ID, 0, p.Origin), Org: p.Org, Kind: p.Origin, At: p.At, Amount: p.Amount,
		Legs: []Leg{{AccountOrg, p.Amount}, {from, -p.Amount}}, Request: p.ID}
}

// GrantRequest asks for a grant or an adjustment.
type GrantRequest struct {
	Org    string
	Kind   taxonomy.GrantKind
	Amount Micro
	// ExpiresAt must be zero: see the package comment.
	ExpiresAt time.Time
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
	if !g.ExpiresAt.IsZero() {
		return Posting{}, invalid(op, "expires_at", "grants that expire are not supported, leave expires_at out")
	}
	if g.Now.IsZero() {
		return Posting{}, invalid(op, "at", "the posting has no time")
	}
	prefix := "g_"
	if origin == AdjustmentEntry {
		prefix = "a_"
	}
	p := Posting{ID: prefix + shortHash(g.Org, g.IdempotencyKey), Org: g.Org, Origin: origin,
		Kind: g.Kind, Amount: g.Amount, At: g.Now.UTC().Truncate(time.Millisecond)}
	if g.Op == (audit.Op{}) {
		return l.store.Post(ctx, p, nil)
	}
	if !g.Op.Valid() {
		return Posting{}, fault.New(fault.Internal, op, "internal error, try again later")
	}
	row := g.Op.Row(g.Org, string(origin)+".create", p.ID, "kind", string(p.Kind), "amount", strconv.FormatInt(int64(p.Amount), 10))
	return l.store.Post(ctx, p, &row)
}

// OpenAccount creates the account of a new organisation in mode credit. Opening
// it again changes nothing.
func (l *Ledger) OpenAccount(ctx context.Context, org string, now time.Time) error {
	if !table.ValidID(org) || now.IsZero() {
		return invalid("credit.OpenAccount", "org", "an id must match ^[A-Za-z0-9_-]{1,64}$")
	}
	return l.store.OpenAccount(ctx, org, now)
}

// GrantBalance is a grant with what is left of it.
type GrantBalance struct {
	Posting
	Remaining Micro
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
		if grants, byKind, ok := BurnDown(postings, acc.Posted); ok {
			return BalanceView{Account: acc, Grants: grants, ByKind: byKind}, nil
		}
	}
	return BalanceView{}, fault.New(fault.LedgerUnavailable, "credit.Balance", "the balance is changing, try again")
}

// Grants lists an organisation's grants in spending order with what is left.
func (l *Ledger) Grants(ctx context.Context, org string) ([]GrantBalance, error) {
	b, err := l.Balance(ctx, org)
	return b.Grants, err
}

// BurnDown spreads what was spent over the grants: kinds in spending order, then
// creation, then id. It is a pure function of its arguments, so two readers see
// the same. Negative adjustments count as spending. What was spent beyond all
// grants lowers the last kind, so that byKind always sums to posted. ok is false
// if posted exceeds the grants: they were read before it.
func BurnDown(postings []Posting, posted Micro) (grants []GrantBalance, byKind map[taxonomy.GrantKind]Micro, ok bool) {
	var granted Micro
	for _, p := range postings {
		if p.Amount > 0 {
			granted += p.Amount
			grants = append(grants, GrantBalance{Posting: p})
		}
	}
	if posted > granted {
		return nil, nil, false
	}
	kinds := taxonomy.GrantKinds()
	slices.SortFunc(grants, func(a, b GrantBalance) int {
		if c := slices.Index(kinds, a.Kind) - slices.Index(kinds, b.Kind); c != 0 {
			return c
		}
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	byKind = make(map[taxonomy.GrantKind]Micro, len(kinds))
	for _, k := range kinds {
		byKind[k] = 0
	}
	spent := granted - posted
	for i := range grants {
		burnt := min(spent, grants[i].Amount)
		spent -= burnt
		grants[i].Remaining = grants[i].Amount - burnt
		byKind[grants[i].Kind] += grants[i].Remaining
	}
	byKind[kinds[len(kinds)-1]] -= spent
	return grants, byKind, true
}
