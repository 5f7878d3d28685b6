package gateway

import (
	"context"
	"io"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
)

// ChatStream is a chat answer as it arrives. It is not safe for concurrent use.
type ChatStream struct {
	ctx     context.Context
	stream  model.Stream
	meter   *Meter
	request *model.Request

	// bytes of output have arrived, thought of them as thinking.
	bytes, thought int64
	input          *model.Usage // our estimate of what was sent
	images         int64
	usage          *model.Usage
	requestID      string
	tool           int // 1 + the index of the tool call that has no end yet
	// stopped: the model has finished; final: usage is the vendor's last word.
	stopped, final bool
	finished       bool
	// pending are events of ours that come before anything else; over says that
	// nothing comes after them.
	pending []model.Event
	over    bool
	// defers: the outcome of a whole answer is kept and not recorded.
	defers  bool
	outcome Outcome
}

// Info describes how the request was served.
func (s *ChatStream) Info() Info { return s.meter.Info() }

// Next returns the next event, io.EOF after the end. The usage is recorded
// before the end event is returned, and before an error is. An answer for which
// there are no more credits is ended at the vendor and finishes as
// [model.FinishCreditExhausted]; one whose hold cannot be raised for another reason
// ends with that error, ledger_unavailable for the most part.
func (s *ChatStream) Next() (model.Event, error) {
	if len(s.pending) > 0 {
		ev := s.pending[0]
		s.pending = s.pending[1:]
		return ev, nil
	}
	if s.over {
		return model.Event{}, io.EOF
	}
	ev, err := s.stream.Next()
	if err != nil {
		reason := ""
		if s.ctx.Err() != nil {
			reason = reasonLeft
		}
		s.broke(err, reason)
		return model.Event{}, err
	}
	if s.take(&ev) && !s.stopped {
		if err := s.meter.cover(s.ctx, s.current()); err != nil {
			return s.cut(&ev, err)
		}
		s.meter.progress(s.ctx, s.current, s.bytes/bytesPerToken)
	}
	if ev.Kind == model.EventEnd {
		s.finish(Outcome{})
		if !s.reported() {
			// The client hears what it is charged for.
			u := s.estimated()
			s.usage, s.pending = &u, []model.Event{ev}
			return model.Event{Kind: model.EventUsage, Usage: &u}, nil
		}
	}
	return ev, nil
}

// take counts an event. It reports whether more has been used now.
func (s *ChatStream) take(ev *model.Event) bool {
	switch ev.Kind {
	case model.EventStart:
		s.requestID = ev.RequestID
	case model.EventText, model.EventReasoning, model.EventToolArgs, model.EventRefusal:
		s.count(ev, 1)
		return true
	case model.EventToolStart:
		s.tool = ev.Index + 1
	case model.EventToolEnd:
		s.tool = 0
	case model.EventUsage:
		if ev.Usage != nil {
			u := *ev.Usage
			s.usage, s.final = &u, s.stopped
			// The input may be more than was thought.
			s.meter.grow.on = true
			return true
		}
	case model.EventFinish:
		s.stopped = true
	case model.EventEnd:
		s.final = true
	}
	return false
}

// count adds the output of an event, or takes it back.
func (s *ChatStream) count(ev *model.Event, sign int64) {
	n := int64(len(ev.Text)) * sign
	switch ev.Kind {
	case model.EventReasoning:
		s.thought += n
		s.bytes += n
	case model.EventText, model.EventToolArgs, model.EventRefusal:
		s.bytes += n
	}
}

// cut ends an answer before ev, because no more is held.
func (s *ChatStream) cut(ev *model.Event, cause error) (model.Event, error) {
	_ = s.stream.Close()
	s.count(ev, -1)
	s.over = true
	if fault.CodeOf(cause) != fault.InsufficientCredits {
		s.finish(Outcome{Partial: true, Reason: string(fault.CodeOf(cause))})
		return model.Event{}, cause
	}
	s.finish(Outcome{Partial: true, Reason: string(model.FinishCreditExhausted)})
	u := s.charged()
	s.pending = []model.Event{
		{Kind: model.EventFinish, Finish: model.FinishCreditExhausted},
		{Kind: model.EventUsage, Usage: &u},
		{Kind: model.EventEnd},
	}
	if s.tool > 0 {
		return model.Event{Kind: model.EventToolEnd, Index: s.tool - 1}, nil
	}
	return s.Next()
}

// broke records a stream that ended by itself, as reason or as what ended it.
func (s *ChatStream) broke(err error, reason string) {
	if err == io.EOF {
		s.finish(Outcome{Reason: reason})
		return
	}
	s.finish(Outcome{Partial: true, Reason: cmpOr(reason, string(fault.CodeOf(err)))})
}

// reported says whether the vendor counted.
func (s *ChatStream) reported() bool {
	return s.usage != nil && s.usage.Source != model.UsageNone && s.usage.Source != ""
}

// Close ends the call. What was delivered so far is recorded if the end was not
// reached. For a client that has left see [ChatStream.Abandon].
func (s *ChatStream) Close() error {
	s.finish(Outcome{Partial: true, Reason: reasonLeft})
	return s.stream.Close()
}

func (s *ChatStream) finish(o Outcome) {
	if s.finished {
		return
	}
	s.finished = true
	o.Usage, o.ProviderRequestID = s.current(), s.requestID
	if s.defers && (o.Reason == "" || o.Reason == string(model.FinishCreditExhausted)) {
		s.meter.join()
		s.outcome = o
		return
	}
	// The meter reports what could not be written.
	_ = s.meter.Finish(s.ctx, o)
}

// Collect reads the answer to its end and hands it over unrecorded, as
// [Gateway.Complete] does; told hears of each event before the next is read. An answer
// that breaks off is recorded as far as it came, and the error returned. It closes the
// stream.
func (s *ChatStream) Collect(told func(model.Event)) (*Answer, error) {
	defer func() { _ = s.Close() }()
	s.defers = true
	var b model.Builder
	for {
		ev, err := s.Next()
		if err == io.EOF {
			return &Answer{Response: b.Response(), meter: s.meter, outcome: s.outcome}, nil
		}
		if err != nil {
			return nil, err
		}
		b.Add(ev)
		told(ev)
	}
}

// current is what has been used so far.
func (s *ChatStream) current() billing.Usage {
	u := s.charged()
	b := billable(u)
	b.Images = s.images
	return b
}

// charged is the vendor's usage as far as it has come, else our estimate.
func (s *ChatStream) charged() model.Usage {
	u := s.estimated()
	if s.reported() {
		u = s.counted(u)
	}
	return u
}

// estimated is our estimate of what has been used so far.
func (s *ChatStream) estimated() model.Usage {
	if s.input == nil {
		u := estimate(s.request, 0)
		s.input, s.images = &u, kinds(s.request).images
	}
	u := *s.input
	u.Reasoning = inTokens(s.thought)
	u.Output = inTokens(s.bytes) - u.Reasoning
	return u
}

func inTokens(bytes int64) int64 { return (bytes + bytesPerToken - 1) / bytesPerToken }
