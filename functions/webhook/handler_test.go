package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/install/installtest"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/session/sessiontest"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

type clock struct{ at time.Time }

func (c *clock) Exact(at time.Time) { c.at = at }

type keys struct{}

func (keys) Verifier(context.Context, install.Install) (vault.Credential, error) {
	return vault.Credential{}, nil
}

func (keys) Verifying(context.Context, vault.Credential, string, time.Time) (vault.Accepted, error) {
	return vault.Accepted{Values: []secret.Text{secret.FromString("signing secret")}, Versions: []int{1}, Complete: true}, nil
}

func (keys) Retired(context.Context, vault.Credential, string) ([]secret.Text, error) {
	return nil, nil
}

type queue struct{ sent map[string][]byte }

func (q queue) Send(_ context.Context, _, id string, body []byte) error {
	q.sent[id] = body
	return nil
}

func newHandler(t *testing.T) (*Handler, queue, *bytes.Buffer) {
	t.Helper()
	installs, log, q := installtest.NewMemory(), &bytes.Buffer{}, queue{map[string][]byte{}}
	i := install.Install{ID: "i1", Org: "o1", Provider: taxonomy.Slack, State: install.Active, Version: 1, Config: webhook.Config{"app_id": {"A1"}, "team_id": {"T1"}}}
	if err := installs.CreateInstall(t.Context(), i, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	if err := installs.CreateBinding(t.Context(), install.Binding{ID: "b", Install: "i1", AgentID: "ag1"}, audit.Row{}); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(log, nil))
	in := ingest.New(ingest.Deps{Installs: installs, Secrets: keys{}, Catalog: catalog.New(catalog.Entries()), Dedupe: sessiontest.NewMemory(), People: session.People{Store: sessiontest.NewMemory()}, Queue: q, Recorder: auditLog{logger}})
	return &Handler{Ingest: in, Clock: &clock{}, Log: logger}, q, log
}

const event = `{"type":"event_callback","api_app_id":"A1","team_id":"T1","event_id":"Ev1","event":{"type":"message","channel":"C1","user":"U1","ts":"1772600767.1","text":"größer 😀"}}`

func request(t *testing.T, body string) events.APIGatewayV2HTTPRequest {
	t.Helper()
	in := webhook.Input{Body: []byte(body)}
	if err := slack.Scheme().Sign(&in, secret.FromString("signing secret"), now); err != nil {
		t.Fatal(err)
	}
	e := events.APIGatewayV2HTTPRequest{Version: "2.0", RawPath: "/webhooks/slack/i1", Body: body, Headers: map[string]string{}}
	for k, vs := range in.Header {
		e.Headers[k] = vs[0]
	}
	e.RequestContext.Stage, e.RequestContext.TimeEpoch, e.RequestContext.RequestID = "$default", now.UnixMilli(), "r1"
	e.RequestContext.HTTP.Method, e.RequestContext.HTTP.SourceIP = "POST", "203.0.113.77"
	return e
}

func TestHandle(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*events.APIGatewayV2HTTPRequest)
		status int
		code   string
	}{
		"text body": {nil, 200, "hook.accepted"},
		"base64 body": {func(e *events.APIGatewayV2HTTPRequest) {
			e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString([]byte(e.Body)), true
		}, 200, "hook.accepted"},
		"base64 without the flag": {func(e *events.APIGatewayV2HTTPRequest) { e.Body = base64.StdEncoding.EncodeToString([]byte(e.Body)) }, 401, "hook.sig_mismatch"},
		"flag without base64":     {func(e *events.APIGatewayV2HTTPRequest) { e.IsBase64Encoded = true }, 400, "hook.bad_payload"},
		"no body":                 {func(e *events.APIGatewayV2HTTPRequest) { e.Body = "" }, 401, "hook.sig_mismatch"},
		"headers in capitals": {func(e *events.APIGatewayV2HTTPRequest) {
			h := map[string]string{}
			for k, v := range e.Headers {
				h[strings.ToUpper(k)] = v
			}
			e.Headers = h
		}, 200, "hook.accepted"},
		"stage in the path": {func(e *events.APIGatewayV2HTTPRequest) {
			e.RequestContext.Stage, e.RawPath = "prod", "/prod/webhooks/slack/i1"
		}, 200, "hook.accepted"},
		"signed on another path":    {func(e *events.APIGatewayV2HTTPRequest) { e.RawPath = "/x/webhooks/slack/i1" }, 401, "hook.install_unknown"},
		"longer path":               {func(e *events.APIGatewayV2HTTPRequest) { e.RawPath += "/x" }, 401, "hook.install_unknown"},
		"another install":           {func(e *events.APIGatewayV2HTTPRequest) { e.RawPath = "/webhooks/slack/i2" }, 401, "hook.install_unknown"},
		"get":                       {func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.HTTP.Method = "GET" }, 405, "hook.method"},
		"large":                     {func(e *events.APIGatewayV2HTTPRequest) { e.Body = strings.Repeat("x", 1<<20+1) }, 413, "hook.too_large"},
		"large base64":              {func(e *events.APIGatewayV2HTTPRequest) { e.Body, e.IsBase64Encoded = strings.Repeat("x", 2<<20), true }, 413, "hook.too_large"},
		"stale by the event clock":  {func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.TimeEpoch += 301_000 }, 401, "hook.stale"},
		"future by the event clock": {func(e *events.APIGatewayV2HTTPRequest) { e.RequestContext.TimeEpoch -= 301_000 }, 401, "hook.future"},
		"joined header":             {func(e *events.APIGatewayV2HTTPRequest) { e.Headers["x-slack-signature"] += ",v0=00" }, 401, "hook.header_duplicate"},
	} {
		t.Run(name, func(t *testing.T) {
			h, q, log := newHandler(t)
			e := request(t, event)
			if c.edit != nil {
				c.edit(&e)
			}
			resp, err := h.Handle(t.Context(), e)
			if err != nil || resp.StatusCode != c.status || !strings.Contains(log.String(), `"code":"`+c.code+`"`) {
				t.Fatalf("%d %v %s", resp.StatusCode, err, log)
			}
			if want := c.status == 200; (len(q.sent) == 1) != want {
				t.Fatalf("%d jobs", len(q.sent))
			}
			if !strings.Contains(log.String(), `"source":"203.0.113.0/24"`) || strings.Contains(log.String(), "größer") || strings.Contains(log.String(), e.Headers["x-slack-signature"]) && e.Headers["x-slack-signature"] != "" {
				t.Fatalf("log: %s", log)
			}
			if c.status == 405 && resp.Headers["allow"] != "POST" {
				t.Fatalf("%v", resp.Headers)
			}
		})
	}
}

func TestHandshakeAndClock(t *testing.T) {
	h, _, _ := newHandler(t)
	resp, err := h.Handle(t.Context(), request(t, `{"type":"url_verification","challenge":"abc"}`))
	if err != nil || resp.StatusCode != 200 || resp.Body != "abc" || !strings.HasPrefix(resp.Headers["content-type"], "text/plain") || resp.Headers["x-content-type-options"] != "nosniff" {
		t.Fatalf("%+v %v", resp, err)
	}
	if !h.Clock.(*clock).at.Equal(now) {
		t.Fatal("the clock was not set")
	}
}

func TestEventWithoutTime(t *testing.T) {
	h, q, _ := newHandler(t)
	e := request(t, event)
	e.RequestContext.TimeEpoch = 0
	if resp, err := h.Handle(t.Context(), e); err != nil || resp.StatusCode != 503 || len(q.sent) != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
}

type panics struct{}

func (panics) Handle(context.Context, ingest.Request) ingest.Response { panic("secret in a panic") }

func TestPanic(t *testing.T) {
	h, _, log := newHandler(t)
	h.Ingest = panics{}
	if resp, err := h.Handle(t.Context(), request(t, event)); err != nil || resp.StatusCode != 503 || strings.Contains(log.String(), "secret in") {
		t.Fatalf("%+v %v %s", resp, err, log)
	}
}

func TestPrefix(t *testing.T) {
	for in, want := range map[string]string{"203.0.113.7": "203.0.113.0/24", "2001:db8:1:2::3": "2001:db8:1::/48", "::ffff:203.0.113.7": "203.0.113.0/24", "x": "", "": ""} {
		if got := prefix(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestAlarmOfIdentity: the line that an alarm is made of, for nothing else.
func TestAlarmOfIdentity(t *testing.T) {
	for _, m := range topology.Metrics() {
		if m.Name != topology.HookAlarm {
			continue
		}
		for code, want := range map[webhook.Reason]int{webhook.NoSecret: 1, webhook.TenantMismatch: 1, webhook.SigMismatch: 0, webhook.Accepted: 0} {
			var log bytes.Buffer
			auditLog{slog.New(slog.NewJSONHandler(&log, nil))}.Record(t.Context(), ingest.Event{Code: code, Install: "i1"})
			if got := strings.Count(log.String(), `"msg":"`+m.Message+`"`); got != want || !strings.Contains(log.String(), `"msg":"audit"`) {
				t.Errorf("%s: %s", code, log.String())
			}
		}
	}
}
