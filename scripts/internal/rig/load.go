package rig

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Spec is one slice of load: Clients connections, each sending its next request
// when the last is answered, until Duration is over or MaxCalls were begun.
type Spec struct {
	Addr string // host:port
	// Requests are rendered by [Request] and sent in turn. The clients start at
	// different places.
	Requests [][]byte
	// Stream says that a reply is whole only with the stream's end mark.
	Stream   bool
	Clients  int
	Duration time.Duration // 0 = until MaxCalls
	MaxCalls int           // 0 = until Duration
	Timeout  time.Duration // of one call
	// Progress, if set, is told how many calls have ended. It is called by many
	// goroutines and must be fast.
	Progress func(done int64)
}

// Result is what a slice gave.
type Result struct {
	Calls   int
	Elapsed time.Duration
	// First and Total are of the calls that succeeded, in no order.
	First, Total []time.Duration
	// Errors counts failed calls by code, Broken the replies that began with 200
	// and did not end.
	Errors map[string]int
	Broken int
	// Reads counts the reads of all sockets in calls that succeeded.
	Reads int
	// OK counts successes by index of the request.
	OK []int
}

// Failed is the number of calls that did not succeed.
func (r *Result) Failed() int { return r.Calls - len(r.Total) }

// Load runs a slice. It fails only if the spec is without bounds; failures of
// calls are in the result. A cancelled context ends it early.
func Load(ctx context.Context, s Spec) (Result, error) {
	if s.Duration <= 0 && s.MaxCalls <= 0 || s.Clients <= 0 || len(s.Requests) == 0 || s.Timeout <= 0 {
		return Result{}, errors.New("rig: a slice needs clients, requests, a timeout and an end")
	}
	var begun, done atomic.Int64
	began := time.Now()
	more := func() bool {
		if ctx.Err() != nil || s.Duration > 0 && time.Since(began) >= s.Duration {
			return false
		}
		return s.MaxCalls <= 0 || begun.Add(1) <= int64(s.MaxCalls)
	}
	parts := make([]Result, s.Clients)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			c := newClient(s.Addr, s.Timeout)
			defer c.close()
			p := &parts[i]
			p.Errors, p.OK = map[string]int{}, make([]int, len(s.Requests))
			for n := i * len(s.Requests) / s.Clients; more(); n++ {
				at := n % len(s.Requests)
				reply, err := c.do(s.Requests[at])
				p.add(at, reply, err, s.Stream)
				if s.Progress != nil {
					s.Progress(done.Add(1))
				}
				if err != nil {
					pause(ctx) // a server that is gone must not be called in a tight loop
				}
			}
		})
	}
	wg.Wait()
	out := Result{Elapsed: time.Since(began), Errors: map[string]int{}, OK: make([]int, len(s.Requests))}
	for i := range parts {
		out.Merge(&parts[i])
	}
	return out, nil
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

// Merge adds another result over the same requests; the elapsed times add up.
func (r *Result) Merge(o *Result) {
	r.Calls += o.Calls
	r.Elapsed += o.Elapsed
	r.Broken += o.Broken
	r.Reads += o.Reads
	r.First, r.Total = append(r.First, o.First...), append(r.Total, o.Total...)
	if r.Errors == nil {
		r.Errors = map[string]int{}
	}
	for k, n := range o.Errors {
		r.Errors[k] += n
	}
	if len(r.OK) < len(o.OK) {
		r.OK = append(r.OK, make([]int, len(o.OK)-len(r.OK))...)
	}
	for i, n := range o.OK {
		r.OK[i] += n
	}
}

func (r *Result) add(at int, reply Reply, err error, stream bool) {
	r.Calls++
	switch {
	case err == nil && reply.Status == 200 && (!stream || reply.Done):
		r.First, r.Total = append(r.First, reply.First), append(r.Total, reply.Total)
		r.Reads += reply.Reads
		r.OK[at]++
	case reply.Status == 200:
		r.Broken++
		r.Errors["broken"]++
	case reply.Status != 0 && err == nil:
		r.Errors[reply.Code]++
	default:
		r.Errors["connection"]++
	}
}
