package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// kinds are what the requests of a storm do, with their weights.
var kinds = []struct {
	name   string
	weight int
	make   func(a *ask, d *rand.Rand)
}{
	{"plain", 40, func(*ask, *rand.Rand) {}},
	{"429", 5, func(a *ask, _ *rand.Rand) {
		a.script.Status, a.script.RetryAfter, a.script.Body = 429, "1", `{"error":{"message":"slow"}}`
	}},
	{"500", 5, func(a *ask, _ *rand.Rand) { a.script.Status, a.script.Body = 500, "oops" }},
	{"truncated", 6, func(a *ask, d *rand.Rand) { a.script.Cut = 1 + d.IntN(5) }},
	{"usage missing", 5, func(a *ask, _ *rand.Rand) { a.script.Usage = mockvendor.DeclareNone }},
	{"usage zero", 4, func(a *ask, _ *rand.Rand) { a.script.Usage = mockvendor.DeclareZero }},
	{"usage twice", 4, func(a *ask, _ *rand.Rand) { a.stream, a.script.Usage = true, mockvendor.DeclareTwice }},
	{"usage cumulative", 4, func(a *ask, _ *rand.Rand) { a.stream, a.script.Usage = true, mockvendor.DeclareRunning }},
	{"above the hold", 5, func(a *ask, d *rand.Rand) { a.script.Output = 2000 + d.IntN(3000) }},
	{"hangs", 4, func(a *ask, d *rand.Rand) {
		b := mockvendor.NewBarrier([]mockvendor.Point{mockvendor.BeforeHeaders, mockvendor.AfterChunk, mockvendor.BeforeUsage, mockvendor.AfterLast}[d.IntN(4)])
		a.script.Barrier, a.wait = b, time.Duration(100+d.IntN(800))*time.Millisecond
	}},
	{"client leaves", 14, func(a *ask, d *rand.Rand) {
		a.stream, a.script.Text, a.script.Chunks = true, words(30), 30
		a.leave = []int{1, 2 + d.IntN(25), 33}[d.IntN(3)]
	}},
}

// planned makes the requests of a storm. How many callers each has, and whether
// one sends another body, is part of it.
type planned struct {
	*ask
	callers int
	other   bool // another body under the same key, at the same time
}

func (s *seed) plan() []planned {
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	var out []planned
	for range s.size.storm {
		pick := s.dice.IntN(total)
		i := 0
		for ; pick >= kinds[i].weight; i++ {
			pick -= kinds[i].weight
		}
		kind := kinds[i]
		o := []*org{s.rich, s.rich, s.own, s.spare, s.poor, s.quiet}[s.dice.IntN(6)]
		if o.strict && kind.name == "above the hold" {
			o = s.rich // poor must never be below zero
		}
		a := s.newAsk(o, kind.name)
		a.prompt += " " + words(1+s.dice.IntN(40))
		a.stream = s.dice.IntN(2) == 0
		a.max = 100 + s.dice.IntN(300)
		kind.make(a, s.dice)
		p := planned{ask: a, callers: 1}
		switch {
		case s.dice.IntN(10) == 0:
			a.key = ""
		case s.dice.IntN(4) == 0:
			p.callers = 2 + s.dice.IntN(3)
		case s.dice.IntN(6) == 0:
			p.other = true
		}
		a.direct()
		out = append(out, p)
	}
	return out
}

// storm plays the plan with eight clients while everything else goes wrong.
func (s *seed) storm(ctx context.Context) error {
	work := make(chan planned)
	list := s.plan()
	stop, ended := context.WithCancel(ctx)
	var actors sync.WaitGroup
	for i, act := range []func(context.Context, *rand.Rand){s.killer, s.faulter, s.sweeper, s.sweeper, s.replayer, s.changer, s.watcher} {
		d := rand.New(rand.NewPCG(s.n, uint64(100+i)))
		actors.Go(func() { act(stop, d) })
	}
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for p := range work {
				s.play(ctx, p)
			}
		})
	}
	for _, p := range list {
		work <- p
	}
	close(work)
	clients.Wait()
	ended()
	actors.Wait()
	return s.w.clearFaults(ctx)
}

func (s *seed) play(ctx context.Context, p planned) {
	if p.script.Barrier != nil {
		time.AfterFunc(p.wait, p.script.Barrier.Release)
	}
	var all sync.WaitGroup
	for range p.callers {
		all.Go(func() { s.outcome(p.ask, p.send(ctx)) })
	}
	if p.other {
		// The body counts, not the order: whichever comes second is refused.
		all.Go(func() { s.w.post(ctx, p.org.key, p.key, p.body(p.prompt+" other"), 0, nil) })
	}
	all.Wait()
}

// outcome counts how the requests of the storm ended, and says what must not be.
func (s *seed) outcome(a *ask, r reply) {
	what := fmt.Sprint(r.status)
	if r.code != "" {
		what += " " + r.code
	}
	if r.err != nil {
		what = "broken off"
	}
	s.count("storm: "+what, 1)
	if r.status == http.StatusInternalServerError {
		s.broken("harness", "%s: %d %s", a.prompt, r.status, r.code)
	}
}

// pause waits between the steps of an actor.
func pause(ctx context.Context, d *rand.Rand, least, most int) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Duration(least+d.IntN(most-least)) * time.Millisecond):
		return true
	}
}

// killer kills one busy process at a time.
func (s *seed) killer(ctx context.Context, d *rand.Rand) {
	for pause(ctx, d, 100, 400) {
		function := []string{"invoke", "settle", "settle", "sweep"}[d.IntN(4)]
		pids, err := s.w.busy(ctx, function)
		if len(pids) == 0 {
			if err != nil && ctx.Err() == nil {
				s.broken("harness", "whom to kill: %v", err)
			}
			continue
		}
		if function == "invoke" {
			s.danger.Add(1)
		}
		_ = syscall.Kill(pids[d.IntN(len(pids))], syscall.SIGKILL)
		s.count("storm kills: "+function, 1)
		switch function {
		case "invoke":
			s.danger.Add(1)
		case "settle":
			s.hurt.Add(1)
		}
	}
}

// faulter makes DynamoDB refuse, conflict, forget to answer, and go away.
func (s *seed) faulter(ctx context.Context, d *rand.Rand) {
	one := func(function, operation, kind string, most int) map[string]any {
		f := map[string]any{"service": "dynamodb", "function": function, "operation": operation, "error": kind, "count": 1 + d.IntN(most), "skip": d.IntN(3)}
		if kind == "cancelled" {
			f["reasons"] = [][]string{{"None", "TransactionConflict"}, {"TransactionConflict", "None", "ThrottlingError"}, {"ThrottlingError"},
				{"None", "None", "ProvisionedThroughputExceeded", "TransactionConflict"}}[d.IntN(4)]
		}
		return f
	}
	for pause(ctx, d, 20, 120) {
		function := []string{"invoke", "invoke", "settle", "settle", "sweep"}[d.IntN(5)]
		var f map[string]any
		switch d.IntN(8) {
		case 0, 1:
			f = one(function, "TransactWriteItems", "conflict", 4)
		case 2:
			f = one(function, "TransactWriteItems", "cancelled", 3)
		case 3:
			f = one(function, "TransactWriteItems", "timeout_after_commit", 1)
		case 4:
			f = one(function, "TransactWriteItems", "throttle", 3)
		case 5:
			f = one("invoke", "UpdateItem", []string{"conflict", "throttle", "timeout_after_commit", "unavailable"}[d.IntN(4)], 2)
		case 6:
			f = map[string]any{"service": "streams", "error": []string{"throttle", "unavailable"}[d.IntN(2)], "count": 1 + d.IntN(3)}
		case 7:
			if d.IntN(3) == 0 {
				s.outage(ctx, d)
			}
			continue
		}
		if s.w.fault(ctx, f) == nil {
			s.count("faults", 1)
			if f["function"] == "settle" {
				s.hurt.Add(1)
			}
		}
	}
}

// outage takes the tables away from the functions for a moment.
func (s *seed) outage(ctx context.Context, d *rand.Rand) {
	s.danger.Add(1)
	defer s.danger.Add(1)
	s.hurt.Add(1)
	for _, function := range []string{"invoke", "settle", "sweep"} {
		_ = s.w.fault(ctx, map[string]any{"service": "dynamodb", "function": function, "error": "unavailable"})
	}
	pause(ctx, d, 200, 1500)
	s.count("outages", 1)
	_ = s.w.clearFaults(context.WithoutCancel(ctx))
}

// sweeper sweeps at clocks that go wrong, two of them at once.
func (s *seed) sweeper(ctx context.Context, d *rand.Rand) {
	for pause(ctx, d, 100, 900) {
		offset := []time.Duration{-2 * time.Minute, 0, 2 * time.Minute, time.Hour}[d.IntN(4)]
		if _, err := s.w.sweep(ctx, offset); err == nil {
			s.count("sweeps", 1)
		}
	}
}

// replayer delivers to settle again what it was delivered before.
func (s *seed) replayer(ctx context.Context, d *rand.Rand) {
	for pause(ctx, d, 50, 200) {
		if all, _ := s.w.records(s.since); len(all) > 0 {
			from := d.IntN(len(all))
			s.deliver(ctx, d, all[from:min(from+1+d.IntN(60), len(all))])
		}
	}
}

// keysOf is the record's item, by which order must be kept.
func keysOf(r json.RawMessage) string {
	var e struct {
		DynamoDB struct{ Keys json.RawMessage }
	}
	_ = json.Unmarshal(r, &e)
	return string(e.DynamoDB.Keys)
}

func sequenceOf(r json.RawMessage) string {
	var e struct {
		DynamoDB struct{ SequenceNumber string }
	}
	_ = json.Unmarshal(r, &e)
	return e.DynamoDB.SequenceNumber
}

// shuffled changes the order of records, not that of one item's.
func shuffled(d *rand.Rand, records []json.RawMessage) []json.RawMessage {
	perKey := map[string][]json.RawMessage{}
	var order []string
	for _, r := range records {
		k := keysOf(r)
		perKey[k] = append(perKey[k], r)
		order = append(order, k)
	}
	d.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	out := make([]json.RawMessage, len(order))
	for i, k := range order {
		out[i], perKey[k] = perKey[k][0], perKey[k][1:]
	}
	return out
}

// deliver shuffles a batch, repeats a part of it, puts poison into it, and obeys
// the answer as the event source mapping would.
func (s *seed) deliver(ctx context.Context, d *rand.Rand, records []json.RawMessage) {
	batch := shuffled(d, records)
	if d.IntN(2) == 0 {
		batch = append(batch, batch[:d.IntN(len(batch))]...)
	}
	if d.IntN(3) == 0 {
		at := []int{0, len(batch) / 2, len(batch)}[d.IntN(3)]
		batch = slices.Insert(slices.Clone(batch), at, poison(s.name, d.IntN(1_000_000)))
		s.count("poison delivered", 1)
	}
	for range 8 {
		var out struct {
			BatchItemFailures []struct{ ItemIdentifier string }
		}
		if s.w.local(ctx, "/invoke/settle", map[string]any{"Records": batch}, &out) != nil {
			continue // killed, or its tables are away
		}
		s.count("batches delivered again", 1)
		if len(out.BatchItemFailures) == 0 {
			return
		}
		first := slices.IndexFunc(batch, func(r json.RawMessage) bool { return sequenceOf(r) == out.BatchItemFailures[0].ItemIdentifier })
		if first < 0 {
			s.broken("F21", "settle wants a record again that it was not given: %v", out)
			return
		}
		batch = batch[first:]
	}
}

// broken records are recognised by this in their key.
const poisonMark = "#poisoned-by-the-harness"

func poison(name string, n int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"eventID":"p%d","eventName":"INSERT","dynamodb":{"SequenceNumber":"%d","Keys":{"pk":{"S":"J#%s%s"},"sk":{"S":"E#x%d"}},"NewImage":{"a":{"S":"not a number"}}}}`,
		n, n, name, poisonMark, n))
}

// changer changes prices, settings and keys while requests run.
func (s *seed) changer(ctx context.Context, d *rand.Rand) {
	// A change that is under way is finished: half of it would not be known of.
	for running := ctx; pause(running, d, 300, 1200); {
		ctx := context.WithoutCancel(running)
		switch d.IntN(4) {
		case 0, 1:
			if s.w.price(ctx, int64(1+d.IntN(30))*100_000, int64(1+d.IntN(90))*100_000) == nil {
				s.count("price changes", 1)
			}
		case 2:
			fallback := [][]string{{}, {ownModel}}[d.IntN(2)]
			if s.spare.call(ctx, http.MethodPut, "/settings", map[string]any{"fallback": fallback}, nil) == nil {
				s.count("settings changes", 1)
			}
		case 3:
			if s.own.call(ctx, http.MethodPost, "/connections/"+s.own.conn+"/revoke", nil, nil) == nil && s.own.connect(ctx) == nil {
				s.count("keys revoked", 1)
			}
		}
	}
}

// watcher looks at balances and entries while they change: nothing that it sees
// may be wrong or change later.
func (s *seed) watcher(ctx context.Context, d *rand.Rand) {
	for pause(ctx, d, 50, 250) {
		for _, o := range s.orgs {
			if c, err := o.credits(ctx); err == nil {
				o.lowest = min(o.lowest, c.Available)
			}
		}
		o := s.orgs[d.IntN(len(s.orgs))]
		list, err := o.entries(ctx)
		if err != nil {
			continue
		}
		s.remember(list)
	}
}

// remember notes entries as they are now.
func (s *seed) remember(list []entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range list {
		b, _ := json.Marshal(e)
		if old, ok := s.early[e.ID]; ok && old != string(b) {
			s.violations = append(s.violations, "I12: entry changed from "+old+" to "+string(b))
		}
		s.early[e.ID] = string(b)
	}
}
