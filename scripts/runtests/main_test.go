package main

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// TestBeside: a step that runs beside others ends when it can, its failure counts, and
// none of the others waits for it.
func TestBeside(t *testing.T) {
	freed := make(chan struct{})
	var order []string
	note := func(name string, err error) func(context.Context, *suite) error {
		return func(context.Context, *suite) error { order = append(order, name); return err }
	}
	passed, failed := play(t.Context(), nil, []step{
		{name: "first", run: note("first", nil)},
		{name: "beside", beside: true, run: func(context.Context, *suite) error {
			<-freed
			return errors.New("found something")
		}},
		{name: "second", run: note("second", errors.New("red"))},
		{name: "last", run: func(context.Context, *suite) error { order = append(order, "last"); close(freed); return nil }},
	})
	if passed != 2 || failed != 2 || !slices.Equal(order, []string{"first", "second", "last"}) {
		t.Errorf("%d passed, %d failed, %v", passed, failed, order)
	}
}

// TestStepsAreWhole: every step has a name of its own, a mode and something to do, and
// what runs beside others does not need what they leave behind.
func TestStepsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, st := range steps() {
		if st.name == "" || seen[st.name] || len(st.modes) == 0 || st.run == nil || st.beside && st.name != "fuzz" {
			t.Errorf("%+v", st.name)
		}
		seen[st.name] = true
	}
}
