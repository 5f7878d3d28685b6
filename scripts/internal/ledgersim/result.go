package ledgersim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
)

// Result is what a run showed. Requests before the end of the warm-up count only
// in Overspend, Settled and the money.
type Result struct {
	Requests, Reserved int
	// FirstRefused are requests whose first try met another writer, GaveUp those
	// that were told ledger_unavailable, NoFunds insufficient_credits.
	FirstRefused, GaveUp, NoFunds int
	// P50 and P99 are how long a successful reserve took.
	P50, P99 time.Duration
	// Hottest is the most write units that a key of each sort took in a second.
	Hottest map[string]int
	// UnitsPerRequest are the write units of a request from reserve to settled,
	// those of refused tries included.
	UnitsPerRequest float64
	// Overspend is by how much credits were ever exceeded: 0, or the ledger is wrong.
	Overspend                     credit.Micro
	Settled, Poisoned, UsedFailed int
	// SettleLag is how long a record waited longest for settlement to begin.
	SettleLag time.Duration
	// InUse is the number of shards in use at the end, Throttled counts writes
	// refused for throughput.
	InUse, Throttled int
	// Reshapes changed the number of shards; failed ones are tried again seconds
	// later.
	Reshapes, ReshapesFailed int
	// Seconds tells the run by seconds, the warm-up included.
	Seconds []Second
}

// Second is one second of a run.
type Second struct{ Requests, FirstRefused, GaveUp, NoFunds, InUse int }

func (r *Result) see(began time.Duration, refused bool, err error, warm bool, inUse int) {
	at := int(began / time.Second)
	for len(r.Seconds) <= at {
		r.Seconds = append(r.Seconds, Second{})
	}
	s, c := &r.Seconds[at], Second{Requests: 1}
	if refused {
		c.FirstRefused = 1
	}
	switch {
	case err == nil:
	case fault.CodeOf(err) == fault.InsufficientCredits:
		c.NoFunds = 1
	default:
		c.GaveUp = 1
	}
	s.Requests++
	s.FirstRefused += c.FirstRefused
	s.GaveUp += c.GaveUp
	s.NoFunds += c.NoFunds
	s.InUse = inUse
	if warm {
		return
	}
	r.Requests++
	r.FirstRefused += c.FirstRefused
	r.GaveUp += c.GaveUp
	r.NoFunds += c.NoFunds
	if err == nil {
		r.Reserved++
	}
}

// Percent is a part of the requests.
func (r Result) Percent(n int) float64 {
	if r.Requests == 0 {
		return 0
	}
	return math.Round(1000*float64(n)/float64(r.Requests)) / 10
}

// Sustained says why a run does not show that the load is carried, nil if it
// does: nothing overspent or lost, nobody given up, nobody refused for funds, and
// 99 of 100 reserves within limit.
func (r Result) Sustained(limit time.Duration) error {
	switch {
	case r.Overspend > 0:
		return fmt.Errorf("credits were exceeded by %d", r.Overspend)
	case r.Poisoned > 0 || r.UsedFailed > 0:
		return fmt.Errorf("%d were not settled, the usage of %d was lost", r.Poisoned, r.UsedFailed)
	case r.Reserved == 0:
		return fmt.Errorf("nothing was reserved")
	case r.GaveUp > 0 || r.NoFunds > 0:
		return fmt.Errorf("of %d requests %d gave up and %d were refused for funds", r.Requests, r.GaveUp, r.NoFunds)
	case r.P99 > limit:
		return fmt.Errorf("99 of 100 reserves took up to %s", r.P99)
	}
	return nil
}

// reset forgets what the set-up counted.
func (e *engine) reset() {
	clear(e.loads)
	clear(e.calls)
	e.units, e.indexUnits, e.conflicts, e.throttled = 0, 0, 0, 0
}

// result adds up, and has the ledger add up its money.
func (m *sim) result() (Result, error) {
	r := m.r
	slices.Sort(m.times)
	if n := len(m.times); n > 0 {
		r.P50, r.P99 = m.times[n/2], m.times[min(n*99/100, n-1)]
	}
	r.Hottest = map[string]int{}
	for key, l := range m.e.loads {
		_, pk, _ := strings.Cut(key, " ")
		sort, _, _ := strings.Cut(pk, "#")
		r.Hottest[sort] = max(r.Hottest[sort], l.worst)
	}
	if m.next > 0 {
		r.UnitsPerRequest = math.Round(100*float64(m.e.units)/float64(m.next)) / 100
	}
	r.SettleLag, r.Throttled, r.InUse = m.lag, m.e.throttled, m.inUse(m.orgs[0])
	for _, org := range m.orgs {
		rep, err := m.ledger.Reconcile(context.Background(), org, m.c.time())
		if err != nil {
			return r, err
		}
		if !rep.OK {
			return r, fmt.Errorf("the ledger of %s does not add up: %+v", org, rep.Mismatches)
		}
	}
	return r, nil
}
