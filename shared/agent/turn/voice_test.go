package turn_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/telegram"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// ogg is the frame of an Ogg Opus recording of so many seconds.
func ogg(seconds int) []byte {
	page := func(position uint64, payload string) string {
		var p [8]byte
		binary.LittleEndian.PutUint64(p[:], position)
		return "OggS\x00\x02" + string(p[:]) + strings.Repeat("\x00", 13) + payload
	}
	return []byte(page(0, "OpusHead\x01\x01\x00\x00\x80\xbb\x00\x00\x00\x00\x00") + page(uint64(seconds)*48000, "x"))
}

// talker is a model of speech that counts.
type talker struct {
	heard, spoken       []string // request keys with attempts
	text                string
	hearErr, speakErr   error
	onHear, onSpeak     func()
	wait                bool // until the time is up
	audio               []byte
	lastSpoken          turn.SpeakRequest
	hearReceipt         string
	spokenReceiptNumber int
}

func (s *talker) Hear(ctx context.Context, q turn.HearRequest) (turn.Heard, error) {
	if s.wait {
		<-ctx.Done()
	}
	s.heard = append(s.heard, fmt.Sprintf("%s %d %d %s", q.CallID, q.Attempt, len(q.Audio), q.MIME))
	if s.onHear != nil {
		s.onHear()
	}
	return turn.Heard{Text: s.text, RequestIDs: []string{"hear1"}, Receipt: []byte(s.hearReceipt)}, s.hearErr
}

func (s *talker) Speak(_ context.Context, q turn.SpeakRequest) (turn.Spoken, error) {
	s.spoken, s.lastSpoken = append(s.spoken, q.CallID), q
	if s.onSpeak != nil {
		s.onSpeak()
	}
	s.spokenReceiptNumber++
	return turn.Spoken{Audio: s.audio, RequestIDs: []string{"speak1"}, Receipt: []byte(fmt.Sprintf("spoken%d", s.spokenReceiptNumber))}, s.speakErr
}

// messenger is a vendor whose people send recordings.
type messenger struct {
	file     func(w http.ResponseWriter, r *http.Request)
	fetched  int
	texts    []string
	voices   []string // captions
	sendFile func(w http.ResponseWriter)
}

func (v *messenger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch _, method, _ := strings.Cut(r.URL.Path[1:], "/"); {
	case method == "getFile":
		_, _ = io.WriteString(w, `{"ok":true,"result":{"file_id":"f1","file_path":"voice/file_1.oga"}}`)
	case strings.HasPrefix(r.URL.Path, "/file/"):
		v.fetched++
		v.file(w, r)
	case method == "sendVoice":
		if v.sendFile != nil {
			v.sendFile(w)
			return
		}
		_ = r.ParseMultipartForm(1 << 20)
		v.voices = append(v.voices, r.FormValue("caption"))
		_, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":71}}`)
	case method == "sendMessage":
		b, _ := io.ReadAll(r.Body)
		v.texts = append(v.texts, string(b))
		_, _ = io.WriteString(w, `{"ok":true,"result":{"message_id":72}}`)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

type voiceEnv struct {
	*env
	talk *talker
	via  *messenger
}

func newVoiceEnv(t *testing.T) *voiceEnv {
	e := &voiceEnv{env: newEnv(t), talk: &talker{text: "what was said", audio: []byte("OggS"), hearReceipt: "heard1"},
		via: &messenger{file: typed("audio/ogg; codecs=opus", string(ogg(3)))}}
	server := httptest.NewServer(e.via)
	t.Cleanup(server.Close)
	out, err := egress.New(egress.Options{Allow: []string{strings.TrimPrefix(server.URL, "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.installs.CreateInstall(t.Context(), install.Install{ID: "i2", Org: "o1", Provider: taxonomy.Telegram, State: install.Active, Version: 1,
		Config: webhook.Config{"bot_id": {"7000001"}}}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	e.agents["o1/ag1"] = agent.Agent{ID: "ag1", Org: "o1", Voice: "alloy", Personas: []agent.Persona{{ID: "p1", Voice: "onyx"}, {ID: "p2"}}}
	e.deps.Speech = e.talk
	e.deps.HTTP = out.Vendor()
	e.deps.Media = func(taxonomy.Channel) *http.Client { return out.Vendor() }
	e.deps.BaseURL = func(taxonomy.Channel) string {
		if e.onSend != nil {
			e.onSend()
		}
		return server.URL
	}
	e.run = turn.New(e.deps)
	e.job = e.note("Ev1")
	return e
}

func (e *voiceEnv) note(event string) session.Job {
	return session.Job{Kind: session.JobMessage, Org: "o1", Install: "i2", EventID: event, AgentID: "ag1", PersonaID: "p1", Tenant: "B:1",
		Identity: channel.Identity{}, ReceivedAt: start, Envelope: channel.Envelope{Provider: taxonomy.Telegram, EventID: event, Space: "42", Direct: true, Actor: "42",
			Media: []channel.Attachment{{ID: "f1", Kind: channel.VoiceNote, Size: 100, Millis: 3000}}}}
}

func (e *voiceEnv) turn(event string) (session.Turn, []session.Part) {
	e.Helper()
	t, parts, err := e.store.Turn(e.Context(), "o1", session.TurnID("i2", event))
	if err != nil {
		e.Fatal(err)
	}
	return t, parts
}

// TestVoiceNote: fetched, transcribed, answered by voice with the text beside it;
// each is committed once, and the transcript holds words.
func TestVoiceNote(t *testing.T) {
	e := newVoiceEnv(t)
	if r := e.deliver(e.job, 1); r.Retry {
		t.Fatalf("%+v %q", r, e.audit.codes)
	}
	got, parts := e.turn("Ev1")
	if got.State != session.TurnDone || got.Heard != "what was said" || !slices.Equal(got.RequestIDs, []string{"hear1", "req1", "speak1"}) ||
		len(parts) != 1 || parts[0].State != session.Sent || parts[0].ProviderMessageID != "71" {
		t.Fatalf("%+v %+v", got, parts)
	}
	if q := e.model.asked[0]; len(q.Messages) != 1 || q.Messages[0].Text != "what was said" {
		t.Fatalf("%+v", q.Messages)
	}
	if all := e.messages(); len(all) != 2 || all[0].Text != "what was said" || all[1].Text != "the answer" {
		t.Fatalf("%+v", all)
	}
	if !slices.Equal(e.via.voices, []string{"the answer"}) || len(e.via.texts) != 0 {
		t.Fatalf("voices %q texts %q", e.via.voices, e.via.texts)
	}
	key := session.RequestKey("i2", "Ev1", "ag1", "hear")
	if !slices.Equal(e.talk.heard, []string{fmt.Sprintf("%s 1 %d audio/ogg", key, len(ogg(3)))}) || e.talk.lastSpoken.Voice != "onyx" || e.talk.lastSpoken.Form.Format != "opus" {
		t.Fatalf("%q %+v", e.talk.heard, e.talk.lastSpoken)
	}
	if !slices.Equal(e.model.committed, []string{"heard1", "receipt1", "spoken1"}) {
		t.Fatalf("committed %q", e.model.committed)
	}
	e.deliver(e.job, 2)
	if len(e.talk.heard) != 1 || len(e.talk.spoken) != 1 || len(e.via.voices) != 1 {
		t.Fatal("a finished turn ran again")
	}
}

// TestVoicePolicy: only who spoke is answered by voice, and only an agent with one.
func TestVoicePolicy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*voiceEnv)
		voice  string
	}{
		"persona's":   {func(*voiceEnv) {}, "onyx"},
		"agent's":     {func(e *voiceEnv) { e.job.PersonaID = "p2" }, "alloy"},
		"none":        {func(e *voiceEnv) { e.agents["o1/ag1"] = agent.Agent{ID: "ag1", Org: "o1"} }, ""},
		"written":     {func(e *voiceEnv) { e.job.Envelope.Media, e.job.Envelope.Text = nil, "hello" }, ""},
		"a file":      {func(e *voiceEnv) { e.job.Envelope.Media[0].Kind = channel.AudioFile }, ""},
		"long answer": {func(e *voiceEnv) { e.model.answer.Text = strings.Repeat("word ", 300) }, ""},
		"two parts":   {func(e *voiceEnv) { e.model.answer.Text = strings.Repeat("word ", 2000) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := newVoiceEnv(t)
			c.change(e)
			e.deliver(e.job, 1)
			if len(e.via.voices)+len(e.via.texts) == 0 || (len(e.via.voices) == 1) != (c.voice != "") || e.talk.lastSpoken.Voice != c.voice {
				t.Errorf("voices %q texts %d spoken %+v audit %q", e.via.voices, len(e.via.texts), e.talk.lastSpoken, e.audit.codes)
			}
		})
	}
}

// TestVoiceCrashes kills the run at each step of a voice note: what was heard and
// stored is not heard again, and whatever was made is committed at most once.
func TestVoiceCrashes(t *testing.T) {
	die := func() { panic(crash{}) }
	for name, c := range map[string]struct {
		arm           func(*voiceEnv)
		heard, spoken int
		voices, texts int
		part          session.PartState
		committed     []string
	}{
		"while transcribing":  {func(e *voiceEnv) { once(&e.talk.onHear, die) }, 2, 1, 1, 0, session.Sent, []string{"heard1", "receipt1", "spoken1"}},
		"before it is stored": {func(e *voiceEnv) { e.store.Fail = at("Append", die) }, 2, 1, 1, 0, session.Sent, []string{"heard1", "receipt1", "spoken1"}},
		"after it is stored":  {func(e *voiceEnv) { e.store.Fail = after("Append", die) }, 1, 1, 1, 0, session.Sent, []string{"heard1", "heard1", "receipt1", "spoken1"}},
		"while answering":     {func(e *voiceEnv) { once(&e.model.onAnswer, die) }, 1, 1, 1, 0, session.Sent, []string{"heard1", "heard1", "receipt1", "spoken1"}},
		"while speaking":      {func(e *voiceEnv) { once(&e.talk.onSpeak, die) }, 1, 2, 1, 0, session.Sent, []string{"heard1", "receipt1", "spoken1"}},
		// The speech of the first run was not charged: nobody got it.
		"before the claim": {func(e *voiceEnv) { e.store.Fail = at("Move", die) }, 1, 2, 1, 0, session.Sent, []string{"heard1", "receipt1", "spoken2"}},
		"after the claim":  {func(e *voiceEnv) { e.store.Fail = after("Move", die) }, 1, 1, 1, 0, session.Unknown, []string{"heard1", "receipt1", "spoken1"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newVoiceEnv(t)
			c.arm(e)
			e.die(e.job, 1)
			e.store.Fail = nil
			if r := e.deliver(e.job, 2); r.Retry {
				t.Fatalf("%+v %q", r, e.audit.codes)
			}
			got, parts := e.turn("Ev1")
			if got.State != session.TurnDone || len(parts) != 1 || parts[0].State != c.part {
				t.Errorf("%+v %+v", got, parts)
			}
			if len(e.talk.heard) != c.heard || len(e.talk.spoken) != c.spoken || len(e.via.voices) != c.voices || len(e.via.texts) != c.texts {
				t.Errorf("heard %d spoken %d voices %d texts %d", len(e.talk.heard), len(e.talk.spoken), len(e.via.voices), len(e.via.texts))
			}
			// Repeats of the receipt that was committed already change nothing.
			if first := slices.Compact(slices.Clone(e.model.committed)); !slices.Equal(first, slices.Compact(slices.Clone(c.committed))) {
				t.Errorf("committed %q, want %q", e.model.committed, c.committed)
			}
			if all := e.messages(); len(all) != 2 || all[0].Text != "what was said" {
				t.Errorf("transcript %+v", all)
			}
		})
	}
}

// TestUnheard: what cannot be fetched or understood is said to the person, is not
// transcribed where it is no recording, and the model is not asked.
func TestUnheard(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>Sign in</title>")
	}
	for name, c := range map[string]struct {
		change func(*voiceEnv)
		code   string
		notice string
		heard  int
		audit  string
	}{
		"login page":        {func(e *voiceEnv) { e.via.file = page }, "media.not_media", turn.NoticeUnreadable, 0, "media.not_media "},
		"page as audio":     {func(e *voiceEnv) { e.via.file = typed("audio/ogg", "<html>") }, "media.not_media", turn.NoticeUnreadable, 0, "media.not_media "},
		"picture":           {func(e *voiceEnv) { e.via.file = typed("", "\x89PNG\r\n\x1a\n") }, "media.not_media", turn.NoticeUnreadable, 0, "media.not_media "},
		"empty":             {func(e *voiceEnv) { e.via.file = typed("audio/ogg", "") }, "media.not_media", turn.NoticeUnreadable, 0, "media.not_media "},
		"redirect off host": {func(e *voiceEnv) { e.via.file = redirect("http://169.254.169.254/latest/meta-data") }, "media.ssrf_refused", turn.NoticeUnreadable, 0, "media.ssrf_refused "},
		"redirect on host":  {func(e *voiceEnv) { e.via.file = redirect("/login") }, "media.not_media", turn.NoticeUnreadable, 0, "media.not_media "},
		"gone":              {func(e *voiceEnv) { e.via.file = status(404) }, "media.gone", turn.NoticeUnreadable, 0, "media.gone "},
		"declared too big":  {func(e *voiceEnv) { e.job.Envelope.Media[0].Size = channel.MaxMedia + 1 }, "media.too_large", turn.NoticeTooLong, 0, "media.too_large "},
		"too big": {func(e *voiceEnv) {
			e.via.file = func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(append(ogg(1), make([]byte, channel.MaxMedia)...))
			}
		}, "media.too_large", turn.NoticeTooLong, 0, "media.too_large "},
		"declared too long": {func(e *voiceEnv) { e.job.Envelope.Media[0].Millis = 600_001 }, "media.too_long", turn.NoticeTooLong, 0, "media.too_long "},
		"too long": {func(e *voiceEnv) {
			e.via.file = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ogg(601)) }
		}, "media.too_long", turn.NoticeTooLong, 0, "media.too_long "},
		"no model":   {func(e *voiceEnv) { e.talk.hearErr = fault.New(fault.ModelNotEnabled, "", "") }, "media.unheard", turn.NoticeDeaf, 1, "media.unheard model_not_enabled"},
		"vendor's":   {func(e *voiceEnv) { e.talk.hearErr = fault.New(fault.UnsupportedMedia, "", "") }, "media.unheard", turn.NoticeUnreadable, 1, "media.unheard unsupported_media"},
		"no credits": {func(e *voiceEnv) { e.talk.hearErr = fault.New(fault.InsufficientCredits, "", "") }, "insufficient_credits", turn.Notice, 1, "turn.ended insufficient_credits"},
		"silence":    {func(e *voiceEnv) { e.talk.text = " \n"; e.talk.hearReceipt = "receipt1" }, "media.silent", turn.NoticeSilent, 1, "media.silent "},
	} {
		t.Run(name, func(t *testing.T) {
			e := newVoiceEnv(t)
			c.change(e)
			if r := e.deliver(e.job, 1); r.Retry {
				t.Fatalf("%+v %q", r, e.audit.codes)
			}
			got, _ := e.turn("Ev1")
			if got.State != session.TurnEnded || got.Code != c.code || len(e.model.asked) != 0 || len(e.talk.heard) != c.heard {
				t.Errorf("%+v asked %d heard %d", got, len(e.model.asked), len(e.talk.heard))
			}
			if len(e.via.texts) != 1 || !strings.Contains(e.via.texts[0], c.notice) || len(e.via.voices) != 0 {
				t.Errorf("told %q", e.via.texts)
			}
			e.audited(c.audit)
			if committed := len(e.model.committed); (committed == 1) != (c.code == "media.silent") {
				t.Errorf("committed %q", e.model.committed)
			}
		})
	}
}

func typed(kind, body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body)
	}
}

func redirect(to string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// TestRecordingComesLater: what may pass is tried again, three times at most.
func TestRecordingComesLater(t *testing.T) {
	e := newVoiceEnv(t)
	file := e.via.file
	e.via.file = status(503)
	if r := e.deliver(e.job, 1); !r.Retry {
		t.Fatalf("%+v %q", r, e.audit.codes)
	}
	e.audited("turn.retry media.unavailable")
	e.via.file = file
	if r := e.deliver(e.job, 2); r.Retry || len(e.via.voices) != 1 {
		t.Fatalf("%+v %q", r, e.audit.codes)
	}
	never := newVoiceEnv(t)
	never.talk.hearErr = fault.New(fault.ProviderOverloaded, "", "")
	for n := range int64(3) {
		if r := never.deliver(never.job, n+1); r.Retry != (n < 2) {
			t.Fatalf("try %d: %+v", n+1, r)
		}
	}
	if got, _ := never.turn("Ev1"); got.Code != "media.unheard" || len(never.via.texts) != 1 || !strings.Contains(never.via.texts[0], turn.NoticeOutage) {
		t.Fatalf("%+v %q", got, never.via.texts)
	}
}

// TestLastTryOfARecording: on the last reception people are told, although the time
// for the recording is up, or a reception was lost before its claim.
func TestLastTryOfARecording(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*voiceEnv)
		notice string
		// time is what the recording has: what it waits for must come within it.
		time time.Duration
	}{
		"a file that never comes": {func(e *voiceEnv) {
			e.via.file = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, turn.NoticeUnreadable, 300 * time.Millisecond},
		"a transcription that never ends": {func(e *voiceEnv) {
			e.talk.wait, e.talk.hearErr = true, fault.New(fault.ProviderTimeout, "", "")
		}, turn.NoticeOutage, 3 * time.Second},
		"a price that is missing": {func(e *voiceEnv) {
			e.talk.hearErr = fault.New(fault.PriceMissing, "", "")
		}, turn.NoticeSetup, hearReserve},
	} {
		t.Run(name, func(t *testing.T) {
			e := newVoiceEnv(t)
			c.change(e)
			ctx, cancel := context.WithTimeout(t.Context(), hearReserve+c.time)
			defer cancel()
			if r := e.deliverIn(ctx, e.job, 3); r.Retry {
				t.Fatalf("%+v %q", r, e.audit.codes)
			}
			if got, _ := e.turn("Ev1"); got.Attempts != 1 || len(e.via.texts) != 1 || !strings.Contains(e.via.texts[0], c.notice) {
				t.Fatalf("%+v %q", got, e.via.texts)
			}
		})
	}
}

// hearReserve is what a run keeps of its time for everything behind a recording.
const hearReserve = 45 * time.Second

// TestAddressIsNotSpokenAway: an answer with an address goes as text where no text
// goes with speech.
func TestAddressIsNotSpokenAway(t *testing.T) {
	for _, captionless := range []bool{false, true} {
		e := newVoiceEnv(t)
		e.deps.Catalog = quiet{telegram.Adapter{}, captionless}
		e.run = turn.New(e.deps)
		e.model.answer.Text = "Pay at https://pay.example/1 please."
		e.deliver(e.job, 1)
		if spoken := len(e.talk.spoken) == 1; spoken == captionless || len(e.via.voices)+len(e.via.texts) != 1 {
			t.Errorf("captionless %v: spoken %q, voices %q, texts %q", captionless, e.talk.spoken, e.via.voices, e.via.texts)
		}
	}
}

// quiet is a vendor whose speech may have no text beside it.
type quiet struct {
	telegram.Adapter
	captionless bool
}

func (q quiet) Find(id taxonomy.Channel) (channel.Entry, bool) {
	e := telegram.Entry()
	e.Adapter = q
	return e, id == e.ID
}

func (q quiet) VoiceForm(c webhook.Config) channel.VoiceForm {
	f := q.Adapter.VoiceForm(c)
	f.Captionless = q.captionless
	return f
}

// TestVoiceFallsBackToText: whatever keeps an answer from being spoken, it is sent,
// once.
func TestVoiceFallsBackToText(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*voiceEnv)
		receives  int64
		audit     string
		part      session.PartState
		texts     int
		committed []string
	}{
		"no speech": {func(e *voiceEnv) { e.talk.speakErr = fault.New(fault.ModelNotEnabled, "", "") }, 1, "reply.voice_failed model_not_enabled", session.Sent, 1, []string{"heard1", "receipt1"}},
		"not taken": {func(e *voiceEnv) {
			e.via.sendFile = func(w http.ResponseWriter) {
				w.WriteHeader(400)
				_, _ = io.WriteString(w, `{"ok":false,"error_code":400,"description":"Bad Request: VOICE_MESSAGES_FORBIDDEN"}`)
			}
		}, 1, "reply.voice_failed http_400", session.Sent, 1, []string{"heard1", "receipt1", "spoken1"}},
		"not now": {func(e *voiceEnv) { e.via.sendFile = func(w http.ResponseWriter) { w.WriteHeader(429) } }, 2, "turn.retry ratelimited", session.Sent, 1,
			[]string{"heard1", "receipt1", "spoken1", "spoken1"}},
		"perhaps taken": {func(e *voiceEnv) { e.via.sendFile = func(w http.ResponseWriter) { w.WriteHeader(502) } }, 1, "reply.unknown http_502", session.Unknown, 0,
			[]string{"heard1", "receipt1", "spoken1"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newVoiceEnv(t)
			c.change(e)
			for n := range c.receives {
				if r := e.deliver(e.job, n+1); r.Retry != (n+1 < c.receives) {
					t.Fatalf("%+v %q", r, e.audit.codes)
				}
			}
			got, parts := e.turn("Ev1")
			if got.State != session.TurnDone || parts[0].State != c.part || len(e.via.texts) != c.texts || len(e.talk.spoken) != 1 {
				t.Errorf("%+v %+v texts %q spoken %d", got, parts, e.via.texts, len(e.talk.spoken))
			}
			e.audited(c.audit)
			if !slices.Equal(e.model.committed, c.committed) {
				t.Errorf("committed %q", e.model.committed)
			}
		})
	}
}

// TestLostClaimOfSpeech: speech that was not stored with a claim is not charged:
// whoever takes the part over speaks anew.
func TestLostClaimOfSpeech(t *testing.T) {
	e := newVoiceEnv(t)
	failed := false
	e.store.Fail = func(method string) error {
		if method == "Move" && !failed {
			failed = true
			return fault.New(fault.Unavailable, "", "")
		}
		return nil
	}
	if r := e.deliver(e.job, 1); !r.Retry || !slices.Equal(e.model.committed, []string{"heard1", "receipt1"}) {
		t.Fatalf("%+v committed %q", r, e.model.committed)
	}
	if r := e.deliver(e.job, 2); r.Retry || len(e.via.voices) != 1 || !slices.Equal(e.model.committed, []string{"heard1", "receipt1", "spoken2"}) {
		t.Fatalf("%+v committed %q", r, e.model.committed)
	}
}

// TestSpokenWords: what is spoken has no marks and no addresses; what is posted
// beside it is the answer.
func TestSpokenWords(t *testing.T) {
	for text, want := range map[string]string{
		"# Title\n\n- **bold** and *thin*\n> _quoted_ `code`": "Title\n\nbold and thin\nquoted code",
		"see [the page](https://example.com/a_b) now":         "see the page now",
		"see <https://example.com/x|the page> &amp; rest":     "see the page & rest",
		"see https://example.com/a?b=c now":                   "see  now",
		"snake_case and 2 * 3 and 2*3":                        "snake_case and 2 * 3 and 2*3",
		"***all***, ~gone~":                                   "all, gone",
		"C# costs 5 < 6":                                      "C# costs 5 < 6",
	} {
		e := newVoiceEnv(t)
		e.model.answer.Text = text
		e.deliver(e.job, 1)
		if e.talk.lastSpoken.Text != want {
			t.Errorf("%q is spoken as %q, want %q", text, e.talk.lastSpoken.Text, want)
		}
	}
	e := newVoiceEnv(t)
	e.model.answer.Text = "https://example.com/"
	if e.deliver(e.job, 1); len(e.talk.spoken) != 0 || len(e.via.texts) != 1 {
		t.Errorf("an address alone: spoken %q, texts %q", e.talk.spoken, e.via.texts)
	}
}
