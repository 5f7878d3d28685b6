package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/rig"
)

const (
	maxStreams  = 1_000_000
	soakOrgs    = 20
	soakClients = 16
	// soakEach and soakExtra bound the whole run; on a machine that is slower than
	// this the rest counts as not made.
	soakEach  = 250 * time.Millisecond
	soakExtra = 5 * time.Minute
	soakShown = 10 * time.Second
)

// soak makes streamed calls through the front while another process keeps every
// core busy: some faults of proxies show only then. Half of the calls go on
// platform credits, half on own keys.
func soak(ctx context.Context, o options, w *world, r *report) error {
	if err := w.enrol(ctx, soakOrgs); err != nil {
		return err
	}
	var requests [][]byte
	for _, model := range []string{modelPlatform, modelOwn} {
		for _, t := range w.tenants {
			requests = append(requests, chatRequest(w.ready.BaseURL, t.key, model, true))
		}
	}
	var started struct{}
	spinner, err := rig.Spawn(ctx, os.Stderr, &started, "role", roleSpin)
	if err != nil {
		return err
	}
	res, err := makeStreams(ctx, o.streams, rig.Spec{Addr: host(w.ready.BaseURL), Requests: requests, Stream: true,
		Clients: soakClients, MaxCalls: o.streams, Timeout: callTimeout})
	if stopErr := spinner.Stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return err
	}
	for i, n := range res.OK {
		w.tenants[i%len(w.tenants)].served += n
	}
	r.Soak = &soakRow{Asked: o.streams, Calls: res.Calls, Whole: len(res.Total), Broken: res.Broken, Errors: res.Errors,
		Seconds: round2(res.Elapsed.Seconds()), FirstP50: finite(rig.Quantile(res.First, 0.5)), FirstP99: finite(rig.Quantile(res.First, 0.99))}
	if err := w.checkMoney(ctx, r); err != nil {
		return err
	}
	if missing := o.streams - len(res.Total); missing > 0 {
		return fmt.Errorf("%d of %d streamed replies did not end with the end mark: %d broke off, %d were not made, errors %v",
			missing, o.streams, res.Broken, o.streams-res.Calls, res.Errors)
	}
	return nil
}

func makeStreams(ctx context.Context, n int, s rig.Spec) (rig.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n)*soakEach+soakExtra)
	defer cancel()
	began := time.Now()
	var shown atomic.Int64
	s.Progress = func(done int64) {
		at := int64(time.Since(began) / soakShown)
		if last := shown.Load(); at > last && shown.CompareAndSwap(last, at) {
			say("%d of %d streams", done, n)
		}
	}
	return rig.Load(ctx, s)
}
