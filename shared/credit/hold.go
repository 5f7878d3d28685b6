package credit

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// ReserveRequest asks for credits for one attempt of one request.
type ReserveRequest struct {
	Org, Request string
	Attempt      int // from 1
	// Owner is random per invocation. Only the owner whose transaction succeeded
	// may call the vendor.
	Owner string
	// Hold is 0 for byok and private, unless a fee is due and held: then no balance
	// is touched.
	Hold Micro
	// Draw is set if the organisation's agency pays.
	Draw *Draw
	// Fee is what the call costs on the organisation's own key or endpoint.
	Fee billing.Fee
	// Fingerprint is a hash of the canonical request, compared when the same
	// request id comes again.
	Fingerprint [32]byte
	Expires     time.Time
	Now         time.Time

	Provider, Model, Connection, Agent, Key string

	Source                           taxonomy.BillingSource
	Rule, DecisionHash, PriceVersion string
	// Decision is the canonical form of the decision's inputs, kept beside the
	// request.
	Decision []byte
	// Stamp is who pays, as far as the caller knows.
	Stamp Stamp
	// Shards is how many balance shards callers were told to use; 0 and 1 mean
	// one. It is a hint: credit on all others is found, too.
	Shards int
	// Idempotent says that the request id was derived from a client's
	// idempotency key, so that meeting it again is the client's doing.
	Idempotent bool
	// Limits are what this attempt counts against the limits of its key and its
	// organisation, written together with the hold. They may be written by a state
	// that is newer than the one they have seen.
	Limits []limit.Claim
}

// Hold is a successful reserve: the right to call the vendor, once.
type Hold struct {
	Org, Request string
	Attempt      int
	Owner        string
	Amount       Micro
	Shard        int
	Created      time.Time
	Expires      time.Time
	// Draw is set if an agency pays.
	Draw *Draw `json:",omitempty"`
	// Unmetered says that the call costs nothing: it is made on the organisation's own
	// key or endpoint, and no fee is due.
	Unmetered bool
	// Stamp says who pays. Where the legacy counter does, Amount only says what was
	// agreed to: no credits are held.
	Stamp Stamp
}

// Outcome is what a caller reports when its call has ended.
type Outcome struct {
	Usage  billing.Usage
	Amount Micro
	Kind   OutcomeKind
	// Estimated says that the usage is our estimate, not the vendor's figure.
	Estimated         bool
	ProviderRequestID string
	Status            int // HTTP status of the vendor, 0 if none
	Reason            string
	// At is now; it is stored and becomes the time of the entry.
	At time.Time
}

// Existing is the cause of the error of a [Ledger.Reserve] that met an attempt
// of another owner. Find it with errors.As.
type Existing struct {
	Request string
	Attempt int // the latest attempt
	State   State
	Kind    OutcomeKind // how it ended, empty while it runs
	Created time.Time   // of the first attempt
}

// Error names the state only; the request id is on the fault.
func (e *Existing) Error() string { return "credit: request exists in state " + string(e.State) }

// Bounds of a reserve.
const (
	MaxAttempts    = 99
	maxHoldLife    = 24 * time.Hour
	maxOwner       = 32
	maxModel       = 200
	maxShortText   = 64
	maxDecision    = 4096
	maxProviderRID = 64
)

// Reserve takes the hold and marks the attempt dispatched, in one transaction.
// On success the caller, and nobody else, calls the vendor. An outcome that
// stayed unknown is resolved inside: by the same token, then by reading the
// attempt and comparing the owner.
//
// Errors: insufficient_credits, also for a cap of a [Draw]; ledger_unavailable with
// an [agency.Changed] as cause for a draw by an offer that does not apply;
// rate_limited, with a [limit.Refusal] as cause;
// billing_denied for an organisation that is not
// on the credit ledger; for a request that exists already idempotency_conflict
// (another fingerprint), idempotency_in_progress or idempotency_completed, each
// with an [Existing] as cause, or conflict if the id is not a client's key;
// invalid_request; ledger_unavailable, after which the vendor must not be called.
func (l *Ledger) Reserve(ctx context.Context, r ReserveRequest) (Hold, error) {
	if err := checkReserve(r); err != nil {
		return Hold{}, err
	}
	return l.store.Reserve(ctx, r)
}

// Pick is the n-th balance shard that a caller tries, of shards in use: random
// per owner, and never the same twice in a row.
func Pick(owner string, attempt, n, shards int) int {
	if shards <= 1 {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(owner))
	_, _ = h.Write([]byte{byte(attempt)})
	return int((uint64(h.Sum32()) + uint64(n)*uint64(shards/2|1)) % uint64(shards))
}

// Extend raises a running hold by delta and returns the new one, on its own
// shard, with what the others have. A hold that an earlier call raised, whose end
// was not known, is returned as it is then. Errors: insufficient_credits, after
// which the old hold stands; conflict if the hold is not running any more;
// billing_denied for an organisation that has left the credit ledger;
// ledger_unavailable, also between the end of a grant and its folding, after which
// the hold may have either size, the old one must be assumed and the same call may
// be repeated.
func (l *Ledger) Extend(ctx context.Context, h Hold, delta Micro, now time.Time) (Hold, error) {
	if delta <= 0 || h.Amount <= 0 || delta > billing.MaxAmount-h.Amount {
		return Hold{}, invalid("credit.Extend", "delta", "a hold can only be extended by a positive amount within bounds")
	}
	if h.Stamp.Legacy() { // holds no credits
		h.Amount += delta
		return h, nil
	}
	return l.store.Extend(ctx, h, delta, now)
}

// Checkpoint stores what a running call has used so far. If the caller dies the
// attempt is charged amount, marked estimated. Amounts must not fall. Errors:
// conflict if the hold is not running any more or another owner's;
// ledger_unavailable.
func (l *Ledger) Checkpoint(ctx context.Context, h Hold, u billing.Usage, amount Micro) error {
	if err := checkUsage("credit.Checkpoint", u, amount, h); err != nil {
		return err
	}
	return l.store.Checkpoint(ctx, h, u, amount)
}

// Used is the caller's last write: it ends the attempt. It succeeds once; the
// same outcome again, after an answer was lost, is success, too. The caller
// passes a context that outlives its client. Errors: conflict if another outcome
// was recorded before (the first one wins) or the attempt is another owner's;
// ledger_unavailable, after which the attempt ends at its last checkpoint.
func (l *Ledger) Used(ctx context.Context, h Hold, o Outcome) error {
	const op = "credit.Used"
	if err := checkUsage(op, o.Usage, o.Amount, h); err != nil {
		return err
	}
	switch o.Kind {
	case Completed, Partial:
	case Refused:
		if o.Amount != 0 {
			return invalid(op, "amount", "a refused call costs nothing")
		}
	default:
		return invalid(op, "kind", "unknown outcome")
	}
	if o.At.IsZero() {
		return invalid(op, "at", "the outcome has no time")
	}
	// The month of an entry must lie within the life of the account; clocks of
	// two functions may differ.
	if o.At.Before(h.Created) {
		o.At = h.Created
	}
	// Free text of a vendor may be long; an attempt stays under 1 KB.
	o.ProviderRequestID = clip(o.ProviderRequestID, maxProviderRID)
	o.Reason = clip(o.Reason, maxShortText)
	return l.store.Used(ctx, h, o)
}

func checkReserve(r ReserveRequest) error {
	const op = "credit.Reserve"
	for _, id := range [...]struct {
		name, value string
		optional    bool
	}{{"org", r.Org, false}, {"request", r.Request, false}, {"connection", r.Connection, true}, {"agent", r.Agent, true}, {"key", r.Key, true}} {
		if !table.ValidID(id.value) && (!id.optional || id.value != "") {
			return invalid(op, id.name, "an id must match ^[A-Za-z0-9_-]{1,64}$")
		}
	}
	if err := r.Draw.check(op, r.Org); err != nil {
		return err
	}
	switch {
	case r.Attempt < 1 || r.Attempt > MaxAttempts:
		return invalid(op, "attempt", "attempts count from 1 to 99")
	case r.Owner == "" || len(r.Owner) > maxOwner:
		return invalid(op, "owner", "an owner has 1 to 32 characters")
	case r.Hold < 0 || r.Hold > billing.MaxAmount:
		return invalid(op, "hold", "the amount is out of range")
	case r.Now.IsZero() || !r.Expires.After(r.Now) || r.Expires.Sub(r.Now) > maxHoldLife:
		return invalid(op, "expires", "a hold must end within 24 hours")
	case r.Shards < 0 || r.Shards > MaxShards:
		return invalid(op, "shards", "a balance has at most 128 shards")
	case r.Provider == "" || len(r.Provider) > maxShortText || len(r.Model) > maxModel:
		return invalid(op, "model", "provider or model is missing or too long")
	case len(r.Rule) > maxShortText || len(r.DecisionHash) > maxShortText || len(r.PriceVersion) > maxShortText || len(r.Decision) > maxDecision:
		return invalid(op, "decision", "the decision record is too long")
	}
	switch r.Source {
	case taxonomy.Platform:
		if r.Fee.Due() {
			return invalid(op, "fee", "a call on platform credits has no fee")
		}
	case taxonomy.BYOK, taxonomy.Private:
		if r.Hold != 0 && !r.Fee.Due() {
			return invalid(op, "hold", "a call on the organisation's own key holds no credits, unless a fee is due")
		}
		if r.Fee.Free < 0 {
			return invalid(op, "fee", "an allowance is not negative")
		}
	default:
		return invalid(op, "source", "unknown billing source")
	}
	return nil
}

func checkUsage(op string, u billing.Usage, amount Micro, h Hold) error {
	if h.Unmetered && amount != 0 {
		return invalid(op, "amount", "a call on the organisation's own key without a fee costs nothing")
	}
	if amount < 0 || amount > billing.MaxAmount {
		return invalid(op, "amount", "the amount is out of range")
	}
	return u.Check()
}

func invalid(op, param, message string) error {
	return fault.New(fault.InvalidRequest, op, message).WithParam(param)
}

// clip shortens to at most n bytes and drops what is not printable ASCII.
func clip(s string, n int) string {
	b := make([]byte, 0, min(len(s), n))
	for i := 0; i < len(s) && len(b) < n; i++ {
		if s[i] >= 0x20 && s[i] < 0x7f {
			b = append(b, s[i])
		}
	}
	return string(b)
}
