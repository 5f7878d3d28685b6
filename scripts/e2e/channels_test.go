package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestPhoneMessageIsAnsweredOnce: five deliveries of one message, one reply to who
// wrote, charged once; a wrong secret and a changed tenant are refused.
func TestPhoneMessageIsAnsweredOnce(t *testing.T) {
	eachCase(t, channelCase.isPhone, func(t *testing.T, c channelCase) {
		p := newPhone(t, c.id)
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
		if p.foreign != "" {
			foreign := []byte(strings.Replace(string(p.text(503, "4915112345678", "", "x")), p.number, p.foreign, 1))
			if a := p.post(p.secret, foreign); a.Status != http.StatusForbidden {
				t.Errorf("another number: %d %s", a.Status, a.Body)
			}
		}
	})
}

func (p *phone) check(t *testing.T, install, token string) (int, string) {
	t.Helper()
	resp, err := http.Get(world.BaseURL + "/webhooks/" + p.id + "/" + install + "?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=" + token)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(b)
}

// TestHubHandshake: Meta's check of the URL gets its challenge for the verify
// token only.
func TestHubHandshake(t *testing.T) {
	for _, provider := range []string{"whatsapp", "messenger", "instagram"} {
		t.Run(provider, func(t *testing.T) {
			p := newPhone(t, provider)
			if status, body := p.check(t, p.install, p.secret+"v"); status != http.StatusOK || body != "1158201444" {
				t.Errorf("%d %s", status, body)
			}
			if status, body := p.check(t, p.install, "wrong"); status != http.StatusForbidden || strings.Contains(body, "1158201444") {
				t.Errorf("wrong token: %d %s", status, body)
			}
			if status, body := p.check(t, "nobody", p.secret+"v"); status != http.StatusUnauthorized {
				t.Errorf("unknown install: %d %s", status, body)
			}
		})
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
