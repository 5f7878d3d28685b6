package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/rig"
)

// mode is one shape of load.
type mode struct {
	name    string
	stream  bool
	clients int
	orgs    int // over how many organisations the calls are spread
}

func modes(p plan) []mode {
	return []mode{
		{"plain, 1 connection", false, 1, 1},
		{"stream of 10 deltas, 1 connection", true, 1, 1},
		{"plain, 32 clients, 1 org", false, 32, 1},
		{fmt.Sprintf("plain, 32 clients, %d orgs", p.orgs), false, 32, p.orgs},
	}
}

// peer is one way to the vendor.
type peer struct {
	name  string
	base  func(*world) string
	model string
	ours  bool
}

const (
	floorPeer = "reverse proxy (floor)"
	// p99Samples is how many calls a 99th percentile needs to say anything.
	p99Samples = 200
	// callTimeout is generous: a slow answer is a figure, not a failure.
	callTimeout = 60 * time.Second
)

func peers() []peer {
	return []peer{
		{floorPeer, func(w *world) string { return w.floorURL }, modelVendor, false},
		{"latchkey, platform credits", func(w *world) string { return w.ready.InvokeURL }, modelPlatform, true},
		{"latchkey, own key", func(w *world) string { return w.ready.InvokeURL }, modelOwn, true},
	}
}

func direct() peer {
	return peer{"direct", func(w *world) string { return w.upstreamURL }, modelVendor, false}
}

// pair is one round of one peer: a direct slice and the peer's own.
type pair struct {
	direct, own rig.Result
	during      cost // while the peer's slice ran
	after       cost // until settlement had caught up, less what the stack uses at rest
}

// serving runs all rounds. The peers take turns within a round, so that all of
// them meet the same machine.
func serving(ctx context.Context, p plan, w *world, r *report) error {
	say("creating %d organisations", p.orgs)
	if err := w.enrol(ctx, p.orgs); err != nil {
		return err
	}
	w.rest(ctx)
	busy, ours, began := rig.Busy(), w.ownCPU(), time.Now()
	all := map[string][]pair{}
	for _, m := range modes(p) {
		for _, x := range append(peers(), direct()) {
			warm := p
			warm.slice = p.warm
			if _, err := w.slice(ctx, warm, m, x); err != nil {
				return err
			}
			w.quiet(ctx)
		}
	}
	for round := range p.rounds {
		say("round %d of %d", round+1, p.rounds)
		for _, m := range modes(p) {
			for _, x := range peers() {
				one, err := w.round(ctx, p, m, x)
				if err != nil {
					return err
				}
				all[m.name+x.name] = append(all[m.name+x.name], one)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	elapsed := time.Since(began)
	r.Machine.ForeignCores = max(r.Machine.ForeignCores, float64(rig.Busy()-busy-(w.ownCPU()-ours))/float64(elapsed))
	broken := 0
	for _, m := range modes(p) {
		floor := all[m.name+floorPeer]
		r.Serving = append(r.Serving, directRow(m, floor))
		for _, x := range peers() {
			row := peerRow(m, x, all[m.name+x.name], floor)
			r.Serving = append(r.Serving, row)
			if x.ours {
				broken += row.Broken
			}
		}
	}
	r.Memory, r.Idle = w.memory(), round2(milliseconds(w.idle.whole()))
	if broken > 0 {
		return fmt.Errorf("%d streamed replies through the function broke off", broken)
	}
	return nil
}

func (w *world) round(ctx context.Context, p plan, m mode, x peer) (one pair, err error) {
	if one.direct, err = w.slice(ctx, p, m, direct()); err != nil {
		return one, err
	}
	before, began := w.cost(), time.Now()
	if one.own, err = w.slice(ctx, p, m, x); err != nil {
		return one, err
	}
	one.during = w.since(before, w.cost())
	if x.ours {
		w.quiet(ctx)
	}
	one.after = w.since(before, w.cost()).less(w.idle, time.Since(began))
	return one, nil
}

// slice sends load for a while and books what was served on the organisations.
func (w *world) slice(ctx context.Context, p plan, m mode, x peer) (rig.Result, error) {
	base := x.base(w)
	requests := make([][]byte, m.orgs)
	for i := range requests {
		requests[i] = chatRequest(base, w.tenants[i].key, x.model, m.stream)
	}
	res, err := rig.Load(ctx, rig.Spec{Addr: host(base), Requests: requests, Stream: m.stream, Clients: m.clients,
		Duration: p.slice, MaxCalls: 200_000, Timeout: callTimeout})
	if err == nil && x.ours {
		for i, n := range res.OK {
			w.tenants[i].served += n
		}
	}
	return res, err
}

// ownCPU is what this run's processes have used so far.
func (w *world) ownCPU() time.Duration {
	sum := rig.CPU(os.Getpid()) + rig.CPU(w.upstream.PID())
	for _, p := range w.cost() {
		sum += p.CPU
	}
	return sum
}

func directRow(m mode, pairs []pair) servingRow {
	var sum rig.Result
	var rate []float64
	for _, p := range pairs {
		sum.Merge(&p.direct)
		rate = append(rate, float64(len(p.direct.Total))/p.direct.Elapsed.Seconds())
	}
	row := latencies(servingRow{Mode: m.name, Peer: "direct", Rate: rig.SpreadOf(rate)}, m, &sum)
	return row
}

// latencies fills in what all slices together gave: of a stream the first byte
// counts, of a plain reply the whole.
func latencies(row servingRow, m mode, sum *rig.Result) servingRow {
	of := sum.Total
	if m.stream {
		of = sum.First
		row.Reads = round2(float64(sum.Reads) / float64(max(1, len(sum.Total))))
	}
	row.P50 = finite(rig.Quantile(of, 0.5))
	if len(of) >= p99Samples {
		row.P99 = finite(rig.Quantile(of, 0.99))
	}
	row.Calls, row.Errors, row.Broken, row.Samples = sum.Calls, sum.Errors, sum.Broken, len(of)
	return row
}

// peerRow summarises the rounds of one peer. A round in which nothing succeeded
// gives no figure.
func peerRow(m mode, x peer, pairs, floor []pair) servingRow {
	var sum rig.Result
	var rate, added, function, front, engine, settle, whole, ratio, wholeRatio []float64
	for i, p := range pairs {
		sum.Merge(&p.own)
		n := float64(len(p.own.Total))
		rate = append(rate, n/p.own.Elapsed.Seconds())
		median := func(r *rig.Result) float64 {
			if m.stream {
				return rig.Quantile(r.First, 0.5)
			}
			return rig.Quantile(r.Total, 0.5)
		}
		added = append(added, median(&p.own)-median(&p.direct))
		base := perThousand(floor[i].during.floor, float64(len(floor[i].own.Total)))
		if !x.ours {
			whole = append(whole, perThousand(p.during.floor, n))
			continue
		}
		f, all := perThousand(p.during.function, n), perThousand(p.after.whole()-p.after.floor, n)
		function, front = append(function, f), append(front, perThousand(p.after.front, n))
		engine, settle = append(engine, perThousand(p.after.engine, n)), append(settle, perThousand(p.after.settle, n))
		whole = append(whole, all)
		ratio, wholeRatio = append(ratio, f/base), append(wholeRatio, all/base)
	}
	row := latencies(servingRow{Mode: m.name, Peer: x.name, Rate: rig.SpreadOf(rate), Added: rig.SpreadOf(added)}, m, &sum)
	row.CPU = &cpuRow{Whole: rig.SpreadOf(whole)}
	if x.ours {
		row.CPU.Function, row.CPU.Front = rig.SpreadOf(function), rig.SpreadOf(front)
		row.CPU.Engine, row.CPU.Settle = rig.SpreadOf(engine), rig.SpreadOf(settle)
		row.FunctionFloor, row.WholeFloor = rig.SpreadOf(ratio), rig.SpreadOf(wholeRatio)
	} else {
		row.WholeFloor = rig.Spread{Median: 1, Q1: 1, Q3: 1}
	}
	return row
}

// perThousand is CPU-milliseconds per 1000 calls.
func perThousand(used time.Duration, calls float64) float64 {
	if calls == 0 {
		return math.NaN()
	}
	return float64(used) / float64(time.Millisecond) * 1000 / calls
}

// memory is what the processes of the model function hold after the load.
func (w *world) memory() memoryRow {
	var row memoryRow
	var rss []float64
	for _, p := range rig.Processes(w.stack.PID()) {
		if p.Name == functionName {
			rss = append(rss, megabytes(rig.RSS(p.PID)))
		}
	}
	row.Processes, row.RSS = len(rss), rig.SpreadOf(rss)
	return row
}

func megabytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
