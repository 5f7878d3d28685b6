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
}

func steps() []step {
	all, fast, soak := []string{"all"}, []string{"all", "fast"}, []string{"soak"}
	return []step{
		{"format", fast, checkFormat},
		{"vet", fast, vet},
		{"repository", fast, repository},
		{"shell", all, shell},
		{"unit", []string{"fast"}, unitOnly},
		{"servers", []string{"all", "soak"}, startServers},
		{"go", all, goTests},
		{"race", all, raceTests},
		{"staticcheck", all, staticcheck},
		{"vulnerabilities", all, vulnerabilities},
		{"fuzz", all, fuzz},
		{"infra", all, infra},
		{"synth", all, synth},
		{"end-to-end", all, endToEnd},
		{"demo", all, demo},
		{"leftovers", all, leftovers},
		{"soak", soak, soakTests},
		{"fuzz-all", soak, fuzzAll},
	}
}

func run(ctx context.Context, mode, only string) int {
	root, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test:", err)
		return 1
	}
	s := &suite{root: root, tools: filepath.Join(root, "build", "tools"), env: map[string]string{}}
	defer s.stop()
	passed, failed := 0, 0
	for _, st := range steps() {
		if !slices.Contains(st.modes, mode) || only != "" && st.name != only && st.name != "servers" || ctx.Err() != nil {
			continue
		}
		began := time.Now()
		fmt.Printf("== %s\n", st.name)
		if err := st.run(ctx, s); err != nil {
			failed++
			fmt.Printf("-- %s FAILED after %.0f s: %v\n", st.name, time.Since(began).Seconds(), err)
			continue
		}
		passed++
		fmt.Printf("-- %s ok in %.0f s\n", st.name, time.Since(began).Seconds())
	}
	fmt.Printf("steps: %d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 || ctx.Err() != nil {
		return 1
	}
	return 0
}
