package credit

import (
	"context"
	"crypto/sha256"
	"errors"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// ActionProvider is the provider under which the price book has the platform's
// own actions: the model is the action's name, the meter [billing.Request].
const ActionProvider = "platform"

const (
	// MaxActions bounds how often an action is charged at once.
	MaxActions = 1_000_000
	// chargeLife is how long a charge whose caller died keeps its hold, unless the
	// request says otherwise.
	chargeLife = 2 * time.Minute
)

// ChargeRequest asks to be paid for an action of the platform.
type ChargeRequest struct {
	Org string
	// Action names what is charged, as in the price book.
	Action string
	// Count is how often, from 1.
	Count int64
	// IdempotencyKey makes the charge unique in its organisation.
	IdempotencyKey string
	// Book prices the action.
	Book       *billing.Book
	Agent, Key string
	Now        time.Time
	// Life is how long an authorisation keeps its hold; 0 = two minutes.
	Life time.Duration

	// Decision is the record of who pays, DecisionHash its hash, Rule its rule
	// ([billing.RulePlatformAction] if empty), Draw is set if an agency does.
	Rule, DecisionHash string
	Decision           []byte
	Draw               *Draw
	Shards             int
}

// Charged is a charge that was made. Request names it in the ledger. Repeated
// says that an earlier call had finished it.
type Charged struct {
	Request  string
	Amount   Micro
	Repeated bool
}

// Authorized is an action that was reserved and not charged yet, in a form that
// can be stored. Ended says that an earlier call had finished it, either way.
type Authorized struct {
	Hold  Hold  `json:"hold"`
	Count int64 `json:"count"`
	Ended bool  `json:"ended,omitempty"`
}

// Charge charges an action of the platform, always to credits, once per
// idempotency key. It is a metered request whose cost is known before: reserved,
// so that it never goes beyond what is available, reported in the next write
// and settled like any other, with an entry and a usage row. The same call
// again finishes what an earlier one left, and is success. What costs nothing is
// recorded, too. Errors: price_missing for an action without a price;
// insufficient_credits; idempotency_conflict if the key was used for something
// else; invalid_request; ledger_unavailable, after which the same call may be
// repeated.
func (l *Ledger) Charge(ctx context.Context, c ChargeRequest) (Charged, error) {
	a, err := l.Authorize(ctx, c)
	if err != nil {
		return Charged{}, err
	}
	out := Charged{Request: a.Hold.Request, Amount: a.Hold.Amount, Repeated: a.Ended}
	if a.Ended {
		return out, nil
	}
	return out, l.Capture(ctx, a, c.Now)
}

// Authorize is the first half of [Ledger.Charge]: it reserves what the action
// costs, at the price of the first call with the key. What follows is one of
// [Ledger.Capture] and [Ledger.Release], of which the first wins; without either
// the sweep gives the hold back when its life ends. Errors: as Charge.
func (l *Ledger) Authorize(ctx context.Context, c ChargeRequest) (Authorized, error) {
	r, err := chargeReserve(c)
	if err != nil {
		return Authorized{}, err
	}
	h, err := l.Reserve(ctx, r)
	if err != nil {
		return l.authorized(ctx, r, c.Count, err)
	}
	return Authorized{Hold: h, Count: c.Count}, nil
}

// Capture charges an authorised action, once; a repeat is success. It may come
// after the hold has expired. Errors: conflict if it was released before,
// ledger_unavailable.
func (l *Ledger) Capture(ctx context.Context, a Authorized, now time.Time) error {
	return l.Used(ctx, a.Hold, Outcome{Usage: billing.Usage{Requests: a.Count, Source: billing.FromProvider}, Amount: a.Hold.Amount,
		Kind: Completed, Status: 200, At: now})
}

// Release gives an authorised action's hold back, uncharged. Errors: conflict if it
// was captured before, ledger_unavailable.
func (l *Ledger) Release(ctx context.Context, a Authorized, now time.Time) error {
	return l.Used(ctx, a.Hold, Outcome{Usage: billing.Usage{Source: billing.NoUsage}, Kind: Refused, At: now})
}

// chargeReserve prices an action and says what to reserve.
func chargeReserve(c ChargeRequest) (ReserveRequest, error) {
	const op = "credit.Charge"
	switch {
	case c.IdempotencyKey == "" || len(c.IdempotencyKey) > maxIdempotencyKey:
		return ReserveRequest{}, invalid(op, "idempotency_key", "an idempotency key of 1 to 256 characters is needed")
	case c.Action == "" || len(c.Action) > maxShortText:
		return ReserveRequest{}, invalid(op, "action", "an action has 1 to 64 characters")
	case c.Count < 1 || c.Count > MaxActions:
		return ReserveRequest{}, invalid(op, "count", "an action is charged 1 to 1,000,000 times at once")
	case c.Book == nil:
		return ReserveRequest{}, fault.New(fault.PriceMissing, op, "there is no price book")
	}
	if _, ok := c.Book.Lookup(ActionProvider, c.Action, billing.Request, 0); !ok {
		return ReserveRequest{}, fault.New(fault.PriceMissing, op, "this action has no price, ask the operator to add one")
	}
	amount, err := billing.Cost(c.Book, ActionProvider, c.Action, billing.Usage{Requests: c.Count, Source: billing.FromProvider})
	if err != nil {
		return ReserveRequest{}, err
	}
	if c.Life <= 0 {
		c.Life = chargeLife
	}
	if c.Rule == "" {
		c.Rule = billing.RulePlatformAction
	}
	return ReserveRequest{
		Org: c.Org, Request: "c_" + shortHash(c.Org, c.IdempotencyKey), Attempt: 1, Hold: amount, Draw: c.Draw, Shards: c.Shards,
		// A repeat is the same owner, so that it may go on where the first ended.
		// Nobody is called for a charge.
		Owner:       "c" + shortHash("owner", c.Org, c.IdempotencyKey, c.Action, strconv.FormatInt(c.Count, 10)),
		Fingerprint: sha256.Sum256([]byte(strconv.Itoa(len(c.Action)) + ":" + c.Action + strconv.FormatInt(c.Count, 10))),
		Now:         c.Now, Expires: c.Now.Add(c.Life), Provider: ActionProvider, Model: c.Action, Agent: c.Agent, Key: c.Key,
		Source: taxonomy.Platform, Rule: c.Rule, DecisionHash: c.DecisionHash, Decision: c.Decision, PriceVersion: c.Book.Version, Idempotent: true,
	}, nil
}

// authorized answers a charge that met an earlier one.
func (l *Ledger) authorized(ctx context.Context, r ReserveRequest, count int64, refusal error) (Authorized, error) {
	var met *Existing
	if !errors.As(refusal, &met) || fault.CodeOf(refusal) == fault.IdempotencyConflict {
		return Authorized{}, refusal
	}
	attempts, err := l.store.Request(ctx, r.Org, r.Request)
	if err != nil {
		return Authorized{}, err
	}
	first := attempts[0]
	// The first reserve fixed the price; a later book must not change it.
	h := Hold{Org: r.Org, Request: r.Request, Attempt: 1, Owner: r.Owner, Amount: first.Hold, Created: first.Created, Expires: first.Expires}
	if first.Agency != "" {
		h.Draw = &Draw{Agency: first.Agency}
	}
	// Expired: its caller died and the sweep gave the hold back; it is charged late.
	return Authorized{Hold: h, Count: count, Ended: first.State != Expired}, nil
}
