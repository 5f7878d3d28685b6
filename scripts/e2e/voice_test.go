package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

const simVoice = "openai_compatible/sim-voice"

// listener is an organisation whose agent listens and speaks on a channel.
type listener struct {
	*tenant
	channelCase
	install string
	// note is the vendor's body of a voice note with a file of this id.
	note func(id int, file string, recording []byte) []byte
	send func(ctx context.Context, body []byte) (answer, error)
	// posts are what was sent with the install's token.
	posts func() []mockvendor.Post
}

// eachListener runs a test on every channel that carries voice notes.
func eachListener(t *testing.T, test func(t *testing.T, l *listener)) {
	eachCase(t, func(c channelCase) bool { return c.listener != nil || c.note != nil }, func(t *testing.T, c channelCase) {
		l := c.listens(t)
		l.speaks()
		test(t, l)
	})
}

// speaks names models of speech and gives the agent a voice.
func (l *listener) speaks() {
	l.t.Helper()
	l.call(http.MethodPut, "/settings", map[string]any{"aliases": map[string]any{"transcription": simVoice, "speech": simVoice}}, nil)
	var agents struct{ Items []struct{ ID string } }
	l.call(http.MethodGet, "/agents", nil, &agents)
	l.call(http.MethodPatch, "/agents/"+agents.Items[0].ID, map[string]any{"voice": "alloy"}, nil)
}

// listens is a new organisation's channel that carries voice notes.
func (c channelCase) listens(t *testing.T) *listener {
	if c.listener != nil {
		return c.listener(t)
	}
	return phoneListener(t, c.id)
}

// record keeps a recording at the vendor; no other has its length, by which the
// simulated transcription tells it.
func record() (file string, recording []byte, text string) {
	n := serial.Add(1)
	recording = mockvendor.Opus(3, int(2000+n))
	file = fmt.Sprintf("9%09d", n)
	vendor.Put(file, mockvendor.File{Body: recording, Type: "audio/ogg"})
	return file, recording, fmt.Sprintf("hello from %d bytes of audio", len(recording))
}

func (l *listener) deliver(body []byte) {
	l.t.Helper()
	a, err := l.send(context.Background(), body)
	if err != nil || a.Status != http.StatusOK {
		l.t.Fatalf("%v %d %s", err, a.Status, a.Body)
	}
}

// calls counts the vendor's calls of a path for what was said or heard.
func calls(path, prompt string) int {
	n := 0
	for _, c := range vendor.Calls() {
		if strings.HasSuffix(c.Path, path) && c.Prompt == prompt {
			n++
		}
	}
	return n
}

// usageAmounts are the amounts of the organisation's usage entries.
func (x *tenant) usageAmounts() map[int64]int {
	out := map[int64]int{}
	for _, e := range x.entries() {
		if e.Kind == "usage" {
			out[-e.Amount]++
		}
	}
	return out
}

// turnOf is the only turn of the install, as people see it.
func (l *listener) turnOf() (code string, requests int) {
	l.t.Helper()
	var page struct {
		Items []struct {
			TurnID string `json:"turn_id"`
		}
	}
	l.call(http.MethodGet, "/deliveries?install="+l.install, nil, &page)
	for _, d := range page.Items {
		if d.TurnID != "" {
			var turn struct {
				Code       string
				RequestIDs []string `json:"request_ids"`
			}
			l.call(http.MethodGet, "/turns/"+d.TurnID, nil, &turn)
			return turn.Code, len(turn.RequestIDs)
		}
	}
	l.t.Fatalf("no delivery has a turn: %+v", page)
	return "", 0
}

// heardSeconds is what the price list of the tests asks for a second of simulated
// recording, of which the vendor reports one.
const heardSeconds = 100

// TestVoiceNoteIsAnswered: a voice note, delivered five times, is fetched and
// transcribed once, answered by the model, and the answer is spoken; each is charged
// once, and the conversation is kept as text.
func TestVoiceNoteIsAnswered(t *testing.T) {
	eachListener(t, func(t *testing.T, l *listener) {
		file, recording, text := record()
		body := l.note(701, file, recording)
		var group sync.WaitGroup
		for range 5 {
			group.Add(1)
			go func() {
				defer group.Done()
				if a, err := l.send(context.Background(), body); err != nil || a.Status != http.StatusOK {
					t.Errorf("%v %d %s", err, a.Status, a.Body)
				}
			}()
		}
		group.Wait()
		eventually(t, "the reply is posted", func() bool { return len(l.posts()) > 0 })
		l.settled()
		l.consistent()
		reply := "You said: " + text
		speaks := 1
		if l.mute {
			speaks = 0
		}
		if posts := l.posts(); len(posts) != 1 || (posts[0].Voice > 0) != (speaks == 1) || !l.wordless && posts[0].Text != reply {
			t.Errorf("posts: %+v", posts)
		}
		if fetched, heard, spoken := vendor.Fetched(file), calls("/audio/transcriptions", text), calls("/audio/speech", reply); fetched != 1 || heard != 1 || spoken != speaks {
			t.Errorf("fetched %d times, transcribed %d times, spoken %d times", fetched, heard, spoken)
		}
		charged := l.usageAmounts()
		if charged[heardSeconds] != 1 || charged[int64(15*len(reply))] != speaks {
			t.Errorf("charged %v", charged)
		}
		var sessions struct{ Items []struct{ ID string } }
		l.call(http.MethodGet, "/sessions", nil, &sessions)
		var messages struct{ Items []struct{ Role, Text string } }
		l.call(http.MethodGet, "/sessions/"+sessions.Items[0].ID+"/messages", nil, &messages)
		if len(messages.Items) != 2 || messages.Items[0].Text != text || messages.Items[1].Text != reply {
			t.Errorf("messages: %+v", messages)
		}
		if code, requests := l.turnOf(); code != "" || requests != 2+speaks {
			t.Errorf("turn: %q, %d requests", code, requests)
		}
	})
}

// TestVoiceNoteSurvivesKills: the process dies while the vendor transcribes, and, in
// another turn, while it answers. One reply each, one charge of each kind, and what
// was heard before the second is not transcribed again.
func TestVoiceNoteSurvivesKills(t *testing.T) {
	eachListener(t, func(t *testing.T, l *listener) {
		if l.id != "telegram" && os.Getenv("LATCHKEY_SOAK") == "" {
			t.Skip("the same code for every channel; LATCHKEY_SOAK=1 runs it on all")
		}
		defer shift(t, 0)
		for i, inModel := range []bool{false, true} {
			file, recording, text := record()
			var barrier *mockvendor.Barrier
			if inModel {
				barrier = mockvendor.NewBarrier(mockvendor.BeforeHeaders)
				vendor.Direct(text, mockvendor.Script{Barrier: barrier})
			} else {
				barrier = vendor.Hold(mockvendor.BeforeHeaders)
			}
			l.deliver(l.note(711+i, file, recording))
			select {
			case <-barrier.Reached():
			case <-time.After(time.Minute):
				t.Fatal("the vendor was not asked")
			}
			killBusy(t, "turn")
			barrier.Release()
			shift(t, time.Duration(i+1)*5*time.Minute)
			eventually(t, "the reply is posted", func() bool { return len(l.posts()) == i+1 })
			if heard := calls("/audio/transcriptions", text); heard != map[bool]int{false: 2, true: 1}[inModel] {
				t.Errorf("killed in the model call %v: transcribed %d times", inModel, heard)
			}
		}
		sweep(t, time.Hour)
		l.consistent()
		if charged := l.usageAmounts(); charged[heardSeconds] != 2 {
			t.Errorf("charged %v, want two transcriptions", charged)
		}
		n := 0
		for _, e := range l.entries() {
			if e.Kind == "usage" {
				n++
			}
		}
		want := 6
		if l.mute {
			want = 4
		}
		if n != want || len(l.posts()) != 2 {
			t.Errorf("%d usage entries, posts %+v", n, l.posts())
		}
	})
}

// audited waits for an audit line of the turn function that names the install.
func (l *listener) audited(code string) {
	l.t.Helper()
	eventually(l.t, "the audit of "+code, func() bool {
		b, err := os.ReadFile(filepath.Join(world.LogDir, "turn.log"))
		must(l.t, err)
		for line := range bytes.Lines(b) {
			if bytes.Contains(line, []byte(`"code":"`+code+`"`)) && bytes.Contains(line, []byte(l.install)) {
				return true
			}
		}
		return false
	})
}

// TestMediaIsRefused holds rows 48 and 49 of the security matrix: an address outside
// of the vendor's hosts, or a redirect to one, is not fetched, and a page is no
// recording; nothing is transcribed or charged, the person is told, and it is audited.
func TestMediaIsRefused(t *testing.T) {
	const private = "http://169.254.169.254/latest/meta-data/"
	eachListener(t, func(t *testing.T, l *listener) {
		for i, c := range []struct {
			row       int
			name      string
			file      mockvendor.File
			code      string
			addressed bool
		}{
			{48, "private address", mockvendor.File{URL: private}, "media.ssrf_refused", true},
			{48, "another host", mockvendor.File{URL: "https://files.example.com/x"}, "media.ssrf_refused", true},
			{48, "redirect off host", mockvendor.File{Redirect: private}, "media.ssrf_refused", false},
			{49, "login page", mockvendor.File{Body: []byte("<!DOCTYPE html><title>Sign in</title>"), Type: "text/html; charset=utf-8"}, "media.not_media", false},
			{49, "page called audio", mockvendor.File{Body: []byte("<!DOCTYPE html><title>Sign in</title>"), Type: "audio/ogg"}, "media.not_media", false},
		} {
			if c.addressed && !l.addresses {
				continue
			}
			t.Run(fmt.Sprintf("row %d %s", c.row, c.name), func(t *testing.T) {
				before, asked := len(l.posts()), len(vendor.Calls())
				file, recording, _ := record()
				vendor.Put(file, c.file)
				l.deliver(l.note(721+i, file, recording))
				eventually(t, "the person is told", func() bool { return len(l.posts()) == before+1 })
				if p := l.posts()[before]; !strings.Contains(p.Text, "couldn't open that recording") || p.Voice != 0 {
					t.Errorf("%+v", p)
				}
				for _, call := range vendor.Calls()[asked:] {
					if strings.Contains(call.Path, "audio") {
						t.Errorf("the vendor was asked: %+v", call)
					}
				}
				l.audited(c.code)
			})
		}
		if c := l.settled(); c.Posted != 1_000_000 || len(l.usageAmounts()) != 0 {
			t.Errorf("charged: %+v %v", c, l.usageAmounts())
		}
	})
}

// TestNobodyListens: without a model for it a recording is fetched and not
// transcribed, the person is told, and nothing is charged; without one for speech the
// answer is text.
func TestNobodyListens(t *testing.T) {
	l := caseOf(t, "telegram").listens(t)
	file, recording, _ := record()
	l.deliver(l.note(731, file, recording))
	eventually(t, "the person is told", func() bool { return len(l.posts()) == 1 })
	if p := l.posts()[0]; !strings.Contains(p.Text, "can't listen to recordings") {
		t.Errorf("%+v", p)
	}
	l.audited("media.unheard")
	var agents struct{ Items []struct{ ID string } }
	l.call(http.MethodGet, "/agents", nil, &agents)
	l.call(http.MethodPatch, "/agents/"+agents.Items[0].ID, map[string]any{"voice": "alloy"}, nil)
	l.call(http.MethodPut, "/settings", map[string]any{"aliases": map[string]any{"transcription": simVoice}}, nil)
	file, recording, text := record()
	l.deliver(l.note(732, file, recording))
	eventually(t, "the answer is posted", func() bool { return len(l.posts()) == 2 })
	if p := l.posts()[1]; p.Text != "You said: "+text || p.Voice != 0 {
		t.Errorf("%+v", p)
	}
	l.audited("reply.voice_failed")
	l.consistent()
	if amounts := l.usageAmounts(); amounts[heardSeconds] != 1 {
		t.Errorf("charged %v", amounts)
	}
}
