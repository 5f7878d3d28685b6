package gateway

import (
	"context"
	"io"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/speech"
)

// Transcript is a transcription that is not recorded before Commit or Defer.
type Transcript struct {
	Result  *speech.Transcription
	meter   *Meter
	outcome Outcome
}

// Info describes how the request was served.
func (t *Transcript) Info() Info { return t.meter.Info() }

// Commit records the usage; see [Meter.Finish].
func (t *Transcript) Commit(ctx context.Context) error { return t.meter.Finish(ctx, t.outcome) }

// Defer hands the recording to the holder of the result; see [Gateway.Commit].
func (t *Transcript) Defer() Pending { return t.meter.pending(t.outcome) }

// Aliased is the caller for calls of the one model that an alias of the organisation
// names, and that model: no fallback of a chat model can speak or listen. ok is false
// if there is no such alias.
func (c *Caller) Aliased(alias string) (only *Caller, model string, ok bool) {
	model, ok = c.config.Settings.Aliases[alias]
	return c.alone(), model, ok
}

// Transcribe turns audio into text. Errors as [Gateway.Complete].
func (g *Gateway) Transcribe(ctx context.Context, c *Caller, q Query, r *speech.TranscribeRequest) (*Transcript, error) {
	millis := recorded(r.Audio)
	result, meter, err := run(ctx, g, c, q, hearing(r, millis, func(ctx context.Context, t speech.Transcriber, call speech.TranscribeCall) (*speech.Transcription, error) {
		return t.Transcribe(ctx, call)
	}))
	if err != nil {
		return nil, err
	}
	return &Transcript{Result: result, meter: meter,
		outcome: Outcome{Usage: heard(result.Usage, millis), ProviderRequestID: result.ProviderRequestID}}, nil
}

// hearing is the service of both ways to transcribe.
func hearing[T any](r *speech.TranscribeRequest, millis int64, do func(context.Context, speech.Transcriber, speech.TranscribeCall) (T, error)) service[T] {
	return service[T]{
		name: "transcribe", model: r.Model, whole: true,
		has: func(e *providers.Entry) bool { return e.NewTranscriber != nil },
		// A recording too short to measure is measured by the vendor all the same.
		expect:  billing.Expected{AudioMillis: max(millis, 1), NoOutput: true},
		dropped: func(cl *call) []string { return heardDropped(r, cl) },
		do: func(ctx context.Context, cl call) (T, error) {
			out := *r
			out.Model = cl.model
			if len(cl.dropped) > 0 {
				out.Extra = nil // all or nothing
			}
			return do(ctx, cl.entry.NewTranscriber(), speech.TranscribeCall{Target: cl.target, Request: &out})
		},
	}
}

// recorded is the length of a recording: measured, or else the most that its
// size allows.
func recorded(audio []byte) int64 {
	if ms, ok := speech.Measure(audio); ok {
		return ms
	}
	return longestAudio(len(audio))
}

// heard is the billable usage; what the vendor did not count is ours.
func heard(u speech.Usage, millis int64) billing.Usage {
	b := voiced(u)
	if b.AudioMillis == 0 {
		b.AudioMillis = millis
		if b.Source != billing.FromProvider {
			b.Source = billing.Estimated
		}
	}
	return b
}

// TextStream is a transcription as it is recognised. The caller must Close it.
type TextStream struct {
	ctx      context.Context
	stream   speech.TextStream
	meter    *Meter
	millis   int64
	usage    speech.Usage
	finished bool
}

// TranscribeStream is [Gateway.Transcribe] for a client that reads along. A
// provider that cannot stream answers in one piece.
func (g *Gateway) TranscribeStream(ctx context.Context, c *Caller, q Query, r *speech.TranscribeRequest) (*TextStream, error) {
	millis := recorded(r.Audio)
	stream, meter, err := run(ctx, g, c, q, hearing(r, millis, func(ctx context.Context, t speech.Transcriber, call speech.TranscribeCall) (speech.TextStream, error) {
		if s, ok := t.(speech.StreamTranscriber); ok {
			return s.StreamTranscribe(ctx, call)
		}
		whole, err := t.Transcribe(ctx, call)
		if err != nil {
			return nil, err
		}
		return &inOnePiece{events: []speech.TextEvent{{Delta: whole.Text}, {Done: whole}}}, nil
	}))
	if err != nil {
		return nil, err
	}
	return &TextStream{ctx: ctx, stream: stream, meter: meter, millis: millis}, nil
}

// Info describes how the request was served.
func (s *TextStream) Info() Info { return s.meter.Info() }

// Next returns the next event, io.EOF after the last. The usage is recorded
// before the last event, or an error, is returned.
func (s *TextStream) Next() (speech.TextEvent, error) { return s.next("") }

// next records reason, if there is one, in place of its own.
func (s *TextStream) next(reason string) (speech.TextEvent, error) {
	ev, err := s.stream.Next()
	switch {
	case err == io.EOF:
		s.finish(Outcome{Reason: reason})
	case err != nil:
		s.finish(Outcome{Partial: true, Reason: cmpOr(reason, string(fault.CodeOf(err)))})
	case ev.Done != nil:
		s.usage = ev.Done.Usage
		s.finish(Outcome{ProviderRequestID: ev.Done.ProviderRequestID, Reason: reason})
	}
	return ev, err
}

// Close ends the call; speech that was sent is charged.
func (s *TextStream) Close() error {
	s.finish(Outcome{Partial: true, Reason: reasonLeft})
	return s.stream.Close()
}

func (s *TextStream) finish(o Outcome) {
	if s.finished {
		return
	}
	s.finished = true
	o.Usage = heard(s.usage, s.millis)
	// The meter reports what could not be written.
	_ = s.meter.Finish(s.ctx, o)
}

// inOnePiece plays back a transcription that did not stream.
type inOnePiece struct{ events []speech.TextEvent }

func (p *inOnePiece) Next() (speech.TextEvent, error) {
	if len(p.events) == 0 {
		return speech.TextEvent{}, io.EOF
	}
	ev := p.events[0]
	p.events = p.events[1:]
	return ev, nil
}

func (p *inOnePiece) Close() error { return nil }

// slowestAudio is the least bytes per second of speech codecs in use: Opus voice
// notes run at 16 kbit/s and more.
const slowestAudio = 2000

// longestAudio bounds the length of a recording by its size.
func longestAudio(bytes int) int64 { return int64(bytes) * 1000 / slowestAudio }

// SpokenText is speech as it arrives. The caller must Close it.
type SpokenText struct {
	ContentType string
	ctx         context.Context
	audio       *speech.Audio
	meter       *Meter
	characters  int64
	finished    bool
}

// Info describes how the request was served.
func (s *SpokenText) Info() Info { return s.meter.Info() }

// Usage is what the vendor has reported so far.
func (s *SpokenText) Usage() speech.Usage { return s.audio.Usage() }

// Synthesize speaks text. It returns with the first audio. Errors as
// [Gateway.Complete].
func (g *Gateway) Synthesize(ctx context.Context, c *Caller, q Query, r *speech.SynthesizeRequest) (*SpokenText, error) {
	characters := int64(utf8.RuneCountInString(r.Input))
	audio, meter, err := run(ctx, g, c, q, service[*speech.Audio]{
		name: "synthesize", model: r.Model, whole: true,
		has:     func(e *providers.Entry) bool { return e.NewSynthesizer != nil },
		expect:  billing.Expected{Characters: characters, NoOutput: true},
		dropped: func(cl *call) []string { return spokenDropped(r, cl) },
		do: func(ctx context.Context, cl call) (*speech.Audio, error) {
			out := *r
			out.Model = cl.model
			return cl.entry.NewSynthesizer().Synthesize(ctx, speech.SynthesizeCall{Target: cl.target, Request: &out})
		},
	})
	if err != nil {
		return nil, err
	}
	return &SpokenText{ContentType: audio.ContentType, ctx: ctx, audio: audio, meter: meter, characters: characters}, nil
}

// Read returns audio. The usage is recorded before io.EOF, or the error that
// cut the stream, is returned.
func (s *SpokenText) Read(p []byte) (int, error) {
	n, err := s.audio.Body.Read(p)
	switch {
	case err == io.EOF:
		s.finish(Outcome{})
	case err != nil:
		s.finish(Outcome{Partial: true, Reason: string(fault.CodeOf(err))})
	}
	return n, err
}

// Whole reads the speech to its end and hands the recording of the usage to the
// holder; see [Gateway.Commit]. Speech that breaks off, or is above limit bytes
// (too_large), is recorded here and fails.
func (s *SpokenText) Whole(limit int64) ([]byte, Pending, error) {
	audio, err := io.ReadAll(io.LimitReader(s.audio.Body, limit+1))
	if err == nil && int64(len(audio)) > limit {
		err = fault.New(fault.TooLarge, "gateway.Whole", "the speech is larger than can be sent")
	}
	if err != nil {
		s.finish(Outcome{Partial: true, Reason: string(fault.CodeOf(err))})
		return nil, Pending{}, err
	}
	s.finished = true
	return audio, s.meter.pending(s.outcome(Outcome{})), nil
}

// Close ends the call. Speech is billed by the text sent, so a client that
// leaves early is charged for all of it.
func (s *SpokenText) Close() error {
	s.finish(Outcome{Partial: true, Reason: reasonLeft})
	return s.audio.Body.Close()
}

func (s *SpokenText) finish(o Outcome) {
	if s.finished {
		return
	}
	s.finished = true
	// The meter reports what could not be written.
	_ = s.meter.Finish(s.ctx, s.outcome(o))
}

// outcome adds what the speech used.
func (s *SpokenText) outcome(o Outcome) Outcome {
	o.ProviderRequestID = s.audio.ProviderRequestID
	o.Usage = voiced(s.audio.Usage())
	if o.Usage.Characters == 0 {
		o.Usage.Characters = s.characters
	}
	if o.Usage.Source == billing.NoUsage {
		o.Usage.Source = billing.Estimated
	}
	return o
}

// voiced converts speech usage to the ledger's buckets.
func voiced(u speech.Usage) billing.Usage {
	b := billing.Usage{Source: billing.NoUsage}
	if u.Tokens.Source == model.UsageProvider {
		b = billable(u.Tokens)
	}
	b.AudioMillis, b.AudioOutMillis, b.Characters, b.Requests = u.AudioIn, u.AudioOut, u.Characters, 1
	switch u.Source {
	case model.UsageProvider:
		b.Source = billing.FromProvider
	case model.UsageEstimated:
		b.Source = billing.Estimated
	}
	return b
}
