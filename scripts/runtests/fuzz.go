package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// What all targets together are given, so that a target more makes a run no longer: a
// number of inputs in every run, which a busy machine only makes slower, and a time in
// the soak. No target gets less than the least.
const (
	fuzzInputs      = 300_000
	fuzzInputsLeast = 1000
	fuzzSoak        = 17 * time.Minute
	fuzzSoakLeast   = 5 * time.Second
)

var fuzzName = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

// fuzz runs every target of the repository for a moment; most of the step is building.
// It counts inputs, so that it may give way to everything else.
func fuzz(ctx context.Context, s *suite) error {
	return s.fuzzEach(ctx, []string{"nice", "-n", "19"}, inputsEach)
}

func inputsEach(targets int) string {
	return strconv.Itoa(max(fuzzInputsLeast, fuzzInputs/targets)) + "x"
}

// fuzzAll runs every target for longer.
func fuzzAll(ctx context.Context, s *suite) error { return s.fuzzEach(ctx, nil, timeEach) }

func timeEach(targets int) string {
	return max(fuzzSoakLeast, (fuzzSoak / time.Duration(targets)).Truncate(time.Second)).String()
}

// fuzzEach gives each target what share says of their number. Programs are started by
// those of before.
func (s *suite) fuzzEach(ctx context.Context, before []string, share func(targets int) string) error {
	packages, err := fuzzTargets(s.root)
	if err != nil {
		return err
	}
	n := 0
	for _, targets := range packages {
		n += len(targets)
	}
	if n == 0 {
		return errors.New("there are no fuzz targets")
	}
	each := share(n)
	dir, err := os.MkdirTemp("", "latchkey-fuzz")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var group errgroup.Group
	// One is built while another runs.
	group.SetLimit(2)
	errs := make(chan error, len(packages))
	for rel, targets := range packages {
		group.Go(func() error { errs <- s.fuzzPackage(ctx, before, dir, rel, targets, each); return nil })
	}
	_ = group.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// fuzzPackage builds a package's tests once, instrumented, and runs its targets:
// go test -fuzz would link the program anew for each of them. What debuggers read is
// left out, a third of the linker's work, and vet is a step of its own.
func (s *suite) fuzzPackage(ctx context.Context, before []string, dir, rel string, targets []string, each string) error {
	bin := filepath.Join(dir, strings.ReplaceAll(rel, string(filepath.Separator), "-")+".test")
	build := append(slices.Clone(before), "go", "test", "-c", "-fuzz=.", "-vet=off", "-ldflags=-s", "-o", bin, "./"+filepath.ToSlash(rel))
	if out, err := s.output(ctx, build[0], build[1:]...); err != nil {
		return fmt.Errorf("building the fuzz targets of %s: %w\n%s", rel, err, out)
	}
	defer os.Remove(bin)
	var errs []error
	for _, target := range targets {
		var out bytes.Buffer
		play := append(slices.Clone(before), bin, "-test.run=^$", "-test.fuzz=^"+target+"$", "-test.fuzztime="+each, "-test.parallel=1",
			"-test.fuzzcachedir="+filepath.Join(dir, "cache", rel))
		cmd := exec.CommandContext(ctx, play[0], play[1:]...)
		// A failing input is written below the package's testdata.
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = filepath.Join(s.root, rel), s.environ(), &out, &out
		err := cmd.Run()
		// Go's coordinator sometimes takes its own deadline for a failure when the machine
		// is busy. A real one names the input that it has written.
		if strings.Contains(out.String(), "context deadline exceeded") && !strings.Contains(out.String(), "Failing input") {
			err = nil
		}
		if err == nil && !strings.Contains(out.String(), "now fuzzing") {
			err = errors.New("it did not run")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s in %s: %w\n%s", target, rel, err, out.String()))
		}
	}
	return errors.Join(errs...)
}

// fuzzTargets finds every target by package folder.
func fuzzTargets(root string) (map[string][]string, error) {
	out := map[string][]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root && (d.Name() == "node_modules" || d.Name() == "build" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(p, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		for _, m := range fuzzName.FindAllStringSubmatch(string(b), -1) {
			out[rel] = append(out[rel], m[1])
		}
		return nil
	})
	return out, err
}
