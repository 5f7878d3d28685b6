package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/shared/outbox"
)

type sessionView struct {
	ID, State string
	Handoff   *struct{ By, Reason string }
}

func (x *tenant) sessions(query string) []sessionView {
	x.t.Helper()
	var page struct{ Items []sessionView }
	x.call(http.MethodGet, "/sessions"+query, nil, &page)
	return page.Items
}

// people asks for something about the tenant's conversation, with its own key or another.
func (x *tenant) people(key, session, verb string, body map[string]any) answer {
	x.t.Helper()
	return post(x.t, world.BaseURL+"/api/orgs/"+x.ID+"/sessions/"+session+"/"+verb, key, body)
}

type saidView struct {
	State, Code string
	Outbox      []struct{ State, Code string }
}

// says answers in the agent's place and waits for the end of that turn.
func (x *tenant) says(session, text, key string) (v saidView) {
	x.t.Helper()
	var made struct {
		TurnID string `json:"turn_id"`
	}
	x.call(http.MethodPost, "/sessions/"+session+"/messages", map[string]any{"text": text, "idempotency_key": key}, &made)
	eventually(x.t, "what a person said has its end", func() bool {
		err := operator().Call(x.t.Context(), http.MethodGet, "/api/orgs/"+x.ID+"/turns/"+made.TurnID, nil, &v) // not there before its turn
		return err == nil && (v.State == "done" || v.State == "ended")
	})
	return v
}

func (x *tenant) said() (roles, texts []string) {
	x.t.Helper()
	var page struct{ Items []struct{ Role, Text string } }
	x.call(http.MethodGet, "/sessions/"+x.sessions("")[0].ID+"/messages", nil, &page)
	for _, m := range page.Items {
		roles, texts = append(roles, m.Role), append(texts, m.Text)
	}
	return roles, texts
}

func (x *tenant) usageEntries() (n int) {
	x.t.Helper()
	for _, e := range x.entries() {
		if e.Kind == "usage" {
			n++
		}
	}
	return n
}

// handsOver makes an agent that may hand over.
func (x *tenant) handsOver(install string, selector map[string]any) {
	x.t.Helper()
	var a struct{ ID string }
	x.call(http.MethodPost, "/agents", map[string]any{"name": "Front", "instructions": "Be brief.", "model": simChat,
		"handoff": map[string]any{"enabled": true, "note": "One moment, a colleague takes over.", "resume_after_minutes": 60}}, &a)
	x.call(http.MethodPost, "/bindings", map[string]any{"install_id": install, "selector": selector, "agent_id": a.ID}, nil)
}

// TestAPersonTakesOver: the agent hands over, people are told; what is written then is
// kept and costs nothing; a person answers over the organisation's own app, once; then
// the agent goes on.
func TestAPersonTakesOver(t *testing.T) {
	w := newWorkspace(t)
	w.handsOver(w.install, map[string]any{"channel": "C1"})
	w.message("EvHo1", "please use tool: I want a person", "1760000181.000100").send(t)
	eventually(t, "a person answers", func() bool { return len(w.posts()) == 1 && len(w.sessions("?state=human")) == 1 })
	s := w.sessions("?state=human")[0]
	if all := w.sessions(""); w.posts()[0].Text != "One moment, a colleague takes over." || s.State != "human" || s.Handoff.By != "agent" || s.Handoff.Reason != "Asked for a person." || len(all) != 1 || all[0].State != "human" {
		t.Fatalf("%+v %+v %+v", w.posts(), s, all)
	}
	sweep(t, 0)
	eventually(t, "the organisation is told", func() bool { return len(w.toldAbout(outbox.TypeHandoff)) == 1 })
	w.settled()
	paid := w.usageEntries()
	w.message("EvHo2", "hello?", "1760000182.000100").send(t)
	w.message("EvHo3", "use tool", "1760000183.000100").send(t)
	eventually(t, "both are kept", func() bool { roles, _ := w.said(); return len(roles) == 4 })
	other := newTenant(t, "enterprise", 0)
	for _, verb := range []string{"messages", "handoff", "resume"} {
		body := map[string]any{}
		if verb == "messages" {
			body["text"] = "hi"
		}
		if a := post(t, world.BaseURL+"/api/orgs/"+other.ID+"/sessions/"+s.ID+"/"+verb, other.Key, body); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d %s", verb, a.Status, a.Body)
		}
	}
	for range 2 {
		if v := w.says(s.ID, "This is **Ann**. How can I help?", "k1"); v.State != "done" || len(v.Outbox) != 1 || v.Outbox[0].State != "sent" {
			t.Fatalf("%+v", v)
		}
	}
	if a := w.people(w.Key, s.ID, "messages", map[string]any{"text": "something else", "idempotency_key": "k1"}); a.Status != http.StatusConflict {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := w.people(w.Key, s.ID, "handoff", map[string]any{}); a.Status != http.StatusConflict {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	vendor.FailPosts("is_archived")
	v := w.says(s.ID, "Are you there?", "k2")
	vendor.FailPosts("")
	if v.State != "ended" || v.Outbox[0].State != "failed" || v.Outbox[0].Code == "" {
		t.Errorf("%+v", v)
	}
	if got := w.posts(); len(got) != 2 || got[1].Text != "This is *Ann*. How can I help?" || got[1].Channel != "C1" || w.usageEntries() != paid {
		t.Fatalf("%+v, %d charges", got, w.usageEntries()-paid)
	}
	if a := w.people(w.Key, s.ID, "resume", map[string]any{}); a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	w.message("EvHo4", "thank you", "1760000184.000100").send(t)
	eventually(t, "the agent goes on", func() bool { return len(w.posts()) == 3 })
	if roles, _ := w.said(); !slices.Equal(roles, []string{"user", "assistant", "user", "user", "human", "human", "notice", "user", "assistant"}) || w.posts()[2].Text != "You said: thank you" || len(w.sessions("?state=human")) != 0 {
		t.Errorf("%q %+v", roles, w.posts()[2])
	}
	if a := w.people(w.Key, s.ID, "messages", map[string]any{"text": "late"}); a.Status != http.StatusConflict {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	w.consistent()
}

// TestHandoffOutlivesKills: on Telegram; the process dies behind the write that hands
// over, and again an answer of a person waits for it: one note, one event, the answer
// behind the note. An hour later the agent goes on by itself.
func TestHandoffOutlivesKills(t *testing.T) {
	p := newPhone(t, "telegram")
	p.handsOver(p.install, map[string]any{"peer": "4422"})
	defer shift(t, 0)
	defer clearFaults(t)
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	p.post(p.secret, p.text(1, "4422", "", "use tool, give me a person"))
	<-barrier.Reached()
	// Updates pass late: the commit of the model's call, and behind the write that hands
	// over a second one and the turn's note, before anything is posted.
	fault(t, map[string]any{"service": "dynamodb", "operation": "UpdateItem", "function": "turn", "count": 20, "delay_ms": 8000})
	barrier.Release()
	eventually(t, "it is handed over", func() bool { return len(p.sessions("?state=human")) == 1 })
	killBusy(t, "turn")
	clearFaults(t)
	if len(p.posts()) != 0 {
		t.Fatalf("posted already: %+v", p.posts())
	}
	s := p.sessions("?state=human")[0]
	var made struct {
		TurnID string `json:"turn_id"`
	}
	p.call(http.MethodPost, "/sessions/"+s.ID+"/messages", map[string]any{"text": "Ann here"}, &made)
	shift(t, 5*time.Minute)
	eventually(t, "note and answer are posted", func() bool { return len(p.posts()) == 2 })
	sweep(t, time.Hour)
	if got := p.posts(); got[0].Text != "One moment, a colleague takes over." || got[1].Text != "Ann here" || len(p.toldAbout(outbox.TypeHandoff)) != 1 {
		t.Errorf("%+v, %+v", got, p.toldAbout(outbox.TypeHandoff))
	}
	shift(t, 70*time.Minute)
	p.post(p.secret, p.text(2, "4422", "", "anybody there?"))
	eventually(t, "the agent goes on", func() bool { return len(p.posts()) == 3 })
	if got := p.posts()[2]; !strings.Contains(got.Text, "anybody there?") || len(p.sessions("?state=human")) != 0 {
		t.Errorf("%+v", got)
	}
	if roles, _ := p.said(); !slices.Equal(roles, []string{"user", "assistant", "human", "notice", "user", "assistant"}) {
		t.Errorf("%q", roles)
	}
	sweep(t, 3*time.Hour)
	p.consistent()
}
