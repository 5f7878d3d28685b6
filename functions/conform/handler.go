package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/probe"
)

// Station is what the handler needs of package probe.
type Station interface {
	Probe(ctx context.Context, org, id string, p connection.Probe, model string) (connection.Seen, error)
	Batch(ctx context.Context, refs []probe.Ref) (int, error)
}

// Counter is what the handler needs of package consent.
type Counter interface {
	Trade(ctx context.Context, t consent.Trade) (consent.Answer, error)
}

// Clock takes the time of events.
type Clock interface {
	Exact(at time.Time)
	AtLeast(at time.Time)
}

// Handler makes probes, and trades the codes of authorisation pages.
type Handler struct {
	Station Station
	Counter Counter
	Clock   Clock
	Log     *slog.Logger
}

// Handle answers one event. Whoever waits for a probe gets the reason it was not
// made as an answer; a batch fails, because nobody waits and the failure must be
// seen. What a failed batch did not get to is handed over again by the next sweep.
func (h *Handler) Handle(ctx context.Context, raw json.RawMessage) (any, error) {
	if consent.Mine(raw) {
		return h.trade(ctx, raw)
	}
	return h.probe(ctx, raw)
}

// trade answers why there is no token; it fails if that is not known, because the
// code may be used up then.
func (h *Handler) trade(ctx context.Context, raw json.RawMessage) (consent.Answer, error) {
	t, at, err := consent.ParseEvent(raw)
	if err != nil {
		return consent.Answer{}, err
	}
	h.Clock.Exact(at)
	a, err := h.Counter.Trade(ctx, t)
	h.Log.InfoContext(ctx, "code traded", "provider", string(t.Provider), "credential", t.App, "reason", string(a.Failure), "code", string(fault.CodeOf(err)))
	return a, err
}

func (h *Handler) probe(ctx context.Context, raw json.RawMessage) (probe.Answer, error) {
	ev, err := probe.ParseEvent(raw)
	if err != nil {
		return probe.Answer{}, err
	}
	if len(ev.Batch) > 0 {
		// The event may have waited in the platform's queue.
		h.Clock.AtLeast(ev.At)
		n, err := h.Station.Batch(ctx, ev.Batch)
		h.Log.InfoContext(ctx, "probed", "connections", n, "of", len(ev.Batch), "code", string(fault.CodeOf(err)))
		return probe.Answer{Probed: n}, err
	}
	h.Clock.Exact(ev.At)
	seen, err := h.Station.Probe(ctx, ev.Org, ev.Connection, ev.Probe, ev.Model)
	if err != nil {
		h.Log.WarnContext(ctx, "probe not made", "org", ev.Org, "connection", ev.Connection, "code", string(fault.CodeOf(err)), "op", fault.As(err).Op)
		return probe.Refused(err), nil
	}
	h.Log.InfoContext(ctx, "probed", "org", ev.Org, "connection", ev.Connection, "probe", string(seen.Probe), "verdict", string(seen.Verdict),
		"reason", seen.Reason, "status", seen.HTTPStatus, "ms", seen.LatencyMS)
	a := probe.Reported(seen)
	a.Probed = 1
	return a, nil
}
