package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// asker is an organisation whose agent asks on a channel with buttons.
type asker struct {
	*tenant
	install string
	posts   func() []mockvendor.Post
	// asks sends the message that makes the agent ask.
	asks func(text string)
	// press is the answer to a press of somebody; forged ones are signed with another
	// secret, foreign ones are another tenant's.
	press           func(id, who, ref string) answer
	forged, foreign func(id, who, ref string) answer
	// named and stranger are people, note is what stands there of who decided.
	named, stranger, note string
	// told is what the vendor reads in the answer to a stranger's press.
	told string
}

// eachAsker runs a test on every channel with buttons.
func eachAsker(t *testing.T, tool string, test func(t *testing.T, x *asker)) {
	for name, make := range map[string]func(*testing.T) *asker{"slack": slackAsker, "telegram": telegramAsker, "discord": discordAsker} {
		t.Run(name, func(t *testing.T) {
			x := make(t)
			x.t = t
			agent := x.declare(tool+name, map[string]any{"approval": "required"})
			x.call(http.MethodPost, "/bindings", map[string]any{"install_id": x.install, "selector": map[string]any{"peer": x.stranger}, "agent_id": agent}, nil)
			x.call(http.MethodPatch, "/installs/"+x.install, map[string]any{"policy": map[string]any{"approvers": []string{x.named, "99"}}}, nil)
			x.asks("use tool " + tool + name)
			eventually(t, "the call waits", func() bool { return len(x.posts()) == 1 && len(x.approvals()) == 1 })
			test(t, x)
		})
	}
}

func slackAsker(t *testing.T) *asker {
	w := newWorkspace(t)
	press := func(secret, team string) func(id, who, ref string) answer {
		return func(id, who, ref string) answer {
			ts := ""
			if p := w.posts(); len(p) > 0 {
				ts = p[0].TS
			}
			payload := fmt.Sprintf(`{"type":"block_actions","api_app_id":%q,"team":{"id":%q},"enterprise":null,"is_enterprise_install":false,"user":{"id":%q},"trigger_id":%q,"channel":{"id":"C1"},
				"container":{"type":"message_attachment","message_ts":%q,"channel_id":"C1"},"message":{"ts":%q},"actions":[{"type":"button","action_id":"choice_0","value":%q,"action_ts":"1760000000.1"}]}`,
				"A"+strings.TrimPrefix(w.team, "T"), team, who, id, ts, ts, ref)
			return event{body: []byte("payload=" + url.QueryEscape(payload)), secret: secret, at: time.Now(), path: "/webhooks/slack/" + w.install}.send(t)
		}
	}
	return &asker{tenant: w.tenant, install: w.install, posts: w.posts, named: "U7", stranger: "U1", note: "by <@U7>: ",
		asks:  func(text string) { w.message("EvPr1", text, "1760000181.000100").send(t) },
		press: press(w.secret, w.team), forged: press(w.secret+"x", w.team), foreign: press(w.secret, "T99999999")}
}

func telegramAsker(t *testing.T) *asker {
	p := newPhone(t, "telegram")
	press := func(secret string) func(id, who, ref string) answer {
		return func(id, who, ref string) answer {
			return p.post(secret, []byte(fmt.Sprintf(`{"update_id":%s,"callback_query":{"id":"8%s","from":{"id":%s,"is_bot":false},"message":{"message_id":1,"chat":{"id":4411,"type":"private"},"date":1},"chat_instance":"1","data":%q}}`, id, id, who, ref)))
		}
	}
	return &asker{tenant: p.tenant, install: p.install, posts: p.posts, named: "4422", stranger: "4411", note: "by 4422: ", told: "Only those who were named",
		asks: func(text string) { p.post(p.secret, p.text(1, "4411", "", text)) }, press: press(p.secret), forged: press(p.secret + "x")}
}

func discordAsker(t *testing.T) *asker {
	p := newPhone(t, "discord")
	press := func(secret, guild string) func(id, who, ref string) answer {
		return func(id, who, ref string) answer {
			return p.post(secret, []byte(fmt.Sprintf(`{"id":"1%s","application_id":%q,"type":3,"version":1,"token":"CNRYpress%s","guild_id":%q,"channel_id":"42","member":{"user":{"id":%q,"bot":false}},"message":{"id":"88"},"data":{"component_type":2,"custom_id":%q}}`,
				id, p.account, id, guild, who, ref)))
		}
	}
	return &asker{tenant: p.tenant, install: p.install, posts: p.posts, named: "43", stranger: "42", note: "by <@43>: ", told: "Only those who were named",
		asks: func(text string) { p.post(p.secret, p.text(1, "42", "", text)) }, press: press(p.secret, p.number), forged: press(p.secret+"x", p.number), foreign: press(p.secret, "999")}
}

// TestApprovalByButton: the question has buttons. A stranger's press, a forged one and
// another tenant's change nothing, the first is on record; of two named presses at once
// one counts, its repeat does nothing, and the buttons give way to what was decided.
func TestApprovalByButton(t *testing.T) {
	eachAsker(t, "button", func(t *testing.T, x *asker) {
		got, asked := x.approvals()[0], x.posts()[0]
		if len(asked.Buttons) != 2 || !strings.Contains(asked.Buttons[0], got.ID) || strings.Contains(asked.Text, asked.Buttons[0]) {
			t.Fatalf("%+v", asked)
		}
		if a := x.forged("1001", x.named, asked.Buttons[0]); a.Status != http.StatusUnauthorized {
			t.Errorf("forged: %d %s", a.Status, a.Body)
		}
		if x.foreign != nil {
			if a := x.foreign("1002", x.named, asked.Buttons[0]); a.Status != http.StatusForbidden {
				t.Errorf("another tenant's: %d %s", a.Status, a.Body)
			}
		}
		if a := x.press("1003", x.stranger, asked.Buttons[0]); a.Status != http.StatusOK || !strings.Contains(string(a.Body), x.told) {
			t.Errorf("a stranger: %d %s", a.Status, a.Body)
		}
		eventually(t, "the stranger is on record", func() bool { return fmt.Sprint(x.auditActions()) == "[approval.ask approval.press]" })
		if a := x.press("1004", x.named, "a:"+got.ID+":AAAAAAAAAAAAAAAAAAAAAA"); a.Status != http.StatusOK {
			t.Errorf("made up: %d", a.Status)
		}
		if s := x.approvals()[0].State; s != "pending" || len(x.posts()) != 1 || len(x.posts()[0].Buttons) != 2 {
			t.Fatalf("%s %+v", s, x.posts())
		}
		var group sync.WaitGroup
		for k, id := range []string{"1005", "1006"} {
			group.Go(func() {
				if a := x.press(id, x.named, asked.Buttons[k]); a.Status != http.StatusOK || x.told != "" && strings.Contains(string(a.Body), x.told) {
					t.Errorf("%d %s", a.Status, a.Body)
				}
			})
		}
		group.Wait()
		eventually(t, "the agent goes on", func() bool { return len(x.posts()) == 2 && x.lastTurn().State == "done" })
		state := x.approvals()[0].State
		x.press("1005", x.named, asked.Buttons[0])
		x.press("1007", x.named, asked.Buttons[1])
		x.settled()
		first, calls := x.posts()[0], len(vendor.ToolCalls(got.Tool))
		if !strings.Contains(first.Text, map[string]string{"approved": "Approved ", "refused": "Refused "}[state]+x.note) || len(first.Buttons) != 0 || len(x.posts()) != 2 {
			t.Errorf("%s: %+v", state, x.posts())
		}
		if want := map[string]int{"approved": 1, "refused": 0}[state]; calls != want || x.approvals()[0].State != state {
			t.Errorf("%s: %d calls, then %s", state, calls, x.approvals()[0].State)
		}
		x.consistent()
	})
}

// TestPressOutlivesKills: the process that decides dies behind its write, so nobody sent
// the job; the sweep does. In another conversation it dies before the write: the press
// comes again. Each is decided once, its call made once.
func TestPressOutlivesKills(t *testing.T) {
	eachAsker(t, "pressed", func(t *testing.T, x *asker) {
		defer shift(t, 0)
		got, asked := x.approvals()[0], x.posts()[0]
		switch x.named {
		case "U7":
			wait := commitAndHang(t, "turn", "TransactWriteItems")
			defer clearFaults(t)
			x.press("2001", x.named, asked.Buttons[0])
			wait()
		default:
			fault(t, map[string]any{"service": "dynamodb", "operation": "GetItem", "function": "turn", "count": 1, "delay_ms": 20_000})
			defer clearFaults(t)
			x.press("2001", x.named, asked.Buttons[0])
		}
		killBusy(t, "turn")
		clearFaults(t)
		shift(t, 5*time.Minute)
		eventually(t, "it is decided", func() bool { return x.approvals()[0].State == "approved" })
		sweep(t, 10*time.Minute)
		eventually(t, "the agent goes on", func() bool { return len(x.posts()) == 2 && x.lastTurn().State == "done" })
		x.settled()
		if first := x.posts()[0]; len(vendor.ToolCalls(got.Tool)) != 1 || len(first.Buttons) != 0 || !strings.Contains(first.Text, "Approved "+x.note) {
			t.Errorf("%d calls, %+v", len(vendor.ToolCalls(got.Tool)), x.posts())
		}
		if rows := fmt.Sprint(x.auditActions()); rows != "[approval.approve approval.ask]" {
			t.Error(rows)
		}
		x.consistent()
	})
}
