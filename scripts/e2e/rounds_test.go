package e2e

import (
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

var (
	callsMu  sync.Mutex
	awsCalls []stack.AWSCall
)

func observe(c stack.AWSCall) {
	callsMu.Lock()
	awsCalls = append(awsCalls, c)
	callsMu.Unlock()
}

// watchRounds returns the sequential rounds of AWS calls that invoke makes
// before the vendor is reached: calls that overlap in time are one round. Calls that
// depend on each other never overlap, calls at once may miss each other on a busy
// machine: of five looks the one with the fewest rounds is right.
func watchRounds(t *testing.T, chat func()) []string {
	t.Helper()
	best := lookAtRounds(t, chat)
	for range 4 {
		if next := lookAtRounds(t, chat); len(next) < len(best) {
			best = next
		}
	}
	return best
}

func lookAtRounds(t *testing.T, chat func()) []string {
	t.Helper()
	// A caller records usage behind its answer.
	eventually(t, "invoke is at rest", func() bool {
		pids, err := operator().Processes(t.Context(), "invoke", "busy")
		return err == nil && len(pids) == 0
	})
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	callsMu.Lock()
	awsCalls = nil
	callsMu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); chat() }()
	<-barrier.Reached()
	var calls []stack.AWSCall
	callsMu.Lock()
	for _, c := range awsCalls {
		if c.Function == "invoke" {
			calls = append(calls, c)
		}
	}
	callsMu.Unlock()
	barrier.Release()
	<-done
	sort.Slice(calls, func(i, j int) bool { return calls[i].Start.Before(calls[j].Start) })
	var rounds []string
	var end time.Time
	for _, c := range calls {
		name := c.Service + "." + c.Operation
		if len(rounds) > 0 && c.Start.Before(end) {
			rounds[len(rounds)-1] += " + " + name
		} else {
			rounds = append(rounds, name)
		}
		if c.End.After(end) {
			end = c.End
		}
	}
	if !strings.Contains(strings.Join(rounds, " "), "TransactWriteItems") {
		t.Errorf("the reserve transaction was not seen: %v", rounds)
	}
	return rounds
}
