package credit

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
)

// HoldStore is the callers' side of the table.
type HoldStore interface {
	Reserve(ctx context.Context, r ReserveRequest) (Hold, error)
	Extend(ctx context.Context, h Hold, delta Micro, now time.Time) (Hold, error)
	Checkpoint(ctx context.Context, h Hold, u billing.Usage, amount Micro) error
	Used(ctx context.Context, h Hold, o Outcome) error
	// FreeUsed is how many requests of a month the free allowance took.
	FreeUsed(ctx context.Context, org string, month time.Time) (int64, error)
}

// SettleStore is what settlement writes.
type SettleStore interface {
	// Settle ends USED attempts, several of one balance shard per transaction.
	// There is one verdict per element, in order.
	Settle(ctx context.Context, used []Used, now time.Time) []Verdict
	// Project adds entries to the usage rows, once each, one verdict per element, and
	// marks them as seen, also those that are not usage.
	Project(ctx context.Context, entries []Entry, now time.Time) []Verdict
	// Unseen are those of the entries that nobody has projected.
	Unseen(ctx context.Context, entries []Entry) ([]Entry, error)
	// LookSooner brings forward when the sweep looks at an organisation the next
	// time, if that is later than at.
	LookSooner(ctx context.Context, org string, at time.Time) error
	PoisonStore
}

// PoisonStore keeps what cannot be processed.
type PoisonStore interface {
	// Poison records something that cannot be processed, or that it still cannot.
	Poison(ctx context.Context, p Poison) error
	// Poisoned lists what is recorded, a thousand at most.
	Poisoned(ctx context.Context) ([]Poison, error)
	// Reread reads the item that a record is about, as it is stored now.
	Reread(ctx context.Context, p Poison) (Reread, error)
	// Heal forgets a record.
	Heal(ctx context.Context, p Poison) error
	PoisonDesk
}

// PoisonDesk is what people do about poison.
type PoisonDesk interface {
	// Dismiss stores that a record was dismissed, with the audit row, in one
	// transaction. Errors: not_found, conflict if it was dismissed before.
	Dismiss(ctx context.Context, p Poison, row audit.Row) error
	// Retry makes the next sweep try a record again.
	Retry(ctx context.Context, p Poison) error
}

// SweepStore is what ends abandoned attempts and months.
type SweepStore interface {
	CloseStore
	// Open returns open attempts of an index partition, oldest expiry first, as
	// they are stored now, and the cursor of the next page, "" at the end.
	Open(ctx context.Context, bucket, cursor string, limit int) ([]Open, string, error)
	// Expire gives back an overdue hold and notes that a call that may have been made
	// was not billed. ok is false if the attempt changed; the
	// error may be a [HoldRefused].
	Expire(ctx context.Context, o Open, now time.Time) (ok bool, err error)
	// Unbilled lists the attempts that ended in a month without usage, with the state
	// they are in now, oldest first, up to limit.
	Unbilled(ctx context.Context, month time.Time, limit int) ([]UnbilledCall, error)
	// UseCheckpoint marks an overdue attempt USED at its checkpoint, estimated.
	UseCheckpoint(ctx context.Context, o Open, now time.Time) (u Used, ok bool, err error)
}

// GrantStore keeps what is posted.
type GrantStore interface {
	ExpiryStore
	// Post writes grant, entry, balance and, if there is one, the audit row in
	// one transaction; a posting with the same id and values was made before and
	// is returned, without another row. A posting that asks for a number that is
	// taken is a conflict.
	Post(ctx context.Context, p Posting, row *audit.Row) (Posting, error)
	// Postings lists grants and adjustments, consistently.
	Postings(ctx context.Context, org string) ([]Posting, error)
}

// ShardStore changes the shards of a balance.
type ShardStore interface {
	// Split adds shards up to n with their part of home's credit and keeps the
	// measurement, in one transaction; conflict if somebody else measured or the
	// shards changed since a was read.
	Split(ctx context.Context, a Account, n int, load Load) error
	// Measure keeps a measurement; false if somebody else measured since a was read.
	Measure(ctx context.Context, a Account, load Load) (bool, error)
	// Spread moves available credit as [Moves] says, in transactions that sum to 0.
	// What changed meanwhile stays where it is, without an error.
	Spread(ctx context.Context, a Account, use int) error
	// Publish tells callers how many shards to use.
	Publish(ctx context.Context, org string, inUse int) error
}

// AccountStore keeps balances and grants.
type AccountStore interface {
	GrantStore
	ShardStore
	// OpenAccount creates the balance in mode credit if it does not exist.
	OpenAccount(ctx context.Context, org string, now time.Time) error
	// Account reads all shards of the balance; not_found if there is none.
	Account(ctx context.Context, org string) (Account, error)
	// SetLine sets how far below zero an organisation may go and moves what is
	// available with it, with the audit row, in one transaction.
	SetLine(ctx context.Context, org string, line Micro, row audit.Row) error
}

// ReadStore answers questions.
type ReadStore interface {
	// Month returns up to limit entries of a month with a sort key below before
	// (all if empty), newest first.
	Month(ctx context.Context, org string, month time.Time, before string, limit int) ([]Entry, error)
	// Journal returns up to limit entries of one of the partitions of a month, by
	// sort key, above after.
	Journal(ctx context.Context, org string, month time.Time, bucket int, after string, limit int) ([]Entry, error)
	// Holds lists the open attempts of an organisation.
	Holds(ctx context.Context, org string) ([]Open, error)
	// Request reads all attempts of a request; not_found if there is none.
	Request(ctx context.Context, org, id string) ([]Attempt, error)
	// Usage lists the usage rows of the days from..to (YYYY-MM-DD, inclusive).
	Usage(ctx context.Context, org, from, to string) ([]UsageRow, error)
}

// Store is the ledger's storage; shared/dynamo implements it.
type Store interface {
	HoldStore
	SettleStore
	SweepStore
	AccountStore
	ReadStore
}

// Ledger is the one way to the credits. Safe for concurrent use.
type Ledger struct {
	store Store
	wait  func(context.Context, time.Duration) error
	tell  func(context.Context, []Entry, time.Time) error
}

// Options tune a [Ledger].
type Options struct {
	// Wait pauses between the re-checks of a reconcile; a timer if nil.
	Wait func(context.Context, time.Duration) error
	// Tell tells the outside of entries that the stream has not brought to whoever
	// does so otherwise, before they are projected. Entries that could not be told are
	// tried again later. Nobody is told if nil.
	Tell func(ctx context.Context, entries []Entry, now time.Time) error
}

// New returns a ledger over a store.
func New(store Store, o Options) *Ledger {
	if o.Wait == nil {
		o.Wait = wait
	}
	if o.Tell == nil {
		o.Tell = func(context.Context, []Entry, time.Time) error { return nil }
	}
	return &Ledger{store: store, wait: o.Wait, tell: o.Tell}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
