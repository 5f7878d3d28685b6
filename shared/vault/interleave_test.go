package vault_test

import (
	"fmt"
	"testing"
)

// The protocol of a key rotation, checked in every interleaving: a worker that
// may be killed twice and goes on from what is stored, a person who writes, a
// request that reads, an operator who retires the key that the job moved away
// from as soon as the job is done, and who may turn the job round. Each step is
// one atomic call of the real code (named beside it), so the model is exact as
// long as those calls stay what they are:
//
//	switch      rotation: Store.Write with Ring, one transaction
//	read        Pages.Page, a consistent read
//	wrap        KEK.ReEncrypt and KEK.GenerateDataKey, no stored effect
//	put         vault: Store.Write with Rewrap and Ring (Vault.Rewrap, Vault.Reseal)
//	checkpoint  rotation: Store.Write of the cursor
//	commit      vault: Store.Write with Head, Put and Ring (Vault.Create, Vault.Rotate)

// key is a wrapping key of the model.
type key uint8

const (
	k1 key = iota
	k2
)

func (k key) other() key { return 1 - k }

// guards are the conditions of the protocol; each is left out once, to see that
// it is needed.
type guards struct {
	record  bool // put: rv = :seen AND kek = :from
	epoch   bool // commit: the ring is as it was before wrapping
	putRing bool // put: the ring is the job's
}

type scenario struct {
	guards
	create   bool // the person creates, else updates
	rollback bool // the operator may turn the job round once
	zombie   bool // a killed worker may still make the one put it was about to make
}

// world is one state. It is comparable, so that states are counted once.
type world struct {
	// Stored.
	exists      bool
	rv, val     uint8
	kek         key
	ring        key
	ringEpoch   uint8
	switched    bool // the job has switched the ring
	to          key
	jobEpoch    uint8
	cursor      uint8 // 0 before the record, 1 behind it
	touched     bool
	done        bool
	turned      bool
	retired     bool // to.other() is of no use any more
	acked       bool // the person was told that the write is done
	crashesLeft uint8
	// Memory of the worker and of one that was killed at its put.
	worker worker
	ghost  worker
	// Memory of the person and of the request.
	person person
	reader reader
}

type worker struct {
	pc       uint8
	rv, val  uint8
	from, to key
	epoch    uint8
	touched  bool
}

type person struct {
	pc      uint8
	rv      uint8
	wrapped key
	epoch   uint8
	retried bool
}

type reader struct {
	loaded bool
	kek    key
	val    uint8
	seen   bool // has opened the new value
}

// Program counters.
const (
	wIdle uint8 = iota
	wRead
	wWrap
	wPut
	wCheckpoint
	wEndPass
)

const (
	pRing uint8 = iota
	pRead
	pWrap
	pCommit
	pEnd
)

func (sc scenario) start() world {
	return world{exists: !sc.create, to: k2, crashesLeft: 2}
}

// next lists the states that one step leads to.
func (sc scenario) next(w world) []world {
	var out []world
	add := func(n world) { out = append(out, n) }
	if !w.done {
		add(sc.work(w))
		if w.crashesLeft > 0 && w.worker.pc != wIdle {
			n := w
			n.crashesLeft--
			if sc.zombie && (w.worker.pc == wWrap || w.worker.pc == wPut) {
				n.ghost = w.worker
			}
			n.worker = worker{}
			add(n)
		}
	}
	if w.ghost.pc != wIdle {
		n := w
		n.ghost = worker{}
		if w.ghost.pc == wWrap {
			if w.usable(w.ghost.from) && w.usable(w.ghost.to) {
				n.ghost, n.ghost.pc = w.ghost, wPut
			}
		} else {
			sc.put(&n, w.ghost)
		}
		add(n)
	}
	if w.person.pc != pEnd {
		add(sc.write(w))
	}
	add(sc.read(w))
	if w.done && !w.retired && !(w.reader.loaded && w.reader.kek == w.to.other()) {
		n := w // requests in flight end long before a key is retired
		n.retired = true
		add(n)
	}
	if sc.rollback && w.switched && !w.turned && !w.retired {
		n := w
		n.turned, n.switched, n.done, n.cursor, n.touched, n.to = true, false, false, 0, false, k1
		// The worker notices at its next word with the store.
		if sc.zombie && (w.worker.pc == wWrap || w.worker.pc == wPut) {
			n.ghost = w.worker
		}
		n.worker = worker{}
		add(n)
	}
	return out
}

func (w world) usable(k key) bool { return !(w.retired && k == w.to.other()) }

// work is one step of the worker.
func (sc scenario) work(w world) world {
	n, me := w, &w.worker
	switch me.pc {
	case wIdle:
		if !w.switched { // switch
			n.ring, n.switched = w.to, true
			n.ringEpoch++
			n.jobEpoch = n.ringEpoch
		}
		n.worker = worker{pc: wRead}
		if w.switched && w.cursor == 1 {
			n.worker = worker{pc: wEndPass, touched: w.touched}
		}
	case wRead:
		n.worker.pc = wCheckpoint
		if w.exists && w.kek != w.to {
			n.worker = worker{pc: wWrap, rv: w.rv, val: w.val, from: w.kek, to: w.to, epoch: w.jobEpoch, touched: me.touched}
		}
	case wWrap:
		n.worker.pc = wPut
	case wPut:
		sc.put(&n, *me)
		n.worker.pc, n.worker.touched = wCheckpoint, true
	case wCheckpoint:
		n.cursor, n.touched = 1, me.touched
		n.worker = worker{pc: wEndPass, touched: me.touched}
	case wEndPass:
		n.cursor, n.touched = 0, false
		n.worker = worker{pc: wRead}
		if !me.touched {
			n.done, n.worker = true, worker{}
		}
	}
	return n
}

// put stores what a worker wrapped if its conditions hold.
func (sc scenario) put(n *world, me worker) {
	if sc.record && (!n.exists || n.rv != me.rv || n.kek != me.from) || sc.putRing && n.ringEpoch != me.epoch {
		return
	}
	n.exists, n.kek, n.val = true, me.to, me.val
	n.rv++
}

// write is one step of the person.
func (sc scenario) write(w world) world {
	n, me := w, &w.person
	switch me.pc {
	case pRing:
		n.person = person{pc: pRead, wrapped: w.ring, epoch: w.ringEpoch, retried: me.retried}
	case pRead:
		n.person.pc, n.person.rv = pWrap, w.rv
	case pWrap:
		n.person.pc = pCommit
		if !w.usable(me.wrapped) {
			n.person = person{pc: pEnd} // an error, nothing is stored
		}
	case pCommit:
		switch {
		case sc.epoch && w.ringEpoch != me.epoch && !me.retried:
			n.person = person{pc: pRing, retried: true}
		case sc.epoch && w.ringEpoch != me.epoch || !sc.create && w.rv != me.rv:
			n.person = person{pc: pEnd} // a conflict, nothing is stored
		default:
			n.exists, n.kek, n.val, n.acked = true, me.wrapped, 1, true
			n.rv++
			n.person = person{pc: pEnd}
		}
	}
	return n
}

// read is one step of the request: load, then open what was loaded.
func (sc scenario) read(w world) world {
	n := w
	if !w.reader.loaded {
		if w.exists {
			n.reader = reader{loaded: true, kek: w.kek, val: w.val, seen: w.reader.seen}
		}
		return n
	}
	n.reader = reader{seen: w.reader.seen || w.reader.val == 1}
	return n
}

// wrong names what must never be.
func (w world) wrong() string {
	switch {
	case w.exists && !w.usable(w.kek):
		return "a record is under a retired key"
	case w.reader.loaded && !w.usable(w.reader.kek):
		return "a request holds a record that does not open"
	case w.acked && w.val == 0:
		return "an update is lost"
	case w.reader.loaded && w.reader.seen && w.reader.val == 0:
		return "a request sees an older value than the one before"
	}
	return ""
}

// explore visits every reachable state and returns their number, the first
// violation with the steps that lead to it, and whether the job can end.
func (sc scenario) explore() (states int, violation string, ends bool) {
	type step struct {
		from  world
		depth int
	}
	seen := map[world]step{sc.start(): {}}
	queue := []world{sc.start()}
	for len(queue) > 0 {
		w := queue[0]
		queue = queue[1:]
		if what := w.wrong(); what != "" {
			path := ""
			for s := w; seen[s].depth > 0; s = seen[s].from {
				path = fmt.Sprintf("\n  %+v", s) + path
			}
			return len(seen), what + path, ends
		}
		ends = ends || w.retired && w.person.pc == pEnd
		for _, n := range sc.next(w) {
			if _, known := seen[n]; !known {
				seen[n] = step{w, seen[w].depth + 1}
				queue = append(queue, n)
			}
		}
	}
	return len(seen), "", ends
}

func TestEveryInterleaving(t *testing.T) {
	all := guards{record: true, epoch: true, putRing: true}
	without := func(f func(*guards)) guards { g := all; f(&g); return g }
	for _, c := range []struct {
		name string
		scenario
		want string
	}{
		{"update", scenario{guards: all}, ""},
		{"create", scenario{guards: all, create: true}, ""},
		{"update, killed worker still writes", scenario{guards: all, zombie: true}, ""},
		{"update, rolled back, killed worker still writes", scenario{guards: all, zombie: true, rollback: true}, ""},
		{"create, rolled back, killed worker still writes", scenario{guards: all, zombie: true, rollback: true, create: true}, ""},
		{"update without the record's condition", scenario{guards: without(func(g *guards) { g.record = false })}, "an update is lost"},
		{"create without the epoch, with a last pass", scenario{guards: without(func(g *guards) { g.epoch = false }), create: true}, "a record is under a retired key"},
		{"update without the epoch, with a last pass", scenario{guards: without(func(g *guards) { g.epoch = false })}, "a record is under a retired key"},
		// What the reference model does not have: conditions on the record alone do
		// not stop a worker that was thought dead when the job was turned round.
		{"rolled back, put without the ring", scenario{guards: without(func(g *guards) { g.putRing = false }), zombie: true, rollback: true}, "a record is under a retired key"},
	} {
		states, violation, ends := c.explore()
		got := violation
		if i := len(c.want); i > 0 && len(got) > i {
			got = got[:i]
		}
		t.Logf("%s: %d states, %q", c.name, states, got)
		if got != c.want {
			t.Errorf("%s: %s; want %q", c.name, violation, c.want)
		}
		if c.want == "" && !ends {
			t.Errorf("%s: the job never ends, so nothing was checked", c.name)
		}
	}
}
