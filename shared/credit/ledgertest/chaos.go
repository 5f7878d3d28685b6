package ledgertest

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func tableRequest(h credit.Hold) table.Key { return table.Request(h.Org, h.Request, h.Attempt) }

// oracle knows what really happened at the vendor.
type oracle struct {
	mu       sync.Mutex
	calls    map[table.Key]int          // vendor calls per attempt
	accepted map[table.Key]credit.Micro // amounts that the ledger took
	refused  map[table.Key]bool
	possible map[table.Key]map[credit.Micro]bool // amounts that it may have taken
	changes  []credit.Change
}

func (o *oracle) call(k table.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls[k]++
}

func (o *oracle) allow(k table.Key, amount credit.Micro) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.allowLocked(k, amount)
}

func (o *oracle) allowLocked(k table.Key, amount credit.Micro) {
	if o.possible[k] == nil {
		o.possible[k] = map[credit.Micro]bool{}
	}
	o.possible[k][amount] = true
}

func (o *oracle) used(t testing.TB, k table.Key, amount credit.Micro, kind credit.OutcomeKind, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch fault.CodeOf(err) {
	case "":
		if first, ok := o.accepted[k]; ok && first != amount {
			t.Errorf("%s: amount %d accepted after %d", k.PK, amount, first)
		}
		o.accepted[k] = amount
		o.refused[k] = kind == credit.Refused
	case fault.LedgerUnavailable:
		o.allowLocked(k, amount)
	case fault.Conflict:
	default:
		t.Errorf("used: %v", err)
	}
}

// chaosRun is one seeded run.
type chaosRun struct {
	*env
	t      *testing.T
	seed   uint64
	orgs   []string
	oracle oracle
	stop   chan struct{}
}

// chaos runs callers, consumers and sweeps against each other over a bad
// network, lets everything come to rest and checks the invariants.
func chaos(t *testing.T, e *env, seed uint64, requests int) {
	t.Logf("seed %d (LATCHKEY_TEST_SEED=%d repeats this run)", seed, seed)
	c := &chaosRun{env: e, t: t, seed: seed, orgs: []string{"rich", "poor", "free", "fees"}, stop: make(chan struct{}),
		oracle: oracle{calls: map[table.Key]int{}, accepted: map[table.Key]credit.Micro{},
			refused: map[table.Key]bool{}, possible: map[table.Key]map[credit.Micro]bool{}}}
	e.fund("rich", 1_000_000)
	e.fund("poor", 250)
	e.fund("free", 1000)
	e.fund("fees", 1000)
	e.split("rich", 4)
	e.split("fees", 4)
	e.Faults.Random(seed, 30, 50, 50, 10)
	var background sync.WaitGroup
	for i := range 2 {
		background.Go(func() { c.consume(NewDice(seed*31 + uint64(i))) })
		background.Go(func() { c.sweeps(NewDice(seed*37 + uint64(i))) })
	}
	parallel(8, func(w int) {
		dice := NewDice(seed*41 + uint64(w))
		for i := w; i < requests; i += 8 {
			c.play(dice, i)
		}
	})
	close(c.stop)
	background.Wait()
	t.Logf("faults: %d lost, %d answers lost, %d conflicts, %d throttles", e.Faults.Injected(Lost), e.Faults.Injected(AnswerLost),
		e.Faults.Injected(Conflict), e.Faults.Injected(Throttle))
	e.Faults.Script()
	c.settleDown()
	for _, org := range c.orgs {
		c.check(org)
	}
	for k, n := range c.oracle.calls {
		if n > 1 {
			t.Errorf("%s: vendor called %d times", k.PK, n)
		}
	}
}

// chaosFree is the free allowance of a month in a random run.
const chaosFree = 15

func boolMicro(b bool) credit.Micro {
	if b {
		return 1
	}
	return 0
}

// play is the life of one request, with up to three callers that share its key.
func (c *chaosRun) play(dice *Dice, i int) {
	org := c.orgs[dice.Below(len(c.orgs))]
	r := c.request(org, credit.Micro(20+dice.Below(50)))
	r.Request = "chaos" + strconv.Itoa(i)
	r.Shards = []int{0, 4}[dice.Below(2)]
	if org == "free" {
		r.Hold, r.Source = 0, taxonomy.BYOK
	}
	if org == "fees" {
		r.Source, r.Fee = taxonomy.BYOK, billing.Fee{Flat: r.Hold, Free: chaosFree}
		if r.Fee.Held = dice.Chance(50); !r.Fee.Held {
			r.Hold = 0
		}
	}
	callers := 1
	if dice.Chance(30) {
		callers = 2 + dice.Below(2)
	}
	plans := make([]*Dice, callers)
	for n := range plans {
		plans[n] = NewDice(c.seed ^ uint64(i*17+n)<<20)
	}
	parallel(callers, func(n int) {
		mine := r
		mine.Owner = "o" + strconv.Itoa(i) + "-" + strconv.Itoa(n)
		c.caller(plans[n], mine)
	})
	c.pass(time.Duration(dice.Below(4)) * time.Second)
}

func (c *chaosRun) caller(dice *Dice, r credit.ReserveRequest) {
	h, err := c.ledger.Reserve(c.ctx, r)
	switch fault.CodeOf(err) {
	case "":
	case fault.IdempotencyInProgress, fault.IdempotencyCompleted, fault.InsufficientCredits, fault.LedgerUnavailable:
		return
	default:
		c.t.Errorf("reserve: %v", err)
		return
	}
	key := tableRequest(h)
	c.oracle.call(key)
	for h.Amount > 0 && dice.Chance(30) {
		// What a caller is not told of stays held, and is given back.
		h, _ = c.ledger.Extend(c.ctx, h, credit.Micro(1+dice.Below(30)), c.now())
	}
	amount := credit.Micro(0)
	if h.Amount == 0 && r.Fee.Due() {
		amount = 1 + credit.Micro(dice.Below(30)) // always something, so that a fee that is missing was waived
	}
	if h.Amount > 0 {
		amount = boolMicro(r.Fee.Due()) + credit.Micro(dice.Below(int(h.Amount)+10)) // may exceed the hold
	}
	if dice.Chance(30) {
		// Whatever the answer was, the checkpoint may be what is charged.
		_ = c.ledger.Checkpoint(c.ctx, h, c.outcome(amount/2).Usage, amount/2)
		c.oracle.allow(key, amount/2)
	}
	if dice.Chance(20) {
		return // died
	}
	if dice.Chance(15) {
		c.pass(65 * time.Second) // slow: likely to be expired by now
	}
	o := c.outcome(amount)
	if dice.Chance(10) {
		o.Amount, o.Kind = 0, credit.Refused
	}
	c.oracle.used(c.t, key, o.Amount, o.Kind, c.ledger.Used(c.ctx, h, o))
	if dice.Chance(15) && !h.Unmetered {
		other := c.outcome(amount + 1)
		c.oracle.used(c.t, key, other.Amount, other.Kind, c.ledger.Used(c.ctx, h, other))
	}
}

// consume delivers what the stream has, in odd batches, again and again.
func (c *chaosRun) consume(dice *Dice) {
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		c.oracle.mu.Lock()
		c.oracle.changes = append(c.oracle.changes, c.Changes(c.t)...)
		all := c.oracle.changes
		c.oracle.mu.Unlock()
		if len(all) == 0 {
			continue
		}
		from := dice.Below(len(all))
		c.deliver(dice, all[from:min(from+1+dice.Below(40), len(all))])
	}
}

func (c *chaosRun) deliver(dice *Dice, changes []credit.Change) credit.SettleReport {
	var used []credit.Used
	var list []credit.Entry
	for _, x := range changes {
		switch x.Kind {
		case credit.ChangeUsed:
			used = append(used, x.Used)
		case credit.ChangeEntry:
			list = append(list, x.Entry)
		}
	}
	dice.Shuffle(len(used), func(i, j int) { used[i], used[j] = used[j], used[i] })
	rep := c.ledger.Settle(c.ctx, used, c.now())
	if rep.Poisoned > 0 {
		c.t.Errorf("poison without a cause: %+v", rep.Verdicts)
	}
	more := c.ledger.Project(c.ctx, list, c.now())
	rep.Undecided += more.Undecided
	return rep
}

func (c *chaosRun) sweeps(dice *Dice) {
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		// A storage error ends a sweep; the next one goes on.
		_, _ = c.ledger.Sweep(c.ctx, c.now(), dice.Below(64), 1+dice.Below(200))
		if a, err := c.Store.Account(c.ctx, "rich"); err == nil && dice.Chance(20) {
			_ = c.Store.Spread(c.ctx, a, 1+dice.Below(4))
		}
		c.pass(time.Second)
	}
}

// settleDown ends everything the way production would: sweeps after the last
// hold is overdue, and one more delivery of the whole stream.
func (c *chaosRun) settleDown() {
	c.pass(10 * time.Minute)
	for range 2 {
		rep, err := c.clean.Sweep(c.ctx, c.now(), 0, 0)
		must(c.t, err)
		if !rep.Complete || rep.Undecided > 0 {
			c.t.Fatalf("sweep: %+v", rep)
		}
	}
	c.oracle.changes = append(c.oracle.changes, c.Changes(c.t)...)
	for range 2 {
		if rep := c.deliver(NewDice(c.seed), c.oracle.changes); rep.Undecided > 0 {
			c.t.Fatalf("delivery: %+v", rep)
		}
	}
}

// check verifies the invariants of one organisation at rest.
func (c *chaosRun) check(org string) {
	rep, err := c.clean.Reconcile(c.ctx, org, c.now())
	must(c.t, err)
	if !rep.OK {
		c.t.Errorf("seed %d, %s: %+v", c.seed, org, rep.Mismatches)
	}
	c.wantShards(org)
	b, err := c.clean.Balance(c.ctx, org)
	must(c.t, err)
	if b.Held != 0 || b.Available != b.Posted {
		c.t.Errorf("seed %d, %s: %+v", c.seed, org, b.Account)
	}
	list := c.entries(org)
	per := map[table.Key]int{}
	fees := map[table.Key]int{}
	for _, x := range list {
		if !x.Kind.OfRequest() {
			continue
		}
		k := table.Request(org, x.Request, x.Attempt)
		if x.Kind == credit.UsageEntry {
			per[k]++
		}
		if org == "fees" && x.Kind == credit.UsageEntry {
			if x.Amount != 0 {
				c.t.Errorf("seed %d, %s: usage of an own key cost %d", c.seed, k.PK, -x.Amount)
			}
			continue
		}
		if x.Kind == credit.FeeEntry {
			fees[k]++
		}
		want, ok := c.oracle.accepted[k]
		if ok && -x.Amount != want || !ok && !c.oracle.possible[k][-x.Amount] {
			c.t.Errorf("seed %d, %s: charged %d, recorded %d (%v)", c.seed, k.PK, -x.Amount, want, c.oracle.possible[k])
		}
		if c.oracle.calls[k] != 1 {
			c.t.Errorf("seed %d, %s: charged without a call", c.seed, k.PK)
		}
	}
	for k, n := range per {
		if n != 1 {
			c.t.Errorf("seed %d, %s: %d entries", c.seed, k.PK, n)
		}
	}
	for k, amount := range c.oracle.accepted {
		if strings.HasPrefix(k.PK, "R#"+org+"#") && !c.oracle.refused[k] && per[k] == 0 {
			c.t.Errorf("seed %d, %s: accepted amount %d was never charged", c.seed, k.PK, amount)
		}
	}
	c.wantUsage(org, list)
	if org == "fees" {
		c.checkFees(per, fees)
	}
}

// checkFees: the allowance was given away once, and everything beyond it charged.
func (c *chaosRun) checkFees(per, fees map[table.Key]int) {
	free := min(chaosFree, len(per))
	n, err := c.clean.FreeUsed(c.ctx, "fees", c.now())
	must(c.t, err)
	charged, nothing := 0, 0
	for k := range per {
		v, err := c.clean.Request(c.ctx, "fees", k.PK[len("R#fees#"):])
		must(c.t, err)
		for _, a := range v.Attempts {
			if a.Amount == 0 && !a.Waived {
				nothing++ // a checkpoint before anything had come
			}
		}
		charged += fees[k]
	}
	if int(n) != free || charged != len(per)-free-nothing {
		c.t.Errorf("seed %d: %d calls, %d counted as free, %d charged, %d without an amount, want %d free", c.seed, len(per), n, charged, nothing, free)
	}
}
