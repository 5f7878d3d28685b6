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
	what                    string
	do                      func()
	apart                   bool // somebody wants something else; for good
}

func newRendezvous(members int) *rendezvous {
	r := &rendezvous{members: members}
	r.turn = sync.NewCond(&r.mu)
	return r
}

// all waits until every member is there; then one of them does what all want, and all
// go on behind it. It reports whether they wanted the same.
func (r *rendezvous) all(what string, do func()) (same bool) {
	if r == nil {
		do()
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting > 0 && r.what != what {
		r.apart = true
	}
	phase := r.phase
	r.waiting++
	r.what, r.do = what, do
	r.goOn()
	for phase == r.phase {
		r.turn.Wait()
	}
	return !r.apart
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
				r.all("break", func() { breaks++; broken.Store(true) })
				inside.Add(1)
				if !broken.Load() {
					t.Error("within, and nothing is broken")
				}
				inside.Add(-1)
				r.all("mend", func() {
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
	if !alone.all("x", func() { done = true }) || !done {
		t.Error("who is alone waits")
	}
	two, other := newRendezvous(2), make(chan bool)
	go func() { other <- two.all("one", func() {}) }()
	if mine, theirs := two.all("another", func() {}), <-other; mine || theirs {
		t.Error("two want different things and are told that they are the same")
	}
}
