package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/latchkey/latchkey/scripts/internal/devtools"
)

// racy are the packages whose code runs concurrently by design.
var racy = []string{
	"./shared/gateway/...", "./shared/vault/...", "./shared/rotation/...", "./shared/egress/...", "./shared/billing/...", "./shared/providers/internal/...",
	"./shared/agent/turn", "./shared/consent", "./shared/webhook/ingest",
	"./scripts/internal/lambdahost/...", "./scripts/internal/front/...", "./scripts/internal/localsqs/...",
	"./scripts/internal/streampoll/...", "./scripts/internal/fifopoll/...", "./scripts/internal/localfaults/...",
}

// unitOnly runs what needs no server: tests that do are skipped by themselves.
func unitOnly(ctx context.Context, s *suite) error {
	pkgs, err := s.packages(ctx, "./shared/...", "./functions/...")
	if err != nil {
		return err
	}
	return s.command(ctx, "go", append([]string{"test"}, pkgs...)...)
}

// store is the package whose tests ask the engine most; firstHalf are those that take
// half of their time.
const (
	store     = "/shared/dynamo"
	firstHalf = "^TestLedger$"
)

// goTests runs everything but infra and the end-to-end suite with real servers.
// -count=1: results depend on servers, which the test cache does not see.
//
// The store's tests take longer than those of any other package and wait for an engine
// that does one thing at a time: they run beside the others, in two halves with an engine
// each. (Within a process they cannot run at once: they contend for the engine.)
func goTests(ctx context.Context, s *suite) error {
	pkgs, err := s.packages(ctx, "./shared/...", "./functions/...", "./scripts/...")
	if err != nil {
		return err
	}
	var others []string
	for _, p := range pkgs {
		if !strings.HasSuffix(p, "/scripts/e2e") && !strings.HasSuffix(p, "/scripts/repocheck") && !strings.HasSuffix(p, store) {
			others = append(others, p)
		}
	}
	another, err := s.engine(ctx)
	if err != nil {
		return err
	}
	var first, second bytes.Buffer
	errs := make([]error, 3)
	part := func(i int, env map[string]string, out io.Writer, args ...string) func() {
		return func() {
			errs[i] = s.commandWith(ctx, env, out, "go", append([]string{"test", "-count=1", "-timeout=20m"}, args...)...)
		}
	}
	var group sync.WaitGroup
	group.Go(part(0, map[string]string{"LATCHKEY_TEST_DYNAMODB_URL": another}, &first, "-run", firstHalf, "."+store))
	group.Go(part(1, nil, &second, "-skip", firstHalf, "."+store))
	group.Go(part(2, nil, os.Stdout, others...))
	group.Wait()
	fmt.Print(first.String(), second.String())
	return errors.Join(errs...)
}

func raceTests(ctx context.Context, s *suite) error {
	if err := s.debian(ctx, "gcc", "gcc"); err != nil {
		return err
	}
	return s.command(ctx, "go", append([]string{"test", "-race", "-count=1", "-timeout=20m"}, racy...)...)
}

func infra(ctx context.Context, s *suite) error {
	return s.command(ctx, "go", "test", "-count=1", "./infra/...")
}

// synth renders the stacks as an operator would and lints the result.
func synth(ctx context.Context, s *suite) error {
	out := filepath.Join(s.root, "cdk.out")
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := s.quiet(ctx, "./scripts/cdk", "synth", "--all", "--quiet", "--output", out); err != nil {
		return err
	}
	templates, err := filepath.Glob(filepath.Join(out, "*.template.json"))
	if err != nil || len(templates) != 2 {
		return fmt.Errorf("want 2 templates, got %d (%v)", len(templates), err)
	}
	py, err := s.python(ctx)
	if err != nil {
		return err
	}
	// W3005: the CDK writes dependencies that are implied.
	return s.command(ctx, filepath.Join(py, "bin", "cfn-lint"), append([]string{"--ignore-checks", "W3005", "--"}, templates...)...)
}

// endToEnd tries the chat of pages in a real browser, too, if there is one.
func endToEnd(ctx context.Context, s *suite) error {
	if devtools.Program() == "" {
		if err := s.debian(ctx, "chromium", "chromium"); err != nil {
			fmt.Println("the chat of pages is tried in no browser:", err)
		}
	}
	return s.command(ctx, "go", "test", "-count=1", "-timeout=20m", "./scripts/e2e")
}

// demo runs twice: what the first leaves behind would break the second.
func demo(ctx context.Context, s *suite) error {
	for range 2 {
		if err := s.quiet(ctx, "./scripts/demo"); err != nil {
			return err
		}
	}
	return nil
}

// soakTests are the long runs: 20 seeds of faults on the ledger and of legacy token
// counters, 20 seeds of crashes with 60 kills at every point, 10,000 deliveries of
// channel messages, the mutants of these and of the security matrix, 20,000 streams
// with both cores busy.
func soakTests(ctx context.Context, s *suite) error {
	s.env["LATCHKEY_SOAK"] = "1"
	return errors.Join(
		s.command(ctx, "go", "test", "-count=1", "-timeout=60m", "-v", "-run", "^(TestLedger|TestLegacyMachine)$", "./shared/dynamo"),
		s.command(ctx, "go", "test", "-count=1", "-timeout=60m", "-v", "-run", "Kill", "./scripts/e2e"),
		s.command(ctx, "go", "test", "-count=1", "-timeout=60m", "-v", "./scripts/crash"),
		s.command(ctx, "go", "test", "-count=1", "-timeout=150m", "-v", "-run", "^TestMutants", "./scripts/security"),
		s.command(ctx, "go", "test", "-count=1", "-timeout=60m", "-v", "./scripts/deliveries"),
		s.command(ctx, "./scripts/bench", "--streams", "20000"),
	)
}

// leftovers fails if a process of this checkout is still running.
func leftovers(ctx context.Context, s *suite) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil // no /proc on this system
	}
	local := filepath.Join(s.root, "build", "local") + string(filepath.Separator)
	var left []string
	for _, e := range entries {
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err == nil && strings.HasPrefix(exe, local) {
			left = append(left, e.Name()+" "+exe)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("still running: %s", strings.Join(left, ", "))
	}
	return nil
}
