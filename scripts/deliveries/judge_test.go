package deliveries

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestExplained: an outcome is right only with something that can have caused it.
func TestExplained(t *testing.T) {
	type outcome struct {
		state           string
		receives, posts int
	}
	for did, right := range map[misbehaviour][]outcome{
		behaves:  {{"sent", 1, 1}, {"sent", 2, 1}, {"unknown", 2, 0}, {"unknown", 2, 1}},
		limits:   {{"sent", 1, 1}, {"sent", 2, 1}, {"unknown", 2, 0}, {"unknown", 2, 1}},
		keeps500: {{"unknown", 1, 1}, {"unknown", 2, 1}},
		drops500: {{"unknown", 1, 0}, {"unknown", 2, 0}},
		keepsCut: {{"unknown", 1, 1}, {"unknown", 2, 1}},
		hangs:    {{"unknown", 1, 1}, {"unknown", 2, 1}},
		refuses:  {{"failed", 1, 0}, {"failed", 2, 0}, {"unknown", 2, 0}},
		killsAll: {{"sent", 1, 1}, {"sent", 2, 1}, {"unknown", 1, 1}, {"unknown", 2, 1}},
	} {
		for _, state := range []string{"sent", "unknown", "failed", "claimed", "planned"} {
			for receives := 1; receives <= 2; receives++ {
				for posts := range 3 {
					got := explained(state, did, receives, posts)
					if want := slices.Contains(right, outcome{state, receives, posts}); got != want {
						t.Errorf("%q: %s after %d receptions with %d replies is explained: %v", did, state, receives, posts, got)
					}
				}
			}
		}
	}
}

// TestLateFirst: only a request that was on its way when its process ended may be
// seen late.
func TestLateFirst(t *testing.T) {
	type outcome struct {
		state    string
		receives int
	}
	right := []outcome{{"unknown", 2}, {"unknown", 3}}
	for _, state := range []string{"sent", "unknown", "failed", "claimed", "planned"} {
		for receives := 1; receives <= 3; receives++ {
			if got := lateFirst(state, receives); got != slices.Contains(right, outcome{state, receives}) {
				t.Errorf("a first part that is %s after %d receptions may be late: %v", state, receives, got)
			}
		}
	}
}

// TestDisturbed: a run in which something of its plan did not happen says what.
func TestDisturbed(t *testing.T) {
	whole := func() *run {
		r := &run{w: &world{queued: map[string]*queued{"q1x1": {receives: 2}, "q1x2": {receives: 1}}}, p: &plan{size: plain, meant: map[misbehaviour]int{refuses: 3, hangs: 2, limits: 9}}}
		r.w.vendor = &vendor{met: map[misbehaviour]int{refuses: 1}}
		r.c.turnKills.Add(1)
		r.c.webhookKills.Add(1)
		r.c.frozen.Add(1)
		r.c.repeats.Add(1)
		r.c.retries.Add(1)
		r.c.overtaken.Add(1)
		return r
	}
	for _, x := range []struct {
		want    string
		without func(*run)
	}{
		{"", func(*run) {}},
		{"no process of turn was killed", func(r *run) { r.c.turnKills.Store(0) }},
		{"no process of webhook was killed", func(r *run) { r.c.webhookKills.Store(0) }},
		{"no process was frozen", func(r *run) { r.c.frozen.Store(0) }},
		{"no message was received again", func(r *run) { delete(r.w.queued, "q1x1") }},
		{"no request was a repeat", func(r *run) { r.c.repeats.Store(0) }},
		{"no request failed", func(r *run) { r.c.retries.Store(0) }},
		{"no messages overtook", func(r *run) { r.c.overtaken.Store(0) }},
		{"no send was refused", func(r *run) { r.w.vendor.met = map[misbehaviour]int{limits: 1} }},
		{"no send met a failure", func(r *run) { r.w.vendor.met, r.p.meant = nil, nil }},
	} {
		r := whole()
		x.without(r)
		r.disturbed()
		if x.want == "" && len(r.broken) > 0 || x.want != "" && (len(r.broken) != 1 || !strings.Contains(r.broken[0], x.want)) {
			t.Errorf("%q: %s", x.want, fmt.Sprint(r.broken))
		}
	}
}
