package credit

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

// UnbilledCall is an attempt that ended without usage although its vendor may have
// been called.
type UnbilledCall struct {
	Org, Request string
	Attempt      int
	At           time.Time // when its hold was given back
	Hold         Micro     // what it held, which is what it cost at most
	State        State     // that it is in now: usage may have come late
	Provider     string
	Source       taxonomy.BillingSource
}

// UnbilledReport is what a month left unbilled.
type UnbilledReport struct {
	Calls  []UnbilledCall // still unbilled, oldest first
	AtMost Micro          // the sum of what they held
	Late   int            // whose usage came after all
	Cut    bool           // there are more than the report holds
}

// maxUnbilled bounds one report.
const maxUnbilled = 10_000

// Unbilled reports the calls that ended in a month and were not billed: whoever
// made them died between the vendor and the ledger. Whether the vendor answered, or
// was called at all, is not known; figures are upper bounds. Errors:
// ledger_unavailable.
func (l *Ledger) Unbilled(ctx context.Context, at time.Time) (UnbilledReport, error) {
	calls, err := l.store.Unbilled(ctx, month(at), maxUnbilled)
	r := UnbilledReport{Cut: len(calls) == maxUnbilled}
	for _, c := range calls {
		if c.State != Expired {
			r.Late++
			continue
		}
		r.Calls = append(r.Calls, c)
		r.AtMost += c.Hold
	}
	return r, err
}
