package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// talker is another machine that a conversation is held with, and its people.
type talker struct {
	*tenant
	install string
	posts   func() []mockvendor.Post
	// says sends a message of the machine, or of a person.
	says func(id int, person bool, text string) answer
}

// outcome sends a message and returns how its turn ended: empty when it was answered,
// the code of the delivery where there is no turn.
func (l *talker) outcome(id int, person bool, text string) string {
	l.t.Helper()
	if a := l.says(id, person, text); a.Status != http.StatusOK {
		l.t.Fatalf("message %d: %d %s", id, a.Status, a.Body)
	}
	var d struct {
		Items []struct {
			Event string `json:"event_id"`
			Code  string `json:"audit_code"`
			Turn  string `json:"turn_id"`
		}
	}
	l.call(http.MethodGet, "/deliveries?install="+l.install, nil, &d)
	at := -1
	for n, got := range d.Items {
		if strings.HasSuffix(got.Event, strconv.Itoa(9000+id)) {
			at = n
		}
	}
	if at < 0 {
		l.t.Fatalf("message %d was not delivered: %+v", id, d)
	}
	if d.Items[at].Turn == "" {
		return d.Items[at].Code
	}
	var turn struct{ State, Code string }
	eventually(l.t, fmt.Sprintf("the turn of message %d ends", id), func() bool {
		err := l.admin.Call(l.t.Context(), http.MethodGet, "/api/orgs/"+l.ID+"/turns/"+d.Items[at].Turn, nil, &turn)
		return err == nil && (turn.State == "done" || turn.State == "ended")
	})
	return turn.Code
}

func (l *talker) policy(bots string) {
	var i struct{ Policy map[string]any }
	l.call(http.MethodPatch, "/installs/"+l.install, map[string]any{"policy": map[string]any{"bot_messages": bots}}, &i)
	if i.Policy["bot_messages"] != bots {
		l.t.Fatalf("policy: %+v", i)
	}
}

// suppressions counts the records that the install got.
func (l *talker) suppressions() int {
	b, err := os.ReadFile(filepath.Join(world.LogDir, "turn.log"))
	must(l.t, err)
	n := 0
	for line := range bytes.Lines(b) {
		if bytes.Contains(line, []byte(`"turn.loop_suppressed"`)) && bytes.Contains(line, []byte(l.install)) {
			n++
		}
	}
	return n
}

// TestTwoBotsStop holds row 35 of the security matrix: a bot that answers each of our
// answers is heard where the install's policy says so, three times; then nothing is
// answered and one record says why, until a person writes. In a Slack room it makes no
// difference whether the bot stays in the thread.
func TestTwoBotsStop(t *testing.T) {
	bots := map[string]func(*testing.T) *talker{}
	for _, c := range channelCases() {
		maps.Copy(bots, c.bots)
	}
	for name, open := range bots {
		t.Run(name, func(t *testing.T) {
			l := open(t)
			if code := l.outcome(0, false, "hello"); code != "turn.bot_ignored" {
				t.Fatalf("without a policy: %q", code)
			}
			l.policy("all")
			var got []string
			text := "hello"
			for id := 1; id <= 6; id++ {
				got = append(got, l.outcome(id, false, text))
				if posts := l.posts(); len(posts) > 0 {
					text = posts[len(posts)-1].Text
				}
			}
			want := []string{"", "", "", "loop_in_a_row", "loop_pause", "loop_pause"}
			if !slices.Equal(got, want) || len(l.posts()) != 3 {
				t.Errorf("%q, %d answers", got, len(l.posts()))
			}
			eventually(t, "the record is written", func() bool { return l.suppressions() == 1 })
			if code := l.outcome(7, true, "stop, both of you"); code != "" {
				t.Errorf("a person: %q", code)
			}
			if code := l.outcome(8, false, "all right"); code != "" || len(l.posts()) != 5 {
				t.Errorf("after a person: %q, %d answers", code, len(l.posts()))
			}
			if n := l.suppressions(); n != 1 {
				t.Errorf("%d records", n)
			}
			l.consistent()
		})
	}
}

// TestAutoReplyStops is the same where the vendor does not say who is a bot: who sends
// one text again and again is taken for one.
func TestAutoReplyStops(t *testing.T) {
	l := phoneTalker(t, "whatsapp", "", nil)
	const reply = "Thank you for your message. We will be back on Monday."
	answered, ends := 0, ""
	for id := 1; id <= 10; id++ {
		switch code := l.outcome(id, true, reply); code {
		case "":
			answered++
		default:
			ends += code + " "
		}
	}
	if answered != 7 || ends != "loop_automated loop_pause loop_pause " || len(l.posts()) != 7 {
		t.Errorf("%d answered, then %s", answered, ends)
	}
	eventually(t, "the record is written", func() bool { return l.suppressions() == 1 })
	if code := l.outcome(11, true, "hello, it is me now"); code != "" || len(l.posts()) != 8 {
		t.Errorf("after a person: %q", code)
	}
	l.consistent()
}

// TestBotPolicyIsRefused: a value that nobody knows is not stored.
func TestBotPolicyIsRefused(t *testing.T) {
	l := newWorkspace(t)
	err := l.admin.Call(t.Context(), http.MethodPatch, "/api/orgs/"+l.ID+"/installs/"+l.install, map[string]any{"policy": map[string]any{"bot_messages": "sometimes"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "bot_messages is none, mentions or all") {
		t.Errorf("%v", err)
	}
}
