// Command runtests is ./scripts/test: it prepares what the suite needs, runs all
// of it and prints one line per step.
//
//	./scripts/test        everything
//	./scripts/test fast   only what needs no server
//	./scripts/test soak   the long runs: many seeds, long loops
//
// Tools come in pinned versions into build/tools. Servers listen on 127.0.0.1
// and end with this process. A step that fails is shown with its output; the
// others still run, so that one run shows everything that is wrong.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const usage = "usage: ./scripts/test [fast|soak] [--only STEP]"

func main() {
	mode, only := "all", ""
	for i := 1; i < len(os.Args); i++ {
		switch a := os.Args[i]; {
		case a == "fast" || a == "soak":
			mode = a
		case a == "--only" && i+1 < len(os.Args):
			i++
			only = os.Args[i]
		case a == "-h" || a == "--help":
			fmt.Println(usage)
			return
		default:
			fmt.Fprintf(os.Stderr, "test: unknown argument %q\n%s\n", a, usage)
			os.Exit(2)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, mode, only)
	stop()
	os.Exit(code)
}

// step is one line of the report.
type step struct {
	name  string
	modes []string // in which modes it runs
	run   func(context.Context, *suite) error
	// beside says that it runs beside those that follow, with the time of the
	// processors that they leave, and is reported behind them.
	beside bool
}

func steps() []step {
	all, fast, soak := []string{"all"}, []string{"all", "fast"}, []string{"soak"}
	return []step{
		{name: "format", modes: fast, run: checkFormat},
		{name: "vet", modes: fast, run: vet},
		{name: "repository", modes: fast, run: repository},
		{name: "shell", modes: all, run: shell},
		{name: "unit", modes: []string{"fast"}, run: unitOnly},
		{name: "servers", modes: []string{"all", "soak"}, run: startServers},
		{name: "fuzz", modes: all, run: fuzz, beside: true},
		{name: "go", modes: all, run: goTests},
		{name: "race", modes: all, run: raceTests},
		{name: "staticcheck", modes: all, run: staticcheck},
		{name: "vulnerabilities", modes: all, run: vulnerabilities},
		{name: "infra", modes: all, run: infra},
		{name: "synth", modes: all, run: synth},
		{name: "end-to-end", modes: all, run: endToEnd},
		{name: "demo", modes: all, run: demo},
		{name: "leftovers", modes: all, run: leftovers},
		{name: "soak", modes: soak, run: soakTests},
		{name: "fuzz-all", modes: soak, run: fuzzAll},
	}
}

func run(ctx context.Context, mode, only string) int {
	root, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test:", err)
		return 1
	}
	s := &suite{root: root, tools: filepath.Join(root, "build", "tools"), env: installed(root)}
	defer s.stop()
	chosen := slices.DeleteFunc(steps(), func(st step) bool {
		return !slices.Contains(st.modes, mode) || only != "" && st.name != only && st.name != "servers"
	})
	passed, failed := play(ctx, s, chosen)
	fmt.Printf("steps: %d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 || ctx.Err() != nil {
		return 1
	}
	return 0
}

// play runs steps one after the other, but for those that run beside.
func play(ctx context.Context, s *suite, chosen []step) (passed, failed int) {
	report := func(st step, began time.Time, err error) {
		if err != nil {
			failed++
			fmt.Printf("-- %s FAILED after %.0f s: %v\n", st.name, time.Since(began).Seconds(), err)
			return
		}
		passed++
		fmt.Printf("-- %s ok in %.0f s\n", st.name, time.Since(began).Seconds())
	}
	var behind []func()
	for _, st := range chosen {
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		fmt.Printf("== %s\n", st.name)
		if !st.beside {
			report(st, began, st.run(ctx, s))
			continue
		}
		ended := make(chan error, 1)
		go func() { ended <- st.run(ctx, s) }()
		behind = append(behind, func() { report(st, began, <-ended) })
	}
	for _, f := range behind {
		f()
	}
	return passed, failed
}
