package credit

import (
	"context"
	"time"
)

// Result is what became of one element of a batch.
type Result string

// Results. Undecided means that nothing is known yet and the element must be
// delivered again; all others are final. The same batch delivered again within
// minutes may be answered Applied again: the database remembers the transaction
// and does not repeat it.
const (
	Applied   Result = "applied"
	Done      Result = "done" // had been applied before
	Poisoned  Result = "poison"
	Undecided Result = "undecided"
)

// Verdict is the result for one element. State is the attempt's final state,
// Reason says why something is poison.
type Verdict struct {
	Result Result
	State  State
	Reason string
}

// SettleReport tells what became of a batch.
type SettleReport struct {
	Verdicts                             []Verdict // one per element, in order
	Settled, Late, Released              int
	Done, Poisoned, Undecided, Projected int
}

// Settle ends USED attempts: for each, the hold is given back, the amount is
// posted, the entry is written and the state becomes final, all together, once.
// Any subset, order and repetition of attempts may be passed.
func (l *Ledger) Settle(ctx context.Context, used []Used, now time.Time) SettleReport {
	r := SettleReport{Verdicts: l.store.Settle(ctx, used, now)}
	for _, v := range r.Verdicts {
		switch v.Result {
		case Applied:
			switch v.State {
			case SettledLate:
				r.Late++
			case Released:
				r.Released++
			default:
				r.Settled++
			}
		case Done:
			r.Done++
		case Poisoned:
			r.Poisoned++
		default:
			r.Undecided++
		}
	}
	return r
}

// Project adds entries of requests to the usage rows, each at most once. Entries of
// other kinds are not usage and count as done.
func (l *Ledger) Project(ctx context.Context, entries []Entry, now time.Time) SettleReport {
	r := SettleReport{Verdicts: l.store.Project(ctx, entries, now)}
	for _, v := range r.Verdicts {
		switch v.Result {
		case Applied:
			r.Projected++
		case Done:
			r.Done++
		case Poisoned:
			r.Poisoned++
		default:
			r.Undecided++
		}
	}
	return r
}

// ChangeKind says what a change of the table means to settlement.
type ChangeKind int

// Change kinds.
const (
	ChangeOther ChangeKind = iota
	ChangeUsed             // an attempt became USED
	ChangeEntry            // an entry was written
)

// Change is one change of the ledger table.
type Change struct {
	Kind   ChangeKind
	PK, SK string
	Used   Used
	Entry  Entry
}
