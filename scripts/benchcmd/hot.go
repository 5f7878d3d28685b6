package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/ledgersim"
	"github.com/latchkey/latchkey/shared/credit"
)

const (
	partHot = "hot"
	// The bar: one organisation, so many requests a second, reserved within so
	// long by 99 of 100.
	hotRate  = 1000
	hotLimit = 50 * time.Millisecond
	hotSeed  = 1
	// hotWarm is until calls end as fast as they begin.
	hotWarm = 5 * time.Second
)

// hotReport is the simulation of one busy organisation. No figure of it was
// measured on AWS.
type hotReport struct {
	Assumed []string `json:"assumed"`
	Rows    []hotRow `json:"rows"`
	Ramp    *rampRow `json:"ramp,omitempty"`
	// Reached says that the bar was, at hotRate.
	Reached bool `json:"reached"`
}

type hotRow struct {
	Rate     int            `json:"requests_per_second"`
	Shards   int            `json:"shards"`
	Requests int            `json:"requests"`
	Refused  float64        `json:"first_try_refused_percent"`
	GaveUp   float64        `json:"gave_up_percent"`
	P50      float64        `json:"reserve_p50_ms"`
	P99      float64        `json:"reserve_p99_ms"`
	Hottest  map[string]int `json:"hottest_write_units_per_second"`
	Units    float64        `json:"write_units_per_request"`
	Over     int64          `json:"overspent_micro_credits"`
	Lag      float64        `json:"longest_wait_for_settlement_s"`
	// Prototype is what the design was decided by, where there is one.
	Prototype *protoRow `json:"prototype,omitempty"`
}

type protoRow struct {
	Refused float64 `json:"first_try_refused_percent"`
	GaveUp  float64 `json:"gave_up_percent"`
	P99     float64 `json:"reserve_p99_ms"`
	Hottest int     `json:"hottest_write_units_per_second,omitempty"`
}

// rampRow is a load that grows from nothing while shards are added for it.
type rampRow struct {
	To       int     `json:"to_requests_per_second"`
	Over     float64 `json:"within_s"`
	Requests int     `json:"requests"`
	GaveUp   int     `json:"gave_up"`
	NoFunds  int     `json:"refused_for_funds"`
	Overs    int64   `json:"overspent_micro_credits"`
	// Steps are the seconds at which the number in use changed, LastGaveUp the last
	// one in which somebody was refused, Calm how many seconds followed.
	Steps      []rampStep `json:"steps"`
	LastGaveUp int        `json:"last_refusal_at_s"`
	Shards     int        `json:"shards"`
}

type rampStep struct {
	At     int `json:"at_s"`
	Shards int `json:"shards"`
}

// hot simulates. It fails only where money was wrong, or the bar at hotRate was
// missed: virtual time does not depend on the machine.
func hot(ctx context.Context, p plan, r *report) error {
	r.Hot = &hotReport{Assumed: ledgersim.Assumptions(ledgersim.Assumed())}
	base := ledgersim.Scenario{Seed: hotSeed, Warm: hotWarm, Hold: 10_000, Amount: 1000, Funds: 1e12, Model: ledgersim.Assumed()}
	var wrong []error
	for _, c := range p.hotCells {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s := base
		s.Rate, s.Shards = ledgersim.Steady(float64(c.rate)), c.shards
		s.For = hotWarm + max(p.hotFor, time.Duration(hotLeast/c.rate)*time.Second)
		res, err := ledgersim.Run(s)
		if err == nil && res.Overspend > 0 {
			err = fmt.Errorf("%d micro-credits too many were spent", res.Overspend)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%d requests a second on %d shards: %w", c.rate, c.shards, err))
		}
		r.Hot.Rows = append(r.Hot.Rows, hotRowOf(c, res))
		if c.rate == hotRate && c.shards == credit.MaxShards {
			if err := res.Sustained(hotLimit); err != nil {
				wrong = append(wrong, err)
			}
			r.Hot.Reached = res.Sustained(hotLimit) == nil
		}
	}
	if p.rampTo > 0 && ctx.Err() == nil {
		wrong = append(wrong, ramp(base, p, r.Hot))
	}
	return errors.Join(wrong...)
}

// hotLeast is about how many requests a figure needs.
const hotLeast = 600

type hotCell struct{ rate, shards int }

func ramp(s ledgersim.Scenario, p plan, out *hotReport) error {
	s.Rate = func(at time.Duration) float64 {
		return float64(p.rampTo) * min(at.Seconds()/p.rampOver.Seconds(), 1)
	}
	s.For, s.Warm, s.Shards, s.Automatic = p.rampOver+rampTail, 0, 1, true
	res, err := ledgersim.Run(s)
	row := &rampRow{To: p.rampTo, Over: p.rampOver.Seconds(), Requests: res.Requests, GaveUp: res.GaveUp, NoFunds: res.NoFunds, Overs: int64(res.Overspend), Shards: res.InUse}
	was := 1
	for at, sec := range res.Seconds {
		if sec.GaveUp+sec.NoFunds > 0 {
			row.LastGaveUp = at
		}
		if sec.Requests > 0 && max(sec.InUse, 1) != was {
			was = sec.InUse
			row.Steps = append(row.Steps, rampStep{at, was})
		}
	}
	out.Ramp = row
	if err == nil && res.Overspend > 0 {
		err = fmt.Errorf("ramp: %d micro-credits too many were spent", res.Overspend)
	}
	return err
}

// rampTail is how long the load stays.
const rampTail = 10 * time.Second

func hotRowOf(c hotCell, res ledgersim.Result) hotRow {
	ms := func(d time.Duration) float64 { return round2(d.Seconds() * 1000) }
	row := hotRow{Rate: c.rate, Shards: c.shards, Requests: res.Requests, Refused: res.Percent(res.FirstRefused), GaveUp: res.Percent(res.GaveUp),
		P50: ms(res.P50), P99: ms(res.P99), Hottest: res.Hottest, Units: res.UnitsPerRequest, Over: int64(res.Overspend), Lag: round2(res.SettleLag.Seconds())}
	for _, was := range ledgersim.Prototypes() {
		if was.Rate == c.rate && was.Shards == c.shards {
			row.Prototype = &protoRow{Refused: was.Refused, GaveUp: was.GaveUp, P99: ms(was.P99), Hottest: was.Hottest}
		}
	}
	return row
}

func (r *report) printHot(out io.Writer) {
	h := r.Hot
	if h == nil {
		return
	}
	rows := [][]string{{"req/s", "shards", "first try refused %", "p50 ms", "p99 ms", "gave up %", "overspent", "WCU/s balance", "request", "entries", "index", "WCU/request", "prototype: refused %", "p99 ms", "gave up %"}}
	for _, x := range h.Rows {
		row := []string{strconv.Itoa(x.Rate), strconv.Itoa(x.Shards), number(x.Refused), number(x.P50), number(x.P99), number(x.GaveUp), strconv.FormatInt(x.Over, 10),
			strconv.Itoa(x.Hottest["A"]), strconv.Itoa(x.Hottest["R"]), strconv.Itoa(x.Hottest["J"]), strconv.Itoa(x.Hottest["H"]), number(x.Units), "", "", ""}
		if w := x.Prototype; w != nil {
			row[12], row[13], row[14] = number(w.Refused), number(w.P99), number(w.GaveUp)
		}
		rows = append(rows, row)
	}
	verdict := "missed"
	if h.Reached {
		verdict = "reached"
	}
	grid(out, fmt.Sprintf("one busy organisation, SIMULATED (bar: %d requests/s, p99 of the reserve <= %s, nothing overspent: %s)", hotRate, hotLimit, verdict), rows)
	if p := h.Ramp; p != nil {
		var steps []string
		for _, s := range p.Steps {
			steps = append(steps, fmt.Sprintf("%d after %d s", s.Shards, s.At))
		}
		fmt.Fprintf(out, "  from 0 to %d requests/s within %s s, from one shard: %s; of %d requests %d gave up, the last after %d s, %d were refused for funds; overspent %d\n",
			p.To, number(p.Over), strings.Join(steps, ", "), p.Requests, p.GaveUp, p.LastGaveUp, p.NoFunds, p.Overs)
	}
	for _, a := range h.Assumed {
		fmt.Fprintf(out, "  assumed: %s\n", a)
	}
	fmt.Fprintln(out, "  hottest: write units of the busiest partition key of each sort in any second, 1,000 are allowed; refused tries are counted as consumed.")
}
