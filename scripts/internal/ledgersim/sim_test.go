package ledgersim

import (
	"reflect"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
)

const reserveLimit = 50 * time.Millisecond

func scenario(perSecond float64, shards int) Scenario {
	return Scenario{Seed: 7, Rate: Steady(perSecond), Shards: shards, Hold: 10_000, Amount: 1000, Funds: 1e12, Model: Assumed()}
}

func run(t *testing.T, s Scenario) Result {
	t.Helper()
	r, err := Run(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("first try refused %v%%, gave up %d, without funds %d of %d, p50 %v, p99 %v, hottest %v, %v units, in use %d after %d changes (%d failed), settled %d, longest wait %v",
		r.Percent(r.FirstRefused), r.GaveUp, r.NoFunds, r.Requests, r.P50, r.P99, r.Hottest, r.UnitsPerRequest, r.InUse, r.Reshapes, r.ReshapesFailed, r.Settled, r.SettleLag)
	if r.Overspend != 0 || r.Poisoned != 0 || r.UsedFailed != 0 {
		t.Fatalf("overspent %d, %d not settled, the usage of %d lost", r.Overspend, r.Poisoned, r.UsedFailed)
	}
	return r
}

// TestThousandASecond: one organisation, 1,000 requests a second, every money
// check, 99 of 100 reserves within 50 ms. Without hops, or with fewer shards, they
// are not.
func TestThousandASecond(t *testing.T) {
	s := scenario(1000, credit.MaxShards)
	s.For, s.Warm = 5*time.Second, 3*time.Second
	r := run(t, s)
	if err := r.Sustained(reserveLimit); err != nil {
		t.Fatal(err)
	}
	if r.Hottest["A"] > 200 || r.Throttled > 0 {
		t.Errorf("a shard took %d units in a second, %d writes were throttled", r.Hottest["A"], r.Throttled)
	}
}

// TestOneShardIsNotEnough: the model does refuse, so that what passes above means
// something.
func TestOneShardIsNotEnough(t *testing.T) {
	s := scenario(60, 1)
	s.For = 5 * time.Second
	if r := run(t, s); r.Sustained(reserveLimit) == nil || r.GaveUp == 0 {
		t.Fatalf("60 requests a second on one balance: %+v", r)
	}
}

// TestRaisedWhileItGrows: a load that grows from nothing gets its shards in time;
// nobody is refused any more soon after it began.
func TestRaisedWhileItGrows(t *testing.T) {
	s := scenario(0, 1)
	s.Rate = func(at time.Duration) float64 { return 200 * min(at.Seconds()/12, 1) }
	s.For, s.Automatic = 15*time.Second, true
	r := run(t, s)
	if in := r.Seconds[len(r.Seconds)-1].InUse; in < 16 || r.NoFunds > 0 {
		t.Fatalf("%d shards in use, %d refused for funds", in, r.NoFunds)
	}
	for at, sec := range r.Seconds {
		if at >= 11 && sec.GaveUp > 0 {
			t.Errorf("%d of %d gave up in second %d", sec.GaveUp, sec.Requests, at)
		}
	}
}

// TestDry: an organisation of many shards runs out. What there is is given to the
// last hold and not beyond; nobody is told that the ledger cannot be reached.
func TestDry(t *testing.T) {
	s := scenario(60, 16)
	s.For, s.Funds, s.Amount = 4*time.Second, 1_005_000, 10_000 // a hundred holds
	r := run(t, s)
	if r.Reserved != 100 || r.GaveUp > 0 {
		t.Fatalf("%d of 100 were reserved, %d gave up, %d refused for funds", r.Reserved, r.GaveUp, r.NoFunds)
	}
}

// TestSameSeedSameRun: virtual time is all that a run depends on.
func TestSameSeedSameRun(t *testing.T) {
	s := scenario(50, 4)
	s.For, s.Automatic = 3*time.Second, true
	if a, b := run(t, s), run(t, s); !reflect.DeepEqual(a, b) {
		t.Fatalf("%+v, then %+v", a, b)
	}
}

// TestCost holds the write units of a request to the documented rule: two for each
// kilobyte of a transaction's items, one for a plain write, one for each change of
// the index. Four actions put request, decision and hold; one records the usage;
// settlement shares the balance among those it settles together.
func TestCost(t *testing.T) {
	for n, want := range map[int]float64{1: 2 + 2 + 2 + 1 + 2 + 2 + 2, 49: 2 + 2 + 2 + 1 + 2 + 2 + 2.0/49} {
		units, index, err := Cost(n)
		if err != nil || index != 2 || units < want-0.001 || units > want+0.001 {
			t.Errorf("%d together: %v units and %v of the index, want %v and 2 (%v)", n, units, index, want, err)
		}
	}
}
