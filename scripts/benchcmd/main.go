// Command benchcmd is ./scripts/bench: it runs the whole system on this machine
// and measures what it costs.
//
//	./scripts/bench              everything, some minutes
//	./scripts/bench --quick      the same with few rounds, about a minute
//	./scripts/bench --streams N  N streamed calls on a busy machine; none may break
//
// Every cost is taken in rounds: in each, a slice of direct calls to the vendor
// and a slice through the thing measured follow one another, and the round's
// difference or ratio counts, because the speed of a machine drifts. The baseline
// of the whole system is the standard library's reverse proxy in the same run.
//
// The part hot simulates one busy organisation on DynamoDB as it is documented; its
// times are virtual, so its bar does fail a run.
//
// The part lambda measures the model function alone, behind a Runtime API, with
// an AWS that answers at once; its baseline is the least function that forwards
// to the same vendor. It has bars, which are reported and fail nothing: a machine
// with other work misses them.
//
// Load generator, vendor, proxy, and the stack (front, Lambda host and AWS
// endpoints) are processes of their own; the functions and the database engine
// are, too. After the load every organisation's money is checked: nothing held,
// balance equal to the sum of entries, an entry for every call served. Broken
// streams and wrong money are failures, refused calls are reported.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: ./scripts/bench [--quick] [--only PARTS] [--streams N] [--json FILE] [--binaries DIR] [--profiles DIR]

  --quick         few rounds, about a minute
  --only PARTS    only these, with commas: lambda hot serving ledger startup vault function sizes webhook
  --streams N     only this: N streamed calls while all cores are busy; fails if one breaks
  --json FILE     writes the result there, too (always: build/bench/<UTC time>.json)
  --binaries DIR  measures the function binaries in DIR instead of building them
  --profiles DIR  keeps the profiles of the part lambda there, for go tool pprof`

type options struct {
	quick          bool
	streams        int
	only           []string
	json, binaries string
	profiles       string
	root           string
}

func main() {
	if len(os.Args) > 2 && os.Args[1] == "role" {
		if err := role(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[2], err)
			os.Exit(1)
		}
		return
	}
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Println(usage)
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n%s\n", err, usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.BoolVar(&o.quick, "quick", false, "")
	f.IntVar(&o.streams, "streams", 0, "")
	f.Func("only", "", func(list string) error {
		o.only = strings.Split(list, ",")
		for _, part := range o.only {
			if !slices.Contains([]string{partLambda, partHot, "serving", "ledger", "startup", "vault", "function", "sizes", partHooks}, part) {
				return fmt.Errorf("--only takes lambda, hot, serving, ledger, startup, vault, function, sizes and webhook, not %q", part)
			}
		}
		return nil
	})
	f.StringVar(&o.json, "json", "", "")
	f.StringVar(&o.binaries, "binaries", "", "")
	f.StringVar(&o.profiles, "profiles", "", "")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if o.streams < 0 || o.streams > maxStreams {
		return o, fmt.Errorf("--streams must be 1 to %d", maxStreams)
	}
	var err error
	if o.profiles != "" {
		// The measured function has no working folder of ours.
		if o.profiles, err = filepath.Abs(o.profiles); err == nil {
			err = os.MkdirAll(o.profiles, 0o755)
		}
		if err != nil {
			return o, err
		}
	}
	o.root, err = os.Getwd()
	return o, err
}

// run measures, prints, writes the result and returns what is wrong.
func run(ctx context.Context, o options) error {
	r := newReport(o)
	wrong, err := measured(ctx, o, r)
	if err = errors.Join(ctx.Err(), err); err != nil {
		return err
	}
	r.finish(wrong)
	r.print(os.Stdout)
	return errors.Join(wrong, r.write(o))
}

// measured runs what was asked for. wrong is what the report has to say, err that
// there is nothing to report.
func measured(ctx context.Context, o options, r *report) (wrong, err error) {
	if o.wants(partLambda) {
		// Before the stack is there: its pollers never rest.
		began := time.Now()
		if wrong = lambdaCosts(ctx, o, o.plan(), r); wrong != nil {
			wrong = fmt.Errorf("%s: %w", partLambda, wrong)
		}
		say("%s: %.0f s", partLambda, time.Since(began).Seconds())
	}
	if o.wants(partHot) && ctx.Err() == nil {
		began := time.Now()
		if err := hot(ctx, o.plan(), r); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %w", partHot, err))
		}
		say("%s: %.0f s", partHot, time.Since(began).Seconds())
	}
	if o.needsNoStack() || ctx.Err() != nil {
		return wrong, nil
	}
	w, err := start(ctx, o)
	if err != nil {
		return wrong, err
	}
	if o.streams > 0 {
		wrong = soak(ctx, o, w, r)
	} else {
		wrong = errors.Join(wrong, measure(ctx, o, w, r))
	}
	// A stack that could not be stopped is as wrong as a wrong figure.
	return errors.Join(wrong, w.stop()), nil
}

const partLambda = "lambda"

// wants says whether a part was asked for.
func (o options) wants(part string) bool {
	return o.streams == 0 && (len(o.only) == 0 || slices.Contains(o.only, part))
}

// needsNoStack says that all that was asked for is done before a stack is started.
func (o options) needsNoStack() bool {
	return o.streams == 0 && len(o.only) > 0 && !slices.ContainsFunc(o.only, func(part string) bool { return part != partLambda && part != partHot })
}

func (o options) plan() plan {
	if o.quick {
		return quickPlan()
	}
	return fullPlan()
}

// measure runs the parts in the order of what disturbs the next one least.
func measure(ctx context.Context, o options, w *world, r *report) error {
	plan := o.plan()
	var wrong []error
	for _, part := range []struct {
		name string
		run  func() error
	}{
		{"serving", func() error {
			return errors.Join(serving(ctx, plan, w, r), w.checkMoney(ctx, r))
		}},
		{"ledger", func() error { return ledger(ctx, o, plan, r) }},
		{"startup", func() error { return startup(ctx, plan, w, r) }},
		{"vault", func() error { return vaultCosts(ctx, o, plan, w, r) }},
		{"function", func() error { return goBenchmarks(ctx, o, plan, r) }},
		{"sizes", func() error { return sizes(ctx, o, w, r) }},
		// Last: it leaves a turn that waits.
		{partHooks, func() error { return hooks(ctx, o, plan, w, r) }},
	} {
		if !o.wants(part.name) {
			continue
		}
		began := time.Now()
		err := part.run()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", part.name, err))
		}
		say("%s: %.0f s", part.name, time.Since(began).Seconds())
	}
	return errors.Join(wrong...)
}

// say shows progress beside the report.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// plan is how much is measured.
type plan struct {
	rounds    int
	slice     time.Duration
	warm      time.Duration
	orgs      int
	starts    int           // of each function
	goTime    time.Duration // of each Go benchmark
	goRepeats int
	ledger    time.Duration // of each ledger figure
	// Of the shards of balances: rounds, and how long each of them measures one.
	shardRounds int
	shardSlice  time.Duration
	reveals     int // calls that open a credential, per figure
	// Of the simulation: what is simulated, how long is counted at least, and the
	// load that grows.
	hotCells []hotCell
	hotFor   time.Duration
	rampTo   int
	rampOver time.Duration
	// Of the part lambda: rounds, calls of a slice, calls before each look at the
	// memory, calls of a profile.
	lambdaRounds, lambdaPlain, lambdaStreams, lambdaMemory, lambdaProfile int
}

func fullPlan() plan {
	return plan{rounds: 8, slice: 700 * time.Millisecond, warm: 2 * time.Second, orgs: 100, starts: 15,
		goTime: 500 * time.Millisecond, goRepeats: 5, ledger: 4 * time.Second, reveals: 1000, shardRounds: 5, shardSlice: 500 * time.Millisecond,
		hotCells: []hotCell{{10, 1}, {10, 2}, {25, 1}, {50, 1}, {100, 8}, {100, 16}, {500, 32}, {500, 64}, {1000, 64}, {1000, 128}, {1500, 128}},
		hotFor:   8 * time.Second, rampTo: hotRate, rampOver: time.Minute,
		lambdaRounds: 12, lambdaPlain: 300, lambdaStreams: 25, lambdaMemory: 10_000, lambdaProfile: 10_000}
}

func quickPlan() plan {
	return plan{rounds: 2, slice: 400 * time.Millisecond, warm: 500 * time.Millisecond, orgs: 100, starts: 3,
		goTime: 100 * time.Millisecond, goRepeats: 1, ledger: time.Second, reveals: 200, shardRounds: 2, shardSlice: 200 * time.Millisecond,
		hotCells: []hotCell{{10, 1}, {10, 2}, {100, 16}, {1000, 128}},
		hotFor:   3 * time.Second, rampTo: 200, rampOver: 12 * time.Second,
		lambdaRounds: 3, lambdaPlain: 100, lambdaStreams: 8, lambdaMemory: 1000, lambdaProfile: 1000}
}

// outFile is where the result goes.
func outFile(o options, at time.Time) string {
	return filepath.Join(o.root, "build", "bench", at.UTC().Format("20060102T150405Z")+".json")
}
