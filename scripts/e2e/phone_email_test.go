package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

func emailCase() channelCase {
	return channelCase{id: "email", mute: true,
		phoneCase: phoneCase{person: func(from string) string { return from + "@people.example" }, foreign: "other.example.com", contentType: "application/x-www-form-urlencoded",
			fills: func(p *phone, n int64, in map[string]any) {
				p.number, p.token = fmt.Sprintf("d%d.help.example.com", n), fmt.Sprintf("CNRYmailgunkey%06d", n)
				in["secrets"] = map[string]any{"webhook_signing_key": p.secret, "api_key": p.token}
				in["config"] = map[string]any{"domain": p.number, "spam_filter": "true"}
			},
			text: func(p *phone, id int, from, _, said string) []byte {
				return mailOf(p, id, p.person(from), said, [2]string{"X-Mailgun-Spf", "Pass"}, [2]string{"References", "<root@people.example>"})
			}},
		form: "Plan\n\nBold and soft, not a<b, docs (https://x.example/?a=1&b=2) <!channel> <@U012>\n\n- one\n- two\n\nif a < b {}\n\na | b\n--|--\n1 | 2",
	}
}

// mailOf is Mailgun's form for a mail with these headers; said is a JSON string.
func mailOf(p *phone, id int, from, said string, more ...[2]string) []byte {
	var text string
	_ = json.Unmarshal([]byte(said), &text)
	headers := append([][2]string{{"From", from}, {"Message-Id", fmt.Sprintf("<m%d@people.example>", id)}, {"Subject", "a question"}}, more...)
	b, _ := json.Marshal(headers)
	return []byte(url.Values{"recipient": {"desk@" + p.number}, "sender": {from}, "from": {"Somebody <" + from + ">"}, "subject": {"a question"},
		"body-plain": {text + "\r\n\r\n> what was said before"}, "stripped-text": {text}, "message-headers": {string(b)}}.Encode())
}

// TestMailInThreads: who writes in one thread has one conversation, another thread is
// another; the subject begins it, answers stay in it.
func TestMailInThreads(t *testing.T) {
	p := newPhone(t, "email")
	const ada = "ada@people.example"
	proof := [2]string{"X-Mailgun-Spf", "Pass"}
	send := func(body []byte) {
		t.Helper()
		if a := p.post(p.secret, body); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	send(mailOf(p, 1, ada, `"one"`, proof))
	eventually(t, "the first is answered", func() bool { return len(p.posts()) == 1 })
	send(mailOf(p, 2, ada, `"two"`, proof, [2]string{"References", "<m1@people.example> <x@" + p.number + ">"}))
	send(mailOf(p, 3, ada, `"three"`, proof))
	eventually(t, "all are answered", func() bool { return len(p.posts()) == 3 })
	// A program that writes no References; and somebody else who names the same mail.
	answer := p.posts()[0].TS
	send(mailOf(p, 4, ada, `"four"`, proof, [2]string{"In-Reply-To", answer}))
	send(mailOf(p, 5, "eve@people.example", `"five"`, proof, [2]string{"In-Reply-To", answer}))
	eventually(t, "both are answered", func() bool { return len(p.posts()) == 5 })
	posts := p.posts()
	if posts[0].Text != "You said: a question\n\none" || posts[0].ThreadTS != "<m1@people.example>" || posts[0].Channel != ada {
		t.Errorf("%+v", posts[0])
	}
	var sessions struct{ Items []struct{ ID string } }
	if p.call(http.MethodGet, "/sessions", nil, &sessions); len(sessions.Items) != 3 {
		t.Errorf("sessions: %+v", sessions)
	}
	p.settled()
	p.consistent()
}

// TestMailThatIsNotAnswered: machines, the own domain and writers whom nobody proved
// get no answer, and cost nothing; a policy that lets bots write changes nothing.
func TestMailThatIsNotAnswered(t *testing.T) {
	p := newPhone(t, "email")
	p.call(http.MethodPatch, "/installs/"+p.install, map[string]any{"policy": map[string]any{"bot_messages": "all"}}, nil)
	const ada = "ada@people.example"
	proof := [2]string{"X-Mailgun-Spf", "Pass"}
	want := map[string]bool{}
	for k, c := range []struct {
		body []byte
		code string
	}{
		{mailOf(p, 11, ada, `"away"`, proof, [2]string{"Auto-Submitted", "auto-replied"}), "turn.bot_ignored"},
		{mailOf(p, 12, ada, `"news"`, proof, [2]string{"List-Id", "<l.example>"}), "turn.bot_ignored"},
		{mailOf(p, 13, "desk@"+p.number, `"loop"`, proof), "turn.self_ignored"},
		{mailOf(p, 14, ada, `"forged"`), "hook.sender_unproven"},
		{mailOf(p, 15, ada, `"forged twice"`, proof, proof), "hook.sender_unproven"},
	} {
		if a := p.post(p.secret, c.body); a.Status != http.StatusOK {
			t.Errorf("%d: %d %s", k, a.Status, a.Body)
		}
		want[c.code] = true
	}
	if a := p.post(p.secret, mailOf(p, 16, ada, `"hello"`, proof)); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	eventually(t, "the person is answered", func() bool { return len(p.posts()) > 0 })
	p.settled()
	if posts := p.posts(); len(posts) != 1 || !strings.HasSuffix(posts[0].Text, "hello") {
		t.Errorf("%+v", posts)
	}
	var deliveries struct {
		Items []struct {
			AuditCode string `json:"audit_code"`
		}
	}
	p.call(http.MethodGet, "/deliveries?install="+p.install, nil, &deliveries)
	for _, d := range deliveries.Items {
		delete(want, d.AuditCode)
	}
	if len(want) > 0 {
		t.Errorf("not in the log: %v of %+v", want, deliveries.Items)
	}
}

// TestATokenIsUsedOnce: what Mailgun signed once does not carry another mail.
func TestATokenIsUsedOnce(t *testing.T) {
	p := newPhone(t, "email")
	proof := [2]string{"X-Mailgun-Spf", "Pass"}
	body := mailOf(p, 21, "ada@people.example", `"first"`, proof)
	stolen := append(append([]byte{}, mailOf(p, 22, "eve@people.example", `"second"`, proof)...), stamped(p, body)[len(body):]...)
	if a := p.post(p.secret, body); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	eventually(t, "it is answered", func() bool { return len(p.posts()) == 1 })
	if a, err := tryPost(t.Context(), world.BaseURL+"/webhooks/email/"+p.install, "", stolen, "Content-Type", p.contentType); err != nil || a.Status != http.StatusOK {
		t.Fatalf("%v %+v", err, a)
	}
	p.settled()
	if posts := p.posts(); len(posts) != 1 {
		t.Errorf("%+v", posts)
	}
}

func stamped(p *phone, body []byte) []byte {
	return mockvendor.Stamp(p.id, mockvendor.Proof{Secret: p.secret, At: time.Now()}, body)
}

// TestPostmarkMail: the same channel over another vendor, which proves itself by a
// password and is answered over its own API.
func TestPostmarkMail(t *testing.T) {
	n := serial.Add(1)
	p := &phone{tenant: newTenant(t, "enterprise", 1_000_000), channelCase: emailCase(), secret: fmt.Sprintf("hook:CNRYpostmark%06d", n),
		token: fmt.Sprintf("CNRYpostmarkkey%06d", n), number: fmt.Sprintf("p%d.help.example.com", n)}
	var install struct {
		ID, State string
		Config    map[string]any
	}
	p.call(http.MethodPost, "/installs", map[string]any{"provider": "email", "mode": "byoa", "secrets": map[string]any{"basic_auth": p.secret, "api_key": p.token},
		"config": map[string]any{"domain": p.number}}, &install)
	if install.State != "verifying" || install.Config["vendor"] != "postmark" {
		t.Fatalf("%+v", install)
	}
	p.install = install.ID
	p.bind("Helper", map[string]any{"team": "desk@" + p.number})
	must(t, stack.Admit(t.Context(), operator(), "email", p.ID))
	p.call(http.MethodPost, "/installs/"+p.install+"/activate", map[string]any{}, nil)
	post := func(secret, domain string) int {
		t.Helper()
		body, err := json.Marshal(map[string]any{"From": "ada@people.example", "FromFull": map[string]any{"Email": "ada@people.example"}, "OriginalRecipient": "desk+x@" + domain, "Subject": "hello", "MessageID": "73e6d360-66eb-11e1",
			"TextBody": "one", "StrippedTextReply": "", "Headers": []any{map[string]string{"Name": "Message-ID", "Value": "<m1@people.example>"},
				map[string]string{"Name": "X-Spam-Tests", "Value": "DKIM_SIGNED,DKIM_VALID,DKIM_VALID_AU"}}})
		must(t, err)
		a, err := tryPost(t.Context(), world.BaseURL+"/webhooks/email/"+p.install, "", body, "Content-Type", "application/json", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(secret)))
		must(t, err)
		return a.Status
	}
	if got := post(p.secret+"x", p.number); got != http.StatusUnauthorized {
		t.Errorf("another password: %d", got)
	}
	if got := post(p.secret, "other.example.com"); got != http.StatusForbidden {
		t.Errorf("another domain: %d", got)
	}
	for range 2 {
		if got := post(p.secret, p.number); got != http.StatusOK {
			t.Errorf("%d", got)
		}
	}
	eventually(t, "it is answered", func() bool { return len(p.posts()) == 1 })
	p.settled()
	if posts := p.posts(); len(posts) != 1 || posts[0].Text != "You said: hello\n\none" || posts[0].Channel != "ada@people.example" || posts[0].ThreadTS != "<m1@people.example>" {
		t.Errorf("%+v", posts)
	}
}
