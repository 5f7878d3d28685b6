package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

const (
	growingText = "One step after the other, and then another one, until the whole of the answer stands there."
	grownParts  = 8
)

// TestAnswerGrows: people see the answer in one message while the model writes it; at
// the end that message is the answer. An edit that the vendor refuses for now is made
// later, a turn that dies goes on in the message that is there.
func TestAnswerGrows(t *testing.T) {
	eachCase(t, func(c channelCase) bool { return c.grows != nil }, func(t *testing.T, c channelCase) {
		defer shift(t, 0)
		l := c.grows(t)
		l.call(http.MethodPatch, "/installs/"+l.install, map[string]any{"policy": map[string]any{"streaming": "edits"}}, nil)
		prompt := "grow " + c.id
		vendor.Direct(prompt, mockvendor.Script{Text: growingText, Chunks: grownParts, Pace: 600 * time.Millisecond})
		l.says(1, true, prompt)
		eventually(t, "a part of it is shown", func() bool { return len(l.posts()) == 1 })
		vendor.LimitEdits(1)
		eventually(t, "all of it is shown", func() bool { return l.posts()[0].Text == growingText })
		grew(t, l.posts()[0].Before)

		held := mockvendor.NewBarrier(mockvendor.AfterChunk)
		defer held.Release()
		prompt = "die " + c.id
		vendor.Direct(prompt, mockvendor.Script{Text: growingText, Chunks: grownParts, Pace: 600 * time.Millisecond, Barrier: held, At: grownParts - 1})
		l.says(2, true, prompt)
		// An edit proves that the message is known to the store.
		eventually(t, "it grows", func() bool { p := l.posts(); return len(p) == 2 && len(p[1].Before) > 0 })
		killBusy(t, "turn")
		held.Release()
		shift(t, 5*time.Minute)
		eventually(t, "another run ends it", func() bool { p := l.posts(); return p[1].Text == growingText })
		sweep(t, time.Hour)
		l.consistent()
		shift(t, 0) // what Slack signs is of this minute
		// One more message behind it: when that is answered, a second answer of the
		// killed one would have been, too.
		l.says(3, true, "and now")
		eventually(t, "the next answer", func() bool { p := l.posts(); return p[len(p)-1].Text == "You said: and now" })
		if posts := l.posts(); len(posts) != 3 {
			t.Errorf("posts %+v", posts)
		}
	})
}

// grew checks the states that a message had before its last.
func grew(t *testing.T, states []string) {
	t.Helper()
	if len(states) == 0 {
		t.Error("nothing was shown before the end")
	}
	for k, s := range states {
		if !strings.HasPrefix(growingText, s) || k > 0 && len(s) <= len(states[k-1]) {
			t.Errorf("state %d: %q", k, s)
		}
	}
}

// TestOwnEditsStartNothing: Slack tells the app of each edit of its own.
func TestOwnEditsStartNothing(t *testing.T) {
	w := newWorkspace(t)
	e := w.message("EvEdit", "", "1760000099.000100")
	var b map[string]any
	must(t, json.Unmarshal(e.body, &b))
	b["event"] = map[string]any{"type": "message", "subtype": "message_changed", "channel": "C1", "channel_type": "im", "ts": "1760000099.000100",
		"message":          map[string]any{"type": "message", "user": "U0BOT", "bot_id": "B1", "text": "half", "ts": "1760000098.000100"},
		"previous_message": map[string]any{"type": "message", "user": "U0BOT", "bot_id": "B1", "text": "ha", "ts": "1760000098.000100"}}
	e.body, _ = json.Marshal(b)
	if a := e.send(t); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	var d struct {
		Items []struct {
			Outcome string
			Code    string `json:"audit_code"`
			Turn    string `json:"turn_id"`
		}
	}
	w.call(http.MethodGet, "/deliveries?install="+w.install, nil, &d)
	if len(d.Items) != 1 || d.Items[0].Outcome != "ignored" || d.Items[0].Turn != "" || d.Items[0].Code != "hook.edit_ignored" {
		t.Errorf("%+v", d)
	}
}

// TestNoEditsOnWhatsApp: the channel has none, and saying so is better than silence.
func TestNoEditsOnWhatsApp(t *testing.T) {
	l := newPhone(t, "whatsapp")
	err := l.admin.Call(t.Context(), http.MethodPatch, "/api/orgs/"+l.ID+"/installs/"+l.install, map[string]any{"policy": map[string]any{"streaming": "edits"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot be edited") {
		t.Errorf("%v", err)
	}
}
