package main

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/rig"
)

// goSuite is a set of Go benchmarks that belong to the report.
type goSuite struct {
	pkg, pattern string
	// baseline maps a benchmark to the one its cost is compared to.
	baseline map[string]string
}

func functionSuite() goSuite {
	return goSuite{"./shared/gateway", "^Benchmark(Plain|Stream50)$", map[string]string{
		"Plain/platform": "Plain/adapter", "Plain/own_key": "Plain/adapter",
		"Stream50/platform": "Stream50/adapter", "Stream50/own_key": "Stream50/adapter",
	}}
}

// benchLine is a line of go test -bench -benchmem.
var benchLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op.*?\s(\d+) B/op\s+(\d+) allocs/op`)

// goBenchmarks runs the function's own code with everything outside of it
// answered in the process.
func goBenchmarks(ctx context.Context, o options, p plan, r *report) (err error) {
	r.Function, err = functionSuite().run(ctx, o, p)
	return err
}

// run runs the benchmarks of a suite.
func (s goSuite) run(ctx context.Context, o options, p plan) ([]goRow, error) {
	out, err := goTool(ctx, o.root, nil, "test", "-run", "^$", "-bench", s.pattern, "-benchmem",
		"-benchtime", p.goTime.String(), "-count", strconv.Itoa(p.goRepeats), "-timeout", "10m", s.pkg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", s.pkg, err, out)
	}
	rows := parseBenchmarks(out)
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s has no benchmark %s", s.pkg, s.pattern)
	}
	compareRows(rows, s.baseline)
	for i := range rows {
		rows[i].Package = strings.TrimPrefix(s.pkg, "./")
	}
	return rows, nil
}

// parseBenchmarks collects the repeats of each benchmark, in the order printed.
func parseBenchmarks(out string) []goRow {
	type repeats struct{ ns, bytes, allocs []float64 }
	all := map[string]*repeats{}
	var names []string
	for _, m := range benchLine.FindAllStringSubmatch(out, -1) {
		if all[m[1]] == nil {
			all[m[1]] = &repeats{}
			names = append(names, m[1])
		}
		x := all[m[1]]
		x.ns, x.bytes, x.allocs = append(x.ns, parse64(m[2])), append(x.bytes, parse64(m[3])), append(x.allocs, parse64(m[4]))
	}
	rows := make([]goRow, 0, len(names))
	for _, n := range names {
		x := all[n]
		rows = append(rows, goRow{Name: n, Nanoseconds: rig.SpreadOf(x.ns), Bytes: rig.SpreadOf(x.bytes).Median, Allocs: rig.SpreadOf(x.allocs).Median})
	}
	return rows
}

func compareRows(rows []goRow, baseline map[string]string) {
	for i := range rows {
		at := slices.IndexFunc(rows, func(r goRow) bool { return r.Name == baseline[rows[i].Name] })
		if at >= 0 && rows[at].Nanoseconds.Median > 0 {
			rows[i].OfBase = round2(rows[i].Nanoseconds.Median / rows[at].Nanoseconds.Median)
		}
	}
}

func parse64(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}
