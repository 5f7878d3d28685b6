package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/rotation"
)

type fakeJobs struct {
	pruned int
	err    error
	until  time.Time
	jobs   []rotation.Job
}

func (f *fakeJobs) StartPrune(context.Context) error { f.pruned++; return f.err }

func (f *fakeJobs) RunAll(ctx context.Context) ([]rotation.Job, error) {
	f.until, _ = ctx.Deadline()
	return f.jobs, f.err
}

type fakeClock struct{ at time.Time }

func (f *fakeClock) AtLeast(at time.Time) { f.at = at }

func TestHandle(t *testing.T) {
	deadline := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), deadline)
	defer cancel()
	jobs := &fakeJobs{jobs: []rotation.Job{{ID: "j", Kind: rotation.KEK, State: rotation.Running, Pass: 1, Done: 7, FailedCount: 2}}}
	clock := &fakeClock{}
	h := &Handler{Jobs: jobs, Clock: clock}
	a, err := h.Handle(ctx, json.RawMessage(`{"at":"2026-01-02T03:04:05Z"}`))
	if raw, _ := json.Marshal(a); err != nil || string(raw) != `{"jobs":[{"id":"j","kind":"kek","state":"running","pass":1,"done":7,"failed":2}]}` {
		t.Errorf("%s, %v", raw, err)
	}
	if !clock.at.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) || !jobs.until.Equal(deadline.Add(-runReserve)) || jobs.pruned != 0 {
		t.Errorf("clock %v, until %v, pruned %d", clock.at, jobs.until, jobs.pruned)
	}
	if _, err := h.Handle(ctx, json.RawMessage(`{"prune":true}`)); err != nil || jobs.pruned != 1 {
		t.Errorf("%v, pruned %d", err, jobs.pruned)
	}
	for _, raw := range []string{``, `[]`, `{"at":1}`, `{"other":1}`, `{} {}`, `{"prune":true}` + strings.Repeat(" ", maxEvent)} {
		if _, err := h.Handle(ctx, json.RawMessage(raw)); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%q: %v", raw[:min(len(raw), 30)], err)
		}
	}
	jobs.err = fault.New(fault.Unavailable, "test", "down")
	for _, raw := range []string{`{}`, `{"prune":true}`} {
		if _, err := h.Handle(ctx, json.RawMessage(raw)); fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestLogNamesTheRecord(t *testing.T) {
	var b bytes.Buffer
	logEvent(slog.New(slog.NewJSONHandler(&b, nil)))(t.Context(), rotation.Event{What: "quarantined", Job: rotation.Job{ID: "j1"},
		Failure: rotation.Failure{Org: "o1", Credential: "c1", Version: 3, Reason: "tag_mismatch"}})
	for _, want := range []string{`"level":"ERROR"`, `"msg":"rotation","event":"quarantined"`, `"job":"j1"`, `"credential":"c1"`, `"version":3`, `"reason":"tag_mismatch"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the line lacks %s: %s", want, b.String())
		}
	}
}

// FuzzEvent: no event makes the handler do anything but answer.
func FuzzEvent(f *testing.F) {
	for _, s := range []string{`{}`, `{"at":"2026-01-02T03:04:05Z","prune":true}`, `{"at":null}`, `[`, `{"prune":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		h := &Handler{Jobs: &fakeJobs{}, Clock: &fakeClock{}}
		if _, err := h.Handle(t.Context(), raw); err != nil && fault.CodeOf(err) != fault.InvalidRequest {
			t.Error(err)
		}
	})
}
