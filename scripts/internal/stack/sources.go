package stack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/latchkey/latchkey/scripts/internal/fifopoll"
	"github.com/latchkey/latchkey/scripts/internal/front"
	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
	"github.com/latchkey/latchkey/scripts/internal/schedule"
	"github.com/latchkey/latchkey/scripts/internal/streampoll"
	"github.com/latchkey/latchkey/shared/topology"
)

// invoke is how the event sources call functions.
func (s *Stack) invoke(ctx context.Context, function string, event []byte) ([]byte, string, error) {
	if s.opts.OnDelivery != nil {
		s.opts.OnDelivery(function, event)
	}
	r, err := s.Host.Invoke(ctx, function, event)
	var failed *lambdahost.Error
	if err != nil && !errors.As(err, &failed) {
		return nil, "", err
	}
	if err != nil {
		if errors.Is(err, lambdahost.ErrThrottled) {
			return nil, "", throttled{err}
		}
		return failed.Payload(), "Unhandled", err
	}
	return r.Payload, r.FunctionError, nil
}

// throttled marks a 429, which event sources repeat without counting it.
type throttled struct{ error }

func (throttled) Throttled() bool { return true }

func (s *Stack) startPollers() error {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, f := range topology.Functions() {
		if f.Stream != nil {
			if err := s.startStream(ctx, f); err != nil {
				return err
			}
		}
		if f.Queue != nil {
			if err := s.startQueue(ctx, f); err != nil {
				return err
			}
		}
		if f.Schedule > 0 {
			if err := s.startSchedule(ctx, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Stack) run(ctx context.Context, what string, run func(context.Context) error) {
	s.pollers.Add(1)
	go func() {
		defer s.pollers.Done()
		if err := run(ctx); err != nil && ctx.Err() == nil {
			s.log.Error(what+" stopped", "error", err)
		}
	}()
}

func (s *Stack) startStream(ctx context.Context, f topology.Function) error {
	p, err := streampoll.New(streampoll.Mapping{
		StreamARN: s.streamARN[s.Tables[f.Stream.Table]], Function: f.Name, BatchSize: f.Stream.BatchSize,
		MaxRetries: f.Stream.MaxRetries, MaxRecordAge: f.Stream.MaxAge, BisectOnError: f.Stream.Bisect,
		ReportBatchItemFailures: true, Filters: f.Stream.Filters, FailureDestination: s.failureDir(f.Name),
	}, streampoll.Options{
		Client: s.streamsClient(), Invoke: s.invoke, Clock: s.Clock, Region: region, Account: account,
		StateDir: s.stateDir(), Log: s.log,
	})
	if err != nil {
		return err
	}
	if s.opts.Paused {
		if err := p.Pause(ctx); err != nil {
			return err
		}
	}
	s.streams = append(s.streams, p)
	s.run(ctx, "stream of "+f.Name, p.Run)
	return nil
}

func (s *Stack) failureDir(function string) string {
	return filepath.Join(s.opts.Data, "failures", function)
}

// stateDir keeps checkpoints beside the tables they belong to.
func (s *Stack) stateDir() string { return filepath.Join(s.opts.Data, "streams") }

func (s *Stack) startQueue(ctx context.Context, f topology.Function) error {
	p, err := fifopoll.New(fifopoll.Mapping{
		QueueURL: s.Queues.URL(s.endpoints.sqs, queueName(f.Queue.Name)), QueueARN: s.Queues.ARN(queueName(f.Queue.Name)),
		Function: f.Name, BatchSize: f.Queue.BatchSize, MaxConcurrency: f.Queue.MaxConcurrency, ReportBatchItemFailures: true,
	}, fifopoll.Options{Client: s.sqsClient(), Invoke: s.invoke, Log: s.log})
	if err != nil {
		return err
	}
	s.run(ctx, "queue of "+f.Name, p.Run)
	return nil
}

func (s *Stack) startSchedule(ctx context.Context, f topology.Function) error {
	r, err := schedule.New(schedule.Options{
		RuleARN:  fmt.Sprintf("arn:aws:events:%s:%s:rule/%s", region, account, f.Name),
		Function: f.Name, Every: f.Schedule, Invoke: s.invoke, Clock: s.Clock, Log: s.log,
	})
	if err != nil {
		return err
	}
	if s.opts.Paused {
		if err := r.Pause(ctx); err != nil {
			return err
		}
	}
	s.schedules = append(s.schedules, r)
	s.run(ctx, "schedule of "+f.Name, r.Run)
	return nil
}

// Failure is a record or message that was given up.
type Failure struct {
	Source string `json:"source"` // stream or queue
	Name   string `json:"name"`
	Body   any    `json:"body"`
}

// Failures lists what the failure destinations and dead letter queues hold.
func (s *Stack) Failures() ([]Failure, error) {
	out := []Failure{}
	for _, f := range topology.Functions() {
		if f.Stream != nil {
			failed, err := streampoll.Failures(s.failureDir(f.Name))
			if err != nil {
				return nil, err
			}
			for _, x := range failed {
				out = append(out, Failure{"stream", f.Name, x})
			}
		}
		if f.Queue != nil {
			dead, err := s.Queues.Messages(deadLetterName(f.Queue.Name), 1000)
			if err != nil {
				return nil, err
			}
			for _, m := range dead {
				out = append(out, Failure{"queue", deadLetterName(f.Queue.Name), m})
			}
		}
	}
	return out, nil
}

// localEndpoints adds the stack's own endpoints to the front.
func (s *Stack) localEndpoints(f *front.Front) {
	toggle := func(on func(context.Context) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := on(r.Context()); err != nil {
				writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
				return
			}
			writeJSON(w, http.StatusOK, map[string]bool{"ok": true})
		}
	}
	f.HandleLocal("POST /_local/streams/pause", toggle(func(ctx context.Context) error {
		var errs []error
		for _, p := range s.streams {
			errs = append(errs, p.Pause(ctx))
		}
		return errors.Join(errs...)
	}))
	f.HandleLocal("POST /_local/streams/resume", toggle(func(context.Context) error {
		for _, p := range s.streams {
			p.Resume()
		}
		return nil
	}))
	f.HandleLocal("POST /_local/schedule/pause", toggle(func(ctx context.Context) error {
		var errs []error
		for _, r := range s.schedules {
			errs = append(errs, r.Pause(ctx))
		}
		return errors.Join(errs...)
	}))
	f.HandleLocal("POST /_local/schedule/resume", toggle(func(ctx context.Context) error {
		var errs []error
		for _, r := range s.schedules {
			errs = append(errs, r.Resume(ctx))
		}
		return errors.Join(errs...)
	}))
	f.HandleLocal("GET /_local/failures", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		items, err := s.Failures()
		if err != nil {
			writeJSON(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"items": items})
	}))
	f.HandleLocal("GET /_local/queues", s.Queues.QueuesHandler())
	f.HandleLocal("GET /_local/events", s.Events.Handler())
	f.HandleLocal("/_local/faults", s.Faults.Handler())
}
