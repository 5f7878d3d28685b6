package crash

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// TestLeastDeclared: a last checkpoint holds what the vendor had told, less at most
// an interval.
func TestLeastDeclared(t *testing.T) {
	running := mockvendor.Script{Usage: mockvendor.DeclareRunning}
	for _, x := range []struct {
		script mockvendor.Script
		call   mockvendor.Call
		want   int64
	}{
		{mockvendor.Script{}, mockvendor.Call{OutputTokens: 100, Chunks: 4, Done: true}, 100},
		{mockvendor.Script{}, mockvendor.Call{OutputTokens: 100, Chunks: 4}, 100},
		{running, mockvendor.Call{OutputTokens: 5000, Chunks: 10, Done: true}, 2500},
		{running, mockvendor.Call{OutputTokens: 100, Chunks: 10, Done: true}, 0},
		{running, mockvendor.Call{OutputTokens: 5000, Chunks: 10}, 0},
	} {
		if got := (&ask{script: x.script}).leastDeclared(x.call); got != x.want {
			t.Errorf("%+v: %d", x, got)
		}
	}
}

// TestGivenUp: a batch may be given up in a seed that did something to settle only.
func TestGivenUp(t *testing.T) {
	s := &seed{counts: map[string]int{}}
	s.hurt.Add(1)
	if s.givenUp(2); len(s.violations) != 0 {
		t.Error(s.violations)
	}
	s.hurt.Store(0)
	if s.givenUp(2); len(s.violations) != 1 || !strings.HasPrefix(s.violations[0], "F22: 2 batches") {
		t.Error(s.violations)
	}
}
