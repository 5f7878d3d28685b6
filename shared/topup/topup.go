// Package topup sells credits: a record is written, the customer pays at the
// payment vendor, and what the vendor says afterwards moves the ledger.
//
// [Service.Start] writes a pending [TopUp] and only then opens the vendor's
// checkout, so that nothing can be paid that has no record. [Service.Apply] takes
// a verified [Notice] of the vendor: a payment becomes one grant, a refund or a
// dispute takes from it ([credit.Ledger.Refund]), at most what was paid, and a
// dispute that was won gives that again.
//
// Guarantees: organisation and price come from our own record, never from the
// notice; the amount that was paid comes from the vendor's object. Everything is
// keyed by the business object (the top-up, the total refunded, the dispute), not
// by the notice, so notices may be repeated, reordered or concurrent: one grant,
// one balance step each. First the record is advanced by a conditional write,
// then the ledger is moved to what the record says by postings whose keys follow
// from the record; whoever dies between the two is repaired by the vendor's next
// delivery, because an error is answered until both have happened. A refund that
// arrives before its payment finds the grant made from the charge it names, a
// dispute waits in the record; the sums do not depend on the order.
//
// Limits: US dollars only, 5 to 10,000 a payment, one credit for one dollar;
// a refund that fails at the vendor after it was announced is not given back by
// itself (the vendor's totals cannot be ordered then): an operator adjusts.
package topup

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
)

// Currency is the one that credits are sold in.
const Currency = "usd"

// PerCent is how many micro-credits a cent buys: one credit costs one dollar.
const PerCent = 10_000

// Bounds of one payment, in micro-credits.
const (
	MinAmount billing.Micro = 5 * 1_000_000
	MaxAmount billing.Micro = 10_000 * 1_000_000
)

// State is where a top-up stands.
type State string

// States. Refunds and disputes do not change the state of what was paid.
const (
	Pending State = "pending"
	Paid    State = "paid"
	Failed  State = "failed" // for good: expired, or the bank refused it later
)

// Dispute is money that the customer's bank took back.
type Dispute struct {
	ID         string
	Cents      int64
	Reinstated bool // and gave again
}

// TopUp is one purchase of credits.
type TopUp struct {
	ID    string // ours
	Org   string
	State State
	// Cents is what was asked for, PaidCents what was paid, 0 before.
	Cents, PaidCents int64
	Session, Intent  string // the vendor's ids, empty until they are known
	// Refunded is the highest total refunded that was told, in cents.
	Refunded        int64
	Disputes        []Dispute
	Created, PaidAt time.Time
	// Terms is the commercial policy under which it was begun, as the payment
	// carries it.
	Terms map[string]string
	// Posted says that the ledger has all of this, so that a notice which tells
	// nothing new does not touch the balance.
	Posted bool
	// Rev counts the writes of the record.
	Rev int64
}

// Kind says what a notice tells.
type Kind string

// Kinds of notices. Everything else a vendor sends is Other.
const (
	PaidNotice       Kind = "paid"
	FailedNotice     Kind = "failed"
	RefundedNotice   Kind = "refunded"
	WithdrawnNotice  Kind = "withdrawn"
	ReinstatedNotice Kind = "reinstated"
	OtherNotice      Kind = "other"
)

// Notice is a verified message of the payment vendor, in our words.
type Notice struct {
	ID   string // of the message; for logs only
	Type string // the vendor's name of it; for logs only
	Kind Kind
	// TopUp is our id as the vendor repeats it. It is looked up, not believed.
	TopUp           string
	Session, Intent string
	Dispute         string
	// Cents was paid, or is disputed; Refunded is the total refunded so far.
	Cents, Refunded int64
	Currency        string
	// Customer and Method are the vendor's ids of payer and means of payment.
	Customer, Method string
}

// Outcome says what became of a notice.
type Outcome string

// Outcomes. All of them are final: the vendor need not send the notice again.
const (
	Applied Outcome = "applied"
	Ignored Outcome = "ignored"  // not about a payment of ours
	Refused Outcome = "mismatch" // contradicts the record; a person must look
)

// Store keeps top-ups; shared/dynamo implements it.
type Store interface {
	// CreateTopUp writes a new record and the audit row in one transaction.
	CreateTopUp(ctx context.Context, t TopUp, row audit.Row) error
	// TopUp reads a record consistently; not_found if there is none.
	TopUp(ctx context.Context, id string) (TopUp, error)
	// Owner is the id of the top-up that an object of the vendor belongs to;
	// not_found if none is known.
	Owner(ctx context.Context, object string) (string, error)
	// WriteTopUp replaces the record of revision t.Rev-1 and makes it the owner of
	// its session and intent; conflict if the record changed, or if one of them
	// belongs to another top-up.
	WriteTopUp(ctx context.Context, t TopUp) error
}

// Payer is how an organisation pays, in the vendor's ids. They are no secrets.
type Payer struct {
	Org              string
	Customer, Method string // empty until the first payment
	Rev              int64  // 0: never written
}

// PayerStore keeps payers; shared/dynamo implements it.
type PayerStore interface {
	// Payer reads consistently; an unknown one is zero.
	Payer(ctx context.Context, org string) (Payer, error)
	// WritePayer replaces the record of revision p.Rev-1; conflict if it changed.
	WritePayer(ctx context.Context, p Payer) error
}

// Checkout is what the vendor is asked to sell.
type Checkout struct {
	TopUp, Org string
	Cents      int64
	ReturnURL  string
	Customer   string // the vendor's, empty for a new one
	SaveMethod bool   // for payments while the customer is away
	Metadata   map[string]string
}

// Session is an open checkout.
type Session struct{ ID, URL string }

// Vendor is the payment vendor; shared/stripe implements it. Errors are fault
// codes without the vendor's text.
type Vendor interface {
	// Checkout opens a checkout; the same top-up gets the same one for a day.
	Checkout(ctx context.Context, c Checkout) (Session, error)
	// Portal opens the page where a customer sees invoices and means of payment.
	Portal(ctx context.Context, customer, returnURL string) (string, error)
	// IntentTopUp asks which top-up a payment belongs to, "" for none of ours.
	IntentTopUp(ctx context.Context, intent string) (string, error)
}

// Ledger is the part of [credit.Ledger] that is moved here.
type Ledger interface {
	Grant(ctx context.Context, g credit.GrantRequest) (credit.Posting, error)
	Refund(ctx context.Context, r credit.RefundRequest) (credit.Refunded, error)
	Reinstate(ctx context.Context, r credit.RefundRequest) (credit.Refunded, error)
}
