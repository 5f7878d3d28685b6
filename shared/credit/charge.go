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
	// chargeLife is how long a charge whose caller died keeps its hold.
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
}

// Charged is a charge that was made. Request names it in the ledger. Repeated
// says that an earlier call had finished it.
type Charged struct {
	Request  string
	Amount   Micro
	Repeated bool
}

// Charge charges an action of the platform, always to its credits, once per
// idempotency key. It is a metered request whose cost is known before: reserved,
// so that it never goes beyond what is available, reported in the next write
// and settled like any other, with an entry and a usage row. The same call
// again finishes what an earlier one left, and is success. What costs nothing is
// recorded, too. Errors: price_missing for an action without a price;
// insufficient_credits; idempotency_conflict if the key was used for something
// else; invalid_request; ledger_unavailable, after which the same call may be
// repeated.
func (l *Ledger) Charge(ctx context.Context, c ChargeRequest) (Charged, error) {
	const op = "credit.Charge"
	switch {
	case c.IdempotencyKey == "" || len(c.IdempotencyKey) > maxIdempotencyKey:
		return Charged{}, invalid(op, "idempotency_key", "an idempotency key of 1 to 256 characters is needed")
	case c.Action == "" || len(c.Action) > maxShortText:
		return Charged{}, invalid(op, "action", "an action has 1 to 64 characters")
	case c.Count < 1 || c.Count > MaxActions:
		return Charged{}, invalid(op, "count", "an action is charged 1 to 1,000,000 times at once")
	case c.Book == nil:
		return Charged{}, fault.New(fault.PriceMissing, op, "there is no price book")
	}
	if _, ok := c.Book.Lookup(ActionProvider, c.Action, billing.Request, 0); !ok {
		return Charged{}, fault.New(fault.PriceMissing, op, "this action has no price, ask the operator to add one")
	}
	usage := billing.Usage{Requests: c.Count, Source: billing.FromProvider}
	amount, err := billing.Cost(c.Book, ActionProvider, c.Action, usage)
	if err != nil {
		return Charged{}, err
	}
	r := ReserveRequest{
		Org: c.Org, Request: "c_" + shortHash(c.Org, c.IdempotencyKey), Attempt: 1, Hold: amount,
		// A repeat is the same owner, so that it may go on where the first ended.
		// Nobody is called for a charge.
		Owner:       "c" + shortHash("owner", c.Org, c.IdempotencyKey, c.Action, strconv.FormatInt(c.Count, 10)),
		Fingerprint: sha256.Sum256([]byte(strconv.Itoa(len(c.Action)) + ":" + c.Action + strconv.FormatInt(c.Count, 10))),
		Now:         c.Now, Expires: c.Now.Add(chargeLife), Provider: ActionProvider, Model: c.Action, Agent: c.Agent, Key: c.Key,
		Source: taxonomy.Platform, Rule: billing.RulePlatformAction, PriceVersion: c.Book.Version, Idempotent: true,
	}
	out := Charged{Request: r.Request, Amount: amount}
	h, err := l.Reserve(ctx, r)
	if err != nil {
		return l.charged(ctx, r, usage, err)
	}
	// The first reserve fixed the price; a later book must not change it.
	out.Amount = h.Amount
	return out, l.Used(ctx, h, chargeOutcome(usage, h.Amount, c.Now))
}

// charged answers a charge that met an earlier one.
func (l *Ledger) charged(ctx context.Context, r ReserveRequest, usage billing.Usage, refusal error) (Charged, error) {
	var met *Existing
	if !errors.As(refusal, &met) || fault.CodeOf(refusal) == fault.IdempotencyConflict {
		return Charged{}, refusal
	}
	attempts, err := l.store.Request(ctx, r.Org, r.Request)
	if err != nil {
		return Charged{}, err
	}
	first := attempts[0]
	out := Charged{Request: r.Request, Amount: first.Hold, Repeated: true}
	if first.State == Expired {
		// Its caller died and the sweep gave the hold back: it is charged late.
		h := Hold{Org: r.Org, Request: r.Request, Attempt: 1, Owner: r.Owner, Created: first.Created, Expires: first.Expires}
		return out, l.Used(ctx, h, chargeOutcome(usage, first.Hold, r.Now))
	}
	return out, nil
}

func chargeOutcome(u billing.Usage, amount Micro, now time.Time) Outcome {
	return Outcome{Usage: u, Amount: amount, Kind: Completed, Status: 200, At: now}
}
