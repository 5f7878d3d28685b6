package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

const (
	signingSecret = "CNRYc5530e88SIGNINGSECRET0000001"
	botToken      = "xoxb-CNRYd66104f3-BOTTOKEN"
)

// workspace is an organisation with an active Slack install and an agent.
type workspace struct {
	*tenant
	install, team, secret, token string
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	n := serial.Add(1)
	w := &workspace{tenant: newTenant(t, "enterprise", 1_000_000), team: fmt.Sprintf("T%08d", n),
		secret: fmt.Sprintf("%s%04d", signingSecret, n), token: fmt.Sprintf("%s-%04d", botToken, n)}
	var agent, install struct{ ID, State string }
	w.call(http.MethodPost, "/agents", map[string]any{"name": "Helper", "instructions": "Be brief.", "model": simChat}, &agent)
	w.call(http.MethodPost, "/installs", map[string]any{"provider": "slack", "mode": "byoa",
		"secrets": map[string]any{"signing_secret": w.secret, "bot_token": w.token},
		"config":  map[string]any{"app_id": fmt.Sprintf("A%08d", n), "team_id": w.team, "bot_user_id": "U0BOT"}}, &install)
	if install.State != "verifying" {
		t.Fatalf("install: %+v", install)
	}
	w.install = install.ID
	w.call(http.MethodPost, "/bindings", map[string]any{"install_id": install.ID, "selector": map[string]any{}, "agent_id": agent.ID}, nil)
	must(t, stack.Admit(t.Context(), operator(), "slack", w.ID))
	w.call(http.MethodPost, "/installs/"+install.ID+"/activate", map[string]any{}, nil)
	return w
}

// event is a signed request of the vendor.
type event struct {
	body      []byte
	secret    string
	at        time.Time
	signature string // replaces the computed one
	path      string
}

func (w *workspace) message(id, text, ts string) event {
	body := mockvendor.SlackCallback(id, w.team, "A"+strings.TrimPrefix(w.team, "T"), "", time.Now(),
		map[string]any{"type": "message", "channel": "C1", "channel_type": "im", "user": "U1", "text": text, "ts": ts})
	return event{body: body, secret: w.secret, at: time.Now(), path: "/webhooks/slack/" + w.install}
}

func (e event) send(t testing.TB) answer {
	t.Helper()
	a, err := e.trySend(t.Context())
	must(t, err)
	return a
}

func (e event) trySend(ctx context.Context) (answer, error) {
	ts, signature := strconv.FormatInt(e.at.Unix(), 10), e.signature
	if signature == "" {
		signature = sign(&e)
	}
	return tryPost(ctx, world.BaseURL+e.path, "", e.body, "X-Slack-Request-Timestamp", ts, "X-Slack-Signature", signature)
}

// posts returns the replies that carried the workspace's token.
func (w *workspace) posts() []mockvendor.Post {
	var out []mockvendor.Post
	for _, p := range vendor.Posts() {
		if p.KeyHash == mockvendor.Hash(w.token) {
			out = append(out, p)
		}
	}
	return out
}

func TestSignedMessageIsAnsweredOnce(t *testing.T) {
	w := newWorkspace(t)
	e := w.message("Ev1", "hello agent", "1760000001.000100")
	var group sync.WaitGroup
	for range 5 {
		group.Add(1)
		go func() {
			defer group.Done()
			a, err := e.trySend(context.Background())
			if err != nil || a.Status != http.StatusOK {
				t.Errorf("%v %d %s", err, a.Status, a.Body)
			}
		}()
	}
	group.Wait()
	eventually(t, "the reply is posted", func() bool { return len(w.posts()) > 0 })
	w.settled()
	// A second event behind the first in the same session: when it is answered,
	// a second turn of the first would have been, too.
	w.message("Ev2", "and now", "1760000002.000100").send(t)
	eventually(t, "the second reply is posted", func() bool { return len(w.posts()) >= 2 })
	posts := w.posts()
	if len(posts) != 2 || posts[0].Text != "You said: hello agent" || posts[1].Text != "You said: and now" || posts[0].Channel != "C1" {
		t.Errorf("posts: %+v", posts)
	}
	w.consistent()
	usage := 0
	for _, en := range w.entries() {
		if en.Kind == "usage" {
			usage++
		}
	}
	if usage != 2 {
		t.Errorf("%d usage entries for 2 turns", usage)
	}
	var sessions struct{ Items []struct{ ID string } }
	w.call(http.MethodGet, "/sessions", nil, &sessions)
	if len(sessions.Items) != 1 {
		t.Fatalf("sessions: %+v", sessions)
	}
	var messages struct {
		Items []struct {
			Role, Text string
			TurnID     string `json:"turn_id"`
		}
	}
	w.call(http.MethodGet, "/sessions/"+sessions.Items[0].ID+"/messages", nil, &messages)
	if len(messages.Items) != 4 || messages.Items[0].Text != "hello agent" || messages.Items[1].Role != "assistant" {
		t.Fatalf("messages: %+v", messages)
	}
	var turn struct {
		Outbox []struct {
			State             string
			ProviderMessageID string `json:"provider_message_id"`
		}
		RequestIDs []string `json:"request_ids"`
	}
	w.call(http.MethodGet, "/turns/"+messages.Items[1].TurnID, nil, &turn)
	if len(turn.Outbox) != 1 || turn.Outbox[0].State != "sent" || turn.Outbox[0].ProviderMessageID == "" || len(turn.RequestIDs) != 1 {
		t.Errorf("turn: %+v", turn)
	}
}

func TestHandshake(t *testing.T) {
	w := newWorkspace(t)
	e := event{body: []byte(`{"type":"url_verification","challenge":"abc123"}`), secret: w.secret, at: time.Now(), path: "/webhooks/slack/" + w.install}
	if a := e.send(t); a.Status != http.StatusOK || !strings.Contains(string(a.Body), "abc123") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	e.secret = "another secret entirely, 32 bytes"
	if a := e.send(t); a.Status != http.StatusUnauthorized || strings.Contains(string(a.Body), "abc123") {
		t.Errorf("unsigned handshake: %d %s", a.Status, a.Body)
	}
}

func TestRefusedWebhooksEnqueueNothing(t *testing.T) {
	w, other := newWorkspace(t), newWorkspace(t)
	good := func() event { return w.message("EvBad", "refuse me", "1760000009.000100") }
	unknown := good()
	unknown.path = "/webhooks/slack/does-not-exist"
	reference := unknown.send(t)
	if reference.Status != http.StatusUnauthorized {
		t.Fatalf("unknown install: %d %s", reference.Status, reference.Body)
	}
	for name, change := range map[string]func(*event){
		"tampered body": func(e *event) {
			e.signature = sign(e)
			e.body = []byte(strings.Replace(string(e.body), "refuse", "accept", 1))
		},
		"stale":               func(e *event) { e.at = e.at.Add(-10 * time.Minute) },
		"future":              func(e *event) { e.at = e.at.Add(10 * time.Minute) },
		"empty secret":        func(e *event) { e.secret = "" },
		"other install":       func(e *event) { e.secret = other.secret },
		"other install's url": func(e *event) { e.path = "/webhooks/slack/" + other.install },
		"no signature":        func(e *event) { e.signature = " " },
		"wrong provider path": func(e *event) { e.path = "/webhooks/telegram/" + w.install },
	} {
		e := good()
		change(&e)
		a := e.send(t)
		if a.Status != reference.Status || string(a.Body) != string(reference.Body) {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	tenantMismatch := good()
	tenantMismatch.body = []byte(strings.ReplaceAll(string(tenantMismatch.body), w.team, other.team))
	if a := tenantMismatch.send(t); a.Status != http.StatusForbidden {
		t.Errorf("another tenant's body under our signature: %d %s", a.Status, a.Body)
	}
	w.operatorCall(http.MethodPost, "/installs/"+w.install+"/suspend", map[string]any{}, nil)
	if a := good().send(t); a.Status != reference.Status || string(a.Body) != string(reference.Body) {
		t.Errorf("suspended: %d %s", a.Status, a.Body)
	}
	// A good event of the other install passes the same queue; when it has been
	// answered, whatever was enqueued before it has been handled too.
	other.message("EvGood", "fine", "1760000010.000100").send(t)
	eventually(t, "the good event is answered", func() bool { return len(other.posts()) == 1 })
	if got := w.posts(); len(got) != 0 {
		t.Errorf("refused events were answered: %+v", got)
	}
	var sessions struct{ Items []struct{ ID string } }
	w.call(http.MethodGet, "/sessions", nil, &sessions)
	if len(sessions.Items) != 0 {
		t.Errorf("refused events opened sessions: %+v", sessions)
	}
}

func sign(e *event) string {
	r := &http.Request{Header: http.Header{}}
	mockvendor.SignRequest(r, "slack", mockvendor.Proof{Secret: e.secret, At: e.at}, e.body)
	return r.Header.Get("X-Slack-Signature")
}

func TestRotatedSigningSecretOverlaps(t *testing.T) {
	w := newWorkspace(t)
	old := w.secret
	w.call(http.MethodPost, "/installs/"+w.install+"/rotate", map[string]any{"name": "signing_secret", "value": "CNRYe7700a11ROTATEDSIGNING000001"}, nil)
	for name, secret := range map[string]string{"retiring": old, "live": "CNRYe7700a11ROTATEDSIGNING000001"} {
		e := w.message("EvRot"+name, "rotation "+name, "1760000020.000100")
		e.secret = secret
		if a := e.send(t); a.Status != http.StatusOK {
			t.Errorf("%s secret: %d %s", name, a.Status, a.Body)
		}
	}
	w.call(http.MethodPost, "/installs/"+w.install+"/rotate/finish", map[string]any{"name": "signing_secret"}, nil)
	e := w.message("EvRotAfter", "after", "1760000021.000100")
	e.secret = old
	if a := e.send(t); a.Status != http.StatusUnauthorized {
		t.Errorf("the old secret after the rotation: %d %s", a.Status, a.Body)
	}
}

func TestTurnOverOwnKey(t *testing.T) {
	w := newWorkspace(t)
	w.connect(byokKey+"T", nil)
	var agent struct{ ID string }
	w.call(http.MethodPost, "/agents", map[string]any{"name": "Own", "instructions": "x", "model": "openai_compatible/own-model"}, &agent)
	w.call(http.MethodPost, "/bindings", map[string]any{"install_id": w.install, "selector": map[string]any{"channel": "C1"}, "agent_id": agent.ID}, nil)
	w.message("EvOwn", "over my own key", "1760000030.000100").send(t)
	eventually(t, "the reply is posted", func() bool { return len(w.posts()) == 1 })
	used := false
	for _, c := range vendor.Calls() {
		used = used || c.KeyHash == mockvendor.Hash(byokKey+"T") && c.Model == "own-model"
	}
	if !used || w.settled().Posted != 1_000_000 {
		t.Errorf("own key used: %v, credits %+v", used, w.credits())
	}
}

// TestTurnSurvivesAVendorFailure: the message comes back and is answered.
func TestTurnSurvivesAVendorFailure(t *testing.T) {
	w := newWorkspace(t)
	vendor.Fail(&mockvendor.Failure{Status: 503, Body: `{"error":{"message":"overloaded"}}`, Count: 1})
	w.message("EvRetry", "answer me later", "1760000040.000100").send(t)
	eventually(t, "the reply is posted", func() bool { return len(w.posts()) == 1 })
	w.consistent()
}

// TestOutageIsTold: a vendor that stays away for all receptions of a message leaves
// nobody waiting: one notice, nothing charged, and the conversation goes on.
func TestOutageIsTold(t *testing.T) {
	w := newWorkspace(t)
	vendor.Fail(&mockvendor.Failure{Status: 503, Body: `{"error":{"message":"overloaded"}}`})
	defer vendor.Fail(nil)
	w.message("EvOutage", "are you there", "1760000041.000100").send(t)
	eventually(t, "the notice is posted", func() bool { return len(w.posts()) == 1 })
	if text := w.posts()[0].Text; !strings.HasPrefix(text, "I couldn't answer just now.") || w.settled().Posted != 1_000_000 {
		t.Errorf("%q, %+v", text, w.credits())
	}
	vendor.Fail(nil)
	w.message("EvBack", "and now", "1760000042.000100").send(t)
	eventually(t, "the reply is posted", func() bool { return len(w.posts()) == 2 })
	if text := w.posts()[1].Text; text != "You said: and now" {
		t.Errorf("%q", text)
	}
	w.consistent()
}

// TestKillTurn kills the process while the vendor is being asked. The message is
// delivered again when its visibility ends: one reply, charged once.
func TestKillTurn(t *testing.T) {
	w := newWorkspace(t)
	defer shift(t, 0)
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	w.message("EvKill", "survive this", "1760000050.000100").send(t)
	<-barrier.Reached()
	killBusy(t, "turn")
	barrier.Release()
	shift(t, 5*time.Minute)
	eventually(t, "the reply is posted", func() bool { return len(w.posts()) > 0 })
	sweep(t, time.Hour)
	w.consistent()
	usage := 0
	for _, e := range w.entries() {
		if e.Kind == "usage" {
			usage++
		}
	}
	if posts := w.posts(); usage != 1 || len(posts) != 1 || posts[0].Text != "You said: survive this" {
		t.Errorf("%d usage entries, posts %+v", usage, posts)
	}
}

// shift moves every clock of the stack.
func shift(t testing.TB, by time.Duration) {
	t.Helper()
	if a := local(t, "/clock", map[string]any{"offset_seconds": int(by.Seconds())}); a.Status != http.StatusOK {
		t.Fatalf("clock: %d %s", a.Status, a.Body)
	}
}

// TestCallsOfADelivery counts what the webhook function asks of AWS, beside one
// message to the queue.
func TestCallsOfADelivery(t *testing.T) {
	w := newWorkspace(t)
	deliver := func(n int) map[string]int {
		t.Helper()
		callsMu.Lock()
		awsCalls = nil
		callsMu.Unlock()
		if a := w.message(fmt.Sprintf("EvCalls%d", n), "hello", fmt.Sprintf("1760000123.%06d", n)).send(t); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		out := map[string]int{}
		// The last of all is told after its answer has gone.
		eventually(t, "the log's write", func() bool {
			callsMu.Lock()
			defer callsMu.Unlock()
			clear(out)
			for _, c := range awsCalls {
				if c.Function == "webhook" {
					out[c.Service+"."+c.Operation]++
				}
			}
			return out["dynamodb.PutItem"] > 1 || out["dynamodb.UpdateItem"] > 0
		})
		return out
	}
	first := map[string]int{"dynamodb.GetItem": 1, "dynamodb.PutItem": 2}
	repeat := map[string]int{"dynamodb.GetItem": 2, "dynamodb.PutItem": 1, "dynamodb.UpdateItem": 1}
	// A process that has not met the install reads it and its secret, and opens that.
	alone := func(calls map[string]int) map[string]int {
		calls = maps.Clone(calls)
		if calls["dynamodb.GetItem"]--; calls["dynamodb.GetItem"] == 0 {
			delete(calls, "dynamodb.GetItem")
		}
		calls["dynamodb.Query"], calls["kms.Decrypt"] = 2, 1
		return calls
	}
	if got, want := deliver(1), alone(first); !maps.Equal(got, want) {
		t.Errorf("the first of an install: %v, want %v", got, want)
	}
	for name, c := range map[string]struct {
		want map[string]int
		n    func(try int) int
	}{"another": {first, func(try int) int { return 2 + try }}, "a repeat": {repeat, func(int) int { return 1 }}} {
		met := false
		for try := 0; !met && try < 20; try++ {
			// The host may give the request to another process.
			if got := deliver(c.n(try)); maps.Equal(got, c.want) {
				met = true
			} else if !maps.Equal(got, alone(c.want)) {
				t.Fatalf("%s: %v, want %v", name, got, c.want)
			}
		}
		if !met {
			t.Errorf("%s: no process remembers the install", name)
		}
	}
}
