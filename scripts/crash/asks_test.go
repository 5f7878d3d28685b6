package crash

import (
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// checkpointTokens is the output after which a running call stores its usage.
const checkpointTokens = 2000

func (w *world) platformHash(hash string) bool {
	for _, key := range platformKeys {
		if mockvendor.Hash(key) == hash {
			return true
		}
	}
	return false
}

// checkAsk compares a request with what the vendor saw.
func (s *seed) checkAsk(a *ask, st state) {
	calls := a.calls()
	s.count("vendor calls", len(calls))
	s.count("requests", 1)
	s.count("trials: "+a.point, 1)
	for _, r := range a.replies {
		if r.replayed {
			s.count("replays", 1)
		}
	}
	if a.id == "" {
		s.checkUnknown(a, calls)
		return
	}
	r, found := st.Requests[a.id]
	entries := entriesOf(st, a.id)
	switch {
	case !found:
		// Refused before anything was written.
		if len(calls) > 0 || len(entries) > 0 {
			s.broken("I21", "%s: no request %s (key %q, %+v), but %d calls, %d entries", a.prompt, a.id, a.key, a.replies, len(calls), len(entries))
		}
		return
	case !final(r.State):
		s.broken("I10", "%s is %s at rest", a.prompt, r.State)
	case !r.Replays:
		s.broken("I17", "%s: a decision does not come out again", a.prompt)
	}
	if len(calls) > len(r.Attempts) {
		s.broken("I8", "%s: %d vendor calls in %d attempts: %v", a.prompt, len(calls), len(r.Attempts), calls)
	}
	bodies := map[string]bool{}
	for _, c := range calls {
		bodies[c.Prompt] = true
	}
	if len(bodies) > 1 {
		s.broken("I20", "%s ran with %d bodies", a.prompt, len(bodies))
	}
	s.checkAttempts(a, r, entries)
	s.checkBilled(a, r, calls, entries)
	s.checkExpected(a, r, calls, entries)
}

// checkUnknown is for a call without a key whose client never got an answer.
func (s *seed) checkUnknown(a *ask, calls []mockvendor.Call) {
	if len(calls) > 2 {
		s.broken("I8", "%s: %d vendor calls", a.prompt, len(calls))
	}
	if !a.lossy && len(a.replies) > 0 && a.replies[0].err == nil {
		s.broken("harness", "%s has no id: %+v", a.prompt, a.replies)
	}
	s.count("requests without an id", 1)
}

func entriesOf(st state, id string) (out []entry) {
	for _, e := range st.Entries {
		if e.Kind == "usage" && e.RequestID == id {
			out = append(out, e)
		}
	}
	return out
}

// checkAttempts: an entry for each attempt that was settled, none for the others.
func (s *seed) checkAttempts(a *ask, r request, entries []entry) {
	for _, at := range r.Attempts {
		n := 0
		for _, e := range entries {
			if e.Attempt == at.N {
				n++
				if -e.Amount != at.Cost {
					s.broken("I9", "%s: entry %d, attempt %d", a.prompt, -e.Amount, at.Cost)
				}
				if e.PriceVersion != at.PriceVersion || e.BillingSource != at.BillingSource || e.Provider != at.Provider {
					s.broken("I17", "%s: entry %+v, attempt %+v", a.prompt, e, at)
				}
			}
		}
		want := map[string]int{"SETTLED": 1, "SETTLED_LATE": 1}[at.State]
		if n != want {
			s.broken("I7", "%s: attempt %d is %s and has %d entries", a.prompt, at.N, at.State, n)
		}
		if !final(at.State) {
			s.broken("I10", "%s: attempt %d is %s at rest", a.prompt, at.N, at.State)
		}
	}
}

// checkBilled: what was delivered is charged, as the vendor declared it, unless a
// crash or an outage met the request. What is lost then is counted, and is less
// than the hold, unless the vendor declared more than the request allowed.
func (s *seed) checkBilled(a *ask, r request, calls []mockvendor.Call, entries []entry) {
	if answered(calls) == 0 {
		if len(entries) > 0 {
			s.broken("I21", "%s: charged without an answer", a.prompt)
		}
		return
	}
	call := calls[len(calls)-1]
	delivered := call.Done || call.Chunks > 0
	if len(entries) == 0 {
		s.unbilled(a, r, call, delivered)
		return
	}
	if len(entries) > 1 {
		s.broken("I7", "%s: %d attempts were charged", a.prompt, len(entries))
		return
	}
	e := entries[0]
	if e.Usage == nil || e.Usage.Source != "provider" {
		if !e.Estimated {
			s.broken("I9", "%s: usage is not the vendor's and not marked: %+v", a.prompt, e)
		}
		return
	}
	in, out := int64(call.InputTokens), int64(call.OutputTokens)
	if e.Estimated && a.lossy && r.Attempts[e.Attempt-1].Reason == "settled_at_checkpoint" && e.Usage.Input == in &&
		e.Usage.Output >= a.leastDeclared(call) && e.Usage.Output <= out {
		// The record was lost, the vendor's numbers beside it were not.
		s.count("charged at the last checkpoint", 1)
		return
	}
	if e.Usage.Input != in || e.Usage.Output != out || e.Estimated {
		s.broken("I22", "%s: %+v recorded (estimated %v), %d+%d declared", a.prompt, *e.Usage, e.Estimated, call.InputTokens, call.OutputTokens)
	}
}

// leastDeclared is the least output that a last checkpoint with the vendor's
// numbers holds: all of it where they come once, at the end; where they come with
// every part, at most one interval and one part less than what was told.
func (a *ask) leastDeclared(call mockvendor.Call) int64 {
	out := int64(call.OutputTokens)
	if a.script.Usage != mockvendor.DeclareRunning {
		return out
	}
	if !call.Done {
		return 0 // the journal does not say how far the numbers had come
	}
	return max(out-checkpointTokens-out/int64(max(call.Chunks, 1)), 0)
}

// unbilled is an answer that nobody is charged for.
func (s *seed) unbilled(a *ask, r request, call mockvendor.Call, delivered bool) {
	if !delivered || a.point == "truncated" && !a.stream {
		return // half of a document is nothing
	}
	if !a.lossy {
		s.broken("I26", "%s (%s): delivered %d chunks, done %v, never charged", a.prompt, r.State, call.Chunks, call.Done)
		return
	}
	last := r.Attempts[len(r.Attempts)-1]
	cost, _ := s.w.cost(last.PriceVersion, int64(call.InputTokens), int64(call.OutputTokens))
	if last.BillingSource != "platform" {
		cost = 0
	}
	if cost > last.Hold && a.point != "above the hold" {
		s.broken("I26", "%s: %d lost on a hold of %d", a.prompt, cost, last.Hold)
	}
	s.count("delivered but unbilled", 1)
	s.count("delivered but unbilled, micro-credits", int(cost))
	s.count("delivered but unbilled, bound (sum of holds)", int(last.Hold))
}

// checkExpected verifies what a kill point promises.
func (s *seed) checkExpected(a *ask, r request, calls []mockvendor.Call, entries []entry) {
	x := a.expect
	if x == nil {
		return
	}
	if len(calls) != x.calls {
		s.broken("I8", "%s: the vendor saw %d calls, want %d", a.prompt, len(calls), x.calls)
	}
	if charged := len(entries) == 1; charged != x.charged {
		s.broken("C", "%s: %d entries, state %s", a.prompt, len(entries), r.State)
		return
	}
	if !strings.Contains(" "+x.states+" ", " "+r.State+" ") {
		s.broken("C", "%s is %s, want %s", a.prompt, r.State, x.states)
	}
	if !x.charged {
		return
	}
	e := entries[0]
	if e.Estimated != x.estimated {
		s.broken("C", "%s: estimated %v", a.prompt, e.Estimated)
	}
	if x.estimated {
		s.checkInterval(a, e, calls[0])
	}
}

// checkInterval: a crash in a stream loses less than one checkpoint interval and
// one part.
func (s *seed) checkInterval(a *ask, e entry, call mockvendor.Call) {
	if e.Usage == nil {
		s.broken("C5", "%s has no usage", a.prompt)
		return
	}
	part := int64(call.OutputTokens) / int64(max(a.script.Chunks, 1))
	delivered := part * int64(call.Chunks)
	lost := delivered - e.Usage.Output
	// Our estimate of text differs from the vendor's count; a quarter is allowed.
	if lost > checkpointTokens+part+delivered/4 {
		s.broken("C5", "%s: %d tokens delivered, %d charged", a.prompt, delivered, e.Usage.Output)
	}
	s.count("tokens lost behind a checkpoint", int(max(lost, 0)))
}
