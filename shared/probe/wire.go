package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

// MaxEvent bounds an event and an answer, in bytes.
const MaxEvent = 64 << 10

// Ref names a connection.
type Ref struct {
	Org        string `json:"org"`
	Connection string `json:"connection"`
}

// Event is what the function conform takes: one probe, or a batch of connections
// whose keys are due to be checked.
type Event struct {
	Ref
	Probe connection.Probe `json:"probe,omitempty"`
	Model string           `json:"model,omitempty"`
	Batch []Ref            `json:"batch,omitempty"`
	// At is the clock of whoever asks.
	At time.Time `json:"at"`
}

// MaxBatch is how many connections one event may name.
const MaxBatch = 25

// ParseEvent decodes and checks an event. It fails with invalid_request and
// never repeats what it was given.
func ParseEvent(raw []byte) (Event, error) {
	var ev Event
	if len(raw) > MaxEvent || !strict(raw, &ev) {
		return Event{}, bad("this is not an event of conform")
	}
	single := ev.Probe != "" || ev.Model != "" || ev.Ref != (Ref{})
	switch {
	case ev.At.Unix() <= 0:
		return Event{}, bad("the event has no time")
	case single == (len(ev.Batch) > 0), len(ev.Batch) > MaxBatch:
		return Event{}, bad("the event must name one connection and probe, or a batch of at most 25")
	case single && (!ev.valid() || len(ev.Probe) > 64 || len(ev.Model) > 512):
		return Event{}, bad("the event must name one connection and probe, or a batch of at most 25")
	}
	for _, r := range ev.Batch {
		if !r.valid() {
			return Event{}, bad("a connection of the batch has no valid name")
		}
	}
	return ev, nil
}

func (r Ref) valid() bool { return table.ValidID(r.Org) && table.ValidID(r.Connection) }

func bad(message string) error { return fault.New(fault.InvalidRequest, "probe.ParseEvent", message) }

func strict(raw []byte, into any) bool {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if d.Decode(into) != nil {
		return false
	}
	_, err := d.Token()
	return err == io.EOF
}

// Answer is what conform answers: what a probe saw, why it was not made, or how
// many of a batch were probed. It never holds a secret or a vendor's words.
type Answer struct {
	Seen   *Report  `json:"seen,omitempty"`
	Error  *Refusal `json:"error,omitempty"`
	Probed int      `json:"probed"`
}

// Report is a [connection.Seen] on its way.
type Report struct {
	Probe      connection.Probe        `json:"probe"`
	Verdict    connection.Verdict      `json:"verdict"`
	Status     connection.HealthStatus `json:"status"`
	Reason     string                  `json:"reason,omitempty"`
	HTTPStatus int                     `json:"http_status,omitempty"`
	CheckedAt  time.Time               `json:"checked_at"`
	LatencyMS  int64                   `json:"latency_ms"`
	ModelCount int64                   `json:"model_count"`
	VoiceCount int64                   `json:"voice_count"`
}

// Refusal is a fault on its way: a failed function would lose code and message.
type Refusal struct {
	Code    fault.Code `json:"code"`
	Message string     `json:"message"`
	Param   string     `json:"param,omitempty"`
}

// Reported is the answer to one probe.
func Reported(s connection.Seen) Answer {
	return Answer{Seen: &Report{Probe: s.Probe, Verdict: s.Verdict, Status: s.Status(), Reason: s.Reason, HTTPStatus: s.HTTPStatus,
		CheckedAt: s.At, LatencyMS: s.LatencyMS, ModelCount: s.ModelCount, VoiceCount: s.VoiceCount}}
}

// Refused is the answer to a probe that was not made.
func Refused(err error) Answer {
	f := fault.As(err)
	return Answer{Error: &Refusal{Code: f.Code, Message: f.Message, Param: f.Param}}
}

// Invoker calls a function of the topology and waits for its answer.
type Invoker interface {
	Invoke(ctx context.Context, function string, payload []byte) ([]byte, error)
}

// Remote implements [connection.Prober] by asking the function conform.
type Remote struct{ Invoker Invoker }

// Probe implements [connection.Prober].
func (r Remote) Probe(ctx context.Context, org, id string, p connection.Probe, name string, now time.Time) (connection.Seen, error) {
	const op = "probe.Remote"
	payload, err := json.Marshal(Event{Ref: Ref{org, id}, Probe: p, Model: name, At: now})
	if err != nil {
		return connection.Seen{}, fault.Wrap(fault.Internal, op, "internal error, try again later", err)
	}
	raw, err := r.Invoker.Invoke(ctx, topology.Conform, payload)
	if err != nil {
		return connection.Seen{}, err
	}
	var a Answer
	if len(raw) > MaxEvent || !strict(raw, &a) || (a.Seen == nil) == (a.Error == nil) {
		return connection.Seen{}, fault.New(fault.Unavailable, op, "the probe was not answered, try again")
	}
	if e := a.Error; e != nil {
		return connection.Seen{}, fault.New(e.Code, op, e.Message).WithParam(e.Param)
	}
	s := a.Seen
	return connection.Seen{Probe: s.Probe, Verdict: s.Verdict, Reason: s.Reason, HTTPStatus: s.HTTPStatus, At: s.CheckedAt,
		LatencyMS: s.LatencyMS, ModelCount: s.ModelCount, VoiceCount: s.VoiceCount}, nil
}
