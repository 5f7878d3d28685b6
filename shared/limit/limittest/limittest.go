// Package limittest is a store of limits in memory, for tests: it applies the
// changes of package limit one after the other, by their definition. It is the
// oracle that the real store is compared with. Safe for concurrent use.
package limittest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/limit"
)

// Store holds the state of every subject. The zero value is ready to use.
type Store struct {
	mu     sync.Mutex
	states map[limit.Subject]limit.State
	// Writes counts the changes that were applied.
	Writes int
}

// State returns a copy of what counts against a subject.
func (s *Store) State(subject limit.Subject) limit.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(s.states[subject])
}

func clone(st limit.State) limit.State {
	return limit.State{Counters: maps.Clone(st.Counters), Slots: maps.Clone(st.Slots)}
}

// Claim writes all claims or none. It fails as [limit.Claim.Check] does.
func (s *Store) Claim(claims []limit.Claim) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.states)
	if next == nil {
		next = map[limit.Subject]limit.State{}
	}
	writes := 0
	for _, c := range slices.Clone(claims) {
		ch := c.Change()
		st, ok := apply(clone(next[c.Subject]), ch)
		if !ok {
			// What it had seen was old; the newest state decides.
			c.Seen = clone(s.states[c.Subject])
			if err := c.Check(); err != nil {
				return err
			}
			ch = c.Change()
			if st, ok = apply(clone(next[c.Subject]), ch); !ok {
				return errors.New("limittest: refused by the write, but not by the check")
			}
		}
		if !ch.Empty() {
			next[c.Subject], writes = st, writes+1
		}
	}
	s.states, s.Writes = next, s.Writes+writes
	return nil
}

// CountLimits implements gateway.LimitStore.
func (s *Store) CountLimits(_ context.Context, _ string, claims []limit.Claim) error {
	return s.Claim(claims)
}

// FinishLimit implements gateway.LimitStore.
func (s *Store) FinishLimit(_ context.Context, ch limit.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, ok := apply(clone(s.states[ch.Subject]), ch); ok {
		s.states[ch.Subject], s.Writes = st, s.Writes+1
	}
	return nil
}

func apply(st limit.State, ch limit.Change) (limit.State, bool) {
	for _, b := range ch.Bounds {
		if st.Counters[b.Counter] >= b.Below {
			return st, false
		}
	}
	gone := slices.Clone(ch.Clear)
	if ch.Free != "" {
		gone = append(gone, ch.Free)
	}
	for _, slot := range gone {
		if _, ok := st.Slots[slot]; !ok {
			return st, false
		}
		delete(st.Slots, slot)
	}
	for _, a := range ch.Adds {
		if st.Counters == nil {
			st.Counters = map[string]int64{}
		}
		have, ok := st.Counters[a.Counter]
		if !ok {
			have = a.Absent
		}
		st.Counters[a.Counter] = have + a.By
	}
	for _, name := range ch.Drop {
		delete(st.Counters, name)
	}
	if ch.Take != "" {
		if st.Slots == nil {
			st.Slots = map[string]time.Time{}
		}
		st.Slots[ch.Take] = ch.Until
	}
	return st, true
}
