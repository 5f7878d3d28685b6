package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/rig"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// report is the result as it is written. Times are in milliseconds, sizes in
// MiB, CPU in milliseconds per 1000 calls.
type report struct {
	Schema   int       `json:"schema"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"` // full, quick or streams
	Seconds  float64   `json:"seconds"`
	OK       bool      `json:"ok"`
	Wrong    string    `json:"wrong,omitempty"`
	Warnings []string  `json:"warnings"`
	Machine  machine   `json:"machine"`
	// Lambda is what a call costs in the function's own process.
	Lambda  *lambdaReport `json:"lambda,omitempty"`
	Serving []servingRow  `json:"serving,omitempty"`
	// Idle is what the stack uses at rest, in CPU-milliseconds per second; the
	// figures of serving are less that.
	Idle   float64     `json:"idle_cpu_ms_per_second"`
	Memory memoryRow   `json:"memory"`
	Money  moneyRow    `json:"money"`
	Ledger []ledgerRow `json:"ledger,omitempty"`
	Shards []shardRow  `json:"shards,omitempty"`
	// Units are the write units of a request by the documented rule.
	Units    []unitsRow  `json:"write_units,omitempty"`
	Hot      *hotReport  `json:"hot,omitempty"`
	Startup  []startRow  `json:"startup,omitempty"`
	Function []goRow     `json:"function,omitempty"`
	Vault    *vaultRow   `json:"vault,omitempty"`
	Hooks    *hookReport `json:"webhook,omitempty"`
	Sizes    []sizeRow   `json:"sizes,omitempty"`
	Soak     *soakRow    `json:"soak,omitempty"`
}

type machine struct {
	Cores     int    `json:"cores"`
	Arch      string `json:"arch"`
	System    string `json:"system"`
	Go        string `json:"go"`
	LoadStart string `json:"load_at_start"`
	LoadEnd   string `json:"load_at_end"`
	// ForeignCores is how many cores other programs used while requests were
	// measured, 0 if none were.
	ForeignCores float64 `json:"foreign_cores"`
}

type servingRow struct {
	Mode    string     `json:"mode"`
	Peer    string     `json:"peer"`
	Rate    rig.Spread `json:"requests_per_second"`
	P50     float64    `json:"p50_ms"`
	P99     float64    `json:"p99_ms,omitempty"` // absent with fewer than 200 samples
	Samples int        `json:"samples"`
	// Added is the round's own median less the round's direct one.
	Added rig.Spread `json:"added_p50_ms"`
	CPU   *cpuRow    `json:"cpu_ms_per_1000,omitempty"`
	// FunctionFloor is the function's CPU over the reverse proxy's in the same
	// round, WholeFloor that of the whole local system, database included.
	FunctionFloor rig.Spread     `json:"function_x_floor"`
	WholeFloor    rig.Spread     `json:"whole_x_floor"`
	Reads         float64        `json:"reads_per_stream,omitempty"`
	Calls         int            `json:"calls"`
	Errors        map[string]int `json:"errors"`
	Broken        int            `json:"broken_streams"`
}

// cpuRow splits the cost: the model function, the front with Lambda host and AWS
// endpoints, the database engine, and the other functions (settlement).
type cpuRow struct {
	Function rig.Spread `json:"function"`
	Front    rig.Spread `json:"front"`
	Engine   rig.Spread `json:"engine"`
	Settle   rig.Spread `json:"settle"`
	Whole    rig.Spread `json:"whole"`
}

type memoryRow struct {
	Processes int        `json:"processes"`
	RSS       rig.Spread `json:"rss_mb"`
}

type moneyRow struct {
	OK      bool  `json:"ok"`
	Orgs    int   `json:"orgs"`
	Calls   int   `json:"calls_served"`
	Entries int   `json:"entries"`
	Charged int64 `json:"charged_micro_credits"`
}

type ledgerRow struct {
	Step      string         `json:"step"`
	Count     int            `json:"count"`
	PerSecond float64        `json:"per_second"`
	OfBase    float64        `json:"of_baseline,omitempty"`
	Refused   map[string]int `json:"refused,omitempty"`
}

// shardRow are whole requests, reserve to settled, on DynamoDB Local.
type shardRow struct {
	Orgs      int        `json:"orgs"`
	Shards    int        `json:"shards"`
	Requests  int        `json:"requests"`
	Refused   int        `json:"refused"`
	PerSecond rig.Spread `json:"per_second"`
	// OfBare is the rate over that of one bare transaction of a reserve's size.
	OfBare rig.Spread `json:"of_bare_transaction"`
}

// unitsRow is what a request consumes with so many settled in one transaction.
type unitsRow struct {
	Batch int     `json:"settled_together"`
	Table float64 `json:"table_units"`
	Index float64 `json:"index_units"`
}

type startRow struct {
	Function string     `json:"function"`
	Wall     rig.Spread `json:"first_poll_ms"`
	CPU      rig.Spread `json:"cpu_ms"`
	RSS      rig.Spread `json:"rss_mb"`
	OfBase   float64    `json:"x_base,omitempty"`
}

type goRow struct {
	Package     string     `json:"package"`
	Name        string     `json:"name"`
	Nanoseconds rig.Spread `json:"ns_per_op"`
	Bytes       float64    `json:"bytes_per_op"`
	Allocs      float64    `json:"allocs_per_op"`
	OfBase      float64    `json:"x_baseline,omitempty"`
}

type sizeRow struct {
	Function string  `json:"function"`
	Arch     string  `json:"arch"`
	Binary   float64 `json:"binary_mb"`
	Zip      float64 `json:"zip_mb"`
}

type soakRow struct {
	Asked    int            `json:"asked"`
	Calls    int            `json:"calls"`
	Whole    int            `json:"whole"`
	Broken   int            `json:"broken"`
	Errors   map[string]int `json:"errors"`
	Seconds  float64        `json:"seconds"`
	FirstP50 float64        `json:"first_byte_p50_ms"`
	FirstP99 float64        `json:"first_byte_p99_ms"`
}

func newReport(o options) *report {
	kind := "full"
	switch {
	case o.streams > 0:
		kind = "streams"
	case o.quick:
		kind = "quick"
	}
	return &report{Schema: 1, At: time.Now().UTC().Truncate(time.Second), Kind: kind, Warnings: []string{},
		Machine: machine{Cores: runtime.NumCPU(), Arch: runtime.GOARCH, System: runtime.GOOS, Go: runtime.Version(), LoadStart: rig.LoadAverage()}}
}

func (r *report) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

const (
	// Above these the machine had other work: costs then read up to twice too
	// high, latencies more.
	busyLoad    = 0.5 // per core, before anything was started
	busyForeign = 0.25
)

// finish closes the report.
func (r *report) finish(wrong error) {
	r.Machine.LoadEnd = rig.LoadAverage()
	r.Machine.ForeignCores = round2(r.Machine.ForeignCores)
	r.Seconds = math.Round(time.Since(r.At).Seconds())
	r.OK = wrong == nil
	if wrong != nil {
		r.Wrong = wrong.Error()
	}
	load, err := strconv.ParseFloat(r.Machine.LoadStart, 64)
	if err == nil && load > busyLoad*float64(r.Machine.Cores) || r.Machine.ForeignCores > busyForeign {
		r.warn("the machine was busy (load %s at the start, %.1f cores used by other programs while requests were measured): "+
			"times read too high, rates too low, ratios hold better", r.Machine.LoadStart, r.Machine.ForeignCores)
	}
	if r.Machine.System != "linux" {
		r.warn("CPU and memory are read from /proc and are 0 on this system")
	}
}

// write keeps the result under its time and, if asked, in a second file.
func (r *report) write(o options) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	b = append(b, '\n')
	files := []string{outFile(o, r.At)}
	if o.json != "" {
		files = append(files, o.json)
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			return err
		}
		if err := stack.WriteFile(f, b); err != nil {
			return err
		}
	}
	// The last line on standard output, for scripts.
	fmt.Println("written to", strings.Join(files, " and "))
	return nil
}

// finite makes a figure that JSON can hold: 0 stands for none.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return round3(v)
}

func round2(v float64) float64 { return math.Round(v*100) / 100 }
func round3(v float64) float64 { return math.Round(v*1000) / 1000 }
