package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// phone is an organisation with an active install of a channel whose messages
// come from telephones.
type phone struct {
	*tenant
	provider, install, secret, token string
	number, account                  string
}

func newPhone(t *testing.T, provider string) *phone {
	t.Helper()
	n := serial.Add(1)
	p := &phone{tenant: newTenant(t, "enterprise", 1_000_000), provider: provider, secret: fmt.Sprintf("CNRYphone%dsecret%06d", len(provider), n)}
	in := map[string]any{"provider": provider, "mode": "byoa"}
	switch provider {
	case "telegram":
		p.number = fmt.Sprintf("70%08d", n)
		p.token = p.number + ":CNRYtelegrambottoken"
		in["secrets"] = map[string]any{"secret_token": p.secret, "bot_token": p.token}
		in["config"] = map[string]any{"bot_username": "Helper_bot"}
	case "line":
		p.number, p.token = fmt.Sprintf("U%032x", 0xb0000000+n), fmt.Sprintf("CNRYlinetoken%06d", n)
		in["secrets"] = map[string]any{"channel_secret": p.secret, "channel_access_token": p.token}
		in["config"] = map[string]any{"destination": p.number}
	default:
		p.number, p.account, p.token = fmt.Sprintf("1065%010d", n), fmt.Sprintf("1022%010d", n), fmt.Sprintf("EAACNRYwhatsapptoken%06d", n)
		in["secrets"] = map[string]any{"app_secret": p.secret, "verify_token": p.secret + "v", "access_token": p.token}
		in["config"] = map[string]any{"phone_number_id": p.number, "waba_id": p.account}
	}
	var install struct {
		ID, State string
		Config    map[string]any
	}
	p.call(http.MethodPost, "/installs", in, &install)
	if install.State != "verifying" || provider == "telegram" && fmt.Sprint(install.Config["bot_id"]) != p.number {
		t.Fatalf("install: %+v", install)
	}
	p.install = install.ID
	p.bind("Helper", map[string]any{})
	p.call(http.MethodPost, "/installs/"+p.install+"/activate", map[string]any{}, nil)
	return p
}

// bind makes an agent for a selector.
func (p *phone) bind(name string, selector map[string]any) (agent string) {
	var a struct{ ID string }
	p.call(http.MethodPost, "/agents", map[string]any{"name": name, "instructions": "You are " + name + ".", "model": simChat}, &a)
	p.call(http.MethodPost, "/bindings", map[string]any{"install_id": p.install, "selector": selector, "agent_id": a.ID}, nil)
	return a.ID
}

// person is the vendor's id of somebody.
func (p *phone) person(from string) string {
	if p.provider == "line" {
		return "U" + strings.Repeat("0", 32-len(from)) + from
	}
	return from
}

// lineEvent is LINE's body for a message of one person, with a reply token that
// names the chat as the simulated vendor wants it.
func (p *phone) lineEvent(id int, from, message string) []byte {
	return []byte(fmt.Sprintf(`{"destination":%q,"events":[{"type":"message","mode":"active","timestamp":1772600767123,"webhookEventId":"01J%d","deliveryContext":{"isRedelivery":false},
		"source":{"type":"user","userId":%q},"replyToken":"%d%s-%s","message":%s}]}`, p.number, id, p.person(from), id, p.install, p.person(from), message))
}

// text is a vendor's body for a message from somebody; room is the chat, or empty
// for a conversation with one person.
func (p *phone) text(id int, from, room, said string) []byte {
	said = jsonText(said)
	if p.provider == "line" {
		return p.lineEvent(id, from, fmt.Sprintf(`{"id":"%d","type":"text","quoteToken":"q","text":%s}`, id, said))
	}
	if p.provider == "telegram" {
		chat := `{"id":` + from + `,"type":"private"}`
		if room != "" {
			chat = `{"id":` + room + `,"type":"supergroup"}`
		}
		entities := ""
		if strings.HasPrefix(said, `"/`) {
			entities = fmt.Sprintf(`,"entities":[{"offset":0,"length":%d,"type":"bot_command"}]`, len(strings.Fields(strings.Trim(said, `"`))[0]))
		}
		return []byte(fmt.Sprintf(`{"update_id":%d,"message":{"message_id":%d,"from":{"id":%s,"is_bot":false,"first_name":"A"},"chat":%s,"date":1772600767,"text":%s%s}}`, id, id, from, chat, said, entities))
	}
	return []byte(fmt.Sprintf(`{"object":"whatsapp_business_account","entry":[{"id":%q,"changes":[{"field":"messages","value":{"messaging_product":"whatsapp",
		"metadata":{"phone_number_id":%q},"messages":[{"from":%q,"id":"wamid.%d","timestamp":"1772600767","type":"text","text":{"body":%s}}]}}]}]}`, p.account, p.number, from, id, said))
}

func jsonText(s string) string { b, _ := json.Marshal(s); return string(b) }

// post sends a body as the vendor does, with a secret.
func (p *phone) post(secret string, body []byte) answer {
	a, err := p.tryPost(context.Background(), secret, body)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p *phone) tryPost(ctx context.Context, secret string, body []byte) (answer, error) {
	h := http.Header{}
	mockvendor.SignRequest(h, p.provider, secret, time.Now(), body)
	var headers []string
	for name := range h {
		headers = append(headers, name, h.Get(name))
	}
	return tryPost(ctx, world.BaseURL+"/webhooks/"+p.provider+"/"+p.install, "", body, headers...)
}

func (p *phone) posts() []mockvendor.Post {
	var out []mockvendor.Post
	for _, m := range vendor.Posts() {
		if m.KeyHash == mockvendor.Hash(p.token) {
			out = append(out, m)
		}
	}
	return out
}

// TestPhoneMessageIsAnsweredOnce: five deliveries of one message, one reply to who
// wrote, charged once; a wrong secret and a changed tenant are refused.
func TestPhoneMessageIsAnsweredOnce(t *testing.T) {
	for _, provider := range []string{"telegram", "whatsapp", "line"} {
		t.Run(provider, func(t *testing.T) {
			p := newPhone(t, provider)
			body := p.text(501, "4915112345678", "", "hello agent")
			if a := p.post("CNRYphoneWRONGsecret000", body); a.Status != http.StatusUnauthorized {
				t.Errorf("wrong secret: %d %s", a.Status, a.Body)
			}
			var group sync.WaitGroup
			for range 5 {
				group.Add(1)
				go func() {
					defer group.Done()
					if a, err := p.tryPost(context.Background(), p.secret, body); err != nil || a.Status != http.StatusOK {
						t.Errorf("%v %d %s", err, a.Status, a.Body)
					}
				}()
			}
			group.Wait()
			eventually(t, "the reply is posted", func() bool { return len(p.posts()) > 0 })
			p.post(p.secret, p.text(502, "4915112345678", "", "and now"))
			eventually(t, "the second reply is posted", func() bool { return len(p.posts()) > 1 })
			posts := p.posts()
			if len(posts) != 2 || posts[0].Text != "You said: hello agent" || posts[1].Text != "You said: and now" || posts[0].Channel != p.person("4915112345678") {
				t.Errorf("posts: %+v", posts)
			}
			p.settled()
			p.consistent()
			if other := map[string]string{"whatsapp": "106540352242922", "line": p.person("1")}[provider]; other != "" {
				foreign := []byte(strings.Replace(string(p.text(503, "4915112345678", "", "x")), p.number, other, 1))
				if a := p.post(p.secret, foreign); a.Status != http.StatusForbidden {
					t.Errorf("another number: %d %s", a.Status, a.Body)
				}
			}
		})
	}
}

func (p *phone) check(t *testing.T, install, token string) (int, string) {
	t.Helper()
	resp, err := http.Get(world.BaseURL + "/webhooks/" + p.provider + "/" + install + "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=" + token)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(b)
}

// TestHubHandshake: Meta's check of the URL gets its challenge for the verify
// token only.
func TestHubHandshake(t *testing.T) {
	p := newPhone(t, "whatsapp")
	if status, body := p.check(t, p.install, p.secret+"v"); status != http.StatusOK || body != "1158201444" {
		t.Errorf("%d %s", status, body)
	}
	if status, body := p.check(t, p.install, "wrong"); status != http.StatusForbidden || strings.Contains(body, "1158201444") {
		t.Errorf("wrong token: %d %s", status, body)
	}
	if status, body := p.check(t, "nobody", p.secret+"v"); status != http.StatusUnauthorized {
		t.Errorf("unknown install: %d %s", status, body)
	}
}

// TestAgentsByName: three agents behind one bot in one group; each has its own
// session and sees nothing of the others.
func TestAgentsByName(t *testing.T) {
	p := newPhone(t, "telegram")
	agents := map[string]string{"sales": p.bind("Sales", map[string]any{"mention": "/sales"}), "support": p.bind("Support", map[string]any{"mention": "support"})}
	const room = "-1001234567890"
	said := 0
	for _, line := range []string{"/sales price", "/support broken", "just talking", "/sales again", "/support still"} {
		said++
		if a := p.post(p.secret, p.text(600+said, "42", room, line)); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	eventually(t, "all are answered", func() bool { return len(p.posts()) == said })
	var sessions struct {
		Items []struct {
			ID      string
			AgentID string `json:"agent_id"`
		}
	}
	p.call(http.MethodGet, "/sessions", nil, &sessions)
	if len(sessions.Items) != 3 {
		t.Fatalf("sessions: %+v", sessions)
	}
	for _, s := range sessions.Items {
		var m struct{ Items []struct{ Text, Role string } }
		p.call(http.MethodGet, "/sessions/"+s.ID+"/messages", nil, &m)
		for _, one := range m.Items {
			for name, id := range agents {
				if strings.Contains(one.Text, "/"+name) != (id == s.AgentID) {
					t.Errorf("session of %s holds %q", s.AgentID, one.Text)
				}
			}
		}
	}
}

// TestOnePersonOneSession: a WhatsApp conversation that began under the number goes
// on when the vendor shows the scoped ID, hides the number or changes the ID.
func TestOnePersonOneSession(t *testing.T) {
	p := newPhone(t, "whatsapp")
	const number, id, next = "4915112345678", "DE.13491208655302741918", "DE.77"
	both := strings.Replace(string(p.text(702, number, "", "with both")), `"messages":[`, `"contacts":[{"wa_id":"`+number+`","user_id":"`+id+`"}],"messages":[`, 1)
	of := func(n int, id, said string) []byte {
		return []byte(strings.Replace(string(p.text(n, "", "", said)), `"from":""`, `"from_user_id":"`+id+`"`, 1))
	}
	changed := strings.Replace(string(p.text(705, number, "", "x")), `"type":"text"`, `"type":"system","system":{"type":"user_changed_number","wa_id":"4915100000001","previous_user_id":"`+id+`","user_id":"`+next+`"}`, 1)
	for i, body := range [][]byte{p.text(701, number, "", "number only"), []byte(both), of(703, id, "number hidden"), []byte(changed), of(704, next, "another id")} {
		if a := p.post(p.secret, body); a.Status != http.StatusOK {
			t.Fatalf("%d: %d %s", i, a.Status, a.Body)
		}
	}
	eventually(t, "all are answered", func() bool { return len(p.posts()) == 4 })
	var sessions struct{ Items []struct{ ID string } }
	p.call(http.MethodGet, "/sessions", nil, &sessions)
	if len(sessions.Items) != 1 {
		t.Fatalf("sessions: %+v", sessions)
	}
	to := []string{}
	for _, m := range p.posts() {
		to = append(to, m.Channel)
	}
	if strings.Join(to, " ") != strings.Join([]string{number, number, id, next}, " ") {
		t.Errorf("answered to %v", to)
	}
	// The number is somebody else's now.
	p.post(p.secret, p.text(706, number, "", "a stranger"))
	eventually(t, "the stranger is answered", func() bool { return len(p.posts()) == 5 })
	if p.call(http.MethodGet, "/sessions", nil, &sessions); len(sessions.Items) != 2 {
		t.Errorf("sessions: %+v", sessions)
	}
}
