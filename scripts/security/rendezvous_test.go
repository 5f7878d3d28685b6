package security

import (
	"sync"
	"sync/atomic"
	"testing"
)

// rendezvous lets several go on together. Nil is one for who is alone.
type rendezvous struct {
	mu                      sync.Mutex
	turn                    *sync.Cond
	members, waiting, phase int
	do                      func()
}

func newRendezvous(members int) *rendezvous {
	r := &rendezvous{members: members}
	r.turn = sync.NewCond(&r.mu)
	return r
}

// all waits until every member is there; then one of them does something, and all go
// on behind it.
func (r *rendezvous) all(do func()) {
	if r == nil {
		do()
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	phase := r.phase
	r.waiting++
	r.do = do
	r.goOn()
	for phase == r.phase {
		r.turn.Wait()
	}
}

// leave is for a member that meets nobody any more.
func (r *rendezvous) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members--
	r.goOn()
}

// goOn ends a phase for which everybody is there; r.mu is held.
func (r *rendezvous) goOn() {
	if r.waiting == 0 || r.waiting < r.members {
		return
	}
	r.do()
	r.waiting, r.phase = 0, r.phase+1
	r.turn.Broadcast()
}

// TestRendezvous: nobody is within before it is broken, or behind before it is mended,
// and who gives up keeps nobody waiting.
func TestRendezvous(t *testing.T) {
	const members, rounds = 5, 200
	r := newRendezvous(members)
	var broken atomic.Bool
	var inside atomic.Int64
	var breaks, mends int
	var group sync.WaitGroup
	for m := range members {
		group.Go(func() {
			defer r.leave()
			for round := range rounds {
				if m == 0 && round == rounds/2 {
					return
				}
				r.all(func() { breaks++; broken.Store(true) })
				inside.Add(1)
				if !broken.Load() {
					t.Error("within, and nothing is broken")
				}
				inside.Add(-1)
				r.all(func() {
					mends++
					if broken.Store(false); inside.Load() > 0 {
						t.Error("mended while somebody is within")
					}
				})
				if broken.Load() {
					// Nobody can have begun the next round without this one.
					t.Error("behind, and it is still broken")
				}
			}
		})
	}
	group.Wait()
	if breaks != rounds || mends != rounds {
		t.Errorf("broken %d times, mended %d times", breaks, mends)
	}
	var alone *rendezvous
	done := false
	if alone.all(func() { done = true }); !done {
		t.Error("who is alone waits")
	}
}
