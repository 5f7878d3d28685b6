package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// command is Slack's signed form for a slash command that somebody used; n makes its
// trigger.
func (w *workspace) command(n int, space, from, name, text string) slashed {
	app := "A" + strings.TrimPrefix(w.team, "T")
	f := url.Values{"token": {"x"}, "team_id": {w.team}, "team_domain": {"example"}, "channel_id": {space}, "channel_name": {"test"}, "user_id": {from}, "user_name": {"ada"},
		"command": {name}, "text": {text}, "api_app_id": {app}, "is_enterprise_install": {"false"}, "response_url": {"https://hooks.slack.com/commands/" + w.team + "/1/CNRYresponseurl"},
		"trigger_id": {fmt.Sprintf("1334522460%04d.738474920.8088930838d88f008e0", n)}}
	return slashed{w, []byte(f.Encode()), w.secret}
}

// slashed is a signed request that is a form, which arrives in base64.
type slashed struct {
	w      *workspace
	body   []byte
	secret string
}

func (s slashed) try(ctx context.Context) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, world.BaseURL, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	mockvendor.SignRequest(r, "slack", mockvendor.Proof{Secret: s.secret, At: time.Now()}, s.body)
	headers := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for name := range r.Header {
		headers = append(headers, name, r.Header.Get(name))
	}
	return tryPost(ctx, world.BaseURL+"/webhooks/slack/"+s.w.install, "", s.body, headers...)
}

// use sends a command, which is acknowledged with nothing that Slack would show.
func (s slashed) use() {
	s.w.t.Helper()
	a, err := s.try(s.w.t.Context())
	if must(s.w.t, err); a.Status != http.StatusOK || len(a.Body) != 0 {
		s.w.t.Errorf("%d %s", a.Status, a.Body)
	}
}

// mentioned is a mention of the bot in a channel.
func (w *workspace) mentioned(id, text, ts string) event {
	e := w.message(id, "", ts)
	e.body = mockvendor.SlackCallback(id, w.team, "A"+strings.TrimPrefix(w.team, "T"), "U0BOT", time.Now(),
		map[string]any{"type": "app_mention", "channel": "C1", "channel_type": "channel", "user": "U1", "text": "<@U0BOT> " + text, "ts": ts})
	return e
}

// heard are what people said to each agent, by the agent's id, in no order.
func (w *workspace) heard() map[string][]string {
	w.t.Helper()
	var sessions struct {
		Items []struct {
			ID    string
			Agent string `json:"agent_id"`
		}
	}
	w.call(http.MethodGet, "/sessions", nil, &sessions)
	out := map[string][]string{}
	for _, s := range sessions.Items {
		var m struct{ Items []struct{ Role, Text string } }
		w.call(http.MethodGet, "/sessions/"+s.ID+"/messages", nil, &m)
		for _, one := range m.Items {
			if one.Role == "user" {
				out[s.Agent] = append(out[s.Agent], one.Text)
			}
		}
		slices.Sort(out[s.Agent])
	}
	return out
}

func (w *workspace) bind(name string, selector map[string]any) (agent string) {
	w.t.Helper()
	var a struct{ ID string }
	w.call(http.MethodPost, "/agents", map[string]any{"name": name, "instructions": "You are " + name + ".", "model": simChat}, &a)
	w.call(http.MethodPost, "/bindings", map[string]any{"install_id": w.install, "selector": selector, "agent_id": a.ID}, nil)
	return a.ID
}

// codes are those of the newest deliveries of the install.
func (w *workspace) codes(n int) (out []string) {
	w.t.Helper()
	var d struct {
		Items []struct {
			Code string `json:"audit_code"`
		}
	}
	w.call(http.MethodGet, fmt.Sprintf("/deliveries?install=%s&limit=%d", w.install, n), nil, &d)
	for _, one := range d.Items {
		out = append(out, one.Code)
	}
	return out
}

// TestSlashCommandsSelectAgents: in one channel /ask is one agent's, a mention with a name
// another's and any other command the default's, all of one person. Each answers its own, a command in the channel
// and a mention in its thread, and a repeated trigger is answered once.
func TestSlashCommandsSelectAgents(t *testing.T) {
	w := newWorkspace(t)
	ask, support := w.bind("Ask", map[string]any{"mention": "/ask"}), w.bind("Support", map[string]any{"mention": "support"})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if a, err := w.command(1, "C1", "U1", "/ask", "how much & <why>?").try(context.Background()); err != nil || a.Status != http.StatusOK || len(a.Body) != 0 {
				t.Errorf("%v %d %s", err, a.Status, a.Body)
			}
		})
	}
	group.Wait()
	if a := w.mentioned("EvCm1", "support: my printer", "1760000301.000100").send(t); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	w.command(2, "C1", "U1", "/other", "").use()
	w.command(3, "C1", "U1", "/ask", "and for two").use()
	eventually(t, "all are answered", func() bool { return len(w.posts()) >= 4 })
	w.command(1, "C1", "U1", "/ask", "how much & <why>?").use()
	w.command(4, "C1", "U1", "/ask", "the last").use()
	eventually(t, "the last is answered", func() bool { return len(w.posts()) >= 5 })
	w.settled()
	want := map[string]string{"You said: how much &amp; &lt;why&gt;?": "", "You said: support: my printer": "1760000301.000100", "You said: /other": "", "You said: and for two": "", "You said: the last": ""}
	for _, p := range w.posts() {
		if thread, said := want[p.Text]; !said || p.Channel != "C1" || p.ThreadTS != thread {
			t.Errorf("%+v", p)
		}
		delete(want, p.Text)
	}
	if len(want) != 0 || len(w.posts()) != 5 {
		t.Errorf("not answered: %v; %d posts", want, len(w.posts()))
	}
	heard := w.heard()
	if fmt.Sprint(heard[ask]) != "[and for two how much & <why>? the last]" || fmt.Sprint(heard[support]) != "[support: my printer]" || len(heard) != 3 {
		t.Errorf("%v; /ask is %s, support is %s", heard, ask, support)
	}
	w.consistent()
}

// TestSlashCommandsThatNobodyAnswers: a command without a binding, of another tenant,
// with another secret or a field twice, and the check of the certificate start nothing;
// where the bot may not post, the failed part says so.
func TestSlashCommandsThatNobodyAnswers(t *testing.T) {
	w := newWorkspace(t)
	var bindings struct{ Items []struct{ ID string } }
	w.call(http.MethodGet, "/bindings", nil, &bindings)
	w.call(http.MethodDelete, "/bindings/"+bindings.Items[0].ID, nil, nil)
	w.bind("Ask", map[string]any{"mention": "ask"})
	w.command(11, "C1", "U1", "/other", "is anybody there").use()
	foreign, forged, twice, check := w.command(12, "C1", "U1", "/ask", "x"), w.command(13, "C1", "U1", "/ask", "x"), w.command(14, "C1", "U1", "/ask", "x"), w.command(15, "C1", "U1", "/ask", "x")
	foreign.body = []byte(strings.Replace(string(foreign.body), "team_id="+w.team, "team_id=T99999999", 1))
	forged.secret += "x"
	twice.body = append(twice.body, "&text=y"...)
	check.body = []byte("ssl_check=1&token=x")
	for name, c := range map[string]struct {
		request slashed
		status  int
	}{"another workspace": {foreign, 403}, "another secret": {forged, 401}, "a field twice": {twice, 400}} {
		if a, err := c.request.try(t.Context()); err != nil || a.Status != c.status {
			t.Errorf("%s: %v %d %s", name, err, a.Status, a.Body)
		}
	}
	check.use()
	codes := w.codes(5)
	if slices.Sort(codes); fmt.Sprint(codes) != "[hook.bad_payload hook.handshake hook.sig_mismatch hook.tenant_mismatch hook.unbound]" {
		t.Errorf("%v", codes)
	}
	vendor.FailPosts("not_in_channel")
	defer vendor.FailPosts("")
	w.command(16, "C2", "U1", "/ask", "where the bot is not").use()
	var d struct {
		Items []struct {
			Turn string `json:"turn_id"`
		}
	}
	w.call(http.MethodGet, "/deliveries?install="+w.install+"&limit=1", nil, &d)
	var turn struct {
		State  string
		Outbox []struct{ State, Code string }
	}
	eventually(t, "the turn ends", func() bool {
		// There is none before the message is taken from the queue.
		err := w.admin.Call(t.Context(), http.MethodGet, "/api/orgs/"+w.ID+"/turns/"+d.Items[0].Turn, nil, &turn)
		return err == nil && len(turn.Outbox) == 1 && turn.Outbox[0].State == "failed"
	})
	if turn.Outbox[0].Code != "not_in_channel" || len(w.posts()) != 0 {
		t.Errorf("%+v %+v", turn, w.posts())
	}
	w.consistent()
}
