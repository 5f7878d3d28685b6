package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

const shop = "https://shop.example"

func webCase() channelCase {
	return channelCase{id: "web", mute: true,
		phoneCase: phoneCase{
			fills: func(p *phone, n int64, in map[string]any) {
				p.secret, p.wrote = fmt.Sprintf("CNRYwidget%06dsecretOfTheOrganisationsOwnServer", n), map[string]bool{}
				in["secrets"] = map[string]any{"widget_secret": p.secret}
				in["config"] = map[string]any{"allowed_origins": []string{shop, "http://localhost:3000"}}
			},
			text: func(p *phone, id int, from, _, said string) []byte {
				p.wrote[from] = true
				return []byte(fmt.Sprintf(`{"id":"%s-%08d","text":%s}`, from, id, said))
			},
			reads: func(p *phone) (out []mockvendor.Post) {
				for _, from := range slices.Sorted(maps.Keys(p.wrote)) {
					for _, m := range p.shown(from, "").Items {
						if m.Role != "user" {
							out = append(out, mockvendor.Post{Channel: from, Text: m.Text, TS: m.ID})
						}
					}
				}
				return out
			}},
		form: "Plan\n\nBold and soft, not a<b, docs (https://x.example/?a=1&b=2) <!channel> <@U012>\n\n• one\n• two\n\nif a < b {}\n\na | b\n--|--\n1 | 2",
	}
}

// shownPage is what a page is told.
type shownPage struct {
	Items []struct {
		ID, Role, Text, Name string
		MessageID            string `json:"message_id"`
		At                   time.Time
	}
	Cursor string
	More   bool
	Typing bool
}

// ask is a question of a page with a token; origin may be empty.
func (p *phone) ask(method, token, origin, query, body string) answer {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, world.BaseURL+"/webhooks/web/"+p.install+query, strings.NewReader(body))
	must(p.t, err)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	resp, err := http.DefaultClient.Do(r)
	must(p.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(p.t, err)
	return answer{resp.StatusCode, resp.Header, b}
}

func (p *phone) visitor(name string, claims ...map[string]any) string {
	return mockvendor.VisitorToken(p.secret, p.install, name, time.Now(), claims...)
}

// shown is what a visitor's page is told.
func (p *phone) shown(visitor, query string) (out shownPage) {
	p.t.Helper()
	a := p.ask(http.MethodGet, p.visitor(visitor), shop, query, "")
	if a.Status != http.StatusOK {
		p.t.Fatalf("%d %s", a.Status, a.Body)
	}
	must(p.t, json.Unmarshal(a.Body, &out))
	return out
}

func (s shownPage) talk() string {
	var out []string
	for _, m := range s.Items {
		out = append(out, m.Role+": "+m.Text)
	}
	return strings.Join(out, " | ")
}

// TestVisitorsOfAPage: what a visitor is shown is the visitor's own conversation, in
// order, from where the page was; foreign pages, old tokens and other installs' are
// refused, and browsers are told so.
func TestVisitorsOfAPage(t *testing.T) {
	p, other := newPhone(t, "web"), newPhone(t, "web")
	say := func(visitor, id, text string) answer {
		return p.ask(http.MethodPost, p.visitor(visitor), shop, "", `{"id":"`+id+`","text":"`+text+`"}`)
	}
	for range 3 {
		if a := say("ada", "00000001", "ada here"); a.Status != http.StatusOK || string(a.Body) != `{"queued":true}` || a.Header.Get("Access-Control-Allow-Origin") != shop ||
			a.Header.Get("Vary") == "" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Fatalf("%d %s %v", a.Status, a.Body, a.Header)
		}
	}
	// The same id is another message for another visitor.
	if a := say("bob", "00000001", "bob here"); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	for _, who := range []string{"ada", "bob"} {
		eventually(t, who+" is answered", func() bool { return len(p.shown(who, "").Items) == 2 })
		if got := p.shown(who, "").talk(); got != "user: "+who+" here | assistant: You said: "+who+" here" {
			t.Errorf("%s: %s", who, got)
		}
	}
	first := p.shown("ada", "")
	if m := first.Items[0]; m.MessageID != "00000001" || first.Items[1].MessageID != "" || time.Since(m.At) > time.Minute || first.Cursor != "2" || first.More {
		t.Errorf("%+v", first)
	}
	say("ada", "00000002", "once more")
	eventually(t, "the second answer", func() bool { return len(p.shown("ada", "?after="+first.Cursor).Items) == 2 })
	if got := p.shown("ada", "?after="+first.Cursor); got.talk() != "user: once more | assistant: You said: once more" || got.Cursor != "4" {
		t.Errorf("%+v", got)
	}
	if got := p.shown("ada", "?after=1&limit=2"); got.talk() != "assistant: You said: ada here | user: once more" || !got.More || got.Cursor != "3" {
		t.Errorf("%+v", got)
	}
	if got := p.shown("ada", "?after=4"); len(got.Items) != 0 || got.Cursor != "4" || got.Typing {
		t.Errorf("%+v", got)
	}
	if got := p.shown("nobody-yet", ""); len(got.Items) != 0 || got.Cursor != "0" {
		t.Errorf("%+v", got)
	}
	now := time.Now()
	for name, c := range map[string]struct {
		token, origin, query string
		status               int
	}{
		"a foreign page":      {p.visitor("ada"), "https://evil.example", "", http.StatusForbidden},
		"a page like it":      {p.visitor("ada"), shop + ".evil.example", "", http.StatusForbidden},
		"no page's":           {p.visitor("ada"), "null", "", http.StatusForbidden},
		"no browser":          {p.visitor("ada"), "", "", http.StatusOK},
		"no token":            {"", shop, "", http.StatusUnauthorized},
		"another install's":   {other.visitor("ada"), shop, "", http.StatusUnauthorized},
		"for another install": {mockvendor.VisitorToken(p.secret, other.install, "ada", now), shop, "", http.StatusUnauthorized},
		"ended":               {p.visitor("ada", map[string]any{"iat": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(-time.Hour).Unix()}), shop, "", http.StatusUnauthorized},
		"of nobody":           {p.visitor(""), shop, "", http.StatusUnauthorized},
		"for ever":            {p.visitor("ada", map[string]any{"exp": nil}), shop, "", http.StatusUnauthorized},
		"for a year":          {p.visitor("ada", map[string]any{"exp": now.Add(8760 * time.Hour).Unix()}), shop, "", http.StatusUnauthorized},
		"an odd question":     {p.visitor("ada"), shop, "?after=-1", http.StatusBadRequest},
		"of somebody":         {p.visitor("ada"), shop, "?visitor=bob", http.StatusBadRequest},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if method == http.MethodPost && (c.query != "" || c.status == http.StatusOK) {
				continue
			}
			if a := p.ask(method, c.token, c.origin, c.query, `{"id":"00000009","text":"x"}`); a.Status != c.status || a.Header.Get("Access-Control-Allow-Origin") != c.origin || c.status != http.StatusOK && strings.Contains(string(a.Body), "here") {
				t.Errorf("%s %s: %d %s %v", method, name, a.Status, a.Body, a.Header)
			}
		}
	}
	if got := p.shown("ada", "").talk(); strings.Contains(got, ": x") || strings.Contains(got, "bob") {
		t.Error(got)
	}
	var log struct {
		Items []struct {
			Code string `json:"audit_code"`
		}
	}
	p.call(http.MethodGet, "/deliveries?install="+p.install+"&limit=100", nil, &log)
	if !slices.ContainsFunc(log.Items, func(d struct {
		Code string `json:"audit_code"`
	}) bool {
		return d.Code == "hook.origin_refused"
	}) {
		t.Errorf("%+v", log)
	}
	p.settled()
	p.consistent()
}

// TestBrowsersAskAlike: what a browser asks before a request is answered alike for an
// install and for none, and an install that is none any more is as one that never was.
func TestBrowsersAskAlike(t *testing.T) {
	p := newPhone(t, "web")
	nobody := &phone{tenant: p.tenant, channelCase: p.channelCase, install: "nobody", secret: p.secret}
	alike := func(want int, method string) {
		t.Helper()
		a, b := p.ask(method, p.visitor("ada"), shop, "", ""), nobody.ask(method, nobody.visitor("ada"), shop, "", "")
		for _, h := range []http.Header{a.Header, b.Header} {
			for _, name := range []string{"Date", "X-Request-Id", "Apigw-Requestid", "X-Amzn-Requestid", "X-Amzn-Trace-Id"} {
				h.Del(name)
			}
		}
		if a.Status != want || b.Status != want || string(a.Body) != string(b.Body) || fmt.Sprint(a.Header) != fmt.Sprint(b.Header) {
			t.Errorf("%d %s %v\n%d %s %v", a.Status, a.Body, a.Header, b.Status, b.Body, b.Header)
		}
	}
	alike(http.StatusNoContent, http.MethodOptions)
	if a := p.ask(http.MethodOptions, "", shop, "", ""); a.Header.Get("Access-Control-Allow-Headers") != "authorization, content-type" || a.Header.Get("Access-Control-Allow-Methods") != "GET, POST" {
		t.Errorf("%v", a.Header)
	}
	p.call(http.MethodPost, "/installs/"+p.install+"/suspend", map[string]any{}, nil)
	alike(http.StatusUnauthorized, http.MethodGet)
	p.call(http.MethodPost, "/installs/"+p.install+"/resume", map[string]any{}, nil)
	if got := p.shown("ada", ""); len(got.Items) != 0 {
		t.Errorf("%+v", got)
	}
	p.call(http.MethodPost, "/installs/"+p.install+"/revoke", map[string]any{}, nil)
	alike(http.StatusUnauthorized, http.MethodGet)
	alike(http.StatusUnauthorized, http.MethodPost)
}

// TestVisitorSeesWhoAnswers: a page is told while an answer is made, which persona
// answered, and what a person said in the agent's place.
func TestVisitorSeesWhoAnswers(t *testing.T) {
	p := newPhone(t, "web")
	var a struct{ ID string }
	p.call(http.MethodPost, "/agents", map[string]any{"name": "Desk", "instructions": "SECRETINSTRUCTIONS", "model": simChat,
		"personas": []map[string]any{{"id": "eva", "name": "Eva", "instructions": "SECRETPERSONA"}}}, &a)
	p.call(http.MethodPost, "/bindings", map[string]any{"install_id": p.install, "selector": map[string]any{"peer": "ada"}, "agent_id": a.ID, "persona_id": "eva"}, nil)
	b := mockvendor.NewBarrier(mockvendor.BeforeHeaders)
	defer b.Release()
	vendor.Direct("think of a page", mockvendor.Script{Barrier: b})
	p.post(p.secret, p.text(1, "ada", "", "think of a page"))
	eventually(t, "the page is told that an answer is being made", func() bool { return p.shown("ada", "").Typing })
	if got := p.shown("ada", "").talk(); got != "user: think of a page" {
		t.Error(got)
	}
	b.Release()
	eventually(t, "the answer is shown", func() bool { return len(p.shown("ada", "").Items) == 2 })
	got := p.shown("ada", "")
	if got.Items[1].Name != "Eva" || got.Typing {
		t.Errorf("%+v", got)
	}
	var sessions struct{ Items []struct{ ID string } }
	p.call(http.MethodGet, "/sessions", nil, &sessions)
	p.call(http.MethodPost, "/sessions/"+sessions.Items[0].ID+"/handoff", map[string]any{"reason": "a test"}, nil)
	p.call(http.MethodPost, "/sessions/"+sessions.Items[0].ID+"/messages", map[string]any{"text": "A person here."}, nil)
	eventually(t, "what the person said is shown", func() bool { return len(p.shown("ada", "").Items) == 3 })
	p.post(p.secret, p.text(2, "ada", "", "thank you"))
	eventually(t, "the visitor's own message is shown", func() bool { return len(p.shown("ada", "").Items) == 4 })
	all := p.shown("ada", "")
	if text := all.talk(); !strings.HasSuffix(text, "| human: A person here. | user: thank you") || strings.Contains(text, "SECRET") || all.Items[2].Name != "" {
		t.Errorf("%+v", all)
	}
}

// TestWidgetScript: the script is served to pages of any origin, to be kept.
func TestWidgetScript(t *testing.T) {
	resp, err := http.Get(world.BaseURL + "/widget.js")
	must(t, err)
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	must(t, err)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/javascript") || resp.Header.Get("X-Content-Type-Options") != "nosniff" ||
		resp.Header.Get("Access-Control-Allow-Origin") != "*" || !strings.Contains(string(b), "latchkey") {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	r, _ := http.NewRequest(http.MethodGet, world.BaseURL+"/widget.js", nil)
	r.Header.Set("If-None-Match", resp.Header.Get("Etag"))
	if resp, err = http.DefaultClient.Do(r); err != nil || resp.StatusCode != http.StatusNotModified {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
}
