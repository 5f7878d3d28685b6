package main

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/gateway"
	"github.com/latchkey/latchkey/shared/speech"
)

// The aliases in an organisation's settings that name the models of its agents'
// speech. Without one an agent does not listen, or does not speak.
const (
	transcriptionAlias = "transcription"
	speechAlias        = "speech"
)

// unnamed is the error of an organisation without such an alias.
func unnamed(alias string) error {
	return fault.New(fault.ModelNotEnabled, "turn.speech",
		"the organisation names no model for this; set the alias "+alias+" in its settings").WithParam("aliases")
}

// named adds the request's id, by which people find what happened.
func named(err error, id string) error {
	f := *fault.As(err)
	f.RequestID = id
	return &f
}

// noted is a call to be recorded later, as [turn.Model].Commit reads it.
func noted(p gateway.Pending) ([]byte, error) {
	b, err := json.Marshal(receipt{Pending: p})
	if err != nil || len(b) > turn.MaxReceipt {
		return nil, fault.New(fault.Internal, "turn.noted", "internal error, try again later")
	}
	return b, nil
}

// Hear implements [turn.Speech].
func (m metered) Hear(ctx context.Context, q turn.HearRequest) (turn.Heard, error) {
	caller, err := m.gateway.Internal(ctx, q.Org, m.now)
	if err != nil {
		return turn.Heard{}, err
	}
	only, name, ok := caller.Aliased(transcriptionAlias)
	if !ok {
		return turn.Heard{}, unnamed(transcriptionAlias)
	}
	id := requestID(turn.AnswerRequest{RequestKey: q.CallID, Attempt: q.Attempt})
	t, err := m.gateway.Transcribe(ctx, only, gateway.Query{RequestID: id, Agent: q.Agent, Body: []byte(id)},
		&speech.TranscribeRequest{Model: name, Audio: q.Audio, MIME: q.MIME, Format: speech.FormatJSON})
	if err != nil {
		return turn.Heard{}, named(err, id)
	}
	stored, err := noted(t.Defer())
	return turn.Heard{Text: t.Result.Text, RequestIDs: []string{id}, Receipt: stored}, err
}

// Speak implements [turn.Speech].
func (m metered) Speak(ctx context.Context, q turn.SpeakRequest) (turn.Spoken, error) {
	caller, err := m.gateway.Internal(ctx, q.Org, m.now)
	if err != nil {
		return turn.Spoken{}, err
	}
	only, name, ok := caller.Aliased(speechAlias)
	if !ok {
		return turn.Spoken{}, unnamed(speechAlias)
	}
	id := requestID(turn.AnswerRequest{RequestKey: q.CallID, Attempt: q.Attempt})
	s, err := m.gateway.Synthesize(ctx, only, gateway.Query{RequestID: id, Agent: q.Agent, Body: []byte(id)},
		&speech.SynthesizeRequest{Model: name, Input: q.Text, Voice: q.Voice, Format: speech.AudioFormat(q.Form.Format)})
	if err != nil {
		return turn.Spoken{}, named(err, id)
	}
	defer s.Close()
	audio, pending, err := s.Whole(int64(q.Form.MaxBytes))
	if err != nil {
		return turn.Spoken{}, named(err, id)
	}
	if !spokenAs(audio, speech.AudioFormat(q.Form.Format)) {
		// It was made all the same. A failure to record it is the sweep's to find.
		_ = m.gateway.Commit(context.WithoutCancel(ctx), pending)
		return turn.Spoken{}, named(fault.New(fault.UnsupportedMedia, "turn.Speak", "the model's speech is not in the format that the channel takes"), id)
	}
	stored, err := noted(pending)
	return turn.Spoken{Audio: audio, RequestIDs: []string{id}, Receipt: stored}, err
}

// spokenAs reports whether audio is what a channel asked for: vendors answer with
// another format than the one named, and a channel then shows a file or nothing.
func spokenAs(audio []byte, format speech.AudioFormat) bool {
	switch kind := speech.Sniff(audio); format {
	case speech.AudioOpus:
		return kind == speech.ContainerOGG && bytes.Contains(audio[:min(len(audio), 512)], []byte("OpusHead"))
	case speech.AudioMP3:
		return kind == speech.ContainerMP3
	case speech.AudioWAV:
		return kind == speech.ContainerWAV
	}
	return false
}
