package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/rotation/rotationtest"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// deaf is a store that does not answer.
type deaf struct{ rotation.Store }

func (deaf) Open(context.Context) (map[string]string, error) { return nil, errors.New("down") }

func TestWake(t *testing.T) {
	quarter := time.Date(2026, 11, 22, 10, 15, 0, 0, time.UTC)
	job := rotation.Job{ID: "j", Kind: rotation.KEK, State: rotation.Running, Rev: 1}
	leased, late, done := job, job, job
	leased.LeaseOwner, leased.LeaseUntil = "w", quarter.Add(time.Second)
	late.LeaseOwner, late.LeaseUntil = "w", quarter
	done.State = rotation.Done
	const start, prune = `{"at":"2026-11-22T10:15:00Z","prune":false}`, `{"at":"2026-11-22T10:17:00Z","prune":true}`
	for name, c := range map[string]struct {
		job  *rotation.Job
		at   time.Time
		want string
	}{
		"nothing open":         {nil, quarter, ""},
		"no worker":            {&job, quarter, start},
		"has a worker":         {&leased, quarter, ""},
		"worker is gone":       {&late, quarter, start},
		"ended":                {&done, quarter, ""},
		"the hour's minute":    {nil, quarter.Add(2 * time.Minute), prune},
		"that minute and work": {&job, quarter.Add(2 * time.Minute), prune},
	} {
		store := rotationtest.NewMemory(vaulttest.NewStore())
		if c.job != nil {
			if err := store.Write(t.Context(), rotation.Write{Job: *c.job, Slot: rotation.TakeSlot}); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		r := &Rotations{Store: store, Log: slog.New(slog.DiscardHandler), Start: func(_ context.Context, event []byte) error { got += string(event); return nil }}
		r.Wake(t.Context(), c.at)
		if got != c.want {
			t.Errorf("%s: started with %s, want %s", name, got, c.want)
		}
	}
	// Failures are logged by their code.
	for _, r := range []*Rotations{
		{Store: deaf{}},
		{Store: rotationtest.NewMemory(vaulttest.NewStore()), Start: func(context.Context, []byte) error { return errors.New("not reached") }},
	} {
		var b bytes.Buffer
		r.Log = slog.New(slog.NewTextHandler(&b, nil))
		r.Wake(t.Context(), quarter.Add(2*time.Minute))
		if !strings.Contains(b.String(), "rotate was not started") || strings.Contains(b.String(), "not reached") {
			t.Errorf("log: %s", b.String())
		}
	}
}
