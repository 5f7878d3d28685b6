package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/rig"
)

// The bars of a call (measured on other gateways and on the floor of a Go
// function, 2026-11). Ratios are to the base in the same round.
const (
	barPlainCPU    = 3.0
	barPlainOwn    = 2.0 // without the SDK: an aim
	barPlainAdded  = 0.25
	barStreamCPU   = 2.0
	barStreamFirst = 0.4
	barRSS         = 45.0
	barGrowth      = 2.0
	barAWSCalls    = 5.0
)

// summarise makes rows of the rounds and compares them with the bars.
func (l *lambdaReport) summarise(p plan) {
	for _, mode := range []string{lambdaPlain, lambdaStream} {
		for _, peer := range lambdaPeers() {
			l.Rows = append(l.Rows, l.row(mode, peer))
		}
	}
	for i := range l.Costs {
		c := &l.Costs[i]
		if row := l.find(c.Mode, c.Peer); row != nil {
			row.Own = round2(row.XBase.Median * (1 - c.awsShare()))
			for j := range c.Phases {
				// CPU-milliseconds per 1000 calls are microseconds per call.
				c.Phases[j].CPU, c.Phases[j].SDK = round2(c.Phases[j].share*row.CPU.Median), round2(c.Phases[j].sdkShare*row.CPU.Median)
			}
		}
	}
	l.bars(p)
}

func (l *lambdaReport) find(mode, peer string) *lambdaRow {
	for i := range l.Rows {
		if l.Rows[i].Mode == mode && l.Rows[i].Peer == peer {
			return &l.Rows[i]
		}
	}
	return nil
}

// of finds the slice of a peer in a round; it is empty if there is none.
func (l *lambdaReport) of(round int, mode, peer string) lambdaRound {
	for _, r := range l.Rounds {
		if r.Round == round && r.Mode == mode && r.Peer == peer {
			return r
		}
	}
	return lambdaRound{CPU: math.NaN(), P50: math.NaN(), P99: math.NaN()}
}

func (l *lambdaReport) row(mode, peer string) lambdaRow {
	row := lambdaRow{Mode: mode, Peer: peer}
	var cpu, ratio, added, p99 []float64
	calls, singly := 0, 0
	for _, r := range l.Rounds {
		if r.Mode != mode || r.Peer != peer {
			continue
		}
		direct, base := l.of(r.Round, mode, peerDirect), l.of(r.Round, mode, peerBase)
		cpu = append(cpu, 1000*r.CPU/float64(r.Calls))
		ratio = append(ratio, r.CPU/float64(r.Calls)/(base.CPU/float64(base.Calls)))
		added, p99 = append(added, r.P50-direct.P50), append(p99, r.P99-direct.P99)
		calls, singly = calls+r.Calls, singly+r.Singly
	}
	row.CPU, row.XBase, row.Added, row.P99 = rig.SpreadOf(cpu), rig.SpreadOf(ratio), rig.SpreadOf(added), rig.SpreadOf(p99)
	if mode == lambdaStream && calls > 0 {
		row.Singly = round3(float64(singly) / float64(calls))
	}
	return row
}

func (l *lambdaReport) bars(p plan) {
	bar := func(figure string, got, bar float64, unit string) {
		got = finite(got)
		l.Bars = append(l.Bars, barRow{figure, got, bar, unit, got <= bar && got > 0 || bar == barGrowth && got <= bar})
	}
	for _, peer := range []string{peerPlatform, peerOwn} {
		plain, stream := l.find(lambdaPlain, peer), l.find(lambdaStream, peer)
		bar(peer+", plain: CPU", plain.XBase.Median, barPlainCPU, "x base")
		bar(peer+", plain: CPU without the AWS SDK (aim)", plain.Own, barPlainOwn, "x base")
		bar(peer+", plain: added p50", plain.Added.Median, barPlainAdded, "ms")
		bar(peer+", stream: CPU", stream.XBase.Median, barStreamCPU, "x base")
		bar(peer+", stream: added first byte p50", stream.Added.Median, barStreamFirst, "ms")
		direct := l.find(lambdaStream, peerDirect)
		// A busy machine joins deltas on the way to anybody.
		l.Bars = append(l.Bars, barRow{peer + ", stream: streams with every delta singly", stream.Singly, direct.Singly,
			"of all (direct is the bar)", stream.Singly >= direct.Singly-0.05 && stream.Singly > 0})
	}
	for _, c := range l.Costs {
		bar(c.Peer+", "+c.Mode+": AWS calls", c.awsCalls(), barAWSCalls, "per call")
	}
	bar(fmt.Sprintf("RSS after %d calls", p.lambdaMemory), l.Memory.Half, barRSS, "MB")
	bar(fmt.Sprintf("RSS growth over the next %d", p.lambdaMemory), l.Memory.End-l.Memory.Half, barGrowth, "MB")
}

func (r *report) printLambda(out io.Writer) {
	l := r.Lambda
	if l == nil {
		return
	}
	for _, mode := range []string{lambdaPlain, lambdaStream} {
		rows := [][]string{{"", "CPU ms/1000", "x base", "without SDK", "added p50 ms", "added p99 ms", "deltas singly"}}
		for _, x := range l.Rows {
			if x.Mode == mode {
				rows = append(rows, []string{x.Peer, spread(x.CPU), spread(x.XBase), ratio(x.Own), spread(x.Added), spread(x.P99), ratio(x.Singly)})
			}
		}
		if mode == lambdaStream {
			rows[0][4], rows[0][5] = "added first byte p50 ms", "added first byte p99 ms"
		}
		grid(out, "function, AWS answered at once, "+mode+" (medians and quartiles of rounds; everything is relative to the same round)", rows)
	}
	for _, c := range l.Costs {
		var calls []string
		for _, name := range slices.Sorted(maps.Keys(c.AWSCalls)) {
			calls = append(calls, name+" "+number(c.AWSCalls[name]))
		}
		rows := [][]string{{"", "CPU us", "of it AWS SDK", "allocs", "of them AWS SDK"}}
		var total phaseRow
		for _, p := range c.Phases {
			rows = append(rows, []string{p.Phase, number(p.CPU + p.SDK), number(p.SDK), number(p.Allocs + p.SDKed), number(p.SDKed)})
			total.CPU, total.SDK, total.Allocs, total.SDKed = total.CPU+p.CPU, total.SDK+p.SDK, total.Allocs+p.Allocs, total.SDKed+p.SDKed
		}
		rows = append(rows, []string{"all", number(total.CPU + total.SDK), number(total.SDK), number(total.Allocs + total.SDKed), number(total.SDKed)})
		grid(out, fmt.Sprintf("one call, %s, %s: %s allocations, %s KB, AWS calls: %s (split by a profile of %d samples)", c.Mode, c.Peer,
			number(c.Allocs), number(c.Bytes/1024), strings.Join(calls, ", "), c.Samples), rows)
	}
	fmt.Fprintf(out, "\nmemory of the function: %s MB after its first event was asked for, %s after %d calls, %s after %d\n",
		number(l.Memory.Start), number(l.Memory.Half), l.Memory.Calls, number(l.Memory.End), 2*l.Memory.Calls)
	rows := [][]string{{"", "got", "bar", "", "reached"}}
	for _, b := range l.Bars {
		rows = append(rows, []string{b.Figure, number(b.Got), number(b.Bar), b.Unit, strconv.FormatBool(b.Reached)})
	}
	grid(out, "bars", rows)
}
