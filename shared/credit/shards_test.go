package credit

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestWantedShards(t *testing.T) {
	for _, c := range []struct {
		reserves        int64
		over            time.Duration
		available, hold Micro
		inUse, want     int
	}{
		{0, time.Minute, 1e9, 10, 1, 1}, {480, time.Minute, 1e9, 10, 1, 1}, {600, time.Minute, 1e9, 10, 1, 2}, {6000, time.Minute, 1e9, 10, 1, 16},
		{30_000, time.Minute, 1e12, 10, 4, 64}, {60_000, time.Minute, 1e12, 10, 1, 128}, {1e9, time.Minute, 1e12, 10, 1, 128},
		{6000, time.Minute, 20 * 4 * 10, 10, 1, 4}, {6000, time.Minute, 199, 10, 16, 1}, // funds bound it
		{2000, time.Minute, 1e9, 10, 16, 16}, {1000, time.Minute, 1e9, 10, 16, 2}, {0, time.Minute, 1e9, 10, 2, 2}, {0, time.Minute, 1e9, 10, 4, 1},
		{100, 0, 1e9, 10, 4, 4}, {-5, time.Minute, 1e9, 10, 4, 4}, {100, time.Second, -50, 10, 8, 1}, {10, 29 * time.Second, 1e9, 10, 16, 16}, {10, 30 * time.Second, 1e9, 10, 16, 1}, {100, time.Second, 1e9, 0, 0, 16},
	} {
		if got := WantedShards(c.reserves, c.over, c.available, c.hold, c.inUse); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// TestMoves: moves sum to 0, take nothing that is not there, and bring the shards
// in use close to each other.
func TestMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shards := make([]Shard, 1<<rapid.IntRange(0, 7).Draw(t, "n"))
		var total Micro
		for i := range shards {
			shards[i].Available = Micro(rapid.Int64Range(-50, 1000).Draw(t, "available"))
			total += shards[i].Available
		}
		use := rapid.IntRange(0, 128).Draw(t, "use")
		var sum Micro
		after := make([]Micro, len(shards))
		for i, s := range shards {
			after[i] = s.Available
		}
		for _, m := range Moves(shards, use) {
			sum += m.Amount
			if m.Amount == 0 || m.Amount > 0 && m.Amount > shards[m.Shard].Available {
				t.Fatalf("move %+v of %d", m, shards[m.Shard].Available)
			}
			after[m.Shard] -= m.Amount
		}
		if sum != 0 {
			t.Fatalf("moves sum to %d", sum)
		}
		for i, n := range after {
			if total >= 0 && n < 0 {
				t.Fatalf("shard %d is left with %d of %d", i, n, total)
			}
			if n < 0 && shards[i].Available >= 0 {
				t.Fatalf("shard %d was taken below zero: %d", i, n)
			}
		}
	})
}

// TestPick: callers spread over the shards in use, and a hop is another shard.
func TestPick(t *testing.T) {
	for shards := 2; shards <= MaxShards; shards *= 2 {
		seen := map[int]bool{}
		for i := range 40 * shards {
			owner := "owner" + strconv.Itoa(i)
			a, b := Pick(owner, 1, 0, shards), Pick(owner, 1, 1, shards)
			if a < 0 || a >= shards || a == b {
				t.Fatalf("%d shards: %d then %d", shards, a, b)
			}
			seen[a] = true
		}
		if len(seen) != shards {
			t.Errorf("%d of %d shards are picked", len(seen), shards)
		}
	}
	if Pick("o", 1, 3, 0) != 0 || Pick("o", 1, 3, 1) != 0 {
		t.Error("one shard")
	}
}
