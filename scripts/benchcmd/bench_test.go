package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// books is an organisation as the admin API shows it.
type books struct {
	entries                 string // two pages
	second                  string
	posted, held, available int64
}

func honest() books {
	return books{
		entries: `{"id":"e1","kind":"usage","amount":-5,"request_id":"r1","legs":[{"amount":-5},{"amount":5}]}`,
		second:  `{"id":"e2","kind":"usage","amount":0,"request_id":"r2","legs":[]},{"id":"e0","kind":"grant","amount":100,"legs":[{"amount":100},{"amount":-100}]}`,
		posted:  95, available: 95,
	}
}

func (b books) tenant(t *testing.T, served int) *tenant {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/credits"):
			fmt.Fprintf(w, `{"posted":%d,"held":%d,"available":%d}`, b.posted, b.held, b.available)
		case r.URL.Query().Get("cursor") == "a/b":
			fmt.Fprintf(w, `{"items":[%s],"next_cursor":null}`, b.second)
		default:
			fmt.Fprintf(w, `{"items":[%s],"next_cursor":"a/b"}`, b.entries)
		}
	}))
	t.Cleanup(s.Close)
	return &tenant{id: "acme", admin: stack.Client{Base: s.URL}, granted: 100, served: served}
}

// Every kind of wrong money must be found and named.
func TestMoney(t *testing.T) {
	row, err := honest().tenant(t, 2).compare(t.Context())
	if err != nil || row != (moneyRow{Calls: 2, Entries: 3, Charged: 5}) {
		t.Fatalf("%+v, %v", row, err)
	}
	for name, c := range map[string]struct {
		change func(*books)
		served int
		want   string
	}{
		"balance":     {func(b *books) { b.posted, b.available = 96, 96 }, 2, "posted 96, sum of entries 95"},
		"held":        {func(b *books) { b.held, b.available = 1, 94 }, 2, "held 1"},
		"available":   {func(b *books) { b.available = 94 }, 2, "available 94"},
		"not charged": {func(*books) {}, 3, "3 calls were served, 2 have an entry"},
		"legs":        {func(b *books) { b.entries = strings.Replace(b.entries, `{"amount":5}`, `{"amount":4}`, 1) }, 2, "legs of entry e1 sum to -1"},
		"twice":       {func(b *books) { b.second = strings.Replace(b.second, "r2", "r1", 1) }, 1, "request r1 was charged twice"},
		"granted":     {func(b *books) { b.second = strings.ReplaceAll(b.second, "100", "101"); b.posted, b.available = 96, 96 }, 2, "granted 101 of 100"},
	} {
		b := honest()
		c.change(&b)
		if _, err := b.tenant(t, c.served).compare(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseBenchmarks(t *testing.T) {
	const out = `goos: linux
BenchmarkPlain/adapter-2         	   10000	    100 ns/op	   12116 B/op	      99 allocs/op
BenchmarkPlain/platform-2        	    6535	    300.5 ns/op	  12.5 MB/s	   23925 B/op	     233 allocs/op
BenchmarkPlain/adapter-2         	   10000	    200 ns/op	   12118 B/op	      99 allocs/op
PASS
`
	rows := parseBenchmarks(out)
	compareRows(rows, map[string]string{"Plain/platform": "Plain/adapter"})
	if len(rows) != 2 || rows[0].Name != "Plain/adapter" || rows[0].Nanoseconds.Median != 150 || rows[0].Bytes != 12117 || rows[0].OfBase != 0 {
		t.Fatalf("%+v", rows)
	}
	if rows[1].Nanoseconds.Median != 300.5 || rows[1].Allocs != 233 || rows[1].OfBase != 2 {
		t.Errorf("%+v", rows[1])
	}
}

// Costs belong to the part whose process had them.
func TestCostByPart(t *testing.T) {
	self, err := rig.Spawn(t.Context(), os.Stderr, new(struct{}), "role", "test")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Stop()
	other, err := rig.Spawn(t.Context(), os.Stderr, new(struct{}), "role", "test")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop()
	w := &world{stack: self, floor: other}
	before := map[int]rig.Process{self.PID(): {CPU: 1}, 1: {Name: functionName, CPU: 2}}
	after := map[int]rig.Process{self.PID(): {CPU: 11}, other.PID(): {CPU: 20}, 1: {Name: functionName, CPU: 102},
		2: {Name: functionName, CPU: 200}, 3: {Name: "java", CPU: 1000}, 4: {Name: "settle", CPU: 5000}}
	got := w.since(before, after)
	if got != (cost{function: 300, settle: 5000, front: 10, engine: 1000, floor: 20}) || got.whole() != 6330 {
		t.Errorf("%+v", got)
	}
	if got := got.less(cost{engine: 100, settle: 4000, function: 100}, 2*time.Second); got != (cost{function: 300, front: 10, engine: 800, floor: 20}) {
		t.Errorf("%+v", got)
	}
}

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "role" {
		if err := rig.Announce(struct{}{}); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func gave(n int, each time.Duration, elapsed time.Duration) rig.Result {
	r := rig.Result{Calls: n, Elapsed: elapsed, Errors: map[string]int{}}
	for range n {
		r.Total, r.First = append(r.Total, each), append(r.First, each/2)
	}
	return r
}

// Figures are taken within a round, so a round on a slow machine changes rates
// but neither what is added nor the ratio to the floor.
func TestRowsAreTakenWithinRounds(t *testing.T) {
	const ms = time.Millisecond
	var ours, floor []pair
	for _, slow := range []time.Duration{1, 3} {
		floor = append(floor, pair{direct: gave(100, slow*ms, time.Second), own: gave(10, slow*2*ms, time.Second), during: cost{floor: slow * 10 * ms}})
		ours = append(ours, pair{direct: gave(100, slow*ms, time.Second), own: gave(10, slow*ms+4*ms, time.Second),
			during: cost{function: slow * 50 * ms}, after: cost{function: slow * 50 * ms, engine: slow * 40 * ms, floor: 99}})
	}
	m := mode{name: "plain", clients: 1, orgs: 1}
	row := peerRow(m, peer{name: "x", ours: true}, ours, floor)
	if row.Added.Median != 4 || row.FunctionFloor != (rig.Spread{Median: 5, Q1: 5, Q3: 5}) || row.WholeFloor.Median != 9 {
		t.Errorf("%+v", row)
	}
	if row.CPU.Function.Median != 10000 || row.Rate.Median != 10 || row.Samples != 20 || row.P99 != 0 {
		t.Errorf("%+v %+v", row, row.CPU)
	}
	none := ours[0]
	none.own = rig.Result{Calls: 1, Elapsed: time.Second, Errors: map[string]int{"503": 1}}
	row = peerRow(m, peer{name: "x", ours: true}, []pair{none}, floor)
	if row.FunctionFloor.Median != 0 || row.Errors["503"] != 1 || math.IsNaN(row.P50) {
		t.Errorf("%+v", row)
	}
	m.stream = true
	if row := peerRow(m, peer{name: "x", ours: true}, ours, floor); row.P50 != 3 {
		t.Errorf("a stream counts to its first byte: %+v", row)
	}
}

func TestReport(t *testing.T) {
	r := newReport(options{quick: true})
	r.Machine.LoadStart, r.Machine.ForeignCores = "0.10", 0.9
	r.Serving = []servingRow{{Mode: "plain", Peer: "direct", P50: 1, Errors: map[string]int{"503 x": 2}, Calls: 9}}
	r.Money.Orgs = 1
	r.finish(errors.New("the money is wrong"))
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{"FAILED: the money is wrong", "WARNING: the machine was busy", "2 / 9 (503 x: 2)", "WRONG or not checked"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	dir := t.TempDir()
	o := options{root: dir, json: filepath.Join(dir, "more", "x.json")}
	if err := r.write(o); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{o.json, outFile(o, r.At)} {
		var back map[string]any
		b, err := os.ReadFile(f)
		if err == nil {
			err = json.Unmarshal(b, &back)
		}
		if err != nil || back["ok"] != false || back["kind"] != "quick" {
			t.Errorf("%s: %v, %v", f, err, maps.Keys(back))
		}
	}
}

func TestArguments(t *testing.T) {
	o, err := parse([]string{"--streams", "5", "--json", "f"})
	if err != nil || o.streams != 5 || o.json != "f" || newReport(o).Kind != "streams" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, bad := range [][]string{{"--streams", "-1"}, {"--streams", "1000001"}, {"x"}, {"--none"}, {"--only", "money"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	if _, err := parse([]string{"--help"}); !errors.Is(err, flag.ErrHelp) {
		t.Error(err)
	}
}
