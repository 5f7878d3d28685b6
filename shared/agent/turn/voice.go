package turn

import (
	"context"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Fetcher is an adapter that fetches what came with a message.
type Fetcher interface {
	// Fetch downloads one attachment, at most [channel.MaxMedia] bytes.
	Fetch(ctx context.Context, c channel.Call, a channel.Attachment) (channel.File, *channel.MediaFailure)
}

// Speaker is an adapter that posts speech, which it finds in
// [channel.Outgoing.Voice], in this form; one without a format: not for an install with
// these settings.
type Speaker interface {
	VoiceForm(c webhook.Config) channel.VoiceForm
}

// HearRequest asks for the text of a recording.
type HearRequest struct {
	Org     string
	Agent   string
	CallID  string // the same for every try, which Attempt counts from 1
	Attempt int64
	Audio   []byte
	MIME    string
}

// Heard is the text of a recording.
type Heard struct {
	Text       string
	RequestIDs []string
	// Receipt is what [Model].Commit needs, in at most [MaxReceipt] bytes.
	Receipt []byte
}

// SpeakRequest asks for text to be spoken, in the form and with at most the bytes
// that the channel takes.
type SpeakRequest struct {
	Org     string
	Agent   string
	CallID  string // as in [HearRequest], with Attempt
	Attempt int64
	Text    string
	Voice   string
	Form    channel.VoiceForm
}

// Spoken is speech.
type Spoken struct {
	Audio      []byte
	RequestIDs []string
	Receipt    []byte // as in [Heard]
}

// Speech transcribes and speaks, for money: the usage of a success is not recorded
// before its receipt is committed. Errors as of [Model].Answer.
type Speech interface {
	Hear(ctx context.Context, q HearRequest) (Heard, error)
	Speak(ctx context.Context, q SpeakRequest) (Spoken, error)
}

// Audit codes beside those of [channel.MediaCode].
const (
	MediaTooLong Code = "media.too_long"
	MediaSilent  Code = "media.silent"
	// MediaUnheard: nothing here transcribes; the detail is the fault's code.
	MediaUnheard Code = "media.unheard"
	// VoiceFailed: the answer went out as text, because it could not be spoken or the
	// vendor did not take the speech.
	VoiceFailed Code = "reply.voice_failed"
)

// Limits of speech.
const (
	// maxRecording is what can be transcribed at once while somebody waits.
	maxRecording = 10 * time.Minute
	// hearReserve is kept of the deadline to ask the model and to answer.
	hearReserve = 45 * time.Second
	// speakTime is how long speaking may take, speakReserve what is left then.
	speakTime    = 30 * time.Second
	speakReserve = 20 * time.Second
	maxHeard     = 32 << 10
	// maxSpeech bounds speech, of which [channel.MaxCaption] units of text make far
	// less.
	maxSpeech = 4 << 20
)

// Notices to a person whose recording was not understood.
const (
	NoticeTooLong    = "That recording is too long for me. Please send one of at most 10 minutes, or write to me."
	NoticeUnreadable = "I couldn't open that recording. Please send it again, or write to me."
	NoticeSilent     = "I couldn't hear any words in that recording. Please send it again, or write to me."
	NoticeOutage     = "I couldn't listen to that recording just now. Please send it again later, or write to me."
	NoticeDeaf       = "I can't listen to recordings here. Please write to me instead."
)

// said is what the person said: the message's text, or its recording as text.
func (x *run) said() string {
	if x.turn.Heard != "" {
		return x.turn.Heard
	}
	return x.job.Envelope.Text
}

// listen turns the message's recording, if it has one, into text, once per turn. It
// leaves the turn planned where the person is told that it was not understood.
func (x *run) listen(ctx context.Context) *end {
	note, ok := x.job.Envelope.Recording()
	if !ok || x.turn.Heard != "" {
		return nil
	}
	return x.hear(ctx, note)
}

// hear fetches and transcribes a recording.
func (x *run) hear(ctx context.Context, note channel.Attachment) *end {
	if limit, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, limit.Add(-hearReserve))
		defer cancel()
	}
	file, stop := x.fetch(ctx, note)
	if stop != nil || x.turn.Planned {
		return stop
	}
	ms, measured := speech.Measure(file.Bytes)
	switch {
	case speech.Sniff(file.Bytes) == speech.ContainerUnknown:
		return x.unheard(ctx, Code(channel.NotMedia), "", NoticeUnreadable)
	case measured && ms > maxRecording.Milliseconds():
		return x.unheard(ctx, MediaTooLong, "", NoticeTooLong)
	}
	got, err := x.d.Speech.Hear(ctx, HearRequest{Org: x.job.Org, Agent: x.job.AgentID, Attempt: x.turn.Attempts, Audio: file.Bytes, MIME: file.MIME,
		CallID: session.RequestKey(x.job.Install, x.job.EventID, x.job.AgentID, "hear")})
	if err != nil {
		return x.deaf(ctx, err)
	}
	x.turn.RequestIDs = merge(x.turn.RequestIDs, got.RequestIDs)
	text := strings.TrimSpace(got.Text)
	if text == "" {
		x.turn.Receipt = got.Receipt // the work was done
		return x.unheard(ctx, MediaSilent, "", NoticeSilent)
	}
	if caption := x.job.Envelope.Text; caption != "" {
		text = caption + "\n\n" + text
	}
	x.turn.Heard, x.turn.HeardReceipt = cut(text, maxHeard), got.Receipt
	return nil
}

// fetch downloads a recording within the bounds of size and time.
func (x *run) fetch(ctx context.Context, note channel.Attachment) (channel.File, *end) {
	switch {
	case note.Size > channel.MaxMedia:
		return channel.File{}, x.unheard(ctx, Code(channel.MediaTooLarge), "", NoticeTooLong)
	case note.Millis > maxRecording.Milliseconds():
		return channel.File{}, x.unheard(ctx, MediaTooLong, "", NoticeTooLong)
	}
	fetcher, ok := x.entry.Adapter.(Fetcher)
	if !ok {
		return channel.File{}, x.unheard(ctx, MediaUnheard, "", NoticeDeaf)
	}
	token, sender, stop := x.token(ctx, x.install)
	if stop != nil {
		x.untraded(ctx, sender, stop)
		return channel.File{}, stop
	}
	ctx, cancel := context.WithTimeout(ctx, channel.MaxMediaTime)
	defer cancel()
	file, failure := fetcher.Fetch(ctx, channel.Call{HTTP: x.d.HTTP, Media: x.d.Media(x.install.Provider), BaseURL: x.d.BaseURL(x.entry.Reached()), DataURL: x.d.DataURL(x.install.Provider),
		Token: token, Config: x.install.Config}, note)
	if failure == nil {
		return file, nil
	}
	if failure.TokenRejected {
		x.record(ctx, TokenRejected, failure.Detail)
		if x.entry.Exchange != nil {
			x.d.Tokens.Forget(x.install.ID)
		}
	}
	if failure.Retry && x.tries() < Receptions {
		return file, &end{retry: true, code: Retry, detail: string(failure.Code), after: failure.RetryAfter}
	}
	notice := NoticeUnreadable
	if failure.Code == channel.MediaTooLarge {
		notice = NoticeTooLong
	}
	return file, x.unheard(ctx, Code(failure.Code), failure.Detail, notice)
}

// deaf handles an error of the transcription.
func (x *run) deaf(ctx context.Context, err error) *end {
	f := fault.As(err)
	switch retry := f.Retryable() || f.Code == fault.Internal; {
	case f.Code == fault.InsufficientCredits, retry && x.tries() < Receptions:
		return x.refused(ctx, err)
	}
	if f.RequestID != "" {
		x.turn.RequestIDs = merge(x.turn.RequestIDs, []string{f.RequestID})
	}
	switch f.Code {
	case fault.UnsupportedMedia:
		return x.unheard(ctx, MediaUnheard, string(f.Code), NoticeUnreadable)
	case fault.TooLarge:
		return x.unheard(ctx, MediaUnheard, string(f.Code), NoticeTooLong)
	}
	notice := NoticeDeaf
	switch {
	case f.Code == fault.PriceMissing:
		notice = NoticeSetup
	case f.Retryable(), f.Code == fault.Internal:
		notice = NoticeOutage
	}
	return x.unheard(ctx, MediaUnheard, string(f.Code), notice)
}

// tries counts what was tried: a reception that was lost before its claim counts,
// too, because the queue gives no more of them for it.
func (x *run) tries() int64 { return max(x.turn.Attempts, x.del.Receive) }

// unheard tells the person that the recording was not understood.
func (x *run) unheard(ctx context.Context, code Code, detail, notice string) *end {
	x.record(ctx, code, detail)
	x.turn.Notice = string(code)
	return x.plan(ctx, notice, "", session.Pin{})
}

// heard commits the transcription of the stored message. Repeating it changes
// nothing, so that a later run need not know.
func (x *run) heard(ctx context.Context) *end { return x.commit(ctx, x.turn.HeardReceipt) }

func (x *run) commit(ctx context.Context, receipt []byte) *end {
	if err := x.committed(ctx, receipt); err != nil {
		return again(err)
	}
	return nil
}

// voiceForm is how the install takes speech, zero if it does not.
func (x *run) voiceForm() channel.VoiceForm {
	s, ok := x.entry.Adapter.(Speaker)
	if !ok {
		return channel.VoiceForm{}
	}
	return s.VoiceForm(x.install.Config)
}

// voiceOf is the voice to answer with: the persona's, else the agent's, where the
// person spoke, too; "" for text.
func (x *run) voiceOf(a agent.Agent) string {
	note, ok := x.job.Envelope.Recording()
	if !ok || note.Kind != channel.VoiceNote || x.voiceForm().Format == "" {
		return ""
	}
	if p, _ := a.Persona(x.job.PersonaID); p.Voice != "" {
		return p.Voice
	}
	return a.Voice
}

// aloud marks an answer that is to be spoken: one that is short enough to be
// listened to, and to go with its text in one message. An address, which nobody
// speaks, would be lost where no text goes beside.
func (x *run) aloud(parts []session.Part) {
	if x.voice == "" || len(parts) != 1 || len(utf16.Encode([]rune(parts[0].Text))) > channel.MaxCaption {
		return
	}
	if f := x.voiceForm(); f.Format == "" || f.Captionless && address.MatchString(parts[0].Text) {
		return
	}
	parts[0].Voice = x.voice
}

// speak makes the speech of part k, none for text alone: where it is no voice part,
// where it was spoken before by a run whose audio is gone, and where speaking fails.
func (x *run) speak(ctx context.Context, k int) Spoken {
	p := x.parts[k]
	if p.Voice == "" || len(p.Receipt) > 0 || x.mute {
		return Spoken{}
	}
	// The sender asks again, and says what is wrong.
	if _, stop := x.guard(ctx); stop != nil {
		return Spoken{}
	}
	form, words := x.voiceForm(), plainWords(p.Spoken)
	if form.Format == "" || words == "" {
		return Spoken{}
	}
	speaking, cancel := context.WithTimeout(ctx, speakTime)
	defer cancel()
	if limit, ok := ctx.Deadline(); ok {
		speaking, cancel = context.WithDeadline(speaking, limit.Add(-speakReserve))
		defer cancel()
	}
	form.MaxBytes = min(form.MaxBytes, maxSpeech)
	got, err := x.d.Speech.Speak(speaking, SpeakRequest{Org: x.job.Org, Agent: x.job.AgentID, Attempt: x.turn.Attempts, Voice: p.Voice, Form: form,
		Text: words, CallID: session.RequestKey(x.job.Install, x.job.EventID, x.job.AgentID, "speak")})
	if err != nil {
		f := fault.As(err)
		x.turn.RequestIDs = merge(x.turn.RequestIDs, []string{f.RequestID})
		x.record(ctx, VoiceFailed, string(f.Code))
		x.mute = true
		return Spoken{}
	}
	x.turn.RequestIDs = merge(x.turn.RequestIDs, got.RequestIDs)
	return got
}

// claimPart claims part k with the receipt of its speech. Speech whose claim did not
// get into the store is not charged: whoever takes the part over may speak anew.
func (x *run) claimPart(ctx context.Context, k int, receipt []byte) error {
	if len(receipt) == 0 {
		return x.move(ctx, k, session.Claimed, "", "", x.turn.Fence)
	}
	x.parts[k].Receipt = receipt
	err := x.move(ctx, k, session.Claimed, "", "", x.turn.Fence)
	if err != nil {
		x.parts[k].Receipt = nil
	}
	return err
}

// unspoken reports whether speech was certainly not posted and its text can be
// sent in its place.
func unspoken(out channel.Outgoing, f *channel.Failure) bool {
	return out.Voice != nil && f != nil && f.Certainty == channel.Refused && !f.TokenRejected
}

// asText sends part k, whose speech the vendor refused, as text.
func (x *run) asText(ctx context.Context, k int, code string) *end {
	x.record(ctx, VoiceFailed, code)
	x.mute = true
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if err := x.move(storing, k, session.Planned, "", code, x.turn.Fence); err != nil {
		return again(err)
	}
	return x.sendPart(ctx, k)
}

// spoken commits the speech of the parts that were claimed with it.
func (x *run) spoken(ctx context.Context) *end {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	for _, p := range x.parts {
		if stop := x.commit(ctx, p.Receipt); stop != nil {
			return stop
		}
	}
	return nil
}
