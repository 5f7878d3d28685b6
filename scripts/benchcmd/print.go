package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/latchkey/latchkey/scripts/internal/rig"
)

// print shows the report to people.
func (r *report) print(out io.Writer) {
	m := r.Machine
	fmt.Fprintf(out, "\nLatchkey benchmark (%s), %s UTC, %.0f s\n", r.Kind, r.At.Format("2006-01-02 15:04"), r.Seconds)
	fmt.Fprintf(out, "machine: %d cores, %s/%s, %s, load %s at the start and %s at the end\n", m.Cores, m.System, m.Arch, m.Go, m.LoadStart, m.LoadEnd)
	for _, w := range r.Warnings {
		fmt.Fprintf(out, "WARNING: %s\n", w)
	}
	r.printLambda(out)
	r.printServing(out)
	r.printFunction(out)
	r.printVault(out)
	r.printHooks(out)
	r.printStartup(out)
	r.printSizes(out)
	r.printLedger(out)
	r.printHot(out)
	r.printSoak(out)
	if m := r.Money; m.Orgs > 0 {
		verdict := "right"
		if !m.OK {
			verdict = "WRONG or not checked"
		}
		fmt.Fprintf(out, "\nmoney: %s (%d organisations, %d calls served, %d entries, %d micro-credits charged)\n",
			verdict, m.Orgs, m.Calls, m.Entries, m.Charged)
	}
	if !r.OK {
		fmt.Fprintf(out, "FAILED: %s\n", r.Wrong)
	}
}

// grid prints aligned columns, the first to the left.
func grid(out io.Writer, title string, rows [][]string) {
	if len(rows) < 2 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", title)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
	}
	_ = w.Flush()
}

func (r *report) printServing(out io.Writer) {
	mode := ""
	var rows [][]string
	flush := func() {
		grid(out, mode, rows)
		rows = [][]string{{"", "req/s", "p50 ms", "p99 ms", "added p50 ms", "CPU function", "front", "engine", "settle", "x floor", "whole x floor", "errors", "broken"}}
	}
	for _, s := range r.Serving {
		if s.Mode != mode {
			flush()
			mode = s.Mode
		}
		row := []string{s.Peer, number(s.Rate.Median), number(s.P50), ratio(s.P99), "", "", "", "", "", "", "", failures(s.Errors, s.Calls), strconv.Itoa(s.Broken)}
		if s.CPU != nil {
			row[4] = spread(s.Added)
			row[5] = number(s.CPU.Whole.Median)
			row[10] = spread(s.WholeFloor)
		}
		if s.CPU != nil && s.FunctionFloor.Median > 0 {
			row[5], row[6] = number(s.CPU.Function.Median), number(s.CPU.Front.Median)
			row[7], row[8], row[9] = number(s.CPU.Engine.Median), number(s.CPU.Settle.Median), spread(s.FunctionFloor)
		}
		rows = append(rows, row)
	}
	flush()
	if len(r.Serving) > 0 {
		fmt.Fprintf(out, "\n  CPU is in ms per 1000 calls; figures in brackets are the quartiles of the rounds. Streams: time to the first byte.\n"+
			"  engine is DynamoDB Local, front the local HTTP front with Lambda host, key service and table proxy: neither is deployed.\n"+
			"  resident memory of the model function after the load: %s MB in %d processes\n"+
			"  while this was measured other programs used %.2f cores, the stack at rest %.3f (taken off)\n",
			spread(r.Memory.RSS), r.Memory.Processes, r.Machine.ForeignCores, r.Idle/1000)
	}
}

func (r *report) printFunction(out io.Writer) {
	rows := [][]string{{"", "us/op", "x baseline", "B/op", "allocs/op"}}
	for _, g := range r.Function {
		rows = append(rows, []string{g.Package + " " + g.Name, spread(scaled(g.Nanoseconds, 1e-3)), ratio(g.OfBase), number(g.Bytes), number(g.Allocs)})
	}
	grid(out, "the function's own code, everything outside answered in the process (baseline: the vendor's adapter alone)", rows)
}

func (r *report) printStartup(out io.Writer) {
	rows := [][]string{{"", "exec to first poll ms", "x base", "CPU ms", "RSS MB"}}
	for _, s := range r.Startup {
		rows = append(rows, []string{s.Function, spread(s.Wall), ratio(s.OfBase), number(s.CPU.Median), number(s.RSS.Median)})
	}
	grid(out, "start (base: a function that only echoes)", rows)
}

func (r *report) printSizes(out io.Writer) {
	rows := [][]string{{"", "arch", "binary MB", "zip MB"}}
	for _, s := range r.Sizes {
		rows = append(rows, []string{s.Function, s.Arch, number(s.Binary), number(s.Zip)})
	}
	grid(out, "sizes", rows)
}

func (r *report) printLedger(out io.Writer) {
	rows := [][]string{{"", "per second", "of baseline", "refused"}}
	for _, l := range r.Ledger {
		refused := 0
		for _, n := range l.Refused {
			refused += n
		}
		rows = append(rows, []string{l.Step, number(l.PerSecond), ratio(l.OfBase), strconv.Itoa(refused)})
	}
	grid(out, "ledger on DynamoDB Local", rows)
	rows = [][]string{{"organisations", "shards each", "reserve to settled per second", "of a bare transaction", "refused"}}
	for _, s := range r.Shards {
		rows = append(rows, []string{strconv.Itoa(s.Orgs), strconv.Itoa(s.Shards), spread(s.PerSecond), spread(s.OfBare), strconv.Itoa(s.Refused)})
	}
	grid(out, fmt.Sprintf("requests on DynamoDB Local, %d callers (it neither refuses conflicts nor slows busy keys: shards cannot help here, they cost what fewer requests settle together)", ledgerWorkers), rows)
	rows = [][]string{{"settled together", "write units", "of the index"}}
	for _, u := range r.Units {
		rows = append(rows, []string{strconv.Itoa(u.Batch), number(u.Table), number(u.Index)})
	}
	grid(out, "write units of a request, any number of organisations and shards (documented rule over what is sent; the local engine counts otherwise)", rows)
}

func (r *report) printSoak(out io.Writer) {
	if s := r.Soak; s != nil {
		fmt.Fprintf(out, "\nstreams on a busy machine: %d of %d ended whole in %.0f s, %d broke off, errors %s, first byte p50 %s ms, p99 %s ms\n",
			s.Whole, s.Asked, s.Seconds, s.Broken, failures(s.Errors, s.Calls), number(s.FirstP50), number(s.FirstP99))
	}
}

func scaled(s rig.Spread, by float64) rig.Spread {
	return rig.Spread{Median: s.Median * by, Q1: s.Q1 * by, Q3: s.Q3 * by}
}

func spread(s rig.Spread) string {
	if s.Q1 == s.Q3 {
		return number(s.Median)
	}
	return number(s.Median) + " (" + number(s.Q1) + ".." + number(s.Q3) + ")"
}

func ratio(v float64) string {
	if v == 0 {
		return ""
	}
	return number(v)
}

// number shows three significant digits or all digits before the point.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100 || v <= -100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10 || v <= -10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 1 || v <= -1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}

// failures lists what went wrong, by code.
func failures(errors map[string]int, calls int) string {
	sum := 0
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(errors)) {
		sum += errors[code]
		parts = append(parts, fmt.Sprintf("%s: %d", code, errors[code]))
	}
	if sum == 0 {
		return fmt.Sprintf("0 / %d", calls)
	}
	return fmt.Sprintf("%d / %d (%s)", sum, calls, strings.Join(parts, ", "))
}
