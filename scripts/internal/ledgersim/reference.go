package ledgersim

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Assumptions says what a run assumes, for people.
func Assumptions(m Model) []string {
	bounds := func(b [2]time.Duration) string {
		return fmt.Sprintf("%d to %d ms", b[0].Milliseconds(), b[1].Milliseconds())
	}
	return []string{
		"a writing transaction takes " + bounds(m.Transaction) + ", its items refuse all other writes for " + strconv.Itoa(m.Locked) + "% of it; a refusal takes " + bounds(m.Refusal) + ", a read or a single write " + bounds(m.Single),
		"a partition key takes " + strconv.Itoa(m.Units) + " write units a second; refused writes consume what they would have",
		fmt.Sprintf("requests arrive at random, calls take 2 to 4 s and cost a tenth of their hold; %d stream shards polled every %d ms, records visible after 50 to 200 ms", streamShards, streamPoll.Milliseconds()),
		"the ledger is the deployed code, the service a model: no measurement of AWS; no lost answers, no limits of keys, no usage rows, no limits of the account",
	}
}

// Prototype is a figure of the simulation that the design was decided by, of one
// settled on the stream with hops: measured once on a prototype, with the same
// assumptions. Percentages of requests; hottest is 0 where it was not kept.
type Prototype struct {
	Rate, Shards    int
	Refused, GaveUp float64
	P99             time.Duration
	Hottest         int
}

// Prototypes lists them (2026-11).
func Prototypes() []Prototype {
	ms := time.Millisecond
	return []Prototype{
		{5, 1, 14, 0, 72 * ms, 0}, {10, 1, 21, 0, 72 * ms, 0}, {25, 1, 45, 0.3, 239 * ms, 0}, {50, 1, 73, 8.7, 483 * ms, 0},
		{100, 4, 45, 0, 203 * ms, 0}, {100, 8, 26, 0, 44 * ms, 0}, {100, 16, 14, 0, 32 * ms, 30},
		{500, 16, 57, 1.6, 313 * ms, 0}, {500, 32, 33, 0, 46 * ms, 0}, {500, 64, 17, 0, 33 * ms, 40},
		{1000, 32, 58, 2, 325 * ms, 0}, {1000, 64, 35, 0, 47 * ms, 0}, {1000, 128, 17, 0, 33 * ms, 42},
	}
}

// Cost is what a request consumes when nothing refuses it, with n settled in one
// transaction: write units of the table and of its index, by the documented rule
// over the bytes that are sent. DynamoDB Local counts otherwise.
func Cost(n int) (units, index float64, err error) {
	m := newSim(Scenario{Shards: 1, Hold: 1000, Amount: 100, Funds: 1e12, Model: Assumed()})
	ctx := context.Background()
	if err := m.start(ctx); err != nil {
		return 0, 0, err
	}
	used := make([]credit.Used, n)
	for i := range used {
		r := m.reserveRequest(m.orgs[0], i)
		h, err := m.ledger.Reserve(ctx, r)
		if err != nil {
			return 0, 0, err
		}
		usage := billing.Usage{InputTokens: 40, OutputTokens: 90, Requests: 1, Source: billing.FromProvider}
		if err := m.ledger.Used(ctx, h, credit.Outcome{Usage: usage, Amount: 100, Kind: credit.Completed, Status: 200, At: r.Now}); err != nil {
			return 0, 0, err
		}
		used[i] = credit.Used{Org: h.Org, Request: h.Request, Attempt: 1, Shard: h.Shard, Hold: h.Amount, Amount: 100, Kind: credit.Completed,
			Usage: usage, At: r.Now, Source: taxonomy.Platform, PriceVersion: "sim", Provider: "sim", Model: "sim-chat"}
	}
	if rep := m.ledger.Settle(ctx, used, m.c.time()); rep.Settled != n {
		return 0, 0, fmt.Errorf("ledgersim: of %d %d were settled", n, rep.Settled)
	}
	return float64(m.e.units-m.e.indexUnits) / float64(n), float64(m.e.indexUnits) / float64(n), nil
}
