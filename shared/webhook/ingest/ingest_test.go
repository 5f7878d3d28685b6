package ingest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/install/installtest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/session/sessiontest"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// queue drops ids it has seen, as the real one does within five minutes.
type queue struct {
	mu   sync.Mutex
	seen map[string]bool
	jobs []session.Job
	fail error
}

func (q *queue) Send(_ context.Context, group, id string, body []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.fail != nil {
		return q.fail
	}
	if q.seen[id] {
		return nil
	}
	q.seen[id] = true
	j, err := session.DecodeJob(body)
	if err != nil || group != j.Key().Hash() {
		return errors.New("not a job in its group")
	}
	q.jobs = append(q.jobs, j)
	return nil
}

type secrets struct {
	values   map[string][]secret.Text
	retired  []secret.Text
	complete bool
	err      error
	asked    atomic.Int32
}

// Verifier takes the values along, as a sealed credential does.
func (s *secrets) Verifier(_ context.Context, i install.Install) (vault.Credential, error) {
	s.asked.Add(1)
	cred := vault.Credential{Head: vault.Head{Ref: i.Ref(taxonomy.ChannelVerify)}}
	for n, v := range s.values[i.ID] {
		_ = v.Use(func(b []byte) error {
			cred.Versions = append(cred.Versions, vault.Version{Number: 3 - n, Fields: map[string]vault.Sealed{"signing_secret": {Ciphertext: slices.Clone(b)}}})
			return nil
		})
	}
	return cred, s.err
}

func (s *secrets) Verifying(_ context.Context, cred vault.Credential, name string, _ time.Time) (vault.Accepted, error) {
	if name != "signing_secret" {
		return vault.Accepted{}, errors.New("wrong secret name")
	}
	got := vault.Accepted{Complete: s.complete}
	for _, v := range cred.Versions {
		got.Values, got.Versions = append(got.Values, secret.New(v.Fields[name].Ciphertext)), append(got.Versions, v.Number)
	}
	return got, s.err
}

func (s *secrets) Retired(_ context.Context, _ vault.Credential, name string) ([]secret.Text, error) {
	if name != "signing_secret" {
		return nil, errors.New("wrong secret name")
	}
	return s.retired, s.err
}

type recorder struct {
	mu     sync.Mutex
	events []ingest.Event
}

func (r *recorder) Record(_ context.Context, e ingest.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) last() webhook.Reason {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == 0 {
		return ""
	}
	return r.events[len(r.events)-1].Code
}

type env struct {
	*testing.T
	installs *installtest.Memory
	store    *sessiontest.Memory
	queue    *queue
	secrets  *secrets
	audit    *recorder
	in       *ingest.Ingest
}

func newEnv(t *testing.T) *env {
	e := &env{T: t, installs: installtest.NewMemory(), store: sessiontest.NewMemory(), queue: &queue{seen: map[string]bool{}},
		secrets: &secrets{values: map[string][]secret.Text{}, complete: true}, audit: &recorder{}}
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New(catalog.Entries()), Dedupe: e.store, People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	e.install("i1", "o1", "T1", install.Active, "key one")
	e.bind("i1", install.Selector{})
	return e
}

func (e *env) install(id, org, team string, state install.State, key string) {
	i := install.Install{ID: id, Org: org, Provider: taxonomy.Slack, State: state, Version: 1,
		Config: webhook.Config{"app_id": {"A1"}, "team_id": {team}, "bot_user_id": {"UBOT"}}}
	if err := e.installs.CreateInstall(e.Context(), i, audit.Row{}); err != nil {
		e.Fatal(err)
	}
	e.secrets.values[id] = []secret.Text{secret.FromString(key)}
}

func (e *env) bind(id string, s install.Selector) {
	if err := e.installs.CreateBinding(e.Context(), install.Binding{ID: install.BindingID(id, s), Install: id, Selector: s, AgentID: "ag1"}, audit.Row{}); err != nil {
		e.Fatal(err)
	}
}

func body(event, id, team string) string {
	return `{"type":"event_callback","api_app_id":"A1","team_id":"` + team + `","event_id":"` + id + `","event":` + event + `}`
}

func message(kind, ts string) string {
	return `{"type":"` + kind + `","channel":"C1","channel_type":"channel","user":"U1","ts":"` + ts + `","text":"<@UBOT> hi größer"}`
}

var hello = body(message("message", "1772600767.000100"), "Ev1", "T1")

func (e *env) request(b, key string, at time.Time) ingest.Request {
	in := webhook.Input{Method: "POST", Path: "/webhooks/slack/i1", Body: []byte(b)}
	if err := slack.Scheme().Sign(&in, secret.FromString(key), at); err != nil {
		e.Fatal(err)
	}
	return ingest.Request{Provider: "slack", Install: "i1", Input: in, Now: now, RequestID: "r1"}
}

func (e *env) want(r ingest.Request, status int, code webhook.Reason) ingest.Response {
	e.Helper()
	resp := e.in.Handle(e.Context(), r)
	if got := e.audit.last(); resp.Status != status || got != code {
		e.Errorf("status %d code %q, want %d %q (%s)", resp.Status, got, status, code, resp.Body)
	}
	return resp
}

func TestAccepted(t *testing.T) {
	e := newEnv(t)
	resp := e.want(e.request(hello, "key one", now), 200, webhook.Accepted)
	if resp.Body != "" || len(e.queue.jobs) != 1 {
		t.Fatalf("%+v %+v", resp, e.queue.jobs)
	}
	j := e.queue.jobs[0]
	if j.Org != "o1" || j.Install != "i1" || j.AgentID != "ag1" || j.EventID != "Ev1" || j.Tenant != "T:T1" || j.Envelope.Text != "hi größer" ||
		!j.ReceivedAt.Equal(now) || j.Identity["team_id"] != "T1" || j.Kind != session.JobMessage {
		t.Fatalf("%+v", j)
	}
	page, _, err := e.store.Deliveries(t.Context(), "i1", "", 10)
	if err != nil || len(page) != 1 || page[0].EventID != "Ev1" || page[0].Outcome != session.Enqueued || page[0].Code != "hook.accepted" || page[0].TurnID != session.TurnID("i1", "Ev1") {
		t.Fatalf("%+v %v", page, err)
	}
	if ev := e.audit.events[0]; ev.Org != "o1" || ev.Install != "i1" || len(ev.BodySHA256) != 64 || ev.RequestID != "r1" {
		t.Fatalf("%+v", ev)
	}
}

// TestFailurePaths walks the rows of the security matrix that apply to a signed
// channel; nothing of it may reach the queue.
func TestFailurePaths(t *testing.T) {
	set := func(e *env, s install.State) {
		i, _, _ := e.installs.Install(e.Context(), "i1")
		next := i
		next.State, next.Version = s, i.Version+1
		if err := e.installs.UpdateInstall(e.Context(), i, next, audit.Row{}); err != nil {
			e.Fatal(err)
		}
	}
	sign := func(b, key string, at time.Time) func(*env) ingest.Request {
		return func(e *env) ingest.Request { return e.request(b, key, at) }
	}
	change := func(f func(*ingest.Request)) func(*env) ingest.Request {
		return func(e *env) ingest.Request { r := e.request(hello, "key one", now); f(&r); return r }
	}
	for name, c := range map[string]struct {
		setup  func(*env)
		req    func(*env) ingest.Request
		status int
		code   webhook.Reason
	}{
		"unknown install":         {nil, change(func(r *ingest.Request) { r.Install = "nope" }), 401, webhook.InstallUnknown},
		"malformed install id":    {nil, change(func(r *ingest.Request) { r.Install = "i1#x" }), 401, webhook.InstallUnknown},
		"unknown provider":        {nil, change(func(r *ingest.Request) { r.Provider = "nope" }), 401, webhook.InstallUnknown},
		"draft":                   {func(e *env) { set(e, install.Draft) }, sign(hello, "key one", now), 401, webhook.InstallInactive},
		"suspended":               {func(e *env) { set(e, install.Suspended) }, sign(hello, "key one", now), 401, webhook.InstallInactive},
		"revoked":                 {func(e *env) { set(e, install.Revoked) }, sign(hello, "key one", now), 401, webhook.InstallInactive},
		"no secret":               {func(e *env) { e.secrets.values = nil }, sign(hello, "key one", now), 401, webhook.NoSecret},
		"secret not found":        {func(e *env) { e.secrets.err = fault.New(fault.NotFound, "", "") }, sign(hello, "key one", now), 401, webhook.NoSecret},
		"empty secret":            {func(e *env) { e.secrets.values["i1"] = []secret.Text{{}} }, sign(hello, "key one", now), 401, webhook.NoSecret},
		"vault down":              {func(e *env) { e.secrets.err = fault.New(fault.VaultUnavailable, "", "") }, sign(hello, "key one", now), 503, webhook.SecretUnavailable},
		"one secret did not open": {func(e *env) { e.secrets.complete = false }, sign(hello, "other", now), 503, webhook.SecretUnavailable},
		"config store down":       {func(e *env) { e.installs.Fail = func(string) error { return errors.New("down") } }, sign(hello, "key one", now), 503, webhook.InstallLookup},
		"signature missing":       {nil, change(func(r *ingest.Request) { r.Input.Header = nil }), 401, webhook.SigMissing},
		"signature malformed":     {nil, change(func(r *ingest.Request) { r.Input.Header["x-slack-signature"] = []string{"v0=zz"} }), 401, webhook.SigFormat},
		"algorithm downgrade":     {nil, change(func(r *ingest.Request) { r.Input.Header["x-slack-signature"] = []string{"sha1=00"} }), 401, webhook.AlgRefused},
		"repeated header":         {nil, change(func(r *ingest.Request) { r.Input.Header.Add("X-Slack-Signature", "v0=00") }), 401, webhook.HeaderDuplicate},
		"joined header":           {nil, change(func(r *ingest.Request) { h := r.Input.Header["x-slack-request-timestamp"]; h[0] += ",1" }), 401, webhook.HeaderDuplicate},
		"tampered":                {nil, change(func(r *ingest.Request) { r.Input.Body = []byte(strings.Replace(hello, "hi", "ho", 1)) }), 401, webhook.SigMismatch},
		"other install's secret":  {func(e *env) { e.install("i2", "o2", "T2", install.Active, "key two") }, sign(hello, "key two", now), 401, webhook.SigMismatch},
		"stale":                   {nil, sign(hello, "key one", now.Add(-301*time.Second)), 401, webhook.Stale},
		"future":                  {nil, sign(hello, "key one", now.Add(301*time.Second)), 401, webhook.Future},
		"wrong tenant":            {nil, sign(body(message("message", "1.2"), "Ev1", "T2"), "key one", now), 403, webhook.TenantMismatch},
		"wrong tenant uninstalls": {nil, sign(body(`{"type":"app_uninstalled"}`, "Ev1", "T2"), "key one", now), 403, webhook.TenantMismatch},
		"wrong method":            {nil, change(func(r *ingest.Request) { r.Input.Method = "GET" }), 405, webhook.Method},
		"too large":               {nil, change(func(r *ingest.Request) { r.TooLarge = true }), 413, webhook.TooLarge},
		"too large to hold":       {nil, change(func(r *ingest.Request) { r.Input.Body = make([]byte, 1<<20+1) }), 413, webhook.TooLarge},
		"undecodable":             {nil, change(func(r *ingest.Request) { r.Undecodable = true }), 400, webhook.BadPayload},
		"signed garbage":          {nil, sign("{", "key one", now), 400, webhook.BadPayload},
		"signed duplicate key":    {nil, sign(`{"type":"x","type":"y"}`, "key one", now), 400, webhook.BadPayload},
		"signed, too deep":        {nil, sign(`{"a":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`}`, "key one", now), 400, webhook.BadPayload},
		"unsigned handshake": {nil, change(func(r *ingest.Request) {
			r.Input.Header, r.Input.Body = nil, []byte(`{"type":"url_verification","challenge":"c"}`)
		}), 401, webhook.HandshakeRefused},
		"handshake while draft":     {func(e *env) { set(e, install.Draft) }, sign(`{"type":"url_verification","challenge":"c"}`, "key one", now), 401, webhook.InstallInactive},
		"verifying dispatches none": {func(e *env) { set(e, install.Verifying) }, sign(hello, "key one", now), 200, webhook.NotDispatched},
		"own message":               {nil, sign(body(`{"type":"message","channel":"C1","user":"UBOT","ts":"1.2","text":"x"}`, "Ev1", "T1"), "key one", now), 200, "turn.self_ignored"},
		"other bot":                 {nil, sign(body(`{"type":"message","channel":"C1","user":"U1","bot_id":"B1","ts":"1.2","text":"x"}`, "Ev1", "T1"), "key one", now), 200, "turn.bot_ignored"},
		"edit":                      {nil, sign(body(`{"type":"message","subtype":"message_changed","channel":"C1","ts":"1.2"}`, "Ev1", "T1"), "key one", now), 200, "hook.edit_ignored"},
		"dedupe store down":         {func(e *env) { failOn(e, "Receive") }, sign(hello, "key one", now), 503, webhook.DedupeUnavailable},
		"queue down":                {func(e *env) { e.queue.fail = errors.New("down") }, sign(hello, "key one", now), 503, webhook.EnqueueFailed},
	} {
		play := func(t *testing.T, warm bool) {
			e := newEnv(t)
			if warm {
				e.warm()
			}
			if c.setup != nil {
				c.setup(e)
			}
			resp := e.want(c.req(e), c.status, c.code)
			if len(e.queue.jobs) != 0 {
				t.Errorf("dispatched %+v", e.queue.jobs)
			}
			if c.status == 401 && resp.Body != `{"error":{"type":"webhook_error","code":"unauthorized","message":"unauthorized","retryable":false}}` {
				t.Errorf("the body of a 401 is constant: %s", resp.Body)
			}
			id := "i1"
			if c.code == webhook.InstallUnknown || c.code == webhook.InstallLookup || c.status == 405 || c.status == 413 || name == "undecodable" {
				id = "_unknown"
			}
			page, _, _ := e.store.Deliveries(t.Context(), id, "", 5)
			page = slices.DeleteFunc(page, func(d session.Delivery) bool { return d.EventID == "EvWarm" })
			if len(page) != 1 || page[0].Code != string(c.code) {
				t.Errorf("delivery log: %+v", page)
			}
		}
		t.Run(name, func(t *testing.T) { play(t, false) })
		// A credential that vanishes without a trace on the install is TestRememberedSecret's.
		if name != "no secret" && name != "empty secret" {
			t.Run(name+", remembered", func(t *testing.T) { play(t, true) })
		}
	}
}

func failOn(e *env, method string) {
	e.store.Fail = func(m string) error {
		if m == method {
			return errors.New("down")
		}
		return nil
	}
}

// counting counts MACs.
type counting struct {
	webhook.Scheme
	n *int
}

func (c counting) Check(in webhook.Input, secrets []secret.Text, now time.Time) (webhook.Result, *webhook.Refusal) {
	*c.n += len(secrets)
	return c.Scheme.Check(in, secrets, now)
}

// TestUnknownInstallDoesTheSameWork: an install that may not be shown to exist
// costs a MAC like any other, and never opens a secret.
func TestUnknownInstallDoesTheSameWork(t *testing.T) {
	e := newEnv(t)
	n := 0
	entry := slack.Entry()
	entry.Scheme = counting{entry.Scheme, &n}
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store, People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	e.install("i7", "o7", "T7", install.Suspended, "key seven")
	for id, code := range map[string]webhook.Reason{"nope": webhook.InstallUnknown, "i7": webhook.InstallInactive} {
		n = 0
		r := e.request(hello, "key one", now)
		r.Install = id
		e.want(r, 401, code)
		if n != 1 || e.secrets.asked.Load() != 0 {
			t.Fatalf("%s: %d MACs, %d secrets opened", id, n, e.secrets.asked.Load())
		}
	}
	// Even the published stand-in secret opens nothing.
	r := e.request(hello, "an install that does not exist has this secret", now)
	r.Install = "i7"
	e.want(r, 401, webhook.InstallInactive)
}

func TestHandshake(t *testing.T) {
	for _, state := range []install.State{install.Verifying, install.Active} {
		e := newEnv(t)
		e.install("i9", "o9", "T9", state, "key nine")
		r := e.request(`{"type":"url_verification","challenge":"abc123"}`, "key nine", now)
		r.Install = "i9"
		if resp := e.want(r, 200, webhook.Handshake); resp.Body != "abc123" || !strings.HasPrefix(resp.ContentType, "text/plain") {
			t.Errorf("%s: %+v", state, resp)
		}
	}
}

func TestRetiringSecret(t *testing.T) {
	e := newEnv(t)
	e.secrets.values["i1"] = []secret.Text{secret.FromString("new"), secret.FromString("key one")}
	e.want(e.request(hello, "key one", now), 200, webhook.Accepted)
	if !e.audit.events[0].RetiringSecret {
		t.Fatal("the audit record must say that a retiring secret matched")
	}
}

func TestUnbound(t *testing.T) {
	e := newEnv(t)
	e.install("i3", "o3", "T3", install.Active, "key")
	e.bind("i3", install.Selector{Channel: "C2"})
	r := e.request(body(message("message", "1.2"), "Ev1", "T3"), "key", now)
	r.Install = "i3"
	e.want(r, 200, webhook.Unbound)
	if len(e.queue.jobs) != 0 {
		t.Fatal("unbound traffic was dispatched")
	}
}

func TestRevokedByVendorIsQueued(t *testing.T) {
	e := newEnv(t)
	e.want(e.request(body(`{"type":"app_uninstalled"}`, "Ev1", "T1"), "key one", now), 200, webhook.Accepted)
	if len(e.queue.jobs) != 1 || e.queue.jobs[0].Kind != session.JobRevoked {
		t.Fatalf("%+v", e.queue.jobs)
	}
}

func TestReplay(t *testing.T) {
	e := newEnv(t)
	e.want(e.request(hello, "key one", now), 200, webhook.Accepted)
	e.want(e.request(hello, "key one", now), 200, webhook.Duplicate)
	// The same post as another event, in another time.
	mention := body(message("app_mention", "1772600767.000100"), "Ev2", "T1")
	e.want(e.request(mention, "key one", now), 200, webhook.DuplicateContent)
	if len(e.queue.jobs) != 1 {
		t.Fatalf("%d jobs", len(e.queue.jobs))
	}
	// Another install may have the same event id.
	e.install("i2", "o2", "T2", install.Active, "key two")
	e.bind("i2", install.Selector{})
	r := e.request(body(message("message", "1772600767.000100"), "Ev1", "T2"), "key two", now)
	r.Install = "i2"
	e.want(r, 200, webhook.Accepted)
	if len(e.queue.jobs) != 2 || e.queue.jobs[1].Org != "o2" {
		t.Fatalf("%+v", e.queue.jobs)
	}
}

func TestParallelDeliveries(t *testing.T) {
	for _, warm := range []bool{false, true} {
		parallelDeliveries(t, warm)
	}
}

func parallelDeliveries(t *testing.T, warm bool) {
	e := newEnv(t)
	if warm {
		e.warm()
	}
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			b := hello
			if i == 4 { // one of them as the vendor's other event for the post
				b = body(message("app_mention", "1772600767.000100"), "Ev2", "T1")
			}
			if resp := e.in.Handle(t.Context(), e.request(b, "key one", now)); resp.Status != 200 {
				t.Errorf("status %d", resp.Status)
			}
		})
	}
	wg.Wait()
	if len(e.queue.jobs) != 1 {
		t.Fatalf("%d jobs for one event", len(e.queue.jobs))
	}
}

// TestFailureSwallowsNoRetry: whichever step fails, the vendor's retry gets the
// event through, once.
func TestFailureSwallowsNoRetry(t *testing.T) {
	for name, f := range map[string]func(*env){
		"receive": func(e *env) { failOn(e, "Receive") },
		"queue":   func(e *env) { e.queue.fail = errors.New("down") },
		"queued":  func(e *env) { failOn(e, "Queued") },
	} {
		for _, warm := range []bool{false, true} {
			e := newEnv(t)
			if warm {
				e.warm()
			}
			f(e)
			if resp := e.in.Handle(t.Context(), e.request(hello, "key one", now)); resp.Status != 503 {
				t.Fatalf("%s: status %d", name, resp.Status)
			}
			e.store.Fail, e.queue.fail = nil, nil
			// The retry may be the other event of the same post.
			e.want(e.request(body(message("app_mention", "1772600767.000100"), "Ev2", "T1"), "key one", now), 200, webhook.Accepted)
			// It runs under the event that was received first.
			owner, code := "Ev1", webhook.Duplicate
			if name == "receive" {
				owner, code = "Ev2", webhook.DuplicateContent
			}
			e.want(e.request(hello, "key one", now), 200, code)
			if len(e.queue.jobs) != 1 || e.queue.jobs[0].EventID != owner {
				t.Fatalf("%s: %+v", name, e.queue.jobs)
			}
		}
	}
}

func TestOwnRetryAfterAFailure(t *testing.T) {
	for name, f := range map[string]func(*env){
		"queue":  func(e *env) { e.queue.fail = errors.New("down") },
		"queued": func(e *env) { failOn(e, "Queued") },
	} {
		for _, warm := range []bool{false, true} {
			e := newEnv(t)
			if warm {
				e.warm()
			}
			f(e)
			if resp := e.in.Handle(t.Context(), e.request(hello, "key one", now)); resp.Status != 503 {
				t.Fatalf("%s: status %d", name, resp.Status)
			}
			e.store.Fail, e.queue.fail = nil, nil
			e.want(e.request(hello, "key one", now), 200, webhook.Accepted)
			e.want(e.request(hello, "key one", now), 200, webhook.Duplicate)
			if len(e.queue.jobs) != 1 {
				t.Fatalf("%s: %+v", name, e.queue.jobs)
			}
		}
	}
}

func TestLogFailureChangesNoDecision(t *testing.T) {
	e := newEnv(t)
	failOn(e, "Log")
	e.want(e.request(hello, "key one", now), 200, webhook.Accepted)
}

// TestBotPolicy: whether another bot's message starts a turn is the install's choice;
// its own never does. (matrix rows 33 and 34)
func TestBotPolicy(t *testing.T) {
	say := func(more string) string {
		return body(`{"type":"message","channel":"C1","ts":"1.2","bot_id":"B1"`+more+`}`, "Ev1", "T1")
	}
	plain, mention := say(`,"user":"U1","text":"x"`), say(`,"user":"U1","text":"<@UBOT> x"`)
	bare, own, empty := say(`,"subtype":"bot_message","text":"x"`), say(`,"user":"UBOT","text":"<@UBOT> x"`), say(`,"user":"U1","text":""`)
	for name, c := range map[string]struct {
		policy install.BotMessages
		body   string
		code   webhook.Reason
	}{
		"default": {"", plain, channel.BotIgnored}, "none": {install.BotsNone, mention, channel.BotIgnored},
		"mentions, not addressed": {install.BotsMentions, plain, channel.BotIgnored}, "mentions, addressed": {install.BotsMentions, mention, webhook.Accepted},
		"all": {install.BotsAll, plain, webhook.Accepted}, "all, bare webhook": {install.BotsAll, bare, webhook.Accepted},
		"own, all": {install.BotsAll, own, channel.SelfIgnored}, "without text": {install.BotsAll, empty, channel.BotIgnored},
		"unknown value": {"yes", mention, channel.BotIgnored},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			i, _, _ := e.installs.Install(t.Context(), "i1")
			next := i
			next.Policy.BotMessages, next.Version = c.policy, i.Version+1
			if err := e.installs.UpdateInstall(t.Context(), i, next, audit.Row{}); err != nil {
				t.Fatal(err)
			}
			e.want(e.request(c.body, "key one", now), 200, c.code)
			if (len(e.queue.jobs) == 1) != (c.code == webhook.Accepted) {
				t.Errorf("%+v", e.queue.jobs)
			}
			for _, j := range e.queue.jobs {
				if !j.Envelope.IsBot || j.Envelope.Actor == "" {
					t.Errorf("%+v", j.Envelope)
				}
			}
		})
	}
}
