package e2e

import (
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
	long := func(prompt string, words int) {
		vendor.Direct(prompt, mockvendor.Script{Text: "long " + strings.Repeat("**word** and `code`, [x](https://x.example/a) <@U1>\n\n", words) +
			"```\n" + strings.Repeat("line <!here>\n", 3*words) + "```\n\nend of it"})
	}
	long("a long one", 300)
	long("a less long one", 100)
	eachCase(t, func(c channelCase) bool { return c.form != "" }, func(t *testing.T, c channelCase) {
		say, posts, _ := c.converse(t)
		say(1, "form please")
		eventually(t, "the answer is posted", func() bool { return len(posts()) == 1 })
		if p := posts()[0]; p.Text != c.form || string(p.Entities) != c.entities {
			t.Errorf("%q %s", p.Text, p.Entities)
		}
		ask, want := "a long one", 300
		if c.brief {
			ask, want = "a less long one", 100
		}
		say(2, ask)
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
		if words != want || lines != 3*want {
			t.Errorf("%d words and %d lines of code in %d messages", words, lines, len(posts())-1)
		}
	})
}

// TestTypingIsShown: while a model takes its time the vendor shows that an answer is
// being made, with the install's own token.
func TestTypingIsShown(t *testing.T) {
	eachCase(t, func(c channelCase) bool { return c.typing.Text != "" }, func(t *testing.T, c channelCase) {
		b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
		defer b.Release()
		prompt := "think about " + c.id
		vendor.Direct(prompt, mockvendor.Script{Barrier: b})
		say, posts, token := c.converse(t)
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
		if s := shown()[0]; s.Channel != c.typing.Channel || s.Text != c.typing.Text || s.Posts != 0 {
			t.Errorf("%+v", s)
		}
	})
}
