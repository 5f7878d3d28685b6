package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestFuzzTargets: every target is found, in a package of its own or beside others,
// and none that is not the repository's.
func TestFuzzTargets(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"a/a_test.go":            "package a\n\nfunc FuzzOne(f *testing.F) {}\n\nfunc FuzzTwo(f *testing.F) {}\n",
		"a/b_test.go":            "package a\n\nfunc FuzzThree(f *testing.F) {}\n// func FuzzNot(\n",
		"a/c.go":                 "package a\n\nfunc FuzzNot(x int) {}\n",
		"node_modules/x_test.go": "package x\n\nfunc FuzzNot(f *testing.F) {}\n",
		"a/testdata/x_test.go":   "package x\n\nfunc FuzzNot(f *testing.F) {}\n",
	} {
		p := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := fuzzTargets(root)
	if err != nil || len(got) != 1 || !slices.Equal(got["a"], []string{"FuzzOne", "FuzzTwo", "FuzzThree"}) {
		t.Errorf("%v, %v", got, err)
	}
	if all, err := fuzzTargets("../.."); err != nil || len(all) < 40 {
		t.Errorf("%d packages, %v", len(all), err)
	}
}

// TestFuzzBudget: what is given is shared, and never less than the least.
func TestFuzzBudget(t *testing.T) {
	for targets, want := range map[int][2]string{1: {"300000x", "17m0s"}, 100: {"3000x", "10s"}, 150: {"2000x", "6s"}, 1000: {"1000x", "5s"}} {
		if got := [2]string{inputsEach(targets), timeEach(targets)}; got != want {
			t.Errorf("%d targets: %v, want %v", targets, got, want)
		}
	}
}
