// Package credit is the ledger: who has how many credits, which of them are
// reserved for running calls, and what every finished call cost.
//
// One attempt of one request goes HELD or DISPATCHED -> USED -> SETTLED. The
// caller reserves and marks the attempt dispatched in one transaction
// ([Ledger.Reserve]), calls the vendor only if that transaction was its own, and
// writes what was used as its last act ([Ledger.Used]). It never touches the
// balance again: the stream of the table brings USED attempts to
// [Ledger.Settle], which writes entries and moves balances, many attempts in one
// transaction. [Ledger.Sweep] ends what a crash left open: overdue holds become
// EXPIRED, or USED at their last checkpoint, and USED attempts that the stream
// lost are settled. Usage that arrives after expiry is still recorded
// (SETTLED_LATE); it may take the available credits below zero.
//
// Guarantees, each checked by the suite in ledgertest: available = posted - held
// + line; posted = sum of the entries; held = sum of the open holds; an attempt
// has at most one usage entry and at most one caller; a repeated, reordered or
// interrupted step has no further effect; a poisoned attempt never holds up
// another. Every amount is an integer of micro-credits within
// [billing.MaxAmount].
//
// A busy organisation's balance has up to 128 shards ([WantedShards], measured and
// changed by settlement within seconds, by the sweep where little is settled).
// Credit moves between them through an attribute that sums to 0, so that callers,
// who bring it together where no shard has enough, never touch posted. A
// reservation is refused for funds only after all shards were read and what is
// posted less what is held on them was too little, twice with no write in between
// or, where writes never pause, three times: of any number of parallel requests as
// many pass as there is credit for, with any number of shards; one that kept
// losing races is ledger_unavailable, never insufficient_credits.
//
// Months are closed by the sweep ([Ledger.CloseMonths]): what an organisation had at
// the beginning of a month is kept, so that whoever adds up reads one month, and a
// closed month takes no entry: usage that settles later is charged then.
//
// Limits: one shard takes about 10 requests per second in comfort. A shard that
// settlement or a clawback took below zero is a debt that is paid from the others
// right after; what they reserve in the moment between is reserved too much. From the end of a grant until the sweep has folded it,
// a minute at most, nothing new is reserved; a call that dies
// between the vendor's answer and its Used write is billed at its last
// checkpoint, or not at all.
package credit

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Micro is an amount in micro-credits.
type Micro = billing.Micro

// State is where an attempt stands.
type State string

// States. SETTLED, SETTLED_LATE and RELEASED are final; EXPIRED changes only to
// USED, by usage that arrives late.
const (
	Held        State = "HELD"
	Dispatched  State = "DISPATCHED"
	UsedState   State = "USED"
	Settled     State = "SETTLED"
	SettledLate State = "SETTLED_LATE"
	Released    State = "RELEASED"
	Expired     State = "EXPIRED"
)

// Final reports whether the state never changes again.
func (s State) Final() bool { return s == Settled || s == SettledLate || s == Released }

// OutcomeKind says how a call ended.
type OutcomeKind string

// Outcome kinds. Refused means that the vendor definitely did no work: nothing
// is charged and no entry is written. Partial means that the answer was cut.
const (
	Completed OutcomeKind = "completed"
	Refused   OutcomeKind = "refused"
	Partial   OutcomeKind = "partial"
)

// EntryKind says why credits moved.
type EntryKind string

// Entry kinds. A fee is what a call on the organisation's own key or endpoint costs,
// beside its usage entry, whose amount is 0. Expiry takes what was left of a grant at
// its end.
const (
	UsageEntry      EntryKind = "usage"
	FeeEntry        EntryKind = "fee"
	GrantEntry      EntryKind = "grant"
	AdjustmentEntry EntryKind = "adjustment"
	ExpiryEntry     EntryKind = "expiry"
)

// OfRequest reports whether entries of the kind are made by a request, and so count
// in the usage.
func (k EntryKind) OfRequest() bool { return k == UsageEntry || k == FeeEntry }

// Accounts of the legs of an entry. The organisation's side is one pool;
// how much of it is left per grant is computed by [Fold].
const (
	AccountOrg        = "org:credits"
	AccountRevenue    = "revenue:usage"
	AccountFee        = "revenue:fee"
	AccountAdjustment = "adjustment"
	AccountBreakage   = "breakage"
	AccountRefund     = "refund"
	// What credits would have paid while the legacy counter did.
	AccountShadow        = "shadow:credits"
	AccountShadowRevenue = "shadow:revenue"
	accountGrant         = "grant:"
)

// Leg is one side of an entry. The legs of an entry sum to 0.
type Leg struct {
	Account string
	Amount  Micro
}

// Entry is one immutable line of the ledger. Amount is what it adds to the
// organisation's balance: negative for usage.
type Entry struct {
	ID      string
	Org     string
	Kind    EntryKind
	At      time.Time
	Amount  Micro
	Legs    []Leg
	Request string // request id, or the grant or adjustment id
	Attempt int    // 0 for grants and adjustments

	Source       taxonomy.BillingSource
	PriceVersion string
	Provider     string
	Model        string
	Connection   string
	Agent        string
	Key          string
	Usage        billing.Usage
	Estimated    bool
	Late         bool

	// Client is set on the entry of an agency that paid for a client's request.
	// The client's own entry of that request has Agency and what it Paid, and moves
	// nothing.
	Client string
	Agency string
	Paid   Micro
	// UsedAt is when usage was reported whose month was closed before it was
	// settled: the entry belongs to the month in which it is written. Zero
	// otherwise.
	UsedAt time.Time
	// Stamp says who paid. Where the legacy counter did, Amount is 0 and Tokens is
	// what was counted there.
	Stamp  Stamp
	Tokens int64
}

// NotBefore moves a usage entry to the time it is written if its own month is
// closed; closed is the beginning of the first month that takes entries.
func (e Entry) NotBefore(closed, now time.Time) Entry {
	if e.At.Before(closed) {
		e.UsedAt = e.At
		if e.At = now; now.Before(closed) { // a clock that lags
			e.At = closed
		}
	}
	return e
}

// EntryID is the id of the one entry of a kind of an attempt; it is unique over
// all organisations.
func EntryID(org, request string, attempt int, kind EntryKind) string {
	return "e_" + shortHash(org, request, strconv.Itoa(attempt), string(kind))
}

// shortHash is 20 characters over unambiguous parts.
func shortHash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write(strconv.AppendInt(nil, int64(len(p)), 10))
		_, _ = h.Write([]byte(":" + p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15])
}

// Used is an attempt whose caller has reported what was used: what settlement
// needs, as stored on the request.
type Used struct {
	Org, Request string
	Attempt      int
	Shard        int
	Hold, Amount Micro
	// Expired says that the hold was given back before the usage arrived.
	Expired   bool
	Kind      OutcomeKind
	Usage     billing.Usage
	Estimated bool
	// At is when the usage was reported; it is part of the entry's key.
	At time.Time
	// Free is the allowance, in requests, of the month of Created, which is when the
	// attempt was reserved: the amount, which is a fee, is not charged while fewer were
	// counted. Waived says that it was not.
	Free    int64
	Created time.Time
	Waived  bool

	Source       taxonomy.BillingSource
	PriceVersion string
	Provider     string
	Model        string
	Connection   string
	Agent        string
	Key          string

	// Agency pays, if set; Day is where the draw counts.
	Agency, Day string
	// Stamp says who pays.
	Stamp Stamp
}

// Final is the state in which settlement leaves the attempt.
func (u Used) Final() State {
	switch {
	case u.Kind == Refused:
		return Released
	case u.Expired:
		return SettledLate
	}
	return Settled
}

// MovesBalance reports whether settling changes the balance: its credits, or the
// tokens it counts of an organisation that has left its legacy counter.
func (u Used) MovesBalance() bool {
	return !u.Stamp.Legacy() && (u.Hold != 0 || u.Amount != 0 || u.Stamp.Epoch > 0 && u.Tokens() > 0)
}

// Own reports whether the call was made on the organisation's own key or endpoint,
// so that its amount is a fee.
func (u Used) Own() bool { return u.Source == taxonomy.BYOK || u.Source == taxonomy.Private }

// Counts reports whether the attempt takes from the free allowance of its month,
// while there is any.
func (u Used) Counts() bool { return u.Free > 0 && u.Kind != Refused && !u.Stamp.Legacy() }

// Charge is what settling takes from the organisation.
func (u Used) Charge() Micro {
	if u.Waived || u.Stamp.Legacy() {
		return 0
	}
	return u.Amount
}

// Entry is the usage entry of the attempt; ok is false for a refused call, which
// has none. It moves nothing where an agency pays: see [Used.AgencyEntry].
func (u Used) Entry() (e Entry, ok bool) {
	amount := u.Amount
	if u.Own() {
		amount = 0
	}
	e = u.entry(UsageEntry, AccountRevenue, amount)
	e.Usage = u.Usage
	if u.Agency != "" {
		e.Amount, e.Legs, e.Agency, e.Paid = 0, nil, u.Agency, u.Amount
	}
	if u.Stamp.Legacy() {
		e.Amount, e.Legs, e.Tokens = 0, u.legs(), u.Tokens()
	}
	return e, u.Kind != Refused
}

// FeeEntry is the entry of the fee; ok is false if none is charged.
func (u Used) FeeEntry() (e Entry, ok bool) {
	return u.entry(FeeEntry, AccountFee, u.Charge()), u.Own() && u.Kind != Refused && u.Charge() > 0
}

func (u Used) entry(kind EntryKind, to string, amount Micro) Entry {
	return Entry{
		ID: EntryID(u.Org, u.Request, u.Attempt, kind), Org: u.Org, Kind: kind, At: u.At, Amount: -amount,
		Legs:    []Leg{{AccountOrg, -amount}, {to, amount}},
		Request: u.Request, Attempt: u.Attempt, Source: u.Source, PriceVersion: u.PriceVersion,
		Provider: u.Provider, Model: u.Model, Connection: u.Connection, Agent: u.Agent, Key: u.Key,
		Estimated: u.Estimated, Late: u.Expired, Stamp: u.Stamp,
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
