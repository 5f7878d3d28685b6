// Package schedule runs a function at a fixed rate, as an EventBridge rule does,
// for the local stack.
//
// Guarantees: one invocation at a time per [Runner]; the event's time is the
// stack's clock in whole seconds; nothing starts while it is paused.
//
// Flow: [Runner.Run] waits for the rate, builds the event, invokes, logs a
// failure and goes on. Ticks that fall into a running invocation or a pause are
// dropped.
//
// Not imitated: cron expressions, the two retries of asynchronous invocations,
// failure destinations, overlapping runs, alignment to the full minute. The rate
// counts real time: shifting the clock changes the event's time, it does not
// make a run due.
package schedule

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/clock"
)

// Invoke calls a function; functionError is non-empty when the function failed.
type Invoke func(ctx context.Context, function string, event []byte) (payload []byte, functionError string, err error)

// Options configure a [Runner].
type Options struct {
	// RuleARN names the rule, "arn:aws:events:<region>:<account>:rule/<name>";
	// region and account of the event come from it.
	RuleARN  string
	Function string
	// Every is the rate; default one minute.
	Every  time.Duration
	Invoke Invoke
	Clock  *clock.Clock
	// StopGrace is how long a running invocation may continue after Run's
	// context ended; default 5 s.
	StopGrace time.Duration
	Log       *slog.Logger
}

// Runner runs one rule. Its methods are safe for concurrent use.
type Runner struct {
	options         Options
	region, account string

	busy   chan struct{} // holds one token during an invocation or a change of paused
	paused bool
}

type event struct {
	Version    string   `json:"version"`
	ID         string   `json:"id"`
	DetailType string   `json:"detail-type"`
	Source     string   `json:"source"`
	Account    string   `json:"account"`
	Time       string   `json:"time"`
	Region     string   `json:"region"`
	Resources  []string `json:"resources"`
	Detail     struct{} `json:"detail"`
}

// New checks the options; it starts nothing.
func New(o Options) (*Runner, error) {
	parts := strings.Split(o.RuleARN, ":")
	if len(parts) != 6 || parts[2] != "events" {
		return nil, fmt.Errorf("schedule: %q is not a rule ARN", o.RuleARN)
	}
	if o.Function == "" || o.Invoke == nil || o.Clock == nil {
		return nil, errors.New("schedule: Options need Function, Invoke and Clock")
	}
	if o.Every == 0 {
		o.Every = time.Minute
	}
	if o.Every < 0 {
		return nil, fmt.Errorf("schedule: rate %v is negative", o.Every)
	}
	if o.StopGrace == 0 {
		o.StopGrace = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Runner{options: o, region: parts[3], account: parts[4], busy: make(chan struct{}, 1)}, nil
}

// Run invokes until ctx ends, gives a running invocation StopGrace and returns
// nil. The first run comes one rate after the start.
func (r *Runner) Run(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		grace := time.NewTimer(r.options.StopGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
		case <-work.Done():
		}
		cancel()
	})
	defer stop()
	ticks := time.NewTicker(r.options.Every)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			r.once(ctx, work)
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *Runner) once(ctx, work context.Context) {
	r.busy <- struct{}{}
	defer func() { <-r.busy }()
	if r.paused || ctx.Err() != nil {
		return
	}
	data, err := json.Marshal(event{
		Version: "0", ID: newID(), DetailType: "Scheduled Event", Source: "aws.events",
		Account: r.account, Region: r.region, Resources: []string{r.options.RuleARN},
		Time: r.options.Clock.Now().UTC().Format("2006-01-02T15:04:05Z"),
	})
	if err == nil {
		var functionError string
		_, functionError, err = r.options.Invoke(work, r.options.Function, data)
		if err == nil && functionError != "" {
			err = errors.New(functionError)
		}
	}
	if err != nil {
		r.options.Log.Warn("scheduled run failed", "function", r.options.Function, "error", err)
	}
}

// Pause stops further runs once a running one has ended; ctx bounds the wait,
// and its error means that nothing changed.
func (r *Runner) Pause(ctx context.Context) error { return r.set(ctx, true) }

// Resume ends a pause; ctx as in [Runner.Pause].
func (r *Runner) Resume(ctx context.Context) error { return r.set(ctx, false) }

func (r *Runner) set(ctx context.Context, paused bool) error {
	select {
	case r.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.paused = paused
	<-r.busy
	return nil
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
