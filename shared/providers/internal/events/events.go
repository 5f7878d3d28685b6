// Package events turns a vendor's server-sent events, or another framing that a
// [Source] reads, into a [model.Stream]. The vendor's folder gives a [Decoder] for its frames; everything that is the same
// for all of them is here: events of one frame are queued, the stream is handed
// out only once it has content, an error is repeated, an ended body is an error
// unless the decoder says that the answer was complete.
//
// Package chatcompletions has a stream of its own, because its fast path needs
// the queue.
package events

import (
	"context"
	"errors"
	"io"
	"mime"

	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers/internal/sse"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
)

// Put queues an event of the frame being decoded.
type Put func(model.Event)

// Source splits a body into events, which are valid until the next call. Next
// returns io.EOF at the end of the body and io.ErrUnexpectedEOF inside an event;
// every other error is [sse.ErrTooLarge], a *fault.Error, or that of the body.
type Source interface {
	Next() (sse.Event, error)
}

// Decoder reads one answer of a vendor. It is used once, by one goroutine.
type Decoder interface {
	// Frame reads one event of the vendor. It returns nil to go on, io.EOF
	// after the answer's last frame, or a *fault.Error.
	Frame(ev sse.Event, put Put) error
	// End is called when the body ended cleanly without a last frame. It
	// returns io.EOF if the answer was complete all the same.
	End(put Put) error
}

// Open sends r and returns the stream once the first content has arrived. whole
// reads an answer that came as plain JSON instead of a stream: it returns the
// vendor's error if there is one in it.
func Open(ctx context.Context, t model.Target, v *wire.Vendor, r wire.Request, d func(*wire.Answer) Decoder,
	whole func(body []byte, ans *wire.Answer) error) (model.Stream, error) {
	return OpenSource(ctx, t, v, r, func(ans *wire.Answer) (Source, error) { return sse.NewReader(ans.Body), nil }, d, whole)
}

// OpenSource is [Open] for a framing of the vendor's own. source may refuse an
// answer by its headers.
func OpenSource(ctx context.Context, t model.Target, v *wire.Vendor, r wire.Request, source func(*wire.Answer) (Source, error),
	d func(*wire.Answer) Decoder, whole func(body []byte, ans *wire.Answer) error) (model.Stream, error) {
	ans, err := wire.Do(ctx, t, v, r)
	if err != nil {
		return nil, err
	}
	if mt, _, _ := mime.ParseMediaType(ans.Header.Get("Content-Type")); mt == "application/json" {
		body, err := ans.Body.ReadAll(0)
		if err != nil {
			return nil, err
		}
		if err := whole(body, ans); err != nil {
			return nil, err
		}
		return nil, v.Malformed(r.Op)
	}
	src, err := source(ans)
	if err != nil {
		_ = ans.Body.Close()
		return nil, err
	}
	s := newStream(v, r.Op, src, d(ans))
	s.closer = ans.Body
	if err := s.prime(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Read decodes a body that was received some other way. It does not wait for the
// first content.
func Read(v *wire.Vendor, op string, body io.Reader, d Decoder) model.Stream {
	return newStream(v, op, sse.NewReader(body), d)
}

// ReadSource is [Read] for a framing of the vendor's own.
func ReadSource(v *wire.Vendor, op string, src Source, d Decoder) model.Stream {
	return newStream(v, op, src, d)
}

type stream struct {
	vendor *wire.Vendor
	op     string
	src    Source
	dec    Decoder
	closer io.Closer
	queue  []model.Event
	next   int
	err    error
	put    Put
}

func newStream(v *wire.Vendor, op string, src Source, d Decoder) *stream {
	s := &stream{vendor: v, op: op, src: src, dec: d, queue: make([]model.Event, 0, 8)}
	s.put = func(ev model.Event) { s.queue = append(s.queue, ev) }
	return s
}

// prime reads until there is an event worth showing. The start event alone is
// not: a vendor that announces itself and then fails can still be replaced.
func (s *stream) prime() error {
	for {
		for i := range s.queue {
			if k := s.queue[i].Kind; k != model.EventStart && k != model.EventUsage && k != model.EventEnd {
				return nil
			}
		}
		if s.err == io.EOF {
			return s.vendor.Malformed(s.op)
		}
		s.read()
		if s.err != nil && s.err != io.EOF {
			return s.err
		}
	}
}

// Next implements [model.Stream].
func (s *stream) Next() (model.Event, error) {
	for s.next >= len(s.queue) {
		if s.err != nil {
			return model.Event{}, s.err
		}
		s.queue, s.next = s.queue[:0], 0
		s.read()
	}
	ev := s.queue[s.next]
	s.next++
	return ev, nil
}

// Close implements [model.Stream].
func (s *stream) Close() error {
	if s.closer == nil {
		return nil
	}
	return s.closer.Close()
}

// read takes one frame and queues what it says. It sets err at the end, after
// everything that came before it was queued.
func (s *stream) read() {
	ev, err := s.src.Next()
	switch {
	case err == nil:
		s.err = s.dec.Frame(ev, s.put)
	case err == io.EOF:
		s.err = s.dec.End(s.put)
	case errors.Is(err, sse.ErrTooLarge):
		s.err = s.vendor.Malformed(s.op)
	case err == io.ErrUnexpectedEOF:
		s.err = s.vendor.Cut(s.op)
	default:
		s.err = err
	}
}
