package crash

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = 64
	os.Exit(m.Run())
}

// plain is the size of a seed in every run, soaked that of a long one.
var (
	plain  = limits{trials: 1, storm: 24, equal: 12, crowd: 20, shards: []int{2}}
	soaked = limits{trials: 3, storm: 150, equal: 64, crowd: 100, shards: []int{1, 2, 4}}
)

func soak() bool { return os.Getenv("LATCHKEY_SOAK") != "" }

// installed skips a test that cannot start a stack.
func installed(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root(), "node_modules", "amplify-dynamodb-simulator")); err != nil {
		t.Fatal("the npm packages are not installed; run ./scripts/setup")
	}
}

// run plays one seed to its end.
func run(ctx context.Context, w *world, n uint64, size limits) (*seed, error) {
	s, err := newSeed(ctx, w, n, size)
	if err != nil {
		return nil, fmt.Errorf("seed %d: %w", n, err)
	}
	if size.trials > 0 {
		if err := s.unharmed(ctx); err != nil {
			return s, fmt.Errorf("seed %d, before anything dies: %w", n, err)
		}
	}
	for _, i := range s.dice.Perm(len(killPoints)) {
		p := killPoints[i]
		if size.trials == 0 {
			break
		}
		began := time.Now()
		if err := p.run(ctx, s, p, size.trials); err != nil {
			return s, fmt.Errorf("seed %d, %s: %w", n, p.name, err)
		}
		s.count("ms: "+p.name, int(time.Since(began).Milliseconds()))
	}
	waves := []func(context.Context) error{s.storm, s.check}
	if size.equal > 0 {
		waves = slices.Insert(waves, 0, s.keyRevoked, s.fallbackRemoved,
			func(ctx context.Context) error { return s.equalCalls(ctx, size.equal) },
			func(ctx context.Context) error {
				return s.fundsForTen(ctx, size.crowd, size.shards[int(n)%len(size.shards)])
			})
	}
	for _, wave := range waves {
		if err := wave(ctx); err != nil {
			return s, fmt.Errorf("seed %d: %w", n, err)
		}
	}
	return s, nil
}

// unharmed sends some requests while nothing is killed: the stream gives none of
// their batches up.
func (s *seed) unharmed(ctx context.Context) error {
	for _, o := range []*org{s.own, s.own, s.orgs[0], s.orgs[0]} {
		a := s.newAsk(o, "nothing dies")
		a.direct()
		if r := a.send(ctx); r.status != http.StatusOK {
			return fmt.Errorf("%s: %d %s %v", a.prompt, r.status, r.code, r.err)
		}
	}
	if err := s.bringToRest(ctx); err != nil {
		return err
	}
	s.redrive(ctx)
	return s.projected(ctx)
}

// TestCrash plays seeds of crashes and faults and checks every invariant at rest.
// LATCHKEY_SOAK=1 plays 20 with 60 trials per kill point, LATCHKEY_TEST_SEED one of
// them.
func TestCrash(t *testing.T) {
	installed(t)
	ctx := t.Context()
	w, err := start(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	first, seeds, size := uint64(1), 1, plain
	if soak() {
		seeds, size = 20, soaked
	}
	if v := os.Getenv("LATCHKEY_TEST_SEED"); v != "" {
		if first, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
		seeds = 1
	}
	total := map[string]int{}
	if soak() && seeds > 1 {
		began := time.Now()
		s, err := newSeed(ctx, w, 0, limits{})
		for range 5 {
			if err == nil {
				err = s.deadlines(ctx, 10)
			}
		}
		if err == nil {
			err = s.check(ctx)
		}
		report(t, s, err, total, began)
	}
	for n := first; n < first+uint64(seeds); n++ {
		began := time.Now()
		s, err := run(ctx, w, n, size)
		report(t, s, err, total, began)
	}
	t.Log(table(total))
}

// report adds the counts of a seed and says what was wrong.
func report(t *testing.T, s *seed, err error, total map[string]int, began time.Time) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	if s == nil {
		return
	}
	for k, v := range s.counts {
		total[k] += v
	}
	for _, v := range s.violations {
		t.Errorf("seed %d (LATCHKEY_TEST_SEED=%d repeats its plan): %s", s.n, s.n, v)
	}
	t.Logf("seed %d: %d requests, %d vendor calls, %d entries in %.1f s", s.n, s.counts["requests"], s.counts["vendor calls"], s.counts["entries"], time.Since(began).Seconds())
}

// table is the counts by name.
func table(counts map[string]int) string {
	var out strings.Builder
	keys := make([]string, 0, len(counts))
	for k := range counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(&out, "\n%8d  %s", counts[k], k)
	}
	return out.String()
}
