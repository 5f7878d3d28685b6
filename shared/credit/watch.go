package credit

import "time"

const (
	// watchMin is how many attempts of an organisation make an environment of
	// settlement look at its load. It sees one shard of the stream, so that is far
	// below what a balance takes.
	watchMin = 4
	// watchOrgs bounds what is remembered.
	watchOrgs = 10_000
)

// LoadWatch tells settlement which organisations to look at ([Ledger.Reshape]):
// those whose credits several attempts that came by had held, each once per shardPause. A load that
// grows within seconds cannot wait for the sweep, which comes once a minute. It
// remembers what was measured, so that looking writes nothing. The zero value is
// ready; an environment has one. Not safe for concurrent use.
type LoadWatch struct{ orgs map[string]*watched }

type watched struct {
	n       int
	largest Micro
	since   time.Time
	next    time.Time
	before  Load
}

// Busy is an organisation to look at, with the largest hold that was seen and what
// the same observer measured before, zero if nothing.
type Busy struct {
	Org         string
	LargestHold Micro
	Before      Load
}

// Saw notes attempts that were settled at a time and returns whom to look at now.
func (w *LoadWatch) Saw(used []Used, now time.Time) (due []Busy) {
	if w.orgs == nil || len(w.orgs) > watchOrgs {
		w.orgs = map[string]*watched{}
	}
	for _, u := range used {
		if u.Hold == 0 {
			continue // moves no balance, or came after its hold had ended
		}
		o := w.orgs[u.Payer()]
		if o == nil {
			o = &watched{since: now}
			w.orgs[u.Payer()] = o
		}
		if now.Sub(o.since) > 2*shardPause { // a trickle never adds up
			o.n, o.largest, o.since = 0, 0, now
		}
		o.n++
		o.largest = max(o.largest, u.Hold)
		if o.n >= watchMin && !now.Before(o.next) {
			due = append(due, Busy{u.Payer(), o.largest, o.before})
			o.n, o.largest, o.since, o.next = 0, 0, now, now.Add(shardPause)
		}
	}
	return due
}

// Measured keeps what was measured of an organisation.
func (w *LoadWatch) Measured(org string, load Load) {
	if o := w.orgs[org]; o != nil {
		o.before = load
	}
}
