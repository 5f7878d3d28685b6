package deliveries

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// size is how large a run is.
type size struct {
	conversations int
	deliveries    int // requests of the plan, repeats included, retries not
	cycles        int // of three waves: with kills, with frozen processes, without either
	every         int // a process is killed every so many deliveries of a wave with kills
	enqueueFaults int // refusals of the queue per wave with kills
	hangs         int
}

var (
	// plain is in every run, soaked in the long one.
	plain  = size{conversations: 44, deliveries: 300, cycles: 1, every: 12, enqueueFaults: 12}
	soaked = long(10_000)
)

// long is a run of n deliveries: waves stay of a size, conversations of a length.
func long(n int) size {
	return size{conversations: max(44, n/50), deliveries: n, cycles: max(1, n/2500), every: 40, enqueueFaults: 30, hangs: max(1, n/1500)}
}

// duplicates is the share of deliveries that repeat an earlier one, in percent.
const duplicates = 20

// overtaken is the share of messages that the vendor sends after the next one of
// their conversation, in percent.
const overtaken = 10

// talk is one conversation of one person with an app.
type talk struct {
	n      int
	app    *app
	room   string
	thread string
	direct bool
	from   string
	events []*event
}

// event is one message of the plan.
type event struct {
	talk *talk
	k    int
	word string
	body []byte
	wave int
	// at once, soon and late are how many repeats there are: with the first request,
	// some messages later, in the next wave.
	atOnce, soon, late int
	// behind: the vendor sends it after the next message of its conversation.
	behind bool

	mu sync.Mutex
	// began and accepted order what a vendor sees: when the first request was begun,
	// and when the first 2xx had come. 0 = not yet.
	began, accepted int64
	// requests is how many were made of it.
	requests int
}

// givenUp reports that the vendor makes no further request of a message that nobody
// accepted: it may have been taken all the same.
func (e *event) givenUp() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.talk.app.tries > 0 && e.accepted == 0 && e.requests >= e.talk.app.tries
}

// plan is a run: everything that is fixed by its seed.
type plan struct {
	size   size
	dice   *rand.Rand
	orgs   []*org
	apps   []*app
	talks  []*talk
	events []*event
	meant  map[misbehaviour]int // how many sends shall meet what
}

// newPlan makes organisations with an app each, and what is said.
func newPlan(ctx context.Context, w *world, seed uint64, s size) (*plan, error) {
	p := &plan{size: s, dice: rand.New(rand.NewPCG(seed, 3)), meant: map[misbehaviour]int{}}
	for i, k := range slices.Concat(kinds(), kinds()) {
		o, err := w.newOrg(ctx, fmt.Sprintf("Deliveries %d", i))
		if err != nil {
			return nil, err
		}
		tenant := ""
		if k.tenantOf != nil {
			tenant = k.tenantOf(i)
		}
		a, err := w.newApp(ctx, o, k, tenant)
		if err != nil {
			return nil, err
		}
		id, err := o.agent(ctx, fmt.Sprintf("agent%d", i+1), "persona1")
		if err == nil {
			err = a.bind(ctx, map[string]any{}, id, "persona1")
		}
		if err != nil {
			return nil, err
		}
		p.orgs, p.apps = append(p.orgs, o), append(p.apps, a)
	}
	for n := range s.conversations {
		p.talks = append(p.talks, p.talk(n+1))
	}
	p.say(w.Clock.Now())
	p.misbehave(w.vendor)
	w.vendor.filler = p.fillerOf
	return p, nil
}

// talk places a conversation: direct, in a thread or topic, or in a group.
func (p *plan) talk(n int) *talk {
	a := p.apps[n%len(p.apps)]
	t := &talk{n: n, app: a, direct: true, from: fmt.Sprintf("49151%07d", n)}
	t.room = t.from
	a.talks(t, p.dice.IntN(2) == 0)
	return t
}

// say gives every conversation its messages; the vendors' own times cover ten
// minutes.
func (p *plan) say(from time.Time) {
	repeats := p.size.deliveries * duplicates / 100
	total := p.size.deliveries - repeats
	for i := range total {
		t := p.talks[i%len(p.talks)]
		e := &event{talk: t, k: len(t.events) + 1, wave: i * 3 * p.size.cycles / total}
		e.word = fmt.Sprintf("q%dx%d", t.n, e.k)
		x := post{n: i + 1, room: t.room, thread: t.thread, direct: t.direct, from: t.from, text: "please note " + e.word,
			sent: from.Add(10 * time.Minute * time.Duration(i) / time.Duration(total))}
		e.body = t.app.event(x)
		t.events, p.events = append(t.events, e), append(p.events, e)
	}
	for _, e := range p.events {
		e.behind = p.dice.IntN(100) < overtaken
	}
	for range repeats {
		e := p.events[p.dice.IntN(total)]
		for e.talk.app.tries > 0 {
			e = p.events[p.dice.IntN(total)]
		}
		switch d := p.dice.IntN(10); {
		case d < 3:
			e.atOnce++
		case d < 8 || e.wave == 3*p.size.cycles-1:
			e.soon++
		default:
			e.late++
		}
	}
}

// fillerOf is how much more the answer to a word says, so that it takes its parts.
func (p *plan) fillerOf(word string) int {
	for _, t := range p.talks {
		if strings.HasPrefix(word, fmt.Sprintf("q%dx", t.n)) && t.app.partsOf(word) > 1 {
			return t.app.filler
		}
	}
	return 0
}

// misbehave says which answers meet which vendor's failure. Vendors ask to wait in
// waves without kills only, so that receptions suffice.
func (p *plan) misbehave(v *vendor) {
	left := p.size.hangs
	for _, e := range p.events {
		what := behaves
		switch d := p.dice.IntN(100); {
		case d < 2:
			what = keeps500
		case d < 4:
			what = drops500
		case d < 6:
			what = keepsCut
		case d < 8:
			what = refuses
		case d < 12 && e.wave%3 == 2:
			what = limits
		case d < 11 && e.wave%3 == 0:
			what = killsAll
		case d == 50 && left > 0:
			left--
			what = hangs
		}
		if what != behaves {
			v.planned[e.word] = what
			p.meant[what]++
		}
	}
}
