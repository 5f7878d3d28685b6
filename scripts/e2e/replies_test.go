package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// answerOf is what a model writes, with everything that vendors show differently.
const answerOf = "# Plan\n\n**Bold** and *soft*, ~~not~~ `a<b`, [docs](https://x.example/?a=1&b=2) <!channel> <@U012>\n\n- one\n- two\n\n```go\nif a < b {}\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |"

// TestAnswersAreInTheVendorsForm: one answer on each channel, each as its vendor
// shows it; the simulated vendors refuse what the real ones would, and Slack's any
// mention.
func TestAnswersAreInTheVendorsForm(t *testing.T) {
	vendor.Direct("form please", mockvendor.Script{Text: answerOf})
	long := "long " + strings.Repeat("**word** and `code`, [x](https://x.example/a) <@U1>\n\n", 300) + "```\n" + strings.Repeat("line <!here>\n", 900) + "```\n\nend of it"
	vendor.Direct("a long one", mockvendor.Script{Text: long})
	for provider, want := range map[string][]string{
		"line":  {"Plan\n\nBold and soft, not a<b, docs (https://x.example/?a=1&b=2) <!channel> <@U012>\n\n• one\n• two\n\nif a < b {}\n\na | b\n--|--\n1 | 2", ""},
		"slack": {"*Plan*\n\n*Bold* and _soft_, ~not~ `a&lt;b`, <https://x.example/?a=1&amp;b=2|docs> &lt;!channel&gt; &lt;@U012&gt;\n\n• one\n• two\n\n```\nif a &lt; b {}\n```\n\n```\na | b\n--|--\n1 | 2\n```", ""},
		"telegram": {"Plan\n\nBold and soft, not a<b, docs <!channel> <@U012>\n\n• one\n• two\n\nif a < b {}\n\na | b\n--|--\n1 | 2",
			`[{"type":"bold","offset":0,"length":4},{"type":"bold","offset":6,"length":4},{"type":"italic","offset":15,"length":4},{"type":"strikethrough","offset":21,"length":3},` +
				`{"type":"code","offset":25,"length":3},{"type":"text_link","offset":30,"length":4,"url":"https://x.example/?a=1\u0026b=2"},{"type":"pre","offset":68,"length":11,"language":"go"},{"type":"pre","offset":81,"length":17}]`},
		"whatsapp": {"*Plan*\n\n*Bold* and _soft_, ~not~ `a<b`, docs (https://x.example/?a=1&b=2) <!channel> <@U012>\n\n- one\n- two\n\n```\nif a < b {}\n```\n\n```\na | b\n--|--\n1 | 2\n```", ""},
	} {
		t.Run(provider, func(t *testing.T) {
			say, posts, _ := conversation(t, provider)
			say(1, "form please")
			eventually(t, "the answer is posted", func() bool { return len(posts()) == 1 })
			if p := posts()[0]; p.Text != want[0] || string(p.Entities) != want[1] {
				t.Errorf("%q %s", p.Text, p.Entities)
			}
			say(2, "a long one")
			eventually(t, "the long answer is posted", func() bool {
				all := posts()
				return strings.Contains(all[len(all)-1].Text, "end of it")
			})
			words, lines := 0, 0
			for _, p := range posts()[1:] {
				words, lines = words+strings.Count(p.Text, "word"), lines+strings.Count(p.Text, "line ")
				if strings.Count(p.Text, "```")%2 != 0 {
					t.Errorf("open code in %q", p.Text)
				}
			}
			if words != 300 || lines != 900 {
				t.Errorf("%d words and %d lines of code in %d messages", words, lines, len(posts())-1)
			}
		})
	}
}

// TestTypingIsShown: while a model takes its time the vendor shows that an answer is
// being made, with the install's own token.
func TestTypingIsShown(t *testing.T) {
	for provider, want := range map[string]mockvendor.Sign{
		"slack": {Channel: "C1:1760000009.000100", Text: "is thinking…"}, "telegram": {Channel: "4915112345678", Text: "typing"}, "whatsapp": {Channel: "wamid.709", Text: "text"},
		"line": {Channel: "U" + strings.Repeat("0", 19) + "4915112345678", Text: "loading"},
	} {
		t.Run(provider, func(t *testing.T) {
			b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
			defer b.Release()
			prompt := "think about " + provider
			vendor.Direct(prompt, mockvendor.Script{Barrier: b})
			say, posts, token := conversation(t, provider)
			say(9, prompt)
			shown := func() (out []mockvendor.Sign) {
				for _, s := range vendor.Signs() {
					if s.KeyHash == mockvendor.Hash(token) {
						out = append(out, s)
					}
				}
				return out
			}
			eventually(t, "a sign is shown", func() bool { return len(shown()) > 0 })
			b.Release()
			eventually(t, "the answer is posted", func() bool { return len(posts()) == 1 })
			if s := shown()[0]; s.Channel != want.Channel || s.Text != want.Text || s.Posts != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// conversation is a new organisation's channel: say sends a message of a person, and
// posts are what was answered with the install's token.
func conversation(t *testing.T, provider string) (say func(n int, text string), posts func() []mockvendor.Post, token string) {
	t.Helper()
	if provider == "slack" {
		w := newWorkspace(t)
		return func(n int, text string) {
			ts := fmt.Sprintf("176000000%d.000100", n)
			e := w.message(fmt.Sprintf("EvF%d", n), text, ts)
			e.body = bytes.Replace(e.body, []byte(`"channel_type":"im"`), []byte(`"channel_type":"channel"`), 1)
			if a := e.send(t); a.Status != http.StatusOK {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
		}, w.posts, w.token
	}
	p := newPhone(t, provider)
	return func(n int, text string) {
		if a := p.post(p.secret, p.text(700+n, "4915112345678", "", text)); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}, p.posts, p.token
}
