package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/rotation"
)

// Jobs is what the handler needs of a [rotation.Runner].
type Jobs interface {
	StartPrune(ctx context.Context) error
	RunAll(ctx context.Context) ([]rotation.Job, error)
}

// Clock takes the time of the event. The event may have waited, so it never sets
// the clock back.
type Clock interface{ AtLeast(at time.Time) }

// Handler runs the open jobs.
type Handler struct {
	Jobs  Jobs
	Clock Clock
}

// Event is what console and sweep send.
type Event struct {
	// At is the platform's time.
	At time.Time `json:"at"`
	// Prune asks for the removal of what ended overlaps left behind.
	Prune bool `json:"prune"`
}

// Answer lists the jobs as the run leaves them.
type Answer struct {
	Jobs []Summary `json:"jobs"`
}

// Summary is one job.
type Summary struct {
	ID     string         `json:"id"`
	Kind   rotation.Kind  `json:"kind"`
	State  rotation.State `json:"state"`
	Pass   int            `json:"pass"`
	Done   int64          `json:"done"`
	Failed int64          `json:"failed"`
}

// runReserve is kept of the function's time for giving the lease back.
const runReserve = 15 * time.Second

// maxEvent bounds the event in bytes.
const maxEvent = 1 << 10

// Handle works on the open jobs until they have ended or the time is nearly
// over; then the next run goes on.
func (h *Handler) Handle(ctx context.Context, raw json.RawMessage) (Answer, error) {
	const op = "rotate.Handle"
	var e Event
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if len(raw) > maxEvent || d.Decode(&e) != nil || d.More() {
		return Answer{}, fault.New(fault.InvalidRequest, op, "the event is not one of ours")
	}
	if !e.At.IsZero() {
		h.Clock.AtLeast(e.At)
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-runReserve))
		defer cancel()
	}
	if e.Prune {
		if err := h.Jobs.StartPrune(ctx); err != nil {
			return Answer{}, err
		}
	}
	jobs, err := h.Jobs.RunAll(ctx)
	a := Answer{Jobs: make([]Summary, len(jobs))}
	for i, j := range jobs {
		a.Jobs[i] = Summary{ID: j.ID, Kind: j.Kind, State: j.State, Pass: j.Pass, Done: j.Done, Failed: j.FailedCount}
	}
	return a, err
}

// logEvent writes what happened; records are named, values never.
func logEvent(log *slog.Logger) func(context.Context, rotation.Event) {
	return func(ctx context.Context, ev rotation.Event) {
		level := slog.LevelInfo
		if ev.What == "failure" || ev.What == "quarantined" || ev.What == "repaired" || ev.Job.State == rotation.Failed {
			level = slog.LevelError
		}
		log.Log(ctx, level, "rotation", "event", ev.What, "job", ev.Job.ID, "kind", string(ev.Job.Kind), "state", string(ev.Job.State),
			"pass", ev.Job.Pass, "done", ev.Job.Done, "failed", ev.Job.FailedCount, "why", ev.Job.Reason,
			"org", ev.Failure.Org, "class", string(ev.Failure.Class), "credential", ev.Failure.Credential, "version", ev.Failure.Version,
			"field", ev.Failure.Field, "reason", string(ev.Failure.Reason))
	}
}
